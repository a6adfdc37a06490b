"""What follows from the outcome of a create: the job is queued again or fails, or the whole queue pauses."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from attrs import define, field

from mvsep_async.errors import (
    AuthenticationError,
    DailyLimitError,
    InvalidRequestError,
    MVSepError,
    NoFreeSlotError,
)
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.user import User
from mvsep_async.observe.events import Retried
from mvsep_async.scheduling.admission import Admission
from mvsep_async.scheduling.refusals import Verdict, classify_refusal, needs_account
from mvsep_async.scheduling.slots import count_accepted
from mvsep_async.submission.create import CreateResult, Fate, queued, was_answered
from mvsep_async.submission.refused_jobs import AccountLists, RefusedJobs, says_why

__all__ = ["CreateOutcomes"]

logger = logging.getLogger("mvsep_async")


@define(eq=False)
class CreateOutcomes:
    """Handles the outcomes of creates. `patience`: seconds of lost responses after which a job fails.

    `holders` returns the jobs that hold a slot; `queue_again` puts a job at the front of the queue; `release_slot`
    frees the slot of a job.
    """

    registry: JobRegistry
    admission: Admission
    patience: float
    time_scale: float
    clock: Callable[[], float]
    holders: Callable[[], list[JobEntry]]
    queue_again: Callable[[JobEntry], None]
    release_slot: Callable[[JobEntry], None]
    refused: RefusedJobs = field(init=False)
    _unexplained: Counter[str] = field(factory=Counter, init=False)
    """How often the create of each job was refused for no known reason."""
    _rejections: dict[str, MVSepError] = field(factory=dict, init=False)
    """The errors with which jobs fail if the service does not have them: they may come from a proxy."""
    _lost: dict[str, tuple[Outage, MVSepError]] = field(factory=dict, init=False)
    """Jobs whose creates get no response: how long that has lasted, and the last error."""

    def __attrs_post_init__(self) -> None:
        self.refused = RefusedJobs(self.admission.account, self.registry, self.clock, self.holders, self.time_scale)

    async def handle(self, job: JobEntry, result: CreateResult) -> None:
        """Handle the outcome of a create with a slot."""
        error = result.error
        match result.fate:
            case Fate.LOST if error is not None:
                outage, _ = self._lost.get(job.id, (Outage(self.patience, self.time_scale), error))
                outage.failed(self.clock())
                self._lost[job.id] = outage, error
            case Fate.CANCELLED:
                self.queue_again(job)
            case Fate.REFUSED | Fate.REJECTED | Fate.NOT_ACCEPTED if error is not None:
                await self._failed(job, result.fate, error)
        self.refused.forget(job)

    def handle_ahead(self, job: JobEntry, result: CreateResult) -> None:
        """Handle the outcome of a create that was sent ahead and got no slot. Only the uploaded bytes are lost."""
        if result.fate is Fate.REJECTED and result.error is not None:
            self.fail(job, result.error)
            return
        if result.error is not None:
            self.registry.emit(Retried("upload", str(result.error), job.id))
        if result.fate is Fate.REFUSED:
            # The service refused it before the body was complete. It is sent again only when a slot is free.
            logger.info("job %s was refused before it was sent: %s", job.id, result.error)
        self._requeue(job, result.error)

    def handle_absent(self, job: JobEntry, *, cancelling: bool) -> None:
        """Handle a lost create that did not reach the service: after `patience`, the job fails with the last error."""
        self.registry.emit(Retried("create", "the service does not have the job", job.id))
        if job.id in self._rejections and not cancelling:
            self.fail(job, self._rejections[job.id])
            return
        outage, error = self._lost.get(job.id, (None, None))
        over = outage is not None and outage.failed(self.clock())
        if error is not None and over and not cancelling:
            self.fail(job, error)
        else:
            self.queue_again(job)

    def accepted(self, job: JobEntry) -> None:
        """End the outage of a job whose create got a response."""
        self._lost.pop(job.id, None)

    def forget(self, job: JobEntry) -> None:
        """Forget a job that is over, or another client's."""
        self._unexplained.pop(job.id, None)
        self._rejections.pop(job.id, None)
        self.refused.forget(job)
        self._lost.pop(job.id, None)

    def fail(self, job: JobEntry, error: MVSepError) -> None:
        """Fail a job."""
        self.registry.apply(job, JobEvent.FAILED, error=error.of(job.id, job.hash))

    async def _failed(self, job: JobEntry, fate: Fate, error: MVSepError) -> None:
        """Handle a failed create, unless the service has the job all the same."""
        if fate is not Fate.REJECTED:
            self.registry.emit(Retried("create", str(error), job.id))
        if fate is Fate.REFUSED:
            self.admission.pause.answered()
        lists = await self.refused.ask() if _needs_lists(error) else AccountLists(None, {})
        if await self._adopt(job, lists, error):
            return
        match error:
            case DailyLimitError():
                self._send_again(job, error, lists)
                await self.admission.pause_for_quota(error)
            case InvalidRequestError() | NoFreeSlotError() if fate is Fate.REFUSED:
                self._refused(job, error, lists)
            case _ if fate is Fate.REJECTED:
                self._fail_unless_found(job, error, lists)
            case _:
                self._send_again(job, error, lists)
                if lists.user is not None:
                    self.admission.pause.token_accepted()
                await self.admission.pause_queue(error)

    def _refused(self, job: JobEntry, error: InvalidRequestError | NoFreeSlotError, lists: AccountLists) -> None:
        if self._classify(job, error, lists.user) is not Verdict.INVALID_REQUEST:
            self._send_again(job, error, lists)
        elif error.status in (200, 400) and lists.error is None:
            self.fail(job, error)
        else:
            self._fail_unless_found(job, error, lists)

    def _send_again(self, job: JobEntry, error: MVSepError, lists: AccountLists) -> None:
        """Queue a refused job again; if the service may have it all the same, only after a search of its lists."""
        token_rejected = isinstance(lists.error, AuthenticationError)  # so the create was rejected for it, too
        explained = says_why(error) and lists.error is None
        if job.state is not JobState.CREATING or explained or token_rejected:
            self._requeue(job, error)
        else:
            self._search(job, error)

    def _fail_unless_found(self, job: JobEntry, error: MVSepError, lists: AccountLists) -> None:
        """Fail a job; if the error may come from a proxy, only after a search of the service's lists.

        The job is not sent again, so its slot is free for others during the search if the account does not count it.
        """
        if says_why(error) or job.state is not JobState.CREATING or not was_answered(error):
            self.fail(job, error)
            return
        self._search(job, error)
        self._rejections[job.id] = error
        if lists.error is None and lists.user is not None and lists.user.current_queue.known:
            self.release_slot(job)
            self.admission.update_account(lists.user)

    def _requeue(self, job: JobEntry, error: MVSepError | None) -> None:
        """Queue a job again whose create the service has not accepted."""
        if error is not None and job.state is not JobState.QUEUED:
            self.registry.apply(job, JobEvent.NOT_ACCEPTED, progress=queued(error.message))
        self.queue_again(job)

    def _search(self, job: JobEntry, error: MVSepError) -> None:
        """Search the service's lists for a job whose create got an answer that proves nothing."""
        self._lost.pop(job.id, None)  # the service answers, so there is no outage
        message = f"{error.message}; searching the service's lists for the job"
        self.registry.apply(job, JobEvent.OUTCOME_UNKNOWN, progress=queued(message))

    async def _adopt(self, job: JobEntry, lists: AccountLists, error: MVSepError) -> bool:
        """Continue a refused job that is, or may be, in the account's lists; `True` if it needs no create.

        Until that is known it is `CREATING`, so that it is searched for after a crash, and that no slot is granted to
        it.
        """
        sent = job.state is JobState.CREATING  # else its body was not sent completely
        hash = self.refused.find(job, lists)
        listed = sent and (hash is not None or await self.refused.is_possible(job, lists))
        if job.done() or self.registry.is_elsewhere(job):
            return True  # it was cancelled or taken over while the lists were read
        if not listed:
            return False
        logger.warning("job %s was accepted, although the answer to its create says: %s", job.id, error)
        self._search(job, error)
        if hash is not None:
            self.registry.apply(job, JobEvent.FOUND, hash=hash)
        return True

    def _classify(self, job: JobEntry, error: InvalidRequestError | NoFreeSlotError, user: User | None) -> Verdict:
        """Decide whether a create was refused for lack of a slot or is invalid, and update the slots."""
        slots = self.admission.slots
        verdict = classify_refusal(
            error,
            unfinished=None if user is None else user.current_queue.count,
            ours=count_accepted(self.holders()),
            limit=slots.limit,
            earlier_unexplained=self._unexplained[job.id],
        )
        if verdict is not Verdict.INVALID_REQUEST:
            slots.refused(self.clock(), stated=isinstance(error, NoFreeSlotError) and error.stated)
        if verdict is Verdict.TRY_ONCE_MORE:
            self._unexplained[job.id] += 1
        if user is not None:
            self.admission.update_account(user)
        return verdict


def _needs_lists(error: MVSepError) -> bool:
    """Tell whether the account's lists are needed to know what the error of a create means."""
    if isinstance(error, InvalidRequestError | NoFreeSlotError):
        return was_answered(error) and needs_account(error)
    return was_answered(error)
