"""A raw HTTP server on 127.0.0.1, in threads: it can misbehave in ways no framework allows, under any event loop."""

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from attrs import define, field, frozen


@frozen
class Request:
    method: str
    target: str
    headers: dict[str, str]

    @property
    def first(self) -> int | None:
        """The first byte asked for by a Range header."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else None


class Hangup(Exception):
    """Raised by an answer to end the connection; `hard` resets it."""

    def __init__(self, *, hard: bool = False) -> None:
        self.hard = hard


Answer = Callable[["Connection", Request], None]


@define
class Connection:
    sock: socket.socket
    rest: bytes = b""

    def read_request(self) -> Request | None:
        data = self.rest
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65536)
            if not more:
                return None
            data += more
        head, _, self.rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Request(method, target, headers)

    def read_body(self, size: int) -> bytes:
        body = bytearray(self.rest[:size])
        self.rest = self.rest[size:]
        while len(body) < size:
            more = self.sock.recv(min(size - len(body), 1 << 18))
            if not more:
                break
            body += more
        return bytes(body)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, status: str, headers: dict[str, str | int] | None = None, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


@define(eq=False)
class Server:
    """Answers each request by `answer`, which tests may exchange at any time; counts connections and requests."""

    answer: Answer
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(factory=list)
    connections: int = 0
    failures: list[BaseException] = field(factory=list)
    _listener: socket.socket = field(init=False)
    _open: set[socket.socket] = field(factory=set, init=False)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        assert not self.failures, self.failures

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def url(self, path: str = "/stem.wav") -> str:
        host = "localhost" if self.tls else "127.0.0.1"
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self._open.add(sock)
            connection = Connection(sock)
            while (request := connection.read_request()) is not None:
                self.requests.append(request)
                self.answer(connection, request)
        except Hangup as hangup:
            if hangup.hard:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._open.discard(sock)
            sock.close()


@define
class FileAnswer:
    """A proper file server, with the faults that are set."""

    data: bytes
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    cut: int | None = None
    """Bytes of body after which each connection is cut."""
    hard: bool = False
    piece: int = 65536
    content_type: str = "audio/wav"
    sent: int = 0
    """Bytes of body sent over all."""

    def __call__(self, connection: Connection, request: Request) -> None:
        headers: dict[str, str | int] = {"Content-Type": self.content_type}
        if self.etag:
            headers["ETag"] = self.etag
        if self.modified:
            headers["Last-Modified"] = self.modified
        start = request.first
        same = request.headers.get("if-range") in (self.etag, self.modified)
        if start is None or not self.ranges or not same:
            start = 0
            connection.answer("200 OK", headers | {"Content-Length": len(self.data)})
        elif start >= len(self.data):
            connection.answer("416 Range Not Satisfiable", headers | {"Content-Range": f"bytes */{len(self.data)}"})
            return
        else:
            total = len(self.data)
            headers |= {"Content-Range": f"bytes {start}-{total - 1}/{total}", "Content-Length": total - start}
            connection.answer("206 Partial Content", headers)
        self.stream(connection, self.data[start:])

    def stream(self, connection: Connection, body: bytes) -> None:
        allowed = body if self.cut is None else body[: self.cut]
        for at in range(0, len(allowed), self.piece):
            piece = allowed[at : at + self.piece]
            connection.send(piece)
            self.sent += len(piece)
        if len(allowed) < len(body):
            raise Hangup(hard=self.hard)


@contextmanager
def serving(answer: Answer, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    with Server(answer, tls) as server:
        yield server
