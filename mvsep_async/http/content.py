"""Sources of upload bodies: a known number of bytes, from a file or from memory, readable any number of times."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable
from pathlib import Path
from typing import Final, Protocol

from anyio import CancelScope
from attrs import field, frozen

from mvsep_async.concurrency import in_thread
from mvsep_async.errors import UploadError
from mvsep_async.http.file_reader import FileReader

__all__ = ["CHUNK", "BytesContent", "Content", "FileContent", "spool"]

CHUNK: Final = 320 * 1024
"""Bytes a piece: large enough that the work per piece is small compared with moving it, small enough (below a
millisecond with TLS) that one step of a transfer does not make the loop late."""

_SPOOL_BATCH: Final = 1024 * 1024
"""Bytes collected before a thread writes them: handing work to a thread costs as much as writing 256 KiB."""


class Content(Protocol):
    """Bytes to send. `chunks()` starts over each time and yields exactly `size` bytes, or raises `UploadError`."""

    @property
    def size(self) -> int:
        """The number of bytes."""
        ...

    def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the bytes in pieces, from the start."""
        ...


@frozen
class BytesContent:
    """Bytes that are in memory already."""

    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.data)

    async def chunks(self) -> AsyncGenerator[bytes]:
        for start in range(0, len(self.data), CHUNK):
            yield self.data[start : start + CHUNK]


@frozen
class FileContent:
    """A file as it was when it was opened: if it changes before it is sent whole, sending fails.

    A body announces its length before its first byte, so a file that shrinks or grows meanwhile cannot be sent; one
    that is overwritten in place would be a mixture of two songs.
    """

    path: Path
    size: int
    modified_ns: int

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> FileContent:
        """Stat the file, in a thread. Raises `UploadError` if it is missing, unreadable, not a file, or empty."""
        path = Path(path)
        try:
            found = await in_thread(_stat_readable, path)
        except FileNotFoundError:
            raise UploadError(f"{path} does not exist") from None
        except PermissionError:
            raise UploadError(f"{path} cannot be read: permission denied") from None
        except OSError as error:
            raise UploadError(f"{path} cannot be read: {error.strerror or error}") from error
        except ValueError as error:  # a NUL in the path
            raise UploadError(f"{str(path)!r} is not a valid path: {error}") from None
        if stat.S_ISDIR(found.st_mode):
            raise UploadError(f"{path} is a folder: submit the files in it")
        if not stat.S_ISREG(found.st_mode):
            raise UploadError(f"{path} is not a regular file: read it yourself and submit its bytes")
        if not found.st_size:
            raise UploadError(f"{path} is empty")
        return cls(path, found.st_size, found.st_mtime_ns)

    async def check_unchanged(self) -> None:
        """Raise `UploadError` if the file was changed since it was opened."""
        if await FileContent.open(self.path) != self:
            raise UploadError(
                f"{self.path} was changed while it was read: submit it again when no program writes to it"
            )

    async def chunks(self) -> AsyncGenerator[bytes]:
        try:
            async with FileReader(self.path) as reader:
                await self._check(reader)
                offset = 0
                while offset < self.size:
                    chunk = await reader.read(min(CHUNK, self.size - offset), offset)
                    offset += len(chunk)
                    if not chunk or offset == self.size:
                        await self._check(reader)  # before the last piece: afterwards the body is complete
                    if not chunk:
                        raise UploadError(f"{self.path} ended at byte {offset} of {self.size} while it was sent")
                    yield chunk
        except OSError as error:
            raise UploadError(f"{self.path} could not be read to its end: {error.strerror or error}") from error

    async def _check(self, reader: FileReader) -> None:
        now = await reader.stat()
        if now.st_size != self.size:
            verb = "shrank" if now.st_size < self.size else "grew"
            raise UploadError(
                f"{self.path} {verb} from {self.size} to {now.st_size} bytes while it was sent: "
                "submit it again when no program writes to it"
            )
        if now.st_mtime_ns != self.modified_ns:
            raise UploadError(
                f"{self.path} was changed while it was sent: submit it again when no program writes to it"
            )


async def spool(stream: AsyncIterable[bytes], directory: Path, name: str, *, durable: bool = False) -> FileContent:
    """Write `stream` to the new file `directory/name` in constant memory and return it as content.

    `durable` syncs file and folder before returning. What was written is removed if the stream or the disk fails, or
    the task is cancelled. Raises `UploadError` if it cannot be written or is empty; errors of the stream pass.
    """
    path = directory / name
    fds: list[int] = []
    try:
        try:
            await in_thread(lambda: fds.append(_create(path)))
        except OSError as error:
            raise UploadError(f"{path} cannot be written: {error.strerror or error}") from error
        await _copy(stream, fds[0], path)
        if durable:
            await in_thread(_sync, fds[0], directory)
        content = await FileContent.open(path)
    except BaseException:
        with CancelScope(shield=True):
            await in_thread(_release, fds, path)
        raise
    os.close(fds.pop())
    return content


async def _copy(stream: AsyncIterable[bytes], fd: int, path: Path) -> None:
    batch = bytearray()
    async for chunk in stream:
        batch += chunk
        if len(batch) >= _SPOOL_BATCH:
            await _write(fd, batch, path)
            batch = bytearray()
    await _write(fd, batch, path)


async def _write(fd: int, batch: bytearray, path: Path) -> None:
    try:
        await in_thread(_write_all, fd, batch)
    except OSError as error:
        raise UploadError(f"{path} could not be written: {error.strerror or error}") from error


def _stat_readable(path: Path) -> os.stat_result:
    found = path.stat()
    if stat.S_ISREG(found.st_mode):
        with path.open("rb"):
            pass
    return found


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)


def _write_all(fd: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync(fd: int, directory: Path) -> None:
    os.fsync(fd)
    if os.name == "posix":
        folder = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _release(fds: list[int], path: Path) -> None:
    for fd in fds:  # empty if creating the file failed: then a file of that name is not ours
        os.close(fd)
        path.unlink(missing_ok=True)
