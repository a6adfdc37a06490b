"""Writing of audio files: through libsndfile, and m4a (for which it has no encoder) through FFmpeg (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import soundfile
from attrs import define

from mvsep_async.models.output_format import OutputFormat

from .decode import Block
from .formats import ENCODINGS

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

_M4A_BITS_PER_SECOND = 256_000
"""Chosen: a usual rate for music; the service's own is not known."""


class AudioWriter(Protocol):
    """An open audio file, stereo."""

    def write(self, block: Block, /) -> None:
        """Append frames."""
        ...


@contextmanager
def open_output(path: Path, output_format: OutputFormat, rate: int) -> Iterator[AudioWriter]:
    """Open `path` for writing stereo samples of that rate."""
    encoding = ENCODINGS[output_format]
    if encoding.container is None:
        with _open_m4a(path, rate) as writer:
            yield writer
        return
    constant = {"compression_level": 0.0, "bitrate_mode": "CONSTANT"} if output_format is OutputFormat.MP3 else {}
    with soundfile.SoundFile(
        path, "w", samplerate=rate, channels=2, format=encoding.container, subtype=encoding.subtype, **constant
    ) as file:
        yield file


@contextmanager
def _open_m4a(path: Path, rate: int) -> Iterator[AudioWriter]:
    import av

    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        stream.bit_rate = _M4A_BITS_PER_SECOND
        writer = _M4aWriter(container, stream, rate)
        yield writer
        writer.finish()


@define
class _M4aWriter:
    _container: OutputContainer
    _stream: AudioStream
    _rate: int
    _frames: int = 0

    def write(self, block: Block) -> None:
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T, np.float32), "fltp", "stereo")
        frame.sample_rate, frame.pts = self._rate, self._frames
        self._frames += len(block)
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
