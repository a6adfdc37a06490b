from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import anyio
import av
import mutagen
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from mutagen.apev2 import APEv2
from mutagen.id3 import ID3, TIT2

from mvsep_async.audio import digest as module
from mvsep_async.audio.digest import audio_length, content_of, read_content
from mvsep_async.audio.extents import AudioData, find_extents
from mvsep_async.audio.ogg import packets
from tests.audio.songs import write_plain_tags, write_song

MADE_WITH = {".m4a": ("ipod", "aac"), ".webm": ("webm", "libopus"), ".oga": ("ogg", "flac")}
TAGGED = [".mp3", ".wav", ".flac", ".ogg", ".opus", ".oga", ".aiff", ".m4a"]


def song(path: Path, pitch: float = 440, seconds: float = 2) -> Path:
    """Write a sound in the format of the name."""
    sound = 0.2 * np.sin(np.arange(int(48000 * seconds)) * pitch / 48000)
    if path.suffix in MADE_WITH:
        container, codec = MADE_WITH[path.suffix]
        with av.open(str(path), "w", format=container) as output:
            stream: Any = output.add_stream(codec, rate=48000, layout="mono")
            form = stream.format.name
            data = (sound * 32767).astype(np.int16)[None, :] if form == "s16" else sound.astype(np.float32)[None, :]
            for first in range(0, data.shape[1], 1024):
                frame = av.AudioFrame.from_ndarray(data[:, first : first + 1024].copy(), format=form, layout="mono")
                frame.sample_rate, frame.pts = 48000, first
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    elif path.suffix == ".opus":
        soundfile.write(path, sound, 48000, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, sound, 48000)
    return path


def retag(path: Path, title: str) -> None:
    file: Any = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    match path.suffix:
        case ".mp3" | ".wav" | ".aiff":
            file.tags.add(TIT2(encoding=3, text=[title]))
        case ".m4a":
            file.tags["©nam"] = [title]
        case _:
            file.tags["title"] = title
    file.save()


def same(one: Path, other: Path) -> bool:
    first, second = content_of(one), content_of(other)
    assert (first.length == second.length) >= (first.digest == second.digest), "equal audio is equally long"
    assert (audio_length(one), audio_length(other)) == (first.length, second.length)
    return first.digest == second.digest


@pytest.mark.parametrize("suffix", TAGGED)
def test_tags_change_nothing_and_one_byte_of_sound_does(tmp_path: Path, suffix: str) -> None:
    path = song(tmp_path / f"a{suffix}")
    copy = shutil.copyfile(path, tmp_path / f"b{suffix}")
    for title in ("short", "a title of great length " * 5000, "short again"):
        retag(copy, title)
        assert copy.read_bytes() != path.read_bytes()
        assert same(path, copy)
    data = bytearray(copy.read_bytes())
    where = {".m4a": data.find(b"mdat") + 200, ".aiff": data.find(b"SSND") + 200}.get(suffix, len(data) * 3 // 4)
    data[where] ^= 1
    copy.write_bytes(data)
    assert content_of(path).digest != content_of(copy).digest
    assert not same(path, song(tmp_path / f"c{suffix}", pitch=441))


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".m4a"])
def test_a_cover_changes_nothing(tmp_path: Path, suffix: str) -> None:
    path = song(tmp_path / f"a{suffix}")
    copy = shutil.copyfile(path, tmp_path / f"b{suffix}")
    write_plain_tags(copy, title="x", cover=True)
    assert same(path, copy)


def test_every_tag_that_an_mp3_may_carry_is_left_out(tmp_path: Path) -> None:
    path = song(tmp_path / "a.mp3")
    copy = tmp_path / "b.mp3"
    lyrics = b"LYRICSBEGININD0000200" + b"000021LYRICS200"
    copy.write_bytes(path.read_bytes() + lyrics)
    ape = APEv2()
    ape["Title"] = "x"
    ape.save(copy)
    tags = ID3()
    tags.add(TIT2(encoding=3, text=["x"]))
    tags.save(copy, v1=2)
    assert copy.read_bytes()[-128:-125] == b"TAG"
    assert same(path, copy)
    copy.write_bytes(b"\0" * 1000 + path.read_bytes())
    assert same(path, copy), "where a tag was, zeros stay"
    front = tmp_path / "c.mp3"
    front.write_bytes(b"APETAGEX" + (2000).to_bytes(4, "little") + bytes(0))
    front.write_bytes(b"APETAGEX\xd0\x07\0\0" + (50).to_bytes(4, "little") + bytes(16) + bytes(50) + path.read_bytes())
    assert same(path, front)


def test_chunks_beside_the_sound_of_a_wav_change_nothing(tmp_path: Path) -> None:
    path = song(tmp_path / "a.wav")
    data = path.read_bytes()
    with_info = tmp_path / "b.wav"
    with_info.write_bytes(data[:12] + b"LIST\x05\0\0\0INFOx\0" + data[12:] + b"bext\2\0\0\0xx")
    assert same(path, with_info)
    at = data.index(b"data") + 4
    endless = tmp_path / "c.wav"
    endless.write_bytes(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])
    assert same(path, endless), "a size that was never filled in reaches to the end"


def test_matroska_is_known_by_its_clusters(tmp_path: Path) -> None:
    path = song(tmp_path / "a.webm")
    data = path.read_bytes()
    other = tmp_path / "b.webm"
    other.write_bytes(data + bytes.fromhex("1254c367") + b"\x84tags")
    assert same(path, other)
    assert not same(path, song(tmp_path / "c.webm", pitch=441))


@pytest.mark.parametrize("suffix", [*TAGGED, ".webm"])
@pytest.mark.parametrize("cut", [0, 1, 3, 11, 30, 100, 700])
def test_a_cut_file_has_a_digest_too(tmp_path: Path, suffix: str, cut: int) -> None:
    path = song(tmp_path / f"a{suffix}", seconds=0.1)
    path.write_bytes(path.read_bytes()[:cut])
    assert len(content_of(path).digest) == 30


@given(
    st.sampled_from([b"", b"fLaC", b"RIFF\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b"\0\0\0\x10ftypM4A ", b"OggS\0\2"])
    | st.sampled_from([b"\x1a\x45\xdf\xa3", b"ID3\4\0\0\0\0\0\5", b"RF64\xff\xff\xff\xffWAVEds64", b"APETAGEX"]),
    st.binary(max_size=300),
)
def test_no_content_breaks_it(magic: bytes, rest: bytes) -> None:
    source = AudioData(io.BytesIO(magic + rest))
    extents = find_extents(source)
    assert all(0 <= first <= last <= source.size for first, last in extents)
    assert sum(map(len, packets(source))) <= source.size


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = song(tmp_path / "a.wav")

    def touch() -> bool:
        os.utime(path, ns=(1, 1))
        return False

    with pytest.raises(OSError, match="changed while it was read"):
        content_of(path, stop=touch)


async def test_a_cancelled_reading_ends_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(b"sound")
        file.truncate(1 << 34)
    begun, ended = anyio.Event(), anyio.Event()
    portal_errors: list[type[BaseException]] = []
    real = module.content_of

    def watched(*args: Any, **kwargs: Any) -> Any:
        anyio.from_thread.run_sync(begun.set)
        try:
            return real(*args, **kwargs)
        except BaseException as error:
            portal_errors.append(type(error))
            raise
        finally:
            anyio.from_thread.run_sync(ended.set)

    monkeypatch.setattr(module, "content_of", watched)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_content, path)
        await begun.wait()
        tasks.cancel_scope.cancel()
    await ended.wait()
    assert portal_errors == [InterruptedError]


def test_a_song_without_a_known_format_counts_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"whatever it is")
    (tmp_path / "b").write_bytes(b"whatever it is")
    (tmp_path / "c").write_bytes(b"whatever it iS")
    assert same(tmp_path / "a", tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "c")
    assert not same(write_song(tmp_path / "d.wav"), write_song(tmp_path / "e.flac"))
