"""How the sandbox encodes each output format."""

from __future__ import annotations

from attrs import frozen

from mvsep_async.models.output_format import OutputFormat


@frozen
class Encoding:
    """The encoding of one format; `container` is `None` where libsndfile cannot write it."""

    label: str
    """The `output_format` of a finished job ("mp3 (320 kbps)" was recorded)."""
    container: str | None
    subtype: str = ""
    premium: bool = False


ENCODINGS = {
    OutputFormat.MP3: Encoding("mp3 (320 kbps)", "MP3", "MPEG_LAYER_III"),
    OutputFormat.WAV_16: Encoding("wav (16 bit)", "WAV", "PCM_16"),
    OutputFormat.FLAC_16: Encoding("flac (16 bit)", "FLAC", "PCM_16"),
    OutputFormat.M4A: Encoding("m4a (lossy)", None),
    OutputFormat.WAV_32: Encoding("wav (32 bit)", "WAV", "FLOAT", premium=True),
    OutputFormat.FLAC_24: Encoding("flac (24 bit)", "FLAC", "PCM_24", premium=True),
}

_RATES = {
    OutputFormat.MP3: (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    OutputFormat.M4A: (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
}


def writable_rate(rate: int, output_format: OutputFormat) -> int:
    """Return the sample rate nearest to `rate` that the format supports."""
    rates = _RATES.get(output_format, (rate,))
    return min(rates, key=lambda possible: (abs(possible - rate), -possible))
