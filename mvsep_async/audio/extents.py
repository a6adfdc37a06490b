"""Find where a file's audio is, without the tags around it. Parses headers only; everything here blocks."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, Final, TypeAlias

from attrs import define, field

from mvsep_async.audio.formats import HEAD, detect_format

__all__ = ["AudioData", "Extent", "find_extents"]

Extent: TypeAlias = tuple[int, int]
"""First byte, and the one behind the last."""

_ENDLESS: Final = 0xFFFFFFFF
_ZEROS: Final = 1024 * 1024
"""Most zeros that are skipped at the start."""


@define(eq=False)
class AudioData:
    """The bytes of an audio file, read at any position; what lies beyond the end is left out."""

    file: BinaryIO
    size: int = field(init=False)

    @size.default  # pyright: ignore[reportAttributeAccessIssue]
    def _(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def read(self, at: int, count: int) -> bytes:
        """Return up to `count` bytes from a position."""
        self.file.seek(at)
        return self.file.read(max(0, min(count, self.size - at)))


def find_extents(source: AudioData) -> tuple[Extent, ...]:
    """Return the parts of a file that hold audio and what describes it: sample rate, channels, codec.

    What is left out can be edited by a tagger: ID3, APE and Lyrics3 tags, comments and pictures of FLAC, MP4 metadata
    and the offsets that move with it, all chunks of RIFF and AIFF that are not sound, Matroska's tags and attachments.
    A file that is damaged, or of another format, counts as a whole but for tags at its start and end.
    """
    start, end = _between_tags(source)
    format = detect_format(source.read(start, HEAD))
    parse = _PARSERS.get(format or "")
    try:
        found = () if parse is None else tuple(_clipped(parse(source, start, end), end))
    except (struct.error, IndexError, ValueError):
        found = ()
    return found or ((_after_zeros(source, start, end), end),)


def _clipped(extents: Iterator[Extent], end: int) -> Iterator[Extent]:
    for first, last in extents:
        if first < min(last, end):
            yield first, min(last, end)


def _between_tags(source: AudioData) -> Extent:
    """Return the file without ID3v1, ID3v2, APEv2 and Lyrics3 tags at its start and end."""
    start, end = 0, source.size
    while length := _tag_at_start(source.read(start, 32)):
        start += length
    while length := _tag_at_end(source.read(max(0, end - 227), min(227, end))):
        end -= length
    return (start, end) if start < end else (0, source.size)


def _tag_at_start(head: bytes) -> int:
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        return 10 + _synchsafe(head[6:10]) + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX" and len(head) == 32:
        return 32 + int.from_bytes(head[12:16], "little")
    return 0


def _tag_at_end(tail: bytes) -> int:
    if tail[-128:-125] == b"TAG":
        return 227 if tail[-227:-223] == b"TAG+" and len(tail) == 227 else 128
    if tail[-32:-24] == b"APETAGEX":
        footed = int.from_bytes(tail[-20:-16], "little")
        return footed + (32 if tail[-9] & 0x80 else 0)
    if tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
        return int(tail[-15:-9]) + 15
    if tail[-10:-7] == b"3DI" and max(tail[-4:]) < 0x80:
        return 20 + _synchsafe(tail[-4:])
    return 0


def _synchsafe(value: bytes) -> int:
    return value[0] << 21 | value[1] << 14 | value[2] << 7 | value[3]


def _after_zeros(source: AudioData, start: int, end: int) -> int:
    """Return where the zeros end that taggers leave in the place of a tag."""
    block = source.read(start, min(_ZEROS, end - start))
    return start + len(block) - len(block.lstrip(b"\0"))


def _flac(source: AudioData, start: int, end: int) -> Iterator[Extent]:
    at, last = start + 4, False
    while not last and at < end:
        header = source.read(at, 4)
        last, length = bool(header[0] & 0x80), int.from_bytes(header[1:4], "big")
        if header[0] & 0x7F == 0:  # STREAMINFO
            yield at + 4, at + 4 + length
        at += 4 + length
    yield at, end


def _riff(source: AudioData, start: int, end: int) -> Iterator[Extent]:
    at, long_size = start + 12, None
    while at + 8 <= end:
        name, size = struct.unpack("<4sI", source.read(at, 8))
        if name == b"ds64":
            (long_size,) = struct.unpack("<Q", source.read(at + 16, 8))
        if name == b"data" and size in (0, _ENDLESS):
            # A recorder that was stopped, or could not go back, leaves the size open.
            size = long_size or end - at - 8
        if name in (b"fmt ", b"data"):
            yield at + 8, at + 8 + size
        at += 8 + size + size % 2


def _aiff(source: AudioData, start: int, end: int) -> Iterator[Extent]:
    at = start + 12
    while at + 8 <= end:
        name, size = struct.unpack(">4sI", source.read(at, 8))
        if name in (b"COMM", b"SSND"):
            yield at + 8, at + 8 + size
        at += 8 + size + size % 2


_MP4_PARENTS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})


def _mp4(source: AudioData, start: int, end: int) -> Iterator[Extent]:
    at = start
    while at + 8 <= end:
        size, name = struct.unpack(">I4s", source.read(at, 8))
        body = at + 8
        if size == 1:
            (size,) = struct.unpack(">Q", source.read(at + 8, 8))
            body += 8
        after = end if size == 0 else at + size
        if after < body:
            raise ValueError(f"a box of {size} bytes")
        if name in _MP4_PARENTS:
            yield from _mp4(source, body, min(after, end))
        elif name in (b"mdat", b"stsd"):
            yield body, after
        at = after


_SEGMENT, _TRACKS, _CLUSTER = 0x18538067, 0x1654AE6B, 0x1F43B675


def _matroska(source: AudioData, start: int, end: int) -> Iterator[Extent]:
    at = start
    while at < end:
        head = source.read(at, 12)
        name, wide = _ebml_number(head, keep_marker=True)
        size, more = _ebml_number(head[wide:], keep_marker=False)
        body = at + wide + more
        endless = size == (1 << 7 * more) - 1
        if name == _SEGMENT:
            at = body
        elif endless:
            yield body, end
            return
        else:
            if name in (_TRACKS, _CLUSTER):
                yield body, body + size
            at = body + size


def _ebml_number(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    length = 9 - data[0].bit_length()
    if length > 8 or len(data) < length:
        raise ValueError("not an EBML number")
    value = int.from_bytes(data[:length], "big")
    return (value if keep_marker else value & (1 << 7 * length) - 1), length


_PARSERS: Final[Mapping[str, Callable[[AudioData, int, int], Iterator[Extent]]]] = {
    "flac": _flac,
    "wav": _riff,
    "aiff": _aiff,
    "m4a": _mp4,
    "webm": _matroska,
}
