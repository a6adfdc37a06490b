"""Fetching one file, through cuts and restarts, to a name that it gets only when it is whole."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from random import uniform
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpx
from anyio import CancelScope
from attrs import define, field, frozen

from mvsep_async.concurrency import in_thread
from mvsep_async.download.content_type import ENOUGH, detect_wrong_content
from mvsep_async.download.part_file import PART, PartFile
from mvsep_async.download.ranges import (
    Answer,
    Complete,
    Forget,
    Link,
    Receive,
    Reject,
    classify_download_response,
    identity,
    request_headers,
)
from mvsep_async.download.writer import writing
from mvsep_async.errors import DownloadError
from mvsep_async.transport.extensions import READ_INTO

__all__ = ["PATIENCE", "Fetched", "fetch"]

PATIENCE: Final = 300.0
"""Seconds without one new byte before a download gives up."""

_REDIRECTS: Final = 5
_REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})

_PAGES: Final = 6
"""Web pages in a row instead of the file before we believe that they are meant: about half a minute."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@frozen
class Fetched:
    """A complete file, `size` bytes long, of which `resumed` were there from an earlier run; `received` came now."""

    path: Path
    size: int
    resumed: int
    received: int


async def fetch(
    http: httpx.AsyncClient,
    url: str,
    target: Path,
    *,
    root: Path,
    size: int | None = None,
    overwrite: bool = False,
    perhaps: Collection[Path] = (),
    on_bytes: Callable[[int], None] | None = None,
    renew: Callable[[], Awaitable[str]] | None = None,
    on_retry: Callable[[str], None] | None = None,
    patience: float = PATIENCE,
    clock: Callable[[], float] = anyio.current_time,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> Fetched:
    """Fetch `url` to `target`, a path below `root`, continuing what an earlier run left in `<target>.part`.

    `size`: bytes the file must have, where that is known. `overwrite`: whether a file of that name may be replaced.
    `perhaps`: files beside it that may be this one already; one that has the same bytes takes its place.
    `on_bytes(n)`: n bytes of the file are here, those of earlier runs too; falls when the file must be begun anew.
    `renew()`: a fresh URL for a link that has expired, asked for once between two bytes. `on_retry(why)`: told each
    time it tries again. `patience`: seconds without one new byte before it gives up.

    Cancelled or failed, it leaves a `.part` file to be continued, never a final file that is incomplete. Raises
    `DownloadError`; no message holds the query of a URL. Errors of `renew` pass.
    """
    part = PartFile(root, target)
    try:
        await _ready(part, overwrite=overwrite)
        if part.state is not None and part.state.identity != identity(url):
            part.disown()
        resumed = part.have
        download = _Download(http, url, part, size, on_bytes, renew, on_retry, patience, clock, sleep)
        await download.run()
        total = part.have
        path = await _finish(part, overwrite, perhaps)
        return Fetched(path, total, resumed, download.received)
    finally:
        with CancelScope(shield=True):
            await in_thread(part.keep)


class _FailedClientError(Exception):
    """The HTTP client raised what is none of HTTP's errors."""


@define(eq=False)
class _Download:
    """The bytes of one file, from wherever they are to the end."""

    _http: httpx.AsyncClient
    _url: str
    _part: PartFile
    _promised: int | None
    _on_bytes: Callable[[int], None] | None
    _renew: Callable[[], Awaitable[str]] | None
    _on_retry: Callable[[str], None] | None
    _patience: float
    _clock: Callable[[], float]
    _sleep: Callable[[float], Awaitable[None]]
    received: int = field(default=0, init=False)

    async def run(self) -> None:
        """Return when the `.part` file is complete."""
        furthest, since = self._part.have, self._clock()
        failures = pages = 0
        renewed = whole = False
        self._report(self._part.have)
        while not self._complete():
            answer = await self._attempt(0 if whole else self._part.have)
            if self._part.have > furthest:
                furthest, since = self._part.have, self._clock()
                failures = pages = 0
                renewed = False
            whole = False
            match answer:
                case Complete():
                    return
                case Forget():
                    whole = True
                case Link(why):
                    if renewed or self._renew is None:
                        raise self._error(f"{why}; the link has expired or the file was deleted at the service")
                    self._url, renewed = await self._renew(), True
                    continue
                case Reject(why, passing=False):
                    raise self._error(why)
                case Reject(page=page):
                    pages += page
            why = answer.why
            if pages >= _PAGES or self._clock() - since > self._patience:
                waited = f"; not one new byte in {self._clock() - since:.0f} s"
                raise self._error(f"{why}{waited}; {_kept(self._part)}")
            if self._on_retry is not None:
                self._on_retry(why)
            await self._sleep(_pause(failures, answer))
            failures += 1

    def _complete(self) -> bool:
        state = self._part.state
        return state is not None and 0 < self._part.have == state.total and self._promised in (None, state.total)

    async def _attempt(self, have: int) -> Complete | Forget | Link | Reject:
        """Ask once and write what comes."""
        state = self._part.state
        if have and (state is None or not state.resumable):
            have = 0
        try:
            async with self._get(request_headers(have, state)) as response:
                answer = classify_download_response(
                    response.status_code,
                    response.headers,
                    url=self._url,
                    have=have,
                    state=state,
                    promised=self._promised,
                )
                if not isinstance(answer, Receive):
                    return answer
                return await self._receive(response, answer)
        except _FailedClientError as error:
            return Reject(str(error), passing=True)
        except (httpx.TransportError, httpx.StreamError) as error:
            return Reject(f"the connection failed ({_reason(error)})", passing=True)
        except OSError as error:
            raise self._disk_error(error) from None

    async def _receive(self, response: httpx.Response, answer: Receive) -> Complete | Forget | Link | Reject:
        read_into = response.extensions.get(READ_INTO) or _Pieces(_raw(response)).read_into
        offset, total = answer.offset, answer.state.total
        head = b""
        if offset == 0:
            head = await _head(read_into)
            content_type = response.headers.get("content-type", "")
            if found := detect_wrong_content(head, self._part.name, content_type=content_type):
                return Reject(found.why, passing=True, page=True) if found.page else Link(found.why)
        await in_thread(self._part.begin, offset, answer.state)
        async with writing(self._part) as writer:
            await writer.put(head)
            offset = self._count(len(head), offset)
            while (total is None or offset <= total) and (count := await read_into(writer.space())):
                offset = self._count(count, offset)
                await writer.took(count)
        if total is None or offset == total:
            return Complete()
        if offset > total:
            return Forget(f"the server sent more than the {total} bytes it announced")
        return Reject(f"the server sent {offset} bytes of {total}", passing=True)

    @asynccontextmanager
    async def _get(self, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """Send a GET without cookies, authorization or anything else of the client's, and follow redirects."""
        url = self._parsed(self._url)
        for _ in range(_REDIRECTS + 1):
            request = httpx.Request(
                "GET",
                url,
                headers=headers | {"User-Agent": self._http.headers.get("user-agent", "mvsep-async")},
                extensions={"timeout": self._http.timeout.as_dict()},
            )
            response = await self._send(request)
            try:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECT_STATUSES or location is None:
                    yield response
                    return
                url = self._parsed(location, base=url)
            finally:
                with CancelScope(shield=True):
                    await response.aclose()
        raise self._error(f"the server redirected more than {_REDIRECTS} times")

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._http.send(request, stream=True, auth=None, follow_redirects=False)
        except httpx.TransportError:
            raise
        except httpx.HTTPStatusError as error:
            return error.response  # a hook of the caller's has looked at the status, as we are about to
        except Exception as error:  # noqa: BLE001 -- a hook or a transport of the caller's may raise anything
            if self._http.is_closed:
                raise self._error("the HTTP client given to this client is closed") from None
            raise _FailedClientError(f"the HTTP client failed with {type(error).__name__}") from None

    def _parsed(self, url: str, *, base: httpx.URL | None = None) -> httpx.URL:
        try:
            urlsplit(url)  # which refuses what httpx would look up in vain
            parsed = httpx.URL(url) if base is None else base.join(url)
            host = parsed.host
        except (httpx.InvalidURL, ValueError):
            raise self._error("the link is not a URL") from None
        if parsed.scheme not in ("http", "https") or not host:
            raise self._error(f"the link leads to {parsed.scheme or 'no'}://, only http and https are followed")
        return parsed.copy_with(username=None, password=None, fragment=None)

    def _count(self, new: int, offset: int) -> int:
        self.received += new
        self._report(offset + new)
        return offset + new

    def _report(self, have: int) -> None:
        if self._on_bytes is not None:
            self._on_bytes(have)

    def _error(self, why: str) -> DownloadError:
        return DownloadError(f"{self._part.name} could not be fetched from {_shown(self._url)}: {why}")

    def _disk_error(self, error: OSError) -> DownloadError:
        if error.errno in _FULL:
            return DownloadError(
                f"{self._part.name} could not be written, the disk is full: free some space and start again; "
                + _kept(self._part)
            )
        return DownloadError(
            f"{self._part.target} could not be written: {error.strerror or error}; {_kept(self._part)}"
        )


async def _ready(part: PartFile, *, overwrite: bool) -> None:
    """Open the `.part` file, or say at once why the file could never be written."""
    try:
        await in_thread(part.open)
        taken = not overwrite and await in_thread(part.target_exists)
    except BlockingIOError:
        raise DownloadError(f"{part.target} is being downloaded by another process already") from None
    except ValueError:
        raise DownloadError(f"{part.target} is not below {part.root}") from None
    except OSError as error:
        raise DownloadError(
            f"{part.target} cannot be written ({error.strerror or error}): choose a folder that can"
        ) from error
    if taken:
        raise _taken(part)


async def _finish(part: PartFile, overwrite: bool, perhaps: Collection[Path]) -> Path:
    """Give the file its name, unless it has one already; return the path that it has."""
    try:
        for path in perhaps:
            if await in_thread(part.equals, path.name):
                await in_thread(part.discard)
                return path
        await in_thread(lambda: part.finish(overwrite=overwrite))
    except FileExistsError:
        raise _taken(part) from None
    except OSError as error:
        raise DownloadError(
            f"{part.target} has arrived but could not be completed on disk: {error.strerror or error}; {_kept(part)}"
        ) from error
    return part.target


def _kept(part: PartFile) -> str:
    if not part.have:
        return "nothing of it is here yet"
    return f"{part.have} bytes are kept in {part.target}{PART} and will be continued"


def _taken(part: PartFile) -> DownloadError:
    return DownloadError(f"{part.target} exists already and is not overwritten: choose another name, or allow it")


@define(eq=False)
class _Pieces:
    """A body that comes in pieces of its own, as any transport but ours gives it, read into given memory."""

    _pieces: AsyncIterator[bytes]
    _rest: memoryview = field(default=memoryview(b""), init=False)

    async def read_into(self, buffer: memoryview) -> int:
        while not self._rest:
            try:
                self._rest = memoryview(await anext(self._pieces))
            except StopAsyncIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


async def _raw(response: httpx.Response) -> AsyncIterator[bytes]:
    """Give a body as it comes; one that a transport made up, as for tests, is there already."""
    if response.is_stream_consumed:
        yield response.content
        return
    async for piece in response.aiter_raw():
        yield piece


async def _head(read_into: Callable[[memoryview], Awaitable[int]]) -> bytes:
    """Return the first bytes, enough to tell what they are, or all there are."""
    buffer = memoryview(bytearray(ENOUGH))
    size = 0
    while size < ENOUGH and (count := await read_into(buffer[size:])):
        size += count
    return bytes(buffer[:size])


def _pause(failures: int, answer: Answer) -> float:
    """Return seconds to wait: none after progress, then 0.5, 1, 2, … up to 30, jittered; or what the server asked."""
    asked = answer.pause if isinstance(answer, Reject) and answer.pause is not None else 0.0
    backoff = min(30.0, 0.25 * 2**failures) * uniform(0.75, 1.25) if failures else 0.0
    return max(min(asked, 60.0), backoff)


def _reason(error: httpx.TransportError | httpx.StreamError) -> str:
    """Say what broke without the request's URL, which the exception itself holds."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _shown(url: str) -> str:
    """Cut what could be a secret: user name, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a broken link"
    return f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}{parts.path}"
