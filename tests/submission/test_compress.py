"""Songs are sent as FLAC where that keeps every sample."""

from __future__ import annotations

import wave
from pathlib import Path

import anyio
import numpy as np
import pytest
import soundfile

from mvsep_async.errors import UploadError
from mvsep_async.http.content import BytesContent, FileContent
from mvsep_async.http.multipart import Part
from mvsep_async.submission import compress as module
from mvsep_async.submission.compress import Compressor, encode_flac

TONE = (np.sin(np.arange(60_000) / 20) * 2**30).astype("int32").reshape(-1, 2)


def song(folder: Path, name: str = "song.wav", *, subtype: str = "PCM_16") -> Path:
    path = folder / name
    soundfile.write(path, TONE, 44_100, subtype=subtype)
    return path


async def part(path: Path) -> Part:
    return Part("audiofile", f"mv123-{path.name}", await FileContent.open(path))


@pytest.mark.parametrize("name", ["song.wav", "song.aiff", "song.w64"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
async def test_the_samples_are_the_same(tmp_path: Path, name: str, subtype: str) -> None:
    source, target = song(tmp_path, name, subtype=subtype), tmp_path / "song.flac"
    assert await encode_flac(source, target) is (name != "song.w64")
    if name != "song.w64":
        before, after = (soundfile.read(path, dtype="int32") for path in (source, target))
        assert before[1] == after[1]
        assert np.array_equal(before[0], after[0])
        assert soundfile.info(target).subtype == subtype


async def test_several_steps_make_one_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FRAMES", 1000)
    source, target = song(tmp_path), tmp_path / "song.flac"
    assert await encode_flac(source, target)
    assert np.array_equal(*(soundfile.read(path, dtype="int16")[0] for path in (source, target)))


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_32", "PCM_U8", "ULAW"])
async def test_what_flac_cannot_hold_is_left(tmp_path: Path, subtype: str) -> None:
    assert not await encode_flac(song(tmp_path, subtype=subtype), tmp_path / "song.flac")


async def test_what_is_not_audio_or_cannot_be_written_is_left(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no song")
    assert not await encode_flac(tmp_path / "text.wav", tmp_path / "song.flac")
    assert not await encode_flac(song(tmp_path), tmp_path / "missing" / "song.flac")


async def test_a_copy_that_differs_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, original = song(tmp_path), soundfile.SoundFile

    def eight_bits(path: Path, mode: str = "r", *args: object, **options: object) -> soundfile.SoundFile:
        if mode == "w":
            args = (*args[:2], "PCM_S8")
        return original(path, mode, *args, **options)

    monkeypatch.setattr(soundfile, "SoundFile", eight_bits)
    assert not await encode_flac(source, tmp_path / "song.flac")


async def test_a_form_gets_the_smaller_files_for_the_time_of_the_block(tmp_path: Path) -> None:
    mp3 = tmp_path / "b.mp3"
    mp3.write_bytes(b"ID3" + bytes(5000))
    parts = (await part(song(tmp_path)), await part(mp3), Part("audiofile", "mv123-c.wav", BytesContent(b"RIFF")))
    async with Compressor().compress(parts) as sent:
        assert [each.filename for each in sent] == ["mv123-song.flac", "mv123-b.mp3", "mv123-c.wav"]
        assert sent[1:] == parts[1:]
        content = sent[0].content
        assert isinstance(content, FileContent)
        assert content.size < parts[0].content.size / 2
        assert content.path.exists()
    assert not content.path.parent.exists()


async def test_a_song_that_does_not_become_smaller_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x01\x02")
    given = (await part(path),)
    async with Compressor().compress(given) as sent:
        assert sent == given


async def test_a_song_that_is_changed_meanwhile_is_not_sent(tmp_path: Path) -> None:
    path = song(tmp_path)
    given = (await part(path),)
    soundfile.write(path, TONE[::-1][:1000], 44_100, subtype="PCM_16")
    with pytest.raises(UploadError, match="was changed while it was read"):
        async with Compressor().compress(given):
            raise AssertionError("it must not be sent")


async def test_a_cancelled_compression_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FRAMES", 10)
    monkeypatch.setattr(module.TemporaryDirectory, "__init__", _below(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    given = (await part(song(tmp_path)),)
    compressor = Compressor()
    async with anyio.create_task_group() as tasks:

        async def compress() -> None:
            async with compressor.compress(given):
                pass

        tasks.start_soon(compress)
        while not list((tmp_path / "temporary").rglob("*.flac")):
            await anyio.sleep(0)
        tasks.cancel_scope.cancel()
    assert not list((tmp_path / "temporary").iterdir())
    async with compressor.compress(()):
        pass  # its turn is free again


def _below(folder: Path) -> object:
    original = module.TemporaryDirectory.__init__

    def init(self: object, **more: object) -> None:
        original(self, dir=folder, **more)  # type: ignore[call-overload]

    return init


async def test_without_room_for_a_copy_a_song_is_sent_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "TemporaryDirectory", full)
    parts = (await part(song(tmp_path)),)
    async with Compressor().compress(parts) as sent:
        assert sent == parts
