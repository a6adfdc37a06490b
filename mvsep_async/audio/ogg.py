"""The packets of an Ogg file, without its comments. Everything here blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define

from mvsep_async.audio.extents import AudioData

__all__ = ["last_position", "packets"]

_HEADER: Final = 27
_LARGEST_PAGE: Final = _HEADER + 255 + 255 * 255
_FLAC_HEADER: Final = b"\x7fFLAC"


@define(eq=False)
class _Stream:
    """How far a logical stream was read: packets that are complete, and whether one is continued."""

    packets: int = 0
    flac: bool = False
    skipping: bool = False
    within: bool = False
    sound: bool = False
    """Whether the header packets are over, so that all that follows is audio."""


def packets(source: AudioData) -> Iterator[bytes]:
    """Yield the data of all packets but the comments, in pieces; bytes outside of pages as they are.

    A tagger splits the headers into other pages and renumbers all pages, so packets are compared, not pages.
    """
    streams: dict[bytes, _Stream] = {}
    at = 0
    while at < source.size:
        header = source.read(at, _HEADER)
        lacing = source.read(at + _HEADER, header[26]) if len(header) == _HEADER else b""
        body = source.read(at + _HEADER + len(lacing), sum(lacing))
        if header[:4] != b"OggS" or len(body) < sum(lacing):
            yield header + lacing + body
            at += max(1, len(header) + len(lacing) + len(body))
            continue
        if header[5] & 0x02:
            streams[header[14:18]] = _Stream()
        yield from _page(streams.setdefault(header[14:18], _Stream()), lacing, body)
        at += _HEADER + len(lacing) + len(body)


def last_position(source: AudioData) -> int:
    """Return the number of samples that the last page says the file has, 0 where none is found."""
    tail = source.read(max(0, source.size - _LARGEST_PAGE), _LARGEST_PAGE)
    at = tail.rfind(b"OggS")
    return int.from_bytes(tail[at + 6 : at + 14], "little") if at >= 0 else 0


def _page(stream: _Stream, lacing: bytes, body: bytes) -> Iterator[bytes]:
    if stream.sound:
        yield body
        return
    at = 0
    for length in lacing:
        piece = body[at : at + length]
        at += length
        if not stream.within:
            stream.flac |= stream.packets == 0 and piece.startswith(_FLAC_HEADER)
            stream.sound = stream.packets >= 3 if not stream.flac else stream.packets > 0 and piece[:1] == b"\xff"
            stream.skipping = stream.packets > 0 and not stream.sound if stream.flac else stream.packets == 1
        if not stream.skipping:
            yield piece
        stream.within = length == 255
        stream.packets += not stream.within
