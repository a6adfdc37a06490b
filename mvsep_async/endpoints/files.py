"""Files to upload, given as paths, bytes or open files."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncGenerator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from attrs import frozen

from mvsep_async.concurrency import in_thread
from mvsep_async.errors import InvalidRequestError, UploadError
from mvsep_async.http.content import CHUNK, BytesContent, Content, FileContent
from mvsep_async.http.multipart import Part

__all__ = ["UploadFile", "parts_of"]

UploadFile: TypeAlias = "str | PathLike[str] | BinaryIO | tuple[str, str | PathLike[str] | bytes | BinaryIO]"
"""A file to upload: a path, a file opened for reading in binary mode, or a pair of the file name to send and a path,
bytes or an open file."""


@frozen
class OpenFileContent:
    """A seekable binary file that the caller has open, sent from its beginning. It is never closed here."""

    file: BinaryIO
    size: int
    name: str

    @classmethod
    async def of(cls, file: Any, name: str) -> OpenFileContent:
        """Measure the file in a thread; raises `UploadError` if it is closed, not seekable or empty."""
        try:
            size = await in_thread(file.seek, 0, os.SEEK_END)
        except (OSError, ValueError) as error:
            raise UploadError(f"{name} must be an open, seekable file: {error}; pass its bytes instead") from error
        if not size:
            raise UploadError(f"{name} is empty")
        return cls(file, size, name)

    async def chunks(self) -> AsyncGenerator[bytes]:
        try:
            await in_thread(self.file.seek, 0)
            left = self.size
            while left:
                chunk = await in_thread(self.file.read, min(CHUNK, left))
                if not chunk:
                    raise UploadError(f"{self.name} ended {left} bytes before its measured size of {self.size}")
                left -= len(chunk)
                yield chunk
        except (OSError, ValueError) as error:
            raise UploadError(f"{self.name} could not be read to its end: {error}") from error


async def parts_of(
    files: UploadFile | Mapping[str, UploadFile] | tuple[Part, ...], *, field: str = "audiofile"
) -> tuple[Part, ...]:
    """Return the multipart parts for `files`: one file for the form field `field`, or a mapping of fields to files.

    Raises `InvalidRequestError` for what is not a file, and `UploadError` for a file that cannot be read.
    """
    if isinstance(files, Mapping):
        return tuple([await _part(name, file) for name, file in files.items()])
    if isinstance(files, tuple) and all(isinstance(part, Part) for part in files):
        return tuple(part for part in files if isinstance(part, Part))
    return (await _part(field, files),)


async def _part(field: str, file: object) -> Part:
    name: str | None = None
    if isinstance(file, tuple):
        if len(file) != 2 or not isinstance(file[0], str) or not file[0]:
            raise InvalidRequestError(f"{field} must be a pair (file name, file), not a tuple of {len(file)}")
        name, file = file
    match file:
        case str() | PathLike():
            return Part(field, name or Path(file).name, await FileContent.open(file))
        case bytes() | bytearray() | memoryview():
            content: Content = BytesContent(bytes(file))
        case io.TextIOBase():
            raise InvalidRequestError(f"{field} is open in text mode: open it with mode 'rb'")
        case _ if hasattr(file, "read") and hasattr(file, "seek"):
            own = getattr(file, "name", None)
            name = name or (Path(own).name if isinstance(own, str | PathLike) else None)
            content = await OpenFileContent.of(file, name or field)
        case _:
            raise InvalidRequestError(
                f"{field} must be a path, an open binary file, or a pair (file name, path, bytes or file), not "
                f"{type(file).__name__}"
            )
    if name is None:
        raise InvalidRequestError(f"{field} has no file name: give a pair, such as ('song.flac', data)")
    if not content.size:
        raise InvalidRequestError(f"{field} ({name}) is empty")
    return Part(field, name, content)
