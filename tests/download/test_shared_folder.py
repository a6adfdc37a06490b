"""Folders on disk: links, planted files, names and locks that a file system does not have."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from mvsep_async.download import folder as folder_module
from mvsep_async.download.fetch import Fetch, Fetched
from mvsep_async.download.folder import Folder, NotOursError, check_writable, name_limit
from mvsep_async.download.part_file import PartFile, is_taken, remove_leftovers
from mvsep_async.download.ranges import ResumeState
from mvsep_async.errors import DownloadError
from mvsep_async.transport.client import make_http
from tests.transport.conftest import audio
from tests.transport.servers import FileAnswer, serving

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and permissions of POSIX")
as_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="gives files to another user")

SONG = audio(900_000)
STRANGER = 54321


async def download(target: Path, root: Path, **more: Any) -> Fetched:
    import httpx

    with serving(FileAnswer(SONG)) as server, anyio.fail_after(60):
        async with make_http(httpx.Timeout(10)) as http:
            return await Fetch(http=http, url=server.url(), target=target, root=root, **more).run()


async def second(path: Path) -> Path:
    return path.with_name(f"{path.stem} (2){path.suffix}")


async def test_a_link_that_the_user_made_in_the_target_folder_is_followed(tmp_path: Path) -> None:
    root, disk = tmp_path / "stems", tmp_path / "other disk" / "artist"
    root.mkdir()
    disk.mkdir(parents=True)
    (root / "Artist").symlink_to(disk)
    (root / "relative").symlink_to(Path("..", "other disk", "artist"))
    check_writable(root, Path("Artist"))
    await download(root / "Artist" / "album" / "a.wav", root)
    await download(root / "relative" / "b.wav", root)
    assert (disk / "album" / "a.wav").read_bytes() == SONG
    assert (disk / "b.wav").read_bytes() == SONG


@as_root
async def test_a_link_that_another_user_made_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "stems", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "Artist").symlink_to(outside)
    os.chown(root / "Artist", STRANGER, STRANGER, follow_symlinks=False)
    for refused in (partial(check_writable, root, Path("Artist")), partial(is_taken, root, root / "Artist" / "a.wav")):
        with pytest.raises(OSError, match="symbolic link made by another user"):
            refused()
    with pytest.raises(DownloadError, match="symbolic link made by another user"):
        await download(root / "Artist" / "a.wav", root)
    assert list(outside.iterdir()) == []


@as_root
async def test_a_link_by_the_owner_of_the_target_folder_is_followed(tmp_path: Path) -> None:
    """As when a container runs as root in a folder of the user's."""
    root, disk = tmp_path / "stems", tmp_path / "disk"
    root.mkdir()
    disk.mkdir()
    (root / "Artist").symlink_to(disk)
    for path in (root, root / "Artist"):
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    await download(root / "Artist" / "a.wav", root)
    assert (disk / "a.wav").read_bytes() == SONG


def test_a_dangling_link_and_one_to_itself_are_errors(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FileNotFoundError):
        Folder.enter(tmp_path, Path("gone"))
    with pytest.raises(OSError, match="symbolic links"):
        Folder.enter(tmp_path, Path("loop"))


ENDINGS = ["", ".part", ".part.json", ".part.tmp"]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_named_pipe_in_the_way_does_not_block(tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"a.wav{ending}")
    got = await download(tmp_path / "a.wav", tmp_path, next_path=second, candidates=[tmp_path / "a.wav"])
    assert got.path.read_bytes() == SONG
    assert got.path.name == ("a (2).wav" if ending in ("", ".part") else "a.wav")
    assert is_taken(tmp_path, tmp_path / "a.wav")


@pytest.mark.parametrize("ending", ENDINGS[1:])
async def test_nothing_is_written_through_a_planted_hard_link_or_symbolic_link(tmp_path: Path, ending: str) -> None:
    root, victim = tmp_path / "stems", tmp_path / "victim"
    root.mkdir()
    victim.write_text("precious")
    for number, plant in enumerate((os.link, os.symlink)):
        target = root / f"{number}.wav"
        plant(victim, target.with_name(target.name + ending))
        got = await download(target, root, next_path=second)
        assert got.path.read_bytes() == SONG
        assert victim.read_text() == "precious"
        assert got.path.stat().st_nlink == 1


@as_root
@pytest.mark.parametrize("ending", [".part", ".part.json"])
async def test_what_another_user_planted_is_not_believed(tmp_path: Path, ending: str) -> None:
    part = PartFile(tmp_path, tmp_path / "a.wav")
    part.open()
    part.begin(0, ResumeState("127.0.0.1/stem.wav", len(SONG), '"v1"'))
    part.write(SONG[:1000] + b"forged" * 100)
    part.keep()
    os.chown(tmp_path / f"a.wav{ending}", STRANGER, STRANGER)
    got = await download(tmp_path / "a.wav", tmp_path, next_path=second)
    assert got.resumed == 0
    assert got.path.read_bytes() == SONG
    assert got.path.name == ("a (2).wav" if ending == ".part" else "a.wav")


@as_root
async def test_a_share_that_gives_every_file_one_owner_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = PartFile(tmp_path, tmp_path / "a.wav")
    part.open()
    part.begin(0, ResumeState("127.0.0.1/stem.wav", len(SONG), '"v1"'))
    part.write(SONG[:1000])
    part.keep()
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)  # all files, those made by this process too, have another uid
    got = await download(tmp_path / "a.wav", tmp_path)
    assert got.resumed == 1000
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


async def test_a_folder_in_place_of_the_part_file_gets_out_of_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.wav.part").mkdir()
    got = await download(tmp_path / "a.wav", tmp_path, next_path=second)
    assert got.path.name == "a (2).wav"
    (tmp_path / "b.wav").mkdir()
    assert is_taken(tmp_path, tmp_path / "b.wav", overwrite=True)


async def test_a_part_file_that_is_exchanged_meanwhile_does_not_get_the_name(tmp_path: Path) -> None:
    def exchange(have: int) -> None:
        if have == len(SONG):
            (tmp_path / "a.wav.part").rename(tmp_path / "ours")
            (tmp_path / "a.wav.part").write_text("theirs")

    with pytest.raises(DownloadError, match="replaced by another program"):
        await download(tmp_path / "a.wav", tmp_path, on_bytes=exchange)
    assert not (tmp_path / "a.wav").exists()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF])
async def test_a_share_without_locks_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    import fcntl

    def refuse(fd: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    check_writable(tmp_path, Path("song"))
    assert not is_taken(tmp_path, tmp_path / "a.wav")
    await download(tmp_path / "a.wav", tmp_path)
    assert (tmp_path / "a.wav").read_bytes() == SONG


def test_a_probe_leaves_nothing_but_the_target_folder(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "stems", Path("Artist", "Song"))
    assert list((tmp_path / "new" / "stems").iterdir()) == []
    (tmp_path / "new" / "stems" / "Artist").mkdir()
    check_writable(tmp_path / "new" / "stems", Path("Artist", "Song"))
    assert list((tmp_path / "new" / "stems").rglob("*")) == [tmp_path / "new" / "stems" / "Artist"]


def test_a_probe_finds_what_would_fail_after_the_payment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Song").write_text("a file in the way")
    with pytest.raises(NotADirectoryError):
        check_writable(tmp_path, Path("Song"))
    with pytest.raises(NotADirectoryError):
        check_writable(tmp_path, Path("Song", "deeper"))
    with pytest.raises(FileExistsError):
        check_writable(tmp_path / "Song", Path())
    with pytest.raises(OSError, match="/proc"):
        check_writable(Path("/proc/nowhere"), Path())

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder_module.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        check_writable(tmp_path, Path())
    assert [path.name for path in tmp_path.iterdir()] == ["Song"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_probe_finds_a_folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "Song").mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        check_writable(tmp_path, Path("Song", "deeper"))


def test_the_limit_of_names_is_that_of_the_nearest_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name_limit(tmp_path / "a" / "b") == os.pathconf(tmp_path, "PC_NAME_MAX")

    def unknown(path: Path, name: str) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "pathconf", unknown)
    assert name_limit(tmp_path) is None


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    with Folder.enter(tmp_path, Path()) as folder:
        for name in ("link", "folder"):
            with pytest.raises(NotOursError):
                folder.open(name)
            with pytest.raises(NotOursError):
                folder.open_or_create(name)
        for name in ("", ".", "..", "a/b", "/etc/passwd"):
            with pytest.raises(OSError, match="not a plain file name"):
                folder.create(name)


def test_leftovers_of_a_finished_file_are_removed(tmp_path: Path) -> None:
    """As after a crash between the link to the final name and the removal of the first one."""
    (tmp_path / "a.wav").write_bytes(SONG)
    os.link(tmp_path / "a.wav", tmp_path / "a.wav.part")
    (tmp_path / "a.wav.part.json").write_text("{}")
    remove_leftovers(tmp_path, tmp_path / "a.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == SONG
