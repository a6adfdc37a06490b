"""The fault switchboard: what goes wrong, where, how often. Only the choice is made here; `edge.py` carries it out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

import attrs
from attrs import define, field, frozen
from attrs.validators import deep_mapping, instance_of, optional

# A fault may come as JSON from another process: what is of the wrong type is refused when it is added, not when it
# strikes.
_TEXT: Any = instance_of(str)
_COUNT: Any = instance_of(int)
_COUNT_OR_NONE: Any = optional(_COUNT)
_NUMBER: Any = instance_of((int, float))


class FaultKind(StrEnum):
    """What happens to a request that a fault strikes."""

    REFUSE = "refuse"
    """Answered with `status`, `body` and `headers`; the request's body is read first, its handler never runs."""
    DELAY = "delay"
    """Handled after `seconds`, rightly."""
    DROP = "drop"
    """The connection is broken before a byte of the body is read."""
    CUT_REQUEST = "cut_request"
    """The connection is broken when `after_bytes` of the body have been read; the handler sees it break."""
    CUT_RESPONSE = "cut_response"
    """The answer's body ends after `after_bytes`, and the connection with it."""
    LOSE_ANSWER = "lose_answer"
    """The request is handled to its end, then the connection is broken instead of answering."""
    STALL = "stall"
    """The answer's body stops after `after_bytes` for `seconds`, then goes on."""
    GARBLE = "garble"
    """The answer's body is not JSON any more, but as long as before."""
    TRUNCATE = "truncate"
    """Only the first half of the answer's body, as if it were all."""
    EMPTY = "empty"
    """The answer's body is empty."""
    HTML = "html"
    """A page of the edge, with `status` (502 unless given); the handler never runs."""
    HTML_AFTER = "html_after"
    """The same, but the request was handled: the answer is lost behind the page."""
    RATE_LIMIT = "rate_limit"
    """429 with `retry_after`: seconds, a text as it stands (an HTTP date, nonsense), or None for no such header."""


@frozen(kw_only=True)
class Fault:
    """One thing that goes wrong.

    `path` is a glob over the path below `/api/` ("separation/create", "app/*"), or over the whole path when it starts
    with "/" ("/storage/*"). It strikes `count` times (None: always) after letting `skip` requests pass, each with
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

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fault:
        """The fault that a JSON object describes; `ValueError` or `TypeError` where it does not."""
        return cls(**data)

    def applies(self, method: str, path: str) -> bool:
        """Whether a request for `path` (the whole path) is one of those it strikes."""
        below = path if self.path.startswith("/") else path.removeprefix("/api/") if path.startswith("/api/") else None
        if below is None or (self.method is not None and self.method.upper() != method):
            return False
        return fnmatchcase(below, self.path)


@define
class FaultBoard:
    """All faults that are switched on; the first that applies strikes."""

    _random: random.Random
    _active: list[_Active] = field(factory=list, init=False)
    struck: int = field(default=0, init=False)
    """How many requests were struck so far."""

    def add(self, fault: Fault | None = None, **options: Any) -> Fault:
        """Switch a fault on, given whole or by its fields; returns it, for `remove`."""
        fault = fault or Fault(**options)
        self._active.append(_Active(fault, fault.count, fault.skip))
        return fault

    def remove(self, fault: Fault) -> None:
        """Switch it off; nothing happens if it is used up."""
        self._active = [active for active in self._active if active.fault is not fault]

    def clear(self) -> None:
        """Switch everything off."""
        self._active.clear()

    def active(self) -> list[dict[str, Any]]:
        """What may still strike, as JSON."""
        return [{**attrs.asdict(active.fault), "count": active.left} for active in self._active]

    def strike(self, method: str, path: str) -> Fault | None:
        """The fault that strikes this request, if any; it is used up by one."""
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
            self.struck += 1
            return active.fault
        return None


@define(eq=False)
class _Active:
    fault: Fault
    left: int | None
    skip: int
