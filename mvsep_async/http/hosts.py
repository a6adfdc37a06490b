"""Hosts of the service: its base URL and its regional hosts. Only these get the token."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from attrs import evolve, frozen

from mvsep_async.errors import ConfigurationError
from mvsep_async.transport.addresses import is_private

__all__ = ["DEFAULT_BASE_URL", "REGIONS", "Host"]

DEFAULT_BASE_URL = "https://mvsep.com"

REGIONS: Final = ("de", "de2", "sg", "hk", "mirror")
"""Names of the regional hosts below the service's domain (seen by independent clients)."""

_SERVICE_DOMAIN = "mvsep.com"
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
"""A valid host name. Parsers disagree about anything else, above all about a backslash."""
_LOCAL_ENDINGS = (".localhost", ".local", ".lan", ".internal", ".intranet", ".home.arpa", ".test")
"""Ends of names in private networks, reserved for that or used so in practice."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen
class Host:
    """One address of the service: scheme, host name, port."""

    scheme: str
    name: str
    port: int

    @classmethod
    def parse(cls, base_url: str) -> Self:
        """Parse a base URL; a trailing `/` or `/api` is accepted, any other path is not.

        Raises `ConfigurationError` for anything but an http(s) URL.
        """
        host, rest = _split(base_url.strip())
        if host is None or rest.path.rstrip("/") not in ("", "/api") or rest.query or rest.fragment:
            raise ConfigurationError(
                f"the base URL {_shown(base_url)!r} is not a URL such as {DEFAULT_BASE_URL!r}: give scheme and host, "
                "without user name, path or query"
            )
        return cls(*host)

    @classmethod
    def of_link(cls, link: str, *, base: Host) -> Host | None:
        """Return the host that `link` names if it is `base` or a regional sibling of it, else `None`."""
        parts, _ = _split(link.replace("\\/", "/"))
        if parts is None:
            return None
        host = Host(*parts)
        return host if host.is_sibling_of(base) else None

    def is_sibling_of(self, base: Host) -> bool:
        """Tell whether this is the same service: the same host, or another region of it.

        Siblings share scheme, port and domain (`de.mvsep.com` and `mvsep.com`; regional hosts were seen by independent
        clients). An IP address has no siblings.
        """
        if self == base:
            return True
        if (self.scheme, self.port) != (base.scheme, base.port) or _is_ip(self.name) or _is_ip(base.name):
            return False
        domain = _domain(base.name)
        return self.name == domain or (
            self.name.endswith("." + domain) and self.name.count(".") == domain.count(".") + 1
        )

    @property
    def siblings(self) -> tuple[Host, ...]:
        """The other known hosts of the same service."""
        if _is_ip(self.name) or self.name == "localhost":
            return ()
        domain = _domain(self.name)
        names = (domain, *(f"{region}.{domain}" for region in REGIONS))
        return tuple(Host(self.scheme, name, self.port) for name in names if name != self.name)

    @property
    def main(self) -> Host:
        """The host of the same service without its region: all regions have the same accounts and jobs."""
        return evolve(self, name=_domain(self.name))

    @property
    def is_loopback(self) -> bool:
        """Tell whether this is an address of this machine, as that of a sandbox."""
        return self.name == "localhost" or (_is_ip(self.name) and ip_address(self.name).is_loopback)

    @property
    def is_public(self) -> bool:
        """Whether this is a host on the internet, by its name: no address of a private network, no local name."""
        if _is_ip(self.name):
            return not is_private(self.name)
        return "." in self.name and not self.name.endswith(_LOCAL_ENDINGS)

    def url(self, path: str) -> str:
        """Return the address of an API path such as `separation/get`."""
        return f"{self}/api/{path}"

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{name}{port}"


def _split(url: str) -> tuple[tuple[str, str, int] | None, SplitResult]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None, SplitResult("", "", "", "", "")
    scheme, name = parts.scheme.lower(), (parts.hostname or "").rstrip(".")
    if scheme not in _DEFAULT_PORTS or parts.username is not None or not (_NAME.fullmatch(name) or _is_ip(name)):
        return None, parts
    return (scheme, name, _DEFAULT_PORTS[scheme] if port is None else port), parts


def _domain(name: str) -> str:
    """Return the domain whose direct children are siblings.

    The parent is known for the service's own domain only. For any other base URL only children are trusted, since the
    parent of `example.co.uk` belongs to many.
    """
    return _SERVICE_DOMAIN if name.endswith("." + _SERVICE_DOMAIN) else name


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _shown(url: str) -> str:
    """Return a URL without what may be a secret: user name and query."""
    head = url.split("?", 1)[0].split("#", 1)[0]
    return head if "@" not in head else head.split("://", 1)[0] + "://…@" + head.rsplit("@", 1)[1]
