"""Accounts: tokens, plans, credits, and the separations that a free account has left today."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from attrs import define, field, frozen

from .names import date_text
from .settings import Quirks, or_random

DEFAULT_PASSWORD = "sandbox"  # noqa: S105 - of accounts on this machine that live as long as the sandbox
DAY = 86400.0


@frozen
class Purchase:
    """Credits that an account has bought."""

    id: int
    credits: float
    amount: str
    created: float
    """Epoch seconds."""
    status: str = "completed"


@define(eq=False)
class Account:
    """One user of the service."""

    token: str = field(repr=False)
    name: str
    email: str
    password: str = field(repr=False)
    minutes: float
    """Credits left."""
    created: float
    """Epoch seconds."""
    premium_enabled: bool = False
    long_filenames: bool = False
    unfinished: int = 0
    """How many of its jobs are not over."""
    peak_unfinished: int = 0
    """The highest `unfinished` so far."""
    free_uses: list[float] = field(factory=list)
    """When each separation was created that counts towards the daily limit (epoch seconds)."""
    purchases: list[Purchase] = field(factory=list)
    credit_threshold: float = 0.0
    """The service mails when fewer credits are left than this; 0: never."""

    @property
    def premium(self) -> bool:
        """Whether it has credits and may spend them."""
        return self.premium_enabled and self.minutes > 0

    def acquire_slot(self) -> None:
        self.unfinished += 1
        self.peak_unfinished = max(self.peak_unfinished, self.unfinished)

    def release_slot(self) -> None:
        self.unfinished -= 1

    def charge(self, credits: int) -> int:
        """Take `credits`, or what is left of them; return how many were taken."""
        taken = min(credits, math.ceil(self.minutes))
        self.minutes = max(0.0, self.minutes - taken)
        return taken

    def free_left(self, limit: int, day: Literal["rolling", "calendar"], now: float) -> int:
        """Return how many separations of today are left (`now`: epoch seconds)."""
        if day == "rolling":
            used = sum(now - moment < DAY for moment in self.free_uses)
        else:
            used = sum(moment // DAY == now // DAY for moment in self.free_uses)
        return max(0, limit - used)


@define
class Accounts:
    """All accounts, found by token or by email address."""

    _by_token: dict[str, Account] = field(factory=dict, init=False)

    def add(
        self, *, now: float, token: str = "", name: str = "", email: str = "", password: str = DEFAULT_PASSWORD,
        minutes: float = 0.0, premium_enabled: bool = False,
    ) -> Account:  # fmt: skip
        """Create an account; its credits, if any, appear as a purchase."""
        token = or_random(token)
        number = len(self._by_token) + 1
        email = email or f"user{number}@example.test"
        account = Account(token, name or f"User {number}", email, password, minutes, now)
        account.premium_enabled = premium_enabled
        if minutes:
            account.purchases.append(Purchase(number, minutes, f"{minutes / 20:.2f}", now))
        self._by_token[token] = account
        return account

    def find(self, token: str | None) -> Account | None:
        return self._by_token.get(token) if token else None

    def __getitem__(self, token: str) -> Account:
        try:
            return self._by_token[token]
        except KeyError:
            raise KeyError("no account has that token") from None

    def by_email(self, email: str) -> Account | None:
        return next((account for account in self._by_token.values() if account.email == email), None)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_token.values())


def credits_for(duration: float, coefficient: float, multipliers: Iterable[float] = ()) -> int:
    """Return the price of a premium job: `floor(seconds × coefficient / 60)`, at least 1 (documented).

    Price rules multiply it.
    """
    return max(1, math.floor(duration * coefficient * math.prod(multipliers) / 60))


def whole(number: float) -> float:
    """Return a whole number as an integer: strictly typed clients cannot read `20.0` as one."""
    return int(number) if number == int(number) else number


def user_json(account: Account, queue: Sequence[dict[str, Any]], now: float, quirks: Quirks) -> dict[str, Any]:
    """Return the `data` of `app/user` for an account whose unfinished jobs are `queue`."""
    minutes = whole(account.minutes)
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
        "premium_minutes": str(minutes) if quirks.minutes_as_text else minutes,
        "premium_enabled": flag(account.premium_enabled),
        "long_filenames_enabled": flag(account.long_filenames),
        "copy_metadata": flag(False),
        "current_queue": current,
    }


def purchase_json(purchase: Purchase) -> dict[str, Any]:
    """Return one entry of `purchases`."""
    date = date_text(purchase.created)
    return {
        "id": purchase.id,
        "credits": whole(purchase.credits),
        "amount": purchase.amount,
        "currency": "USD",
        "status": purchase.status,
        "created_at": date,
        "updated_at": date,
    }
