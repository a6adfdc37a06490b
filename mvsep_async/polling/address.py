"""The endpoint, hash and host at which to poll a job, and the alternatives if it is not found there."""

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
"""Length of a file name below which it must match completely: a shorter prefix would match many names."""


class Endpoint(Enum):
    """The two endpoints that return the status of a job."""

    GET = "separation/get"
    GET_REMOTE = "separation/get-remote"


@frozen
class Address:
    """An endpoint, hash and host to poll a job with."""

    endpoint: Endpoint
    hash: str
    host: Host


def addresses(facts: Facts, *, fetching: bool, uploaded: bool, base: Host) -> tuple[Address, ...]:
    """Return the addresses at which a job may be found, the most likely first.

    A job is known at the host that accepted it, and perhaps at others. A URL job is polled with `get-remote` while
    `fetching`, then with `get`. The form of a hash does not always show which of them knows it, unless the job's file
    was `uploaded`.
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
    """Tell whether the job with this hash was created from a file with the name of the one at `url`.

    A hash ends with the file's name as the service writes it, which may be truncated.
    """
    if not is_job_hash(hash):
        return False
    ours, theirs = _letters(_file_name(url)), _letters(hash.split("-", 2)[2])
    if min(len(ours), len(theirs)) < _SHORT:
        return ours == theirs
    return ours.startswith(theirs) or theirs.startswith(ours)


def hash_in_history(history: Iterable[HistoryEntry], url: str, *, algorithm: int | None) -> str | None:
    """Return the hash of the job in `history` for the file at `url` and this algorithm; `None` unless there is one."""
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
