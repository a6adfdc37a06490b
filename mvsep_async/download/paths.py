"""Plan the path of each result of a job. Pure: the state of the disk is queried through callbacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from mvsep_async.errors import InvalidRequestError
from mvsep_async.jobs.request import ID_PATTERN, JobRequest, Target
from mvsep_async.models.separation import OutputFile, Separation
from mvsep_async.naming import NAME_LIMIT, caseless, placeholders, song_name, stem_path
from mvsep_async.sources import label

__all__ = ["PlannedFile", "chosen", "folder_of", "next_free", "plan_paths", "song_of"]

_HASH_PREFIX: Final = re.compile(rf"\A\d{{14}}-[0-9a-f]{{10}}-(?:{ID_PATTERN}-)?")


@frozen
class PlannedFile:
    """One result and its path: `wanted`, with a number if that is taken. `complete`: whether the file is on disk.

    `candidates`: existing files at paths that were planned for it earlier. One of them may be this result, if a process
    died right after the rename; their bytes are compared when it is downloaded.
    """

    file: OutputFile
    wanted: Path
    path: Path
    complete: bool = False
    candidates: tuple[Path, ...] = ()


def song_of(request: JobRequest, separation: Separation | None) -> str:
    """Return the song's name: that of its source if it was submitted here, else the one in the service's hash."""
    if request.source is None and request.filename is None:
        hash = "" if separation is None else separation.hash
        return song_name(_HASH_PREFIX.sub("", hash)) or "song"
    return song_name(label(request.source, request.filename))


def chosen(separation: Separation, stems: tuple[str, ...] | None, *, job: str) -> list[OutputFile]:
    """Return the files of the given stems, `None` for all; raises `InvalidRequestError` for a missing one."""
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
    name_limit: int = NAME_LIMIT,
) -> list[PlannedFile]:
    """Return a path below the target folder for each file.

    `earlier`: the names and paths that this job's downloads planned. They are used again, and those that exist and are
    in `complete` are not downloaded again; other files that exist there may have come from anywhere. A path for which
    `taken` is true gets a number. Names have at most `name_limit` bytes.
    """
    directory = Path(target.directory)
    used: set[str] = set()
    planned = []
    for file in files:
        relative = stem_path(target.layout, ext=_extension(file), limit=name_limit, song=song, stem=file.stem)
        wanted = directory / relative
        again = [
            path
            for name, path in earlier
            if name == file.name and _is_numbered_from(path, wanted) and caseless(path) not in used
        ]
        done = next((path for path in again if path in complete and exists(path)), None)
        if done is not None:
            planned.append(PlannedFile(file, wanted, done, complete=True))
            used.add(caseless(done))
            continue
        candidates = () if target.overwrite else tuple(path for path in again if exists(path))
        free = (path for path in again if path not in candidates and not taken(path))
        path = next(free, None) or next_free(wanted, lambda path: caseless(path) in used or taken(path))
        planned.append(PlannedFile(file, wanted, path, candidates=candidates))
        used.add(caseless(path))
    return planned


def next_free(wanted: Path, taken: Callable[[Path], bool]) -> Path:
    """Return `wanted`, with the lowest number from 2 for which it is not taken if it is."""
    path, number = wanted, 1
    while taken(path):
        number += 1
        path = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
    return path


def folder_of(target: Target, song: str) -> PurePosixPath:
    """Return the folder of a song's stems relative to the target folder, as far as it does not depend on the stem."""
    folders = target.layout.split("/")[:-1]
    known = list(takewhile(lambda segment: "stem" not in placeholders(segment), folders))
    return stem_path("/".join(known), ext="", song=song, stem="") if known else PurePosixPath()


def _is_numbered_from(path: Path, wanted: Path) -> bool:
    """Return whether `path` is `wanted` with or without a number."""
    pattern = re.escape(wanted.stem) + r"(?: \(\d+\))?" + re.escape(wanted.suffix)
    return path.parent == wanted.parent and re.fullmatch(pattern, path.name) is not None


def _extension(file: OutputFile) -> str:
    suffix = PurePosixPath(file.name).suffix
    if len(suffix) < 2:
        suffix = PurePosixPath(urlsplit(file.url).path).suffix
    return suffix
