"""What can be sent: bytes of a known number, from a file or from memory, as often as needed."""

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
"""Bytes a piece: large enough that the work a piece is small beside moving it, small enough (below
a millisecond with TLS) that a transfer's turn does not make the loop late."""

_SPOOL_BATCH: Final = 1024 * 1024
"""Bytes collected before a thread writes them: a hop into a thread costs as much as writing 256 KiB."""


class Content(Protocol):
    """Bytes to send. `chunks()` begins anew each time and gives exactly `size` bytes, or raises `UploadError`.

    A chunk is lent: it is good until the next one is asked for.
    """

    @property
    def size(self) -> int:
        """The number of bytes."""
        ...

    def chunks(self) -> AsyncGenerator[bytes | memoryview]:
        """Give the bytes in pieces, from the start."""
        ...


@frozen
class BytesContent:
    """Bytes that are in memory already."""

    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.data)

    async def chunks(self) -> AsyncGenerator[bytes | memoryview]:
        view = memoryview(self.data)
        for start in range(0, len(view), CHUNK):
            yield view[start : start + CHUNK]


@frozen
class FileContent:
    """A file as it was when it was opened: if it changes before it is sent whole, sending fails.

    A body announces its length before its first byte, so a file that shrinks or grows meanwhile cannot be sent
    honestly; one that is written over in place would be neither the old song nor the new one.
    """

    path: Path
    size: int
    modified_ns: int

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> FileContent:
        """Look at the file, in a thread. Raises `UploadError` if it is missing, unreadable, no file, or empty."""
        path = Path(path)
        try:
            found = await in_thread(_stat_readable, path)
        except FileNotFoundError:
            raise UploadError(f"{path} does not exist") from None
        except PermissionError:
            raise UploadError(f"{path} may not be read: check its permissions") from None
        except OSError as error:
            raise UploadError(f"{path} cannot be read: {error.strerror or error}") from error
        except ValueError as error:  # a NUL in the path
            raise UploadError(f"{str(path)!r} is not a path: {error}") from None
        if stat.S_ISDIR(found.st_mode):
            raise UploadError(f"{path} is a folder: give the files in it")
        if not stat.S_ISREG(found.st_mode):
            raise UploadError(f"{path} is not a regular file: read it yourself and give its bytes")
        if not found.st_size:
            raise UploadError(f"{path} is empty")
        return cls(path, found.st_size, found.st_mtime_ns)

    async def chunks(self) -> AsyncGenerator[bytes | memoryview]:
        try:
            async with FileReader(self.path) as reader:
                await self._check(reader)
                offset = 0
                while offset < self.size:
                    chunk = await reader.read(min(CHUNK, self.size - offset), offset)
                    offset += len(chunk)
                    if not chunk or offset == self.size:
                        await self._check(reader)  # before the last piece goes out: afterwards it would be too late
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
                "submit it again when nothing writes to it any more"
            )
        if now.st_mtime_ns != self.modified_ns:
            raise UploadError(
                f"{self.path} was changed while it was sent: submit it again when nothing writes to it any more"
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


def _release(fds: list[int], cancelling: Path) -> None:
    for fd in fds:  # none, if the file could not even be made: then the one that has its name is not ours
        os.close(fd)
        cancelling.unlink(missing_ok=True)
