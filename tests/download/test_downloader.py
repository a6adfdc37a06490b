"""The downloader with a fake service: what is queued, planned, retried, renewed and recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest

from mvsep_async.download.downloader import FILES_AT_ONCE, Downloader
from mvsep_async.download.part_file import PartFile
from mvsep_async.download.ranges import ResumeState, identity
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import DownloadError, JournalError, MVSepError
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.journal import Journal
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import JobRequest, JobSettings, Target, new_id
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.models.separation import OutputFile, Separation

HASH = "20230327071601-0e3e5c6c85-song.mp3"


def audio(name: str) -> bytes:
    return b"ID3" + name.encode().ljust(1000, b"\1")


class Body(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> Any:
        yield self.data


class FakeService(httpx.AsyncBaseTransport):
    """Serves files by name and, as `SeparationsAPI`, their links. `respond` may answer in their place."""

    def __init__(self) -> None:
        self.requested: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.respond: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self.renewed: list[OutputFile] | None = None
        self.kinds: Iterator[JobKind] = iter(())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requested.append(request.url.path)
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        await anyio.sleep(0)
        self.in_flight -= 1
        return self.respond(request) or httpx.Response(200, stream=Body(audio(request.url.path)))

    async def get(
        self, hash: str, *, before_last: Callable[[], Awaitable[None]] | None = None, **_: object
    ) -> JobStatus:
        if before_last is not None:
            await before_last()
        kind = JobKind.NOT_FOUND if self.renewed is None else next(self.kinds, JobKind.DONE)
        separation = Separation(hash=hash, files=tuple(self.renewed or ())) if kind is JobKind.DONE else None
        return JobStatus(kind=kind, status=kind.value, hash=hash, separation=separation)


class Time:
    """A clock that only sleeping advances."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await anyio.sleep(0)


class Fixture:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service, self.time, self.events = FakeService(), Time(), list[object]()
        self.registry = JobRegistry(Journal(), self.events.append)
        self.downloader = Downloader(
            self.registry,
            httpx.AsyncClient(transport=self.service),
            cast("SeparationsAPI", self.service),
            patience=60.0,
            clock=self.time.clock,
            sleep=self.time.sleep,
        )

    def job(self, *stems: str, target: Target | None = None, state: JobState = JobState.DONE) -> JobEntry:
        files = tuple(OutputFile(url=f"https://files.test/{stem}", name=f"{stem}.mp3", stem=stem) for stem in stems)
        request = JobRequest(new_id(), "music/song.wav", JobSettings(), target=target)
        return self.registry.add_unrecorded(
            request, state, Facts(hash=HASH, separation=Separation(hash=HASH, files=files))
        )

    def target(self, **more: Any) -> Target:
        return Target(str(self.folder), **more)

    async def run_until(self, done: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.downloader.run)
                while not done():
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()


@pytest.fixture
def fake(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path / "stems")


async def test_a_job_that_is_taken_over_while_its_download_waits_for_its_turn_is_not_downloaded(fake: Fixture) -> None:
    job, taken = fake.job("Vocals"), list[str]()

    async def confirm(job: str) -> None:
        if taken:
            raise JournalError(f"job {job} was taken over by another process")

    def respond(request: httpx.Request) -> None:
        fake.downloader.give_up(job)
        taken.append(job.id)

    fake.downloader.confirm, fake.service.respond = confirm, respond
    errors: list[JournalError] = []

    async def download() -> None:
        try:
            await fake.downloader.download(job, fake.target())
        except JournalError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(download)
        tasks.start_soon(download)
    assert len(errors) == 2
    assert len(fake.service.requested) == 1


async def test_the_results_of_a_job_are_downloaded_and_recorded(fake: Fixture) -> None:
    job = fake.job("Vocals", "Other")
    paths = await fake.downloader.download(job, fake.target())
    assert paths == [fake.folder / "song" / "Vocals.mp3", fake.folder / "song" / "Other.mp3"]
    assert [path.read_bytes() for path in paths] == [audio("/Vocals"), audio("/Other")]
    assert job.state is JobState.FINISHED
    assert list(job.facts.paths) == paths
    assert dict(job.facts.planned) == dict(zip(("Vocals.mp3", "Other.mp3"), paths, strict=True))
    assert {type(event).__name__ for event in fake.events} == {"Downloaded"}


async def test_queued_jobs_are_downloaded_to_their_targets(fake: Fixture) -> None:
    jobs = [fake.job("Vocals", target=fake.target(layout=f"{number}/{{stem}}")) for number in range(9)]
    for job in jobs:
        fake.downloader.put(job)
    await fake.run_until(lambda: all(job.done() for job in jobs))
    assert [job.facts.paths[0].parent.name for job in jobs] == [str(number) for number in range(9)]


async def test_a_queued_job_that_cannot_be_downloaded_fails_and_the_next_ones_continue(fake: Fixture) -> None:
    fake.service.respond = lambda request: httpx.Response(400) if request.url.path == "/bad" else None
    bad, good = fake.job("bad", target=fake.target()), fake.job("good", target=fake.target())
    for job in (bad, good):
        fake.downloader.put(job)
    await fake.run_until(lambda: bad.done() and good.done())
    assert (bad.state, good.state) == (JobState.FAILED, JobState.FINISHED)
    assert isinstance(bad.facts.error, DownloadError)
    assert bad.facts.error.job == bad.id


async def test_if_one_file_fails_the_others_are_downloaded_and_kept(fake: Fixture) -> None:
    fake.service.respond = lambda request: httpx.Response(400) if request.url.path == "/Bass" else None
    job = fake.job("Vocals", "Bass", "Other")
    with pytest.raises(DownloadError, match="Bass") as caught:
        await fake.downloader.download(job, fake.target())
    assert f"`mvsep-async download {HASH}`" in str(caught.value)
    assert job.state is JobState.DONE
    assert sorted(path.name for path in job.facts.paths) == ["Other.mp3", "Vocals.mp3"]
    fake.service.requested.clear()
    fake.service.respond = lambda request: None
    await fake.downloader.download(job, fake.target())
    assert fake.service.requested == ["/Bass"]


async def test_pauses_double_by_the_injected_clock_until_patience_ends(fake: Fixture) -> None:
    fake.service.respond = lambda request: httpx.Response(503)
    with pytest.raises(DownloadError, match="the server answered 503"):
        await fake.downloader.download(fake.job("Vocals"), fake.target())
    assert 60 < fake.time.now < 120
    assert fake.time.pauses[0] == 0
    assert fake.time.pauses[1:5] == sorted(fake.time.pauses[1:5])
    assert {type(event).__name__ for event in fake.events} == {"Retried"}


async def test_a_file_that_waits_for_a_retry_keeps_no_other_from_its_turn(fake: Fixture) -> None:
    """Eight files of one job fail again and again; the file of another job is downloaded all the same."""
    stuck = fake.job(*(f"stuck{number}" for number in range(FILES_AT_ONCE)))

    async def sleep(seconds: float) -> None:
        fake.time.pauses.append(seconds)
        await anyio.sleep_forever()

    fake.downloader.sleep = sleep
    fake.service.respond = lambda request: httpx.Response(503) if "stuck" in request.url.path else None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fake.downloader.download, stuck, fake.target())
        while len(fake.time.pauses) < FILES_AT_ONCE:
            await anyio.sleep(0.001)
        with anyio.fail_after(60):
            (path,) = await fake.downloader.download(fake.job("Vocals"), fake.target())
        tasks.cancel_scope.cancel()
    assert path.read_bytes() == audio("/Vocals")


async def test_a_cancelled_download_gives_its_slots_back(fake: Fixture) -> None:
    for _ in range(3):
        with anyio.CancelScope() as scope:

            async def sleep(seconds: float, scope: anyio.CancelScope = scope) -> None:
                scope.cancel()
                await anyio.sleep_forever()

            fake.downloader.sleep = sleep
            fake.service.respond = lambda request: httpx.Response(503)
            await fake.downloader.download(fake.job(*"abcdefghij"), fake.target())
    fake.service.respond = lambda request: None
    with anyio.fail_after(60):
        await fake.downloader.download(fake.job(*"abcdefghij"), fake.target())


async def test_an_expired_link_is_renewed_and_one_that_is_gone_is_an_error(fake: Fixture) -> None:
    fake.service.respond = lambda request: httpx.Response(403) if "old" in request.url.path else None
    job = fake.job("old")
    with pytest.raises(DownloadError, match="no longer at the service"):
        await fake.downloader.download(job, fake.target())
    fake.service.renewed = [OutputFile(url="https://files.test/other", name="other.mp3", stem="other")]
    with pytest.raises(DownloadError, match="no longer at the service"):
        await fake.downloader.download(job, fake.target())
    fake.service.renewed = [OutputFile(url="https://files.test/new", name="old.mp3", stem="old")]
    (path,) = await fake.downloader.download(job, fake.target())
    assert path.read_bytes() == audio("/new")
    assert job.facts.separation is not None
    assert job.facts.separation.files[0].url == "https://files.test/new"


async def test_paths_of_an_unfinished_job_of_an_earlier_run_are_reserved(fake: Fixture) -> None:
    earlier, later = fake.job("Vocals"), fake.job("Vocals")
    planned = (("Vocals.mp3", fake.folder / "song" / "Vocals.mp3"),)
    fake.registry.refine(earlier, planned=planned)
    fake.downloader.reclaim(earlier)
    assert [path.name for path in await fake.downloader.download(later, fake.target())] == ["Vocals (2).mp3"]
    assert [path.name for path in await fake.downloader.download(earlier, fake.target())] == ["Vocals.mp3"]


async def test_a_path_that_is_taken_after_it_was_planned_is_replanned_and_recorded(fake: Fixture) -> None:
    job = fake.job("Vocals", "vocals")

    def take(request: httpx.Request) -> None:
        if request.url.path == "/Vocals":
            (fake.folder / "song" / "Vocals.mp3").write_text("theirs")

    fake.service.respond = take
    paths = await fake.downloader.download(job, fake.target())
    assert [path.name for path in paths] == ["Vocals (3).mp3", "vocals (2).mp3"]
    assert [path for _, path in job.facts.planned] == paths


async def test_names_fit_the_file_system(fake: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.pathconf", lambda path, name: 60, raising=False)
    (path,) = await fake.downloader.download(fake.job("x" * 150), fake.target(layout="{song}{song}{stem}/{stem}"))
    assert all(len(part) <= 60 - len(".part.json") for part in path.relative_to(fake.folder).parts)
    assert path.suffix == ".mp3"


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
async def test_a_queued_job_that_is_over_is_skipped(fake: Fixture, state: JobState) -> None:
    over, done = fake.job("a", target=fake.target(), state=state), fake.job("b", target=fake.target())
    fake.downloader.put(over)
    fake.downloader.put(done)
    await fake.run_until(done.done)
    assert fake.service.requested == ["/b"]


async def test_a_job_without_files_is_an_error(fake: Fixture) -> None:
    with pytest.raises(MVSepError, match="lists no files"):
        await fake.downloader.download(fake.job(), fake.target())


async def test_files_that_are_listed_late_are_asked_for_again(fake: Fixture) -> None:
    job, later = fake.job(), fake.job("Vocals")
    assert later.facts.separation is not None
    fake.service.renewed = list(later.facts.separation.files)
    (path,) = await fake.downloader.download(job, fake.target())
    assert path.read_bytes() == audio("/Vocals")


async def test_a_new_link_is_found_by_its_stem_if_the_file_was_renamed(fake: Fixture) -> None:
    fake.service.respond = lambda request: httpx.Response(403) if request.url.path == "/Vocals" else None
    fake.service.renewed = [OutputFile(url="https://files.test/renamed", name="renamed.mp3", stem="Vocals")]
    (path,) = await fake.downloader.download(fake.job("Vocals"), fake.target())
    assert path.read_bytes() == audio("/renamed")


async def test_a_finished_job_that_the_service_reports_as_waiting_is_waited_for(fake: Fixture) -> None:
    fake.service.respond = lambda request: None if request.url.path == "/new" else httpx.Response(403)
    fake.service.renewed = [OutputFile(url="https://files.test/new", name="Vocals.mp3", stem="Vocals")]
    fake.service.kinds = iter([JobKind.WAITING, JobKind.UNKNOWN])
    (path,) = await fake.downloader.download(fake.job("Vocals"), fake.target())
    assert path.read_bytes() == audio("/new")


async def test_no_credit_is_paid_for_the_mirror_once_another_process_has_the_job(fake: Fixture) -> None:
    confirmed: list[str] = []

    async def confirm(job: str) -> None:
        confirmed.append(job)
        if len(confirmed) > 1:
            raise JournalError("taken over")

    fake.downloader.confirm = confirm
    fake.service.renewed = [OutputFile(url="https://mirror.test/vocals", name="vocals.mp3", stem="vocals")]
    job = fake.job("vocals")
    with pytest.raises(JournalError, match="taken over"):
        await fake.downloader.download(job, fake.target(), mirror=True)
    assert confirmed == [job.id] * 2
    assert not fake.service.requested
    assert job.state is JobState.DONE


@pytest.mark.parametrize("name", ["Vocals", "Other"])
async def test_an_unfinished_file_of_a_process_that_lost_the_job_is_removed_by_the_next_download(
    fake: Fixture, name: str
) -> None:
    """Another process has taken the job over, and another name, since the first process was suspended."""
    job = fake.job("Vocals")
    left = fake.folder / "song" / "Vocals.mp3"
    taken = left.with_name("Vocals (2).mp3")
    fake.registry.refine(job, planned=(("Vocals.mp3", taken), ("Vocals.mp3", left)))
    unfinished = PartFile(fake.folder, left)
    unfinished.open()
    unfinished.begin(0, ResumeState(identity(f"https://files.test/{name}"), 2000, '"a"'))
    unfinished.write(audio("/Vocals")[:100])
    assert await fake.downloader.download(job, fake.target()) == [taken]
    assert left.with_name("Vocals.mp3.part").exists()  # it may still be written
    unfinished.keep()
    await fake.downloader.download(job, fake.target())
    others = [path.name for path in left.parent.iterdir() if path != taken]
    assert sorted(others) == ([] if name == "Vocals" else ["Vocals.mp3.part", "Vocals.mp3.part.json"])
