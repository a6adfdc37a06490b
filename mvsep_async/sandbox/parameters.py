"""Parsing of request parameters, with the service's refusals for what is invalid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from .refusals import invalid

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


def integer(fields: Mapping[str, str], name: str, default: int) -> int:
    """Return an integer parameter; `default` where it is not given."""
    text = fields.get(name, "").strip()
    if not text:
        return default
    if not _WHOLE.fullmatch(text):
        raise invalid(name, f"The {name.replace('_', ' ')} must be an integer.")
    return int(text)


def flag(fields: Mapping[str, str], name: str) -> bool:
    """Return a boolean parameter; false where it is not given."""
    value = fields.get(name, "0").strip().lower()
    if value not in ("0", "1", "true", "false", ""):
        raise invalid(name, f"The {name.replace('_', ' ')} field must be true or false.")
    return value in ("1", "true")


def is_loopback(url: str) -> bool:
    """Whether a URL is on this machine: a sandbox sends requests to no other."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
