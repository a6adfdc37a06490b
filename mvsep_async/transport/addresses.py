"""Recognise private IP addresses, to which no server on the internet should send a client."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

import anyio
from anyio import to_thread

from mvsep_async.concurrency import thread_limiter

__all__ = ["PUBLIC_ONLY", "PrivateAddressError", "check_public", "is_private", "require_public", "resolve"]

PUBLIC_ONLY: Final = "mvsep_async.public_only"
"""The extension of a request by which our transport refuses to connect to a private address."""

_PRIVATE: Final = [
    ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "224.0.0.0/4", "255.255.255.255/32", "::/127", "fc00::/7", "fe80::/10", "ff00::/8",
    )
]  # fmt: skip
"""Networks of this machine, this link, this site. Not 198.18.0.0/15: some VPN programs give every name an address in
it."""

_NAT64: Final = ip_network("64:ff9b::/96")


class PrivateAddressError(OSError):
    """A host name that has a private address, where only public ones are allowed."""


def is_private(address: str) -> bool:
    """Tell whether an IP address belongs to this machine or its local networks."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif found in _NAT64:
            found = IPv4Address(int(found) & 0xFFFFFFFF)
    return any(found in network for network in _PRIVATE)


async def require_public(host: str, port: int, timeout: float | None) -> None:
    """Raise `PrivateAddressError` if a host has a private address. A name that cannot be resolved here passes.

    It may be that only a proxy can resolve it; without one, connecting to it fails anyway.
    """
    with anyio.move_on_after(timeout):
        try:
            found = await resolve(host, port)
        except OSError:
            return
        check_public(host, [address[0] for *_, address in found])


def check_public(host: str, addresses: list[str]) -> None:
    """Raise `PrivateAddressError` if one of the addresses of `host` is private."""
    for address in addresses:
        if is_private(address):
            raise PrivateAddressError(f"{host} has the private address {address}")


async def resolve(host: str, port: int) -> list[Any]:
    """Return what `getaddrinfo` finds. In a thread of our own limiter: the event loop's may all be busy."""
    return await to_thread.run_sync(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
        abandon_on_cancel=True,
        limiter=thread_limiter(),
    )
