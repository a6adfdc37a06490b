"""`status`, `watch`, `download`, `cancel`, `delete`: single jobs, by id, prefix or hash."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from mvsep_async.cli.commands.separate import OUTPUT, OutputOptions
from mvsep_async.cli.complete import JobName
from mvsep_async.cli.config import COMMON, TRANSFER, CommandConfig, CommonOptions, TransferOptions, connect, load_config
from mvsep_async.cli.exits import DONE, FAILED, UsageProblem
from mvsep_async.cli.fetched import Fetch, fetch_stems, fetched_before
from mvsep_async.cli.folders import prepare_folder
from mvsep_async.cli.job_run import JobRun
from mvsep_async.cli.known_jobs import KnownJob, is_long_hash
from mvsep_async.cli.libraries import finished_jobs, library_jobs
from mvsep_async.cli.outcome import Outcome, shown_path
from mvsep_async.cli.state import read_journal
from mvsep_async.cli.stopping import print_resume_hint, when_stopped
from mvsep_async.cli.tables import cell, print_record
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount
from mvsep_async.client import MVSepClient
from mvsep_async.errors import JobNotFoundError, MVSepError
from mvsep_async.http.call import Json
from mvsep_async.http.hosts import Host
from mvsep_async.jobs.job import Job
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.models.message import Message
from mvsep_async.models.separation import is_job_hash
from mvsep_async.naming import check_layout, fill, song_name

__all__ = ["cancel", "delete", "download", "status", "watch"]

_HISTORY: Final = 100
"""Jobs of the account's history that an id is looked for in: five requests."""

_REMOTE_HASH: Final = re.compile(r"[A-Za-z0-9]{12,}")
"""The short hash that a job of a URL has at first."""

HostName = Annotated[
    str | None,
    Parameter(metavar="URL", help="Region that has the jobs. Its address, such as https://de.mvsep.com."),
]


async def status(*jobs: JobName, host: HostName = None, common: CommonOptions = COMMON) -> int:
    """Show the state of jobs, once. With whole hashes it needs no token."""
    config = load_config(common)
    server = Host.parse(host) if host else None
    code = DONE
    async with connect(config) as client:
        stems = await _local_stems(config)
        for hash, job in (await _find_jobs(client, config, jobs)).items():
            found = await _fetch_status(client, hash, server)
            if found.kind is JobKind.NOT_FOUND:
                raise JobNotFoundError(f"the service has no job {hash}: it was deleted, has expired, or never existed")
            record = _record(found)
            if not common.json:
                record = _for_people(record, job.song, stems.get(found.hash, ()))
            print_record(record)
            code = FAILED if found.kind is JobKind.FAILED else code
    return code


async def watch(
    *jobs: JobName, host: HostName = None, transfer: TransferOptions = TRANSFER, common: CommonOptions = COMMON
) -> int:
    """Follow jobs until they are over; nothing is downloaded."""
    config = load_config(common)
    run = JobRun(title="watching")
    with when_stopped(lambda: terminal().note("stopped watching: the jobs continue at the service")):
        async with connect(config, transfer=transfer) as client:
            found = _songs(await _find_jobs(client, config, jobs))
            return await run.act(client, run.attach(client, found, host), Job.wait)


async def download(
    *jobs: JobName,
    last: bool = False,
    mirror: bool = False,
    output: OutputOptions = OUTPUT,
    host: HostName = None,
    transfer: TransferOptions = TRANSFER,
    common: CommonOptions = COMMON,
) -> int:
    """Fetch the stems of jobs; jobs that are not over are waited for.

    Parameters
    ----------
    last
        Fetch the stems of the newest job.
    mirror
        Fetch from the service's mirror, for one credit a job. It can be faster.
    """
    config = load_config(common)
    check_layout(output.layout)
    out = output.folder(config)
    run = JobRun(title=f"fetching to {shown_path(out)}")
    named: dict[str, KnownJob] = {}

    def fetch_of(hash: str) -> Fetch:
        job = named.get(hash, KnownJob(hash=hash))  # the hash has only a shortened form of the song's name
        layout = fill(output.layout, {"song": song_name(job.path.name)}) if job.path.name else output.layout
        return Fetch(hash, out / job.folder, layout, output.stems or None)

    async def fetch(job: Job) -> None:
        await fetch_stems(config, job, fetch_of(job.hash or ""), overwrite=output.overwrite, mirror=mirror)

    async def is_there(hash: str) -> bool:
        files = () if output.overwrite else await fetched_before(config, fetch_of(hash))
        if files:
            name = named[hash].song or hash
            run.skip(Outcome(name=name, hash=hash, files=files, earlier=True, before="already fetched"))
        return bool(files)

    with when_stopped(lambda: print_resume_hint(run, out=out)):
        async with connect(config, needs_token=mirror, transfer=transfer) as client:
            wanted = [*jobs, await _newest(client, config)] if last else jobs
            named |= await _find_jobs(client, config, wanted)
            missing = {hash: job for hash, job in named.items() if not await is_there(hash)}
            attached = run.attach(client, _songs(missing), host)
            if mirror and missing:
                terminal().note(f"the mirror costs {amount(len(missing), 'credit')}, one for each job")
            await prepare_folder(out)
            return await run.act(client, attached, fetch)


async def cancel(*jobs: JobName, host: HostName = None, common: CommonOptions = COMMON) -> int:
    """Cancel jobs. The credits of a job that is not yet processed are refunded."""
    return await _for_each(jobs, lambda client: client.separations.cancel, "cancelled", host, common)


async def delete(*jobs: JobName, host: HostName = None, common: CommonOptions = COMMON) -> int:
    """Remove jobs and their files from the service; what was downloaded stays."""
    return await _for_each(jobs, lambda client: client.separations.delete, "deleted", host, common)


async def _for_each(
    jobs: Sequence[str],
    endpoint: Callable[[MVSepClient], Callable[..., Awaitable[Message]]],
    done: str,
    host: str | None,
    common: CommonOptions,
) -> int:
    """Call an endpoint for each job, one after the other, and print the results."""
    config = load_config(common)
    server = Host.parse(host) if host else None
    code = DONE
    async with connect(config, needs_token=True) as client:
        found = await _find_jobs(client, config, jobs)
        for hash, job in found.items():
            name = job.song or hash
            error: MVSepError | None = None
            try:
                said = (await endpoint(client)(hash, host=server)).message
            except MVSepError as failure:
                if len(found) == 1 and not common.json:
                    raise
                error, said, code = failure, str(failure), FAILED
            status = done if error is None else "failed"
            document = Outcome(name=name, hash=hash, error=error).document() | {"status": status}
            text = f"{name}: {done if error is None else f'not {done}'}" + (f" ({said})" if said else "")
            terminal().answer(document, text)
    return code


async def _find_jobs(client: MVSepClient, config: CommandConfig, given: Iterable[str]) -> dict[str, KnownJob]:
    """Return the jobs that ids, prefixes or hashes name, by their hashes.

    They are looked for in the journal, in the libraries, then in the account's newest jobs. Raises `UsageProblem` for
    what names no job, or several.
    """
    words = list(dict.fromkeys(word.strip() for word in given))
    if not words:
        raise UsageProblem(
            "name a job by its id or hash; `mvsep-async jobs` and `mvsep-async account history` list them"
        )

    async def of_history() -> list[KnownJob]:
        entries = [] if config.token is None else await client.account.history(limit=_HISTORY)
        return [KnownJob(hash=entry.hash) for entry in entries]

    known = [KnownJob.of_record(record) for record in await read_journal(config.journal_path, config)]
    libraries: list[KnownJob] | None = None
    history: list[KnownJob] | None = None
    found: dict[str, KnownJob] = {}
    for word in words:
        matches = [job for job in known if job.match(word)]
        if not matches:
            libraries = await library_jobs(config) if libraries is None else libraries
            matches = [job for job in libraries if job.match(word)]
        if not matches and is_long_hash(word):
            matches = [KnownJob(hash=word)]
        if not matches:
            history = await of_history() if history is None else history
            matches = [job for job in history if job.match(word)]
        job = _only(word, matches)
        found[job.hash or word] = job
    return found


def _only(word: str, matches: Sequence[KnownJob]) -> KnownJob:
    if not matches and _REMOTE_HASH.fullmatch(word):
        return KnownJob(hash=word)
    if not matches:
        raise UsageProblem(f"no job has an id or hash that begins with {word!r}; `mvsep-async jobs` lists the jobs")
    if len({job.hash or job.id for job in matches}) > 1:
        shown = ", ".join(job.hash or job.id or "" for job in matches[:5])
        raise UsageProblem(f"{word!r} names {len(matches)} jobs: {shown}; give more of the id, or the whole hash")
    if matches[0].hash is None:
        raise UsageProblem(f"the job {word!r} was not sent to the service yet: `mvsep-async jobs resume` sends it")
    return matches[0]


def _songs(jobs: Mapping[str, KnownJob]) -> dict[str, str]:
    return {hash: job.path.name for hash, job in jobs.items()}


async def _newest(client: MVSepClient, config: CommandConfig) -> str:
    """Return the hash of the newest job: of the journal and the libraries, else of the account."""
    jobs = [KnownJob.of_record(record) for record in await read_journal(config.journal_path, config)]
    sent = [(job.at or 0.0, job.hash) for job in jobs if job.hash is not None]
    newest = sent[-1:] + [(job.at or 0.0, job.hash or "") for job in await finished_jobs(config)][-1:]
    if newest:
        return max(newest)[1]
    if config.token is not None:
        for entry in await client.account.history(limit=1):
            return entry.hash
    raise UsageProblem("there is no job yet: `mvsep-async separate SONG` makes one")


async def _local_stems(config: CommandConfig) -> dict[str, tuple[Path, ...]]:
    """Return the stems on this computer, by the hashes of their jobs."""
    found = {job.hash or "": job.files for job in await finished_jobs(config)}
    records = await read_journal(config.journal_path, config)
    return found | {
        record.facts.hash: tuple(record.facts.paths) for record in records if record.facts.paths and record.facts.hash
    }


def _for_people(record: dict[str, Json], song: str, stems: tuple[Path, ...]) -> dict[str, Json]:
    """Return the state of a job with its song, the folder of its stems on this computer, and short lines of files."""
    folder = shown_path(Path(os.path.commonpath([path.parent for path in stems]))) + os.sep if stems else None
    files = record.pop("files", None)
    shown: dict[str, Json] = {"song": song, **record, "stems": folder}
    if isinstance(files, list):  # without their addresses, which are long: `--json` has them, and `download` uses them
        lines = (f"{cell(one['stem'])}  {cell(one['size'])}" for one in files if isinstance(one, dict))
        shown["files"] = "\n".join(lines)
    return shown


async def _fetch_status(client: MVSepClient, hash: str, host: Host | None) -> JobStatus:
    if is_job_hash(hash):
        return await client.separations.get(hash, host=host)
    found = await client.separations.get_remote(hash, host=host)
    if found.kind is JobKind.DONE and found.separation is None:
        return await client.separations.get(found.hash, host=host)
    return found


def _record(found: JobStatus) -> dict[str, Json]:
    done = found.separation
    record: dict[str, Json] = {"hash": found.hash, "status": found.status or found.kind.value}
    for name in ("queue_position", "queue_length", "chunks_done", "chunks_total", "message"):
        record[name] = getattr(found, name)
    if done is not None:
        files: list[Json] = [
            {"stem": file.stem, "name": file.name, "size": file.size, "url": file.url} for file in done.files
        ]
        record |= {"algorithm": done.algorithm, "format": done.output_format, "date": done.date, "files": files}
    return record
