"""A lock between processes that ends with its holder, however that ends: the platforms' ways behind one seam."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from attrs import define, field

__all__ = ["FileLock", "LockedError"]

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30
    """A byte that nobody reads: Windows keeps others from reading what is locked, the process id among it."""

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    # flock and not lockf: it also keeps two journals of one process apart, and no other close can drop it.
    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class LockedError(Exception):
    """Somebody else has the lock. `pid`: their process, `None` where it could not be read."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        self.pid = pid


@define
class FileLock:
    """An exclusive lock on a file of its own, in which its holder writes its process id.

    The file stays when the lock is released: if it were removed, two processes could each lock a file of that name.
    """

    path: Path
    _descriptor: int | None = field(default=None, init=False)

    def acquire(self) -> None:
        """Take the lock; raises `LockedError` when it is held, by this process too, and `OSError` as it comes."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _try_lock(descriptor):
                raise LockedError(_read_pid(descriptor))
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, b"%d\n" % os.getpid())
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back, if it is held; also when a forked child still has the file open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                _unlock(descriptor)
            finally:
                os.close(descriptor)


def _read_pid(descriptor: int) -> int | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 32).strip()
    return int(text) if text.isdigit() else None
