"""Sending one create so that whatever happens, it is known whether the service may have the job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Any, Final

import anyio
from anyio import CancelScope, get_cancelled_exc_class
from attrs import define, field

from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import (
    InvalidRequestError,
    JournalError,
    MVSepError,
    NoFreeSlotError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    TransportError,
)
from mvsep_async.http.content import BytesContent, Content, FileContent
from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import Part
from mvsep_async.jobs.fingerprint import fingerprint_of
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import JobRequest
from mvsep_async.models.separation import Created
from mvsep_async.models.stage import Stage
from mvsep_async.models.user import User
from mvsep_async.naming import upload_name
from mvsep_async.observe.events import Uploaded
from mvsep_async.sources import Data, Pair, Spooled, is_url, label, remote_type_of
from mvsep_async.submission.limits import check_limits

__all__ = ["Fate", "Launcher", "fate_of"]

logger = logging.getLogger("mvsep_async")

_CLOSING: Final = 0.8
"""Seconds that a create which is sent whole has, when the client closes, to say whether it was accepted: most of the
second in which a program that stops should be gone."""


class Fate(Enum):
    """What became of a create that brought an error instead of a job."""

    REFUSED = "refused"
    """The service said no: for want of a slot, or for good, which is to be told apart."""
    REJECTED = "rejected"
    """For good."""
    NOT_ACCEPTED = "not accepted"
    """The service cannot have it; nothing speaks against sending it again."""
    LOST = "lost"
    """The service may have it."""


def fate_of(error: MVSepError, *, handed_over: bool) -> Fate:
    """Say what an error means for the create that brought it.

    `handed_over`: the last byte of the body was given to the network. Before that the service cannot have the job:
    the body has a length, and a shorter one is no request.
    """
    match error:
        case ProtocolError(status=int(status)) if 300 <= status < 400 and status != 303:  # which comes after the deed
            return Fate.NOT_ACCEPTED
        case NoFreeSlotError() | InvalidRequestError(status=400):
            return Fate.REFUSED
        case RateLimitedError():
            return Fate.NOT_ACCEPTED
        case TransportError() | ServiceUnavailableError() | ProtocolError():
            return Fate.LOST if handed_over else Fate.NOT_ACCEPTED
        case _:
            return Fate.REJECTED


@define(eq=False)
class _Attempt:
    """One create under way. From the moment its body is complete it is not cancelled any more, only given up late:
    the answer says whether a job was paid for."""

    abort: CancelScope = field(factory=CancelScope)
    answer: CancelScope = field(factory=CancelScope)
    began: float = 0.0
    handed_over: bool = False
    closing_by: float | None = None

    def hand_over(self) -> None:
        self.handed_over = True
        self.answer.shield = True
        if self.closing_by is not None:
            self.answer.deadline = self.closing_by

    def turn_away(self) -> None:
        self.handed_over = False
        self.answer.deadline = inf
        self.answer.shield = False

    def close(self, deadline: float) -> None:
        self.closing_by = deadline
        if self.handed_over:
            self.answer.deadline = deadline


@define(eq=False)
class Launcher:
    """Makes creates, one at a time for each job, and tells the registry what came of them."""

    registry: JobRegistry
    separations: SeparationsAPI
    base: Host
    clock: Callable[[], float] = anyio.current_time
    _attempts: dict[str, _Attempt] = field(factory=dict)

    async def launch(self, job: Job, user: User | None = None) -> MVSepError | None:
        """Create `job` at the service, which has a slot and is `CREATING`. `user`: the account, if it is known.

        Afterwards the registry says `WAITING` or `FETCHING` and this returns `None`; or it says `LOST` or `QUEUED`, and
        this returns the error for which it is: no answer, refused, or not accepted. Raises the error of a job that can
        never be accepted, still `CREATING`. When cancelled, the job is `QUEUED`, if it was not sent whole.
        """
        attempt = self._attempts[job.id] = _Attempt(began=self.clock())
        try:
            with attempt.abort:
                return await self._launch(job, attempt, user)
            return None
        finally:
            del self._attempts[job.id]

    def cancel_at_service(self, job: Job) -> None:
        """Stop a create under way, unless the service may have it already."""
        if job.id in self._attempts:
            self._attempts[job.id].abort.cancel()

    def close(self) -> None:
        """Give the answers still expected a moment to come; what is not sent whole is stopped by its owner."""
        for attempt in self._attempts.values():
            attempt.close(self.clock() + _CLOSING)

    async def _launch(self, job: Job, attempt: _Attempt, user: User | None) -> MVSepError | None:
        try:
            await check_limits(job.request, user)
            parts = await _parts(job.request)
            await _check_unchanged(job)
            # The intent, with the tag in it, is safe on disk before the first byte goes out.
            await self.registry.journal.flush(synced=True)
            with attempt.answer:
                created = await self._create(job, parts, attempt)
            if attempt.answer.cancelled_caught:
                self.registry.apply(job, JobEvent.ANSWER_LOST)
                return None
        except get_cancelled_exc_class():
            self.registry.apply(job, JobEvent.NOT_ACCEPTED)
            raise
        except MVSepError as error:
            match fate_of(error, handed_over=attempt.handed_over):
                case Fate.LOST:
                    self.registry.apply(
                        job,
                        JobEvent.ANSWER_LOST,
                        progress=_note(f"{error.message}; looking whether the service has it"),
                    )
                    return error
                case Fate.REJECTED:
                    raise
                case _:
                    self.registry.apply(job, JobEvent.NOT_ACCEPTED, progress=_note(error.message))
                    return error
        await self._accepted(job, created, attempt)
        return None

    async def _create(self, job: Job, parts: tuple[Part, ...], attempt: _Attempt) -> Created:
        request = job.request
        url = str(request.source) if is_url(request.source) else None
        remote_type = None if url is None else request.settings.remote_type or remote_type_of(url)
        return await self.separations.create(
            files=parts,
            url=url,
            remote_type=remote_type,
            sep_type=request.settings.algorithm,
            options=dict(request.settings.options),
            output_format=request.settings.output_format,
            demo=request.settings.demo,
            webhook_url=request.settings.webhook_url,
            on_progress=lambda sent, total: self._show_sent(job, sent, total),
            on_handed_over=attempt.hand_over,
            on_turned_away=attempt.turn_away,
        )

    def _show_sent(self, job: Job, sent: int, total: int) -> None:
        if total and job.state is JobState.CREATING:  # a URL, or what a generator is told, is no upload
            self.registry.show(job, Progress(stage=Stage.UPLOADING, bytes_sent=sent, bytes_total=total))

    async def _accepted(self, job: Job, created: Created, attempt: _Attempt) -> None:
        host = None if created.link is None else Host.of_link(created.link, base=self.base)
        accepted_at = time.time()  # for people, and for telling which of the service's lists are old
        remote = is_url(job.request.source)
        event = JobEvent.URL_ACCEPTED if remote else JobEvent.ACCEPTED
        named: dict[str, Any] = {"remote" if remote else "hash": created.hash}
        try:
            await self.registry.commit(job, event, host=host, accepted_at=accepted_at, **named)
        except JournalError as error:
            # The job is paid and goes on; until the journal can be written again, no other create is begun.
            logger.error("job %s was accepted, but the journal does not know it yet: %s", job.id, error)
        seconds = self.clock() - attempt.began
        self.registry.emit(Uploaded(job.id, created.hash, job.progress.bytes_total or 0, seconds))


async def _parts(request: JobRequest) -> tuple[Part, ...]:
    """Open what is to be uploaded. The names carry the job's tag at their front, to be found again by it."""
    match request.source:
        case None:
            return ()
        case Pair(target, reference):
            return (
                Part("target_audiofile", upload_name(request.id, label(target)), await FileContent.open(target)),
                Part(
                    "reference_audiofile", upload_name(request.id, label(reference)), await FileContent.open(reference)
                ),
            )
        case source if is_url(source):
            return ()
        case Data(data, _):
            content: Content = BytesContent(data)
        case Spooled(path, _):
            content = await FileContent.open(path)
        case path:
            content = await FileContent.open(path)
    return (Part("audiofile", upload_name(request.id, label(request.source, request.filename)), content),)


async def _check_unchanged(job: Job) -> None:
    """Raise `InvalidRequestError` where the file is another song by now: that one is for another job to pay."""
    if job.request.fingerprint is None:
        return
    if await fingerprint_of(job.request.source, job.request.settings) != job.request.fingerprint:
        name = label(job.request.source, job.request.filename)
        raise InvalidRequestError(f"{name} was changed since it was submitted: submit it again", job=job.id)


def _note(message: str) -> Progress:
    return Progress(stage=Stage.QUEUED, message=message)
