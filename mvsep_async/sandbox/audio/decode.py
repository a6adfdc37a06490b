"""Reading of audio files: through libsndfile where it can, else through FFmpeg (PyAV).

PyAV is imported when it is needed: few files need it, and its import takes a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import soundfile
from attrs import frozen

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

Block = npt.NDArray[np.float32]
"""Frames × channels."""

_FFMPEG_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,mp3,ogg,flac,wav,aiff"
"""The containers that FFmpeg may try. Playlists, which name other files, are not among them."""


class NotAudioError(Exception):
    """The file cannot be read as audio."""


class AudioReader(Protocol):
    """An open audio file."""

    @property
    def rate(self) -> int: ...

    def blocks(self, frames: int) -> Iterator[Block]:
        """Yield the samples from the start, `frames` at a time (the last block may be shorter)."""
        ...


@contextmanager
def open_audio(path: Path) -> Iterator[AudioReader]:
    """Open an audio file for reading; raise `NotAudioError`, then or while it is read, for anything else."""
    try:
        song = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError):
        song = None
    if song is not None:
        with song:
            yield _SoundFileReader(song, song.samplerate)
        return
    with path.open("rb") as file, _ffmpeg(file) as (container, stream):
        yield _FFmpegReader(container, stream, stream.codec_context.sample_rate)


def audio_seconds(path: Path) -> float | None:
    """Return how long an audio file is; None for one that cannot be read."""
    try:
        info = soundfile.info(path)
        return float(info.frames) / info.samplerate if info.samplerate else None
    except (soundfile.LibsndfileError, OSError):
        pass
    try:
        with path.open("rb") as file, _ffmpeg(file) as (container, stream):
            return _ffmpeg_seconds(container, stream)
    except (NotAudioError, OSError):
        return None


@frozen
class _SoundFileReader:
    _song: soundfile.SoundFile
    rate: int

    def blocks(self, frames: int) -> Iterator[Block]:
        try:
            for block in self._song.blocks(frames, dtype="float32", always_2d=True):
                yield np.asarray(block, np.float32)
        except soundfile.LibsndfileError as error:
            raise NotAudioError(str(error)) from error


@frozen
class _FFmpegReader:
    _container: InputContainer
    _stream: AudioStream
    rate: int

    def blocks(self, frames: int) -> Iterator[Block]:
        waiting: list[Block] = []
        for piece in self._pieces():
            waiting.append(piece)
            if sum(map(len, waiting)) >= frames:
                whole = np.concatenate(waiting)
                full = len(whole) // frames * frames
                yield from np.split(whole[:full], full // frames)
                waiting = [whole[full:]]
        if sum(map(len, waiting)):
            yield np.concatenate(waiting)

    def _pieces(self) -> Iterator[Block]:
        import av
        from av.error import FFmpegError

        channels = min(2, self._stream.codec_context.channels)
        resampler = av.AudioResampler("flt", "mono" if channels == 1 else "stereo", self.rate)
        try:
            for frame in chain(self._container.decode(self._stream), (None,)):
                for part in resampler.resample(frame):
                    yield part.to_ndarray().astype(np.float32, copy=False).reshape(-1, channels)
        except (FFmpegError, ValueError) as error:
            raise NotAudioError(str(error)) from error


@contextmanager
def _ffmpeg(file: BinaryIO) -> Iterator[tuple[InputContainer, AudioStream]]:
    import av
    from av.error import FFmpegError

    # A file object rather than a path: FFmpeg then knows no folder in which it could look for other files.
    try:
        container = av.open(file, "r", options={"format_whitelist": _FFMPEG_FORMATS})
    except (FFmpegError, ValueError) as error:
        raise NotAudioError(str(error)) from error
    with container:
        if not container.streams.audio:
            raise NotAudioError("the file has no audio stream")
        yield container, container.streams.audio[0]


def _ffmpeg_seconds(container: InputContainer, stream: AudioStream) -> float:
    import av

    raw = container.format.name == "aac"  # has no header: its duration would be a guess from the bit rate
    if stream.duration and stream.time_base and not raw:
        return float(stream.duration * stream.time_base)
    if container.duration and not raw:
        return container.duration / av.time_base
    ticks = sum(packet.duration or 0 for packet in container.demux(stream))
    return float(ticks * stream.time_base) if stream.time_base else 0.0
