"""Short job ids: what tables show, and what commands accept in place of a whole hash."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise, takewhile
from pathlib import Path, PurePath
from typing import Final

from attrs import frozen

from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.state import read_journal
from mvsep_async.client import MVSepClient
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.request import ID_PATTERN
from mvsep_async.naming import safe_name
from mvsep_async.sources import is_url, label

__all__ = ["JobNames", "find_jobs", "record_label", "short_ids", "song_of_hash", "song_path"]

_SHORTEST: Final = 4
"""Characters of a short id: enough for a few hundred jobs, few enough to type."""

_HISTORY: Final = 100
"""Jobs of the account's history that an id is looked for in: five requests."""

_LONG_HASH: Final = re.compile(r"(?P<date>\d{14})-(?P<content>[0-9a-f]{10})-(?P<slug>.*)", re.DOTALL)
_TAG: Final = re.compile(rf"(?P<tag>{ID_PATTERN})(?:-|(?=\.)|$)")
_REMOTE_HASH: Final = re.compile(r"[A-Za-z0-9]{12,}")
"""The short hash that a job of a URL has at first."""


@frozen
class JobNames:
    """What one job may be called: its hash at the service and its id in the journal, as far as there are any.

    `song`: the name of its song, if it is known, and `folder`: the folders of the song that its stems have too.
    """

    hash: str | None
    id: str | None = None
    song: str = ""
    folder: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that a prefix is compared with, the one that tables show first."""
        found = _LONG_HASH.fullmatch(self.hash or "")
        tag = _TAG.match(found["slug"]) if found else None
        id = self.id or (tag["tag"] if tag else None)
        names = [id.removeprefix("mv"), id] if id else []
        if found:
            names.append(found["content"])
        if self.hash:
            names.append(self.hash)
        return tuple(names)

    def match(self, prefix: str) -> bool:
        """Tell whether one of the names begins with `prefix`."""
        return any(name.startswith(prefix) for name in self.names)


def short_ids(jobs: Sequence[JobNames]) -> list[str]:
    """Return for each job the shortest prefix of its name that no other job in the list shares."""
    names = [job.names[0] if job.names else "" for job in jobs]
    ordered = sorted(set(names))
    lengths = dict.fromkeys(names, _SHORTEST)
    for one, other in pairwise(ordered):
        shared = next(
            (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        lengths[one] = max(lengths[one], shared + 1)
        lengths[other] = max(lengths[other], shared + 1)
    return [name[: lengths[name]] for name in names]


def song_of_hash(hash: str) -> str:
    """Return the name of the song in a hash: the slug of the uploaded file, without this client's tag."""
    found = _LONG_HASH.fullmatch(hash)
    if found is None:
        return ""
    slug = _TAG.sub("", found["slug"], count=1)
    return slug.rpartition(".")[0] or slug


def record_label(record: Record) -> str:
    """Return the name of a job's song."""
    return label(record.request.source, record.request.filename)


def song_path(record: Record) -> PurePath:
    """Return the path of a job's song, or its name where it is not a file."""
    source, name = record.request.source, record_label(record)
    if isinstance(source, str | os.PathLike) and PurePath(source).name == name:
        return PurePath(os.path.abspath(source))  # noqa: PTH100
    return PurePath(name)


async def find_jobs(client: MVSepClient, config: CommandConfig, given: Iterable[str]) -> dict[str, JobNames]:
    """Return the jobs that ids, prefixes or hashes name, by their hashes.

    They are looked for in the journal, in the libraries, then in the account's newest jobs. Raises `UsageProblem` for
    what names no job, or several.
    """
    words = list(dict.fromkeys(word.strip() for word in given))
    if not words:
        raise UsageProblem(
            "name a job by its id or hash; `mvsep-async jobs` and `mvsep-async account history` list them"
        )
    from mvsep_async.cli.libraries import library_jobs, library_records  # not needed for completion

    async def of_libraries() -> list[JobNames]:
        found = [
            JobNames(job.hash, song=Path(job.song).name, folder=str(_mirrored(PurePath(job.song).parent)))
            for job in await library_jobs(config)
        ]
        return found + [_names(record) for record in await library_records(config)]

    async def of_history() -> list[JobNames]:
        entries = [] if config.token is None else await client.account.history(limit=_HISTORY)
        return [JobNames(entry.hash) for entry in entries]

    known = [_names(record) for record in await read_journal(config.journal_path, config)]
    libraries: list[JobNames] | None = None
    history: list[JobNames] | None = None
    found: dict[str, JobNames] = {}
    for word in words:
        matches = [job for job in known if job.match(word)]
        if not matches:
            libraries = await of_libraries() if libraries is None else libraries
            matches = [job for job in libraries if job.match(word)]
        if not matches and _LONG_HASH.fullmatch(word):
            matches = [JobNames(word)]
        if not matches:
            history = await of_history() if history is None else history
            matches = [job for job in history if job.match(word)]
        job = _only(word, matches)
        found[job.hash or word] = job
    return found


def _only(word: str, matches: Sequence[JobNames]) -> JobNames:
    if not matches and _REMOTE_HASH.fullmatch(word):
        return JobNames(word)
    if not matches:
        raise UsageProblem(f"no job has an id or hash that begins with {word!r}; `mvsep-async jobs` lists the jobs")
    if len({job.hash or job.id for job in matches}) > 1:
        shown = ", ".join(job.hash or job.id or "" for job in matches[:5])
        raise UsageProblem(f"{word!r} names {len(matches)} jobs: {shown}; give more of the id, or the whole hash")
    if matches[0].hash is None:
        raise UsageProblem(f"the job {word!r} was not sent to the service yet: `mvsep-async jobs resume` sends it")
    return matches[0]


def _names(record: Record) -> JobNames:
    """Return the names of a job in a journal."""
    source, target, folder = record.request.source, record.request.target, ""
    if target is not None and isinstance(source, str | os.PathLike) and not is_url(source):
        folder = _common_end(PurePath(os.path.abspath(source)).parent, PurePath(target.directory))  # noqa: PTH100
    return JobNames(record.facts.hash or record.facts.remote, record.request.id, record_label(record), folder)


def _mirrored(folder: PurePath) -> PurePath:
    """Return folders with the names that they have in a folder for stems."""
    return PurePath(*map(safe_name, folder.parts))


def _common_end(song: PurePath, stems: PurePath) -> str:
    """Return the folders in which the folder of a song and that of its stems end alike, since they were mirrored."""
    pairs = zip(reversed(_mirrored(song).parts), reversed(stems.parts), strict=False)
    alike = [part for part, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return "" if song == stems else str(PurePath(*reversed(alike)))
