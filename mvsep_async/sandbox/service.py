"""The service: accounts, jobs, and all that changes them. One event loop owns it."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
from anyio.from_thread import check_cancelled
from attrs import evolve

from mvsep_async.models.output_format import OutputFormat

from .accounts import Account, Accounts, credits_for
from .catalogue import DEFAULT_SEP_TYPE
from .clock import Clock
from .create_request import CreateRequest
from .form import Upload
from .jobs import Job, Phase, Priority, Results, StatusOverride
from .links import Links
from .names import job_hash
from .outgoing import FetchFailedError, Webhooks, fetch
from .quality import QualityBoard
from .queue import JobQueue
from .refusals import DAILY_LIMIT, NO_SLOT, Refusal, SilentRefusal, invalid, no_such_job
from .render import Renderer
from .settings import SandboxSettings
from .work import NOT_AUDIO, Task, WorkFailedError, measure, perform

WORKER_THREADS = 2
"""Separations made at one time. More would only take the processor from the client that is being tried."""
FIRST_SERIAL = 1_074_357
"""Where the ids of the history begin (the lowest that was recorded)."""
_SHORT_HASH = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class Service:
    """State of the service and the operations on it. Every operation first brings the jobs up to date."""

    def __init__(self, settings: SandboxSettings, folder: Path, tasks: anyio.abc.TaskGroup) -> None:
        """Make a service with a premium and a free account.

        Uploads and results go to `folder`; `tasks` runs what goes on beside requests: downloads, separations, webhooks.
        """
        self.settings = settings
        self.folder = folder
        self.clock = Clock()
        self.queue = JobQueue()
        self.links = Links(settings, self.clock)
        self.render = Renderer(settings, self.clock, self.queue, self.links)
        self.accounts = Accounts()
        self.quality = QualityBoard()
        self.jobs: dict[str, Job] = {}
        """By every hash that they have or had."""
        self.history: list[Job] = []
        """In order of creation."""
        self.remote_files: dict[str, Path] = {}
        """URL → the file that URL jobs get for it, instead of a download."""
        self._tasks = tasks
        self._webhooks = Webhooks(tasks, self.render.separation)
        self._threads = anyio.CapacityLimiter(WORKER_THREADS)
        self._changed = anyio.Event()
        self._chance = random.Random(settings.seed or None)
        now = self.clock.today()
        self.accounts.add(
            now=now, token=settings.premium_token, name="Premium", email="premium@example.test",
            minutes=settings.premium_minutes, premium_enabled=True,
        )  # fmt: skip
        self.accounts.add(now=now, token=settings.free_token, name="Free", email="free@example.test")

    def refresh(self) -> float:
        """Bring all jobs up to the present; return the present."""
        now = self.clock.now()
        for job in self.queue.advance_to(now, self.settings.workers):
            self._webhooks.ended(job)
        return now

    def find(self, hash: str, host: str) -> Job | None:
        """Return the job with that hash, if it is known at that host at this moment."""
        now = self.refresh()
        job = self.jobs.get(hash)
        if job is None or job.phase is Phase.DELETED or now - job.created < self.settings.quirks.early_not_found:
            return None
        return job if job.host == host or not self.settings.quirks.host_bound else None

    def by_serial(self, serial: int) -> Job | None:
        """Return the job with that serial number."""
        index = serial - FIRST_SERIAL
        return self.history[index] if 0 <= index < len(self.history) else None

    def listed_jobs(self, account: Account) -> list[Job]:
        """Return the jobs of an account that its lists show by now, newest first."""
        now = self.refresh()
        oldest = now - self.settings.quirks.history_delay
        return [job for job in reversed(self.history) if job.account is account and job.created <= oldest]

    def waiting(self, priority: Priority) -> int:
        """Return how many jobs of that priority wait."""
        return sum(job.priority is priority for job in self.queue.waiting)

    def free_left(self, account: Account) -> int:
        """Return how many separations an account without premium may still create today."""
        return account.free_left(self.settings.free_per_day, self.settings.free_day, self.clock.today())

    async def create(self, request: CreateRequest, host: str) -> Job:
        """Create a job; raise `Refusal` if the account is at a limit or the audio is too long for it."""
        if request.url is not None:
            job = self._register(request, host)
            self._tasks.start_soon(self._fetch, job, request)
        else:
            duration = await self._measure(request, request.uploads)
            if self._too_long(request.account, duration):
                raise Refusal(400, self._too_long_text())
            job = self._register(request, host)
            self._enqueue(job, request, request.uploads, duration)
        self._webhooks.created(job)
        return job

    def cancel(self, hash: str, account: Account, host: str) -> None:
        """Cancel a job and refund it if it was not processed yet; raise `Refusal` if it cannot be cancelled."""
        job = self._owned(hash, account, host)
        if not job.unfinished:
            raise invalid("hash", "The separation is finished already")
        if job.phase is Phase.RUNNING and self.settings.quirks.cancel_processing == "refuse":
            raise Refusal(200, "The separation is being processed and cannot be cancelled")
        if job.phase is not Phase.RUNNING:
            job.refunded = job.credits
            account.minutes += job.credits
            if job.free_use is not None:
                account.free_uses.remove(job.free_use)
                job.free_use = None
        self._end(job, Phase.CANCELLED)

    def delete_finished(self, hash: str, account: Account, host: str) -> None:
        """Delete a finished job and its files; raise `Refusal` for any other."""
        job = self._owned(hash, account, host)
        if job.unfinished:
            raise invalid("hash", "The separation is not finished yet")
        self.delete(hash)

    def occupy(self, host: str, token: str, count: int = 1) -> list[str]:
        """Take `count` slots of the account, beyond its limit if need be, as another program would; return hashes."""
        account = self.accounts[token]
        return [self._occupy(account, host).hash for _ in range(count)]

    def release(self, token: str, count: int | None = None) -> int:
        """End that many (None: all) of the other program's jobs; return how many ended."""
        account = self.accounts[token]
        foreign = [job for job in self.history if job.account is account and job.foreign and job.unfinished]
        for job in foreign[:count]:
            self._end(job, Phase.DONE)
        return len(foreign[:count])

    def start(self, hash: str) -> None:
        """Start processing a waiting job, even if all workers are busy."""
        self.queue.run_now(self.jobs[hash], self.refresh())
        self._wake()

    def show(self, hash: str, status: str | None = None, data: Mapping[str, Any] | None = None) -> None:
        """Make an unfinished job show that status, with `data` added to its data; None: the true one again."""
        self.jobs[hash].override = None if status is None else StatusOverride(status, data or {})

    def finish(self, hash: str) -> None:
        """End a job with success, as soon as its files are made."""
        now = self.refresh()
        job = self.jobs[hash]
        self.queue.run_now(job, now)
        job.manual = False
        job.run_seconds = now - (job.started_at if job.started_at is not None else now)
        self.refresh()
        self._wake()

    def fail(self, hash: str, message: str = "The separation failed") -> None:
        """End a job with that error message."""
        job = self.jobs[hash]
        job.message = message
        self._end(job, Phase.FAILED)

    def delete(self, hash: str) -> None:
        """Delete a job and its files, whatever its state."""
        job = self.jobs[hash]
        self._end(job, Phase.DELETED)
        job.phase = Phase.DELETED
        for path in (*job.inputs, *(file.path for file in job.results.files)):
            path.unlink(missing_ok=True)

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.clock.advance(seconds)
        self.refresh()
        self._wake()

    async def run_timers(self) -> None:
        """Refresh whenever something is due, so that webhooks are called without any request. Runs until cancelled."""
        while True:
            self._changed = anyio.Event()
            now = self.refresh()
            moment = self.queue.next_event(self.settings.workers)
            with anyio.move_on_after(None if moment is None else max(0.0, moment - now)):
                await self._changed.wait()

    async def _sleep_until(self, moment: float) -> None:
        """Sleep until a moment of the clock, which may be moved forward meanwhile."""
        while (left := moment - self.clock.now()) > 0:
            changed = self._changed
            with anyio.move_on_after(left):
                await changed.wait()

    def _wake(self) -> None:
        self._changed.set()

    def _owned(self, hash: str, account: Account, host: str) -> Job:
        job = self.find(hash, host)
        if job is None or job.account is not account:
            raise no_such_job()
        return job

    def _register(self, request: CreateRequest, host: str) -> Job:
        self.refresh()
        account, settings = request.account, self.settings
        if not account.premium and not self.free_left(account):
            raise Refusal(400, DAILY_LIMIT)
        if account.unfinished >= settings.unfinished_limit(account.premium):
            raise _no_slot(settings.refusal)
        short_hash = self._short_hash() if request.url and not settings.quirks.url_long_hash else None
        job = self._new_job(
            account,
            settings.quirks.link_host or host,
            request.filename,
            short_hash or self._new_hash(request.uploads[0].digest if request.uploads else "", request.filename),
            sep_type=request.algorithm.sep_type,
            options=request.options,
            output_format=request.output_format,
            is_demo=request.is_demo,
            webhook_url=request.webhook_url,
            long_filenames=account.long_filenames,
            from_url=request.url is not None,
            short_hash=short_hash,
            phase=Phase.FETCHING,
            manual=settings.manual,
            bytes=request.size,
        )
        if not account.premium:
            job.free_use = self.clock.epoch(job.created)
            account.free_uses.append(job.free_use)
        return job

    def _new_job(self, account: Account, host: str, filename: str, hash: str, **details: Any) -> Job:
        """Add a job to the history, in a slot of its account."""
        job = Job(
            serial=FIRST_SERIAL + len(self.history),
            hash=hash,
            account=account,
            host=host,
            filename=filename,
            created=self.clock.now(),
            priority=Priority.PREMIUM if account.premium else Priority.REGISTERED,
            **details,
        )
        self.jobs[hash] = job
        self.history.append(job)
        account.acquire_slot()
        return job

    async def _fetch(self, job: Job, request: CreateRequest) -> None:
        assert request.url is not None
        started = self.clock.now()
        try:
            limit = self.settings.upload_limit(job.account.premium)
            upload = await fetch(request.url, self.remote_files, self.folder, limit)
            duration = await self._measure(request, [upload])
            if self._too_long(job.account, duration):
                raise FetchFailedError(self._too_long_text())
        except FetchFailedError as error:
            self.fail(job.hash, str(error))
            return
        await self._sleep_until(started + self.settings.fetch_seconds)
        if not job.unfinished:
            return
        job.filename, job.bytes = upload.filename, upload.size
        if job.short_hash is not None:
            job.hash = self._new_hash(upload.digest, upload.filename)
            self.jobs[job.hash] = job
        self._enqueue(job, evolve(request, filename=upload.filename), [upload], duration)

    async def _measure(self, request: CreateRequest, uploads: Iterable[Upload]) -> float | None:
        inputs = [upload.path for upload in uploads]
        return await anyio.to_thread.run_sync(
            measure, inputs, request.algorithm, request.options, self.settings.stems
        )  # fmt: skip

    def _too_long(self, account: Account, duration: float | None) -> bool:
        return not account.premium and (duration or 0.0) > self.settings.free_audio_seconds

    def _too_long_text(self) -> str:
        return f"The audio is longer than your plan allows ({self.settings.free_audio_seconds / 60:g} minutes)"

    def _enqueue(self, job: Job, request: CreateRequest, uploads: Iterable[Upload], duration: float | None) -> None:
        """Charge a job whose files have arrived, queue it, and start to make its results."""
        settings = self.settings
        now = self.refresh()
        job.inputs = tuple(upload.path for upload in uploads)
        job.duration = duration or 0.0
        algorithm = request.algorithm
        if job.priority is Priority.PREMIUM:
            multipliers = algorithm.multipliers(request.options)
            job.credits = job.account.charge(credits_for(job.duration, algorithm.price_coefficient, multipliers))
        job.ready_at = now + settings.queue_seconds
        job.chunks = settings.chunks(job.duration)
        job.run_seconds = settings.run_seconds(job.serial - FIRST_SERIAL, job.duration, algorithm.price_coefficient)
        self.queue.enqueue(job)
        if duration is None or request.must_fail(settings):
            job.message = NOT_AUDIO if duration is None else "The separation failed, please try again"
            job.work_done_at = now
        elif settings.stems == "copy":
            self._store(job, perform(self._task(job)))
        else:
            self._tasks.start_soon(self._work, job)
        self._wake()

    def _task(self, job: Job) -> Task:
        folder = self.folder / "results" / str(job.serial)
        return Task(job, folder, self.settings.stems, self.settings.quirks.raw_urls)

    async def _work(self, job: Job) -> None:
        async with self._threads:
            if not job.unfinished:
                return
            try:
                self._store(job, await anyio.to_thread.run_sync(perform, self._task(job), check_cancelled))
            except WorkFailedError as error:
                job.message = str(error)
                job.work_done_at = self.clock.now()
        self._wake()

    def _store(self, job: Job, results: Results) -> None:
        job.results = results
        job.work_done_at = self.clock.now()

    def _occupy(self, account: Account, host: str) -> Job:
        now, filename = self.refresh(), "Made elsewhere.mp3"
        job = self._new_job(
            account,
            host,
            filename,
            self._new_hash("", filename),
            sep_type=DEFAULT_SEP_TYPE,
            options={},
            output_format=OutputFormat.MP3,
            manual=True,
            foreign=True,
            run_seconds=60.0,
        )
        self.queue.enqueue(job)
        self.queue.run_now(job, now)
        return job

    def _end(self, job: Job, phase: Phase) -> None:
        if job.unfinished:
            self.queue.end(job, self.refresh(), phase)
            self._webhooks.ended(job)
        self._wake()

    def _new_hash(self, digest: str, filename: str) -> str:
        digits = digest or f"{self._chance.getrandbits(40):010x}"
        moment = self.clock.today()
        # One second cannot hold two jobs of the same file under the same name; the later one is dated a little later.
        while (found := job_hash(moment, digits, filename, self.settings.slug_length)) in self.jobs:
            moment += 1
        return found

    def _short_hash(self) -> str:
        return "".join(secrets.choice(_SHORT_HASH) for _ in range(16))


def _no_slot(refusal: str) -> Refusal:
    if refusal == "silent":
        return SilentRefusal(400, "")
    return Refusal(400, NO_SLOT if refusal == "message" else refusal)
