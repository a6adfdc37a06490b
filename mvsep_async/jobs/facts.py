"""What is known about a job beyond its request and state, as one frozen value."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve, field, frozen

from mvsep_async.errors import MVSepError
from mvsep_async.http.hosts import Host
from mvsep_async.models.separation import Separation

__all__ = ["NOTHING", "Facts"]


def _without_tags(separation: Separation | None) -> Separation | None:
    return separation if separation is None or separation.tags is None else evolve(separation, tags=None)


@frozen(kw_only=True)
class Facts:
    """What is known of a job at the service and on disk."""

    hash: str | None = None
    """The hash that `get` takes."""
    remote: str | None = None
    """The short hash of a URL job, which `get-remote` takes until the song is fetched."""
    host: Host | None = None
    """The host that accepted the job, `None` for that of the base URL."""
    attempts: int = 0
    """Number of creates begun, including the one in flight."""
    intent_at: float | None = None
    """Stamp of the last create: a Unix time that orders the creates and acceptances of one journal."""
    accepted_at: float | None = None
    """Stamp of the service's response to the create."""
    separation: Separation | None = field(default=None, converter=_without_tags)
    """The result, without the audio tags of the song: they can be as large as 500 KB."""
    error: MVSepError | None = None
    planned: tuple[tuple[str, Path], ...] = ()
    """The files of all downloads begun, the latest download first: a result's `OutputFile.name` and its path.

    Recorded before the first byte, so that a file at that path is known to be this job's after a crash."""
    paths: tuple[Path, ...] = ()
    """Files that are complete on disk."""
    archived: bool = False
    """Whether the job was pruned and is kept only so that its song is not paid again."""


NOTHING = Facts()
"""The facts of every queued job: one shared object."""
