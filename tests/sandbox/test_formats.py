"""Every audio format that the service reads and writes."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from mvsep_async.models.output_format import OutputFormat
from mvsep_async.sandbox.audio.decode import NotAudioError, audio_seconds, open_audio
from mvsep_async.sandbox.audio.separate import separate

from .conftest import SECONDS, Open, make_song

RATE = 48000
UPLOADS = {
    "mp3": ("mp3", "libmp3lame"), "wav": ("wav", "pcm_s16le"), "flac": ("flac", "flac"), "m4a": ("ipod", "aac"),
    "aac": ("adts", "aac"), "opus": ("ogg", "libopus"), "webm": ("webm", "libopus"),
    "aiff": ("aiff", "pcm_s16be"), "mp4": ("mp4", "aac"),
}  # fmt: skip


def encoded(extension: str, *, layout: str = "stereo") -> bytes:
    """A song in that format; mp4 has a video stream too."""
    if extension == "ogg":  # PyAV has no encoder for Vorbis
        return make_song("OGG", rate=RATE)
    samples, _ = soundfile.read(io.BytesIO(make_song(rate=RATE)), dtype="float32", always_2d=True)
    container_name, codec = UPLOADS[extension]
    target = io.BytesIO()
    with av.open(target, "w", format=container_name) as container:
        video: Any = container.add_stream("mpeg4", rate=10) if extension == "mp4" else None
        stream = container.add_stream(codec, rate=RATE, layout=layout)
        if video is not None:
            video.width = video.height = 16
            video.pix_fmt = "yuv420p"
            picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
            container.mux([*video.encode(picture), *video.encode(None)])
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), "fltp", "stereo")
        frame.sample_rate, frame.pts = RATE, 0
        for part in (frame, None):
            container.mux(stream.encode(part))
    return target.getvalue()


def loudest_hertz(path: Path) -> float:
    with open_audio(path) as song:
        samples = np.concatenate(list(song.blocks(10_000)))[:, 0]
        return float(np.fft.rfftfreq(len(samples), 1 / song.rate)[np.abs(np.fft.rfft(samples)).argmax()])


@pytest.mark.parametrize("extension", [*UPLOADS, "ogg"])
async def test_every_upload_format_is_separated(open_sandbox: Open, tmp_path: Path, extension: str) -> None:
    api = await open_sandbox(stems="separate", manual=False, job_seconds=0)
    hash_ = await api.made(encoded(extension), name=f"My Song.{extension}", output_format="1")
    data = (await api.until(hash_, "done"))["data"]
    assert api.sandbox.job(hash_).duration == pytest.approx(SECONDS, abs=0.15)
    for file, hertz in zip(data["files"], (880, 220), strict=True):
        path = tmp_path / file["download"]
        path.write_bytes((await api.http.get(file["url"])).content)
        assert loudest_hertz(path) == pytest.approx(hertz, abs=3)


@pytest.mark.parametrize("output_format", OutputFormat)
async def test_every_output_format_is_made(open_sandbox: Open, song: bytes, output_format: OutputFormat) -> None:
    api = await open_sandbox(stems="separate", manual=False, job_seconds=0)
    hash_ = await api.made(song, output_format=str(output_format.value))
    file = (await api.until(hash_, "done"))["data"]["files"][0]
    answer = await api.http.get(file["url"])
    expected = {
        OutputFormat.MP3: ("mp3", "mp3float", "audio/mpeg"), OutputFormat.WAV_16: ("wav", "pcm_s16le", "audio/x-wav"),
        OutputFormat.FLAC_16: ("flac", "flac", "audio/flac"), OutputFormat.M4A: ("m4a", "aac", "audio/mp4"),
        OutputFormat.WAV_32: ("wav", "pcm_f32le", "audio/x-wav"), OutputFormat.FLAC_24: ("flac", "flac", "audio/flac"),
    }[output_format]  # fmt: skip
    with av.open(io.BytesIO(answer.content)) as container:
        stream = container.streams.audio[0]
        codec, channels = stream.codec_context.name, stream.codec_context.channels
    found = (file["download"].rpartition(".")[2], codec, answer.headers["content-type"])
    assert (found, channels, len(answer.content)) == (expected, 2, file["bytes"])


@pytest.mark.parametrize(("channels", "rate"), [(1, 22050), (2, 96000), (2, 7000)])
def test_m4a_of_any_source(tmp_path: Path, channels: int, rate: int) -> None:
    source, stems = tmp_path / "song", [tmp_path / "a", tmp_path / "b"]
    source.write_bytes(make_song(rate=rate, channels=channels))
    separate(source, stems, OutputFormat.M4A)
    for stem in stems:
        assert audio_seconds(stem) == pytest.approx(SECONDS, abs=0.1)


def test_blocks_of_ffmpeg_are_whole_and_lose_nothing(tmp_path: Path) -> None:
    source = tmp_path / "song.m4a"
    source.write_bytes(encoded("m4a"))
    with open_audio(source) as song:
        blocks = [len(block) for block in song.blocks(5000)]
    assert set(blocks[:-1]) == {5000}
    assert sum(blocks) / RATE == pytest.approx(SECONDS, abs=0.05)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<html>not audio</html>", b"\x89PNG\r\n\x1a\n" + bytes(50),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile song.wav\n",
    ],
)  # fmt: skip
def test_other_files_are_refused_and_playlists_are_not_followed(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "song"
    source.write_bytes(content)
    (tmp_path / "song.wav").write_bytes(make_song())
    assert audio_seconds(source) is None
    with pytest.raises(NotAudioError), open_audio(source):
        pass


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "silent.mp4"
    with av.open(str(source), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width = video.height = 16
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
        container.mux([*video.encode(picture), *video.encode(None)])
    with pytest.raises(NotAudioError, match="no audio stream"), open_audio(source):
        pass
