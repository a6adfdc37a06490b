"""Jobs as they are known on this computer, and the short ids that tables show and commands accept."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise, takewhile
from pathlib import Path, PurePath
from typing import Final, Self

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.request import ID_PATTERN
from mvsep_async.naming import safe_name
from mvsep_async.sources import is_url, label

__all__ = ["KnownJob", "is_long_hash", "mirrored", "record_label", "short_ids", "song_of_hash"]

_SHORTEST: Final = 4
"""Characters of a short id: enough for a few hundred jobs, few enough to type."""

_LONG_HASH: Final = re.compile(r"(?P<date>\d{14})-(?P<content>[0-9a-f]{10})-(?P<slug>.*)", re.DOTALL)
_TAG: Final = re.compile(rf"(?P<tag>{ID_PATTERN})(?:-|(?=\.)|$)")


@frozen(kw_only=True)
class KnownJob:
    """A job of a journal, of a library, or known by its hash alone.

    `source`, `path`: the song as it was given, and its path or name. `folder`: the folders of the song that its stems
    have too. `at`: when the job was sent or, for one of a library, finished. `files`: its stems on this computer.
    """

    hash: str | None
    id: str | None = None
    source: Json = None
    path: PurePath = field(factory=PurePath)
    folder: str = ""
    algorithm: Json = None
    state: str = ""
    at: float | None = None
    files: tuple[Path, ...] = ()
    error: str | None = None

    @classmethod
    def of_record(cls, record: Record) -> Self:
        """Return a job of a journal."""
        facts, source, target = record.facts, record.request.source, record.request.target
        name, folder = record_label(record), ""
        given = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        path = PurePath(name)
        if given is not None and not is_url(given) and PurePath(given).name == name:
            path = PurePath(os.path.abspath(given))  # noqa: PTH100
            folder = "" if target is None else _common_end(path.parent, PurePath(target.directory))
        return cls(
            hash=facts.hash or facts.remote,
            id=record.request.id,
            source=given or (None if source is None else name),
            path=path,
            folder=folder,
            algorithm=record.request.settings.algorithm,
            state=record.state.value,
            at=facts.accepted_at or facts.intent_at,
            files=tuple(facts.paths),
            error=None if facts.error is None else str(facts.error),
        )

    @property
    def song(self) -> str:
        """The name of the song: as it is known here, else as far as it is in the hash."""
        return self.path.name or song_of_hash(self.hash or "")

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


def short_ids(jobs: Sequence[KnownJob]) -> list[str]:
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


def is_long_hash(text: str) -> bool:
    """Tell whether a text has the form of a hash that names a job."""
    return _LONG_HASH.fullmatch(text) is not None


def record_label(record: Record) -> str:
    """Return the name of a job's song."""
    return label(record.request.source, record.request.filename)


def mirrored(folder: PurePath) -> PurePath:
    """Return folders with the names that they have in a folder for stems."""
    return PurePath(*map(safe_name, folder.parts))


def _common_end(song: PurePath, stems: PurePath) -> str:
    """Return the folders in which the folder of a song and that of its stems end alike, since they were mirrored."""
    pairs = zip(reversed(mirrored(song).parts), reversed(stems.parts), strict=False)
    alike = [part for part, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return "" if song == stems else str(PurePath(*reversed(alike)))
