import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mvsep_async.sandbox.form import FIELD_LIMIT, Form, InvalidFormError, TooLargeError, read_form


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(folder: Path, body: bytes, content_type: str, *, size: int = 1000, limit: int = 10**7) -> Form:
    return await read_form(pieces(body, size), content_type, folder, limit=limit)


def multipart(content: bytes, name: str = "Ä song.mp3", **fields: str) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://h/", data=fields, files={"audiofile": (name, content)})
    return request.read(), request.headers["content-type"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 700), st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
async def test_a_form_is_the_same_in_pieces_of_any_size(tmp_path: Path, content: bytes, size: int, value: str) -> None:
    body, content_type = multipart(content, field=value)
    form = await read(tmp_path, body, content_type, size=size)
    upload = form.files["audiofile"]
    assert form.fields == {"field": value}
    assert (upload.filename, upload.size, upload.path.read_bytes()) == ("Ä song.mp3", len(content), content)
    assert upload.digest == hashlib.sha1(content).hexdigest()
    form.discard()
    assert list(tmp_path.iterdir()) == []


async def test_a_cut_body_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    body, content_type = multipart(b"x" * 5000)
    with pytest.raises(InvalidFormError):
        await read(tmp_path, body[:3000], content_type)
    assert list(tmp_path.iterdir()) == []


async def test_a_too_large_body_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    body, content_type = multipart(b"x" * 5000)
    with pytest.raises(TooLargeError):
        await read(tmp_path, body, content_type, limit=3000)
    assert list(tmp_path.iterdir()) == []


async def test_ordinary_fields_are_limited(tmp_path: Path) -> None:
    body, content_type = multipart(b"", field="x" * (FIELD_LIMIT + 1))
    with pytest.raises(TooLargeError):
        await read(tmp_path, body, content_type, size=100_000)


async def test_garbage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFormError):
        await read(tmp_path, b"garbage", "multipart/form-data; boundary=b")
    with pytest.raises(InvalidFormError):
        await read(tmp_path, b"{}", "application/json")
    with pytest.raises(InvalidFormError):
        await read(tmp_path, b"--b\r\nX: y\r\n\r\nvalue\r\n--b--\r\n", "multipart/form-data; boundary=b")


async def test_urlencoded_forms(tmp_path: Path) -> None:
    form = await read(tmp_path, b"a=1&b=%C3%A4+x&c=", "application/x-www-form-urlencoded")
    assert form.fields == {"a": "1", "b": "ä x", "c": ""}
    assert (await read(tmp_path, b"", "")).fields == {}


async def test_an_empty_file_field_is_no_file(tmp_path: Path) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="audiofile"; filename=""\r\n\r\n\r\n--b--\r\n'
    form = await read(tmp_path, body, "multipart/form-data; boundary=b")
    assert form.files == {}
    assert list(tmp_path.iterdir()) == []


async def test_of_two_files_of_one_name_the_last_is_kept(tmp_path: Path) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="audiofile"; filename="%s"\r\n\r\n%s\r\n'
    body = part % (b"first.mp3", b"1") + part % (b"second.mp3", b"2") + b"--b--\r\n"
    form = await read(tmp_path, body, "multipart/form-data; boundary=b")
    assert form.files["audiofile"].filename == "second.mp3"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"2"]
