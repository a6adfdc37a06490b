import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mvsep_async.models.output_format import OutputFormat
from mvsep_async.sandbox.audio.decode import NotAudioError, audio_seconds
from mvsep_async.sandbox.audio.separate import generate, master, separate, split

from .conftest import SECONDS, make_song


def loudest_hertz(path: Path) -> float:
    samples, rate = soundfile.read(path, always_2d=True)
    spectrum = np.abs(np.fft.rfft(samples[:, 0]))
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[spectrum.argmax()])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 2), st.integers(2, 500), st.integers(0, 2**31))
def test_stems_add_up_to_the_song(count: int, channels: int, frames: int, seed: int) -> None:
    block = np.random.default_rng(seed).uniform(-1, 1, (frames, channels)).astype(np.float32)
    stems = list(split(block, count, 44100))
    assert len(stems) == count
    np.testing.assert_allclose(np.sum(stems, axis=0), np.broadcast_to(block, (frames, 2)), atol=1e-5)


@pytest.mark.parametrize("output_format", [f for f in OutputFormat if f is not OutputFormat.M4A])
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_voice_and_guitar_come_apart_in_every_format(
    tmp_path: Path, container: str, output_format: OutputFormat
) -> None:
    source = tmp_path / "song"
    source.write_bytes(make_song(container, rate=44100))
    voice, rest = tmp_path / "voice", tmp_path / "rest"
    separate(source, [voice, rest], output_format)
    assert loudest_hertz(voice) == pytest.approx(880, abs=2)
    assert loudest_hertz(rest) == pytest.approx(220, abs=2)
    for path in (voice, rest):
        info = soundfile.info(path)
        assert (info.channels, info.samplerate) == (2, 44100)
        assert info.duration == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize(
    ("output_format", "container", "subtype"),
    [
        (OutputFormat.MP3, "MP3", "MPEG_LAYER_III"),
        (OutputFormat.WAV_16, "WAV", "PCM_16"),
        (OutputFormat.FLAC_16, "FLAC", "PCM_16"),
        (OutputFormat.WAV_32, "WAV", "FLOAT"),
        (OutputFormat.FLAC_24, "FLAC", "PCM_24"),
    ],
)
def test_output_formats_have_the_right_encoding(
    tmp_path: Path, output_format: OutputFormat, container: str, subtype: str, song: bytes
) -> None:
    source, target = tmp_path / "song", tmp_path / "stem"
    source.write_bytes(song)
    separate(source, [target], output_format)
    info = soundfile.info(target)
    assert (info.format, info.subtype) == (container, subtype)


def test_mp3_is_of_320_kbps(tmp_path: Path) -> None:
    source, target = tmp_path / "song", tmp_path / "stem"
    source.write_bytes(make_song(seconds=10, rate=44100))
    separate(source, [target], OutputFormat.MP3)
    assert target.stat().st_size * 8 / 10 == pytest.approx(320_000, rel=0.02)


@pytest.mark.parametrize(
    ("rate", "output_format", "written"),
    [
        (96000, OutputFormat.MP3, 48000),
        (44100, OutputFormat.MP3, 44100),
        (7000, OutputFormat.MP3, 8000),
        (23000, OutputFormat.MP3, 22050),
        (96000, OutputFormat.WAV_16, 96000),
    ],
)
def test_stems_have_the_nearest_rate_that_their_format_supports(
    tmp_path: Path, rate: int, output_format: OutputFormat, written: int
) -> None:
    source, target = tmp_path / "song", tmp_path / "stem"
    source.write_bytes(make_song(rate=rate))
    separate(source, [target, tmp_path / "rest"], output_format)
    info = soundfile.info(target)
    assert info.samplerate == written
    assert info.duration == pytest.approx(SECONDS, abs=0.15)
    assert loudest_hertz(target) == pytest.approx(880, abs=2)


def test_a_mono_song_gives_bands_that_are_stereo(tmp_path: Path) -> None:
    source = tmp_path / "song"
    source.write_bytes(make_song(channels=1))
    stems = [tmp_path / "low", tmp_path / "high"]
    separate(source, stems, OutputFormat.WAV_16)
    assert [soundfile.info(stem).channels for stem in stems] == [2, 2]


def test_files_that_are_not_audio_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "song"
    source.write_bytes(b"<html>not audio</html>")
    assert audio_seconds(source) is None
    with pytest.raises(NotAudioError):
        separate(source, [tmp_path / "stem"], OutputFormat.WAV_16)


def test_matchering_makes_the_target_as_loud_as_the_reference(tmp_path: Path) -> None:
    quiet, loud, out = tmp_path / "quiet", tmp_path / "loud", tmp_path / "out"
    samples, rate = soundfile.read(io.BytesIO(make_song()))
    soundfile.write(quiet, samples / 8, rate, format="WAV")
    soundfile.write(loud, samples, rate, format="WAV")
    master(quiet, loud, out, OutputFormat.WAV_16)
    assert np.sqrt(np.mean(soundfile.read(out)[0] ** 2)) == pytest.approx(np.sqrt(np.mean(samples**2)), rel=0.01)


def test_generated_music_is_as_long_as_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    generate("a calm piano", 3.0, out, OutputFormat.FLAC_16)
    assert soundfile.info(out).duration == pytest.approx(3.0)
