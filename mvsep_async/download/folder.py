"""Open a folder at or below the target folder, so that another user's symbolic link cannot lead out of it."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Self

from attrs import define, field

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["DISK_FULL", "Folder", "NotOursError", "check_writable", "name_limit", "try_lock"]

_BY_DESCRIPTOR: Final = {os.open, os.mkdir, os.stat, os.unlink, os.rename, os.readlink} <= os.supports_dir_fd
"""Whether the platform works relative to an open folder (POSIX), not only by path (Windows)."""

_NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
_FLAGS: Final[int] = (
    getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would wait for its other end
    | _NOFOLLOW
)

DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Values of `errno` when a disk or a quota is full."""

_PROBED: Final = 64 * 1024
"""Bytes that `check_writable` writes, to notice a full disk."""


class NotOursError(FileExistsError):
    """A name is taken by something that must not be read or written, since another user may have put it there."""


@define
class Folder:
    """An open folder, for blocking calls on the names in it: use it in a thread, and as a context manager.

    On POSIX each step from the root down is opened relative to the last one and held open, so a folder that is swapped
    for a link afterwards changes nothing. Symbolic links below the root are followed only where the user or the owner
    of the root made them. On other platforms the path is resolved before each use and must stay below the root. The
    root itself may be a link.
    """

    path: Path
    _root: Path
    _fd: int | None
    _own_uid: int | None = field(default=None, init=False)

    @classmethod
    def enter(cls, root: Path, inside: Path, *, create: bool = True) -> Self:
        """Open `root / inside`; with `create`, create missing folders. Raises `OSError`, `ELOOP` for a foreign link."""
        parts = inside.parts
        if inside.is_absolute() or ".." in parts:
            raise OSError(errno.EINVAL, "leads out of the folder", str(inside))
        if create:
            root.mkdir(parents=True, exist_ok=True)
        if not _BY_DESCRIPTOR:
            folder = cls(root / inside, root, None)
            folder._check_resolved()
            if create:
                folder.path.mkdir(parents=True, exist_ok=True)
            return folder
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        trusted = {os.geteuid(), os.fstat(fd).st_uid}
        try:
            for part in parts:
                fd = _descend(fd, part, trusted, create=create)
        except BaseException:
            os.close(fd)
            raise
        return cls(root / inside, root, fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, name: str, *, writable: bool = False, own: bool = True) -> int:
        """Open an existing file. Raises `NotOursError` for anything but a regular file, with `own` one of this user's.

        Symbolic links are never followed.
        """
        path, where = self._at(name)
        try:
            fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | _FLAGS, **where)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise NotOursError(errno.EEXIST, "is not a file that can be opened", name) from error
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or (own and not self._is_own(found)):
                raise NotOursError(errno.EEXIST, "is not a regular file of this user's", name)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def open_or_create(self, name: str) -> int:
        """Open a file of this user's for reading and writing, or create it. Raises `NotOursError` for anything else.

        A file that has a second name is replaced by a new one, so the other name's content does not change.
        """
        for _ in range(2):
            try:
                fd = self.open(name, writable=True)
            except FileNotFoundError:
                return self.create(name)
            if os.fstat(fd).st_nlink < 2:
                return fd
            os.close(fd)
            self.unlink(name)
        raise NotOursError(errno.EEXIST, "is a hard link to another file", name)

    def create(self, name: str) -> int:
        """Create a file for reading and writing. Raises `FileExistsError` if anything has that name."""
        path, where = self._at(name)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666, **where)

    def create_unnamed(self) -> int | None:
        """Create a file without a name, which nothing has to remove; `None` where the file system has no such files."""
        if self._fd is None or not hasattr(os, "O_TMPFILE"):
            return None
        try:
            return os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                return None
            raise

    def exists(self, name: str) -> bool:
        """Return whether anything has that name, a dangling link too."""
        return self._stat(name) is not None

    def is_folder(self, name: str) -> bool:
        """Return whether a folder has that name."""
        found = self._stat(name)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def has(self, name: str, fd: int) -> bool:
        """Return whether the open file is the one that has this name."""
        found = self._stat(name)
        return found is not None and os.path.samestat(found, os.fstat(fd))

    def unlink(self, name: str) -> None:
        """Remove a file, if there is one."""
        path, where = self._at(name)
        with suppress(FileNotFoundError):
            os.unlink(path, **where)

    def replace(self, old: str, new: str) -> None:
        """Rename a file, replacing one of the new name."""
        source, target = self._at(old)[0], self._at(new)[0]
        if self._fd is None:
            Path(source).replace(target)
        else:
            os.rename(source, target, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def place(self, old: str, new: str) -> None:
        """Rename a file; raises `FileExistsError` if anything has the new name.

        A hard link is the one call that is atomic and refuses; platforms and file systems without hard links (FAT,
        some network shares) get a check and a rename.
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
        """Make renames survive a power cut, if the platform can sync folders."""
        if self._fd is not None:
            with suppress(OSError):  # some network file systems refuse it
                os.fsync(self._fd)

    def close(self) -> None:
        """Close the folder; a second time does nothing."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _stat(self, name: str) -> os.stat_result | None:
        path, where = self._at(name)
        try:
            return os.stat(path, follow_symlinks=False, **where)  # noqa: PTH116 relative to the open folder
        except FileNotFoundError:
            return None

    def _is_own(self, found: os.stat_result) -> bool:
        if not hasattr(os, "geteuid") or found.st_uid == os.geteuid():
            return True
        if self._own_uid is None:  # some network shares give every file one owner
            name = _temporary_name()
            fd = self.create(name)
            try:
                self._own_uid = os.fstat(fd).st_uid
            finally:
                os.close(fd)
                self.unlink(name)
        return found.st_uid == self._own_uid

    def _at(self, name: str) -> tuple[str | Path, dict[str, Any]]:
        if name in ("", ".", "..") or Path(name).name != name:
            raise OSError(errno.EINVAL, "is not a plain file name", name)
        if self._fd is not None:
            return name, {"dir_fd": self._fd}
        self._check_resolved()
        return self.path / name, {}

    def _check_resolved(self) -> None:
        if not self.path.resolve().is_relative_to(self._root.resolve()):
            raise OSError(errno.ELOOP, "a link leads out of the folder", str(self.path))


def check_writable(root: Path, inside: Path) -> None:
    """Raise `OSError` if files cannot be written to `root / inside`. Missing folders below `root` are not created.

    A file is written in the folder, or in the nearest one above it that exists, and removed again. It has no name where
    the file system allows that, so a process that is killed meanwhile leaves nothing behind.
    """
    root.mkdir(parents=True, exist_ok=True)
    for path in (inside, *inside.parents):
        try:
            folder = Folder.enter(root, path, create=False)
        except FileNotFoundError:
            continue
        with folder:
            fd, name = folder.create_unnamed(), None
            if fd is None:
                name = _temporary_name()
                fd = folder.create(name)
            try:
                os.write(fd, bytes(_PROBED))
            finally:
                os.close(fd)
                if name is not None:
                    folder.unlink(name)
        return


def try_lock(fd: int) -> None:
    """Lock an open file; raises `BlockingIOError` if another process has locked it.

    Without `flock`, as on Windows and some network shares, this does nothing: two processes that download to the same
    name are not prevented from it.
    """
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def name_limit(folder: Path) -> int | None:
    """Return how many bytes a file name may have in `folder`, which may not exist yet; `None` if that is unknown."""
    if not hasattr(os, "pathconf"):
        return None
    for path in (folder, *folder.parents):
        try:
            return os.pathconf(path, "PC_NAME_MAX")
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            break
    return None


def _temporary_name() -> str:
    return f".mvsep-{token_hex(8)}.tmp"


def _descend(fd: int, name: str, trusted: set[int], *, create: bool) -> int:
    """Open the folder `name` in an open folder, with `create` creating it, and close the open one."""
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=fd)
    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if not stat.S_ISLNK(found.st_mode):
        below = os.open(name, flags | _NOFOLLOW, dir_fd=fd)
    else:
        leads_to = os.readlink(name, dir_fd=fd)
        again = os.stat(name, dir_fd=fd, follow_symlinks=False)
        # The text belongs to a link whose owner is known only if the link was not exchanged in between.
        if found.st_uid not in trusted or (found.st_ino, found.st_ctime_ns) != (again.st_ino, again.st_ctime_ns):
            raise OSError(errno.ELOOP, "is a symbolic link made by another user, which is not followed", name)
        below = os.open(leads_to, flags, dir_fd=fd)
    os.close(fd)
    return below
