"""Keeping the token out of logs, those of httpx and httpcore included: they log URLs and headers by themselves."""

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
    "httpcore",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
_PARAMETER = re.compile(
    r"((?:api_token|password|password_confirmation)(?:=|%3D|\W{1,6}))([^\s&\"'<>,;)\]}]+)", re.IGNORECASE
)
_known: WeakValueDictionary[int, Token] = WeakValueDictionary()
"""By identity: of two equal tokens the second one must stay known when the first is gone."""


def protect(token: Token) -> None:
    """Hide this token, by its value, in everything that is logged or raised while it is in use."""
    _known[id(token)] = token


def redact(text: str) -> str:
    """Return `text` with every token and password in it hidden, also such as only their parameter's name tells."""
    # Parameters first: the mask of a token that is replaced already would be taken for a value, and masked again.
    return hide(_PARAMETER.sub(rf"\g<1>{Token.MASK}", text))


def hide(text: str) -> str:
    """Return `text` with every token in it hidden that is in use, also as URLs, JSON and `repr` write it."""
    for token in list(_known.values()):
        for spelling in _spellings(token.reveal()):
            if spelling in text:
                text = text.replace(spelling, Token.MASK)
    return text


def _spellings(value: str) -> Iterable[str]:
    if value.isascii() and value.isalnum():
        return (value,)  # as the service's own are: there is one way to write it
    quoted = (quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1])
    return sorted({spelling for spelling in (value, *quoted) if spelling}, key=len, reverse=True)


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
