import errno
import os
from pathlib import Path

import pytest

from mvsep_async.journal import lock
from mvsep_async.journal.lock import FileLock, LockedError


def test_a_second_holder_in_the_same_process_is_refused(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    first.acquire()
    with pytest.raises(LockedError) as caught:
        second.acquire()
    assert caught.value.pid == os.getpid()
    first.release()
    second.acquire()
    second.release()


def test_releasing_again_changes_nothing(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    first.release()
    first.acquire()
    first.release()
    second.acquire()
    first.release()
    with pytest.raises(LockedError):
        first.acquire()
    second.release()


def test_only_its_own_process_id_is_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("12345678901234567890 of the last holder")
    held = FileLock(tmp_path / "l")
    held.acquire()
    assert (tmp_path / "l").read_text() == f"{os.getpid()}\n"
    held.release()


def test_the_holder_is_unknown_without_a_process_id(tmp_path: Path) -> None:
    first = FileLock(tmp_path / "l")
    first.acquire()
    (tmp_path / "l").write_text("?")
    with pytest.raises(LockedError) as caught:
        FileLock(tmp_path / "l").acquire()
    assert caught.value.pid is None
    first.release()


def test_a_failed_attempt_closes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    opened: list[int] = []
    real_open = os.open
    monkeypatch.setattr(os, "open", lambda *args: opened.append(real_open(*args)) or opened[-1])
    monkeypatch.setattr(lock, "_try_lock", refuse)
    with pytest.raises(OSError, match="No locks"):
        FileLock(tmp_path / "l").acquire()
    (descriptor,) = opened
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
