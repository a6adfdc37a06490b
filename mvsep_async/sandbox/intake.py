"""An upload on its way to the disk: a form parsed as it comes, its files never held in memory."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qsl

from attrs import define, field, frozen
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

FIELD_LIMIT = 1024 * 1024
"""Bytes of all ordinary fields together; only files may be large."""


class BadFormError(Exception):
    """The body is not the form that its headers promise."""


class TooLargeError(Exception):
    """More bytes came than may."""


@frozen
class Upload:
    """One file of a form, on disk."""

    filename: str
    path: Path
    size: int
    digest: str
    """Hexadecimal, of the content; empty when it was not asked for."""


@define
class Form:
    """A parsed form."""

    fields: dict[str, str] = field(factory=dict)
    files: dict[str, Upload] = field(factory=dict)

    def discard(self) -> None:
        """Remove the files that nobody took."""
        for upload in self.files.values():
            upload.path.unlink(missing_ok=True)
        self.files.clear()


async def read_form(
    body: AsyncIterator[bytes], content_type: str, folder: Path, *, limit: int, hash_content: bool
) -> Form:
    """Read a multipart or urlencoded body; files go to `folder`.

    Raises `BadFormError` for anything else, a cut body among it, and `TooLargeError` past `limit` bytes; either leaves
    no file behind.
    """
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data" and options.get(b"boundary"):
        intake = _MultipartIntake(options[b"boundary"], folder, hash_content)
        try:
            await _feed(body, intake, limit)
            return intake.finish()
        except BaseException:
            intake.abandon()
            raise
    text = b"".join([piece async for piece in _limited(body, FIELD_LIMIT)])
    if not text:
        return Form()
    if kind != b"application/x-www-form-urlencoded":
        raise BadFormError(f"a form was expected, not {content_type or 'a body without Content-Type'}")
    return Form(dict(parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True)))


async def _feed(body: AsyncIterator[bytes], intake: _MultipartIntake, limit: int) -> None:
    async for piece in _limited(body, limit):
        try:
            intake.write(piece)
        except FormParserError as error:
            raise BadFormError(str(error)) from error


async def _limited(body: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    received = 0
    async for piece in body:
        received += len(piece)
        if received > limit:
            raise TooLargeError
        yield piece


class _MultipartIntake:
    """Glue between the parser's callbacks and files.

    Writing happens where parsing does: a write of a quarter of a megabyte into cached pages is cheaper than handing
    it to a thread, and the sandbox has its event loop to itself.
    """

    def __init__(self, boundary: bytes, folder: Path, hash_content: bool) -> None:
        self._form = Form()
        self._folder = folder
        self._hash_content = hash_content
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._name = ""
        self._filename = ""
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._size = self._fields_size = 0
        self._value = bytearray()
        self._hasher = hashlib.sha1(usedforsecurity=False)
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_header_name,
                "on_header_value": self._on_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._open,
                "on_part_data": self._data,
                "on_part_end": self._close,
                "on_end": self._end,
            },
        )

    def write(self, piece: bytes) -> None:
        self._parser.write(piece)

    def finish(self) -> Form:
        self._parser.finalize()
        if not self._ended:
            raise BadFormError("the body ended in the middle of the form")
        return self._form

    def abandon(self) -> None:
        """Leave nothing on the disk."""
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._form.discard()

    def _begin(self) -> None:
        self._headers = {}

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"name" not in options:
            raise BadFormError("a part of the form has no name")
        self._name = options[b"name"].decode("utf-8", "replace")
        self._value.clear()
        if b"filename" in options:
            self._filename = options[b"filename"].decode("utf-8", "replace")
            self._path = self._folder / secrets.token_hex(12)
            self._file = self._path.open("wb", buffering=0)
            self._size = 0
            self._hasher = hashlib.sha1(usedforsecurity=False)

    def _data(self, data: bytes, start: int, end: int) -> None:
        piece = memoryview(data)[start:end]
        if self._file is None:
            self._fields_size += len(piece)
            if self._fields_size > FIELD_LIMIT:
                raise TooLargeError
            self._value += piece
            return
        self._size += len(piece)
        self._file.write(piece)
        if self._hash_content:
            self._hasher.update(piece)

    def _close(self) -> None:
        if self._file is None or self._path is None:
            self._form.fields[self._name] = self._value.decode("utf-8", "replace")
            return
        self._file.close()
        digest = self._hasher.hexdigest() if self._hash_content else ""
        upload = Upload(self._filename, self._path, self._size, digest)
        self._file = self._path = None
        # Of several files of one name the last counts; an empty one without a name is a field that was left empty.
        unwanted: Upload | None = upload
        if self._filename or self._size:
            unwanted = self._form.files.pop(self._name, None)
            self._form.files[self._name] = upload
        if unwanted is not None:
            unwanted.path.unlink(missing_ok=True)

    def _end(self) -> None:
        self._ended = True
