import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser, parse_options_header

from mvsep_async.errors import UploadError
from mvsep_async.http.content import BytesContent, FileContent
from mvsep_async.http.multipart import MultipartBody, Part
from mvsep_async.http.token import Token
from mvsep_async.transport.client import make_http
from tests.transport.servers import Connection, Request, serving


@frozen
class Pieces:
    """Content in pieces of any size."""

    pieces: list[bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    async def chunks(self) -> AsyncGenerator[bytes]:
        for piece in self.pieces:
            yield piece


def parsed(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """What an independent parser finds: each part's disposition, and its bytes."""
    kind, options = parse_options_header(content_type)
    assert kind == b"multipart/form-data"
    found: list[tuple[dict[str, str], bytes]] = []
    name, value, data = bytearray(), bytearray(), bytearray()
    headers: dict[str, str] = {}

    def end_header() -> None:
        headers[name.decode().lower()] = value.decode("utf-8")
        name.clear()
        value.clear()

    def end_part() -> None:
        found.append((dict(headers), bytes(data)))
        headers.clear()
        data.clear()

    ended: list[bool] = []
    parser = MultipartParser(
        options[b"boundary"],
        {
            "on_header_field": lambda raw, start, end: name.extend(raw[start:end]),
            "on_header_value": lambda raw, start, end: value.extend(raw[start:end]),
            "on_header_end": end_header,
            "on_part_data": lambda raw, start, end: data.extend(raw[start:end]),
            "on_part_end": end_part,
            "on_end": lambda: ended.append(True),
        },
    )
    parser.write(body)
    parser.finalize()
    assert ended
    return found


def read(body: MultipartBody) -> bytes:
    async def collect() -> bytes:
        return b"".join([chunk async for chunk in body])

    return asyncio.run(collect())


def quoted(name: str) -> str:
    return name.encode(errors="replace").decode().replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"\r\n%\\'), max_size=20)


@given(
    st.dictionaries(texts, st.text(st.characters(exclude_categories=["Cs"]))),
    st.lists(st.tuples(texts, texts, st.lists(st.binary())), max_size=3),
)
def test_a_parser_finds_what_was_put_in(fields: dict[str, str], files: list[tuple[str, str, list[bytes]]]) -> None:
    if not fields and not files:
        return
    body = MultipartBody(fields, tuple(Part(name, filename, Pieces(data)) for name, filename, data in files))
    raw = read(body)
    assert len(raw) == body.content_length
    assert body.handed_over
    parts = parsed(body.content_type, raw)
    assert len(parts) == len(fields) + len(files)
    for (headers, data), (name, value) in zip(parts, fields.items(), strict=False):
        assert headers["content-disposition"] == f'form-data; name="{quoted(name)}"'
        assert data == value.encode()
    for (headers, data), (name, filename, pieces) in zip(parts[len(fields) :], files, strict=True):
        assert headers["content-disposition"] == f'form-data; name="{quoted(name)}"; filename="{quoted(filename)}"'
        assert headers["content-type"] == "application/octet-stream"
        assert data == b"".join(pieces)


def test_names_cannot_add_headers_and_types_neither() -> None:
    part = Part('a"\r\nX: 1', 'b"\r\n\r\nevil', BytesContent(b"x"), "audio/wav\r\nX: 1")
    body = MultipartBody({}, (part,))
    [(headers, data)] = parsed(body.content_type, read(body))
    assert set(headers) == {"content-disposition", "content-type"}
    assert headers["content-type"] == "application/octet-stream"
    assert data == b"x"


def test_the_token_is_sent_and_not_shown() -> None:
    body = MultipartBody({"api_token": Token("hush"), "sep_type": "40"})
    assert "hush" not in repr(vars(body))
    assert b"\r\n\r\nhush\r\n" in read(body)


async def test_progress_counts_what_was_taken_and_begins_anew() -> None:
    seen: list[tuple[int, int]] = []
    handed: list[int] = []
    parts = (Part("a", "a", Pieces([b"12345", b"678"])), Part("b", "b", Pieces([b"90"])))
    body = MultipartBody(
        {"x": "y"},
        parts,
        on_progress=lambda sent, total: seen.append((sent, total)),
        on_handed_over=lambda: handed.append(len(seen)),
    )
    first = [chunk async for chunk in body]
    assert seen == [(0, 10), (5, 10), (8, 10), (10, 10)]
    assert handed == [4]
    second = [chunk async for chunk in body]
    assert first == second
    assert seen[4:] == seen[:4]


async def test_handed_over_is_reported_just_before_the_last_bytes() -> None:
    body = MultipartBody({"x": "y"}, (Part("a", "a", BytesContent(b"1" * 10)),))
    before: list[bool] = []
    async for _ in body:
        before.append(body.handed_over)
    assert before == [False] * (len(before) - 1) + [True]
    iterator = aiter(body)
    await anext(iterator)
    assert not body.handed_over, "a retry has not handed over anything yet"
    await iterator.aclose()


async def test_pieces_stay_as_they_are_when_later_ones_are_read(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(os.urandom(1_000_000))
    body = MultipartBody({}, (Part("audiofile", "s.wav", await FileContent.open(song)),))
    kept = [piece async for piece in body]
    assert len(kept) > 4
    assert song.read_bytes() in b"".join(kept)


async def test_closing_a_body_closes_its_file(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(bytes(1_000_000))
    body = MultipartBody({}, (Part("audiofile", "s.wav", await FileContent.open(song)),))
    pieces = aiter(body)
    while len(await anext(pieces)) < 1000:
        pass
    assert opened(song)
    await body.aclose()
    assert not opened(song)


def opened(path: Path) -> bool:
    """Tell whether this process has the file open."""
    return any(Path(fd).resolve() == path for fd in Path("/proc/self/fd").iterdir())


def take(bodies: list[bytes]) -> Any:
    def answer(connection: Connection, request: Request) -> None:
        assert "transfer-encoding" not in request.headers
        bodies.append(connection.read_body(int(request.headers["content-length"])))
        connection.answer("200 OK", {"Content-Type": "application/json"}, b"{}")

    return answer


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("own", [True, False])
def test_a_file_is_uploaded_over_a_real_socket(tmp_path: Path, backend: str, own: bool) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(os.urandom(3_000_001))
    bodies: list[bytes] = []

    async def main() -> MultipartBody:
        async with make_http(httpx.Timeout(10)) if own else httpx.AsyncClient() as http:
            body = MultipartBody({"k": "v"}, (Part("audiofile", "s.wav", await FileContent.open(song)),))
            for _ in range(2):
                response = await http.post(server.url("/create"), content=body, headers=body.headers)
                assert response.json() == {}
            return body

    with serving(take(bodies)) as server:
        body = anyio.run(main, backend=backend)
    for raw in bodies:
        assert parsed(body.content_type, raw)[1][1] == song.read_bytes()
    assert len(bodies) == 2
    assert server.connections == 1


async def test_a_file_that_shrinks_while_it_is_sent_ends_the_upload(tmp_path: Path, http: httpx.AsyncClient) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(bytes(3_000_000))
    bodies: list[bytes] = []

    def shrink(sent: int, total: int) -> None:
        if sent > 1_000_000:
            os.truncate(song, 1_500_000)

    content = await FileContent.open(song)
    body = MultipartBody({}, (Part("audiofile", "s.wav", content),), on_progress=shrink)
    with serving(take(bodies)) as server, pytest.raises(UploadError, match="shrank"):
        await http.post(server.url("/create"), content=body, headers=body.headers)
    assert not body.handed_over
