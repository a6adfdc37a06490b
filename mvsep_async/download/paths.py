"""Which results of a job go to which files: pure, but for one question about what exists."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from mvsep_async.errors import InvalidRequestError
from mvsep_async.jobs.request import ID_PATTERN, JobRequest, Target
from mvsep_async.models.separation import OutputFile, Separation
from mvsep_async.naming import caseless, song_name, stem_path
from mvsep_async.sources import label

__all__ = ["PlannedFile", "chosen", "path_key", "plan_paths", "song_of"]

_OF_THE_SERVICE: Final = re.compile(rf"\A\d{{14}}-[0-9a-f]{{10}}-(?:{ID_PATTERN}-)?")


@frozen
class PlannedFile:
    """One result and the path that it gets. `complete`: it is there already, from this job.

    `perhaps`: files under names that it was to have before. One of them is this result, if a process died right after
    naming it, or else all are somebody else's: their bytes will tell.
    """

    file: OutputFile
    path: Path
    complete: bool = False
    perhaps: tuple[Path, ...] = ()


def song_of(request: JobRequest, separation: Separation) -> str:
    """Return the song's name: its own where we sent it, else what the service's hash keeps of it."""
    if request.source is None and request.filename is None:
        return song_name(_OF_THE_SERVICE.sub("", separation.hash)) or "song"
    return song_name(label(request.source, request.filename))


def chosen(separation: Separation, stems: tuple[str, ...] | None, *, job: str) -> list[OutputFile]:
    """Return the files of the stems asked for; raises `InvalidRequestError` naming those that there are."""
    if stems is None:
        return list(separation.files)
    by_name: dict[str, list[OutputFile]] = {}
    for file in separation.files:
        by_name.setdefault(file.stem.casefold(), []).append(file)
    missing = [stem for stem in stems if stem.casefold() not in by_name]
    if missing:
        there = tuple(dict.fromkeys(file.stem for file in separation.files))
        raise InvalidRequestError(
            f"job {job} has no stem {', '.join(map(repr, missing))}; it has {', '.join(there) or 'none'}",
            candidates=there,
            job=job,
            hash=separation.hash,
        )
    return [file for stem in dict.fromkeys(stem.casefold() for stem in stems) for file in by_name[stem]]


def plan_paths(
    files: list[OutputFile],
    target: Target,
    *,
    song: str,
    earlier: Collection[tuple[str, Path]],
    complete: Collection[Path],
    taken: Callable[[Path], bool],
    exists: Callable[[Path], bool],
) -> list[PlannedFile]:
    """Give each file its path below the target folder.

    `earlier` is what this job's downloads planned: the same paths are used again, and what exists there and is among
    `complete` is not fetched again. Whatever else exists there may have come from anybody since. `taken`: is another
    job of ours about to write it. Another file of that name is kept: the new one gets a number. One that another
    process is writing just now is to be called existing.
    """
    directory = Path(target.directory)
    used: set[str] = set()
    planned = []
    for file in files:
        wanted = directory / stem_path(target.layout, song=song, stem=file.stem, ext=_extension(file))
        again = [
            path
            for name, path in earlier
            if name == file.name and _numbered_from(path, wanted) and path_key(path) not in used
        ]
        path = next((path for path in again if path in complete and exists(path)), None)
        if path is not None:
            planned.append(PlannedFile(file, path, complete=True))
        else:
            perhaps = () if target.overwrite else tuple(path for path in again if exists(path))
            path = next((path for path in again if path not in perhaps), None)
            if path is None:
                path, number = wanted, 1
                while path_key(path) in used or taken(path) or (exists(path) and not target.overwrite):
                    number += 1
                    path = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
            planned.append(PlannedFile(file, path, perhaps=perhaps))
        used.add(path_key(path))
    return planned


def path_key(path: Path) -> str:
    """Return what two paths share that a file system may take for one another."""
    return caseless(str(path))


def _numbered_from(path: Path, wanted: Path) -> bool:
    """Tell whether `path` is what was planned for `wanted` before: itself, or with a number."""
    pattern = re.escape(wanted.stem) + r"(?: \(\d+\))?" + re.escape(wanted.suffix)
    return path.parent == wanted.parent and re.fullmatch(pattern, path.name) is not None


def _extension(file: OutputFile) -> str:
    suffix = PurePosixPath(file.name).suffix
    if len(suffix) < 2:
        suffix = PurePosixPath(urlsplit(file.url).path).suffix
    return suffix
