"""Writing of audio files through FFmpeg (PyAV), in the encodings of the service's output formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import define, frozen

from mvsep_async.models.output_format import OutputFormat

from .decode import Block

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer


@frozen
class Encoding:
    """The encoding of one output format. `label`: its name in answers ("mp3 (320 kbps)" was recorded)."""

    label: str
    container: str
    codec: str
    samples: str
    """FFmpeg's name of the sample format."""
    bit_rate: int | None = None


ENCODINGS = {
    OutputFormat.MP3: Encoding("mp3 (320 kbps)", "mp3", "libmp3lame", "fltp", 320_000),
    OutputFormat.WAV_16: Encoding("wav (16 bit)", "wav", "pcm_s16le", "s16"),
    OutputFormat.FLAC_16: Encoding("flac (16 bit)", "flac", "flac", "s16"),
    # A usual rate for music; the service's own is not known.
    OutputFormat.M4A: Encoding("m4a (lossy)", "ipod", "aac", "fltp", 256_000),
    OutputFormat.WAV_32: Encoding("wav (32 bit)", "wav", "pcm_f32le", "flt"),
    OutputFormat.FLAC_24: Encoding("flac (24 bit)", "flac", "flac", "s32"),
}


@contextmanager
def open_output(path: Path, output_format: OutputFormat, rate: int) -> Iterator[AudioWriter]:
    """Open `path` for writing stereo samples of that rate. The file gets the nearest rate that its format supports."""
    import av

    encoding = ENCODINGS[output_format]
    rates = av.Codec(encoding.codec, "w").audio_rates or (rate,)
    nearest = min(rates, key=lambda possible: (abs(possible - rate), -possible))
    with av.open(str(path), "w", format=encoding.container) as container:
        stream: AudioStream = container.add_stream(encoding.codec, rate=nearest, layout="stereo")  # type: ignore[assignment]
        stream.codec_context.format = encoding.samples
        if encoding.bit_rate:
            stream.bit_rate = encoding.bit_rate
        writer = AudioWriter(container, stream, rate)
        yield writer
        writer.finish()


@define
class AudioWriter:
    """An open audio file, stereo."""

    _container: OutputContainer
    _stream: AudioStream
    _rate: int
    _frames: int = 0

    def write(self, block: Block) -> None:
        """Append frames."""
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T, np.float32), "fltp", "stereo")
        frame.sample_rate, frame.pts = self._rate, self._frames
        self._frames += len(block)
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what is left in the encoder."""
        self._container.mux(self._stream.encode(None))
