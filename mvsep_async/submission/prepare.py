"""Turning what a caller asks for into an request: every mistake is found here, before anything is sent or paid."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Literal

import anyio
from attrs import define, field

from mvsep_async.catalogue.algorithm import AccountPlan, Algorithm
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.presets import Preset
from mvsep_async.catalogue.sep_types import sep_types
from mvsep_async.concurrency import CallerScopes, in_thread
from mvsep_async.errors import ConfigurationError, InvalidRequestError
from mvsep_async.http.call import Json
from mvsep_async.http.content import spool
from mvsep_async.http.token import Token
from mvsep_async.jobs.request import JobSettings, new_id
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from mvsep_async.naming import safe_name
from mvsep_async.sources import Data, Pair, PreparedSource, RemoteType, Source, Spooled, check, is_url

__all__ = ["AlgorithmName", "OnUnknown", "SourcePreparer"]

AlgorithmName = int | str | Algorithm | Preset | None
OnUnknown = Literal["raise", "resubmit"]

_MOST_REMEMBERED = 1000


@define(eq=False)
class SourcePreparer:
    """Checks settings against the catalogue and the account, and puts songs that are no files where they can be sent.

    `spool`: the folder for songs that come as bytes, where they shall survive the process. `callers`: where a caller's
    task waits for the service or for a song.
    """

    catalogue: Callable[[], Awaitable[Catalogue]]
    user: Callable[[], Awaitable[User]]
    token: Token | None
    spool: Path | None
    callers: CallerScopes
    _known: dict[tuple[object, ...], JobSettings] = field(factory=dict)
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
        """Return the settings asked for, checked. The same ones are checked once and shared from then on.

        Raises `InvalidRequestError` for what cannot be, and `ConfigurationError` without a token.
        """
        if isinstance(algorithm, Preset):
            options = {**algorithm.options, **(options or {})}
            algorithm = algorithm.algorithm
        name = algorithm.sep_type if isinstance(algorithm, Algorithm) else algorithm
        given = tuple(sorted((key, str(value)) for key, value in options.items())) if options else ()
        asked = (name, given, output_format, remote_type, demo, webhook_url, on_unknown, anyway)
        known = self._known.get(asked)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            with self.callers.enter():
                known = self._known[asked] = await self._checked(
                    name, dict(given), _format(output_format), remote_type, demo, webhook_url, on_unknown, anyway
                )
        return known

    async def _checked(
        self,
        name: int | str | None,
        options: dict[str, str],
        output_format: OutputFormat,
        remote_type: RemoteType | None,
        demo: bool,
        webhook_url: str | None,
        on_unknown: OnUnknown,
        anyway: bool,
    ) -> JobSettings:
        if self.token is None:
            raise ConfigurationError(
                "separating needs an API token: set MVSEP_API_TOKEN, or pass api_token to the client. The token stands "
                "on the account page of the service"
            )
        number = int(name) if isinstance(name, str) and name.strip().isdecimal() else name
        if webhook_url is not None and not is_url(webhook_url):
            raise InvalidRequestError(f"the webhook_url {webhook_url[:120]!r} must be an http(s) address")
        if on_unknown not in ("raise", "resubmit"):
            raise InvalidRequestError(f"on_unknown is 'raise' or 'resubmit', not {on_unknown!r}")
        if number is None and options:
            raise InvalidRequestError("options belong to an algorithm: name it too")
        premium_only = output_format.premium and not anyway
        known = (await in_thread(sep_types)).get(number) if isinstance(number, int) else None
        free = known is not None and known.orientation < AccountPlan.PREMIUM
        # A known type that is free needs no catalogue where there is nothing else to check.
        if number is not None and (options or isinstance(number, str) or not free):
            catalogue = await self.catalogue()
            algorithm = catalogue.find(number)
            options, number = catalogue.validate(algorithm, options), algorithm.sep_type
            if not anyway:
                user = await self.user() if premium_only or algorithm.plan is AccountPlan.PREMIUM else None
                catalogue.check_plan(algorithm, output_format, user, options)
        elif premium_only and not (await self.user()).is_premium:
            raise InvalidRequestError(
                f"the format {output_format.label} is for premium accounts with credits left and spending enabled: "
                "choose mp3, wav16, flac16 or m4a"
            )
        return JobSettings(
            algorithm=number,
            options=tuple(sorted(options.items())),
            output_format=output_format,
            remote_type=remote_type,
            demo=demo,
            webhook_url=webhook_url,
            on_unknown=on_unknown,
            anyway=anyway,
        )

    async def prepare_source(self, source: Source, filename: str | None, settings: JobSettings) -> PreparedSource:
        """Return the source in a form that can be sent more than once; raises `InvalidRequestError` for a bad one."""
        if settings.remote_type is not None and not is_url(source):
            raise InvalidRequestError("remote_type says what kind of link a URL is: this source is none")
        match source:
            case bytes() if self.spool is None:
                held: PreparedSource = Data(source, _named(filename, "bytes"))
            case bytes():
                check(Data(source, _named(filename, "bytes")))
                held = await self._spooled(_once(source), _named(filename, "bytes"), durable=True)
            case None | str() | PathLike() | Pair():
                held = source
            case AsyncIterable():
                filename = _named(filename, "an async iterable")
                held = await self._spooled(source, filename, durable=self.spool is not None)
            case _:
                raise InvalidRequestError(
                    f"a source is a path, a URL, bytes, an async iterable of bytes, a Pair or None, "
                    f"not {type(source).__name__}"
                )
        check(held)
        return held

    async def _spooled(self, stream: AsyncIterable[bytes], filename: str, *, durable: bool) -> Spooled:
        with self.callers.enter():
            folder = self.spool or await self._folder()
            await in_thread(lambda: Path(folder).mkdir(exist_ok=True))
            name = f"{new_id()}-{safe_name(filename, limit=120)}"
            content = await spool(stream, folder, name, durable=durable)
        return Spooled(content.path, filename)

    def metadata(self, given: Json) -> Json:
        """Return the caller's own data, which must be JSON: a journal keeps it."""
        if given is None:
            return None
        try:
            json.dumps(given)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequestError(f"the metadata of a job must be JSON: {error}") from None
        return given

    async def _folder(self) -> Path:
        """Return the folder for songs that live no longer than this process."""
        async with self._opening:
            return await in_thread(self._make_folder)

    def _make_folder(self) -> Path:
        # Kept by the thread that makes it: the result of a call whose caller is cancelled meanwhile is lost.
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="mvsep-")
        return Path(self._temporary.name)

    async def discard_source(self, held: PreparedSource) -> None:
        """Remove the copy of a song that no job was made for."""
        if isinstance(held, Spooled):
            with anyio.CancelScope(shield=True):
                await in_thread(lambda: Path(held.path).unlink(missing_ok=True))

    async def close(self) -> None:
        """Remove what was put aside for this process only."""
        if self._temporary is not None:
            with anyio.CancelScope(shield=True):
                await in_thread(self._temporary.cleanup)


async def _once(data: bytes) -> AsyncIterable[bytes]:
    yield data


def _named(filename: str | None, what: str) -> str:
    if not filename:
        raise InvalidRequestError(f"{what} need a filename, such as filename='song.flac'")
    return filename


def _format(value: OutputFormat | int) -> OutputFormat:
    try:
        return OutputFormat(value)
    except ValueError:
        names = ", ".join(f"{format.name} ({format.value})" for format in OutputFormat)
        raise InvalidRequestError(f"there is no output format {value!r}; there are {names}") from None
