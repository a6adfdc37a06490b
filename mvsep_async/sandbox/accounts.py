"""People: tokens, plans and credits."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import define, field

from .names import date_text
from .settings import Quirks

DEFAULT_PASSWORD = "sandbox"  # noqa: S105 - of accounts that exist for a moment, on this machine


@define(eq=False)
class Account:
    """One user of the service; `minutes` are credits."""

    token: str = field(repr=False)
    name: str
    email: str
    password: str = field(repr=False)
    minutes: float
    created: float
    """Epoch seconds."""
    premium_enabled: bool = False
    long_filenames: bool = False
    unfinished: int = 0
    """Jobs at the service that are not over, right now."""
    peak_unfinished: int = 0
    """The most there ever were at one time."""

    @property
    def premium(self) -> bool:
        """Credits are there and may be spent."""
        return self.premium_enabled and self.minutes > 0

    def take_slot(self) -> None:
        self.unfinished += 1
        self.peak_unfinished = max(self.peak_unfinished, self.unfinished)

    def free_slot(self) -> None:
        self.unfinished -= 1

    def charge(self, credits: int) -> int:
        """Take `credits`, or what is left; returns what was taken."""
        taken = min(credits, math.ceil(self.minutes))
        self.minutes = max(0.0, self.minutes - taken)
        return taken


@define
class Accounts:
    """All accounts, found by token or by address."""

    _by_token: dict[str, Account] = field(factory=dict, init=False)

    def add(
        self, *, now: float, token: str = "", name: str = "", email: str = "", password: str = DEFAULT_PASSWORD,
        minutes: float = 0.0, premium_enabled: bool = False,
    ) -> Account:  # fmt: skip
        token = token or secrets.token_hex(15)
        name = name or f"User {len(self._by_token) + 1}"
        account = Account(token, name, email or f"user{len(self._by_token) + 1}@example.test", password, minutes, now)
        account.premium_enabled = premium_enabled
        self._by_token[token] = account
        return account

    def find(self, token: str | None) -> Account | None:
        return self._by_token.get(token) if token else None

    def by_email(self, email: str) -> Account | None:
        return next((account for account in self._by_token.values() if account.email == email), None)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_token.values())


def credits_for(duration: float, coefficient: float, multipliers: Iterable[float] = ()) -> int:
    """Credits of a premium job: `floor(seconds × coefficient / 60)`, at least 1 (documented); rules multiply it."""
    return max(1, math.floor(duration * coefficient * math.prod(multipliers) / 60))


def user_json(account: Account, queue: Sequence[dict[str, Any]], now: float, quirks: Quirks) -> dict[str, Any]:
    """What `app/user` says of an account whose unfinished jobs are `queue`."""
    whole = int(account.minutes) if account.minutes == int(account.minutes) else account.minutes
    flag: type[int] = bool if quirks.flags_as_bool else int
    match quirks.current_queue:
        case "list":
            current: Any = list(queue)
        case "count":
            current = len(queue)
        case "null":
            current = None
    return {
        "name": account.name,
        "email": account.email,
        "api_token": account.token,
        "created_at": date_text(account.created),
        "updated_at": date_text(now),
        "premium_minutes": str(whole) if quirks.minutes_as_text else whole,
        "premium_enabled": flag(account.premium_enabled),
        "long_filenames_enabled": flag(account.long_filenames),
        "current_queue": current,
    }
