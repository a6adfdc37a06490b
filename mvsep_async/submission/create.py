"""Send the create of a job, and record in every case whether the service has, or may have, the job."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from enum import Enum
from functools import partial
from typing import Any, Final, Protocol

from anyio import get_cancelled_exc_class
from attrs import Factory, define, evolve, field, frozen

from mvsep_async.download.target import check_target
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import (
    AuthenticationError,
    ConfigurationError,
    DailyLimitError,
    DownloadError,
    InvalidRequestError,
    JournalError,
    MVSepError,
    NoFreeSlotError,
    ProtocolError,
    RateLimitedError,
    UploadError,
)
from mvsep_async.http.content import BytesContent, Content, FileContent
from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import Part
from mvsep_async.jobs.coordinator import Coordinator
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.fingerprint import content_fingerprint_of, fingerprint_of
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import ID_PATTERN, JobRequest
from mvsep_async.models.separation import Created
from mvsep_async.models.stage import Stage
from mvsep_async.models.user import User
from mvsep_async.naming import upload_name
from mvsep_async.observe.events import Uploaded
from mvsep_async.sources import Data, Pair, Spooled, Stream, is_url, label, remote_type_of
from mvsep_async.submission.attempt import Attempt
from mvsep_async.submission.held_body import RESERVED, HeldContent
from mvsep_async.submission.limits import PremiumRefusals, RefusedSizes, check_limits
from mvsep_async.submission.upload_queue import SMALL, UploadQueue

__all__ = ["CreateResult", "Fate", "Launcher", "fate_of", "queued", "was_answered"]

logger = logging.getLogger("mvsep_async")


class KnownUser(Protocol):
    """Returns the account as far as it is known; with `fresh`, requests it."""

    async def __call__(self, *, fresh: bool = False) -> User | None: ...


_CLOSING: Final = 0.8
"""Seconds to wait for the response to a completely sent create when the client closes: most of the one second in which
a program should stop."""


_TAG: Final = re.compile(rf"\d{{14}}-[0-9a-f]{{10}}-({ID_PATTERN})(?![0-9a-z])")
"""The hash of a job, with the tag at the front of the uploaded file's name."""


class Fate(Enum):
    """The outcome of a create."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """The service refused it, temporarily for lack of a slot or permanently: the caller has to find out which."""
    REJECTED = "rejected"
    """It cannot succeed, so the job fails."""
    NOT_ACCEPTED = "not accepted"
    """The service does not have the job; it may be sent again."""
    LOST = "lost"
    """The response was lost: the service may have the job."""
    CANCELLED = "cancelled"
    """It was cancelled before it was sent completely."""
    GIVEN_UP = "given up"
    """The job was left to another client meanwhile."""


@frozen
class CreateResult:
    """The outcome of a create, and the error that explains it."""

    fate: Fate
    error: MVSepError | None = None


def fate_of(error: MVSepError, *, handed_over: bool) -> Fate:
    """Classify the error of a create: whether the service refused the job, does not have it, or may have it.

    `handed_over`: the last byte of the body was given to the network. Before that the service cannot have the job,
    since the body is shorter than its announced length and the request incomplete. After that, only the service's own
    response to a create proves that the job was not accepted: a redirect, the answer of a proxy, an error page or a
    broken response may follow an accepted job.
    """
    match error:
        case NoFreeSlotError() | DailyLimitError() | InvalidRequestError(status=200 | 400 | 422):
            return Fate.REFUSED
        case UploadError() | DownloadError() | InvalidRequestError():
            return Fate.REJECTED
        case ConfigurationError() if not handed_over:
            return Fate.REJECTED
        case RateLimitedError() | AuthenticationError() | JournalError():
            return Fate.NOT_ACCEPTED
        case _:
            return Fate.LOST if handed_over else Fate.NOT_ACCEPTED


def was_answered(error: MVSepError) -> bool:
    """Tell whether an error is the answer to a create, so that the service may have the job all the same."""
    if isinstance(error, NoFreeSlotError | DailyLimitError):
        return True
    return isinstance(error, AuthenticationError | RateLimitedError | InvalidRequestError) and error.status is not None


@define(eq=False)
class Launcher:
    """Sends creates, one at a time for each job, and applies their outcome to the registry.

    `coordinator`: confirms before the last byte of a create that the job is still this client's.
    """

    registry: JobRegistry
    coordinator: Coordinator
    separations: SeparationsAPI
    base: Host
    clock: Callable[[], float]
    uploads: UploadQueue
    compress: Callable[[tuple[Part, ...]], AbstractAsyncContextManager[tuple[Part, ...]]] = nullcontext
    """Replaces the files to send by smaller ones for the time of the upload; by default it does not."""
    _attempts: dict[str, Attempt] = field(factory=dict)
    _refused_sizes: RefusedSizes = field(default=Factory(lambda self: RefusedSizes(self.clock), takes_self=True))
    _premium_refusals: PremiumRefusals = field(
        default=Factory(lambda self: PremiumRefusals(self.clock), takes_self=True)
    )

    async def launch(self, job: JobEntry, known_user: KnownUser) -> CreateResult:
        """Create a job at the service. It is `CREATING` if it has a slot, else `UPLOADING`.

        The last bytes of an `UPLOADING` job wait for `slot_acquired`. `known_user` is called before anything is sent;
        it returns the account, whose plan limits what may be sent, or `None`. With `fresh=True` it requests the
        account. Afterwards the job is `WAITING` or `FETCHING` (accepted), or `LOST`; or unchanged if the complete
        body was answered with an error, which may come from a proxy; or `QUEUED` in all other cases, also if this is
        cancelled before the body is sent completely.
        """
        ahead = job.state is JobState.UPLOADING
        attempt = self._attempts[job.id] = Attempt(self.clock, ahead, self._record_intent, began=self.clock())
        try:
            with attempt.abort:
                return await self._launch(job, attempt, known_user)
            return CreateResult(Fate.GIVEN_UP if attempt.given_up else Fate.CANCELLED)
        finally:
            if self._attempts.get(job.id) is attempt:
                del self._attempts[job.id]

    def slot_acquired(self, job: JobEntry) -> None:
        """Send the last bytes of a job that was sent ahead and has got a slot, so that it is `CREATING`."""
        attempt = self._attempts.get(job.id)
        if attempt is not None:  # else the create has not begun, and begins with the slot
            self.uploads.promote(job.id, job.facts.intent_at or 0.0)
            attempt.slot.set()

    def cancel(self, job: JobEntry) -> None:
        """Cancel an in-flight create, unless the service may already have the job."""
        if job.id in self._attempts:
            self._attempts[job.id].abort.cancel()

    def give_up(self, job: JobEntry) -> None:
        """Leave a job to another client. If it was sent completely, a late answer is still recorded."""
        attempt = self._attempts.get(job.id)
        if attempt is not None:
            attempt.given_up = True
            attempt.abort.cancel()

    def close(self) -> None:
        """Limit the wait for outstanding responses. The owner cancels creates that are not sent completely."""
        for attempt in self._attempts.values():
            attempt.close(self.clock() + _CLOSING)

    async def _launch(self, job: JobEntry, attempt: Attempt, known_user: KnownUser) -> CreateResult:
        size, user = 0, None
        try:
            parts = await _parts(job.request)
            size = sum(part.content.size for part in parts)
            user = None if parts and job.request.settings.anyway else await known_user()
            self._refused_sizes.check(job.request, user, size)
            await self._premium_refusals.check(job.request, partial(known_user, fresh=True))
            await _check_unchanged(job)
            await check_limits(job.request, user)
            await check_target(job.request)
            async with self.compress(parts) as parts:
                if not attempt.ahead:
                    # The intent, which holds the tag, is on disk before the first byte is sent.
                    await self._record_intent()
                async with self._upload_turn(job, parts, attempt):
                    with attempt.answer:
                        created = await self._create(job, _held(parts, attempt), attempt)
                        self._check_own(job, created, attempt)
            if attempt.answer.cancelled_caught:
                if not attempt.given_up:
                    self.registry.apply(job, JobEvent.OUTCOME_UNKNOWN)
                return CreateResult(Fate.LOST)
        except get_cancelled_exc_class():
            if not attempt.given_up:
                self.registry.apply(job, JobEvent.NOT_ACCEPTED)
            raise
        except MVSepError as error:
            if attempt.given_up:
                return CreateResult(Fate.GIVEN_UP)
            self._refused_sizes.record(error, job.request, user, size)
            self._premium_refusals.record(error, job.request)
            fate = fate_of(error, handed_over=attempt.handed_over)
            if fate is Fate.LOST:
                message = f"{error.message}; searching the service's lists for the job"
                self.registry.apply(job, JobEvent.OUTCOME_UNKNOWN, progress=queued(message))
            elif not (attempt.handed_over and was_answered(error)):
                self.registry.apply(job, JobEvent.NOT_ACCEPTED, progress=queued(error.message))
            return CreateResult(fate, error)
        if job.state is JobState.UPLOADING and not attempt.given_up:
            # No server should accept an incomplete request, but the job is paid.
            self.registry.apply(job, JobEvent.SLOT_TAKEN, intent_at=self.registry.stamp())
        self._refused_sizes.accepted(job.request, user, size)
        await self._accepted(job, created, attempt)
        return CreateResult(Fate.GIVEN_UP if attempt.given_up else Fate.ACCEPTED)

    async def _record_intent(self) -> None:
        await self.registry.journal.flush(synced=True)

    @asynccontextmanager
    async def _upload_turn(self, job: JobEntry, parts: tuple[Part, ...], attempt: Attempt) -> AsyncIterator[None]:
        """Wait for the job's turn to upload; the turn ends when all bytes that may be sent are sent."""
        size = sum(part.content.size for part in parts)
        if size <= SMALL:
            yield
            return
        order = None if job.state is JobState.UPLOADING else job.facts.intent_at
        async with self.uploads.turn(job.id, size, order) as turn:
            attempt.began = self.clock()
            attempt.on_full = lambda: self.uploads.release(turn)
            yield

    async def _create(self, job: JobEntry, parts: tuple[Part, ...], attempt: Attempt) -> Created:
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
            before_last=partial(self.coordinator.confirm, job.id) if self.coordinator.shared else None,
            on_rate_limited=attempt.rate_limited,
        )

    def _check_own(self, job: JobEntry, created: Created, attempt: Attempt) -> None:
        """Raise `ProtocolError` if the response names another job, as one from a cache does.

        A response to an incomplete body is believed only if it names the job by its tag.
        """
        known, tag = self.registry.find("hash", created.hash), _TAG.match(created.hash)
        if known is not None and known is not job:
            own = (known.request.source, known.request.settings) == (job.request.source, job.request.settings)
        elif is_url(job.request.source):
            own = tag is None or tag[1] in str(job.request.source)
        else:
            own = attempt.handed_over if tag is None else tag[1] == job.id
        if not own:
            raise ProtocolError(f"the answer to separation/create names another job, {created.hash}")

    def _show_sent(self, job: JobEntry, sent: int, total: int) -> None:
        if total and job.state in (JobState.UPLOADING, JobState.CREATING):  # else no file is uploaded
            held = job.state is JobState.UPLOADING and sent >= total - RESERVED
            message = "waits for a free slot" if held else None
            self.registry.show(
                job, Progress(stage=Stage.UPLOADING, bytes_sent=sent, bytes_total=total, message=message)
            )

    async def _accepted(self, job: JobEntry, created: Created, attempt: Attempt) -> None:
        host = None if created.link is None else Host.of_link(created.link, base=self.base)
        remote = is_url(job.request.source) and created.is_remote
        event = JobEvent.URL_ACCEPTED if remote else JobEvent.ACCEPTED
        named: dict[str, Any] = {"remote" if remote else "hash": created.hash}
        named |= {"host": host, "accepted_at": self.registry.stamp()}
        if attempt.given_up:
            self.registry.answered_late(job, **named)
            return
        try:
            await self.registry.commit(job, event, **named)
        except JournalError as error:
            # The job is paid and continues. No other create is sent until the journal can be written again.
            logger.error("job %s was accepted, but the journal could not be written: %s", job.id, error)
        seconds = self.clock() - attempt.began
        self.registry.emit(Uploaded(job.id, created.hash, job.progress.bytes_total or 0, seconds))


def _held(parts: tuple[Part, ...], attempt: Attempt) -> tuple[Part, ...]:
    """Return the parts; if the create is sent ahead, the last bytes of the last part wait for the slot."""
    if not parts or not attempt.ahead:
        return parts
    return (*parts[:-1], evolve(parts[-1], content=HeldContent(parts[-1].content, attempt.wait)))


async def _parts(request: JobRequest) -> tuple[Part, ...]:
    """Open the files to upload. Their names begin with the job's id, by which recovery finds the job."""
    match request.source:
        case source if source is None or is_url(source):
            return ()
        case Pair(target, reference):
            files = {"target_audiofile": target, "reference_audiofile": reference}
            parts = [
                Part(name, upload_name(request.id, label(path)), await FileContent.open(path))
                for name, path in files.items()
            ]
            return tuple(parts)
        case Data(data, _):
            content: Content = BytesContent(data)
        case Stream():
            raise UploadError("a stream is spooled before it is sent", job=request.id)
        case Spooled(path, _) | path:
            content = await FileContent.open(path)  # pyright: ignore[reportArgumentType] # it takes it for `None`
    return (Part("audiofile", upload_name(request.id, label(request.source, request.filename)), content),)


async def _check_unchanged(job: JobEntry) -> None:
    """Raise `InvalidRequestError` if the file's audio has changed since the submit: it is another song to pay for."""
    request = job.request
    if request.fingerprint is None or await fingerprint_of(request.source, request.settings) == request.fingerprint:
        return
    if request.content is None or await content_fingerprint_of(request.source, request.settings) != request.content:
        name = label(request.source, request.filename)
        raise InvalidRequestError(f"{name} was changed since it was submitted: submit it again", job=job.id)


def queued(message: str) -> Progress:
    """Return the progress of a queued job, with the reason why it waits."""
    return Progress(stage=Stage.QUEUED, message=message)
