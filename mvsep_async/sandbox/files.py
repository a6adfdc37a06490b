"""Result files over HTTP: ranges, conditions, HEAD. What to send is decided without touching the file."""

from __future__ import annotations

import re
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from attrs import field, frozen
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE = 256 * 1024
"""Bytes read and sent at a time: a socket buffer's worth; larger pieces were not faster."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_TYPES = {
    ".mp3": "audio/mpeg", ".wav": "audio/x-wav", ".flac": "audio/flac", ".m4a": "audio/mp4", ".ogg": "audio/ogg",
    ".txt": "text/plain; charset=utf-8", ".json": "application/json", ".mid": "audio/midi",
}  # fmt: skip


@frozen
class Portion:
    """What of a file is answered: status, first byte, number of bytes."""

    status: int
    start: int
    length: int
    headers: dict[str, str] = field(factory=dict)


def choose(size: int, etag: str, modified: float, range_header: str | None, if_range: str | None) -> Portion:
    """Which part of a file of `size` bytes a request gets (RFC 9110, a single range).

    A range that does not parse, or whose `If-Range` names another version, is ignored: the whole file comes.
    """
    whole = Portion(200, 0, size)
    match = _RANGE.fullmatch((range_header or "").strip())
    if match is None or match.groups() == ("", "") or not _same_version(if_range, etag, modified):
        return whole
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return whole
    if start >= size or (not first and int(last) == 0):
        return Portion(416, 0, 0, {"Content-Range": f"bytes */{size}"})
    return Portion(206, start, end - start + 1, {"Content-Range": f"bytes {start}-{end}/{size}"})


def serve(request: Request, path: Path, filename: str, *, attachment: str | None = None) -> Response:
    """Answer a GET or HEAD for the file at `path`; a file that is not there is a 404."""
    try:
        status = path.stat()
    except OSError:
        return Response("Not found", 404)
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    portion = choose(
        status.st_size, etag, status.st_mtime, request.headers.get("range"), request.headers.get("if-range")
    )
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(portion.length),
        "Content-Type": _TYPES.get(Path(filename).suffix.lower(), "application/octet-stream"),
        "ETag": etag,
        "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        **portion.headers,
    }
    if attachment:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(attachment)}"
    if request.method == "HEAD" or not portion.length:
        return Response(status_code=portion.status, headers=headers)
    return _FileAnswer(path, portion, headers)


class _FileAnswer(Response):
    """A portion of a file. Starlette's own would read in threads, and leaves the file open when a send fails."""

    def __init__(self, path: Path, portion: Portion, headers: dict[str, str]) -> None:
        super().__init__(status_code=portion.status, headers=headers)
        self._path = path
        self._portion = portion

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        left = self._portion.length
        # Read where it is sent: the pages were just written and are cached, and nobody else waits for this loop.
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._portion.start)
            while left and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": left > 0})


def _same_version(if_range: str | None, etag: str, modified: float) -> bool:
    if if_range is None:
        return True
    if if_range.startswith(('"', "W/")):
        return if_range == etag
    try:
        return int(parsedate_to_datetime(if_range).timestamp()) == int(modified)
    except ValueError:
        return False
