"""Never run, only type-checked: what a caller's editor and type checker know of the public API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import BinaryIO, assert_type

import httpx

from mvsep_async import (
    Algorithm,
    Catalogue,
    DailyLimitError,
    Job,
    JobTimeoutError,
    MVSepClient,
    MVSepError,
    OutputFile,
    OutputFormat,
    Pair,
    Preset,
    Progress,
    Separation,
    Stage,
    SubmissionUnknownError,
)
from mvsep_async.models import Created, CreditAlert, DatasetType, FreeSeparations, Message, Purchase


async def a_song(client: MVSepClient) -> None:
    job = await client.submit("song.flac", algorithm=40, options={"add_opt1": "81"}, output_format=OutputFormat.FLAC_16)
    assert_type(job, Job)
    async for progress in job:
        assert_type(progress, Progress)
        assert_type(progress.stage, Stage)
        assert_type(progress.fraction, float | None)
        assert_type(progress.bytes_sent, int | None)
        assert_type(progress.message, str | None)
    assert_type(await job, Separation)
    assert_type(await job.wait(timeout=5), Separation)
    assert_type(await job.download(Path("stems"), stems=["Vocals"], layout="{stem}", overwrite=True), list[Path])
    assert_type(await job.download("stems", mirror=True), list[Path])
    assert_type(await job.cancel(), bool)
    assert_type(await job.delete(), bool)
    assert_type(job.id, str)
    assert_type(job.hash, str | None)
    assert_type(job.stage, Stage)
    assert_type(job.progress, Progress)
    assert_type(job.error, MVSepError | None)
    assert_type(job.paths, tuple[Path, ...])
    assert_type(job.done(), bool)


async def sources(client: MVSepClient, stream: AsyncIterator[bytes]) -> None:
    await client.submit(Path("song.flac"), algorithm="BS Roformer")
    await client.submit("https://host/song.flac", algorithm=40, remote_type="direct", on_unknown="resubmit")
    await client.submit(b"RIFF", filename="song.wav", group="user", priority=3, key="k", metadata={"a": [1, None]})
    await client.submit(stream, filename="song.wav", webhook_url="https://host/hook", demo=True)
    await client.submit(Pair("a.wav", Path("b.wav")), algorithm=68)
    await client.submit(None, algorithm=62)
    await client.submit("song.flac", algorithm=Preset("mine", 40, {"add_opt1": "81"}), anyway=True)
    await client.submit(5)  # type: ignore[arg-type]
    await client.submit("song.flac", remote_type="ftp")  # type: ignore[arg-type]
    await client.submit("song.flac", on_unknown="perhaps")  # type: ignore[arg-type]
    await client.submit("song.flac", 40)  # type: ignore[call-arg]


async def all_at_once(client: MVSepClient, songs: list[Path], more: AsyncIterator[str]) -> None:
    assert_type(await client.separate("song.flac", "stems", algorithm=40, stems=["Vocals"]), list[Path])
    async for job in client.map(songs, directory="stems", algorithm=40):
        assert_type(job, Job)
    async for job in client.map(more, algorithm=40):
        assert_type(job, Job)
    stream = client.map(songs, algorithm=40)
    assert_type(await anext(stream), Job)
    await stream.aclose()
    await client.separate("song.flac", "stems", algoritm=40)  # type: ignore[call-arg]
    client.map(songs, directory=5)  # type: ignore[arg-type]


async def what_is_known(client: MVSepClient) -> None:
    assert_type(client.attach("hash", host="https://de.mvsep.com"), Job)
    assert_type(client.jobs(), list[Job])
    assert_type(await client.prune(), int)
    catalogue = await client.catalogue()
    assert_type(catalogue, Catalogue)
    assert_type(catalogue.find("BS Roformer"), Algorithm)
    assert_type(catalogue.validate(40, {"add_opt1": "81"}), dict[str, str])
    assert_type(catalogue.credits(40, None, 180.0), int)


async def endpoints(client: MVSepClient, opened: BinaryIO) -> None:
    for song in ("song.flac", Path("song.flac"), opened, ("song.flac", b"RIFF"), ("song.flac", opened)):
        created = await client.separations.create(files=song, sep_type=40, host="https://de.mvsep.com")
        assert_type(created, Created)
    await client.separations.create(files={"target_audiofile": "a.wav", "reference_audiofile": ("b.wav", b"RIFF")})
    await client.separations.create(files=5)  # type: ignore[arg-type]
    assert_type(await client.separations.delete("hash", host="https://de.mvsep.com"), Message)
    assert_type(await client.account.purchases(limit=5), list[Purchase])
    assert_type(await client.account.credit_alert(), CreditAlert)
    assert_type(await client.account.set_credit_alert(10), Message)
    queue = await client.site.queue()
    assert_type(queue.free_separations, FreeSeparations | None)
    board = await client.quality.leaderboard(DatasetType.PIANO)
    assert_type(board.sortables, tuple[str, ...])


async def results(separation: Separation) -> None:
    assert_type(separation.hash, str)
    assert_type(separation.files, tuple[OutputFile, ...])
    assert_type([file.url for file in separation.files], list[str])
    assert_type([file.stem for file in separation.files], list[str])
    assert_type([file.bytes for file in separation.files], list[int | None])
    extra: Mapping[str, object] = separation.extra
    assert extra is not None


async def settings() -> None:
    async with MVSepClient() as client:
        assert_type(client, MVSepClient)
    MVSepClient(
        "token",
        base_url="https://mvsep.com",
        concurrency=3,
        journal=Path("jobs.db"),
        requests_per_minute=60,
        poll_interval=2.0,
        timeout=httpx.Timeout(5.0),
        patience=60,
        http=httpx.AsyncClient(),
    )
    MVSepClient(region="de")


def errors(error: Exception) -> None:
    if isinstance(error, JobTimeoutError):
        timeout: TimeoutError = error
        assert_type(error.hash, str | None)
        assert timeout is error
    if isinstance(error, DailyLimitError):
        assert_type(error.retry_after, float)
    if isinstance(error, SubmissionUnknownError):
        assert_type(error.found, tuple[str, ...])
    if isinstance(error, MVSepError):
        assert_type(error.message, str)
        assert_type(error.job, str | None)
