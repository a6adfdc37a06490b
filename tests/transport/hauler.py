"""Uploads and downloads 256 MiB in a process of its own, and prints by how many MiB its memory grew meanwhile."""

import resource
import sys
import tempfile
from pathlib import Path

import anyio
import httpx

from mvsep_async.download.fetch import Fetch
from mvsep_async.http.content import FileContent
from mvsep_async.http.multipart import MultipartBody, Part
from mvsep_async.transport.client import make_http
from tests.transport.servers import Connection, Request, serving

SIZE = 256 << 20
PIECE = b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes((1 << 20) - 16)


def both(connection: Connection, request: Request) -> None:
    if request.method == "GET":
        connection.answer("200 OK", {"Content-Length": SIZE})
        for _ in range(SIZE >> 20):
            connection.send(PIECE)
        return
    left = int(request.headers["content-length"])
    while left > 0:
        left -= len(connection.read_body(min(left, 1 << 20)))
    connection.answer("200 OK")


def highest() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


async def main(folder: Path) -> None:
    song = folder / "song.wav"
    with song.open("wb") as file:
        file.truncate(SIZE)
    with serving(both) as server:
        async with make_http(httpx.Timeout(30)) as http:
            body = MultipartBody({}, (Part("a", "b", await FileContent.open(song)),))
            before = highest()
            (await http.post(server.url(), content=body, headers=body.headers)).raise_for_status()
            await Fetch(http=http, url=server.url(), target=folder / "stem.wav", root=folder).run()
    assert (folder / "stem.wav").stat().st_size == SIZE
    sys.stdout.write(f"{highest() - before}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        anyio.run(main, Path(name))
