"""Keep the token out of logs, those of httpx and httpx2 included, which log URLs and headers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus
from weakref import WeakValueDictionary

from mvsep_async.http.token import Token

__all__ = ["guard_logs", "hide", "protect", "redact"]

# Loggers are named one by one: a filter on a logger does not see what its children log.
_LOGGERS: Final = (
    "mvsep_async",
    "mvsep_async.events",
    "httpx",
    "httpx2",
    *(
        f"{core}{part}"
        for core in ("httpcore", "httpcore2")
        for part in ("", ".connection", ".http11", ".http2", ".proxy", ".socks")
    ),
    "hpack",
    "hpack.hpack",
    "hpack.table",  # HTTP/2: the path is a header, and headers are logged
)
_PARAMETER = re.compile(
    r"((?:api_token|password|password_confirmation)(?:=|%3D|\W{1,6}))([^\s&\"'<>,;)\]}]+)", re.IGNORECASE
)
_known: WeakValueDictionary[int, Token] = WeakValueDictionary()
"""By identity: of two equal tokens, the second stays known when the first is collected."""


def protect(token: Token) -> None:
    """Hide this token in everything that is logged or raised while the object exists."""
    _known[id(token)] = token


def redact(text: str) -> str:
    """Return `text` with every known token hidden, and every value of a parameter that is a token or a password."""
    # Parameters first, or a mask would be taken for a value and masked again.
    return hide(_PARAMETER.sub(rf"\g<1>{Token.MASK}", text))


def hide(text: str, *, shortest: int = 1) -> str:
    """Return `text` with every token in use hidden, also as URLs, JSON and `repr` spell it.

    `shortest`: characters that a token must have to be hidden. A placeholder such as "1" is part of any text.
    """
    tokens = [value for token in list(_known.values()) if len(value := token.reveal()) >= shortest]
    spellings = {spelling for value in tokens for spelling in _spellings(value)}
    # The longest first, or the rest of a token would stay where a shorter one is its beginning.
    for spelling in sorted(spellings, key=len, reverse=True):
        if spelling in text:
            text = text.replace(spelling, Token.MASK)
    return text


def _spellings(value: str) -> Iterable[str]:
    if value.isascii() and value.isalnum():
        return (value,)  # as the service's own tokens are: it has one spelling
    quoted = (quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1])
    return filter(None, (value, *quoted))


class _Redactor(logging.Filter):
    """Rewrites a record before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters take `exc_text` as it is when it is there, and never render the exception themselves.
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True


_redactor = _Redactor()


def guard_logs() -> None:
    """Put the filter on our loggers and on those of the HTTP library; doing it again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_redactor)
