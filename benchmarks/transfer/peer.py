"""The other end of a measured transfer: `python -m benchmarks.transfer.peer CERTIFICATE|- SIZE`, until stdin ends.

Each connection has a thread with blocking sockets, and `sendfile` without TLS: the server must not be the bottleneck.
`GET` answers SIZE bytes that start like a WAV file; any other request reads the body. Prints its port first.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import sys
import tempfile
import threading
from contextlib import suppress
from typing import IO

_PIECE = 1024 * 1024
_HEAD = b"RIFF\x00\x00\x00\x00WAVEfmt "


def main() -> None:
    certificate, size = sys.argv[1], int(sys.argv[2])
    tls = None
    if certificate != "-":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    with tempfile.TemporaryFile() as file, socket.create_server(("127.0.0.1", 0)) as listener:
        file.write(_HEAD)
        file.truncate(size)
        file.flush()
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_accept, args=(listener, tls, file, size), daemon=True).start()
        sys.stdin.read()
        os._exit(0)


def _accept(listener: socket.socket, tls: ssl.SSLContext | None, file: IO[bytes], size: int) -> None:
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(sock, tls, file, size), daemon=True).start()


def _serve(sock: socket.socket, tls: ssl.SSLContext | None, file: IO[bytes], size: int) -> None:
    with suppress(OSError):
        if tls is not None:
            sock = tls.wrap_socket(sock, server_side=True)
        with sock:
            while _answer(sock, tls is not None, file, size):
                pass


def _answer(sock: socket.socket, encrypted: bool, file: IO[bytes], size: int) -> bool:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return False
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    if head.startswith(b"GET "):
        sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n' % size)
        _send(sock, encrypted, file, size)
    else:
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if re.search(rb"(?i)\r\nexpect: *100-continue", head):
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        _swallow(sock, (int(length[1]) if length else 0) - len(rest))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    return True


def _send(sock: socket.socket, encrypted: bool, file: IO[bytes], size: int) -> None:
    if not encrypted:
        offset = 0
        while offset < size:
            offset += os.sendfile(sock.fileno(), file.fileno(), offset, size - offset)
        return
    piece = bytes(_PIECE)
    sock.sendall(_HEAD)
    left = size - len(_HEAD)
    while left:
        sock.sendall(piece if left >= _PIECE else piece[:left])
        left -= min(left, _PIECE)


def _swallow(sock: socket.socket, size: int) -> None:
    buffer = memoryview(bytearray(_PIECE))
    while size > 0:
        count = sock.recv_into(buffer[: min(size, _PIECE)])
        if not count:
            raise ConnectionError
        size -= count


if __name__ == "__main__":
    main()
