"""The given songs that have to be separated: those that no library has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection

from attrs import frozen

from mvsep_async.cli.job_run import JobRun
from mvsep_async.cli.library_stems import Found, LibraryStems
from mvsep_async.cli.outcome import Outcome
from mvsep_async.cli.songs import Songs
from mvsep_async.errors import JournalError
from mvsep_async.jobs.fingerprint import fingerprint_of
from mvsep_async.jobs.request import JobSettings

__all__ = ["NewSongs"]


@frozen(kw_only=True)
class NewSongs:
    """The songs that `client.map` is given: those that no library has. The others are reported as separated.

    `made`: the fingerprints of the songs in the journal, which `client.map` knows itself. `fetch`: fetches the stems
    that a library does not keep from the job that made them, while the service has it. Songs for which a library
    cannot be read are reported as failed.
    """

    songs: Songs
    run: JobRun
    made: Collection[str | None]
    settings: JobSettings
    libraries: LibraryStems
    fetch: Callable[[str, Found], Awaitable[bool]]

    async def __aiter__(self) -> AsyncIterator[str]:
        async for song in self.songs:
            self.run.reading = True
            try:
                separated = await self._is_separated(song)
            except JournalError as error:
                self.run.reject(song, error)
                separated = True
            if not separated:
                yield song
            self.run.reading = False

    async def _is_separated(self, song: str) -> bool:
        if await fingerprint_of(song, self.settings) in self.made:
            return False
        found = await self.libraries.find(song)
        if found.paths:
            self.run.skip(Outcome.of_stems(song, found.paths))
            return True
        if found.hash is None:
            return False
        self.run.reading = False  # it is a job while its stems are fetched
        return await self.fetch(song, found)
