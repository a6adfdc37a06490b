"""Nothing is paid twice: what `separate` does with songs that it has separated before."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mvsep_async.cli import config_file
from mvsep_async.cli.library_stems import Found, LibraryStems
from mvsep_async.download.part_file import PartFile
from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import TOKEN, Child, Cli, until
from tests.conftest import wav

FAST = ("--poll-interval", "0.02")


def made(home: Path, folder: str = "stems") -> list[str]:
    return sorted(path.relative_to(home / folder).as_posix() for path in (home / folder).rglob("*.mp3"))


def test_the_same_command_again_skips_what_is_there(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    first = cli("separate", *songs, "-a", "40", *FAST)
    assert first.code == 0, first.err
    files = made(home)
    again = cli("separate", *songs, "-a", "40", *FAST)
    assert again.code == 0, again.err
    assert again.out.count("already separated: skipped") == 3
    assert "0 songs done, 3 already separated" in again.err
    assert (len(service.jobs), made(home)) == (3, files)
    assert cli("separate", songs[0], "-a", "40", "-f", "wav", *FAST).code == 0
    assert len(service.jobs) == 4


def test_a_result_names_the_stems_in_the_folder_of_this_run(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    for out in ("one", "two", "one"):
        ran = cli("separate", songs[0], "-o", out, "--json", *FAST)
        assert [Path(path).parts[-3:-1] for path in ran.document["files"]] == [(out, "song 0")] * 2
    assert len(service.jobs) == 1


def test_what_was_given_is_named_even_where_the_journal_has_another_name(
    cli: Cli, service: Sandbox, songs: list[str]
) -> None:
    cli("separate", *songs, *FAST)
    ran = cli("separate", *songs, "--json", *FAST)
    assert sorted(one["source"] for one in ran.documents) == sorted(songs)
    assert all(one["files"] for one in ran.documents)


def test_stems_that_were_removed_are_fetched_again_and_not_paid(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    cli("separate", songs[0], *FAST)
    files = made(home)
    shutil.rmtree(home / "stems")
    ran = cli("separate", songs[0], *FAST)
    assert (ran.code, made(home), len(service.jobs)) == (0, files, 1)
    assert "skipped" not in ran.out


def test_a_song_that_was_moved_and_renamed_is_the_same_song(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    cli("separate", songs[0], *FAST)
    Path(songs[0]).rename(home / "renamed.wav")
    ran = cli("separate", "renamed.wav", "--json", *FAST)
    assert (ran.code, len(service.jobs)) == (0, 1)
    assert ran.document["source"] == "renamed.wav"


def test_a_pruned_song_is_not_paid_again(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    cli("separate", *songs, *FAST)
    assert cli("jobs", "prune", "--json").document == {"pruned": 3}
    assert cli("jobs", "--json").document == []
    ran = cli("separate", *songs, *FAST)
    assert (ran.code, len(service.jobs)) == (0, 3)


def test_force_separates_again_and_replaces_the_stems(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    cli("separate", songs[0], *FAST)
    files = made(home)
    ran = cli("separate", songs[0], "--force", *FAST)
    assert (ran.code, made(home), len(service.jobs)) == (0, files, 2)
    assert "skipped" in cli("separate", songs[0], *FAST).out


def test_without_a_journal_it_is_paid_again(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    for _ in range(2):
        assert cli("separate", songs[0], "--no-journal", *FAST).code == 0
    assert len(service.jobs) == 2
    ran = cli("separate", songs[0], "--no-journal", "--journal", "x.db")
    assert (ran.code, "cannot be used together" in ran.err) == (2, True)


def test_only_what_failed_is_tried_again_and_only_on_request(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    (home / "sandbox-fail.wav").write_bytes(wav(0.77))
    given = ("separate", "sandbox-fail.wav", songs[0], *FAST)
    assert cli(*given).code == 1
    again = cli(*given)
    assert (again.code, len(service.jobs)) == (1, 2)
    assert "1 song that failed before was not tried again: --retry-failed does that" in again.err
    retried = cli(*given, "--retry-failed")
    assert (retried.code, len(service.jobs)) == (1, 3)
    assert "--retry-failed" not in retried.err


def test_stems_that_did_not_fit_on_the_disk_are_fetched_by_the_next_run_with_space(
    cli: Cli, service: Sandbox, songs: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(PartFile, "write", full)
        assert "the disk is full" in cli("separate", songs[0], *FAST).out
        patched.setattr("mvsep_async.download.target.check_writable", full)
        ran = cli("separate", songs[0], *FAST)
        assert (ran.code, "--retry-failed" in ran.err) == (1, False)
        assert "the disk is full: free some space and start again" in ran.out
    assert cli("separate", songs[0], *FAST).code == 0
    assert made(home) == ["song 0/Other.mp3", "song 0/Vocals.mp3"]
    assert len(service.jobs) == 1


def test_another_command_does_not_pay_for_what_an_earlier_one_had_queued(
    child: Child, cli: Cli, holding: Sandbox, songs: list[str]
) -> None:
    process = child("separate", *songs, "--concurrency", "1", *FAST)
    until(lambda: holding.unfinished(TOKEN) == 1)
    process.kill()
    process.communicate()
    holding.manual = False
    (first,) = holding.jobs
    holding.finish(first.hash)
    (home := Path("other.wav")).write_bytes(wav(0.3))
    assert cli("separate", str(home), *FAST).code == 0
    assert len(holding.jobs) == 2
    assert cli("separate", *songs, *FAST).code == 0
    assert len(holding.jobs) == 4


def test_folders_are_mirrored_so_that_songs_of_one_name_stay_apart(cli: Cli, service: Sandbox, home: Path) -> None:
    for album in ("A", "B", "B/disc 2"):
        (home / album).mkdir()
        (home / album / "track1.wav").write_bytes(wav(0.1 + len(album) / 100 + (album == "B")))
    assert cli("separate", "A", "B", "--stems", "Vocals", "-o", "out", *FAST).code == 0
    assert made(home, "out") == [
        "A/track1/Vocals.mp3",
        "B/disc 2/track1/Vocals.mp3",
        "B/track1/Vocals.mp3",
    ]
    shutil.rmtree(home / "out")
    assert cli("separate", ".", "--stems", "Vocals", "-o", "dot", "--no-journal", *FAST).code == 0
    assert made(home, "dot") == [
        "A/track1/Vocals.mp3",
        "B/disc 2/track1/Vocals.mp3",
        "B/track1/Vocals.mp3",
    ]
    files = ["A/track1.wav", "B/track1.wav"]
    assert cli("separate", *files, "--stems", "Vocals", "-o", "files", "--no-journal", *FAST).code == 0
    assert made(home, "files") == ["A/track1/Vocals.mp3", "B/track1/Vocals.mp3"]


def test_separate_and_library_put_stems_in_the_same_places(cli: Cli, service: Sandbox, home: Path) -> None:
    for number, folder in enumerate((".", "Live", "Live/Disc 1.", "C D")):
        (home / "music" / folder).mkdir(parents=True, exist_ok=True)
        (home / "music" / folder / f"song {number}.wav").write_bytes(wav(0.1 + number / 100))
    assert cli("separate", "music", "-a", "40", "-o", "one", *FAST).code == 0
    assert cli("library", "music", "other", "-a", "40", *FAST).code == 0
    assert made(home, "one") == made(home, "other")
    assert "Live/Disc 1/song 2/Vocals.mp3" in made(home, "one")


@pytest.mark.parametrize("lost", ["nothing", "a stem", "a stem and the job"])
def test_a_library_takes_over_what_separate_has_paid_for(cli: Cli, service: Sandbox, home: Path, lost: str) -> None:
    for number, name in enumerate(("one.wav", "Live/two.wav")):
        (home / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "music" / name).write_bytes(wav(0.1 + number / 100))
    assert cli("separate", "music", "-a", "40", "-p", "add_opt1=81", "-o", "lib", *FAST).code == 0
    places = made(home, "lib")
    (home / "music" / "three.wav").write_bytes(wav(0.3))
    if lost != "nothing":
        (home / "lib" / "one" / "Vocals.mp3").unlink()
    if lost == "a stem and the job":
        service.delete(next(job.hash for job in service.jobs if "one" in job.hash))
    paid = 4 if lost == "a stem and the job" else 3
    words = ("library", "music", "lib", "-a", "40", "-p", "add_opt1=81", *FAST)
    ran = cli(*words)
    assert (ran.code, len(service.jobs)) == (0, paid), ran.err
    assert made(home, "lib") == sorted([*places, "three/Other.mp3", "three/Vocals.mp3"])
    assert cli(*words).code == 0
    assert len(service.jobs) == paid
    assert cli("library", "music", "lib", "-a", "40", "-f", "wav", *FAST).code == 0  # another format is another job
    assert len(service.jobs) == paid + 3


def test_a_library_counts_what_separate_has_paid_for_before_it_sends_anything(
    cli: Cli, service: Sandbox, home: Path
) -> None:
    for number in range(3):
        (home / "music" / f"{number}.wav").parent.mkdir(exist_ok=True)
        (home / "music" / f"{number}.wav").write_bytes(wav(0.1 + number / 100))
    assert cli("separate", "music/0.wav", "music/1.wav", "-a", "40", *FAST).code == 0
    for algorithm, credits in ("40", 1), ("63", 3):
        plan = cli("library", "music", "lib", "-a", algorithm, "--dry-run", "--json").document
        assert (plan["separations"], plan["credits"]) == (3, credits)
    ran = cli("library", "music", "lib", "-a", "40", "--max-credits", "1", *FAST)
    assert (ran.code, len(service.jobs)) == (0, 3), ran.err


def test_a_library_does_not_pay_for_what_separate_has_begun(
    child: Child, cli: Cli, holding: Sandbox, home: Path
) -> None:
    for number in range(2):
        (home / "music" / f"{number}.wav").parent.mkdir(exist_ok=True)
        (home / "music" / f"{number}.wav").write_bytes(wav(0.1 + number / 100))
    process = child("separate", "music/0.wav", "-a", "40", *FAST)
    until(lambda: holding.unfinished(TOKEN) == 1)
    process.kill()
    process.communicate()
    holding.manual = False
    assert cli("library", "music", "lib", "-a", "40", "--dry-run", "--json").document["credits"] == 1
    ran = cli("library", "music", "lib", "-a", "40", *FAST)
    assert (ran.code, len(holding.jobs)) == (1, 2)
    assert ran.out.count("0.wav is being separated by a job of another journal: start again when that one is over") == 1
    assert "`mvsep-async jobs resume` finishes songs that `mvsep-async separate` has begun" in ran.err
    holding.finish(holding.jobs[0].hash)
    assert cli("jobs", "resume", *FAST).code == 0
    ran = cli("library", "music", "lib", "-a", "40", *FAST)
    assert (ran.code, len(holding.jobs), len(made(home, "lib"))) == (0, 2, 4), ran.err


@pytest.mark.parametrize(
    ("first", "then", "places"),
    [
        (["A", "B"], ["A"], ["A/track1/Vocals.mp3", "B/track1/Vocals.mp3"]),
        (["A"], ["A", "B"], ["B/track1/Vocals.mp3", "track1/Vocals.mp3"]),
    ],
)
def test_stems_stay_where_they_are_whatever_folders_are_given_with_theirs(
    cli: Cli, service: Sandbox, home: Path, first: list[str], then: list[str], places: list[str]
) -> None:
    for number, album in enumerate("AB"):
        (home / album).mkdir()
        (home / album / "track1.wav").write_bytes(wav(0.1 + number / 100))
    assert cli("separate", *first, "--stems", "Vocals", "-o", "out", *FAST).code == 0
    again = cli("separate", *then, "--stems", "Vocals", "-o", "out", *FAST)
    assert (again.code, again.out.count("already separated: skipped")) == (0, 1)
    assert (made(home, "out"), len(service.jobs)) == (places, 2)


@pytest.mark.parametrize("command", ["separate", "library"])
def test_the_folder_of_an_album_is_in_the_list_of_jobs_and_above_its_stems_when_they_are_fetched_again(
    cli: Cli, service: Sandbox, home: Path, command: str
) -> None:
    for number, album in enumerate("AB"):
        (home / "music" / album).mkdir(parents=True)
        (home / "music" / album / "track1.wav").write_bytes(wav(0.1 + number / 100))
    given = ["music/A", "music/B", "-o", "out"] if command == "separate" else ["music", "out"]
    assert cli(command, *given, "-a", "40", *FAST).code == 0
    rows = cli("jobs").out.splitlines()[2:]
    assert sorted(row.split()[1].replace(os.sep, "/") for row in rows) == ["A/track1.wav", "B/track1.wav"]
    history = cli("account", "history").out.splitlines()[2:]
    assert sorted(row.split()[:2] for row in history) == sorted(row.split()[:2] for row in rows)
    for row in rows:
        ran = cli("download", row.split()[0], "--out", "again", "--stems", "Vocals", *FAST)
        assert ran.code == 0, ran.err
    assert made(home, "again") == ["A/track1/Vocals.mp3", "B/track1/Vocals.mp3"]
    if command == "separate":
        assert "already fetched" in cli("download", "--last", "--out", "out", *FAST).out
    assert len(service.jobs) == 2


@pytest.mark.parametrize("command", [("separate",), ("estimate",)])
def test_a_stem_that_does_not_come_out_is_reported_before_anything_is_paid(
    cli: Cli, service: Sandbox, songs: list[str], command: tuple[str, ...]
) -> None:
    ran = cli(*command, songs[0], "-a", "40", "--stems", "Drums")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "has no stem 'Drums'; its stems are Vocals" in ran.err
    assert service.jobs == []


def test_the_journal_is_private_and_in_the_state_folder(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    cli("separate", songs[0], *FAST)
    folder = Path(os.environ["XDG_STATE_HOME"]) / "mvsep-async" / "journals"
    (journal,) = folder.glob("*.sqlite")
    assert TOKEN not in journal.name
    assert TOKEN.encode() not in journal.read_bytes()
    assert cli("jobs", "--json").document[0]["state"] == "finished"


def test_a_song_of_a_library_is_not_paid_again_by_separate(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    (home / "music").mkdir()
    shutil.copy(songs[0], home / "music" / "song.wav")
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    os.utime(songs[0])  # the same audio, whatever its time and name
    plan = cli("separate", songs[0], "-a", "40", "--dry-run", "--json", *FAST).document
    assert (plan["songs"], plan["separated_before"]) == (0, 1)
    ran = cli("separate", *songs, "-a", "40", "--json", *FAST)
    assert (ran.code, len(service.jobs)) == (0, 3), ran.err
    (skipped,) = (one for one in ran.documents if one["source"] == songs[0])
    assert {Path(path).parent for path in skipped["files"]} == {home / "lib" / "song"}
    shown = cli("separate", songs[0], "-a", "40", "--stems", "Vocals", *FAST)
    assert "already separated: skipped  Vocals  lib/song" in " ".join(shown.out.split(" "))
    assert len(service.jobs) == 3


@pytest.mark.parametrize("words", [("-f", "wav"), ("--force",)])
def test_a_song_of_a_library_is_separated_with_other_options_or_by_force(
    cli: Cli, service: Sandbox, songs: list[str], home: Path, words: tuple[str, ...]
) -> None:
    (home / "music").mkdir()
    shutil.copy(songs[0], home / "music" / "song.wav")
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    ran = cli("separate", songs[0], "-a", "40", *words, *FAST)
    assert (ran.code, len(service.jobs)) == (0, 2), ran.err
    assert (home / "stems" / "song 0").is_dir()


@pytest.mark.parametrize("why", ["stems that are not kept", "a stem is gone"])
@pytest.mark.parametrize("job", ["kept", "deleted"])
def test_stems_that_a_library_lacks_are_fetched_from_its_job_while_the_service_has_it(
    cli: Cli, service: Sandbox, songs: list[str], home: Path, why: str, job: str
) -> None:
    (home / "music").mkdir()
    shutil.copy(songs[0], home / "music" / "song.wav")
    kept = ("--stems", "Vocals") if why == "stems that are not kept" else ()
    assert cli("library", "music", "lib", "-a", "40", *kept, *FAST).code == 0
    if why == "a stem is gone":
        (home / "lib" / "song" / "Other.mp3").unlink()
    if job == "deleted":
        service.delete(service.jobs[0].hash)
    paid = 1 + (job == "deleted")
    for _ in range(2):
        ran = cli("separate", songs[0], "-a", "40", "--json", *FAST)
        assert (ran.code, len(service.jobs)) == (0, paid), ran.err
        assert (ran.document["source"], ran.document["status"]) == (songs[0], "done")
        assert made(home) == ["song 0/Other.mp3", "song 0/Vocals.mp3"]


MANIFEST = ".mvsep/manifest.sqlite"


def unreadable(manifest: Path) -> None:
    manifest.write_bytes(b"damaged" * 999)


def truncated(manifest: Path) -> None:
    manifest.write_bytes(b"")


@pytest.mark.parametrize("damage", [unreadable, truncated])
def test_nothing_is_paid_while_a_library_cannot_be_read(
    cli: Cli, service: Sandbox, songs: list[str], home: Path, damage: Callable[[Path], None]
) -> None:
    (home / "music").mkdir()
    shutil.copy(songs[0], home / "music" / "song.wav")
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    damage(home / "lib" / MANIFEST)
    ran = cli("separate", *songs, "-a", "40", *FAST)
    assert (ran.code, len(service.jobs)) == (2, 1), ran.err
    assert f"lib/{MANIFEST}" in ran.err
    assert cli("separate", songs[0], "-a", "40", "--force", *FAST).code == 0
    shutil.rmtree(home / "lib")  # a library that was removed does not matter
    assert cli("separate", *songs, "-a", "40", *FAST).code == 0


@pytest.mark.parametrize("damage", [unreadable, truncated, Path.unlink])
def test_a_library_that_cannot_be_read_any_longer_fails_the_songs_that_it_may_have(
    cli: Cli,
    service: Sandbox,
    songs: list[str],
    home: Path,
    damage: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (home / "music").mkdir()
    shutil.copy(songs[0], home / "music" / "song.wav")
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    ready = LibraryStems.find

    async def damaged(stems: LibraryStems, source: str) -> Found:
        if (home / "lib" / MANIFEST).exists():
            damage(home / "lib" / MANIFEST)
        return await ready(stems, source)

    monkeypatch.setattr(LibraryStems, "find", damaged)
    ran = cli("separate", *songs, "-a", "40", "--json", *FAST)
    assert (ran.code, len(service.jobs)) == (1, 1), ran.err
    assert all(MANIFEST in one["error"] for one in ran.documents)
    assert len(ran.documents) == len(songs)


def test_a_list_of_libraries_that_was_cut_loses_nothing_else(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    (home / "music").mkdir()
    shutil.copy(songs[0], home / "music" / "song.wav")
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    (known,) = (config_file.state_folder() / "libraries").iterdir()
    line = known.read_bytes()
    known.write_bytes(b"\xff not UTF-8\n" + line[: len(line) // 2])  # the disk was full
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    assert known.read_bytes().endswith(b"\n" + line)
    assert "skipped" in cli("separate", songs[0], "-a", "40", *FAST).out
    assert len(service.jobs) == 1


def test_a_song_of_a_library_that_another_algorithm_has_separated_is_not_paid_again(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    assert cli("separate", songs[0], "-a", "63", *FAST).code == 0
    assert cli("separate", songs[0], "-a", "40", "-p", "add_opt2=8", *FAST).code == 0
    (home / "music").mkdir()
    shutil.copy(songs[0], home / "music" / "song.wav")
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    ran = cli("separate", songs[0], "-a", "40", *FAST)
    assert (ran.code, len(service.jobs)) == (0, 3), ran.err
    assert "already separated: skipped  Vocals, Other  lib/song" in ran.out.replace(os.sep, "/")


def test_the_plan_counts_songs_that_other_options_have_separated(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    assert cli("separate", songs[0], "-a", "40", "-p", "add_opt2=8", *FAST).code == 0
    for words, separated in ((), 0), (("-p", "add_opt2=8"), 1), (("-p", "add_opt2=8", "--publish"), 0):
        plan = cli("separate", songs[0], "-a", "40", *words, "--dry-run", "--json", *FAST).document
        assert (plan["songs"], plan["separated_before"]) == (1 - separated, separated)
