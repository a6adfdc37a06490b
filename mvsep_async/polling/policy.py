"""When to look at which job: the requests of a minute are scarce, and an end unnoticed leaves a slot idle."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from enum import Enum, auto
from math import inf, sqrt
from typing import Final

from attrs import define, field, frozen

from mvsep_async.models.stage import Stage
from mvsep_async.polling.durations import Durations, Expectation

__all__ = ["Poll", "PollKind", "PollPolicy", "Sight"]

LONGEST: Final = 75.0
"""Most seconds between two looks at a job, even while the account's list says that it is unfinished; more only where
so many jobs cannot be looked at so often."""

ACCOUNT_SHARE: Final = 0.28
"""Share of the requests of a minute for looks at the whole account. At 60 a minute that is one in four seconds or so:
an end is noticed two seconds later, and ten slots are used to 98.5 % of what an oracle could (`benchmarks/scheduling`);
twice as many looks would win half a percent."""

JOB_SHARE: Final = 0.8
"""Share for looks at single jobs, where the account does not say which of them are unfinished."""

CHECK_SHARE: Final = 0.2
"""Share for looks at jobs that the account's list says are unfinished: to check it, and for those who look on."""

LAZIEST: Final = 0.3
"""The least urgency: however unlikely an end is by what was learned, it may be wrong."""

SILENCE: Final = 600.0
"""Seconds before an account that said nothing of its unfinished jobs is asked again."""

_OVER: Final = frozenset({Stage.DONE, Stage.DOWNLOADING, Stage.FINISHED, Stage.FAILED, Stage.CANCELLED})
_NOT_BEGUN: Final = frozenset({Stage.FETCHING, Stage.WAITING})


@frozen
class Sight:
    """What one look at a job showed."""

    stage: Stage
    queue_position: int | None = None
    queue_length: int | None = None
    chunks_done: int | None = None
    chunks_total: int | None = None


class PollKind(Enum):
    """What is asked."""

    JOB = auto()
    """`get` or `get-remote` of one job."""
    ACCOUNT = auto()
    """`app/user`, which may list the unfinished jobs of the account."""


@frozen
class Poll:
    """One look to begin. `likely`: the job is probably over, and its slot idle."""

    kind: PollKind
    job: str | None = None
    likely: bool = False


class _Account(Enum):
    UNTRIED = auto()
    LISTS = auto()
    COUNTS = auto()
    SILENT = auto()


@define(eq=False)
class _Watched:
    """What is known of one job; times are of the caller's clock."""

    name: str
    key: Hashable
    size: int | None
    fetching: bool
    """Whether the service still fetches its song; the account's lists need not name it until then."""
    waited_on: bool
    began: float
    """When its work began at the earliest: it was accepted, or last seen waiting."""
    unfinished_at: float
    """When it was last known to be unfinished, by whatever look."""
    looked_at: float
    watched_at: float
    listed: bool | None = None
    """Whether the account's lists name it; `None`: not known yet, `False`: they do not, although it is unfinished."""
    hint_at: float = inf
    """When something spoke for its end (it vanished from the list, or a webhook came)."""
    false_hints: int = 0
    misses: int = 0
    not_before: float = -inf
    out_since: float | None = None
    """When the look that is under way began."""

    def urgency(self, expected: Expectation, now: float) -> float:
        """Return how much likelier an end since it was last known unfinished is than for any job at any time."""
        since, until = self.unfinished_at - self.began, now - self.began
        if until <= since:
            return LAZIEST**2
        return max(expected.ended(since, until) * expected.median / (until - since), LAZIEST**2)


def _or_new(durations: Durations | None) -> Durations:
    return Durations() if durations is None else durations


@define
class PollPolicy:
    """Decides the looks at the jobs that are at the service.

    The chance that a job ends in the next second differs from job to job and grows with its age. The waste expected
    of looking every `t` seconds at something that ends with the chance `h` a second is `h·t/2`; against the price of
    a request that makes intervals proportional to `1/√h` the best. `_Watched.urgency` is `h` relative to its
    average, so intervals are `base / √urgency`, with a base that spends a fixed share of the requests of a minute.

    Where the account's list names the unfinished jobs, one look at it stands for all, and a job missing from it is
    looked at at once. Looks at single jobs then only check the list and show progress.
    """

    poll_interval: float = 2.0
    durations: Durations = field(default=None, converter=_or_new)
    _jobs: dict[str, _Watched] = field(factory=dict, init=False)
    _account: _Account = field(default=_Account.UNTRIED, init=False)
    _account_at: float = field(default=-inf, init=False)
    _account_out_since: float | None = field(default=None, init=False)
    _account_misses: int = field(default=0, init=False)
    _account_not_before: float = field(default=-inf, init=False)
    _paced_at: float = field(default=-inf, init=False)
    """When the last look began that nothing spoke for."""
    _others: int = field(default=0, init=False)
    """Unfinished jobs of the account that are not watched here, where it only counts."""
    _vanished: int = field(default=0, init=False)
    """Jobs that ended by the account's count, and are not found yet."""

    def watch(
        self,
        job: str,
        now: float,
        *,
        key: Hashable,
        size: int | None = None,
        remote: bool = False,
        waited_on: bool = True,
    ) -> None:
        """Begin to look at a job that the service has accepted."""
        self._jobs[job] = _Watched(
            job,
            key,
            size,
            fetching=remote,
            waited_on=waited_on,
            began=now,
            unfinished_at=now,
            looked_at=now,
            watched_at=now,
            listed=False if remote else None,
        )

    def forget(self, job: str) -> None:
        """Stop looking at a job; harmless if it is not watched."""
        if self._jobs.pop(job, None) is not None:
            self._vanished = max(0, self._vanished - 1)

    def seen(self, job: str, sight: Sight, now: float) -> None:
        """Note what a look at a job showed; one that is over is learned from and forgotten."""
        watched = self._jobs.get(job)
        if watched is None:
            return
        if sight.stage in _OVER:
            if sight.stage is Stage.DONE:
                ended = (max(watched.unfinished_at, watched.began) + now) / 2
                self.durations.learn(watched.key, ended - watched.began, size=watched.size)
            self.forget(job)
            return
        if watched.out_since is not None and watched.hint_at <= watched.out_since:
            watched.hint_at, watched.listed = inf, False
            watched.false_hints += 1
        watched.out_since, watched.misses = None, 0
        watched.looked_at = watched.unfinished_at = now
        if sight.stage in _NOT_BEGUN:
            watched.began = now
        if watched.fetching and sight.stage is not Stage.FETCHING:
            watched.fetching, watched.listed = False, None

    def missed(self, job: str | None, now: float) -> None:
        """Note that a look (`None`: at the account) failed on the wire: the next one waits longer each time."""
        if job is None:
            self._account_out_since = None
            self._account_misses += 1
            self._account_not_before = now + self._backoff(self._account_misses)
        elif (watched := self._jobs.get(job)) is not None:
            watched.out_since = None
            watched.misses += 1
            watched.not_before = now + self._backoff(watched.misses)

    def listed(self, unfinished: Collection[str] | int | None, now: float) -> None:
        """Note what the account said of its unfinished jobs: which of those watched, only how many, or nothing."""
        asked_at = now if self._account_out_since is None else self._account_out_since
        self._account_out_since, self._account_misses, self._account_at = None, 0, now
        if unfinished is None and self._account is _Account.LISTS:
            unfinished = ()
        match unfinished:
            case None:
                self._account = _Account.SILENT
                self._account_not_before = now + SILENCE
            case int():
                self._account = _Account.COUNTS
                self._counted(unfinished)
            case _:
                self._account = _Account.LISTS
                self._named(unfinished, asked_at, now)

    def poll_soon(self, job: str, now: float) -> None:
        """Poll at a job soon: something says that it changed. False alarms slow down what they can bring about."""
        watched = self._jobs.get(job)
        if watched is not None:
            watched.hint_at = min(watched.hint_at, max(now, watched.looked_at + self._backoff(watched.false_hints)))

    def share_of_time(self, job: str, now: float) -> float | None:
        """Return how much of the time that jobs like this one take has passed; `None` while none has ended."""
        watched = self._jobs.get(job)
        expected = None if watched is None else self.durations.expect(watched.key, size=watched.size)
        if watched is None or expected is None or not expected.known:
            return None
        return (now - watched.began) / expected.median

    def next(self, now: float, *, per_minute: int, spare: int) -> tuple[Poll | None, float]:
        """Return a look to begin now, or `None` and the seconds until to ask again (`inf`: nothing is watched).

        `per_minute` is the limit of requests, `spare` how many looks could go out at this moment. A look given out is
        under way until `seen`, `missed`, `listed` or `forget`.
        """
        if not self._jobs:
            return None, inf
        again = max(self.poll_interval, 60 / per_minute)
        if spare <= 0:
            return None, 60 / per_minute
        suspect = self._suspect(now)
        if suspect is not None:
            return self._begin(suspect, now, likely=True), 0.0
        account_due, (job_due, job) = self._account_due(now, per_minute), self._job_due(now, per_minute)
        due = max(min(account_due, job_due), self._paced_at + 60 / per_minute)
        if due > now:
            return None, max(min(due - now, again), 0.001)
        self._paced_at = now
        if job is None or account_due <= now:
            self._account_out_since = now
            return Poll(PollKind.ACCOUNT), 0.0
        return self._begin(job, now, likely=self._chance(job, now) > 0.5), 0.0

    def typical_seconds(self) -> float | None:
        """Return how long jobs take, whatever their kind; `None` while none has ended."""
        expected = self.durations.expect(None)
        return expected.median if expected.known else None

    def _begin(self, job: _Watched, now: float, *, likely: bool) -> Poll:
        job.out_since = now
        return Poll(PollKind.JOB, job.name, likely)

    def _named(self, unfinished: Collection[str], asked_at: float, now: float) -> None:
        for watched in self._jobs.values():
            if watched.name in unfinished:
                watched.listed, watched.unfinished_at = True, max(watched.unfinished_at, asked_at)
            elif watched.listed is not False and watched.watched_at <= asked_at:
                watched.hint_at = min(watched.hint_at, now)

    def _counted(self, unfinished: int) -> None:
        unwatched = unfinished - len(self._jobs)
        self._vanished = max(0, self._others - unwatched)
        if not self._vanished:
            self._others = max(0, unwatched)

    def _suspect(self, now: float) -> _Watched | None:
        """Return a job whose end something speaks for."""
        idle = [job for job in self._jobs.values() if job.out_since is None and job.not_before <= now]
        hinted = min(idle, key=lambda job: job.hint_at, default=None)
        if hinted is not None and hinted.hint_at <= now:
            return hinted
        if self._vanished:
            asked = [job for job in self._jobs.values() if job.out_since is not None]
            left = [job for job in idle if job.looked_at < self._account_at]
            if len(asked) < self._vanished and left:
                return max(left, key=lambda job: self._chance(job, now))
            if not asked:
                self._others, self._vanished = max(0, self._others - self._vanished), 0
        return None

    def _account_due(self, now: float, per_minute: int) -> float:
        """Return when the account is to be looked at; `inf` where looks at the jobs are as cheap or tell more."""
        jobs = [job for job in self._jobs.values() if self._account is not _Account.LISTS or job.listed is not False]
        affordable = len(self._jobs) * 60 / self.poll_interval <= per_minute / 2
        if self._account_out_since is not None or affordable or len(jobs) < 2:
            return inf
        rates = urgent = 0.0
        for job in jobs:
            expected = self.durations.expect(job.key, size=job.size)
            rates += 1 / expected.median
            urgent += job.urgency(expected, now) / expected.median
        base = max(self.poll_interval, 60 / (ACCOUNT_SHARE * per_minute))
        interval = max(self.poll_interval, base / sqrt(urgent / rates))
        return max(self._account_at + interval, self._account_not_before)

    def _job_due(self, now: float, per_minute: int) -> tuple[float, _Watched | None]:
        """Return which single job is to be looked at first, and when."""
        fair = 60 / per_minute * len(self._jobs)
        base = max(self.poll_interval, fair / JOB_SHARE)
        check = max(LONGEST, fair / CHECK_SHARE)
        # The more jobs there are, the less is one of them looked at by people.
        lively = min(max(self.poll_interval, fair / JOB_SHARE * len(self._jobs)), check)
        first, when = None, inf
        for job in self._jobs.values():
            if job.out_since is not None:
                continue
            interval = lively if job.waited_on else check
            if not self._covered(job):
                urgency = job.urgency(self.durations.expect(job.key, size=job.size), now)
                interval = min(interval, max(self.poll_interval, base / sqrt(urgency)))
            due = max(job.looked_at + interval, job.not_before)
            if due < when:
                first, when = job, due
        return when, first

    def _covered(self, job: _Watched) -> bool:
        """Tell whether looks at the account show this job's end."""
        if self._account_misses > 1 or len(self._jobs) < 2:
            return False
        if self._account is _Account.COUNTS:
            return not self._others  # else an end here and a beginning elsewhere look like nothing
        return self._account is _Account.LISTS and job.listed is not False

    def _chance(self, job: _Watched, now: float) -> float:
        """Return how likely a job has ended since it was last known unfinished."""
        expected = self.durations.expect(job.key, size=job.size)
        return expected.ended(job.unfinished_at - job.began, now - job.began) if expected.known else 0.0

    def _backoff(self, times: int) -> float:
        return min(self.poll_interval * 2.0 ** min(times, 10), LONGEST) if times else 0.0
