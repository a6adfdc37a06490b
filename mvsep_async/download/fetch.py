"""Fetch one file over HTTP, resuming after interruptions; it gets its final name when it is complete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path
from random import uniform
from typing import TYPE_CHECKING, Final

import anyio
from anyio import CancelScope
from attrs import Factory, define, field, frozen

from mvsep_async.audio.formats import HEAD
from mvsep_async.concurrency import in_thread
from mvsep_async.download.content_type import detect_wrong_content
from mvsep_async.download.folder import DISK_FULL, NotOursError
from mvsep_async.download.part_file import PART, PartFile
from mvsep_async.download.ranges import (
    Complete,
    LinkGone,
    Receive,
    Reject,
    Restart,
    classify_download_response,
    identity,
    request_headers,
)
from mvsep_async.download.response import FileResponse, RequestError, request_file, shown
from mvsep_async.download.retry import Fail, Finish, Outcome, RenewLink, Retry, RetryState
from mvsep_async.download.writer import writing
from mvsep_async.errors import (
    DownloadError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    TransportError,
)
from mvsep_async.transport.bandwidth import Bandwidth

if TYPE_CHECKING:
    import httpx

__all__ = ["PATIENCE", "Fetch", "Fetched"]

PATIENCE: Final = 300.0
"""Seconds without one new byte before a download gives up."""

_NO_ANSWER: Final = (TransportError, ServiceUnavailableError, ProtocolError, RateLimitedError)
"""Errors of `renew` after which a later try may succeed."""


@frozen
class Fetched:
    """A complete file of `size` bytes, of which `resumed` were on disk before and `received` came over the network."""

    path: Path
    size: int
    resumed: int
    received: int


@define(eq=False, kw_only=True, repr=False)
class Fetch:
    """Fetches a file from `url` to `target`, a path below `root`, resuming from the bytes in `<target>.part`.

    - `size`: the length in bytes that the file must have, if known.
    - `overwrite`: whether a file of that name may be replaced. `candidates`: files beside it that may be the result of
      an earlier run; if one has the same bytes, it is kept and its path returned.
    - `on_bytes(count)` is called with the number of bytes on disk, including those of earlier runs; the number
      decreases if the download starts again.
    - `renew()` returns a new URL for an expired link; while the service does not answer it, it is called again within
      `patience`. `next_path(path)` returns another path in the same folder if `path` is taken; without it that is an
      error. `confirm()` is awaited before the file gets its name, and may raise to prevent it; also when the download
      has failed, so that `keeps` is up to date.
    - `keeps()`: whether an unfinished file is kept, to be continued. `on_retry(reason)` is called before each further
      attempt. `patience`: seconds without a new byte before it fails.
    - `may_be_private(url)`: whether a link may lead to a private address. `bandwidth`: how fast to read.
    """

    http: httpx.AsyncClient
    url: str
    target: Path
    root: Path
    size: int | None = None
    overwrite: bool = False
    candidates: Collection[Path] = ()
    on_bytes: Callable[[int], None] = lambda count: None
    renew: Callable[[], Awaitable[str]] | None = None
    next_path: Callable[[Path], Awaitable[Path]] | None = None
    confirm: Callable[[], Awaitable[None]] | None = None
    keeps: Callable[[], bool] = lambda: True
    on_retry: Callable[[str], None] = lambda reason: None
    patience: float = PATIENCE
    may_be_private: Callable[[str], bool] = lambda url: True
    bandwidth: Bandwidth | None = None
    clock: Callable[[], float] = anyio.current_time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    _part: PartFile = field(default=Factory(lambda self: PartFile(self.root, self.target), takes_self=True), init=False)
    _received: int = field(default=0, init=False)

    async def run(self) -> Fetched:
        """Fetch the file and return its path.

        When cancelled or failed it leaves a `.part` file to continue from, never an incomplete file under the final
        name. Raises `DownloadError`, without the query of the URL in its message, and whatever `renew`, `next_path` and
        `confirm` raise.
        """
        try:
            await self._open()
            resumed = self._part.have
            self.on_bytes(resumed)
            try:
                await self._complete()
            except DownloadError:
                # A process that was suspended may fail before it learns that another one has the job.
                if self.confirm is not None:
                    await self.confirm()
                raise
            size = self._part.have
            path = await self._finish()
            return Fetched(path, size, resumed, self._received)
        finally:
            with CancelScope(shield=True):
                await in_thread(self._part.keep if self.keeps() else self._part.discard)

    async def _open(self) -> None:
        """Open the `.part` file, of the next path if this one is taken, and drop bytes of another file in it."""
        while (taken := await _try_open(self._part, overwrite=self.overwrite)) is not None:
            if self.next_path is None:
                raise DownloadError(taken)
            self._part = PartFile(self.root, await self.next_path(self._part.target))
        state = self._part.state
        if state is not None and (
            state.identity != identity(self.url) or (self.size and state.total not in (None, self.size))
        ):
            self._part.start_over()

    async def _complete(self) -> None:
        """Make attempts until all bytes are on disk."""
        retries = RetryState(self.patience, self.clock(), self._part.have, can_renew=self.renew is not None)
        from_start = False
        while not self._is_complete():
            outcome = await self._attempt(from_start=from_start)
            retries, step = retries.next(outcome, self._part.have, self.clock())
            from_start = False
            if isinstance(step, RenewLink):
                assert self.renew is not None
                try:
                    self.url = await self.renew()
                    continue
                except _NO_ANSWER as error:
                    retries, step = retries.renewal_failed(error.message, self.clock())
            match step:
                case Finish():
                    return
                case Retry(pause, reason, from_start):
                    self.on_retry(reason)
                    await self.sleep(pause * uniform(1.0, 1.5))  # never shorter than the server asked for
                case Fail(reason):
                    raise _failed(self._part, self.url, reason)

    def _is_complete(self) -> bool:
        """Tell whether the bytes on disk are the whole file."""
        state = self._part.state
        return state is not None and 0 < self._part.have == state.total

    async def _attempt(self, *, from_start: bool) -> Outcome:
        """Send one request for the missing bytes, or for all of them, and write the bytes received."""
        state = self._part.state
        have = self._part.have if state is not None and state.resumable and not from_start else 0
        try:
            async with request_file(
                self.http,
                self.url,
                request_headers(have, state),
                may_be_private=self.may_be_private,
                bandwidth=self.bandwidth,
            ) as response:
                verdict = classify_download_response(
                    response.status,
                    response.headers,
                    url=self.url,
                    have=have,
                    state=state,
                    promised=self.size,
                )
                if not isinstance(verdict, Receive):
                    return verdict
                return await self._receive(response, verdict)
        except RequestError as error:
            return Reject(error.reason, temporary=error.temporary, slow=error.slow)
        except OSError as error:
            raise _disk_error(self._part, error) from None

    async def _receive(self, response: FileResponse, verdict: Receive) -> Outcome:
        offset, total = verdict.offset, verdict.state.total
        head = b""
        if offset == 0:
            head = await _read_head(response)
            content_type = response.headers.get("content-type", "")
            if found := detect_wrong_content(head, self._part.name, content_type=content_type):
                if found.page:
                    return Reject(found.why, temporary=True)
                return LinkGone(found.why, wrong_content=True)
        await in_thread(self._part.begin, offset, verdict.state)
        async with writing(self._part) as writer:
            await writer.put(head)
            offset = self._count(len(head), offset)
            while (total is None or offset <= total) and (count := await response.read_into(writer.space())):
                offset = self._count(count, offset)
                await writer.commit(count)
        if total is None or offset == total:
            return Complete()
        if offset > total:
            return Restart(f"the server sent more than the {total} bytes it announced")
        return Reject(f"the server sent {offset} bytes of {total}", temporary=True)

    def _count(self, new: int, offset: int) -> int:
        self._received += new
        self.on_bytes(offset + new)
        return offset + new

    async def _finish(self) -> Path:
        """Rename the file to its final name, or discard it if one of `candidates` is identical; return the path."""
        part = self._part
        try:
            for known in self.candidates:
                if await in_thread(part.equals, known.name):
                    await in_thread(part.discard)
                    return known
            path = part.target
            while True:
                if self.confirm is not None:
                    await self.confirm()
                try:
                    await in_thread(partial(part.finish, overwrite=self.overwrite, name=path.name))
                except FileExistsError:
                    if self.next_path is None:
                        raise DownloadError(_exists(path)) from None
                    path = await self.next_path(path)
                else:
                    return path
        except OSError as error:
            raise DownloadError(
                f"{part.target} is downloaded but could not be completed on disk: {error.strerror or error}; "
                f"{_kept(part)}"
            ) from error


async def _read_head(response: FileResponse) -> bytes:
    """Return the first bytes of the body, enough to detect the format, or the whole body if it is shorter."""
    buffer = memoryview(bytearray(HEAD))
    size = 0
    while size < HEAD and (count := await response.read_into(buffer[size:])):
        size += count
    return bytes(buffer[:size])


async def _try_open(part: PartFile, *, overwrite: bool) -> str | None:
    """Open the `.part` file, or return why the path is taken; raises `DownloadError` if it cannot be written."""
    try:
        await in_thread(part.open)
        if overwrite or not await in_thread(part.target_exists):
            return None
        await in_thread(part.keep)
        return _exists(part.target)
    except BlockingIOError:
        return f"{part.target} is being downloaded by another process"
    except NotOursError as error:
        return f"{part.target} cannot be written: {error.filename} {error.strerror}"
    except ValueError:
        raise DownloadError(f"{part.target} is not below {part.root}") from None
    except OSError as error:
        raise DownloadError(
            f"{part.target} cannot be written ({error.strerror or error}): choose a writable folder"
        ) from error


def _failed(part: PartFile, url: str, reason: str) -> DownloadError:
    return DownloadError(f"{part.name} could not be fetched from {shown(url)}: {reason}; {_kept(part)}")


def _disk_error(part: PartFile, error: OSError) -> DownloadError:
    if error.errno in DISK_FULL:
        return DownloadError(
            f"{part.name} could not be written, the disk is full: free some space and start again; {_kept(part)}"
        )
    return DownloadError(f"{part.target} could not be written: {error.strerror or error}; {_kept(part)}")


def _exists(path: Path) -> str:
    return f"{path} already exists: choose another folder or layout, or pass overwrite=True"


def _kept(part: PartFile) -> str:
    if not part.have:
        return "no bytes were kept"
    return f"{part.have} bytes are kept in {part.target}{PART} and are continued by the next download"
