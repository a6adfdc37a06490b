"""Renaming a file to its final name: complete, and never over another file, on every platform and file system."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mvsep_async.download.folder import Folder


def refuse(error: Exception) -> Any:
    def link(*_: object, **__: object) -> None:
        raise error

    return link


@pytest.fixture(params=["links", "no os.link", "not relative to a folder", "refused by the file system"])
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Folder]:
    match request.param:
        case "no os.link":
            monkeypatch.delattr(os, "link")
        case "not relative to a folder":
            monkeypatch.setattr(os, "link", refuse(NotImplementedError("src_dir_fd unavailable on this platform")))
        case "refused by the file system":
            monkeypatch.setattr(os, "link", refuse(OSError(errno.EPERM, "Operation not permitted")))
    folder = Folder.enter(tmp_path, Path("inside"))
    yield folder
    folder.close()


def test_a_file_gets_its_name(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "inside" / "a.part").write_bytes(b"all of it")
    folder.place("a.part", "a.mp3")
    assert [path.name for path in (tmp_path / "inside").iterdir()] == ["a.mp3"]
    assert (tmp_path / "inside" / "a.mp3").read_bytes() == b"all of it"


def test_a_file_of_that_name_stays_as_it_is(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "inside" / "a.part").write_bytes(b"ours")
    (tmp_path / "inside" / "a.mp3").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        folder.place("a.part", "a.mp3")
    assert (tmp_path / "inside" / "a.mp3").read_bytes() == b"theirs"
    assert (tmp_path / "inside" / "a.part").read_bytes() == b"ours"
