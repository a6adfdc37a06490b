"""The same song is the same song: renamed, moved, copied, touched or retagged, it is paid once and its stems follow."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mvsep_async.library import EventKind, LibraryEvent, LibraryResult, separate_library
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.run import MANIFEST
from mvsep_async.library.stems import StemStore
from mvsep_async.sandbox import Sandbox
from tests.audio.songs import settle, write_plain_tags, write_song
from tests.conftest import NewClient
from tests.library.test_run import creates, made

Separate = Callable[..., Any]


@pytest.fixture
def stems(tmp_path: Path) -> Path:
    return tmp_path / "Stems"


@pytest.fixture
def separate(sandbox: Sandbox, client_of: NewClient, music: Path, stems: Path) -> Separate:
    async def run(source: Path = music, **arguments: Any) -> LibraryResult:
        async with client_of(sandbox) as client:
            return await separate_library(client, source, stems, **{"algorithms": 40, "stems": ["Vocals"], **arguments})

    return run


def vocals(stems: Path, song: str) -> bytes:
    return (stems / song / "Vocals.mp3").read_bytes()


def touch(music: Path) -> None:
    for path in music.rglob("*.wav"):
        os.utime(path, ns=(1, 1))


def shift_by_an_hour(music: Path) -> None:
    for path in music.rglob("*.wav"):
        os.utime(path, ns=(path.stat().st_mtime_ns + 3600 * 10**9,) * 2)


def retag(music: Path) -> None:
    write_plain_tags(music / "a" / "one.wav", title="Another title", cover=True)
    settle(music / "a" / "one.wav")


@pytest.mark.parametrize("change", [touch, shift_by_an_hour, retag])
async def test_what_changes_no_audio_is_not_paid_again(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path, change: Callable[[Path], None]
) -> None:
    write_song(music / "a" / "one.wav")
    write_song(music / "two.wav")
    await separate()
    change(music)
    assert (await separate(dry_run=True)).tally.planned == 0
    result = await separate()
    assert (result.tally.up_to_date, result.tally.separated, creates(sandbox)) == (2, 0, 2)
    assert made(stems) == {"a/one/Vocals.mp3", "two/Vocals.mp3"}
    assert (await separate()).tally.followed == 0, "the next run knows them by name, size and time"


async def test_a_renamed_folder_takes_its_stems_along(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    for name in ("one", "two"):
        write_song(music / "Album" / f"{name}.wav")
    await separate()
    before = vocals(stems, "Album/one")
    (music / "Album").rename(music / "Album (1970)")
    events: list[LibraryEvent] = []
    plan = await separate(dry_run=True)
    assert (plan.tally.planned, plan.tally.followed) == (0, 2)
    assert made(stems) == {"Album/one/Vocals.mp3", "Album/two/Vocals.mp3"}, "a dry run moves nothing"
    result = await separate(on_event=events.append)
    assert (result.tally.separated, result.tally.followed, result.tally.credits, creates(sandbox)) == (0, 2, 0, 2)
    assert made(stems) == {"Album (1970)/one/Vocals.mp3", "Album (1970)/two/Vocals.mp3"}
    assert vocals(stems, "Album (1970)/one") == before
    assert not (stems / "Album").exists()
    followed = [event for event in events if event.kind is EventKind.FOLLOWED]
    assert {event.paths[0] for event in followed} == {
        stems / "Album (1970)" / "one" / "Vocals.mp3",
        stems / "Album (1970)" / "two" / "Vocals.mp3",
    }


async def test_a_copy_gets_a_copy_of_the_stems(sandbox: Sandbox, separate: Separate, music: Path, stems: Path) -> None:
    song = write_song(music / "one.wav")
    await separate()
    shutil.copyfile(song, write_song(music / "Best of" / "first.wav"))
    settle(music / "Best of" / "first.wav")
    result = await separate()
    assert (result.tally.followed, creates(sandbox)) == (1, 1)
    assert made(stems) == {"one/Vocals.mp3", "Best of/first/Vocals.mp3"}
    assert vocals(stems, "one") == vocals(stems, "Best of/first")
    assert (await separate()).tally.up_to_date == 2


async def test_two_copies_that_are_new_in_one_run_are_paid_once(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    song = write_song(music / "a.wav")
    for name in ("b", "c"):
        shutil.copyfile(song, music / f"{name}.wav")
        settle(music / f"{name}.wav")
    result = await separate()
    assert (result.tally.separated, result.tally.followed, creates(sandbox), result.tally.credits) == (1, 2, 1, 1)
    assert vocals(stems, "a") == vocals(stems, "b") == vocals(stems, "c")


async def test_a_copy_of_a_song_whose_stems_were_edited_is_fetched(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    song = write_song(music / "one.wav")
    await separate()
    made_by_service = vocals(stems, "one")
    (stems / "one" / "Vocals.mp3").write_bytes(b"edited by its owner")
    shutil.copyfile(song, music / "two.wav")
    settle(music / "two.wav")
    await separate()
    assert (vocals(stems, "one"), vocals(stems, "two")) == (b"edited by its owner", made_by_service)
    assert creates(sandbox) == 1


async def test_songs_that_exchange_their_names_exchange_their_stems(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    for name in ("a", "b"):
        write_song(music / f"{name}.wav", 0.3 if name == "a" else 0.4)
    await separate()
    one, other = vocals(stems, "a"), vocals(stems, "b")
    (music / "a.wav").rename(music / "x")
    (music / "b.wav").rename(music / "a.wav")
    (music / "x").rename(music / "b.wav")
    result = await separate()
    assert (vocals(stems, "a"), vocals(stems, "b")) == (other, one)
    assert (result.tally.separated, creates(sandbox)) == (0, 2)
    assert made(stems) == {"a/Vocals.mp3", "b/Vocals.mp3"}
    assert not (stems / ".mvsep" / "replaced").exists()


async def test_a_song_put_in_front_shifts_the_others_and_only_it_is_paid(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    for number in range(1, 5):
        write_song(music / f"{number}.wav", number / 10)
    await separate()
    before = [vocals(stems, str(number)) for number in range(1, 5)]
    for number in range(4, 0, -1):
        (music / f"{number}.wav").rename(music / f"{number + 1}.wav")
    write_song(music / "1.wav", 0.7)
    result = await separate()
    assert (result.tally.separated, result.tally.followed, creates(sandbox)) == (1, 4, 5)
    assert [vocals(stems, str(number)) for number in range(2, 6)] == before
    assert vocals(stems, "1") == (music / "1.wav").read_bytes()
    assert made(stems) == {f"{number}/Vocals.mp3" for number in range(1, 6)}
    assert (await separate()).tally.up_to_date == 5


async def test_another_audio_under_the_same_name_is_paid_and_takes_the_place(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    song = write_song(music / "one.wav")
    await separate()
    old = song.read_bytes()
    write_song(song, 0.5)
    assert (await separate()).tally.separated == 1
    assert made(stems) == {"one/Vocals.mp3"}
    assert vocals(stems, "one") == song.read_bytes() != old


async def test_a_layout_from_tags_keeps_a_moved_song_where_it_is_and_moves_a_retagged_one(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    layout = "{artist}/{title}/{stem}"
    song = write_song(music / "x" / "one.wav", artist="Mils Davis", title="So What")
    await separate(layout=layout)
    song.rename(music / "two.wav")
    assert (await separate(layout=layout)).tally.followed == 1
    assert made(stems) == {"Mils Davis/So What/Vocals.mp3"}
    write_plain_tags(music / "two.wav", artist="Miles Davis")
    settle(music / "two.wav")
    assert (await separate(layout=layout)).tally.followed == 1
    assert made(stems) == {"Miles Davis/So What/Vocals.mp3"}
    assert creates(sandbox) == 1


async def test_stems_get_the_tags_of_a_retagged_song(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path
) -> None:
    from mvsep_async.audio.tags import read_tags

    song = write_song(music / "one.wav", title="Old")
    await separate(copy_tags=True)
    write_plain_tags(song, title="New")
    settle(song)
    await separate(copy_tags=True)
    assert read_tags(str(stems / "one" / "Vocals.mp3"), "wav").get("title") == "New (Vocals)"
    assert creates(sandbox) == 1


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs names that are told apart by their bytes")
async def test_a_name_in_another_normal_form(sandbox: Sandbox, separate: Separate, music: Path, stems: Path) -> None:
    song = write_song(music / unicodedata.normalize("NFC", "Café.wav"))
    await separate()
    song.rename(music / unicodedata.normalize("NFD", "Café.wav"))
    result = await separate()
    assert (result.tally.followed, result.tally.separated, creates(sandbox)) == (1, 0, 1)
    assert len(made(stems)) == 1
    assert result.notices == ()


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
async def test_a_library_behind_a_link(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path, tmp_path: Path
) -> None:
    write_song(music / "one.wav")
    await separate()
    (tmp_path / "link").symlink_to(music, target_is_directory=True)
    assert (await separate(tmp_path / "link")).tally.up_to_date == 1
    assert creates(sandbox) == 1


async def test_a_job_under_way_is_known_by_its_audio_after_a_restart(
    held: Sandbox, client_of: NewClient, music: Path, stems: Path, tmp_path: Path
) -> None:
    import anyio

    song = write_song(music / "one.wav")
    accepted = anyio.Event()

    def watch(event: LibraryEvent) -> None:
        if event.job is not None and event.job.hash:
            accepted.set()

    async with client_of(held, journal=tmp_path / "j.sqlite") as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: separate_library(client, music, stems, algorithms=40, on_event=watch))
        await accepted.wait()
        tasks.cancel_scope.cancel()
    song.rename(music / "renamed.wav")
    held.manual = False
    held.finish(held.jobs[0].hash)
    async with client_of(held, journal=tmp_path / "j.sqlite") as client:
        result = await separate_library(client, music, stems, algorithms=40, max_credits=0)
    assert result.complete
    assert len(held.jobs) == 1
    assert made(stems) == {"renamed/Vocals.mp3", "renamed/Other.mp3"}


async def test_a_killed_move_of_stems_is_finished_by_the_next_run(
    sandbox: Sandbox, separate: Separate, music: Path, stems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = write_song(music / "one.wav")
    await separate(stems=None)
    song.rename(music / "two.wav")

    class Killed(BaseException):
        pass

    def kill(store: StemStore, renames: list[tuple[str, str]]) -> None:
        before, after = renames[0]
        (stems / after).parent.mkdir(parents=True, exist_ok=True)
        (stems / before).rename(stems / after)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(StemStore, "_rename", kill)
        with pytest.raises(BaseException) as raised:
            await separate(stems=None)
        assert raised.group_contains(Killed) if isinstance(raised.value, BaseExceptionGroup) else True
    result = await separate(stems=None)
    assert (result.tally.up_to_date, creates(sandbox)) == (1, 1)
    assert made(stems) == {"two/Vocals.mp3", "two/Other.mp3"}
    manifest = Manifest.open(stems / MANIFEST)
    assert manifest.unfinished_renames() == []
    manifest.close()


async def test_a_damaged_song_is_never_paid_again_until_its_audio_changes(
    held: Sandbox, client_of: NewClient, music: Path, stems: Path
) -> None:
    damaged = "The file could not be read: it is damaged or is not audio"

    def end(event: LibraryEvent) -> None:
        job = event.job
        if job is not None and job.hash and not job.done() and event.path is not None:
            if event.path.name.startswith("bad"):
                held.fail(job.hash, damaged)
            else:
                held.finish(job.hash)

    async def run(**arguments: Any) -> LibraryResult:
        async with client_of(held) as client:
            return await separate_library(client, music, stems, algorithms=40, on_event=end, **arguments)

    song = write_song(music / "bad.wav")
    result = await run(repeat=3)
    assert (len(held.jobs), result.tally.failed) == (1, 1), "not repeated at the end either"
    for again in (False, True):
        result = await run(retry_failed=again)
        assert (result.tally.failed_before, damaged in str(result.failures[0].error)) == (1, True)
    song.rename(music / "bad too.wav")
    assert (await run(retry_failed=True)).tally.failed_before == 1, "it is the same audio"
    assert len(held.jobs) == 1
    write_song(music / "bad too.wav", 0.5).rename(music / "good.wav")
    assert (await run()).complete
    assert len(held.jobs) == 2
