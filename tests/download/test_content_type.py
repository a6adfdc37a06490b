import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.audio.formats import HEAD, detect_format
from mvsep_async.download.content_type import detect_wrong_content

KINDS = [
    (b"RIFF\x24\x00\x00\x00WAVEfmt ", "wav"),
    (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
    (b"fLaC\x00\x00\x00\x22", "flac"),
    (b"ID3\x04\x00\x00\x00", "mp3"),
    (b"\xff\xfb\x90\x64\x00", "mp3"),
    (b"\xff\xf3\x40\xc0\x00", "mp3"),
    (b"\x00\x00\x00\x20ftypM4A ", "m4a"),
    (b"OggS\x00\x02", "ogg"),
    (b"FORM\x00\x00\x00\x00AIFF", "aiff"),
    (b"\x1a\x45\xdf\xa3\x01", "webm"),
    (b"MThd\x00\x00\x00\x06", "midi"),
    (b"PK\x03\x04\x14\x00", "zip"),
]


@pytest.mark.parametrize(("head", "kind"), KINDS)
def test_formats_are_known_by_their_first_bytes(head: bytes, kind: str) -> None:
    assert detect_format(head) == kind


@given(st.sampled_from([head for head, _ in KINDS]), st.binary(max_size=HEAD), st.sampled_from(["a.wav", "a.txt", "a"]))
def test_a_known_format_is_accepted_under_any_name_and_type(head: bytes, rest: bytes, name: str) -> None:
    assert detect_wrong_content(head + rest, name, content_type="text/html") is None


@pytest.mark.parametrize(
    "page",
    [b"<!DOCTYPE html><html>", b"\n\n <html lang=en>", b"\xef\xbb\xbf<!doctype HTML>", b"<!-- x --><head>",
     b"<?xml version='1.0'?><!DOCTYPE html PUBLIC>", b"<h1>502</h1>", b"<center>nginx</center>",
     " <html>weg</html>".encode("utf-16"), b"\xfe\xff" + " <html>".encode("utf-16-be"),
     gzip.compress(b"<html></html>", mtime=0)],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.mp3", "a.json", "a.txt", "a.srt"])
def test_a_page_is_never_a_file(page: bytes, name: str) -> None:
    found = detect_wrong_content(page, name)
    assert found is not None
    assert found.page


@pytest.mark.parametrize("text", [
    b'{"success": false}', b" [1, 2]", b"file not found", "nicht gefunden: ü".encode(), "supprimé\u00a0: là".encode(),
    "gelöscht".encode("latin-1"), "\ufeff{}".encode(), '\ufeff{"success": false}'.encode(), "nein".encode("utf-16"),
    "файл удалён".encode("cp1251"), "文件已删除".encode(),
])  # fmt: skip
def test_text_is_a_file_only_where_text_is_expected(text: bytes) -> None:
    assert detect_wrong_content(text, "a.mp3") is not None
    assert detect_wrong_content(text, "chords.json") is None
    assert detect_wrong_content(text, "Lyrics.TXT") is None
    assert detect_wrong_content(text, "subtitles.srt", content_type="text/html") is None


@given(st.binary(min_size=16, max_size=HEAD).filter(lambda head: b"\x00" in head and head.lstrip()[:1] not in b"<{["))
def test_unknown_binary_data_is_accepted(head: bytes) -> None:
    assert detect_wrong_content(head, "a.new") is None


@given(st.binary(max_size=HEAD), st.text(max_size=20), st.text(max_size=20))
def test_every_head_is_classified(head: bytes, name: str, content_type: str) -> None:
    found = detect_wrong_content(head, name, content_type=content_type)
    assert found is None or found.why.startswith("the server sent")
    assert detect_wrong_content(b"", name) is not None


def test_bytes_that_are_not_text_in_any_encoding_are_binary() -> None:
    assert detect_wrong_content(bytes(range(200, 256)) * 4, "a.wav") is None


def test_compressed_content_is_accepted_only_where_the_name_says_so() -> None:
    assert detect_wrong_content(gzip.compress(b"song"), "stems.tar.GZ") is None
    assert detect_wrong_content(gzip.compress(b"song"), "song.wav") is not None
