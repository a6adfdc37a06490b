from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from mvsep_async import InvalidRequestError
from mvsep_async.audio.tags import read_tags
from mvsep_async.catalogue.presets import find_preset
from mvsep_async.errors import AuthenticationError, JournalError
from mvsep_async.jobs.failures import FailureKind
from mvsep_async.library import EventKind, LibraryEvent, LibraryResult, separate_library
from mvsep_async.library.manifest import Manifest
from mvsep_async.recipes import Recipe, Step
from mvsep_async.sandbox import Sandbox
from tests.audio.songs import settle, write_plain_tags, write_song
from tests.conftest import STRANGER, NewClient

Separate = Callable[..., Any]


@pytest.fixture
def stems(tmp_path: Path) -> Path:
    return tmp_path / "Stems"


@pytest.fixture
def separate(sandbox: Sandbox, client_of: NewClient, music: Path, stems: Path) -> Separate:
    """`await separate(...)`: one run of a process of its own, with the journal that the command line has."""

    async def run(**arguments: Any) -> LibraryResult:
        hidden = stems / ".mvsep"
        journal = None
        if not arguments.get("dry_run"):
            hidden.mkdir(parents=True, exist_ok=True)
            journal = hidden / "journal.sqlite"
        async with client_of(sandbox, journal=journal) as client:
            return await separate_library(client, music, stems, **{"algorithms": 40, **arguments})

    return run


def made(stems: Path) -> set[str]:
    paths = (path.relative_to(stems) for path in stems.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.parts[0] != ".mvsep"}


def creates(sandbox: Sandbox) -> int:
    return sum(request.path == "/api/separation/create" for request in sandbox.requests)


async def test_a_library_is_mirrored_and_then_left_alone(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    for name in ("a/one.wav", "a/two.flac", "b/three.mp3", "four.ogg", "five.aiff"):
        write_song(music / name)
    result = await separate()
    assert result.complete
    assert (result.tally.songs, result.tally.separated, result.tally.up_to_date) == (5, 5, 0)
    songs = ("a/one", "a/two", "b/three", "four", "five")
    assert made(stems) == {f"{song}/{stem}.mp3" for song in songs for stem in ("Vocals", "Other")}
    before = len(sandbox.requests)
    again = await separate()
    assert (again.tally.separated, again.tally.up_to_date) == (0, 5)
    paths = Counter(request.path for request in sandbox.requests[before:])
    assert set(paths) == {"/api/app/user", "/api/app/algorithms"}, "no request for any finished song"


async def test_the_daily_limit_is_reported_and_the_run_continues_by_itself(
    client_of: NewClient, music: Path, stems: Path
) -> None:
    for number in range(3):
        write_song(music / f"{number}.wav", 0.1 + number / 10)
    events: list[LibraryEvent] = []
    async with Sandbox(stems="copy", job_seconds=0.0, free_per_day=2) as sandbox:

        def receive(event: LibraryEvent) -> None:
            events.append(event)
            if event.kind is EventKind.WAITING:
                sandbox.advance(86_400)

        async with client_of(sandbox, api_token=sandbox.free_token, poll_interval=0.002) as client:
            result = await separate_library(
                client, music, stems, algorithms=40, on_event=receive, report=stems / "report.html"
            )
        assert creates(sandbox) == 4, "one refused"
    (waiting,) = [event for event in events if event.kind is EventKind.WAITING]
    assert "songs done today: 2): the run continues by itself" in (waiting.message or "")
    assert (result.tally.separated, result.stopped) == (3, None)
    assert waiting.message
    assert waiting.message in (stems / "report.html").read_text("utf-8")


async def test_without_patience_the_daily_limit_ends_the_run(client_of: NewClient, music: Path, stems: Path) -> None:
    for number in range(12):
        write_song(music / f"{number}.wav", 0.1 + number / 10)
    async with Sandbox(stems="copy", job_seconds=0.0, free_per_day=2) as sandbox:
        async with client_of(sandbox, api_token=sandbox.free_token, patience=0) as client:
            result = await separate_library(client, music, stems, algorithms=40)
        assert creates(sandbox) == 3
    assert result.tally.separated == 2
    assert result.tally.separated + result.tally.failed + result.tally.skipped == 12
    assert "daily limit" in (result.stopped or "")
    assert {failure.kind for failure in result.failures} == {FailureKind.TEMPORARY}


async def test_changed_songs_and_settings_are_made_again(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    song = write_song(music / "one.wav")
    await separate()
    (stems / "one" / "mine.txt").write_text("notes")
    write_song(song, 0.3)
    assert (await separate()).tally.separated == 1
    assert made(stems) == {"one/Vocals.mp3", "one/Other.mp3", "one/mine.txt"}, "in the place of the old ones"
    assert (stems / "one" / "Vocals.mp3").read_bytes() == song.read_bytes()
    assert (await separate(algorithms=48)).tally.separated == 1
    assert (await separate(algorithms=48)).tally.up_to_date == 1
    assert creates(sandbox) == 3


async def test_an_edited_stem_is_its_owners_whatever_becomes_of_its_song(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    song = write_song(music / "one.flac", title="One")
    await separate()
    mine = stems / "one" / "Vocals.mp3"
    mine.write_bytes(mine.read_bytes() + b"mine")
    edited = mine.read_bytes()
    (stems / "one" / "Other.mp3").unlink()
    for arguments in ({}, {"copy_tags": True}):
        result = await separate(**arguments)
        assert mine.read_bytes() == edited, "not tagged either"
    assert [notice.path for notice in result.notices] == [mine]
    (stems / "one" / "Other.mp3").unlink()
    sandbox.delete(sandbox.jobs[0].hash)
    for _ in range(2):
        result = await separate()
        assert mine.read_bytes() == edited
        assert made(stems) == {"one/Vocals.mp3", "one/Vocals (2).mp3", "one/Other.mp3"}
        write_song(song, 0.3)


async def test_deleted_stems_are_fetched_again_without_paying(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    write_song(music / "one.wav")
    await separate()
    (stems / "one" / "Other.mp3").unlink()
    result = await separate()
    assert (result.tally.separated, result.tally.credits, creates(sandbox)) == (1, 0, 1)
    assert made(stems) == {"one/Vocals.mp3", "one/Other.mp3"}


async def test_deleted_stems_that_the_service_has_no_more_are_made_again(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    write_song(music / "one.wav")
    await separate()
    (stems / "one" / "Other.mp3").unlink()
    sandbox.delete(sandbox.jobs[0].hash)
    result = await separate()
    assert (result.tally.separated, creates(sandbox)) == (1, 2)
    assert made(stems) == {"one/Vocals.mp3", "one/Other.mp3"}


async def test_more_stems_are_fetched_when_they_are_wanted(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    write_song(music / "one.wav")
    await separate(stems=["Vocals"])
    assert made(stems) == {"one/Vocals.mp3"}
    await separate()
    assert made(stems) == {"one/Vocals.mp3", "one/Other.mp3"}
    assert creates(sandbox) == 1


async def test_several_ways_in_one_run(sandbox: Sandbox, separate: Separate, music: Path, stems: Path) -> None:
    write_song(music / "x" / "one.wav")
    result = await separate(algorithms=["BS Roformer", find_preset("karaoke"), 40])
    assert (result.tally.songs, result.tally.separated) == (1, 2), "the same way twice is one"
    assert made(stems) == {
        "x/one/BS Roformer/Vocals.mp3",
        "x/one/BS Roformer/Other.mp3",
        "x/one/MVSep Karaoke/Lead vocals.mp3",
        "x/one/MVSep Karaoke/Back vocals.mp3",
        "x/one/MVSep Karaoke/Instrumental only.mp3",
        "x/one/MVSep Karaoke/Back vocals + instrumental.mp3",
    }


async def test_a_layout_from_tags(separate: Separate, music: Path, stems: Path) -> None:
    tags = {"title": "So What", "artist": "Miles Davis", "album": "Kind of Blue"}
    write_song(music / "x.flac", **tags, tracknumber="1/5")
    write_song(music / "y.mp3", title="../../etc", artist="A/B")
    await separate(layout="{albumartist}/{album}/{track} {title}/{stem}.{ext}", stems=["Vocals"])
    assert made(stems) == {
        "Miles Davis/Kind of Blue/01 So What/Vocals.mp3",
        "A_B/Unknown album/_.._etc/Vocals.mp3",
    }


async def test_what_cannot_be_is_refused_before_anything_is_sent(
    sandbox: Sandbox, separate: Separate, music: Path
) -> None:
    write_song(music / "one.wav")
    for wrong in (
        {"layout": "{albm}/{stem}"},
        {"layout": "{song}/{stem}", "algorithms": [40, 48]},
        {"algorithms": "BS Roformr"},
        {"algorithms": []},
        {"algorithms": [40, 48], "options": {"add_opt1": "81"}},
        {"options": {"add_opt1": "no such choice"}},
        {"stems": ["Trumpet"]},
        {"order": "longest first"},
        {"algorithms": 68},
    ):
        with pytest.raises(InvalidRequestError):
            await separate(**wrong)
    assert not sandbox.jobs


async def test_two_songs_with_one_target_get_two_and_keep_them(separate: Separate, music: Path, stems: Path) -> None:
    for name in ("same.wav", "same.flac", "SAME.mp3"):
        write_song(music / name)
    result = await separate(stems=["Vocals"])
    assert made(stems) == {"SAME/Vocals.mp3", "same (2)/Vocals.mp3", "same (3)/Vocals.mp3"}
    assert {notice.path.name for notice in result.notices} == {"same.wav", "same.flac"}
    assert all("same target" in notice.reason for notice in result.notices)
    assert (stems / "SAME" / "Vocals.mp3").read_bytes() == (music / "SAME.mp3").read_bytes()
    write_song(music / "Same.aiff")
    await separate(stems=["Vocals"])
    assert (stems / "SAME" / "Vocals.mp3").read_bytes() == (music / "SAME.mp3").read_bytes()
    assert (stems / "Same (4)" / "Vocals.mp3").exists(), "the places of the others stay theirs"


async def test_patterns_choose_the_songs(separate: Separate, music: Path, stems: Path) -> None:
    for name in ("a/one.wav", "a/two.FLAC", "live/three.flac", "live/four.wav"):
        write_song(music / name)
    result = await separate(stems=["Vocals"], include="*.flac")
    assert made(stems) == {"a/two/Vocals.mp3", "live/three/Vocals.mp3"}
    result = await separate(stems=["Vocals"], exclude=["LIVE/*", "two.*"])
    assert (result.tally.songs, result.tally.separated) == (1, 1)
    assert "a/one/Vocals.mp3" in made(stems)


async def test_bad_files_are_reported_by_name_and_the_rest_continues(
    separate: Separate, music: Path, stems: Path
) -> None:
    (music / "text.mp3").write_text("hello")
    (music / "zero.flac").touch()
    write_song(music / "good.wav")
    write_song(music / "no extension")
    result = await separate(stems=["Vocals"])
    assert {notice.path.name for notice in result.notices} == {"text.mp3", "zero.flac"}
    assert not result.complete
    assert (await separate(stems=["Vocals"], exclude=["text.mp3", "zero.*"])).complete
    assert made(stems) == {"good/Vocals.mp3", "no extension/Vocals.mp3"}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs names that are no text")
async def test_names_that_are_no_text(separate: Separate, music: Path, stems: Path, tmp_path: Path) -> None:
    write_song(music / "x.wav").rename(music / os.fsdecode(b"caf\xe9.wav"))
    report = tmp_path / "report.html"
    assert (await separate(stems=["Vocals"], report=report)).complete
    assert made(stems) == {"caf\ufffd/Vocals.mp3"}
    assert "caf\ufffd.wav" in report.read_text("utf-8")
    assert (await separate(stems=["Vocals"])).tally.up_to_date == 1


async def test_a_target_inside_the_source(sandbox: Sandbox, client_of: NewClient, music: Path) -> None:
    write_song(music / "one.wav")
    async with client_of(sandbox) as client:
        for made_now in (1, 0):
            result = await separate_library(client, music, music / "Stems", algorithms=40)
            assert (result.tally.songs, result.tally.separated) == (1, made_now)


async def test_a_song_that_vanishes_while_it_waits(
    held: Sandbox, client_of: NewClient, music: Path, stems: Path
) -> None:
    for name in ("a.wav", "b.wav"):
        write_song(music / name)

    def vanish(event: LibraryEvent) -> None:
        if event.kind is EventKind.PROGRESS and event.job is not None and event.job.hash and (music / "b.wav").exists():
            (music / "b.wav").unlink()
            held.finish(event.job.hash)

    async with client_of(held, concurrency=1) as client:
        result = await separate_library(client, music, stems, algorithms=40, on_event=vanish)
    assert [(failure.path.name, failure.method) for failure in result.failures] == [("b.wav", "BS Roformer")]
    assert result.tally.separated == 1


async def test_what_is_ahead_is_counted_though_songs_are_planned_as_there_is_room(
    held: Sandbox, client_of: NewClient, music: Path, stems: Path
) -> None:
    for number in range(12):
        write_song(music / f"{number:02}.wav")
    events: list[LibraryEvent] = []

    def note(event: LibraryEvent) -> None:
        events.append(event)
        if event.kind is EventKind.COUNTED:
            tasks.cancel_scope.cancel()

    async with client_of(held, concurrency=1) as client, anyio.create_task_group() as tasks:
        await separate_library(client, music, stems, algorithms=[40, 48], on_event=note)
    assert (events[-1].kind, events[-1].tally.total) == (EventKind.COUNTED, 24)
    assert events[-1].tally.found < 24
    assert EventKind.WALKED not in {event.kind for event in events}


async def test_songs_that_are_done_meanwhile_count_as_ahead_and_those_done_before_do_not(
    separate: Separate, music: Path, stems: Path
) -> None:
    write_song(music / "before.wav")
    await separate()
    for number in range(30):
        write_song(music / f"{number:02}.wav")
    ahead: set[int | None] = set()
    await separate(on_event=lambda event: ahead.add(event.tally.total))
    assert ahead == {None, 30}


async def test_a_manifest_that_breaks_ends_it_with_its_own_error(
    sandbox: Sandbox, client_of: NewClient, music: Path, stems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_song(music / "one.wav")

    def broken(manifest: Manifest, source: str, method: str) -> None:
        raise JournalError("the manifest cannot be used: disk I/O error")

    monkeypatch.setattr(Manifest, "song", broken)
    async with client_of(sandbox) as client:
        with pytest.raises(JournalError, match="disk I/O error"):
            await separate_library(client, music, stems, algorithms=40)


async def test_failures_are_repeated_once_at_the_end(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    write_song(music / "sandbox-fail.wav")
    write_song(music / "good.wav")
    events: list[LibraryEvent] = []
    result = await separate(on_event=events.append)
    assert [(failure.path.name, str(failure.error).partition(":")[0]) for failure in result.failures] == [
        ("sandbox-fail.wav", "the separation failed")
    ]
    assert (result.tally.separated, result.tally.failed, result.complete) == (1, 1, False)
    assert result.tally.seconds == pytest.approx(0.2), "failed tries do not count"
    assert result.tally.credits == 1
    order = [event.kind for event in events if event.kind is not EventKind.PROGRESS]
    assert order.count(EventKind.RETRYING) == 1
    assert order.index(EventKind.SEPARATED) < order.index(EventKind.RETRYING)
    assert creates(sandbox) == 3
    sandbox.fail_names = ()
    again = await separate()
    assert creates(sandbox) == 3, "nothing is paid for it again unasked"
    assert (again.tally.failed, again.tally.failed_before, again.complete) == (0, 1, False)
    assert [(failure.path.name, failure.kind) for failure in again.failures] == [
        ("sandbox-fail.wav", FailureKind.ON_REQUEST)
    ]
    assert (await separate(retry_failed=True)).complete
    assert creates(sandbox) == 4
    assert (await separate()).tally.up_to_date == 2


async def test_credits_end_where_the_limit_is(sandbox: Sandbox, separate: Separate, music: Path) -> None:
    for number in range(5):
        write_song(music / f"{number}.wav", 1)
    (music / "2 broken.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    settle(music / "2 broken.wav")
    before = sandbox.minutes(sandbox.premium_token)
    result = await separate(max_credits=3)
    assert (result.tally.separated, result.tally.skipped) == (3, 3)
    assert result.stopped is not None
    assert "limit of 3 credits" in result.stopped
    assert before - sandbox.minutes(sandbox.premium_token) == 3
    assert any("has an unknown length" in notice.reason for notice in result.notices)
    assert not result.complete


async def test_the_shortest_come_first(held: Sandbox, client_of: NewClient, music: Path, stems: Path) -> None:
    for name, seconds in (("a", 3), ("b", 1), ("c", 2)):
        write_song(music / f"{name}.wav", seconds)

    def go_on(event: LibraryEvent) -> None:
        if event.job is not None and event.job.hash and not event.job.done():
            held.finish(event.job.hash)

    async with client_of(held, concurrency=1) as client:
        await separate_library(client, music, stems, algorithms=40, order="shortest-first", on_event=go_on)
    assert [job.hash.rpartition("-")[2] for job in held.jobs] == ["b.wav", "c.wav", "a.wav"]


async def test_a_dry_run_counts_and_touches_nothing(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    write_song(music / "a.wav", 130)
    write_song(music / "b.flac", 10)
    (music / "bad.mp3").write_text("no")
    result = await separate(dry_run=True, algorithms=[40, 26])
    assert result.dry_run
    assert (result.tally.songs, result.tally.planned, result.tally.seconds) == (2, 4, 280.0)
    assert result.tally.credits == 2 + 1 + 4 + 1, "the ensemble costs twice as much, each song at least one"
    assert result.credits_left == sandbox.minutes(sandbox.premium_token)
    assert [notice.path.name for notice in result.notices] == ["bad.mp3"]
    assert not sandbox.jobs
    assert not stems.exists()


async def test_tags_and_cover_go_to_the_stems(separate: Separate, music: Path, stems: Path) -> None:
    song = write_song(music / "a.flac")
    write_plain_tags(song, title="So What", album="Kind of Blue", cover=True)
    await separate()
    result = await separate(copy_tags=True)
    assert (result.tally.up_to_date, result.tally.separated) == (1, 0), "no song is separated for its tags"
    for stem in ("Vocals", "Other"):
        tags = read_tags(str(stems / "a" / f"{stem}.mp3"), "flac", cover=True)
        assert tags.get("title") == f"So What ({stem})"
        assert tags.get("album") == "Kind of Blue"
        assert tags.cover is not None
    assert (await separate(copy_tags=True)).notices == ()


async def test_the_report_is_one_page_with_everything(
    separate: Separate, music: Path, stems: Path, tmp_path: Path
) -> None:
    write_song(music / "a & <b>" / "so#1?.wav")
    write_song(music / "sandbox-fail.wav")
    (music / "text.mp3").write_text("hello")
    report = tmp_path / "out" / "report.html"
    result = await separate(report=report)
    page = report.read_text("utf-8")
    assert result.report == report
    assert "so#1?" in page
    assert "a &amp; &lt;b&gt;" in page
    assert 'href="../Stems/a' not in page
    vocals = "./../Stems/a%20%26%20_b_/so%231_/Vocals.mp3"
    assert f'<a href="{vocals}">Vocals</a><audio controls preload="none" src="{vocals}"></audio>' in page
    assert page.count("<audio ") == 2, "one for each stem of the song that was separated"
    assert "sandbox-fail.wav" in page
    assert "text.mp3" in page
    assert page.count("<rect ") >= 3
    assert "://" not in page
    script = page[page.index("<script>") + 8 : page.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = " ".join(page[page.index("default-src") :].split('"')[0].split())
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; media-src 'self' file:; script-src 'sha256-{digest}'"
    )


async def test_two_algorithms_of_a_song_are_under_each_other_in_the_report(
    separate: Separate, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_song(music / f"{name}.wav")
    report = tmp_path / "report.html"
    await separate(algorithms=[40, 48], report=report)
    page = report.read_text("utf-8")
    assert page.count('<div class="method">BS Roformer</div>') == 2
    assert page.count('<div class="method">MelBand Roformer</div>') == 2
    assert page.count("<audio ") == 8
    monkeypatch.setattr("mvsep_async.library.report._PLAYERS", 5)
    await separate(algorithms=[40, 48], report=report)
    page = report.read_text("utf-8")
    assert (page.count("<audio "), page.count("/Vocals.mp3")) == (4, 6), "the others are links alone"


async def test_a_recipe_for_a_whole_library(sandbox: Sandbox, separate: Separate, music: Path, stems: Path) -> None:
    write_song(music / "x" / "one.wav")
    chain = Recipe(
        name="lead",
        steps=[
            Step(name="voice", algorithm=40, keep=[]),
            Step(name="lead", algorithm=49, input="voice.Vocals", keep=["Lead vocals"]),
        ],
    )
    result = await separate(algorithms=chain)
    assert result.complete
    assert made(stems) == {"x/one/Lead vocals.mp3"}
    assert (creates(sandbox), result.tally.credits) == (2, 2)
    assert (await separate(algorithms=chain)).tally.up_to_date == 1


async def test_a_bad_token_ends_it(sandbox: Sandbox, client_of: NewClient, music: Path, stems: Path) -> None:
    write_song(music / "one.wav")
    async with client_of(sandbox, api_token=STRANGER) as client:
        with pytest.raises(AuthenticationError):
            await separate_library(client, music, stems, algorithms=40)


async def test_the_walk_waits_for_the_slots(held: Sandbox, client_of: NewClient, music: Path, stems: Path) -> None:
    for number in range(60):
        write_song(music / f"{number:02}.wav", 0.05)
    began = 0
    submitted = anyio.Event()

    def watch(event: LibraryEvent) -> None:
        nonlocal began
        began += event.kind is EventKind.STARTED
        if event.job is not None and event.job.hash:
            submitted.set()

    async with client_of(held, concurrency=2) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: separate_library(client, music, stems, algorithms=40, on_event=watch))
        await submitted.wait()
        for _ in range(20):
            await client.account.user()
        assert began <= 2 + 4
        tasks.cancel_scope.cancel()
    assert len(held.jobs) <= 2


async def test_jobs_of_done_songs_leave_the_journal(
    sandbox: Sandbox, client_of: NewClient, music: Path, stems: Path, tmp_path: Path
) -> None:
    write_song(music / "one.wav")
    async with client_of(sandbox, journal=tmp_path / "j.sqlite") as client:
        await separate_library(client, music, stems, algorithms=40)
        assert client.jobs() == []


async def test_a_run_that_is_stopped_continues(
    held: Sandbox, client_of: NewClient, music: Path, stems: Path, tmp_path: Path
) -> None:
    for name in ("a.wav", "b.wav"):
        write_song(music / name)
    journal = tmp_path / "j.sqlite"
    accepted = anyio.Event()

    def watch(event: LibraryEvent) -> None:
        if len(held.jobs) == 2 and event.job is not None and event.job.hash:
            accepted.set()

    async with client_of(held, journal=journal) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: separate_library(client, music, stems, algorithms=40, on_event=watch))
        await accepted.wait()
        tasks.cancel_scope.cancel()
    for job in held.jobs:
        held.finish(job.hash)
    held.manual = False
    async with client_of(held, journal=journal) as client:
        result = await separate_library(client, music, stems, algorithms=40, max_credits=0)
    assert result.complete, "what was paid before counts for nothing under a limit"
    assert len(held.jobs) == 2


async def test_songs_are_sent_while_the_stems_of_others_are_downloaded(
    sandbox: Sandbox, client_of: NewClient, music: Path, stems: Path
) -> None:
    for number in range(9):
        write_song(music / f"{number}.wav", 0.1 + number / 100)
    sandbox.faults.add(kind="stall", path="/storage/*", count=None, seconds=3600.0)
    async with client_of(sandbox, concurrency=1) as client, anyio.create_task_group() as tasks:

        async def run() -> None:
            await separate_library(client, music, stems, algorithms=40)

        tasks.start_soon(run)
        while creates(sandbox) < 9:  # beyond the slot and the four songs that are started ahead
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
