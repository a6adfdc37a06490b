"""The front door: opens the parts, joins them, and hands out jobs."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack

import httpx
from attrs import evolve

from mvsep_async.concurrency import in_thread
from mvsep_async.config import ClientConfig
from mvsep_async.errors import ClientClosedError, ConfigurationError, InvalidRequestError, MVSepError
from mvsep_async.http.hosts import Host
from mvsep_async.http.redaction import guard_logs
from mvsep_async.models.output_format import OutputFormat

# The engine and the endpoints make most of the package. They are loaded when a client is opened and when a section is
# first used: a program that imports the client pays for neither.
if TYPE_CHECKING:
    from mvsep_async.catalogue.algorithm import Algorithm
    from mvsep_async.catalogue.catalogue import Catalogue
    from mvsep_async.catalogue.estimate import Estimate
    from mvsep_async.endpoints.account import AccountAPI
    from mvsep_async.endpoints.quality import QualityAPI
    from mvsep_async.endpoints.separations import SeparationsAPI
    from mvsep_async.endpoints.site import SiteAPI
    from mvsep_async.http.call import Json
    from mvsep_async.jobs.job import Job
    from mvsep_async.jobs.request import Target
    from mvsep_async.jobs.stream import JobStream
    from mvsep_async.models.user import User
    from mvsep_async.observe.events import Listener
    from mvsep_async.scheduling.session import Session
    from mvsep_async.sources import RemoteType, Source
    from mvsep_async.submission.prepare import AlgorithmName, OnUnknown

__all__ = ["MVSepClient", "SubmitArguments"]


class SubmitArguments(TypedDict, total=False):
    """What `submit`, `separate` and `map` take by name, with what `job.download` does about files."""

    algorithm: AlgorithmName
    options: Mapping[str, object] | None
    output_format: OutputFormat | int
    remote_type: RemoteType | None
    demo: bool
    webhook_url: str | None
    filename: str | None
    group: str | None
    priority: int
    key: str | None
    metadata: Json
    on_unknown: OnUnknown
    anyway: bool


class MVSepClient:
    """A client of the separation service, to be used as an async context manager.

    - `api_token`: by default the environment's `MVSEP_API_TOKEN`; without one, only what needs none can be done.
    - `base_url`: without `/api`, by default `MVSEP_BASE_URL`, else https://mvsep.com.
    - `region`: `"de"`, `"de2"` or `"hk"`, short for the `base_url` of that region; a job stays in its region.
    - `concurrency`: most unfinished jobs at the service at one time; `None` asks the account (10 premium, 1 otherwise).
    - `journal`: path of an SQLite file that makes jobs survive the process; `None` keeps them in memory.
    - `requests_per_minute`: `None` is 60 until the service's headers say otherwise.
    - `poll_interval`: seconds, the fastest that one job is looked at; default 2.
    - `timeout`: seconds or `httpx.Timeout` for each network operation, never a whole transfer; default 30.
    - `patience`: seconds that the service may be out of reach without a break before what waits for it ends with the
      error; default 1800.
    - `http`: an `httpx.AsyncClient` of the caller's: used, never closed.
    - `webhook_url`: goes with every submit that names none.
    - `group_cap`: most jobs of one `group` at the service at one time.
    - `cache`: a folder in which the catalogue is kept for a day.
    - `on_event`: called with each `mvsep_async.observe.Event`, on the event loop; what it raises is logged.

    Entering the block resumes what the journal holds; leaving it leaves unfinished jobs at the service. Raises
    `ConfigurationError` for settings that cannot be, and on entering `JournalError`.
    """

    def __init__(
        self,
        api_token: str | None = None,
        *,
        base_url: str | None = None,
        region: str | None = None,
        concurrency: int | None = None,
        journal: str | PathLike[str] | None = None,
        requests_per_minute: int | None = None,
        poll_interval: float | None = None,
        timeout: float | httpx.Timeout | None = None,
        patience: float | None = None,
        http: httpx.AsyncClient | None = None,
        webhook_url: str | None = None,
        group_cap: int | None = None,
        cache: str | PathLike[str] | None = None,
        on_event: Listener | None = None,
    ) -> None:
        self._options = ClientConfig.of(
            api_token=api_token,
            base_url=base_url,
            region=region,
            concurrency=concurrency,
            journal=journal,
            requests_per_minute=requests_per_minute,
            poll_interval=poll_interval,
            timeout=timeout,
            patience=patience,
            group_cap=group_cap,
            cache=cache,
            on_event=on_event,
        )
        self._http = http
        self._session: Session | None = None
        self._opened = False
        self.webhook_url = webhook_url

    async def __aenter__(self) -> Self:
        if self._opened:
            raise ConfigurationError("a client is opened once: make a new one")
        self._opened = True
        guard_logs()
        # Importing the engine takes some 0.2 s: not on the caller's event loop.
        session = await in_thread(_session_class)
        self._session = await session.open(self._options, self._http)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open().close()

    @property
    def separations(self) -> SeparationsAPI:
        """The separation section of the API, call by call."""
        from mvsep_async.endpoints.separations import SeparationsAPI

        return SeparationsAPI(self._open().caller)

    @property
    def site(self) -> SiteAPI:
        """Algorithms, news, the queue, demos."""
        from mvsep_async.endpoints.site import SiteAPI

        return SiteAPI(self._open().caller)

    @property
    def account(self) -> AccountAPI:
        """Login, the account, its history and its switches."""
        from mvsep_async.endpoints.account import AccountAPI

        return AccountAPI(self._open().caller)

    @property
    def quality(self) -> QualityAPI:
        """The quality checker."""
        from mvsep_async.endpoints.quality import QualityAPI

        return QualityAPI(self._open().caller)

    @property
    def user(self) -> User | None:
        """The account as it was last seen; `None` while the client had no need to ask."""
        return self._open().dispatcher.user

    @property
    def slots(self) -> int:
        """How many jobs may be at the service at one time, as far as is known."""
        return self._open().width()

    async def catalogue(self, *, refresh: bool = False) -> Catalogue:
        """Return the algorithms there are: fetched once, then kept; `refresh` asks again."""
        return await self._open().catalogue.get(refresh=refresh)

    async def estimate(
        self,
        sources: str | PathLike[str] | Iterable[str | PathLike[str]],
        algorithm: int | str | Algorithm,
        options: Mapping[str, object] | None = None,
    ) -> Estimate:
        """Return what these files, and the audio files in these folders, would cost as premium jobs, in credits.

        Raises `InvalidRequestError` for an algorithm, an option or a path that cannot be, and `ConfigurationError`
        without the extra `library`, which reads how long songs are.
        """
        from mvsep_async.catalogue.estimate import estimate

        found = (await self.catalogue()).find(algorithm)
        given = {name: str(value) for name, value in (options or {}).items()}
        return await estimate(sources, found, given)

    async def submit(
        self,
        source: Source,
        *,
        algorithm: AlgorithmName = None,
        options: Mapping[str, object] | None = None,
        output_format: OutputFormat | int = OutputFormat.MP3,
        remote_type: RemoteType | None = None,
        demo: bool = False,
        webhook_url: str | None = None,
        filename: str | None = None,
        group: str | None = None,
        priority: int = 0,
        key: str | None = None,
        metadata: Json = None,
        on_unknown: OnUnknown = "raise",
        anyway: bool = False,
    ) -> Job:
        """Put a separation in line and return its job, as soon as it is in the journal; this waits for no slot.

        - `source`: a path; an http(s) URL; bytes or an async iterable of bytes, with `filename`; a `Pair`; `None` for
          generators.
        - `algorithm`: a `sep_type` number, a name, an `Algorithm`, or a `Preset`, which brings options along; `None` is
          the service's default.
        - `options`: `add_optN` or the field's label → key or label of the choice.
        - `group`: jobs of different groups take turns; `priority`: higher first within one.
        - `key`: the same key again gives the job that exists. `metadata`: JSON of the caller's own.
        - `on_unknown`: what to do when a create's answer is lost and nothing can tell whether it was accepted (URLs and
          generators): `"raise"` `SubmissionUnknownError`, or `"resubmit"`, which may pay twice.
        - `anyway`: send what the account's plan does not allow as far as is known: an algorithm or a format for premium
          accounts, a song that is too long or too large. The service then decides.

        Raises `InvalidRequestError` for what cannot be, before anything is sent, and `ConfigurationError` without a
        token.
        """
        session = self._open()
        if key is not None and (known := session.registry.known(key=key)) is not None:
            return known  # whatever else is asked for, and though the service cannot say now what that means
        settings = await session.preparer.settings(
            algorithm, options, output_format, remote_type, demo, webhook_url or self.webhook_url, on_unknown, anyway
        )
        return await session.accept(source, settings, filename, group, priority, key, metadata)

    async def separate(
        self,
        source: Source,
        directory: str | PathLike[str],
        *,
        stems: Iterable[str] | None = None,
        layout: str = "{song}/{stem}",
        overwrite: bool = False,
        **submit_arguments: Unpack[SubmitArguments],
    ) -> list[Path]:
        """Separate one song and return the paths of its stems below `directory`: all of `submit` and `job.download`.

        Cancelling this does not cancel the job. Raises what `submit` does, and the job's error.
        """
        session = self._open()
        target = _target(directory, stems or _stems_of(submit_arguments), layout, overwrite)
        key = submit_arguments.get("key")
        job = None if key is None else session.registry.known(key=key)
        if job is None:
            job = await self._submit_to(session, source, target, submit_arguments)
        paths = await session.wait_and_download(job, target)
        if job.error is not None:
            raise job.error.with_traceback(None)
        return paths

    def map(
        self,
        sources: Iterable[Source] | AsyncIterable[Source],
        *,
        directory: str | PathLike[str] | None = None,
        stems: Iterable[str] | None = None,
        layout: str = "{song}/{stem}",
        overwrite: bool = False,
        **submit_arguments: Unpack[SubmitArguments],
    ) -> JobStream:
        """Separate many songs; iterate over the result to get the jobs as they finish, the failed ones too.

        `sources` is read lazily: a few beyond the slots are held. A source that cannot be sent gives a failed job, and
        the rest goes on. With `directory`, the stems of each are downloaded before it is given. With a journal, a song
        that it holds with the same settings is taken up where it stands, never submitted again. Settings that cannot be
        are raised when the iteration begins.
        """
        session = self._open()
        stems = stems or _stems_of(submit_arguments)
        target = None if directory is None else _target(directory, stems, layout, overwrite)
        if submit_arguments.get("key") is not None:
            raise InvalidRequestError("a key names one job: give each song its own with `submit`")
        if isinstance(sources, str | bytes):
            raise InvalidRequestError("`map` takes many songs: put a single one into a list")

        async def submit(source: Source) -> Job:
            return await self._submit_to(session, source, target, submit_arguments, bulk=True)

        async def settle(job: Job) -> None:
            try:
                await session.wait_and_download(job, target)
            except ClientClosedError:
                raise
            except MVSepError as error:
                if job.error is None:
                    job.facts = evolve(job.facts, error=error)

        from mvsep_async.jobs.stream import JobStream

        return JobStream(sources, submit, settle, lambda: session.tasks, session.width, session.widened)

    def attach(self, hash: str, *, host: str | None = None) -> Job:
        """Return a job made elsewhere, by its hash; it is watched from now on.

        `host`: the regional address that has it, such as `https://de.mvsep.com`, by default the base URL. A job that is
        known here already is returned as it is, unless an outage ended it here. Raises `ConfigurationError` for a host
        that is not the service's.
        """
        session = self._open()
        hash = hash.strip()
        if not hash:
            raise InvalidRequestError("a job's hash cannot be empty")
        from mvsep_async.jobs.registry import goes_on_later

        known = session.registry.known(hash=hash)
        if known is not None and not (known.error is not None and goes_on_later(known.error)):
            return known
        place = None if host is None else Host.parse(host)
        if place is not None and not place.is_sibling_of(self._options.base):
            raise ConfigurationError(f"{place} is not a host of the service at {self._options.base}")
        return session.attach(hash, place)

    def job(self, key: str) -> Job | None:
        """Return the job that was submitted with this `key`, `None` if there is none."""
        return self._open().registry.known(key=key)

    def jobs(self) -> list[Job]:
        """Return all jobs that are known, in the order of their submission; finished ones until they are pruned."""
        return list(self._open().registry.jobs.values())

    async def prune(self, jobs: Iterable[Job] | None = None) -> int:
        """Forget jobs that are over, here and in the journal; by default all of them. Return how many."""
        session = self._open()
        over = [job for job in (session.registry.jobs.values() if jobs is None else jobs) if job.done()]
        for first in range(0, len(over), _AT_ONCE):
            session.registry.forget(over[first : first + _AT_ONCE])
            await session.callers.maybe_yield()
        await session.journal.flush()
        return len(over)

    def poll_soon(self, hash: str) -> bool:
        """Look at the job with this hash soon, since it may have changed; `False` if there is none to look at."""
        session = self._open()
        job = session.registry.known(hash=hash)
        if job is None or job.done():
            return False
        session.poller.poll_soon(job)
        return True

    async def _submit_to(
        self,
        session: Session,
        source: Source,
        target: Target | None,
        arguments: SubmitArguments,
        *,
        bulk: bool = False,
    ) -> Job:
        asked: dict[str, Any] = dict(arguments)
        of_job = {name: asked.pop(name, default) for name, default in _OF_ONE_JOB.items()}
        asked["webhook_url"] = asked.get("webhook_url") or self.webhook_url
        settings = await session.preparer.settings(**asked)
        return await session.accept(source, settings, **of_job, target=target, bulk=bulk)

    def _open(self) -> Session:
        if self._session is None:
            raise ClientClosedError("the client is not open: use it inside `async with MVSepClient() as client:`")
        if self._session.closed:
            raise ClientClosedError("the client is closed: its block was left")
        return self._session

    def __repr__(self) -> str:
        state = "new" if self._session is None else "closed" if self._session.closed else "open"
        return f"<MVSepClient {self._options.base} {state}>"


def _stems_of(arguments: SubmitArguments) -> tuple[str, ...] | None:
    """Return the stems that a preset given as `algorithm` keeps."""
    return getattr(arguments.get("algorithm"), "stems", None)


def _session_class() -> type[Session]:
    from mvsep_async.scheduling.session import Session

    return Session


def _target(directory: str | PathLike[str], stems: Iterable[str] | None, layout: str, overwrite: bool) -> Target:
    from mvsep_async.jobs.request import Target
    from mvsep_async.naming import check_layout

    check_layout(layout)
    return Target(str(Path(directory)), None if stems is None else tuple(stems), layout, overwrite)


_AT_ONCE: Final = 500
"""Jobs that are forgotten before other tasks run."""

_OF_ONE_JOB: Final[dict[str, Any]] = {"filename": None, "group": None, "priority": 0, "key": None, "metadata": None}
