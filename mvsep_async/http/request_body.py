"""The bodies of requests, which are made while they are sent, and the simplest of them: that of a form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import urlencode

from attrs import define

from mvsep_async.http.token import Token, revealed

__all__ = ["FormBody", "RequestBody"]


class RequestBody(ABC):
    """A body of a length known before its first byte. It may be iterated again, for a retry."""

    content_type: str
    content_length: int
    _iteration: AsyncGenerator[bytes] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the body: because of its length, it is not sent in chunked encoding."""
        return {"Content-Type": self.content_type, "Content-Length": str(self.content_length)}

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._iteration = self._pieces()
        return self._iteration

    async def aclose(self) -> None:
        """End the latest iteration where it is, which closes the file that it reads."""
        if self._iteration is not None:
            await self._iteration.aclose()

    @abstractmethod
    def _pieces(self) -> AsyncGenerator[bytes]:
        """Yield the bytes of the body."""


@define(eq=False, repr=False, slots=False)  # the fields may be passwords
class FormBody(RequestBody):
    """A form as `application/x-www-form-urlencoded`, sent once `before_last()` has returned, if that is given.

    By then, the connection is open. `before_last` may raise to keep the request incomplete. A `Token` among the fields
    is revealed only while the bytes that hold it are made.
    """

    content_type = "application/x-www-form-urlencoded"

    _fields: Mapping[str, str | int | Token]
    _before_last: Callable[[], Awaitable[None]] | None

    def __attrs_post_init__(self) -> None:
        self.content_length = len(self._encoded())

    async def _pieces(self) -> AsyncGenerator[bytes]:
        if self._before_last is not None:
            await self._before_last()
        yield self._encoded()

    def _encoded(self) -> bytes:
        return urlencode({name: revealed(value) for name, value in self._fields.items()}).encode()
