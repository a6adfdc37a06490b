"""Files to upload: paths, bytes, open files."""

import io
from pathlib import Path
from typing import Any

import pytest

from mvsep_async.endpoints.files import parts_of
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import InvalidRequestError, UploadError
from mvsep_async.http.content import CHUNK
from mvsep_async.http.multipart import Part
from tests.endpoints.fake import FakeCaller

DATA = bytes(range(256)) * (CHUNK // 128)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac"
    path.write_bytes(DATA)
    return path


async def content_of(part: Part) -> bytes:
    chunks = [bytes(chunk) async for chunk in part.content.chunks()]
    assert max(map(len, chunks)) <= CHUNK
    assert sum(map(len, chunks)) == part.content.size
    return b"".join(chunks)


async def test_a_file_in_every_form(song: Path) -> None:
    with song.open("rb") as opened:
        forms: list[Any] = [
            song,
            str(song),
            opened,
            ("song.flac", song),
            ("song.flac", DATA),
            ("song.flac", opened),
            ("song.flac", io.BytesIO(DATA)),
        ]
        for form in forms:
            (part,) = await parts_of(form)
            assert (part.name, part.filename) == ("audiofile", "song.flac")
            assert await content_of(part) == DATA
            assert await content_of(part) == DATA  # the body of a retried call begins anew
        assert not opened.closed


async def test_a_pair_for_matchering_by_field(song: Path) -> None:
    parts = await parts_of({"target_audiofile": song, "reference_audiofile": ("r.mp3", b"abc")})
    assert [(part.name, part.filename) for part in parts] == [
        ("target_audiofile", "song.flac"),
        ("reference_audiofile", "r.mp3"),
    ]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (b"abc", "no file name: give a pair"),
        (io.BytesIO(b"abc"), "no file name: give a pair"),
        (("song.flac", b""), "is empty"),
        (("song.flac", io.BytesIO()), "is empty"),
        (io.StringIO("abc"), "mode 'rb'"),
        (7, "not int"),
        (("song.flac", 7), "not int"),
        (("a", "b", "c"), "tuple of 3"),
        (("", b"abc"), "file name"),
        ("missing.flac", "missing.flac does not exist"),
    ],
)
async def test_what_is_not_a_file_is_never_sent(form: Any, message: str) -> None:
    caller = FakeCaller()
    with pytest.raises((InvalidRequestError, UploadError), match=message):
        await SeparationsAPI(caller).create(files=form)
    assert not caller.calls


async def test_a_closed_file_and_a_pipe_are_refused(song: Path) -> None:
    with song.open("rb") as opened:
        pass
    with pytest.raises(UploadError, match="closed file"):
        await parts_of(opened)

    class Pipe(io.RawIOBase):
        def seekable(self) -> bool:
            return False

        def read(self, size: int = -1) -> bytes:
            return b""

    with pytest.raises(UploadError, match="pass its bytes"):
        await parts_of(("song.flac", Pipe()))  # type: ignore[arg-type]


async def test_a_file_that_shrinks_while_it_is_sent(song: Path) -> None:
    with song.open("rb") as opened:
        (part,) = await parts_of(opened)
        song.write_bytes(b"short")
        with pytest.raises(UploadError, match=r"song\.flac ended"):
            await content_of(part)
