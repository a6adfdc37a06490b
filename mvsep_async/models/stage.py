"""Where a job stands, as its owner sees it."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Stage"]


class Stage(StrEnum):
    """What is happening to a job. A URL job has `FETCHING` where a file has `UPLOADING`."""

    QUEUED = "queued"
    """Here, waiting for a slot of the account; nothing was sent or paid."""
    UPLOADING = "uploading"
    FETCHING = "fetching"
    """The service fetches the song from its URL."""
    WAITING = "waiting"
    """In the service's queue."""
    DISTRIBUTING = "distributing"
    """A long song, being split over several GPUs."""
    PROCESSING = "processing"
    MERGING = "merging"
    DONE = "done"
    """Separated; the stems are at the service."""
    DOWNLOADING = "downloading"
    FINISHED = "finished"
    """Separated, and the stems asked for are on disk, complete."""
    FAILED = "failed"
    CANCELLED = "cancelled"
