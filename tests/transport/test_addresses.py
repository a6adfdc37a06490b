"""Private addresses, and connections that allow only public ones."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from mvsep_async.transport.addresses import PrivateAddressError, is_private, require_public
from mvsep_async.transport.connect import connect_tcp

PRIVATE = [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.100.100.200", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1",
    "::ffff:10.0.0.1", "64:ff9b::7f00:1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "172.32.0.1", "198.18.0.5", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1"])
async def test_a_host_is_judged_by_the_addresses_it_has(host: str) -> None:
    with pytest.raises(PrivateAddressError, match="private address"):
        await require_public(host, 80, 5)
    with pytest.raises(PrivateAddressError), socket.create_server(("127.0.0.1", 0)) as listener:
        await connect_tcp(host, listener.getsockname()[1], 5, public_only=True)


async def test_a_name_that_changes_between_check_and_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["8.8.8.8", "127.0.0.1"])

    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    await require_public("rebinding.example", 80, 5)
    with pytest.raises(PrivateAddressError):
        await connect_tcp("rebinding.example", 80, 5, public_only=True)


async def test_a_name_that_only_a_proxy_can_resolve_passes() -> None:
    await require_public("does-not-exist.invalid", 80, 5)
    with pytest.raises(httpx.ConnectError):
        await connect_tcp("does-not-exist.invalid", 80, 5, public_only=True)
