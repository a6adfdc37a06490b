"""The stages of a job."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Stage"]


class Stage(StrEnum):
    """The stage of a job. A URL job has `FETCHING` instead of `UPLOADING`."""

    QUEUED = "queued"
    """In the local queue, waiting for a slot of the account; nothing is sent or paid yet."""
    UPLOADING = "uploading"
    FETCHING = "fetching"
    """The service fetches the song from its URL."""
    WAITING = "waiting"
    """In the service's queue."""
    DISTRIBUTING = "distributing"
    """A long song is being split over several GPUs."""
    PROCESSING = "processing"
    MERGING = "merging"
    DONE = "done"
    """Separated; the stems are at the service."""
    DOWNLOADING = "downloading"
    FINISHED = "finished"
    """Separated, and the requested stems are complete on disk."""
    FAILED = "failed"
    CANCELLED = "cancelled"
