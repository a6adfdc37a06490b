"""An `application/x-www-form-urlencoded` body that is sent after a check."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import urlencode

from mvsep_async.http.token import Token

__all__ = ["CheckedForm"]


class CheckedForm:
    """The fields of a form as a body that is sent once `before_last()` has returned, on a connection that is open.

    `before_last` may raise to keep the request incomplete. A `Token` among the fields is revealed only while the bytes
    that hold it are made.
    """

    def __init__(self, fields: Mapping[str, str | Token], before_last: Callable[[], Awaitable[None]]) -> None:
        self._fields = dict(fields)
        self._before_last = before_last
        self._iteration: AsyncGenerator[bytes] | None = None
        self.content_length = len(self._encoded())

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the body: because of its length, it is not sent in chunked encoding."""
        return {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(self.content_length)}

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._iteration = self._pieces()
        return self._iteration

    async def aclose(self) -> None:
        """End the latest iteration where it is."""
        if self._iteration is not None:
            await self._iteration.aclose()

    async def _pieces(self) -> AsyncGenerator[bytes]:
        await self._before_last()
        yield self._encoded()

    def _encoded(self) -> bytes:
        fields = self._fields.items()
        return urlencode(
            [(name, value.reveal() if isinstance(value, Token) else value) for name, value in fields]
        ).encode()
