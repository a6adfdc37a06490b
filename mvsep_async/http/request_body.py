"""The body of a request, which is made while it is sent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator

__all__ = ["RequestBody"]


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
