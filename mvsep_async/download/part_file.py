"""A download on disk: the `.part` file with its state beside it, until it is whole and gets its name.

Everything here blocks, and is called in a thread. What is promised, whatever moment the process dies at:

- the final name is only ever given to a complete, synced file;
- bytes in the `.part` file belong to the state beside it. A fresh start first empties the file and then writes the new
  state, never the other way round;
- after a crash of the machine (not of the process alone) only bytes that were synced are trusted.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from mvsep_async.download.folder import Folder
from mvsep_async.download.ranges import ResumeState

__all__ = ["PART", "STATE", "PartFile", "is_written", "sweep"]

PART: Final = ".part"
STATE: Final = ".part.json"
_DRAFT: Final = ".part.tmp"

_SYNC_EVERY: Final = 64 * 1024 * 1024
"""Bytes that a power cut may cost at most. Syncing more often makes the disk wait for nothing."""

_PUSH_EVERY: Final = 8 * 1024 * 1024
"""Bytes after which the disk is asked to begin writing them."""

_COMPARED: Final = 1024 * 1024
"""Bytes at a time."""

_STATE_LIMIT: Final = 64 * 1024
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@frozen
class _Handles:
    folder: Folder
    fd: int


@define
class PartFile:
    """The unfinished file `target`, somewhere below `root`: after `open`, see that `keep` or `finish` is called.

    `have` bytes are there and belong to `state`.
    """

    root: Path
    target: Path
    have: int = field(default=0, init=False)
    state: ResumeState | None = field(default=None, init=False)
    _synced: int = field(default=0, init=False)
    _pushed: int = field(default=0, init=False)
    _opened: _Handles | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.target.name

    def open(self) -> None:
        """Open or make the `.part` file and take up what an earlier run left.

        Raises `OSError`, `BlockingIOError` when another process is writing it.
        """
        folder = Folder.enter(self.root, self.target.parent.relative_to(self.root))
        try:
            fd = folder.open(self.name + PART, os.O_RDWR | os.O_CREAT)
        except BaseException:
            folder.close()
            raise
        self._opened = _Handles(folder, fd)
        try:
            _lock(fd)
            if not folder.holds(self.name + PART, fd):  # finished by its writer between our opening and our locking it
                raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), self.name)
        except BaseException:
            self.close()  # what is there is another's: `keep` must not touch it
            raise
        state, synced, boot = _read_state(folder, self.name + STATE)
        if state is not None:
            size = os.fstat(fd).st_size
            self.state, self._synced = state, min(size, synced)
            self.have = size if boot is not None and boot == _boot() else self._synced

    def disown(self) -> None:
        """Treat what is there as another file's: it is given up as soon as there is something better."""
        self.have, self.state = 0, None

    def target_exists(self) -> bool:
        """Tell whether the final name is taken."""
        return self._folder.exists(self.name)

    def begin(self, offset: int, state: ResumeState) -> None:
        """Get ready to write from `offset`; at 0 everything that was there is given up first."""
        if offset == 0:
            os.ftruncate(self._fd, 0)
            if self._synced:
                os.fsync(self._fd)  # or a power cut could show old bytes under the new state
            self.have = self._synced = self._pushed = 0
        else:
            os.ftruncate(self._fd, offset)  # what lies behind was never vouched for
        if offset == 0 or state != self.state:
            self.state = state
            self._write_state()

    def write(self, data: bytes | memoryview) -> None:
        """Append the bytes; when the disk is full, as much of them as fits stays."""
        os.lseek(self._fd, self.have, os.SEEK_SET)
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self.have += written
            view = view[written:]
        self._push()
        if self.have - self._synced >= _SYNC_EVERY:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Make sure that what is there would survive a power cut, and note it."""
        if self.state is None or self.have == self._synced:
            return
        self._sync()
        self._synced = self.have
        self._write_state()

    def finish(self, *, overwrite: bool) -> None:
        """Sync, give the file its name and remove the state. Raises `FileExistsError` unless it may overwrite."""
        self._sync()
        give = self._folder.replace if overwrite else self._folder.place
        give(self.name + PART, self.name)
        self._folder.sync()
        self._folder.unlink(self.name + STATE)
        self._folder.unlink(self.name + _DRAFT)
        self.close()

    def equals(self, name: str) -> bool:
        """Tell whether the file of that name beside it has the same bytes; what cannot be read has not."""
        try:
            fd = self._folder.open(name, os.O_RDONLY)
        except OSError:
            return False
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size != self.have:
                return False
            with os.fdopen(os.dup(fd), "rb") as other, os.fdopen(os.dup(self._fd), "rb") as here:
                here.seek(0)
                while ours := here.read(_COMPARED):
                    if ours != other.read(_COMPARED):
                        return False
        finally:
            os.close(fd)
        return True

    def discard(self) -> None:
        """Remove the unfinished file and its state."""
        for ending in (PART, STATE, _DRAFT):
            self._folder.unlink(self.name + ending)
        self.close()

    def keep(self) -> None:
        """Close, leaving what is there to be continued, or nothing where there is nothing worth keeping.

        After `finish`, or when it was never opened, this does nothing.
        """
        if self._opened is None:
            return
        try:
            if self.have == 0:
                self.discard()
            else:
                with suppress(OSError):  # a full or broken disk: the state that is there still holds
                    self.checkpoint()
        finally:
            self.close()

    def close(self) -> None:
        """Close the file and the folder; a second time does nothing."""
        opened, self._opened = self._opened, None
        if opened is not None:
            os.close(opened.fd)
            opened.folder.close()

    @property
    def _fd(self) -> int:
        assert self._opened is not None
        return self._opened.fd

    @property
    def _folder(self) -> Folder:
        assert self._opened is not None
        return self._opened.folder

    def _sync(self) -> None:
        """Sync the file. What a failing disk may have lost is given up: Linux tells of it once, and never again."""
        try:
            os.fsync(self._fd)
        except OSError:
            self.have = self._synced
            with suppress(OSError):
                os.ftruncate(self._fd, self.have)
            raise

    def _push(self) -> None:
        """Let the disk work while we receive, so that the sync at the end is short.

        Writing and syncing 512 MiB took 0.43 s instead of 0.90. `DONTNEED` makes Linux begin to write what is not
        written yet, and drops from memory what is.
        """
        if self.have - self._pushed >= _PUSH_EVERY and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, self._pushed, self.have - self._pushed, os.POSIX_FADV_DONTNEED)
            self._pushed = self.have

    def _write_state(self) -> None:
        if self.state is None:
            return
        text = json.dumps(
            {
                "identity": self.state.identity,
                "total": self.state.total,
                "validator": self.state.validator,
                "synced": self._synced,
                "boot": _boot(),
            }
        )
        fd = self._folder.open(self.name + _DRAFT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(fd, text.encode())
            if self._synced:
                os.fsync(fd)
        finally:
            os.close(fd)
        self._folder.replace(self.name + _DRAFT, self.name + STATE)


def sweep(root: Path, target: Path) -> None:
    """Remove what stands beside the complete file `target` when its process died right after giving it its name.

    Raises `OSError`, `BlockingIOError` when another process is writing there.
    """
    folder = Folder.enter(root, target.parent.relative_to(root))
    try:
        left = any(folder.exists(target.name + ending) for ending in (PART, STATE, _DRAFT))
    finally:
        folder.close()
    if left:
        part = PartFile(root, target)
        part.open()
        part.discard()


def is_written(target: Path) -> bool:
    """Tell whether a download is writing `target` at this moment, in whatever process."""
    try:
        fd = os.open(target.with_name(target.name + PART), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        _lock(fd)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _read_state(folder: Folder, name: str) -> tuple[ResumeState | None, int, str | None]:
    """Return state, synced bytes and boot; a state that cannot be read is none: the download starts anew."""
    try:
        fd = folder.open(name, os.O_RDONLY)
    except FileNotFoundError:
        return None, 0, None
    try:
        raw = json.loads(os.read(fd, _STATE_LIMIT))
    except (ValueError, RecursionError):
        return None, 0, None
    finally:
        os.close(fd)
    match raw:
        case {
            "identity": str(identity),
            "total": int() | None as total,
            "validator": str() | None as validator,
            "synced": int(synced),
            "boot": str() | None as boot,
        } if synced >= 0:
            return ResumeState(identity, total, validator), synced, boot
    return None, 0, None


def _boot() -> str | None:
    """Name this run of the machine, `None` where nothing does: then only synced bytes are trusted."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None


try:
    import fcntl
except ImportError:  # Windows: two programs that write one file are told apart by nobody there

    def _lock(fd: int) -> None: ...

else:

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
