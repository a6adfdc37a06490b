"""Hashes, slugs, dates and size texts as the service writes them."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

_RUN = re.compile(r"[^a-z0-9]+")


def slug(text: str, limit: int) -> str:
    """Return `text` in lower case, with hyphens for all but letters and digits, cut at its end to `limit`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return _RUN.sub("-", plain).strip("-")[:limit].strip("-") or "audio"


def split_extension(filename: str) -> tuple[str, str]:
    """Return the name without its folder, and its extension (lower case, no dot; empty when there is none)."""
    base = re.split(r"[/\\]", filename)[-1]
    stem, dot, extension = base.rpartition(".")
    if not dot or not stem or not extension.isalnum() or len(extension) > 5:
        return base, ""
    return stem, extension.lower()


def job_hash(at: float, digits: str, filename: str, limit: int) -> str:
    """Return `YYYYMMDDHHMMSS-<10 hex>-<slug>.<ext>` for a file uploaded at `at` (epoch seconds)."""
    stem, extension = split_extension(filename)
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%d%H%M%S}-{digits[:10]}-{slug(stem, limit)}.{extension or 'mp3'}"


def date_text(at: float) -> str:
    """Return a date in the API's format, `2024-01-19 12:40:25`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def size_text(size: int) -> str:
    """Return a size such as `5.70 MB`: two decimals, in the largest unit that fits."""
    amount = float(size)
    for unit in ("B", "KB", "MB"):
        if amount < 1024:
            return f"{amount:.2f} {unit}"
        amount /= 1024
    return f"{amount:.2f} GB"
