"""Files over HTTP, with ranges, conditions and HEAD."""

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
"""Bytes read and sent at a time; larger pieces were not faster."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_TYPES = {
    ".mp3": "audio/mpeg", ".wav": "audio/x-wav", ".flac": "audio/flac", ".m4a": "audio/mp4", ".ogg": "audio/ogg",
    ".aac": "audio/aac", ".txt": "text/plain; charset=utf-8", ".json": "application/json", ".mid": "audio/midi",
}  # fmt: skip


@frozen
class FileRange:
    """The part of a file that an answer contains."""

    status: int
    start: int
    length: int
    headers: dict[str, str] = field(factory=dict)


def choose(size: int, etag: str, modified: float, range_header: str | None, if_range: str | None) -> FileRange:
    """Return the part of a file of `size` bytes that a request gets (RFC 9110, a single range).

    A range that does not parse, or whose `If-Range` names another version, is ignored: the answer is the whole file.
    """
    whole = FileRange(200, 0, size)
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
        return FileRange(416, 0, 0, {"Content-Range": f"bytes */{size}"})
    return FileRange(206, start, end - start + 1, {"Content-Range": f"bytes {start}-{end}/{size}"})


def serve(request: Request, path: Path, filename: str, *, attachment: str | None = None) -> Response:
    """Answer a GET or HEAD for the file at `path`; 404 if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return Response("Not found", 404)
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    part = choose(status.st_size, etag, status.st_mtime, request.headers.get("range"), request.headers.get("if-range"))
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(part.length),
        "Content-Type": _TYPES.get(Path(filename).suffix.lower(), "application/octet-stream"),
        "ETag": etag,
        "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        **part.headers,
    }
    if attachment:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(attachment)}"
    if request.method == "HEAD" or not part.length:
        return Response(status_code=part.status, headers=headers)
    return _FileAnswer(path, part, headers)


class _FileAnswer(Response):
    """A part of a file. Starlette's `FileResponse` would read in threads, and leaves the file open if a send fails."""

    def __init__(self, path: Path, part: FileRange, headers: dict[str, str]) -> None:
        super().__init__(status_code=part.status, headers=headers)
        self._path = path
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        left = self._part.length
        # Read in the event loop: the file was just written and is in the page cache, and the loop is the sandbox's own.
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._part.start)
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
