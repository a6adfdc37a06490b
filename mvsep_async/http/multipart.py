"""A `multipart/form-data` body that is streamed, of a length known before its first byte."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Final

from attrs import define, field, frozen

from mvsep_async.http.content import Content
from mvsep_async.http.request_body import RequestBody
from mvsep_async.http.token import Token, revealed
from mvsep_async.transport.bandwidth import Bandwidth

__all__ = ["MultipartBody", "Part"]

_UNSAFE: Final = re.compile(r'[\r\n"]')
_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)


@frozen
class Part:
    """One file of a form: the field's name, the file name to send, and its content."""

    name: str
    filename: str
    content: Content
    content_type: str = "application/octet-stream"


@define(eq=False, repr=False, slots=False)  # the fields may be passwords
class MultipartBody(RequestBody):
    """The fields of a form and its files as one stream.

    `on_progress(sent, total)` counts bytes of file content that the transport has accepted. `on_handed_over()` is
    called, and `handed_over` becomes true, just before the last bytes are given to the transport: from then on the
    service may have the whole request. `before_last` is awaited before that, and may raise to keep the request
    incomplete. All refer to the latest iteration. A `Token` among the fields is revealed only while the bytes that hold
    it are made. `bandwidth` slows the files down. Iterating raises `UploadError` where a file's content does.
    """

    _fields: Mapping[str, str | int | Token]
    _parts: tuple[Part, ...] = ()
    _on_progress: Callable[[int, int], None] | None = field(default=None, kw_only=True, alias="on_progress")
    _on_handed_over: Callable[[], None] | None = field(default=None, kw_only=True, alias="on_handed_over")
    _before_last: Callable[[], Awaitable[None]] | None = field(default=None, kw_only=True, alias="before_last")
    _bandwidth: Bandwidth | None = field(default=None, kw_only=True, alias="bandwidth")
    _boundary: str = field(factory=lambda: secrets.token_hex(16), init=False)
    handed_over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.content_type = f"multipart/form-data; boundary={self._boundary}"
        self.total = sum(part.content.size for part in self._parts)
        heads = sum(len(self._part_head(part, first=index == 0)) for index, part in enumerate(self._parts))
        self.content_length = len(self._form_head()) + heads + self.total + len(self._tail())

    async def _pieces(self) -> AsyncGenerator[bytes]:
        self.handed_over = False
        self._report(0)
        sent = 0
        if self._fields:
            yield self._form_head()
        for index, part in enumerate(self._parts):
            yield self._part_head(part, first=index == 0)
            async with aclosing(part.content.chunks()) as chunks:
                async for chunk in chunks:
                    for piece in self._cut(chunk):
                        if self._bandwidth is not None:
                            await self._bandwidth.before_sending(len(piece))
                        yield piece
                        sent += len(piece)
                        self._report(sent)
        if self._before_last is not None:
            yield b""  # our transport waits here until the connection takes more, so that no wait follows the check
            await self._before_last()
        self.handed_over = True
        if self._on_handed_over is not None:
            self._on_handed_over()
        yield self._tail()

    def _cut(self, chunk: bytes) -> Iterable[bytes]:
        if self._bandwidth is None:
            return (chunk,)
        step = self._bandwidth.piece
        return (chunk[start : start + step] for start in range(0, len(chunk), step))

    def _report(self, sent: int) -> None:
        if self._on_progress is not None:
            self._on_progress(sent, self.total)

    def _form_head(self) -> bytes:
        boundary = f"--{self._boundary}\r\n".encode()
        return b"\r\n".join(
            boundary
            + f'Content-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'.encode(errors="replace")
            + revealed(value).encode(errors="replace")
            for name, value in self._fields.items()
        )

    def _part_head(self, part: Part, *, first: bool) -> bytes:
        kind = part.content_type if _TYPE.fullmatch(part.content_type) else "application/octet-stream"
        return (
            ("" if first and not self._fields else "\r\n")
            + f"--{self._boundary}\r\n"
            + f'Content-Disposition: form-data; name="{_quoted(part.name)}"; filename="{_quoted(part.filename)}"\r\n'
            + f"Content-Type: {kind}\r\n\r\n"
        ).encode(errors="replace")

    def _tail(self) -> bytes:
        return (("\r\n" if self._fields or self._parts else "") + f"--{self._boundary}--\r\n").encode()


def _quoted(name: str) -> str:
    """Escape a name as the HTML standard says browsers do: quotes and line ends percent-encoded, nothing else.

    https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
    """
    return _UNSAFE.sub(lambda match: f"%{ord(match.group()):02X}", name)
