"""Connect to a host over IPv6 and IPv4 at the same time (RFC 8305, "Happy Eyeballs")."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any, Final

import anyio
import httpx

from mvsep_async.transport.addresses import check_public, resolve
from mvsep_async.transport.streams import SocketStream, mapped

__all__ = ["connect_tcp"]

_HEAD_START: Final = 0.25
"""Seconds that one address is tried before the next one is tried at the same time."""


async def connect_tcp(host: str, port: int, timeout: float | None = None, *, public_only: bool = False) -> SocketStream:
    """Connect to the first address of `host` that answers within `timeout` seconds. Raises httpx's errors.

    With `public_only`, raises `PrivateAddressError` for a host that has a private address.
    """
    with mapped(httpx.ConnectTimeout, httpx.ConnectError), anyio.fail_after(timeout):
        sock = await _connect(host, port, public_only=public_only)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketStream(sock)


async def _connect(host: str, port: int, *, public_only: bool) -> socket.socket:
    addresses = _interleaved(await resolve(host, port))
    if public_only:
        check_public(host, [address[0] for _, address in addresses])
    winners: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(family: int, address: Any, over: anyio.Event) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            await _connect_one(sock, address)
        except OSError as error:
            errors.append(error)
        else:
            if not winners:
                winners.append(sock)
                group.cancel_scope.cancel()
        finally:
            if sock not in winners:
                sock.close()
            over.set()

    try:
        async with anyio.create_task_group() as group:
            for family, address in addresses:
                over = anyio.Event()
                group.start_soon(attempt, family, address, over)
                with anyio.move_on_after(_HEAD_START):
                    await over.wait()
    except BaseException:
        for sock in winners:
            sock.close()
        raise
    if not winners:
        raise errors[0]
    return winners[0]


async def _connect_one(sock: socket.socket, address: Any) -> None:
    sock.setblocking(False)
    try:
        sock.connect(address)
    except BlockingIOError:
        await anyio.wait_writable(sock)
        if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number)) from None


def _interleaved(found: Iterable[Any]) -> list[tuple[int, Any]]:
    """Alternate the two families, each in the order given, so that one broken family costs little."""
    addresses = [(family, address) for family, *_, address in found]
    first = [entry for entry in addresses if entry[0] == addresses[0][0]]
    second = [entry for entry in addresses if entry[0] != addresses[0][0]]
    return [entry for entry in chain.from_iterable(zip_longest(first, second)) if entry is not None]
