"""The common parts of transfer benchmarks: servers, a song on disk, curl, and interleaved rounds."""

from __future__ import annotations

import os
import resource
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import anyio
import httpx
import trustme
from attrs import field, frozen

from mvsep_async.download.fetch import Fetch
from mvsep_async.http.content import FileContent
from mvsep_async.http.multipart import MultipartBody, Part
from mvsep_async.transport.client import FastTransport

__all__ = [
    "MIB",
    "Bench",
    "Scheme",
    "Times",
    "curl",
    "curl_download",
    "curl_download_synced",
    "curl_upload",
    "curl_upload_arguments",
    "interleaved",
    "our_download",
    "our_upload",
    "running",
    "upload",
]

MIB = 1024 * 1024

Scheme = Literal["plain", "TLS"]


@frozen
class Bench:
    """Two running servers, and files to transfer."""

    folder: Path
    song: Path
    authority: Path
    urls: Mapping[Scheme, str]

    @classmethod
    @contextmanager
    def opened(cls, size: int) -> Iterator[Bench]:
        """Start the servers, each in a process of its own, for songs of `size` bytes."""
        with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
            folder = Path(name)
            ca = trustme.CA()
            ca.cert_pem.write_to_path(str(folder / "ca.pem"))
            ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
            song = folder / "song.wav"
            piece = os.urandom(MIB)
            with song.open("wb") as file:
                for at in range(0, size, MIB):
                    file.write(piece[: min(MIB, size - at)])
            with _peer("-", size) as plain, _peer(str(folder / "server.pem"), size) as tls:
                urls: Mapping[Scheme, str] = {
                    "plain": f"http://127.0.0.1:{plain}/song.wav",
                    "TLS": f"https://localhost:{tls}/song.wav",
                }
                yield cls(folder, song, folder / "ca.pem", urls)

    @property
    def out(self) -> Path:
        """The folder for downloads; it is emptied before each round."""
        return self.folder / "out"

    def clear(self) -> None:
        """Empty `out` and sync the disk, so that a round is not slowed down by the one before."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        os.sync()

    def client(self) -> httpx.AsyncClient:
        """Return a client on our transport, as `make_http` makes it, that trusts the bench's authority."""
        context = ssl.create_default_context(cafile=str(self.authority))
        return httpx.AsyncClient(transport=FastTransport(httpx.Limits(), context), timeout=60)


@contextmanager
def _peer(certificate: str, size: int) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.transfer.peer", certificate, str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


@frozen
class Times:
    """The seconds of each round, and the seconds of processor time without the server's."""

    wall: list[float] = field(factory=list)
    work: list[float] = field(factory=list)


def interleaved(bench: Bench, contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Run all contestants alternately, and return their times. The first round is discarded: caches fill, modules
    load."""
    times = {name: Times() for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            bench.clear()
            start, worked = time.perf_counter(), _worked()
            run()
            if number:
                times[name].wall.append(time.perf_counter() - start)
                times[name].work.append(_worked() - worked)
    return times


def _worked() -> float:
    """Return the processor time of this process and of those it has waited for; the servers still run."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def running(transfer: Callable[[Bench, Scheme], Awaitable[None]], bench: Bench, scheme: Scheme) -> Callable[[], None]:
    """Return a plain function that runs the transfer on an event loop of its own."""
    return lambda: anyio.run(transfer, bench, scheme)


async def our_upload(bench: Bench, scheme: Scheme) -> None:
    async with bench.client() as http:
        await upload(http, bench, scheme)


async def our_download(bench: Bench, scheme: Scheme) -> None:
    async with bench.client() as http:
        await Fetch(http=http, url=bench.urls[scheme], target=bench.out / "song.wav", root=bench.out).run()


async def upload(http: httpx.AsyncClient, bench: Bench, scheme: Scheme) -> None:
    body = MultipartBody({}, (Part("audiofile", "song.wav", await FileContent.open(bench.song)),))
    response = await http.post(bench.urls[scheme], content=body, headers=body.headers)
    response.raise_for_status()


def curl_upload(bench: Bench, scheme: Scheme) -> None:
    subprocess.run(curl(bench, *curl_upload_arguments(bench, bench.urls[scheme])), check=True)


def curl_download(bench: Bench, scheme: Scheme) -> None:
    subprocess.run(curl(bench, bench.urls[scheme], "-o", str(bench.out / "song.wav")), check=True)


def curl_download_synced(bench: Bench, scheme: Scheme) -> None:
    """Download with curl and sync the file, as we do before it is renamed."""
    curl_download(bench, scheme)
    with (bench.out / "song.wav").open("rb") as file:
        os.fsync(file.fileno())


def curl(bench: Bench, *arguments: str) -> list[str]:
    """Return the command: no proxy, the bench's authority trusted, silent but for failures."""
    return ["curl", "--silent", "--fail", "--noproxy", "*", "--cacert", str(bench.authority), *arguments]


def curl_upload_arguments(bench: Bench, url: str) -> list[str]:
    return ["-H", "Expect:", "-F", f"audiofile=@{bench.song}", url, "-o", os.devnull]
