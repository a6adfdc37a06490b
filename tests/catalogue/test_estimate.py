import wave
from pathlib import Path

import pytest

from mvsep_async.catalogue.estimate import estimate
from mvsep_async.errors import InvalidRequestError
from tests.catalogue.samples import algorithm, select, times

MADE = algorithm(select(1, {"f": "fast", "s": "slow"}, "f", price_rules=[times("s", "2.0000")]))


def song(path: Path, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(100)
        file.writeframes(b"\0" * round(seconds * 100))
    return path


async def test_the_price_of_a_folder(tmp_path: Path) -> None:
    song(tmp_path / "b.wav", 150)
    song(tmp_path / "deep" / "a.WAV", 10)
    (tmp_path / "cover.jpg").write_bytes(b"jpg")
    found = await estimate(tmp_path, MADE, {"add_opt1": "slow"})
    assert [(known.path.name, known.seconds, known.credits) for known in found.songs] == [
        ("b.wav", 150.0, 5),
        ("a.WAV", 10.0, 1),
    ]
    assert (found.credits, found.seconds, found.unreadable) == (6, 160.0, ())
    assert found.algorithm is MADE


async def test_unreadable_files_are_listed_and_the_rest_is_counted(tmp_path: Path) -> None:
    good = song(tmp_path / "good.wav", 120)
    (tmp_path / "noise.mp3").write_bytes(b"\x00" * 4096)
    (tmp_path / "cut.flac").write_bytes(b"fLaC\x00")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.txt").write_text("hello")
    paths = [good, *(tmp_path / name for name in ("noise.mp3", "cut.flac", "empty.wav", "text.txt")), good]
    found = await estimate(paths, MADE)
    assert [known.path for known in found.songs] == [good]
    assert [path.name for path, _ in found.unreadable] == ["noise.mp3", "cut.flac", "empty.wav", "text.txt"]
    assert all(reason for _, reason in found.unreadable)


async def test_a_folder_is_walked_like_everywhere_else(tmp_path: Path) -> None:
    song(tmp_path / "no extension", 60)
    song(tmp_path / ".hidden.wav", 60)
    song(tmp_path / ".trash" / "old.wav", 60)
    (tmp_path / "tape.wma").write_bytes(b"0&")
    found = await estimate(tmp_path, MADE)
    assert [known.path.name for known in found.songs] == ["no extension"]
    assert [(path.name, why.partition(":")[0]) for path, why in found.unreadable] == [
        ("tape.wma", "the service does not accept .wma files")
    ]


async def test_a_file_without_duration_is_unreadable(tmp_path: Path) -> None:
    found = await estimate(song(tmp_path / "none.wav", 0), MADE)
    assert found.songs == ()
    assert found.unreadable[0][1] == "has no duration in its header"


async def test_missing_paths_and_folders_without_audio_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"no file .*none\.mp3"):
        await estimate([tmp_path / "none.mp3"], MADE)
    with pytest.raises(InvalidRequestError, match="no audio files"):
        await estimate(tmp_path, MADE)


async def test_invalid_options_are_refused_before_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="has no choice"):
        await estimate([tmp_path / "none.mp3"], MADE, {"add_opt1": "x"})
