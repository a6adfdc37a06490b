"""Report invalid proxies and certificates by the environment variables that name them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Final

import httpx

from mvsep_async.errors import ConfigurationError

__all__ = ["LOOPBACK", "certificates_checked", "proxies_checked"]

LOOPBACK: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")
"""Hosts of this machine, as httpx's mounts name them: no proxy is used for them."""

_PROXY_VARIABLES: Final = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
_SOCKS: Final = frozenset({"socks5", "socks5h"})


@contextmanager
def proxies_checked() -> Iterator[None]:
    """Raise `ConfigurationError`, which names the variable, for proxies that httpx does not accept."""
    try:
        yield
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(_what_is_wrong(missing=isinstance(error, ImportError))) from None


@contextmanager
def certificates_checked() -> Iterator[None]:
    """Raise `ConfigurationError`, which names the variable, for certificate authorities that cannot be read."""
    try:
        yield
    except OSError as error:  # ssl.SSLError too
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            if path := os.environ.get(name):
                raise ConfigurationError(
                    f"{name} is {path!r}, where no certificate authorities can be read ({error.strerror or error}): "
                    "name a file in PEM format, or unset it"
                ) from None
        raise


def _what_is_wrong(*, missing: bool) -> str:
    for name, value in _set(*_PROXY_VARIABLES):
        scheme = value.partition("://")[0].lower() if "://" in value else "http"
        if scheme in _SOCKS and missing:
            return f'{name} names a SOCKS proxy, which needs an extra: pip install "mvsep-async[socks]"'
        if scheme not in _SOCKS | {"http", "https"}:
            hint = ": write socks5://" if scheme.startswith("socks") else ""
            return f"{name} names a proxy by {scheme}://, only http, https and socks5 are supported{hint}"
    for name, value in _set("NO_PROXY"):
        for entry in value.split(","):
            if not _is_host(entry.strip()):
                return f"{name} contains {entry.strip()!r}, which is not a host name or an address: remove it"
    names = [name for name, _ in _set(*_PROXY_VARIABLES, "NO_PROXY")]
    return f"the proxies of the environment ({', '.join(names) or 'system settings'}) are not valid URLs"


def _set(*names: str) -> Iterator[tuple[str, str]]:
    """Yield the variables of these names that are set, in upper or lower case."""
    for name in names:
        for spelling in (name, name.lower()):
            if value := os.environ.get(spelling):
                yield spelling, value


def _is_ipv6(entry: str) -> bool:
    try:
        return ip_address(entry).version == 6
    except ValueError:
        return False


def _is_host(entry: str) -> bool:
    try:
        httpx.URL(entry if "://" in entry else f"all://{entry}")
    except httpx.InvalidURL:
        return _is_ipv6(entry)  # which httpx puts into brackets
    return True
