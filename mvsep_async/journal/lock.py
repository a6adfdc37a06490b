"""A lock on a file against other processes; the system releases it when the process ends, however it ends."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Final
from weakref import WeakSet

from attrs import define, field

__all__ = ["FileLock", "LockedError"]

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30
    """A byte past the end: Windows keeps other processes from reading locked bytes, and the process id is read."""

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

    # flock and not lockf: it also keeps two journals of one process apart, and closing another descriptor of the file
    # does not release it.
    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


_FLAGS: Final[int] = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""A symbolic link is not followed, and opening a named pipe does not wait."""


class LockedError(Exception):
    """The file is locked by another holder. `pid`: its process, `None` if that is unknown."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        self.pid = pid


@define(eq=False)
class FileLock:
    """An exclusive lock on a file.

    The lock belongs to the open file: it stays when the file is renamed, removed or replaced. A forked child does not
    have it, so it ends with this process. With `pid` the file is a lock file: it is created if it is missing, holds the
    process id, and stays when the lock is released, since removing it would let two processes lock two files of that
    name.
    """

    path: Path
    pid: bool = True
    _descriptor: int | None = field(default=None, init=False)

    def acquire(self) -> None:
        """Acquire the lock. Raises `LockedError` if it is held, also by this process, and other `OSError`."""
        with _forking:
            descriptor = os.open(self.path, os.O_RDWR | (os.O_CREAT if self.pid else 0) | _FLAGS, 0o600)
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or (self.pid and found.st_nlink > 1):
                    raise OSError(errno.EEXIST, "is not a regular file with one name", str(self.path))
                if not _try_lock(descriptor):
                    raise LockedError(_read_pid(descriptor) if self.pid else None)
                if self.pid:
                    os.ftruncate(descriptor, 0)
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(descriptor, b"%d\n" % os.getpid())
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
            _held.add(self)

    def locked_file(self) -> os.stat_result:
        """Return the status of the locked file."""
        assert self._descriptor is not None
        return os.fstat(self._descriptor)

    def release(self) -> None:
        """Release the lock if it is held."""
        descriptor, self._descriptor = self._descriptor, None
        _held.discard(self)
        if descriptor is not None:
            try:
                _unlock(descriptor)
            finally:
                os.close(descriptor)

    def _drop(self) -> None:
        """Close the file without unlocking it, in a forked child that shares the lock with its parent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_held: Final[WeakSet[FileLock]] = WeakSet()
_forking: Final = threading.Lock()
"""Held while the process forks, so that no descriptor is open that is not in `_held` yet."""


def _after_fork_in_child() -> None:
    for lock in list(_held):
        lock._drop()
    _held.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_after_fork_in_child)


def _read_pid(descriptor: int) -> int | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 32).strip()
    return int(text) if text.isdigit() else None
