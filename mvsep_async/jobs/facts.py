"""What has become known of a job since it was asked for, as one value that is replaced whole."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from mvsep_async.errors import MVSepError
from mvsep_async.http.hosts import Host
from mvsep_async.models.separation import Separation

__all__ = ["NOTHING", "Facts"]


@frozen(kw_only=True)
class Facts:
    """What the service and the disk say of one job."""

    hash: str | None = None
    """The hash that `get` is asked with."""
    remote: str | None = None
    """The short hash of a URL job, which `get-remote` is asked with until the song is fetched."""
    host: Host | None = None
    """The host that accepted the job, `None` for the base URL's."""
    attempts: int = 0
    """Creates begun, the one under way counted."""
    intent_at: float | None = None
    """When the last create was begun, as a Unix time: what the service lists from long before cannot be it."""
    accepted_at: float | None = None
    """When the service's answer to the create came, as a Unix time."""
    separation: Separation | None = None
    error: MVSepError | None = None
    planned: tuple[tuple[str, Path], ...] = ()
    """The files of the downloads begun, the last one's first: which result (its `OutputFile.name`) goes to which path.
    Written down before the first byte, so that after a crash a file that stands there is known to be this job's."""
    paths: tuple[Path, ...] = ()
    """Files complete on disk."""


NOTHING = Facts()
"""The facts of a job that still waits here: one object for all of them."""
