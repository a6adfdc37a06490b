"""Decide from the headers of a response whether a download continues, starts again or fails. No disk, no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from attrs import frozen

__all__ = [
    "Complete",
    "LinkGone",
    "Receive",
    "Reject",
    "Restart",
    "ResumeState",
    "Verdict",
    "classify_download_response",
    "identity",
    "is_validator",
    "request_headers",
]

_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)\s*\Z", re.IGNORECASE | re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
"""More digits than any length has; `int` raises on thousands of them."""
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]*"\Z')
_LINK_GONE: Final = frozenset({401, 403, 404, 410})


@frozen
class ResumeState:
    """What must be unchanged at the server to resume from the bytes on disk.

    `validator` is a strong ETag, or a Last-Modified date that can serve as one; without it, nothing can be resumed.
    """

    identity: str
    total: int | None = None
    validator: str | None = None

    @property
    def resumable(self) -> bool:
        return self.validator is not None


@frozen
class Receive:
    """Write the body from `offset`; 0 is a fresh start that replaces what is on disk."""

    offset: int
    state: ResumeState


@frozen
class Complete:
    """All bytes are on disk."""


@frozen
class Restart:
    """The bytes on disk cannot be continued: ask for the whole file."""

    reason: str


@frozen
class LinkGone:
    """The link does not lead to the file, for example because it expired: ask the service for a new one.

    `wrong_content`: it leads to something that is not the file.
    """

    reason: str
    wrong_content: bool = False


@frozen
class Reject:
    """The response is not the file.

    `temporary`: a later attempt may succeed. `wrong_content`: the server has another file instead. `retry_after`: the
    seconds that the server asked to wait. `slow`: bytes were received, but too few to count as progress.
    """

    reason: str
    temporary: bool
    wrong_content: bool = False
    retry_after: float | None = None
    slow: bool = False


Verdict: TypeAlias = Receive | Complete | Restart | LinkGone | Reject


def identity(url: str) -> str:
    """Return host and path of a URL, which identify its file. The query changes, and may contain a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""  # not a URL: the request will fail
    return f"{(parts.hostname or '').lower()}{parts.path}"


def request_headers(have: int, state: ResumeState | None) -> dict[str, str]:
    """Return the headers that ask for the bytes after the first `have`, if the file is unchanged."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}  # a range of a gzip is not a range of the file
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
) -> Verdict:
    """Return what to do with a response to a request with `request_headers(have, state)`.

    `headers` are case-insensitive, or lower-case; `url` is what was asked for; `promised` the length that the service's
    API gave for the file.
    """
    if status == 200:
        return _whole(headers, url, promised)
    if status in (206, 416):
        if not have or state is None or not state.resumable:
            return Reject(f"the server answered {status} to a request for the whole file", temporary=True)
        return (_rest if status == 206 else _beyond)(headers, url, have, state, promised)
    if status in _LINK_GONE:
        return LinkGone(f"the server answered {status}")
    # Any other status may be a page of a proxy or a firewall, which goes away again.
    retry_after = _number(headers.get("retry-after"))
    return Reject(f"the server answered {status}", temporary=True, retry_after=retry_after)


def _whole(headers: Mapping[str, str], url: str, promised: int | None) -> Verdict:
    if coded := _coded(headers):
        return coded
    total = _number(headers.get("content-length"))
    if total == 0:
        return Reject("the server sent an empty file", temporary=True)
    if promised is not None and total is not None and total != promised:
        reason = f"the server has a file of {total} bytes, the job's result has {promised}"
        return Reject(reason, temporary=True, wrong_content=True)
    return Receive(0, ResumeState(identity(url), total if total is not None else promised, _validator(headers)))


def _rest(headers: Mapping[str, str], url: str, have: int, state: ResumeState, promised: int | None) -> Verdict:
    if coded := _coded(headers):
        return coded
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    if found is None or found[1] is None:
        return Restart("the server sent a partial response without a Content-Range")
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    length = _number(headers.get("content-length"))
    expected = state.total if state.total is not None else promised
    if first != have or (total is not None and last >= total) or (length is not None and length != last - first + 1):
        return Restart(f"the server sent bytes {first}-{last}, not those from {have}")
    if total is not None and expected is not None and total != expected:
        return Restart(f"the file at the server has {total} bytes, before {expected}")
    # A server that ignores If-Range may still send the validator.
    before = state.validator or ""
    sent = headers.get("etag" if before.startswith('"') else "last-modified", "").strip()
    if sent and sent.removeprefix("W/") != before:
        return Restart("the file changed on the server")
    return Receive(have, ResumeState(identity(url), expected if expected is not None else total, state.validator))


def _beyond(headers: Mapping[str, str], url: str, have: int, state: ResumeState, promised: int | None) -> Verdict:
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    total = int(found[3]) if found is not None and found[3] != "*" else None
    if total == have and state.total in (None, have) and promised in (None, have):
        return Complete()
    return Restart(f"the server has nothing after byte {have}")


def _coded(headers: Mapping[str, str]) -> Reject | None:
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding in ("identity", ""):
        return None
    return Reject(f"the server sent the file with the content encoding {coding[:20]!r}", temporary=True)


def is_validator(text: str) -> bool:
    """Return whether the text can be sent as `If-Range`: a strong ETag or a date."""
    return _STRONG_ETAG.match(text) is not None or (text.isascii() and text.isprintable() and _date(text) is not None)


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return a validator for `If-Range`: a strong ETag, or a date that is strong by RFC 9110, 8.8.2.2."""
    etag = headers.get("etag", "").strip()
    if _STRONG_ETAG.match(etag):
        return etag
    modified = headers.get("last-modified", "").strip()
    changed, sent = _date(modified), _date(headers.get("date", ""))
    if changed is None or (sent is not None and sent - changed < timedelta(seconds=1)):
        return None  # modified in the same second: another change in that second would not be noticed
    return modified if is_validator(modified) else None


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
