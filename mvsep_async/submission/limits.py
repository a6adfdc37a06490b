"""Check a song against the limits of the account's plan, before it is sent."""

from __future__ import annotations

from pathlib import Path

from mvsep_async.audio.tags import read_tags
from mvsep_async.catalogue.plans import check_song
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import UploadError
from mvsep_async.jobs.request import JobRequest
from mvsep_async.models.user import User
from mvsep_async.sources import Data, Pair, Spooled, Stream, is_url, label

__all__ = ["check_limits"]


async def check_limits(request: JobRequest, user: User | None) -> None:
    """Raise `InvalidRequestError` for a song that is too large or too long for the account's plan.

    Nothing is checked while the plan is unknown, for URLs, for algorithms without a song, and with `anyway`.
    """
    if user is None or request.settings.anyway:
        return
    match request.source:
        case None:
            return
        case Data(_, name, size):
            check_song(user, name, size=size)
        case Pair(target, reference):
            for path in (target, reference):
                await _check_file(user, Path(path), Path(path).name)
        case Spooled(path, name):
            await _check_file(user, path, name)
        case Stream():
            return  # spooled before it is sent
        case source if is_url(source):
            return
        case path:
            await _check_file(user, Path(path), label(request.source, request.filename))


async def _check_file(user: User, path: Path, name: str) -> None:
    try:
        size = (await in_thread(path.stat)).st_size
    except OSError as error:
        raise UploadError(f"{path} cannot be read: {error.strerror or error}") from error
    # Only free accounts have a limit of the duration, and finding it means reading the file's header.
    seconds = None if user.is_premium else (await in_thread(read_tags, str(path), "")).seconds
    check_song(user, name, size=size, seconds=seconds)
