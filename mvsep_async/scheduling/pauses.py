"""Why the queue waits, and until when: outages, the daily limit, slots. No clock: every `now` is a parameter."""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Final

from attrs import define, field, frozen

from mvsep_async.errors import AuthenticationError, ConfigurationError, DailyLimitError, MVSepError
from mvsep_async.jobs.outage import Outage

__all__ = ["QueuePause", "Wait", "WaitReason"]

_QUOTA_CHECK: Final = 900.0
"""Seconds between two requests for the free separations that are left. The service's API page does not say whether it
counts calendar days or 24 hours, so only a request shows that the limit was reset."""


class WaitReason(Enum):
    """Why no create begins at the moment."""

    NOTHING_QUEUED = "nothing is queued"
    PAUSED = "the service, the account or the journal could not be reached; the next try is due soon"
    DAILY_LIMIT = "the free separations of today are used up"
    PROBING = "after an outage, a single create tests whether the service works again"
    ASKING = "the account is being asked whether there is a free slot"
    NO_SLOT = "all slots are in use"
    NOT_OUR_TURN = "the free slots are for other clients with the same journal, or the journal cannot be reached"
    GROUP_CAP = "the groups that have queued jobs use all the slots they may"


@frozen
class Wait:
    """The reason why the queue waits. It ends when a slot is freed, with a submit, or at `until` at the latest."""

    reason: WaitReason
    until: float = inf
    error: MVSepError | None = None


@define
class QueuePause:
    """The pause of the whole queue after an error that concerns every job.

    `patience`: seconds of an outage after which the queued jobs fail; `time_scale`: factor for all pauses.
    """

    patience: float
    time_scale: float = 1.0
    _wait: Wait | None = field(default=None, init=False)
    _outage: Outage = field(init=False)
    _token_accepted: bool = field(default=False, init=False)
    """Whether the service has accepted the token in this session, so that a later 401 may be an outage."""

    def __attrs_post_init__(self) -> None:
        self._outage = Outage(self.patience, self.time_scale)

    @property
    def error(self) -> MVSepError | None:
        """The error because of which no create begins at the moment."""
        return None if self._wait is None else self._wait.error

    @property
    def daily_limit(self) -> DailyLimitError | None:
        """The refusal by the daily limit, until free separations are known to be left."""
        return self.error if isinstance(self.error, DailyLimitError) else None

    @property
    def probing(self) -> bool:
        """Whether the service has failed lately, so that only a single create should be tried."""
        return self._outage.rest > 0

    def current(self, now: float) -> Wait | None:
        """Return the pause, `None` if there is none."""
        return self._wait if self._wait is not None and now < self._wait.until else None

    def failed(self, error: MVSepError, now: float) -> bool:
        """Pause after an error; return whether the queued jobs should fail with it instead."""
        rejected = isinstance(error, AuthenticationError) and not self._token_accepted
        if self._outage.failed(now) or rejected or isinstance(error, ConfigurationError):
            self.ended()
            return True
        self._wait = Wait(WaitReason.PAUSED, now + self._outage.rest, error)
        return False

    def limited(self, error: DailyLimitError, now: float) -> bool:
        """Pause for the daily limit; return whether the queued jobs should fail, since `patience` is 0.

        Jobs that are queued later wait too, until the service reports that separations are left.
        """
        check = min(error.retry_after, _QUOTA_CHECK) * self.time_scale if self.patience > 0 else 0.0
        self._wait = Wait(WaitReason.DAILY_LIMIT, now + check, error)
        return self.patience <= 0

    def token_accepted(self) -> None:
        """Record that the service has accepted the token."""
        self._token_accepted = True

    def answered(self) -> None:
        """Record that the service answered and accepted the token, even if it refused a job: the outage is over."""
        self._token_accepted = True
        self._outage.ended()

    def limit_ended(self) -> None:
        """End a pause for the daily limit."""
        if self.daily_limit is not None:
            self._wait = None

    def idle(self) -> None:
        """Record that nothing was tried for a while, so an outage may be over: `patience` starts again."""
        self._outage.ended()
        if self.daily_limit is None:
            self._wait = None

    def ended(self) -> None:
        """End the pause, and the outage."""
        self._outage.ended()
        self._wait = None
