"""Fault injection: which requests fail, and how. Only the choice is made here; `server/edge.py` carries it out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any

import attrs
from attrs import define, field, frozen
from attrs.validators import deep_mapping, instance_of, optional

# A fault may come as JSON from another process: a wrong type is refused when the fault is added, not when it is used.
_TEXT: Any = instance_of(str)
_COUNT: Any = instance_of(int)
_COUNT_OR_NONE: Any = optional(_COUNT)
_NUMBER: Any = instance_of((int, float))


class FaultKind(StrEnum):
    """What happens to a request."""

    REFUSE = "refuse"
    """Answered with `status`, `body` and `headers`; the request's body is read first, its handler never runs."""
    DELAY = "delay"
    """Handled normally, after `seconds`."""
    DROP = "drop"
    """The connection is broken before a byte of the body is read."""
    CUT_REQUEST = "cut_request"
    """The connection is broken when `after_bytes` of the body have been read; the handler sees the disconnect."""
    CUT_RESPONSE = "cut_response"
    """The answer's body ends after `after_bytes`, and the connection with it."""
    LOSE_ANSWER = "lose_answer"
    """The request is handled to its end, then the connection is broken instead of an answer."""
    STALL = "stall"
    """The answer's body stops after `after_bytes` for `seconds`, then continues."""
    GARBLE = "garble"
    """The answer's body is not valid JSON, but as long as it was."""
    TRUNCATE = "truncate"
    """The answer is complete, but its body is only the first half of the true one."""
    EMPTY = "empty"
    """The answer's body is empty."""
    HTML = "html"
    """An HTML page of the edge, with `status` (502 unless given); the handler never runs."""
    HTML_AFTER = "html_after"
    """The same page, but the request was handled."""
    REFUSE_AFTER = "refuse_after"
    """The request is handled to its end, then answered with `status`, `body` and `headers`."""
    RATE_LIMIT = "rate_limit"
    """429 with `Retry-After: retry_after`; None: without that header."""


@frozen(kw_only=True)
class Fault:
    """A fault: what goes wrong, for which requests, how often.

    `path` is a glob over the path below `/api/` ("separation/create", "app/*"), or over the whole path when it starts
    with "/" ("/storage/*"). The first `skip` requests pass; then `count` requests fail (None: all), each with
    `probability`. A reset (`reset=True`) is a TCP RST; otherwise the connection is closed after what was sent.
    """

    kind: FaultKind = field(converter=FaultKind)
    path: str = field(default="*", validator=_TEXT)
    method: str | None = field(default=None, validator=optional(_TEXT))
    count: int | None = field(default=1, validator=_COUNT_OR_NONE)
    skip: int = field(default=0, validator=_COUNT)
    probability: float = field(default=1.0, validator=_NUMBER)
    status: int | None = field(default=None, validator=_COUNT_OR_NONE)
    body: str | Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(factory=dict, validator=deep_mapping(_TEXT, _TEXT))
    seconds: float = field(default=0.0, validator=_NUMBER)
    after_bytes: int = field(default=0, validator=_COUNT)
    retry_after: int | str | None = 1
    reset: bool = False

    def applies(self, method: str, path: str) -> bool:
        """Whether it applies to a request for `path` (the whole path)."""
        below = path if self.path.startswith("/") else path.removeprefix("/api/") if path.startswith("/api/") else None
        if below is None or (self.method is not None and self.method.upper() != method):
            return False
        return fnmatchcase(below, self.path)


@define
class FaultBoard:
    """All active faults; the first one that applies to a request is used. Usable from any thread."""

    _random: random.Random
    _active: list[_Active] = field(factory=list, init=False)
    _lock: Lock = field(factory=Lock, init=False)
    triggered: int = field(default=0, init=False)
    """How many requests have failed so far."""

    def add(self, fault: Fault | None = None, **options: Any) -> Fault:
        """Add a fault, given whole or by its fields; return it, for `remove`."""
        fault = fault or Fault(**options)
        with self._lock:
            self._active.append(_Active(fault, fault.count, fault.skip))
        return fault

    def remove(self, fault: Fault) -> None:
        """Remove a fault; nothing happens if it is used up."""
        with self._lock:
            self._active = [active for active in self._active if active.fault is not fault]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._active.clear()

    @property
    def active(self) -> list[dict[str, Any]]:
        """The faults that are not used up, as JSON."""
        with self._lock:
            return [{**attrs.asdict(active.fault), "count": active.left} for active in self._active]

    def trigger(self, method: str, path: str) -> Fault | None:
        """Return the fault for this request, if any, and count it as used once."""
        with self._lock:
            for active in self._active:
                if not active.fault.applies(method, path):
                    continue
                if active.skip > 0:
                    active.skip -= 1
                    continue
                if self._random.random() >= active.fault.probability:
                    continue
                if active.left is not None:
                    active.left -= 1
                    if active.left <= 0:
                        self._active.remove(active)
                self.triggered += 1
                return active.fault
            return None


@define(eq=False)
class _Active:
    fault: Fault
    left: int | None
    skip: int
