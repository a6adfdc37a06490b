"""Check a song against the limits of the account's plan, before it is sent."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from mvsep_async.audio.tags import read_tags
from mvsep_async.catalogue.plans import check_song
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import InvalidRequestError, MVSepError, UploadError
from mvsep_async.jobs.failures import needs_premium
from mvsep_async.jobs.request import JobRequest
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from mvsep_async.sources import Data, Pair, label, uploaded_files

__all__ = ["PremiumRefusals", "RefusedSizes", "check_limits"]

_TOO_LARGE: Final = re.compile(r"(?i)\b(?:too (?:large|big)|(?:larger|greater|bigger) than|exceeds? .*\bsize)\b")
"""Words for a file that is too large where the status is not 413. They are a guess: no such text is documented."""

_ONLY_A_STATUS: Final = 60.0
"""Seconds for which uploads must be refused by a bare 413 until it is believed for other songs: else a
proxy that is set up wrongly for a moment would end every song that is queued."""

_PREMIUM_CHECK: Final = 60.0
"""Seconds between two requests for the account after a refusal for lack of credits."""


async def check_limits(request: JobRequest, user: User | None) -> None:
    """Raise `InvalidRequestError` for a song that is too large or too long for the account's plan.

    Nothing is checked while the plan is unknown, for URLs, for algorithms without a song, and with `anyway`.
    """
    if user is None or request.settings.anyway:
        return
    source = request.source
    if isinstance(source, Data):
        seconds = None if user.is_premium else (await in_thread(read_tags, BytesIO(source.data), "")).seconds
        check_song(user, source.filename, size=source.size, seconds=seconds)
    for path in uploaded_files(source):
        name = Path(path).name if isinstance(source, Pair) else label(source, request.filename)
        await _check_file(user, Path(path), name)


async def _check_file(user: User, path: Path, name: str) -> None:
    try:
        size = (await in_thread(path.stat)).st_size
    except OSError as error:
        raise UploadError(f"{path} cannot be read: {error.strerror or error}") from error
    # Only free accounts have a limit of the duration, and finding it means reading the file's header.
    seconds = None if user.is_premium else (await in_thread(read_tags, str(path), "")).seconds
    check_song(user, name, size=size, seconds=seconds)


@frozen
class _RefusedSize:
    size: int
    since: float
    """When the first upload was refused."""
    believed: bool = False
    """Whether other uploads are not sent for it."""


@define(eq=False)
class RefusedSizes:
    """The sizes that the service refused as too large, so that the next song of that size is not uploaded in vain.

    They are kept for each algorithm and plan until the client is closed, or an upload as large is accepted.
    """

    clock: Callable[[], float]
    _smallest: dict[tuple[int | None, bool | None], _RefusedSize] = field(factory=dict)

    def record(self, error: MVSepError, request: JobRequest, user: User | None, size: int) -> None:
        """Remember the size of an upload if `error` means that it was too large."""
        if not isinstance(error, InvalidRequestError) or error.status is None:
            return
        explained = _TOO_LARGE.search(error.reason) is not None
        if explained or error.status == 413:
            key, now = _plan(request, user), self.clock()
            known = self._smallest.get(key, _RefusedSize(size, now))
            believed = known.believed or explained or now - known.since >= _ONLY_A_STATUS
            self._smallest[key] = _RefusedSize(min(size, known.size), known.since, believed)

    def accepted(self, request: JobRequest, user: User | None, size: int) -> None:
        """Forget a size if an upload as large was accepted."""
        known = self._smallest.get(_plan(request, user))
        if known is not None and size >= known.size:
            del self._smallest[_plan(request, user)]

    def check(self, request: JobRequest, user: User | None, size: int) -> None:
        """Raise `InvalidRequestError` for an upload that is as large as one that was refused."""
        smallest = self._smallest.get(_plan(request, user))
        if smallest is None or not smallest.believed or size < smallest.size or request.settings.anyway:
            return
        raise InvalidRequestError(
            f"{label(request.source, request.filename)} has {size / 1024**2:.1f} MiB, and the service refused "
            f"{smallest.size / 1024**2:.1f} MiB as too large: compress or split it, or pass anyway=True (--anyway) to "
            "send it all the same",
            fields={"audiofile": ["too large"]},
        )


@define(eq=False)
class PremiumRefusals:
    """The algorithms and formats that the service refused for lack of credits, so that the other songs of a run are
    not uploaded in vain.
    """

    clock: Callable[[], float]
    _refused: dict[tuple[int | None, OutputFormat], InvalidRequestError] = field(factory=dict)
    _asked_at: float = -inf

    def record(self, error: MVSepError, request: JobRequest) -> None:
        """Remember a refusal if it means that the account would have to be premium."""
        if isinstance(error, InvalidRequestError) and error.status is not None and needs_premium(error):
            self._refused[_settings(request)] = error

    async def check(self, request: JobRequest, current_user: Callable[[], Awaitable[User | None]]) -> None:
        """Raise `InvalidRequestError` for settings that were refused, unless the account has credits by now.

        `current_user` requests the account; it is called once a minute at most.
        """
        error = self._refused.get(_settings(request))
        if error is None or request.settings.anyway:
            return
        if self.clock() - self._asked_at > _PREMIUM_CHECK:
            user = await current_user()
            self._asked_at = self.clock()
            if user is not None and user.is_premium:
                self._refused.clear()
                self._asked_at = -inf
                return
        raise InvalidRequestError(
            f"{label(request.source, request.filename)} was not sent, since the same settings were refused before: "
            f"{error.message}",
            fields=error.fields,
            reason=error.reason,
        )


def _settings(request: JobRequest) -> tuple[int | None, OutputFormat]:
    return request.settings.algorithm, request.settings.output_format


def _plan(request: JobRequest, user: User | None) -> tuple[int | None, bool | None]:
    return request.settings.algorithm, None if user is None else user.is_premium
