"""What an answer to a download means, given what is already there. Headers in, a decision out: no disk, no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from attrs import frozen

__all__ = [
    "Answer",
    "Complete",
    "Forget",
    "Link",
    "Receive",
    "Reject",
    "ResumeState",
    "classify_download_response",
    "identity",
    "request_headers",
]

_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)\s*\Z", re.IGNORECASE | re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
"""What files have bytes; of thousands of digits Python makes no number, but an error."""
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"\Z')
_LINK_GONE: Final = frozenset({401, 403, 404, 410})
_WORTH_WAITING: Final = frozenset({408, 425, 429})


@frozen
class ResumeState:
    """What must still be so for the bytes that are there to be continued.

    `validator` is a strong ETag or a Last-Modified date that may serve as one; without it nothing can be continued.
    """

    identity: str
    total: int | None = None
    validator: str | None = None

    @property
    def resumable(self) -> bool:
        return self.validator is not None


@frozen
class Receive:
    """Write the body from `offset`. At 0 this is a fresh start: what was there is void. `total` if it is known."""

    offset: int
    state: ResumeState


@frozen
class Complete:
    """All bytes are there already."""


@frozen
class Forget:
    """What is there cannot be continued: ask again, for the whole."""

    why: str


@frozen
class Link:
    """The link leads nowhere (any more): ask for a new one."""

    why: str


@frozen
class Reject:
    """Not the file. `passing`: it may be another time (the service is busy, its edge answers for it)."""

    why: str
    passing: bool
    page: bool = False
    pause: float | None = None
    """Seconds that the server asked to wait."""


Answer: TypeAlias = Receive | Complete | Forget | Link | Reject


def identity(url: str) -> str:
    """Return what names the file in a URL: host and path. The query is left out, it may hold a secret and expires."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""  # no URL at all, as asking for it will show
    return f"{(parts.hostname or '').lower()}{parts.path}"


def request_headers(have: int, state: ResumeState | None) -> dict[str, str]:
    """Return the headers that ask for what is missing behind `have` bytes, provided the file is still the same."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}  # ranges count bytes of the file, not of a gzip of it
    if have and state is not None and state.validator is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": state.validator}
    return headers


def classify_download_response(
    status: int,
    headers: Mapping[str, str],
    *,
    url: str,
    have: int = 0,
    state: ResumeState | None = None,
    promised: int | None = None,
) -> Answer:
    """Decide what to do with an answer to a request that was made with `request_headers(have, state)`.

    `headers` are case-insensitive, or lower-case; `url` is what was asked for; `promised` the size the service named.
    """
    if status == 200:
        return _whole(headers, url, promised)
    if status in (206, 416):
        if not have or state is None or not state.resumable:
            return Reject(f"the server answered {status} to a request for the whole file", passing=True)
        return _rest(headers, url, have, state, promised) if status == 206 else _beyond(headers, have, state)
    if status in _LINK_GONE:
        return Link(f"the server answered {status}")
    passing = status >= 500 or status in _WORTH_WAITING
    return Reject(f"the server answered {status}", passing=passing, pause=_number(headers.get("retry-after")))


def _whole(headers: Mapping[str, str], url: str, promised: int | None) -> Answer:
    if coded := _coded(headers):
        return coded
    total = _number(headers.get("content-length"))
    if total == 0:
        return Reject("the server sent an empty file", passing=True)
    if promised is not None and total is not None and total != promised:
        return Reject(f"the server has {total} bytes, {promised} were promised", passing=True)
    return Receive(0, ResumeState(identity(url), total if total is not None else promised, _validator(headers)))


def _rest(headers: Mapping[str, str], url: str, have: int, state: ResumeState, promised: int | None) -> Answer:
    if coded := _coded(headers):
        return coded
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    if found is None or found[1] is None:
        return Forget("the server sent a part without saying which")
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    length = _number(headers.get("content-length"))
    expected = state.total if state.total is not None else promised
    if first != have or (total is not None and last >= total) or (length is not None and length != last - first + 1):
        return Forget(f"the server sent bytes {first}-{last}, asked for were those from {have}")
    if total is not None and expected is not None and total != expected:
        return Forget(f"the file has {total} bytes now, it had {expected}")
    # A server that passes over If-Range may still say whose bytes these are.
    vouching = state.validator or ""
    now = headers.get("etag" if vouching.startswith('"') else "last-modified", "").strip()
    if now and now.removeprefix("W/") != vouching:
        return Forget("the file is another one now")
    return Receive(have, ResumeState(identity(url), expected if expected is not None else total, state.validator))


def _beyond(headers: Mapping[str, str], have: int, state: ResumeState) -> Answer:
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    total = int(found[3]) if found is not None and found[3] != "*" else None
    if total == have and state.total in (None, have):
        return Complete()
    return Forget(f"the server has nothing behind byte {have}")


def _coded(headers: Mapping[str, str]) -> Reject | None:
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding in ("identity", ""):
        return None
    return Reject(f"the server sent the file encoded ({coding[:20]!r}) though asked not to", passing=True)


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return what may stand in `If-Range`: a strong ETag, or a date that RFC 9110 (8.8.2.2) lets pass for one."""
    etag = headers.get("etag", "").strip()
    if _STRONG_ETAG.match(etag):
        return etag
    modified = headers.get("last-modified", "").strip()
    changed, sent = _date(modified), _date(headers.get("date", ""))
    if changed is None or (sent is not None and sent - changed < timedelta(seconds=1)):
        return None  # written in the very second it was sent: a change within that second would not show
    return modified


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
