"""Check and prepare a job request, so that mistakes are found before anything is sent or paid."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Literal, TypedDict

import anyio
from anyio import to_thread
from attrs import define, evolve, field

from mvsep_async.catalogue.algorithm import AccountPlan, Algorithm
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.plans import check_plan
from mvsep_async.catalogue.presets import Preset
from mvsep_async.catalogue.sep_types import sep_types
from mvsep_async.catalogue.stems import check_stems
from mvsep_async.concurrency import CallerScopes, in_thread, thread_limiter
from mvsep_async.errors import ConfigurationError, InvalidRequestError, ServiceUnavailableError, TransportError
from mvsep_async.http.call import Json
from mvsep_async.http.content import spool
from mvsep_async.http.token import Token
from mvsep_async.jobs.request import JobRequest, JobSettings, new_id
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from mvsep_async.naming import safe_name
from mvsep_async.sources import Data, JobSource, Pair, RemoteType, Spooled, Stream, check_source, is_url

__all__ = ["AlgorithmName", "OnUnknown", "RequestPreparer", "SubmitArguments"]

AlgorithmName = int | str | Algorithm | Preset | None
OnUnknown = Literal["raise", "resubmit"]


class SubmitArguments(TypedDict, total=False):
    """The keyword arguments of `submit`, `separate` and `map`."""

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


_MOST_CACHED = 1000
"""Most checked settings that are cached."""


_ANSWERED = 0.5
"""Seconds for which a folder that has answered is trusted to answer again at once."""


@define(eq=False)
class RequestPreparer:
    """Checks settings against the catalogue and the account, and spools songs that are not files.

    `spool_folder`: the folder for songs that arrive as bytes or streams, so that they survive the process; with `None`,
    bytes stay in memory and streams go to a temporary folder. `callers`: the scopes in which callers wait.
    """

    catalogue: Callable[[], Awaitable[Catalogue]]
    user: Callable[[], Awaitable[User]]
    token: Token | None
    spool_folder: Path | None
    callers: CallerScopes
    _checked: dict[tuple[int | str | None, JobSettings], JobSettings] = field(factory=dict)
    _checked_stems: set[tuple[JobSettings, tuple[str, ...]]] = field(factory=set)
    _answered: tuple[str | None, float] = (None, 0.0)
    """The folder of the file that was checked last in a thread, and when."""
    _temporary: tempfile.TemporaryDirectory[str] | None = None
    _opening: anyio.Lock = field(factory=anyio.Lock)

    async def settings(
        self,
        algorithm: AlgorithmName = None,
        options: Mapping[str, object] | None = None,
        output_format: OutputFormat | int = OutputFormat.MP3,
        remote_type: RemoteType | None = None,
        demo: bool = False,
        webhook_url: str | None = None,
        on_unknown: OnUnknown = "raise",
        anyway: bool = False,
    ) -> JobSettings:
        """Return checked settings. Equal arguments are checked once and share one object.

        Raises `InvalidRequestError` for an invalid algorithm, option or format, and `ConfigurationError` without a
        token.
        """
        if isinstance(algorithm, Preset):
            options = {**algorithm.options, **(options or {})}
            algorithm = algorithm.algorithm
        name = algorithm.sep_type if isinstance(algorithm, Algorithm) else algorithm
        given = tuple(sorted((key, str(value)) for key, value in options.items())) if options else ()
        wanted = JobSettings(
            options=given,
            output_format=_format(output_format),
            remote_type=remote_type,
            demo=demo,
            webhook_url=webhook_url,
            on_unknown=on_unknown,
            anyway=anyway,
        )
        known = self._checked.get((name, wanted))
        if known is None:
            if len(self._checked) >= _MOST_CACHED:
                self._checked.clear()
                self._checked_stems.clear()
            with self.callers.enter():
                known = self._checked[name, wanted] = await self._check(name, wanted)
        return known

    async def _check(self, name: int | str | None, wanted: JobSettings) -> JobSettings:
        """Return the settings with the number of the algorithm and the options as the service takes them."""
        if self.token is None:
            raise ConfigurationError(
                "separating needs an API token: set MVSEP_API_TOKEN, or pass api_token to the client. It is shown on "
                "the account page of the service"
            )
        number = int(name) if isinstance(name, str) and name.strip().isdecimal() else name
        options = dict(wanted.options)
        if wanted.webhook_url is not None and not is_url(wanted.webhook_url):
            raise InvalidRequestError(f"webhook_url must be an http(s) URL, not {wanted.webhook_url[:120]!r}")
        if wanted.on_unknown not in ("raise", "resubmit"):
            raise InvalidRequestError(f"on_unknown must be 'raise' or 'resubmit', not {wanted.on_unknown!r}")
        if number is None and options:
            raise InvalidRequestError("options need an algorithm: name the algorithm too")
        premium_only = wanted.output_format.premium and not wanted.anyway
        known = (await in_thread(sep_types)).get(number) if isinstance(number, int) else None
        free = known is not None and known.orientation < AccountPlan.PREMIUM
        # A known free algorithm without options needs no check against the catalogue.
        if number is not None and (options or isinstance(number, str) or not free):
            catalogue = await self.catalogue()
            algorithm = catalogue.find(number)
            options, number = catalogue.validate(algorithm, options), algorithm.sep_type
            if not wanted.anyway:
                user = await self.user() if premium_only or algorithm.plan is AccountPlan.PREMIUM else None
                check_plan(algorithm, wanted.output_format, user)
        elif premium_only and not (await self.user()).is_premium:
            raise InvalidRequestError(
                f"the format {wanted.output_format.label} needs a premium account with credits left and spending "
                "enabled: choose mp3, wav16, flac16 or m4a"
            )
        return evolve(wanted, algorithm=number, options=tuple(sorted(options.items())))

    async def check_stems(self, settings: JobSettings, stems: tuple[str, ...]) -> None:
        """Raise `InvalidRequestError` for stems that the algorithm does not return, as far as the catalogue lists them.

        Nothing is checked with `anyway`, without an algorithm, or while the catalogue cannot be fetched.
        """
        if settings.algorithm is None or settings.anyway or (settings, stems) in self._checked_stems:
            return
        with suppress(ServiceUnavailableError, TransportError), self.callers.enter():
            algorithm = (await self.catalogue()).find(settings.algorithm)
            check_stems(algorithm, dict(settings.options), stems)
        self._checked_stems.add((settings, stems))

    async def prepare(self, request: JobRequest) -> JobRequest:
        """Return the request with a source that can be sent more than once.

        Raises `InvalidRequestError` for a source that cannot be sent, and `UploadError` if it cannot be spooled. A
        caller that does not create a job from the result must pass it to `discard`.
        """
        _check_metadata(request)
        if request.settings.remote_type is not None and not is_url(request.source):
            raise InvalidRequestError("remote_type requires a URL as the source")
        if self._answers_at_once(request.source):
            check_source(request.source)
        else:
            await self._check_in_thread(request.source)
        match request.source:
            case Stream(chunks, filename):
                request = evolve(request, source=await self._spool(chunks, filename))
            case Data(data, filename) if self.spool_folder is not None:
                request = evolve(request, source=await self._spool(_single(data), filename))
            case _:
                return request
        try:
            await in_thread(check_source, request.source)
        except BaseException:  # invalid, or the caller is cancelled
            await self.discard(request)
            raise
        return request

    def _answers_at_once(self, source: JobSource) -> bool:
        """Tell whether a source can be checked on the event loop, which a network share that hangs would stop.

        A thread costs more than the check, so a file is checked at once if its folder has answered just before.
        """
        if not isinstance(source, str | PathLike):
            return not isinstance(source, Pair | Spooled)
        path = os.fspath(source)
        folder, since = self._answered
        return (path.rpartition(os.sep)[0] == folder and time.monotonic() - since < _ANSWERED) or is_url(path)

    async def _check_in_thread(self, source: JobSource) -> None:
        with self.callers.enter():
            await to_thread.run_sync(check_source, source, abandon_on_cancel=True, limiter=thread_limiter())
        if isinstance(source, str | PathLike):
            self._answered = os.fspath(source).rpartition(os.sep)[0], time.monotonic()

    async def discard(self, request: JobRequest) -> None:
        """Remove the spooled copy of a request's song."""
        if isinstance(request.source, Spooled):
            await in_thread(partial(request.source.path.unlink, missing_ok=True))

    async def close(self) -> None:
        """Remove the temporary folder."""
        if self._temporary is not None:
            await in_thread(self._temporary.cleanup)

    async def _spool(self, chunks: AsyncIterable[bytes], filename: str) -> Spooled:
        with self.callers.enter():
            folder = self.spool_folder or await self._temporary_folder()
            await in_thread(partial(folder.mkdir, parents=True, exist_ok=True))
            name = f"{new_id()}-{safe_name(filename, limit=120)}"
            content = await spool(chunks, folder, name, durable=self.spool_folder is not None)
        return Spooled(content.path, filename)

    async def _temporary_folder(self) -> Path:
        def make() -> Path:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="mvsep-")  # kept if the caller is cancelled
            return Path(self._temporary.name)

        async with self._opening:
            return await in_thread(make)


async def _single(data: bytes) -> AsyncIterable[bytes]:
    yield data


def _check_metadata(request: JobRequest) -> None:
    if request.metadata is None:
        return
    try:
        json.dumps(request.metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"metadata must be JSON: {error}") from None


def _format(value: OutputFormat | int) -> OutputFormat:
    try:
        return OutputFormat(value)
    except ValueError:
        names = ", ".join(f"{format.name} ({format.value})" for format in OutputFormat)
        raise InvalidRequestError(f"unknown output_format {value!r}: choose one of {names}") from None
