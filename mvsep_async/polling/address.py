"""Where a job is asked for: which endpoint, which of its hashes, which host; and where else when it is not found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import frozen

from mvsep_async.http.hosts import Host
from mvsep_async.jobs.facts import Facts
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.separation import is_job_hash

__all__ = ["Address", "Endpoint", "addresses", "hash_in_history", "is_of_url"]

_SHORT: Final = 6
"""Characters of a file name below which the whole of it must be the same: a part of so few is in many names."""


class Endpoint(Enum):
    """The two endpoints that say how a job is."""

    GET = "separation/get"
    GET_REMOTE = "separation/get-remote"


@frozen
class Address:
    """One place to ask for a job."""

    endpoint: Endpoint
    hash: str
    host: Host


def addresses(facts: Facts, *, fetching: bool, uploaded: bool, base: Host) -> tuple[Address, ...]:
    """Return where a job may be found, the likeliest first.

    A job is known at the host that accepted it, and perhaps at others. A URL job is asked for at `get-remote` while
    `fetching`, then at `get`; which of them knows its hash is not always what the hash's form says, unless it is of a
    file that was `uploaded`.
    """
    if fetching:
        named = [(Endpoint.GET_REMOTE, facts.remote), (Endpoint.GET, facts.remote)]
    else:
        named = [(Endpoint.GET, facts.hash)]
        if not uploaded and facts.remote is None:
            named.append((Endpoint.GET_REMOTE, facts.hash))
    owner = facts.host or base
    hosts = (owner, *(host for host in (base, *base.siblings) if host != owner))
    return tuple(Address(endpoint, hash, host) for host in hosts for endpoint, hash in named if hash)


def is_of_url(hash: str, url: str) -> bool:
    """Tell whether the job with this hash was made from a file that is named like the one at `url`.

    A hash ends with the file's name, in a spelling of the service's own, which may be cut at its end.
    """
    if not is_job_hash(hash):
        return False
    ours, theirs = _letters(_file_name(url)), _letters(hash.split("-", 2)[2])
    if min(len(ours), len(theirs)) < _SHORT:
        return ours == theirs
    return ours.startswith(theirs) or theirs.startswith(ours)


def hash_in_history(history: Iterable[HistoryEntry], url: str, *, algorithm: int | None) -> str | None:
    """Return the hash of the only job in `history` that was made from the file at `url` by this algorithm."""
    hashes = {
        entry.hash
        for entry in history
        if is_of_url(entry.hash, url) and (entry.algorithm is None or algorithm in (None, entry.algorithm.sep_type))
    }
    return hashes.pop() if len(hashes) == 1 else None


def _file_name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", PurePosixPath(name).stem.lower())
