"""Decide which job is polled next, and when, within the limit of requests. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Container
from math import inf
from typing import Final

from attrs import define, field, frozen

from mvsep_async.backoff import Backoff

__all__ = ["Poll", "PollPolicy"]

POLL_SHARE: Final = 0.8
"""Largest share of the requests of a minute that polls use; the rest is for creates, cancels and the caller's calls."""

LEAST_POLL_SHARE: Final = 0.4
"""Share that polls keep, however many requests others make, so that two clients with one account each get half."""

SHARED_MARGIN: Final = 0.1
"""Share of the requests of a minute that polls leave free if other programs make requests: the response headers show
theirs too late."""

WINDOW: Final = 60.0
"""Seconds in which the requests of a minute are counted."""

MOST_AHEAD: Final = 5.0
"""Most polls of jobs that have probably ended, made before the spacing allows them. More jobs rarely end at once."""

PAID_BACK: Final = 0.06
"""By how much the spacing of each later poll is widened until such polls are made up for."""

FOLLOWED_FIRST: Final = 4.0
"""How many times as often a followed job is polled as one that is not followed."""

ACCOUNT_ROUND: Final = 10.0
"""Longest round of all jobs in seconds before the account (`app/user`) is polled too, which shows all ends at once."""

ACCOUNT_TURN: Final = 4
"""While a round takes longer than that, at most one of this many polls is of the account."""

TOGETHER: Final = 5.0
"""Jobs that were accepted within so many seconds of one that ended may have ended, too: similar jobs take as long."""

ENDED_TOGETHER: Final = 3
"""So many of them are enough to poll the account without waiting for the spacing: it shows which have ended."""

SPARED: Final = 4
SPARED_SHARE: Final = 0.07
"""Spare requests that polls leave for overdue jobs, as a number and a share of the limit, whichever is less: without
them, a burst of creates uses all requests of a minute and a followed job is not polled for several seconds."""

ACCOUNT_SPARE: Final = 4
"""Spare requests that are needed to poll the account, and half of those that are needed to poll it before the spacing
allows it: if requests are scarce, jobs are polled first."""

LONGEST_GAP: Final = 15.0
"""Longest time in seconds between two polls of a followed job to which polls of the account may lead, if possible."""

OVERDUE: Final = 13.8
"""Seconds without a poll after which a followed job is overdue: it is polled as soon as there is a spare request."""

ACCOUNT_INTERVAL: Final = 30.0
"""Seconds between two polls of the account if rounds are short, to learn which slots other programs use."""

SILENCE: Final = 600.0
"""Seconds until the account is polled again if it does not report its unfinished jobs."""

LONGEST_BACKOFF: Final = 60.0
"""Most seconds between two failing polls of a job or of the account."""


@frozen
class Poll:
    """A poll to begin: of one job (`separation/get`), or of the account (`app/user`) where `job` is `None`.

    `hinted`: there is a hint that the job has ended, so its slot is probably idle.
    """

    job: str | None
    hinted: bool = False


@define(eq=False)
class _PolledJob:
    """The policy's state of one job. Times are those of the caller's clock."""

    name: str
    watched_at: float
    polled_at: float
    """When its last poll began; before the first poll, when it was accepted."""
    polled: bool = False
    in_flight: bool = False
    listed: bool = False
    """Whether the account's list named it, so that its absence there means something."""
    hint_at: float = inf
    """When to poll it after a hint that it ended: it disappeared from the account's list, or a webhook came."""
    false_hints: int = 0
    failures: int = 0
    not_before: float = -inf


@define
class PollPolicy:
    """Decides when to poll which of the jobs at the service.

    All unfinished jobs are polled in turn, jobs with subscribers more often, and no job more often than
    `poll_interval`. Polls are spread evenly over the minute and use at most `POLL_SHARE` of its requests. The account
    is polled too: if a round of all jobs takes long, since ended jobs are missing from its list, and otherwise from
    time to time to learn which slots other programs use. After a hint (a job is missing from the list, a webhook came),
    its job is polled at once.
    """

    poll_interval: float = 2.0
    _jobs: dict[str, _PolledJob] = field(factory=dict, init=False)
    _next_at: float = field(default=-inf, init=False)
    """When the next poll without a hint may begin."""
    _recent: deque[float] = field(factory=deque, init=False)
    """When the polls of the last minute began."""
    _ahead: float = field(default=0.0, init=False)
    """Polls that did not wait for the spacing and are not yet made up for by a wider spacing of later ones."""
    _lists_jobs: bool | None = field(default=None, init=False)
    """Whether the account names its unfinished jobs, `None` until it was polled."""
    _account_in_flight: bool = field(default=False, init=False)
    _account_polled_at: float = field(default=-inf, init=False)
    _account_not_before: float = field(default=-inf, init=False)
    _account_failures: int = field(default=0, init=False)
    _since_account: int = field(default=0, init=False)
    """Polls of jobs since the last one of the account."""
    _ended: float | None = field(default=None, init=False)
    """When the last job was accepted that ended since the last poll of the account began."""

    def watch(self, job: str, now: float) -> None:
        """Start polling a job that the service has accepted."""
        self._jobs[job] = _PolledJob(job, watched_at=now, polled_at=now)

    def forget(self, job: str) -> None:
        """Stop polling a job; does nothing if it is unknown."""
        if (polled := self._jobs.pop(job, None)) is not None:
            self._ended = polled.watched_at

    def answered(self, job: str) -> None:
        """Record that a poll showed the job as unfinished."""
        polled = self._jobs.get(job)
        if polled is None:
            return
        if polled.in_flight and polled.hint_at <= polled.polled_at:
            polled.hint_at, polled.listed = inf, False
            polled.false_hints += 1
        polled.in_flight, polled.failures = False, 0

    def failed(self, job: str | None, now: float) -> None:
        """Record that a poll (`None`: of the account) failed: each failure doubles the wait for the next one."""
        if job is None:
            self._account_in_flight = False
            self._account_failures += 1
            self._account_not_before = now + self._backoff(self._account_failures)
        elif (polled := self._jobs.get(job)) is not None:
            polled.in_flight = False
            polled.failures += 1
            polled.not_before = now + self._backoff(polled.failures)

    def listed(self, unfinished: Collection[str] | int | None, now: float) -> None:
        """Record the response of the account: its unfinished jobs among those polled, only their number, or `None`."""
        self._account_in_flight, self._account_failures = False, 0
        if unfinished is None and self._lists_jobs:
            unfinished = ()
        self._lists_jobs = isinstance(unfinished, Collection)
        if unfinished is None:
            self._account_not_before = now + SILENCE
        if not isinstance(unfinished, Collection):
            return
        for job in self._jobs.values():
            if job.name in unfinished:
                job.listed = True
            elif job.listed and job.watched_at <= self._account_polled_at:
                self._hint(job, now)

    def poll_soon(self, job: str, now: float) -> None:
        """Poll a job as soon as `poll_interval` allows, after a hint that it changed; after false hints, later."""
        if (polled := self._jobs.get(job)) is not None:
            self._hint(polled, now)

    def next(
        self, now: float, *, per_minute: int, spare: int, others: int = 0, followed: Container[str] = ()
    ) -> tuple[Poll | None, float]:
        """Return a poll to begin now, or `None` and the seconds until the next call (`inf` if there is no job).

        `per_minute`: the limit of requests. `spare`: how many requests could be made at this moment. `others`: how many
        requests other programs made in the last minute. `followed`: the jobs that have subscribers. A poll is in flight
        until `answered`, `failed`, `listed` or `forget` is called.
        """
        if not self._jobs:
            return None, inf
        while self._recent and self._recent[0] <= now - WINDOW:
            self._recent.popleft()
        margin = SHARED_MARGIN * per_minute if others else 0.0
        left = spare + len(self._recent) - margin
        spacing = WINDOW / min(max(left, LEAST_POLL_SHARE * per_minute), POLL_SHARE * per_minute)
        if spare <= margin:
            return None, spacing / 4
        hinted = min((job for job in self._jobs.values() if _free(job, now)), key=lambda job: job.hint_at, default=None)
        if hinted is not None and hinted.hint_at <= now and (self._ahead < MOST_AHEAD or self._next_at <= now):
            self._run_ahead(now, spacing)
            return self._begin(hinted, now, hinted=True), 0.0
        account_at = self._account_due(now, spacing, followed, spare=spare - margin)
        if account_at <= now:
            return self._begin_account(now, spacing), 0.0
        job, due = self._job_due(now, followed)
        spared = 0.0 if others else min(SPARED, SPARED_SHARE * per_minute)
        due = max(due, self._next_at if spare > margin + spared else now + spacing / 4)
        attainable = self._round(WINDOW / (POLL_SHARE * per_minute)) <= LONGEST_GAP
        if job is not None and job.name in followed and attainable and not others:
            due = min(due, self._overdue_at(job, spacing))
        if job is not None and due <= now:
            self._advance(now, spacing)
            return self._begin(job, now), 0.0
        hint_at = inf if hinted is None else hinted.hint_at
        if self._ahead >= MOST_AHEAD:
            hint_at = max(hint_at, self._next_at)
        return None, min(max(min(due, account_at, hint_at) - now, 0.001), max(self.poll_interval, spacing))

    def _hint(self, job: _PolledJob, now: float) -> None:
        pause = self._backoff(job.false_hints) if job.false_hints else self.poll_interval
        job.hint_at = min(job.hint_at, max(now, job.polled_at + pause) if job.polled else now)

    def _begin(self, job: _PolledJob, now: float, *, hinted: bool = False) -> Poll:
        job.in_flight, job.polled, job.polled_at = True, True, now
        self._recent.append(now)
        self._since_account += 1
        return Poll(job.name, hinted)

    def _begin_account(self, now: float, spacing: float) -> Poll:
        self._recent.append(now)
        if self._round(spacing) > ACCOUNT_ROUND and not self._may_have_ended():
            self._advance(now, spacing)
        else:
            self._run_ahead(now, spacing)
        self._account_in_flight, self._account_polled_at = True, now
        self._since_account, self._ended = 0, None
        return Poll(None)

    def _run_ahead(self, now: float, spacing: float) -> None:
        """Count a poll that does not wait for the spacing; after too many of them, space it like the others."""
        if self._ahead < MOST_AHEAD:
            self._ahead += 1
        else:
            self._advance(now, spacing)

    def _advance(self, now: float, spacing: float) -> None:
        """Set the time of the next poll; a poll that begins a little late does not delay the later ones."""
        paid_back = min(self._ahead, PAID_BACK)
        self._ahead -= paid_back
        self._next_at = max(self._next_at, now - spacing) + spacing * (1 + paid_back)

    def _round(self, spacing: float) -> float:
        """Return the seconds that it takes to poll each job once."""
        return len(self._jobs) * spacing

    def _account_due(self, now: float, spacing: float, followed: Container[str], *, spare: float) -> float:
        """Return when the account is to be polled. `spare`: requests that could be made now."""
        if self._account_in_flight:
            return inf
        if self._round(spacing) <= ACCOUNT_ROUND or self._lists_jobs is False:
            since = max(self._account_polled_at, min(job.watched_at for job in self._jobs.values()))
            return max(since + ACCOUNT_INTERVAL, self._account_not_before)
        if self._since_account < ACCOUNT_TURN - 1:
            return inf
        if self._may_have_ended() and spare > 2 * ACCOUNT_SPARE and self._ahead < MOST_AHEAD:
            return self._account_not_before
        oldest = min((job.polled_at for job in self._jobs.values() if job.name in followed), default=now)
        in_time = spare > ACCOUNT_SPARE and now <= oldest + LONGEST_GAP - 2 * spacing
        its_turn = in_time or self._round(spacing) > LONGEST_GAP
        return max(self._next_at, self._account_not_before) if its_turn else inf

    def _may_have_ended(self) -> bool:
        """Tell whether several jobs may have ended with one that did, and no hint says so yet."""
        if self._ended is None:
            return False
        unknown = [job.watched_at for job in self._jobs.values() if job.hint_at == inf]
        return sum(abs(at - self._ended) <= TOGETHER for at in unknown) >= ENDED_TOGETHER

    def _job_due(self, now: float, followed: Container[str]) -> tuple[_PolledJob | None, float]:
        """Return the job whose turn it is, and when it may be polled."""
        waiting = [job for job in self._jobs.values() if not job.in_flight]
        due = [job for job in waiting if self._earliest(job) <= now]
        if due:
            weight = {True: FOLLOWED_FIRST, False: 1.0}
            return max(due, key=lambda job: (now - job.polled_at) * weight[job.name in followed]), now
        return min(((job, self._earliest(job)) for job in waiting), key=lambda pair: pair[1], default=(None, inf))

    def _overdue_at(self, job: _PolledJob, spacing: float) -> float:
        """Return when a job is polled at the latest. Several overdue jobs are not polled all at once."""
        latest = self._recent[-1] if self._recent else -inf
        return max(job.polled_at + OVERDUE, job.not_before, latest + spacing / 2)

    def _earliest(self, job: _PolledJob) -> float:
        return max(job.polled_at + self.poll_interval, job.not_before)

    def _backoff(self, failures: int) -> float:
        return Backoff(2 * self.poll_interval, LONGEST_BACKOFF).pause(failures)


def _free(job: _PolledJob, now: float) -> bool:
    return not job.in_flight and job.not_before <= now
