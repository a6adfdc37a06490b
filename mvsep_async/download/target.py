"""Check that the results of a job can be written, before it is paid for."""

from __future__ import annotations

from pathlib import Path

from mvsep_async.concurrency import in_thread
from mvsep_async.download.folder import DISK_FULL, check_writable
from mvsep_async.download.paths import folder_of, song_of
from mvsep_async.errors import DownloadError
from mvsep_async.jobs.request import JobRequest

__all__ = ["check_target", "os_reason"]


async def check_target(request: JobRequest) -> None:
    """Raise `DownloadError` if results of the request cannot be written to its target, if it has one.

    A small file is written to the planned folder and removed. Missing folders below the target folder stay missing.
    """
    target = request.target
    if target is None:
        return
    root, inside = Path(target.directory), Path(folder_of(target, song_of(request, None)))
    try:
        await in_thread(check_writable, root, inside)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            reason = ": the disk is full: free some space and start again"
        else:
            reason = f" ({os_reason(error)}): choose another folder"
        raise DownloadError(
            f"the folder {str(root / inside)!r} cannot be written to{reason}; nothing was sent or paid for",
            job=request.id,
        ) from None


def os_reason(error: OSError | ValueError) -> str:
    """Return an error's text with the name of the file or folder that it is about."""
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error)
