"""How one job ended: a document for programs, a line for people."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Final, Literal, Self

from attrs import frozen
from rich.cells import cell_len
from rich.text import Text

from mvsep_async.cli.known_jobs import song_of_hash
from mvsep_async.cli.live.render import Glyphs, cut_end, cut_middle
from mvsep_async.cli.text import visible
from mvsep_async.errors import InvalidRequestError, JobCancelledError, MVSepError
from mvsep_async.http.call import Json
from mvsep_async.jobs.failures import FailureKind, classify_failure
from mvsep_async.jobs.job import Job
from mvsep_async.sources import JobSource, Pair, is_url, label

__all__ = ["Outcome", "distinct_ends", "job_name", "shown_path", "title_of"]

_SHORTEST: Final = 12
"""Columns that a folder needs to be worth showing."""


@frozen(kw_only=True)
class Outcome:
    """One finished job. `source`: what was given; `files`: complete and on disk.

    `earlier`: nothing was sent or fetched for it in this run; `before`: what an earlier one did.
    """

    name: str
    source: str | None = None
    hash: str | None = None
    error: MVSepError | None = None
    files: tuple[Path, ...] = ()
    earlier: bool = False
    before: str = "already separated"

    @classmethod
    def of(cls, job: Job, error: MVSepError | None = None, *, given: str | None = None, earlier: bool = False) -> Self:
        """Return how `job` ended; `error`: that of its download; `given`: its source as it was given."""
        error = error or job.error
        return cls(
            name=_full_name(job) if given is None else label(given),
            source=given or _source(job.source),
            hash=job.hash,
            error=error,
            files=() if error else job.paths,
            earlier=earlier,
        )

    @classmethod
    def of_stems(cls, song: str, stems: tuple[Path, ...]) -> Self:
        """Return the outcome of a song whose stems an earlier run has made."""
        return cls(name=label(song), source=song, files=stems, earlier=True)

    @property
    def status(self) -> Literal["done", "failed", "cancelled"]:
        """The status for programs."""
        if self.error is None:
            return "done"
        return "cancelled" if isinstance(self.error, JobCancelledError) else "failed"

    @property
    def skipped(self) -> bool:
        """Whether the song had been separated before, and all its stems were there."""
        return self.earlier and self.error is None

    @property
    def failed_before(self) -> bool:
        """Whether the song failed in an earlier run and is tried again only on request.

        After a full disk or an outage every run tries it again; a damaged file is not tried again at all.
        """
        if self.status != "failed" or self.unsent or not self.earlier:
            return False
        assert self.error is not None
        return classify_failure(self.error) is FailureKind.ON_REQUEST

    @property
    def unsent(self) -> bool:
        """Whether the song was rejected here, before it was sent."""
        return self.hash is None and isinstance(self.error, InvalidRequestError) and self.error.status is None

    def document(self) -> dict[str, Json]:
        """Return what `--json` writes."""
        return {
            "source": self.source,
            "hash": self.hash,
            "status": self.status,
            "files": [str(path.absolute()) for path in self.files],
            "error": None if self.error is None else str(self.error),
        }

    def line(self, glyphs: Glyphs, width: int | None = None) -> Text:
        """Return the line for people; in `width` columns if that is given and an error does not need more."""
        if self.error is not None:
            line = Text.assemble((f"{glyphs.failed} ", "red"), visible(self.name))
            message = visible(" ".join(str(self.error).split()))
            return line.append(f"  {message}", style="dim" if self.status == "cancelled" else "red")
        name = visible(self.name)
        line = self._head(name, glyphs)
        if not self.files:
            return line
        folders = sorted({path.parent for path in self.files})
        folder = folders[0] if len(folders) == 1 else Path(os.path.commonpath(folders))
        stems = ", ".join(visible(path.relative_to(folder).with_suffix("").as_posix()) for path in self.files)
        where = f"{visible(shown_path(folder))}{os.sep}"
        if width is not None and cell_len(line.plain) + cell_len(stems) + 2 > width:
            room = width - cell_len(line.plain) + cell_len(name) - cell_len(stems) - 2
            if room >= _SHORTEST:
                line = self._head(cut_middle(name, room, glyphs), glyphs)
        if width is not None:
            both = width - cell_len(line.plain) - 4
            least = min(cell_len(where), max(_SHORTEST, both // 3))
            if both >= 2 * _SHORTEST and both - cell_len(stems) < least:  # where the stems are matters more
                stems = cut_end(Text(stems), both - least, glyphs).plain
            room = both - cell_len(stems)
            where = cut_middle(where, room, glyphs) if _SHORTEST <= room < cell_len(where) else where
            if room < min(_SHORTEST, cell_len(where)):
                where = ""
        line.append(f"  {stems}", style="dim")
        if where:
            line.append(f"  {where}", style="bold")
        return line if width is None else cut_end(line, width, glyphs)

    def _head(self, name: str, glyphs: Glyphs) -> Text:
        line = Text.assemble((f"{glyphs.done} ", "green"), name)
        return line.append(f"  {self.before}: skipped", style="dim") if self.skipped else line


def shown_path(path: Path) -> str:
    """Return a path for people: relative to the current folder where it is below it, else as it is."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def distinct_ends(paths: Sequence[PurePath]) -> list[str]:
    """Return for each path its name, and as many of the folders above it as distinguish it from the other paths."""

    def end(path: PurePath) -> PurePath:
        return PurePath(*path.parts[-parts[path] :])

    parts = dict.fromkeys(paths, 1)
    while True:
        counts = Counter(map(end, parts))
        longer = {path: count + 1 for path, count in parts.items() if counts[end(path)] > 1 and len(path.parts) > count}
        if not longer:
            return [str(end(path)) for path in paths]
        parts |= longer


def title_of(path: Path) -> tuple[str, str]:
    """Return a song's title, its file name without the extension, and the folder that tells it from others."""
    return path.stem or str(path), "" if path.parent == Path() else str(path.parent)


def job_name(job: Job) -> tuple[str, str]:
    """Return the title of a job's song and its folder; for a job that was made elsewhere, what its hash has of them."""
    source = _source(job.source)
    if source is None or is_url(source):
        return _full_name(job), ""
    title, folder = title_of(Path(source))
    return title, Path(folder).name


def _full_name(job: Job) -> str:
    if job.source is None and job.hash:
        return song_of_hash(job.hash) or job.hash
    return label(job.source)


def _source(source: JobSource) -> str | None:
    match source:
        case Pair(target, _):
            return os.fspath(target)
        case str() as url if is_url(url):
            return url
        case str() | os.PathLike():
            return os.fspath(source)
        case _:
            return None
