import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mvsep_async.errors import UploadError
from mvsep_async.http import file_reader
from mvsep_async.http.content import CHUNK, BytesContent, Content, FileContent, spool


async def collect(content: Content) -> bytes:
    return b"".join([bytes(chunk) async for chunk in content.chunks()])


@pytest.fixture(params=["nowait", "threads", "unsupported"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to read a file, wherever the tests run."""
    if request.param == "threads":
        monkeypatch.setattr(file_reader, "_NOWAIT", None)
    elif request.param == "unsupported":

        def preadv(*args: object) -> int:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "preadv", preadv, raising=False)
    return str(request.param)


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17])
async def test_a_file_comes_whole_and_again(tmp_path: Path, platform: str, size: int) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(os.urandom(size))
    content = await FileContent.open(path)
    assert content.size == size
    assert await collect(content) == path.read_bytes()
    assert await collect(content) == path.read_bytes()


async def test_pages_that_are_not_cached_come_through_a_thread(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(os.urandom(3 * CHUNK))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert await collect(await FileContent.open(path)) == path.read_bytes()


async def test_bytes_come_whole_and_again() -> None:
    data = os.urandom(2 * CHUNK + 5)
    assert await collect(BytesContent(data)) == data
    assert await collect(BytesContent(data)) == data
    assert "data" not in repr(BytesContent(b"secret"))


async def test_what_cannot_be_sent_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, said in [
        ("no.wav", "does not exist"),
        ("empty.wav", "is empty"),
        ("", "is a folder"),
        ("pipe", "regular"),
    ]:
        with pytest.raises(UploadError, match=said) as caught:
            await FileContent.open(tmp_path / name)
        assert str(tmp_path) in str(caught.value)
    with pytest.raises(UploadError, match="not a valid path"):
        await FileContent.open("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_an_unreadable_file_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(UploadError, match="may not be read"):
        await FileContent.open(path)


@pytest.mark.parametrize("when", ["before", "while", "before the last piece"])
@pytest.mark.parametrize(("size", "said"), [(CHUNK // 2, "shrank"), (9 * CHUNK, "grew"), (4 * CHUNK, "changed")])
async def test_a_file_that_changes_is_never_sent_as_if_it_had_not(
    tmp_path: Path, platform: str, when: str, size: int, said: str
) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(bytes(4 * CHUNK))
    content = await FileContent.open(path)
    sent = 0

    def change() -> None:
        os.truncate(path, size)
        os.utime(path, ns=(1, 1))

    if when == "before":
        change()
    with pytest.raises(UploadError, match=said):
        async for chunk in content.chunks():
            sent += len(chunk)
            if sent == {"while": CHUNK, "before the last piece": 3 * CHUNK}.get(when):
                change()
    assert sent < content.size


async def test_a_file_that_vanishes_is_an_upload_error(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"x")
    content = await FileContent.open(path)
    path.unlink()
    with pytest.raises(UploadError, match=r"song\.wav"):
        await collect(content)


async def stream(pieces: int, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for _ in range(pieces):
        yield b"x" * 100_000
    if then is not None:
        raise then


@pytest.mark.parametrize("durable", [True, False])
async def test_a_stream_is_spooled_to_a_file(tmp_path: Path, durable: bool) -> None:
    content = await spool(stream(33), tmp_path, "spooled.wav", durable=durable)
    assert content.size == 3_300_000
    assert await collect(content) == b"x" * 3_300_000
    assert [path.name for path in tmp_path.iterdir()] == ["spooled.wav"]


async def test_what_was_spooled_goes_when_the_stream_fails(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        await spool(stream(30, ConnectionError("the caller's")), tmp_path, "a.wav")
    with pytest.raises(UploadError, match="is empty"):
        await spool(stream(0), tmp_path, "a.wav")
    with anyio.CancelScope() as scope:

        async def cancelled() -> AsyncIterator[bytes]:
            yield b"x" * 2_000_000
            scope.cancel()
            await anyio.sleep(0)
            yield b"never"

        await spool(cancelled(), tmp_path, "a.wav")
    assert scope.cancelled_caught
    assert list(tmp_path.iterdir()) == []


async def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("mine")
    with pytest.raises(UploadError, match="cannot be written"):
        await spool(stream(1), tmp_path, "a.wav")
    assert (tmp_path / "a.wav").read_text() == "mine"


async def test_a_full_disk_is_an_upload_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mvsep_async.http.content.os.write", full)
    with pytest.raises(UploadError, match="No space left"):
        await spool(stream(1), tmp_path, "a.wav")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
