"""Reading of audio files through FFmpeg (PyAV), which is imported when it is needed: its import takes a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from attrs import frozen

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

Block = npt.NDArray[np.float32]
"""Frames × channels, of which there are one or two."""

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,mp3,ogg,flac,wav,aiff"
"""The containers that FFmpeg may try. Playlists, which name other files, are not among them."""


class NotAudioError(Exception):
    """The file cannot be read as audio."""


@contextmanager
def open_audio(path: Path) -> Iterator[AudioReader]:
    """Open an audio file for reading; raise `NotAudioError`, then or while it is read, for anything else."""
    import av
    from av.error import FFmpegError

    # A file object rather than a path: FFmpeg then knows no folder in which it could look for other files.
    with path.open("rb") as file:
        try:
            container = av.open(file, "r", options={"format_whitelist": _CONTAINERS})
        except (FFmpegError, ValueError) as error:
            raise NotAudioError(str(error)) from error
        with container:
            if not container.streams.audio:
                raise NotAudioError("the file has no audio stream")
            yield AudioReader(container, container.streams.audio[0])


def audio_seconds(path: Path) -> float | None:
    """Return how long an audio file is; None for one that cannot be read."""
    try:
        with open_audio(path) as song:
            return song.seconds()
    except (NotAudioError, OSError):
        return None


@frozen
class AudioReader:
    """An open audio file."""

    _container: InputContainer
    _stream: AudioStream

    @property
    def rate(self) -> int:
        return self._stream.codec_context.sample_rate

    def seconds(self) -> float:
        """Return how long it is."""
        import av

        raw = self._container.format.name == "aac"  # has no header: its duration would be a guess from the bit rate
        if self._stream.duration and self._stream.time_base and not raw:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration and not raw:
            return self._container.duration / av.time_base
        ticks = sum(packet.duration or 0 for packet in self._container.demux(self._stream))
        return float(ticks * self._stream.time_base) if self._stream.time_base else 0.0

    def blocks(self, frames: int) -> Iterator[Block]:
        """Yield the samples from the start, `frames` at a time (the last block may be shorter)."""
        import av
        from av.error import FFmpegError

        channels = min(2, self._stream.codec_context.channels)
        resampler = av.AudioResampler("flt", "mono" if channels == 1 else "stereo", self.rate, frames)
        try:
            for frame in chain(self._container.decode(self._stream), (None,)):
                for block in resampler.resample(frame):
                    yield block.to_ndarray().astype(np.float32, copy=False).reshape(-1, channels)
        except (FFmpegError, ValueError) as error:
            raise NotAudioError(str(error)) from error
