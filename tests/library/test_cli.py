"""`mvsep-async library`, as a person and as a program use it."""

from __future__ import annotations

import signal
import webbrowser
from pathlib import Path

import pytest

from mvsep_async.cli.config_file import config_path
from mvsep_async.sandbox import Sandbox
from tests.audio.songs import write_song
from tests.cli.conftest import Child, Cli, child, cli, home, service, until

__all__ = ["child", "cli", "home", "service"]


@pytest.fixture
def songs(home: Path) -> Path:
    """Three songs."""
    for name in ("a/one.wav", "a/two.flac", "three.mp3"):
        write_song(home / "Music" / name, 1)
    return home / "Music"


def test_a_library_from_the_command_line(cli: Cli, service: Sandbox, songs: Path, home: Path) -> None:
    ran = cli("library", "Music", "Stems", "-a", "BS Roformer", "--report", "report.html", "--poll-interval", "0.05")
    assert ran.code == 0
    assert "a/one.wav" in ran.out
    assert "3 songs: 3 separated, 0 done before" in ran.err
    assert (home / "Stems" / "a" / "two" / "Vocals.mp3").exists()
    assert (home / "report.html").exists()
    ran = cli("library", "Music", "Stems", "-a", "40")
    assert (ran.code, len(service.jobs)) == (0, 3)
    assert "0 separated, 3 done before" in ran.err


@pytest.mark.parametrize("command", [("separate", "Music", "-o", "Stems"), ("library", "Music", "Stems")])
def test_a_file_that_is_no_song_is_reported_and_fails_the_run_unless_it_is_left_out(
    cli: Cli, service: Sandbox, songs: Path, command: tuple[str, ...]
) -> None:
    (songs / "a" / "text.mp3").write_text("hello")
    words = (*command, "-a", "40", "--poll-interval", "0.05")
    ran = cli(*words)
    assert (ran.code, "text.mp3" in ran.out, "is text, not audio" in ran.out) == (1, True, True)
    ran = cli(*words, "--json")
    (failed,) = [one for one in ran.documents if one["status"] == "failed"]
    assert (ran.code, Path(failed["source"]).name, "is text, not audio" in failed["error"]) == (1, "text.mp3", True)
    if command[0] == "library":
        assert "1 file not separated" in cli(*words).err
        assert cli(*words, "--exclude", "text.mp3").code == 0
    assert len(service.jobs) == 3


def test_the_songs_of_a_library_are_jobs_too(cli: Cli, service: Sandbox, songs: Path, home: Path) -> None:
    assert cli("separate", str(songs / "three.mp3"), "-a", "63", "--out", "Other", "--poll-interval", "0.05").code == 0
    assert cli("library", "Music", "Stems", "-a", "40", "--poll-interval", "0.05").code == 0
    table = cli("jobs").out.splitlines()[2:]
    assert sorted(line.split()[1] for line in table) == ["one.wav", "three.mp3", "three.mp3", "two.flac"]
    (line,) = [line for line in table if "one.wav" in line]
    assert "Stems/a/one/" in line
    listed = cli("jobs", "--json").document
    one = next(job for job in listed if job["source"] == "a/one.wav")
    assert (one["state"], one["algorithm"]) == ("finished", "BS Roformer")
    assert all(Path(file).is_file() for file in one["files"])
    assert one["hash"] in [job.hash for job in service.jobs]
    again = cli("download", line.split()[0], "--out", "Again", "--poll-interval", "0.05")
    assert again.code == 0
    assert "one" in again.out
    assert one["hash"] not in again.out
    assert (home / "Again" / "a" / "one" / "Vocals.mp3").exists()
    last = cli("download", "--last", "--out", "Last", "--poll-interval", "0.05")
    assert last.code == 0
    assert not (home / "Last" / "Other").exists()
    assert len(cli("jobs", "--journal", "Stems/.mvsep/journal.sqlite").out.splitlines()) == 0


def test_a_library_that_is_gone_or_damaged_does_not_hide_the_other_jobs(
    cli: Cli, service: Sandbox, songs: Path, home: Path
) -> None:
    for target in ("Stems", "Damaged", "Gone"):
        assert cli("library", "Music", target, "-a", "40", "--poll-interval", "0.05").code == 0
    (home / "Damaged" / ".mvsep" / "manifest.sqlite").write_bytes(b"x" * 5000)
    (home / "Gone").rename(home / "moved")
    ran = cli("jobs")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 2 + 3
    assert "Damaged" in ran.err


def test_songs_and_results_are_counted_apart(cli: Cli, service: Sandbox, songs: Path, home: Path) -> None:
    words = ("-a", "40", "-a", "63", "--report", "report.html", "--poll-interval", "0.05")
    ran = cli("library", "Music", "Stems", *words)
    assert "3 songs, 6 results: 6 separated, 0 done before" in ran.err
    page = (home / "report.html").read_text("utf-8")
    assert "<b>3</b><span>songs</span>" in page
    assert "<b>6</b><span>results separated</span>" in page


def test_the_report_is_opened_on_request(
    cli: Cli, service: Sandbox, songs: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert "give its file with --report" in cli("library", "Music", "Stems", "-a", "40", "--open").err
    ran = cli("library", "Music", "Stems", "-a", "40", "--report", "report.html", "--open", "--poll-interval", "0.05")
    assert ran.code == 0
    assert opened == [(home / "report.html").as_uri()]


def test_one_json_object_a_song(cli: Cli, service: Sandbox, songs: Path, home: Path) -> None:
    write_song(songs / "sandbox-fail.wav")
    ran = cli("library", "Music", "Stems", "-a", "40", "--json", "--repeat", "0", "--poll-interval", "0.05")
    assert ran.code == 1
    by_name = {Path(one["source"]).name: one for one in ran.documents}
    assert set(by_name) == {"one.wav", "two.flac", "three.mp3", "sandbox-fail.wav"}
    assert by_name["one.wav"] == {
        "source": str(songs / "a" / "one.wav"),
        "method": "BS Roformer",
        "status": "done",
        "files": [str(home / "Stems" / "a" / "one" / f"{stem}.mp3") for stem in ("Vocals", "Other")],
        "error": None,
    }
    failed = by_name["sandbox-fail.wav"]
    assert (failed["status"], failed["files"]) == ("failed", [])
    assert "failed" in failed["error"]


def test_a_song_that_succeeds_in_the_end_is_one_json_object(cli: Cli, service: Sandbox, songs: Path) -> None:
    service.faults.add(kind="refuse", path="separation/create", status=422, count=1)
    write_song(songs / "sandbox-fail.wav")
    ran = cli("library", "Music", "Stems", "-a", "40", "--json", "--poll-interval", "0.05")
    assert ran.code == 1
    assert "retrying" in ran.err
    assert sorted(one["status"] for one in ran.documents) == ["done", "done", "done", "failed"]
    assert len({one["source"] for one in ran.documents}) == 4


def test_what_the_plan_does_not_allow(
    cli: Cli, service: Sandbox, songs: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is made before anything is sent; with `--anyway` the service decides."""
    monkeypatch.setenv("MVSEP_API_TOKEN", service.free_token)
    (home / "r.toml").write_text('[[step]]\nname = "a"\nalgorithm = 30\n')
    song = str(songs / "three.mp3")
    for words in (
        ("library", "Music", "Stems", "-a", "30", "--include", "three.mp3"),
        ("library", "Music", "Others", "--recipe", "r.toml", "--include", "three.mp3"),
        ("separate", song, "-a", "30"),
        ("recipe", "run", "r.toml", song),
        ("separate", song, "--recipe", "r.toml"),
    ):
        before = len(service.requests)
        ran = cli(*words)
        assert (ran.code, "is for premium accounts" in ran.err, ran.err.count("\n")) == (2, True, 1), words
        assert not any(request.path == "/api/separation/create" for request in service.requests[before:]), words
        ran = cli(*words, "--anyway", "--json", "--poll-interval", "0.02")
        assert ran.code == 1, words
        assert "purchase premium membership" in ran.document["error"]
        assert any(request.path == "/api/separation/create" for request in service.requests[before:]), words


def configured(text: str) -> None:
    path = config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o600)


def test_the_configuration_file_has_defaults(cli: Cli, service: Sandbox, songs: Path, home: Path) -> None:
    configured(
        f"""
        [library]
        source = "{songs.as_posix()}"
        target = "{(home / "Stems").as_posix()}"
        preset = ["vocals", "karaoke"]
        include = "*.flac"
        journal = "{(home / "mine.sqlite").as_posix()}"
        max_credits = 50
        copy_tags = true
        report = "{(home / "report.html").as_posix()}"

        [profile.band.library]
        preset = "drums"
        """
    )
    ran = cli("library", "--dry-run")
    assert "1 song, 2 separations" in ran.out
    assert "1 song, 1 separation" in cli("library", "--profile", "band", "--dry-run").out
    assert (
        "2 songs, 2 separations"
        in cli("library", "-a", "40", "--include", "*.wav", "--include", "*.mp3", "--dry-run").out
    )
    assert cli("library", "--poll-interval", "0.05", "--no-copy-tags").code == 0
    assert (home / "mine.sqlite").exists()
    assert (home / "report.html").exists()
    shown = {row["setting"]: row["value"] for row in cli("config", "--json").document}
    assert (shown["library.preset"], shown["library.max_credits"]) == ("vocals, karaoke", "50")
    cli("config", "set", "format", "flac")
    assert "1 song, 2 separations" in cli("library", "--dry-run").out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[library]\nlayuot = 1", "did you mean layout?"),
        ("[library]\nmax_credits = true", "max_credits has to be a number"),
        ('[library]\norder = "longest"', "order has to be as-found or shortest-first"),
        ("[library]\npreset = [[1]]", "preset has to be text, or a list"),
        ("library = 1", "write [library]"),
        ("[libary]\nlayout = 1", "did you mean library?"),
        ("", "give the folder with the music"),
    ],
)
def test_a_wrong_configuration_file_is_bad_usage(cli: Cli, service: Sandbox, text: str, why: str) -> None:
    configured(text)
    ran = cli("library")
    assert (ran.code, why in ran.err, ran.err.count("\n")) == (2, True, 1), ran.err


def test_a_dry_run_says_what_it_would_cost(cli: Cli, service: Sandbox, songs: Path, home: Path) -> None:
    ran = cli("library", "Music", "Stems", "--preset", "vocals", "--preset", "karaoke", "--dry-run")
    assert ran.code == 0
    assert "3 songs, 6 separations to make, 0 done before; 0:06 of audio to send: 6 credits of 1000 left" in ran.out
    document = cli("library", "Music", "Stems", "-a", "40", "--dry-run", "--json").documents[-1]
    assert (document["songs"], document["credits"], document["credits_left"]) == (3, 3, 1000.0)
    assert not (home / "Stems").exists()
    assert not service.jobs


def test_a_limit_ends_it_and_says_so(cli: Cli, service: Sandbox, songs: Path) -> None:
    ran = cli("library", "Music", "Stems", "-a", "40", "--max-credits", "1", "--poll-interval", "0.05")
    assert ran.code == 1
    assert "stopped by the limit of 1 credits" in ran.err
    assert len(service.jobs) == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "--algorithm, --preset or --recipe"),
        (("-a", "BS Roformr"), "BS Roformer"),
        (("--preset", "vocls"), "vocals"),
        (("-a", "40", "--layout", "{albm}/{stem}"), "{albm}"),
        (("-a", "40", "--recipe", "r.toml"), "leave out"),
        (("--recipe", "none.toml"), "cannot be read"),
    ],
)
def test_what_cannot_be_is_bad_usage(cli: Cli, service: Sandbox, songs: Path, words: tuple[str, ...], why: str) -> None:
    ran = cli("library", "Music", "Stems", *words)
    assert ran.code == 2
    assert why in ran.err
    assert not service.jobs


def test_a_wrong_folder_is_reported_before_anything_is_written(
    cli: Cli, service: Sandbox, songs: Path, home: Path
) -> None:
    for source, target in (("Musik", "Stems"), ("Music", "Music")):
        ran = cli("library", source, target, "-a", "40")
        assert (ran.code, "the source folder" in ran.err) == (2, True)
    assert not (home / "Stems").exists()
    assert not (songs / ".mvsep").exists()


def test_a_recipe_with_a_mistake_is_reported_with_its_place(
    cli: Cli, service: Sandbox, songs: Path, home: Path
) -> None:
    (home / "r.toml").write_text('[[step]]\nname = "a"\nalgorithm = "BS Roformr"\n')
    ran = cli("library", "Music", "Stems", "--recipe", "r.toml")
    assert ran.code == 2
    assert "r.toml, step 1, algorithm:" in ran.err


def test_patterns_choose_the_songs(cli: Cli, service: Sandbox, songs: Path, home: Path) -> None:
    ran = cli("library", "Music", "Stems", "-a", "40", "--include", "a/*", "--exclude", "*.flac", "--dry-run")
    assert ran.code == 0
    assert "1 song, 1 separation" in ran.out


def test_watching_separates_songs_that_are_added_until_ctrl_c(
    child: Child, service: Sandbox, songs: Path, home: Path
) -> None:
    (songs / "text.mp3").write_text("hello")
    process = child("library", "Music", "Stems", "-a", "40", "--watch", "--poll-interval", "0.05")
    until(lambda: (home / "Stems" / "three" / "Vocals.mp3").exists())
    write_song(songs / "later.wav", 1)
    until(lambda: (home / "Stems" / "later" / "Vocals.mp3").exists())
    assert process.stdout is not None
    noted = 0
    while "later.wav" not in (line := process.stdout.readline()):
        noted += "text.mp3" in line
    assert noted == 1
    (songs / "later.wav").unlink()
    (songs / "three.mp3").rename(songs / "third.mp3")
    notes: list[str] = []
    while len(notes) < 2:
        notes += [line for line in [process.stdout.readline()] if line.startswith("- ")]
    assert sorted(notes) == [
        "- later.wav was removed: its stems stay\n",
        "- third.mp3 was renamed, moved, copied or retagged: its stems followed, nothing was paid\n",
    ]
    while "waiting for new songs in Music" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert "Traceback" not in out + err
    assert "stopped; the same command continues where it stopped" in err
    assert len(service.jobs) == 4


def test_watching_takes_the_stems_of_a_song_that_another_command_had_begun(
    child: Child, songs: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(stems="copy", manual=True) as holding:
        monkeypatch.setenv("MVSEP_BASE_URL", holding.url)
        monkeypatch.setenv("MVSEP_API_TOKEN", holding.premium_token)
        other = child("separate", "Music/three.mp3", "-a", "40", "--poll-interval", "0.05")
        until(lambda: holding.unfinished(holding.premium_token) == 1)
        words = ("--include", "three.mp3", "--include", "later.wav")
        watching = child("library", "Music", "Stems", "-a", "40", *words, "--watch", "--poll-interval", "0.05")
        assert watching.stdout is not None
        while "three.mp3 is being separated by a job of another journal" not in watching.stdout.readline():
            assert watching.poll() is None
        holding.manual = False
        holding.finish(holding.jobs[0].hash)
        assert other.wait() == 0
        write_song(songs / "later.wav", 1)
        stems = [home / "Stems" / song / "Vocals.mp3" for song in ("three", "later")]
        until(lambda: all(stem.exists() for stem in stems) or watching.poll() is not None)
        assert len(holding.jobs) == 2


def test_the_report_has_one_credit_and_pauses_a_stem_while_another_one_plays(
    cli: Cli, service: Sandbox, songs: Path, home: Path
) -> None:
    words = ("-a", "40", "--include", "three.mp3", "--report", "report.html", "--poll-interval", "0.05")
    assert cli("library", "Music", "Stems", *words).code == 0
    page = (home / "report.html").read_text("utf-8")
    assert 'data-value="1" data-unit=" credit">1</td>' in page
    assert "playing.pause()" in page
