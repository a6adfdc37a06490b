"""`status`, `watch`, `download`, `cancel`: jobs that the service has, by their hashes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from anyio import get_cancelled_exc_class
from cyclopts import Parameter

from mvsep_async.cli.commands.separate import OUTPUT, OutputOptions, prepare_folder
from mvsep_async.cli.config import COMMON, CommonOptions, connect, load_config
from mvsep_async.cli.exits import DONE, FAILED, UsageProblem
from mvsep_async.cli.job_run import JobActions, JobRun
from mvsep_async.cli.resume_hint import how_to_go_on, was_stopped
from mvsep_async.cli.tables import print_record
from mvsep_async.cli.terminal import terminal
from mvsep_async.client import MVSepClient
from mvsep_async.errors import JobNotFoundError, MVSepError
from mvsep_async.http.call import Json
from mvsep_async.http.hosts import Host
from mvsep_async.jobs.job import Job
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.naming import check_layout

__all__ = ["cancel", "download", "status", "watch"]

_DATED = 14
"""Digits that a file job's hash begins with; the short hash of a URL job has none."""


async def status(hash: str, /, *, host: str | None = None, common: CommonOptions = COMMON) -> int:
    """Show where a job stands, once. It needs no token.

    Parameters
    ----------
    hash
        The job's hash.
    host
        The regional address that has it, such as https://de.mvsep.com.
    """
    config = load_config(common)
    place = Host.parse(host) if host else None
    async with connect(config) as client:
        found = await _look(client, hash, place)
    if found.kind is JobKind.NOT_FOUND:
        raise JobNotFoundError(f"the service has no job {hash}: it was deleted, has expired, or was never there")
    print_record(_record(found), json=common.json)
    return FAILED if found.kind is JobKind.FAILED else DONE


async def watch(
    *hashes: str,
    host: str | None = None,
    poll_interval: float | None = None,
    common: CommonOptions = COMMON,
) -> int:
    """Follow jobs until they are over; it fetches nothing.

    Parameters
    ----------
    hashes
        The jobs' hashes.
    host
        The regional address that has them, such as https://de.mvsep.com.
    poll_interval
        Seconds, the fastest that one job is looked at.
    """
    config = load_config(common)
    run = JobRun(title="watching", json=common.json)
    try:
        async with connect(config, poll_interval=poll_interval) as client:
            ends = JobActions(_attached(client, hashes, host), Job.wait)
            return await run.follow(client, ends, ends.run)
    except get_cancelled_exc_class():
        terminal().note("stopped watching: the jobs go on at the service")
        raise


async def download(
    *hashes: str,
    output: OutputOptions = OUTPUT,
    host: str | None = None,
    poll_interval: float | None = None,
    common: CommonOptions = COMMON,
) -> int:
    """Fetch the stems of jobs; those that are not over are waited for.

    Parameters
    ----------
    hashes
        The jobs' hashes.
    host
        The regional address that has them, such as https://de.mvsep.com.
    poll_interval
        Seconds, the fastest that one job is looked at.
    """
    config = load_config(common)
    check_layout(output.layout)
    out = output.out or Path(config.out.value or "stems")
    run = JobRun(title=f"fetching to {out}", json=common.json)

    async def fetch(job: Job) -> None:
        await job.download(out, stems=output.stems or None, layout=output.layout, overwrite=output.overwrite)

    try:
        async with connect(config, poll_interval=poll_interval) as client:
            ends = JobActions(_attached(client, hashes, host), fetch)
            await prepare_folder(out)
            return await run.follow(client, ends, ends.run)
    except BaseException as error:
        if was_stopped(error):
            how_to_go_on(run, out=out)
        raise


async def cancel(
    *hashes: Annotated[str, Parameter(allow_leading_hyphen=False)],
    host: str | None = None,
    common: CommonOptions = COMMON,
) -> int:
    """Cancel jobs. Their credits come back for what is not yet processed.

    Parameters
    ----------
    hashes
        The jobs' hashes.
    host
        The regional address that has them, such as https://de.mvsep.com.
    """
    config = load_config(common)
    place = Host.parse(host) if host else None
    code = DONE
    async with connect(config, needs_token=True) as client:
        for hash in _given(hashes):
            error = None
            try:
                said = (await client.separations.cancel(hash, host=place)).message
            except MVSepError as met:
                if len(hashes) == 1 and not common.json:
                    raise
                said, error, code = str(met), str(met), FAILED
            if common.json:
                document: Json = {
                    "source": None,
                    "hash": hash,
                    "status": "cancelled" if error is None else "failed",
                    "files": [],
                    "error": error,
                }
                terminal().document(document)
            else:
                terminal().result(
                    f"{hash}: {'cancelled' if error is None else 'not cancelled'}" + (f" ({said})" * bool(said))
                )
    return code


def _attached(client: MVSepClient, hashes: Sequence[str], host: str | None) -> list[Job]:
    return [client.attach(hash, host=host) for hash in _given(hashes)]


def _given(hashes: Sequence[str]) -> list[str]:
    if not hashes:
        raise UsageProblem("give the hash of a job, or several; `mvsep-async history` lists those of the account")
    return list(dict.fromkeys(hash.strip() for hash in hashes))


async def _look(client: MVSepClient, hash: str, host: Host | None) -> JobStatus:
    if hash[:_DATED].isdecimal():
        return await client.separations.get(hash, host=host)
    found = await client.separations.get_remote(hash, host=host)
    if found.kind is JobKind.DONE and found.separation is None:
        return await client.separations.get(found.hash, host=host)
    return found


def _record(found: JobStatus) -> dict[str, Json]:
    done = found.separation
    record: dict[str, Json] = {
        "hash": found.hash,
        "status": found.status or found.kind.value,
        "queue_position": found.queue_position,
        "queue_length": found.queue_length,
        "chunks_done": found.chunks_done,
        "chunks_total": found.chunks_total,
        "message": found.message,
    }
    if done is not None:
        files: list[Json] = [
            {"stem": file.stem, "name": file.name, "size": file.size, "url": file.url} for file in done.files
        ]
        record |= {"algorithm": done.algorithm, "format": done.output_format, "date": done.date, "files": files}
    return record
