"""Read and decompress the body of a response in pieces, up to a limit."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from attrs import define, field

from mvsep_async.concurrency import Yielder
from mvsep_async.errors import ProtocolError
from mvsep_async.transport.compat import error_names
from mvsep_async.transport.reading import RawBody

if TYPE_CHECKING:
    import httpx

__all__ = ["ENCODINGS", "Decoder", "read_body"]

ENCODINGS: Final = "gzip"
"""What API calls ask for in `Accept-Encoding`: one encoding, which can be undone piece by piece."""

_STEP: Final = 64 * 1024
"""Most bytes that are decompressed at once: deflate makes up to 1,000 of one."""

_GZIP: Final = 16 + zlib.MAX_WBITS


async def read_body(response: httpx.Response, path: str, cap: int) -> tuple[bytes, bool]:
    """Return the body of the answer to `path`, and whether it was cut because it is longer than `cap` bytes.

    Raises `ProtocolError` for an encoding that was not asked for or that is broken, and the errors of the response's
    HTTP library.
    """
    if response.is_stream_consumed:  # an event hook of the caller's has read it, and so decoded it
        return response.content[:cap], len(response.content) > cap
    decoder = Decoder(response.headers.get("content-encoding", ""), path)
    body = bytearray()
    yielder = Yielder()
    try:
        async with aclosing(RawBody.of(response)) as pieces:
            async for piece in pieces:
                for part in decoder.feed(piece):
                    body += part
                    if len(body) > cap:
                        return bytes(body[:cap]), True
                await yielder.maybe_yield()  # pieces that are there already come without a pause
        decoder.end()
    except RuntimeError as error:
        if "StreamError" not in error_names(error):
            raise
        # An event hook of the caller's closed the response, by raising for its status.
    return bytes(body), False


@define
class Decoder:
    """Undoes a body's content encoding, in steps of bounded size."""

    _encoding: str
    _path: str
    _inflater: zlib._Decompress | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        name = self._encoding.strip().lower()
        if name in ("gzip", "x-gzip"):
            self._inflater = zlib.decompressobj(_GZIP)
        elif name not in ("", "identity"):
            raise ProtocolError(
                f"the answer to {self._path} has the encoding {name[:40]!r}, which was not asked for: a proxy may have "
                "added it"
            )

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes of a piece of the body, at most 64 KiB at a time."""
        inflater = self._inflater
        if inflater is None:
            yield piece
            return
        try:
            while piece and not inflater.eof:
                yield inflater.decompress(piece, _STEP)
                piece = inflater.unconsumed_tail
        except zlib.error:
            raise self._broken() from None

    def end(self) -> None:
        """Check that the body was complete."""
        if self._inflater is not None and not self._inflater.eof:
            raise self._broken()

    def _broken(self) -> ProtocolError:
        return ProtocolError(f"the answer to {self._path} is garbled: its gzip compression is broken or cut short")
