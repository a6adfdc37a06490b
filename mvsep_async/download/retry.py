"""Decide after each attempt to fetch a file: retry, ask for a new link, or give up. Pure."""

from __future__ import annotations

from typing import Final, TypeAlias

from attrs import evolve, frozen

from mvsep_async.backoff import Backoff
from mvsep_async.download.ranges import Complete, LinkGone, Reject, Restart

__all__ = ["Fail", "Finish", "NextStep", "Outcome", "RenewLink", "Retry", "RetryState"]

_MAX_WRONG_ANSWERS: Final = 6
"""Answers in a row with another file before the download fails. Pages of a proxy or a firewall are waited out."""

_PAUSES: Final = Backoff(first=0.5, longest=30.0)
"""Seconds after a second failure in a row and the ones that follow; after the first one there is no pause."""

_LONGEST_ASKED: Final = 60.0
"""The longest pause in seconds that a server's `Retry-After` can ask for."""

_LONGEST_GAP: Final = 300.0
"""Most seconds that count from one attempt to the next. Attempts are closer together, so a longer gap means that the
machine was asleep, or the process suspended."""

Outcome: TypeAlias = Complete | Restart | LinkGone | Reject
"""How one attempt ended."""


@frozen
class Finish:
    """All bytes of the file are on disk."""


@frozen
class RenewLink:
    """Ask the service for a new link and use it at once."""


@frozen
class Retry:
    """Wait `pause` seconds and ask again, `from_start` for the whole file."""

    pause: float
    reason: str
    from_start: bool = False


@frozen
class Fail:
    """Give up."""

    reason: str


NextStep: TypeAlias = Finish | RenewLink | Retry | Fail


@frozen
class RetryState:
    """The attempts since the file last grew.

    `patience`: seconds without a new byte before the download fails. `have`: the most bytes that were on disk; `since`:
    when the last of them arrived. `can_renew`: whether the service can be asked for a new link. `renewed`: whether the
    link is new; one that leads nowhere either is used again after a pause, and then renewed again.
    """

    patience: float
    since: float
    have: int = 0
    can_renew: bool = False
    renewed: bool = False
    failures: int = 0
    wrong_answers: int = 0
    last: float | None = None
    """When the last attempt ended."""

    def next(self, outcome: Outcome, have: int, now: float) -> tuple[RetryState, NextStep]:
        """Return the state after an attempt that left `have` bytes at time `now`, and the step that follows."""
        gap = now - (self.since if self.last is None else self.last)
        state = evolve(self, last=now, since=self.since + max(0.0, gap - _LONGEST_GAP))
        if have > self.have and isinstance(outcome, Reject) and outcome.slow:
            state = evolve(state, have=have)
        elif have > self.have:
            state = evolve(state, since=now, have=have, renewed=False, failures=0, wrong_answers=0)
        match outcome:
            case Complete():
                return state, Finish()
            case LinkGone() if self.can_renew and not state.renewed:
                return evolve(state, renewed=True), RenewLink()
            case LinkGone(reason) if not self.can_renew:
                return state, Fail(f"{reason}; the link has expired or the file was deleted at the service")
            case LinkGone(reason, wrong_content):
                state = evolve(state, renewed=False)
                outcome = Reject(f"{reason}, also with a new link", temporary=True, wrong_content=wrong_content)
            case Reject(reason, temporary=False):
                return state, Fail(reason)
        asked = 0.0
        wrong_answers = state.wrong_answers
        if isinstance(outcome, Reject):
            asked = min(outcome.retry_after or 0.0, _LONGEST_ASKED)
            wrong_answers += outcome.wrong_content
        if wrong_answers >= _MAX_WRONG_ANSWERS or now - state.since > self.patience:
            return state, Fail(f"{outcome.reason}; no new byte in {now - state.since:.0f} s")
        pause = max(asked, _PAUSES.pause(state.failures))
        after = evolve(state, failures=state.failures + 1, wrong_answers=wrong_answers)
        return after, Retry(pause, outcome.reason, from_start=isinstance(outcome, Restart))

    def renewal_failed(self, reason: str, now: float) -> tuple[RetryState, NextStep]:
        """Return the state after the service did not answer when asked for a new link, and the step that follows."""
        return evolve(self, renewed=False).next(Reject(reason, temporary=True), self.have, now)
