"""The folder that results go to, held so that nobody can lead us out of it meanwhile."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import define

__all__ = ["Folder"]

_HOLDS_FOLDERS: Final = {os.open, os.mkdir, os.stat, os.unlink, os.rename} <= os.supports_dir_fd
"""Whether the platform works relative to an open folder (POSIX), not only by path (Windows)."""

_NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
_FLAGS: Final[int] = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | _NOFOLLOW


@define
class Folder:
    """A folder at or below a root, for blocking calls on the names in it: use it in a thread.

    On POSIX each step from the root down is opened without following symbolic links and then held open, so a folder
    that is swapped for a link later changes nothing. Elsewhere the path is resolved and compared with the root before
    each use, which leaves a moment between the look and the use. The root itself is the user's: it may be a link.
    """

    path: Path
    _root: Path
    _fd: int | None

    @classmethod
    def enter(cls, root: Path, inside: Path) -> Folder:
        """Open `root / inside`, making what is missing. Raises `OSError`, `ELOOP` for a link below the root."""
        parts = inside.parts
        if inside.is_absolute() or ".." in parts:
            raise OSError(errno.EINVAL, "leads out of the folder", str(inside))
        root.mkdir(parents=True, exist_ok=True)
        if not _HOLDS_FOLDERS:
            folder = cls(root / inside, root, None)
            folder._check_resolved()
            folder.path.mkdir(parents=True, exist_ok=True)
            return folder
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                fd = _step(fd, part)
        except BaseException:
            os.close(fd)
            raise
        return cls(root / inside, root, fd)

    def open(self, name: str, flags: int, mode: int = 0o666) -> int:
        """Open a file in the folder, never through a link."""
        path, where = self._at(name)
        return os.open(path, flags | _FLAGS, mode, **where)

    def exists(self, name: str) -> bool:
        """Tell whether anything has that name, a dangling link too."""
        path, where = self._at(name)
        try:
            os.stat(path, follow_symlinks=False, **where)  # noqa: PTH116 relative to the open folder
        except FileNotFoundError:
            return False
        return True

    def holds(self, name: str, fd: int) -> bool:
        """Tell whether the open file is the one that has this name now."""
        path, where = self._at(name)
        try:
            found = os.stat(path, follow_symlinks=False, **where)  # noqa: PTH116 relative to the open folder
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(fd))

    def unlink(self, name: str) -> None:
        """Remove a file; it is no error if there is none."""
        path, where = self._at(name)
        with suppress(FileNotFoundError):
            os.unlink(path, **where)

    def replace(self, old: str, new: str) -> None:
        """Rename, over what is there."""
        source, target = self._at(old)[0], self._at(new)[0]
        if self._fd is None:
            Path(source).replace(target)
        else:
            os.rename(source, target, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def place(self, old: str, new: str) -> None:
        """Rename, never over what is there: raises `FileExistsError`.

        A hard link is the one call that is both atomic and refuses; platforms and file systems without hard links
        (FAT, some network shares) get a look and a rename.
        """
        if self._fd is None:
            Path(self._at(old)[0]).rename(self._at(new)[0])  # Windows refuses by itself
            return
        try:
            if not hasattr(os, "link"):
                raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), old)
            os.link(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            if self.exists(new):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
            self.replace(old, new)
        else:
            self.unlink(old)

    def sync(self) -> None:
        """Make renames last through a power cut, where folders can be synced."""
        if self._fd is not None:
            with suppress(OSError):  # some network file systems refuse it, and there is nothing better to do there
                os.fsync(self._fd)

    def close(self) -> None:
        """Let go of the folder; a second time does nothing."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _at(self, name: str) -> tuple[str | Path, dict[str, Any]]:
        if not name or Path(name).name != name:
            raise OSError(errno.EINVAL, "is not a plain file name", name)
        if self._fd is not None:
            return name, {"dir_fd": self._fd}
        self._check_resolved()
        return self.path / name, {}

    def _check_resolved(self) -> None:
        if not self.path.resolve().is_relative_to(self._root.resolve()):
            raise OSError(errno.ELOOP, "a link leads out of the folder", str(self.path))


def _step(fd: int, name: str) -> int:
    """Go from an open folder into one below it, made if need be, and close the one left."""
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=fd)
    if stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
        raise OSError(errno.ELOOP, "is a symbolic link: results are not written through it", name)
    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | _NOFOLLOW, dir_fd=fd)
    os.close(fd)
    return below
