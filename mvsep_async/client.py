"""The client: the package's front door, which submits jobs and hands out their handles."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack, cast

from mvsep_async.concurrency import HostTask, in_thread
from mvsep_async.config import ClientConfig, base_of, token_of
from mvsep_async.errors import ClientClosedError, ConfigurationError, JournalError, MVSepError
from mvsep_async.http.redaction import guard_logs
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.postgres_url import journal_address

# The engine and the endpoints are most of the package: they are loaded when a client is opened or an endpoint is used.
if TYPE_CHECKING:
    import httpx
    import httpx2

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
    from mvsep_async.submission.prepare import AlgorithmName, OnUnknown, SubmitArguments

__all__ = ["MVSepClient"]

logger = logging.getLogger("mvsep_async")


class MVSepClient:
    """A client of the MVSEP service, used as an async context manager or through `open` and `aclose`.

    - `api_token`: default: the environment's `MVSEP_API_TOKEN`. Without a token only public calls work.
    - `base_url`: without `/api`; default: the environment's `MVSEP_BASE_URL`, otherwise https://mvsep.com.
    - `concurrency`: most unfinished jobs at the service at one time; `None` asks the account (10 premium, 1 otherwise).
    - `journal`: path of an SQLite file that makes jobs survive the process; or a `postgresql://` URL, for any number of
      processes and machines that share one account; `None` keeps jobs in memory.
    - `shared_files`: with a PostgreSQL journal, whether paths mean the same files on every machine that uses it, so
      that another machine may upload the songs of one that has failed.
    - `lease`: with a PostgreSQL journal, seconds without contact until a process loses its jobs to others; default 30.
    - `requests_per_minute`: `None`: 60 until the service's headers say otherwise.
    - `poll_interval`: shortest interval between two polls of one job, in seconds; default 2.
    - `timeout`: seconds or `httpx.Timeout` for each network operation, never for a whole transfer; default 30.
    - `patience`: seconds that the service may fail without a break before waiting jobs fail; default 1800.
    - `http`: an `httpx.AsyncClient` or `httpx2.AsyncClient` to use; it is not closed.
    - `region`: `"de"`, `"de2"` or `"hk"`, short for the `base_url` of that region; a job stays in its region.
    - `webhook_url`: sent with every submit that has no `webhook_url` of its own.
    - `group_cap`: most jobs of one `group` at the service at one time.
    - `cache`: a folder in which the catalogue is kept for a day.
    - `limit_rate`: bytes per second for all transfers together, uploads first; default no limit.
    - `compress_uploads`: send WAV and AIFF songs as FLAC, without their tags; needs the extra `compress`.
    - `on_event`: called with each `mvsep_async.observe.Event`, on the event loop; exceptions it raises are logged.

    Opening resumes the jobs in the journal; closing leaves unfinished jobs at the service. Raises `ConfigurationError`
    for invalid settings, and `JournalError` when it is opened with a journal that cannot be used.
    """

    def __init__(
        self,
        api_token: str | None = None,
        *,
        base_url: str | None = None,
        concurrency: int | None = None,
        journal: str | PathLike[str] | None = None,
        shared_files: bool = False,
        lease: float | None = None,
        requests_per_minute: int | None = None,
        poll_interval: float | None = None,
        timeout: float | httpx.Timeout | httpx2.Timeout | None = None,
        patience: float | None = None,
        http: httpx.AsyncClient | httpx2.AsyncClient | None = None,
        region: str | None = None,
        webhook_url: str | None = None,
        group_cap: int | None = None,
        cache: str | PathLike[str] | None = None,
        limit_rate: float | None = None,
        compress_uploads: bool = False,
        on_event: Listener | None = None,
    ) -> None:
        self._http = cast("httpx.AsyncClient | None", http)  # httpx2 has the same API
        self._host: HostTask[Session] | None = None
        self.webhook_url = webhook_url
        place = None if journal is None else journal_address(journal)
        del journal  # a URL may hold a password, and an error would keep it in the variables of this frame
        self._config = ClientConfig(
            token=token_of(api_token),
            base=base_of(base_url, region),
            concurrency=concurrency,
            journal=place,
            shared_files=shared_files,
            lease=lease,
            requests_per_minute=requests_per_minute,
            poll_interval=poll_interval,
            timeout=timeout,
            patience=patience,
            group_cap=group_cap,
            cache=cache,
            limit_rate=limit_rate,
            compress_uploads=compress_uploads,
            on_event=on_event,
        )

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        except Exception as closing:
            if error is None:
                raise
            # The block's own error says more than what follows from it.
            logger.error("the client could not be closed properly: %s", closing)

    async def open(self) -> Self:
        """Open the client and resume what the journal holds. `aclose` may be called in another task.

        Raises `ConfigurationError` if it was opened before, and `JournalError` for a journal that cannot be used.
        """
        if self._host is not None:
            raise ConfigurationError("a client can be opened only once: create a new one")
        guard_logs()
        self._host = HostTask(partial(_open_session, self._config, self._http))
        await self._host.start()
        return self

    async def aclose(self) -> None:
        """Close the client. Unfinished jobs stay at the service, and in the journal."""
        self._opened()
        assert self._host is not None
        await self._host.stop()

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
        """The account as last seen; `None` if the client has not asked for it yet."""
        return self._open().scheduler.dispatcher.account.user

    @property
    def paused_by(self) -> MVSepError | None:
        """Why no song is sent at the moment: an outage, a `DailyLimitError`, or a `JournalError` while the database of
        a shared journal is out of reach; else `None`. The queued jobs are sent when it is over."""
        session = self._open()
        problem = session.coordinator.problem
        return session.scheduler.dispatcher.paused_by if problem is None else JournalError(problem)

    @property
    def slots(self) -> int:
        """How many jobs may be at the service at one time, as far as is known."""
        return self._open().slots()

    async def catalogue(self, *, refresh: bool = False) -> Catalogue:
        """Return the service's algorithms. They are fetched once and kept; `refresh` fetches them again."""
        return await self._open().catalogue.get(refresh=refresh)

    async def estimate(
        self,
        sources: str | PathLike[str] | Iterable[str | PathLike[str]],
        algorithm: int | str | Algorithm,
        options: Mapping[str, object] | None = None,
    ) -> Estimate:
        """Return what these files, and the audio files in these folders, would cost as premium jobs, in credits.

        Raises `InvalidRequestError` for an invalid algorithm or option, and for a path that does not exist.
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
        """Queue a separation and return its job as soon as it is in the journal, without waiting for a slot.

        - `source`: a path; an http(s) URL; bytes or an async iterable of bytes, with `filename`; a `Pair`; `None` for
          generators.
        - `algorithm`: a `sep_type` number, a name, an `Algorithm`, or a `Preset`, which brings options along; `None` is
          the service's default.
        - `options`: `add_optN` or the field's label → key or label of the choice.
        - `group`: jobs of different groups take turns; `priority`: higher first within one.
        - `key`: submitting the same key again returns the existing job. `metadata`: any JSON to keep with the job.
        - `on_unknown`: what to do when a create's answer is lost and its job cannot be recognized at the service (URLs
          and generators): `"raise"` `SubmissionUnknownError`, or `"resubmit"`, which may pay twice.
        - `anyway`: also send what the account's plan does not seem to allow: an algorithm or a format for premium
          accounts, a song that is too long or too large. The service then decides.

        Raises `InvalidRequestError` for an invalid song or setting, before anything is sent, and `ConfigurationError`
        without a token.
        """
        return await self._open().submit(
            source,
            None,
            {
                "algorithm": algorithm,
                "options": options,
                "output_format": output_format,
                "remote_type": remote_type,
                "demo": demo,
                "webhook_url": webhook_url or self.webhook_url,
                "filename": filename,
                "group": group,
                "priority": priority,
                "key": key,
                "metadata": metadata,
                "on_unknown": on_unknown,
                "anyway": anyway,
            },
        )

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
        """Separate one song and return the paths of its stems below `directory`: `submit` and `job.download` in one.

        Cancelling this does not cancel the job. Raises the errors of `submit` and the job's own.
        """
        session, arguments = self._open(), self._with_webhook(submit_arguments)
        return await session.separate(source, _target(directory, stems, layout, overwrite, arguments), arguments)

    def map(
        self,
        sources: Iterable[Source] | AsyncIterable[Source],
        *,
        directory: str | PathLike[str] | Callable[[Source], str | PathLike[str]] | None = None,
        stems: Iterable[str] | None = None,
        layout: str = "{song}/{stem}",
        overwrite: bool = False,
        retry_failed: bool = False,
        separate_again: Callable[[Source, Job], bool] = lambda source, job: False,
        **submit_arguments: Unpack[SubmitArguments],
    ) -> JobStream:
        """Separate many songs; iterate over the result to receive the jobs as they finish, the failed ones too.

        `sources` is read lazily, a few beyond the slots. A source that cannot be sent gives a failed job; the others
        continue. With `directory`, which may be a function from the source to its folder, the stems of each job are
        downloaded before it is yielded. With a journal, a song that it holds with the same settings is resumed, never
        submitted again: it is known by path, size and time, otherwise by its audio, so it may be renamed, moved, copied
        or retagged. `retry_failed`: songs that failed before are submitted again, unless their files are damaged.
        `separate_again` is called with each source and its job; where it returns true for one that is over, the song is
        submitted again. Errors of invalid settings are raised when the iteration begins.
        """
        session, arguments = self._open(), self._with_webhook(submit_arguments)

        def target_of(source: Source) -> Target | None:
            folder = directory(source) if callable(directory) else directory
            return None if folder is None else _target(folder, stems, layout, overwrite, arguments)

        if directory is not None:
            _target("", stems, layout, overwrite, arguments)  # an invalid layout is raised here, not for each song
        return session.map(sources, target_of, arguments, retry_failed, separate_again)

    def attach(self, hash: str, *, host: str | None = None) -> Job:
        """Return the job of another program by its hash, and poll it from now on.

        `host`: the regional address that has it, such as `https://de.mvsep.com`; default: the base URL. A job that this
        client knows is returned, and continued if an outage ended it. Raises `ConfigurationError` for a foreign host.
        """
        return self._open().attach(hash, host)

    async def find(self, *, key: str | None = None, id: str | None = None, hash: str | None = None) -> Job | None:
        """Return the job with this `key`, `id` or `hash`, of any client of a shared journal; `None` if there is none.

        Jobs of other clients can be used like one's own. Raises `JournalError` if the shared journal is out of reach.
        """
        return await self._open().find(key=key, id=id, hash=hash)

    def jobs(self) -> list[Job]:
        """Return all known jobs in the order of their submission; finished ones until they are pruned."""
        return self._open().jobs()

    async def prune(self, jobs: Iterable[Job] | None = None) -> int:
        """Forget finished jobs, by default all of them, here and in the journal; return how many.

        A job that an outage has ended is kept if it may be paid for: the next start, `submit` of its key or `map` of
        its song continues it. By default, the journal keeps the songs that `map` has separated, so that they are not
        paid for again; given jobs are forgotten completely.
        """
        return await self._open().prune(jobs)

    def poll_soon(self, hash: str) -> bool:
        """Poll the job with this hash soon, since it may have changed; `False` if no such job is unfinished here."""
        return self._open().poll_soon(hash)

    def _with_webhook(self, arguments: SubmitArguments) -> SubmitArguments:
        return {**arguments, "webhook_url": arguments.get("webhook_url") or self.webhook_url}

    def _open(self) -> Session:
        session = self._opened()
        if session.closed:
            raise ClientClosedError("the client is closed: create a new one")
        return session

    def _opened(self) -> Session:
        """Return the session, open or closed. Raises `ConfigurationError` in another process or thread."""
        if self._host is None or self._host.value is None:
            raise ClientClosedError("the client is not open: use `async with MVSepClient() as client:`")
        self._host.guard.check()
        return self._host.value

    @property
    def _session(self) -> Session | None:
        return None if self._host is None else self._host.value

    def __repr__(self) -> str:
        config: ClientConfig | None = getattr(self, "_config", None)
        if config is None:  # after an error of `__init__`
            return "<MVSepClient new>"
        state = "new" if self._session is None else "closed" if self._session.closed else "open"
        return f"<MVSepClient {config.base} {state}>"


@asynccontextmanager
async def _open_session(config: ClientConfig, http: httpx.AsyncClient | None) -> AsyncIterator[Session]:
    """Open a session. The engine is imported in a thread, since that takes some 0.2 s."""
    await in_thread(import_module, "mvsep_async.scheduling.assembly")
    from mvsep_async.scheduling.assembly import open_session

    async with open_session(config, http) as session:
        yield session


def _target(
    directory: str | PathLike[str], stems: Iterable[str] | None, layout: str, overwrite: bool, given: SubmitArguments
) -> Target:
    """Return the target for the stems, by default those of the preset that is given as `algorithm`."""
    from mvsep_async.jobs.request import Target

    return Target.at(directory, stems or getattr(given.get("algorithm"), "stems", None), layout, overwrite)
