"""The service itself: accounts, jobs and what is done with them. One event loop owns it; only its methods change it."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import httpx
from anyio.from_thread import check_cancelled
from attrs import define, evolve, field

from . import answers
from .accounts import Account, Accounts, credits_for
from .catalogue import algorithms
from .clock import Clock
from .encode import Format
from .engine import Engine
from .faults import FaultBoard
from .intake import Upload
from .jobs import Job, Phase, Place, Priority, ResultFile, Shown
from .names import job_hash
from .orders import Order
from .quality import QualityBoard
from .refusals import Refusal, SilentRefusal, invalid
from .remote import FetchFailedError, fetch
from .settings import Settings
from .work import NOT_AUDIO, Task, WorkFailedError, measure, perform, result_base

WORKER_THREADS = 2
"""Separations made at one time. More would only take the processor from the client that is being tried."""
FIRST_SERIAL = 1_074_357
"""Where the ids of the history begin (the lowest that was recorded)."""
_SHORT_HASH = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


@define(eq=False)
class Service:
    """State and deeds. Jobs are settled (see `Engine`) whenever anybody looks."""

    settings: Settings
    folder: Path
    faults: FaultBoard
    _tasks: anyio.abc.TaskGroup
    clock: Clock = field(factory=Clock)
    accounts: Accounts = field(factory=Accounts)
    engine: Engine = field(factory=Engine)
    quality: QualityBoard = field(factory=QualityBoard)
    jobs: dict[str, Job] = field(factory=dict)
    """By every hash that they ever had."""
    stored: dict[str, Job] = field(factory=dict)
    """By the name of each of its result files."""
    history: list[Job] = field(factory=list)
    """In order of creation."""
    remote_files: dict[str, Path] = field(factory=dict)
    """What url jobs get for an address, instead of asking it."""
    links_valid_from: float = 0.0
    _threads: anyio.CapacityLimiter = field(init=False)
    _changed: anyio.Event = field(factory=anyio.Event, init=False)
    _chance: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._threads = anyio.CapacityLimiter(WORKER_THREADS)
        self._chance = random.Random(self.settings.seed or None)

    def settle(self) -> float:
        """Bring all jobs up to the present; returns the present."""
        now = self.clock.now()
        for job in self.engine.settle(now, self.settings.workers):
            self._ended(job)
        return now

    def find(self, hash_: str, host: str) -> Job | None:
        """The job with that hash, if that host knows it by now and still."""
        now = self.settle()
        job = self.jobs.get(hash_)
        if job is None or job.removed or now - job.created < self.settings.quirks.early_not_found:
            return None
        return job if job.host == host or not self.settings.quirks.host_bound else None

    def place(self, job: Job, now: float) -> Place:
        """Where a waiting job stands."""
        return self.engine.place(job, now, self.settings.strangers, self.settings.queue_seconds)

    def seen_jobs(self, account: Account) -> list[Job]:
        """The account's jobs, newest first, as far as the site shows them already."""
        now = self.settle()
        oldest = now - self.settings.quirks.history_delay
        return [job for job in reversed(self.history) if job.account is account and job.created <= oldest]

    def waiting(self, priority: Priority) -> int:
        """How many jobs of that priority wait."""
        return sum(job.priority is priority for job in self.engine.waiting)

    async def create(self, order: Order, host: str) -> Job:
        """Take a job in; `Refusal` when the account has no free slot."""
        job = self._register(order, host)
        self._tasks.start_soon(self._greet, job)
        if order.url is not None:
            self._tasks.start_soon(self._fetch, job, order)
        else:
            await self._arrive(job, order, order.uploads)
        return job

    def cancel(self, hash_: str, account: Account, host: str) -> None:
        """Stop a job and give its credits back if it was not being processed yet; `Refusal` if it cannot be stopped."""
        job = self.find(hash_, host)
        if job is None or job.account is not account:
            raise invalid("hash", "Separation not found")
        if not job.unfinished:
            raise invalid("hash", "The separation is finished already")
        if job.phase is Phase.RUNNING and self.settings.quirks.cancel_processing == "refuse":
            raise Refusal(200, "The separation is being processed and cannot be cancelled")
        if job.phase is not Phase.RUNNING:
            job.refunded = job.credits
            account.minutes += job.credits
        self._end(job, Phase.CANCELLED)

    def occupy(self, account: Account, count: int, host: str) -> list[Job]:
        """Let another program take `count` slots of the account, however many it has."""
        return [self._occupy(account, host) for _ in range(count)]

    def release(self, account: Account, count: int | None) -> int:
        """End that many (or all) of the other program's jobs; returns how many there were to end."""
        theirs = [job for job in self.history if job.account is account and job.foreign and job.unfinished]
        for job in theirs[:count]:
            self._end(job, Phase.DONE)
        return len(theirs[:count])

    def start(self, hash_: str) -> None:
        """Let a waiting job be processed, whatever the workers are doing."""
        self.engine.run_now(self._known(hash_), self.settle())
        self._notice()

    def show(self, hash_: str, shown: Shown | None) -> None:
        """Let an unfinished job show a status of one's choice; None: the true one again."""
        self._known(hash_).shown = shown

    def finish(self, hash_: str) -> None:
        """End a job rightly, as soon as its files are made."""
        now = self.settle()
        job = self._known(hash_)
        self.engine.run_now(job, now)
        job.held = False
        job.run_seconds = now - (job.started_at if job.started_at is not None else now)
        self.settle()
        self._notice()

    def fail(self, hash_: str, message: str) -> None:
        """End a job wrongly."""
        job = self._known(hash_)
        job.message = message
        self._end(job, Phase.FAILED)

    def delete(self, hash_: str) -> None:
        """Remove a job and its files, whatever state it is in."""
        job = self._known(hash_)
        job.removed = True
        self._end(job, Phase.DELETED)
        for path in (*job.inputs, *(file.path for file in job.files)):
            path.unlink(missing_ok=True)

    def expire_links(self) -> None:
        """Let every link that was given so far stop working."""
        self.links_valid_from = self.clock.now()

    def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        self.clock.advance(seconds)
        self.settle()
        self._notice()

    async def keep_time(self) -> None:
        """Settle when something is due, so that webhooks go out though nobody looks. Runs until cancelled."""
        while True:
            self._changed = anyio.Event()
            now = self.settle()
            moment = self.engine.next_event(self.settings.workers)
            with anyio.move_on_after(None if moment is None else max(0.0, moment - now)):
                await self._changed.wait()

    async def _until(self, moment: float) -> None:
        """Wait for a moment of the clock, which may be put forward meanwhile."""
        while (left := moment - self.clock.now()) > 0:
            changed = self._changed
            with anyio.move_on_after(left):
                await changed.wait()

    def _known(self, hash_: str) -> Job:
        return self.jobs[hash_]

    def _notice(self) -> None:
        self._changed.set()

    def _register(self, order: Order, host: str) -> Job:
        now = self.settle()
        account = order.account
        limit = self.settings.unfinished_limit(account.premium)
        if account.unfinished >= limit:
            raise _no_slot(self.settings.refusal, limit)
        digest = order.uploads[0].digest if order.uploads else ""
        job = Job(
            serial=FIRST_SERIAL + len(self.history),
            hash=self._short_hash() if order.url else self._new_hash(digest, order.filename, now),
            account=account,
            host=self.settings.quirks.link_host or host,
            filename=order.filename,
            sep_type=order.algorithm.sep_type,
            options=order.options,
            output_format=order.output_format,
            created=now,
            priority=Priority.PREMIUM if account.premium else Priority.REGISTERED,
            is_demo=order.is_demo,
            webhook_url=order.webhook_url,
            long_filenames=account.long_filenames,
            phase=Phase.FETCHING,
            held=self.settings.manual,
            bytes=order.size,
        )
        if order.url:
            job.short_hash = job.hash
        self._add(job)
        return job

    def _add(self, job: Job) -> None:
        self.jobs[job.hash] = job
        self.history.append(job)
        job.account.take_slot()

    async def _fetch(self, job: Job, order: Order) -> None:
        assert order.url is not None
        started = self.clock.now()
        try:
            limit = self.settings.upload_limit(job.account.premium)
            upload = await fetch(order.url, self.remote_files, self.folder, limit)
        except FetchFailedError as error:
            job.message = str(error)
            self._end(job, Phase.FAILED)
            return
        await self._until(started + self.settings.fetch_seconds)
        if not job.unfinished:
            return
        job.filename, job.bytes = upload.filename, upload.size
        job.hash = self._new_hash(upload.digest, upload.filename, self.clock.now())
        self.jobs[job.hash] = job
        await self._arrive(job, evolve(order, filename=upload.filename), [upload])

    async def _arrive(self, job: Job, order: Order, uploads: Iterable[Upload]) -> None:
        """The job's files are here: measure, charge, wait in line, and begin with what will take real time."""
        settings = self.settings
        job.inputs = tuple(upload.path for upload in uploads)
        algorithm = order.algorithm
        duration = await anyio.to_thread.run_sync(measure, job.inputs, algorithm, order.options, settings.stems)
        if not job.unfinished:
            return
        now = self.settle()
        job.duration = duration or 0.0
        if job.priority is Priority.PREMIUM:
            multipliers = algorithm.multipliers(order.options)
            job.credits = job.account.charge(credits_for(job.duration, algorithm.price_coefficient, multipliers))
        job.ready_at = now + settings.queue_seconds
        job.chunks = settings.chunks(job.duration)
        job.run_seconds = settings.run_seconds(job.serial - FIRST_SERIAL, job.duration, algorithm.price_coefficient)
        self.engine.enqueue(job)
        if duration is None or order.doomed(settings):
            job.message = NOT_AUDIO if duration is None else "The separation failed, please try again"
            job.work_done_at = now
        elif settings.stems == "copy":
            self._made(job, perform(self._task(job)))
        else:
            self._tasks.start_soon(self._work, job)
        self._notice()

    def _task(self, job: Job) -> Task:
        algorithm = algorithms()[job.sep_type]
        return Task(
            inputs=job.inputs,
            algorithm=algorithm,
            options=dict(job.options),
            output_format=Format(job.output_format),
            mode=self.settings.stems,
            folder=self.folder / "results" / str(job.serial),
            base=result_base(job, algorithm),
            raw_names=self.settings.quirks.raw_urls,
        )

    async def _work(self, job: Job) -> None:
        async with self._threads:
            if not job.unfinished:
                return
            try:
                self._made(job, await anyio.to_thread.run_sync(perform, self._task(job), check_cancelled))
            except WorkFailedError as error:
                job.message = str(error)
                job.work_done_at = self.clock.now()
        self._notice()

    def _made(self, job: Job, files: tuple[ResultFile, ...]) -> None:
        job.files = files
        job.work_done_at = self.clock.now()
        self.stored.update((file.name, job) for file in files)

    def _occupy(self, account: Account, host: str) -> Job:
        now = self.settle()
        job = Job(
            serial=FIRST_SERIAL + len(self.history),
            hash=self._new_hash("", "Made elsewhere.mp3", now),
            account=account,
            host=host,
            filename="Made elsewhere.mp3",
            sep_type=40,
            options={},
            output_format=Format.MP3,
            created=now,
            priority=Priority.PREMIUM if account.premium else Priority.REGISTERED,
            held=True,
            foreign=True,
            run_seconds=60.0,
        )
        self._add(job)
        self.engine.enqueue(job)
        self.engine.run_now(job, now)
        return job

    def _end(self, job: Job, phase: Phase) -> None:
        if job.unfinished:
            self.engine.end(job, self.settle(), phase)
            self._ended(job)
        self._notice()

    def _ended(self, job: Job) -> None:
        if job.webhook_url and job.phase in (Phase.DONE, Phase.FAILED):
            self._tasks.start_soon(self._call_webhook, job, job.webhook_url)

    async def _greet(self, job: Job) -> None:
        """The service tries a webhook's address with a GET."""
        if job.webhook_url:
            await _send("GET", job.webhook_url, None)

    async def _call_webhook(self, job: Job, url: str) -> None:
        body = answers.separation(self, job, self.clock.now())
        await _send("POST", url, {"hash": job.hash, **body})

    def _new_hash(self, digest: str, filename: str, now: float) -> str:
        digits = digest or f"{self._chance.getrandbits(40):010x}"
        moment = self.clock.epoch(now)
        # One second cannot hold two jobs of the same file under the same name; the later one is dated a little later.
        while (found := job_hash(moment, digits, filename, self.settings.slug_length)) in self.jobs:
            moment += 1
        return found

    def _short_hash(self) -> str:
        return "".join(secrets.choice(_SHORT_HASH) for _ in range(16))


def _no_slot(refusal: str, limit: int) -> Refusal:
    if refusal == "silent":
        return SilentRefusal(400, "")
    words = f"You already have {limit} unfinished separation{'s' * (limit != 1)}, please wait until one is finished"
    return Refusal(400, words if refusal == "message" else refusal)


async def _send(method: str, url: str, body: object) -> None:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            await client.request(method, url, json=body)
    except httpx.HTTPError:
        return  # a webhook is a courtesy: the service does not care whether anybody listens
