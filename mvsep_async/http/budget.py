"""The budget of requests a minute: when the next request may be sent. No clock: every `now` is a parameter."""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define, field

from mvsep_async.http.call import Priority

__all__ = ["DEFAULT_LIMIT", "WINDOW", "Budget"]

DEFAULT_LIMIT: Final = 60
"""Requests a minute until the headers say otherwise: the lower of the two limits seen."""

WINDOW: Final = 60.0
"""Seconds that one request counts. Whether the service's minute slides or is fixed is not known; counting each
request for a whole minute after its *answer* keeps within both, however long it was on its way."""

RESERVE: Final = 2
"""Requests that only creates and cancels may use: a slot that could be filled never waits for a poll."""

LATEST: Final = 2.0
"""Most seconds by which the count in an answer's headers may be older than the answer."""

UNKNOWN_WAIT: Final = 15.0
SHORTEST_WAIT: Final = 0.5
"""Seconds without requests after a 429 that does not say how long, and after any: "0" would be rejected again."""


@define
class Budget:
    """The requests of the last minute, and when another one may be sent.

    `fixed` is the caller's own limit; the service's headers can only lower it.
    """

    fixed: int | None = None
    _learned: int | None = None
    _out: int = 0
    _answered: deque[float] = field(factory=deque)
    _forgotten: deque[float] = field(factory=deque)
    """When requests stopped counting, as far back as the headers of an in-flight response may still count them."""
    _others: deque[tuple[float, int]] = field(factory=deque)
    _blocked_until: float = float("-inf")

    @property
    def limit(self) -> int:
        """Requests a minute: the caller's, the service's, or the lower one where both are known."""
        known = [limit for limit in (self.fixed, self._learned) if limit is not None]
        return min(known, default=DEFAULT_LIMIT)

    def wait(self, priority: Priority, now: float) -> float:
        """Return the seconds until a request of this priority may go out; 0 means now.

        If only in-flight requests could make room, it is `inf`: ask again when one of them has ended.
        """
        self._forget(now)
        blocked = max(0.0, self._blocked_until - now)
        room = self._room(priority)
        excess = self._used() - room + 1
        if excess <= 0:
            return blocked
        ends = sorted([at + WINDOW for at in self._answered] + [until for until, n in self._others for _ in range(n)])
        if excess > len(ends):
            return float("inf")
        return max(blocked, ends[excess - 1] - now)

    def sent(self) -> None:
        """Count a request that goes out now."""
        self._out += 1

    def answered(
        self, now: float, *, limit: int | None = None, remaining: int | None = None, took: float = 0.0
    ) -> None:
        """Count the end of a request, answered or not, with the limits that its headers give.

        Requests that the service counts beyond our own come from other programs of the account. They count here for as
        long as they may count there. `took`: seconds since the request was sent; requests that stopped counting
        meanwhile may still be in the headers.
        """
        self._out -= 1
        self._answered.append(now)
        self._forget(now)
        if limit is not None:
            self._learned = limit
        if remaining is not None and self._learned is not None:
            unseen = self._learned - remaining - self._used()
            if not self._others:  # else the difference is most likely theirs
                counted = now - min(took, LATEST)
                unseen -= sum(ended > counted for ended in self._forgotten)
            if unseen > 0:
                self._others.append((now + WINDOW, unseen))

    def unsent(self) -> None:
        """Take back a request that was never sent."""
        self._out -= 1

    def rate_limited(self, now: float, retry_after: float | None) -> None:
        """Count a 429: no request may be sent before the wait is over."""
        wait = UNKNOWN_WAIT if retry_after is None else max(retry_after, SHORTEST_WAIT)
        self._blocked_until = max(self._blocked_until, now + wait)
        if retry_after is not None:
            # By then the service has room again, also for the requests of other programs.
            self._others = deque((min(until, self._blocked_until), n) for until, n in self._others)

    def spare(self, now: float) -> int:
        """Return how many requests of the lowest priority could go out at this moment."""
        self._forget(now)
        return 0 if self._blocked_until > now else max(0, self._room(Priority.REST) - self._used())

    def others(self, now: float) -> int:
        """Return how many requests of the last minute other programs made with the same account."""
        self._forget(now)
        return sum(n for _, n in self._others)

    def _room(self, priority: Priority) -> int:
        reserve = min(RESERVE, self.limit - 1) if priority > Priority.CANCEL else 0
        return self.limit - reserve

    def _used(self) -> int:
        return self._out + len(self._answered) + sum(n for _, n in self._others)

    def _forget(self, now: float) -> None:
        while self._answered and self._answered[0] + WINDOW <= now:
            self._forgotten.append(self._answered.popleft() + WINDOW)
        while self._forgotten and self._forgotten[0] + LATEST <= now:
            self._forgotten.popleft()
        while self._others and self._others[0][0] <= now:
            self._others.popleft()
