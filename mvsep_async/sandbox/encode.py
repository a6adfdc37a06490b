"""The output formats, as libsndfile writes them."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import soundfile
from attrs import frozen


class Format(IntEnum):
    """Numbers of `output_format`."""

    MP3 = 0
    WAV_16 = 1
    FLAC_16 = 2
    M4A = 3
    WAV_32 = 4
    FLAC_24 = 5


@frozen
class Encoding:
    """How one format is written; `container` is None where libsndfile cannot (it has no AAC)."""

    label: str
    """What `output_format` of a finished job says ("mp3 (320 kbps)" was recorded)."""
    extension: str
    container: str | None
    subtype: str = ""
    premium: bool = False


ENCODINGS = {
    Format.MP3: Encoding("mp3 (320 kbps)", "mp3", "MP3", "MPEG_LAYER_III"),
    Format.WAV_16: Encoding("wav (16 bit)", "wav", "WAV", "PCM_16"),
    Format.FLAC_16: Encoding("flac (16 bit)", "flac", "FLAC", "PCM_16"),
    Format.M4A: Encoding("m4a (lossy)", "m4a", None),
    Format.WAV_32: Encoding("wav (32 bit)", "wav", "WAV", "FLOAT", premium=True),
    Format.FLAC_24: Encoding("flac (24 bit)", "flac", "FLAC", "PCM_24", premium=True),
}

_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def writable_rate(rate: int, output_format: Format) -> int:
    """The sample rate nearest to `rate` that the format can hold (mp3 has nine, up to 48 kHz)."""
    if output_format is not Format.MP3:
        return rate
    return min(_MP3_RATES, key=lambda possible: (abs(possible - rate), -possible))


def open_output(path: Path, output_format: Format, rate: int, channels: int) -> soundfile.SoundFile:
    """Open `path` for writing; the caller closes it. `ValueError` for a format that cannot be written here."""
    encoding = ENCODINGS[output_format]
    if encoding.container is None:
        raise ValueError(f"{encoding.label} cannot be written: libsndfile has no encoder for it")
    constant = {"compression_level": 0.0, "bitrate_mode": "CONSTANT"} if output_format is Format.MP3 else {}
    return soundfile.SoundFile(
        path, "w", samplerate=rate, channels=channels, format=encoding.container, subtype=encoding.subtype, **constant
    )
