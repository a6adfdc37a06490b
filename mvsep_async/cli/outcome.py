"""How one job ended: what a program reads of it, and what a person does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from attrs import frozen
from rich.text import Text

from mvsep_async.cli.live.render import Glyphs
from mvsep_async.cli.text import visible
from mvsep_async.errors import InvalidRequestError, JobCancelledError, MVSepError
from mvsep_async.http.call import Json
from mvsep_async.jobs.job import Job
from mvsep_async.sources import Pair, PreparedSource, is_url, label

__all__ = ["Outcome", "job_name"]


@frozen(kw_only=True)
class Outcome:
    """One finished job. `source` is what was given, `files` are complete and on disk."""

    name: str
    source: str | None = None
    hash: str | None = None
    error: MVSepError | None = None
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, job: Job, error: MVSepError | None = None) -> Self:
        """Return how `job` ended; `error` is one that its download met."""
        error = error or job.error
        source = _source(job.source)
        return cls(name=job_name(job), source=source, hash=job.hash, error=error, files=() if error else job.paths)

    @property
    def status(self) -> Literal["done", "failed", "cancelled"]:
        """What a program is told."""
        if self.error is None:
            return "done"
        return "cancelled" if isinstance(self.error, JobCancelledError) else "failed"

    @property
    def unsent(self) -> bool:
        """Whether it was found out here that the song cannot be sent."""
        return self.hash is None and isinstance(self.error, InvalidRequestError) and self.error.status is None

    def document(self) -> Json:
        """Return what `--json` writes."""
        return {
            "source": self.source,
            "hash": self.hash,
            "status": self.status,
            "files": [str(path.absolute()) for path in self.files],
            "error": None if self.error is None else str(self.error),
        }

    def line(self, glyphs: Glyphs) -> Text:
        """Return what a person reads."""
        if self.error is not None:
            line = Text.assemble((f"{glyphs.failed} ", "red"), visible(self.name))
            told = " ".join(visible(str(self.error)).split())
            line.append(f"  {told}", style="dim" if self.status == "cancelled" else "red")
            return line
        line = Text.assemble((f"{glyphs.done} ", "green"), visible(self.name))
        if self.files:
            folders = sorted({path.parent for path in self.files})
            folder = folders[0] if len(folders) == 1 else Path(os.path.commonpath(folders))
            names = ", ".join(visible(path.relative_to(folder).as_posix()) for path in self.files)
            line.append(f"  {visible(str(folder))}{os.sep}", style="bold")
            line.append(f" {names}", style="dim")
        return line


def job_name(job: Job) -> str:
    """Return what a job is called on the display: the song's name, or the hash."""
    if job.request.source is None and job.request.filename is None and job.hash:
        return job.hash
    return label(job.source, job.request.filename)


def _source(source: PreparedSource) -> str | None:
    match source:
        case Pair(target, _):
            return os.fspath(target)
        case str() as url if is_url(url):
            return url
        case str() | os.PathLike():
            return os.fspath(source)
        case _:
            return None
