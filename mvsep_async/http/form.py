"""An `application/x-www-form-urlencoded` body that is sent after a check."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from urllib.parse import urlencode

from mvsep_async.http.request_body import RequestBody
from mvsep_async.http.token import Token

__all__ = ["CheckedForm"]


class CheckedForm(RequestBody):
    """The fields of a form as a body that is sent once `before_last()` has returned, on a connection that is open.

    `before_last` may raise to keep the request incomplete. A `Token` among the fields is revealed only while the bytes
    that hold it are made.
    """

    content_type = "application/x-www-form-urlencoded"

    def __init__(self, fields: Mapping[str, str | Token], before_last: Callable[[], Awaitable[None]]) -> None:
        self._fields = dict(fields)
        self._before_last = before_last
        self.content_length = len(self._encoded())

    async def _pieces(self) -> AsyncGenerator[bytes]:
        await self._before_last()
        yield self._encoded()

    def _encoded(self) -> bytes:
        fields = self._fields.items()
        return urlencode(
            [(name, value.reveal() if isinstance(value, Token) else value) for name, value in fields]
        ).encode()
