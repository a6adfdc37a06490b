"""The output formats of the service."""

from __future__ import annotations

from enum import IntEnum

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
    """How one format is written; `container` is None where libsndfile cannot write it."""

    label: str
    """The `output_format` of a finished job ("mp3 (320 kbps)" was recorded)."""
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

_RATES = {
    Format.MP3: (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    Format.M4A: (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
}


def writable_rate(rate: int, output_format: Format) -> int:
    """Return the sample rate nearest to `rate` that the format supports."""
    rates = _RATES.get(output_format, (rate,))
    return min(rates, key=lambda possible: (abs(possible - rate), -possible))
