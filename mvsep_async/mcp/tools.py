"""The tools of an assistant: search algorithms, estimate, separate, follow, download, cancel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Final

import anyio
from anyio import to_thread
from attrs import define, field
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from mvsep_async.audio.digest import read_content
from mvsep_async.catalogue.algorithm import Algorithm, Needs
from mvsep_async.catalogue.presets import PRESETS
from mvsep_async.catalogue.stems import check_stems
from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import KeyedLock
from mvsep_async.errors import InvalidRequestError, MVSepError
from mvsep_async.jobs.job import Job
from mvsep_async.mcp.folders import AllowedFolders
from mvsep_async.mcp.results import (
    AlgorithmDetails,
    AlgorithmSummary,
    EstimateResult,
    JobResult,
    SongList,
    SongPrice,
    describe,
    job_result,
)
from mvsep_async.mcp.spending import CreditLimit
from mvsep_async.models.output_format import OutputFormat

__all__ = ["Tools"]

_LISTED: Final = 500
"""Songs in one answer of `list_songs`: more would fill the context of an assistant."""

_WAIT: Final = 240.0
"""Seconds that `separate` waits by default: below the five minutes after which assistants give up on a tool."""


@define(eq=False)
class Tools:
    """The tools, over one client. Their docstrings are what the assistant reads."""

    client: MVSepClient
    folders: AllowedFolders
    limit: CreditLimit
    _locks: KeyedLock = field(factory=KeyedLock)

    async def list_songs(self, words: str = "") -> SongList:
        """List the songs in the folders that this server may use, by absolute path.

        words: list only songs whose path below its folder contains all of these words, without case.
        """
        wanted = words.casefold().split()

        def find() -> list[str]:
            songs = self.folders.all_songs()
            matching = (song.path for song in songs if all(word in song.name.casefold() for word in wanted))
            return list(islice(matching, _LISTED + 1))

        with _reported():
            found = await to_thread.run_sync(find)
        return SongList(found[:_LISTED], len(found) > _LISTED)

    async def search_algorithms(self, words: str = "", limit: int = 10) -> list[AlgorithmSummary]:
        """Search the separation algorithms; without words, return the recommended one for each purpose.

        words: what to separate, such as "karaoke", "drums", "male female" or a name; the best match is first.
        """
        with _reported():
            catalogue = await self.client.catalogue()
            if not words.strip():
                known = catalogue.names
                presets = [preset for preset in PRESETS.values() if preset.algorithm in known]
                return [AlgorithmSummary.of(catalogue.find(preset.algorithm), preset.about) for preset in presets]
            found = [one for one in catalogue.search(words) if one.needs is Needs.FILE and one.is_active]
            return [AlgorithmSummary.of(one) for one in found[: max(1, limit)]]

    async def describe_algorithm(self, algorithm: str | int) -> AlgorithmDetails:
        """Describe one algorithm with its options and their choices.

        algorithm: its number (sep_type) or its name.
        """
        with _reported():
            return AlgorithmDetails.of((await self.client.catalogue()).find(algorithm))

    async def estimate(
        self,
        songs: list[str],
        algorithm: str | int = "BS Roformer",
        options: dict[str, str | int | float] | None = None,
    ) -> EstimateResult:
        """Return what separating songs would cost in credits. Nothing is uploaded or paid.

        songs: paths of songs or folders. algorithm: a number (sep_type) or a name. options: name or label of an option
        to key or label of its choice, see describe_algorithm.
        """
        with _reported():
            paths = await to_thread.run_sync(lambda: [path for song in songs for path in self.folders.songs(song)])
            if not paths:
                raise InvalidRequestError("there are no songs in these folders: give others")
            found = await self.client.estimate(list(dict.fromkeys(paths)), algorithm, options)
            user = await self.client.account.user()
        return EstimateResult(
            algorithm=str(found.algorithm),
            songs=[SongPrice(str(one.path), round(one.seconds, 1), one.credits) for one in found.songs],
            credits=found.credits,
            account_credits=user.premium_minutes,
            account_is_premium=user.is_premium,
            credits_left_of_limit=self.limit.left,
            unreadable={str(path): why for path, why in found.unreadable},
        )

    async def separate(
        self,
        song: str,
        context: Context[Any, Any],
        algorithm: str | int = "BS Roformer",
        options: dict[str, str | int | float] | None = None,
        output_format: str = "mp3",
        stems: list[str] | None = None,
        out: str | None = None,
        wait_seconds: float = _WAIT,
        again: bool = False,
    ) -> JobResult:
        """Separate a song into stems, and return their files. This spends credits of the account.

        A song that was separated in the same way before is not paid again, so repeating a call is safe. If the song is
        not done after wait_seconds, the job continues: call download with the id in `job` later.

        song: its path. algorithm: a number (sep_type) or a name, see search_algorithms; "BS Roformer" gives vocals and
        accompaniment. options: see describe_algorithm. output_format: mp3, wav16, flac16, m4a, wav32 or flac24. stems:
        the stems to keep, by default all. out: the folder for the stems, by default `stems` below the allowed folder.
        again: separate and pay again even if it was done before.
        """
        with _reported():
            path = await to_thread.run_sync(self.folders.song, song)
            target = await to_thread.run_sync(self.folders.target, out, path)
            kind = OutputFormat.parse(output_format)
            catalogue = await self.client.catalogue()
            found = catalogue.find(algorithm)
            if found.needs is not Needs.FILE:
                raise InvalidRequestError(f"{found} does not take one song: choose another algorithm")
            # The keys of choices are texts, and look like numbers.
            texts = {name: str(value) for name, value in (options or {}).items()}
            chosen = catalogue.validate(found, texts)
            check_stems(found, chosen, stems)
            job = await self._submitted(path, found, chosen, kind, again=again)
            if not await _finished(job, wait_seconds, context):
                return await job_result(job)
            return await self._fetched(job, target, stems)

    async def status(self, job: str | None = None) -> list[JobResult]:
        """Return the state of one job, or of all jobs of this server.

        job: the id that separate returned.
        """
        with _reported():
            return [await job_result(one) for one in ([await self._job(job)] if job else self.client.jobs())]

    async def download(
        self,
        job: str,
        context: Context[Any, Any],
        stems: list[str] | None = None,
        out: str | None = None,
        wait_seconds: float = _WAIT,
    ) -> JobResult:
        """Download the stems of a job, and wait for it if it is not done. This costs nothing.

        job: the id that separate returned. stems: the stems to keep, by default all. out: the folder for the stems.
        """
        with _reported():
            found = await self._job(job)
            target = await to_thread.run_sync(self.folders.target, out, Path(str(found.source)))
            if not await _finished(found, wait_seconds, context):
                return await job_result(found)
            return await self._fetched(found, target, stems)

    async def cancel(self, job: str) -> JobResult:
        """Cancel a job. Its credits are refunded if the service has not begun to process it.

        job: the id that separate returned.
        """
        with _reported():
            found = await self._job(job)
            if not await found.cancel():
                raise InvalidRequestError(f"job {job} is over or could not be stopped: {describe(found.progress)}")
            return await job_result(found)

    async def _submitted(
        self, path: Path, algorithm: Algorithm, options: dict[str, str], kind: OutputFormat, *, again: bool
    ) -> Job:
        """Return the job of a song: the one there is, or a new one for which credits are reserved."""
        try:
            content = await read_content(path)
        except OSError as error:
            raise InvalidRequestError(f"{path} cannot be read: {error.strerror or error}") from None
        identity = [content.digest, algorithm.sep_type, sorted(options.items()), kind.value]
        key = f"mcp-{blake2b(json.dumps(identity).encode(), digest_size=15).hexdigest()}"
        async with self._locks.for_key(key):  # two calls for one song reserve its credits once
            known = await self.client.find(key=key)
            if known is not None and (not known.done() or (known.error is None and not again)):
                return known
            with self.limit.reserve(await self._price(path, algorithm, options), path.name) as reservation:
                if known is not None:
                    await self.client.prune([known])  # it has the key
                # A submit that fails or is cancelled leaves no job, so that the block may release the credits.
                reservation.job = await self.client.submit(
                    path,
                    algorithm=algorithm,
                    options=options,
                    output_format=kind,
                    key=key,
                    metadata={"song": path.name},
                )
                return reservation.job

    async def _price(self, path: Path, algorithm: Algorithm, options: dict[str, str]) -> int:
        """Return the credits that a song costs this account; raises `InvalidRequestError` for an unknown length."""
        if not (await self.client.account.user()).is_premium:
            return 0
        estimate = await self.client.estimate(path, algorithm, options)
        for _, reason in estimate.unreadable:
            raise InvalidRequestError(f"{path.name} {reason}: without its length, its price is not known")
        return estimate.credits

    async def _fetched(self, job: Job, target: Path, stems: list[str] | None) -> JobResult:
        if job.error is not None:
            raise job.error
        paths = await job.download(target, stems=stems, layout="{stem}")
        return await job_result(job, [str(path) for path in paths])

    async def _job(self, id: str) -> Job:
        found = await self.client.find(id=id)
        if found is None:
            raise InvalidRequestError(f"there is no job {id!r}: status lists the jobs")
        return found


async def _finished(job: Job, seconds: float, context: Context[Any, Any]) -> bool:
    """Wait for a job with progress notifications; return whether it is over after `seconds`."""
    shown = -1.0
    with anyio.move_on_after(max(0.0, seconds)):
        async for progress in job:
            percent = 100 * (progress.fraction or 0.0)
            shown = max(percent, shown + 0.001)  # the protocol requires that it increases
            await context.report_progress(shown, 100.0, describe(progress))
    return job.done()


@contextmanager
def _reported() -> Iterator[None]:
    """Turn an error that the assistant or its user can act on into one line for the assistant."""
    try:
        yield
    except MVSepError as error:
        raise ToolError(" ".join(str(error).split())) from None
    except OSError as error:
        raise ToolError(f"{error.filename or 'a file'}: {error.strerror or error}") from None
