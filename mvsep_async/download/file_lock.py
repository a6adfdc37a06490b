"""Lock an open file against other processes, if the platform and the file system support it."""

from __future__ import annotations

__all__ = ["try_lock"]

try:
    import fcntl
except ImportError:  # Windows

    def try_lock(fd: int) -> None:
        """Do nothing: two processes that download to the same name are not prevented from it."""

else:

    def try_lock(fd: int) -> None:
        """Lock the file; raises `BlockingIOError` if another process has. Without `flock`, as on some network shares,
        this does nothing."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return
