"""The command line with a journal in PostgreSQL."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import psycopg
import pytest

from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import Cli, cli, home, service, songs

__all__ = ["cli", "home", "service", "songs"]

PASSWORD = "s3cr3tx"


def test_songs_are_separated_listed_and_not_paid_again(
    cli: Cli, service: Sandbox, songs: list[str], database: str
) -> None:
    arguments = ("separate", *songs, "--algorithm", "40", "--journal", database)
    assert cli(*arguments).code == 0
    assert len(service.jobs) == 3
    assert cli(*arguments).code == 0
    assert len(service.jobs) == 3
    plan = cli(*arguments, "--dry-run", "--json").document
    assert plan["separated_before"] == 3
    rows = cli("jobs", "--journal", database, "--json").document
    assert [row["state"] for row in rows] == ["finished"] * 3
    assert "nothing is left to do" in cli("jobs", "resume", "--journal", database).err
    assert cli("jobs", "prune", "--journal", database, "--json").document == {"pruned": 3}
    assert cli("jobs", "--journal", database, "--json").document == []
    assert cli(*arguments).code == 0
    assert len(service.jobs) == 3


def test_the_configured_database_is_used_and_its_password_is_not_shown(
    cli: Cli, service: Sandbox, songs: list[str], database: str, home: Path
) -> None:
    url = database.replace("postgres:@", f"postgres:{PASSWORD}@")
    assert PASSWORD in url
    shown = [cli("config", "set", "journal", url), cli("config", "set", "journal", url, "--json")]
    shown += [cli("config"), cli("config", "--json"), cli("separate", songs[0], "--algorithm", "40")]
    assert service.jobs[0].hash in cli("jobs", "--json").out
    shown += [cli("jobs", "status", service.jobs[0].hash), cli("account", "history")]
    shown += [cli("journal"), cli("journal", "--json")]
    config = Path(json.loads(shown[1].out)["path"])
    config.chmod(0o644)
    shown.append(cli("config"))
    assert "others may read the password" in shown[-1].err
    assert not any(PASSWORD in ran.out + ran.err for ran in shown)
    assert [ran.code for ran in shown] == [0] * len(shown), shown
    assert PASSWORD in config.read_text()


def test_files_are_shared_if_an_option_or_the_configuration_says_so(
    cli: Cli, service: Sandbox, songs: list[str], database: str
) -> None:
    arguments = ("--algorithm", "40", "--journal", database)
    assert cli("separate", songs[0], *arguments).code == 0
    assert cli("separate", songs[1], *arguments, "--shared-files").code == 0
    assert cli("config", "set", "shared_files", "true").code == 0
    assert cli("separate", songs[2], *arguments).code == 0
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT machine IS NULL FROM mvsep.jobs ORDER BY number").fetchall()
    assert rows == [(False,), (True,), (True,)]
    ran = cli("config", "set", "shared_files", "perhaps")
    assert (ran.code, "true or false" in ran.err) == (2, True)


def test_a_library_uses_it(cli: Cli, service: Sandbox, songs: list[str], database: str) -> None:
    arguments = ("library", "songs", "stems", "--algorithm", "40", "--journal", database)
    assert cli(*arguments).code == 0
    assert cli(*arguments).code == 0
    assert len(service.jobs) == 3
    assert not Path("stems", ".mvsep", "journal.sqlite").exists()


def test_a_journal_is_shown_and_moved_there_and_back(
    cli: Cli, service: Sandbox, songs: list[str], database: str, home: Path
) -> None:
    assert cli("separate", *songs, "--algorithm", "40", "--journal", "j.sqlite").code == 0
    before = cli("journal", "--journal", "j.sqlite", "--json").document
    assert (before["jobs"], before["processes"], before["oldest_unfinished"]) == ({"finished": 3}, [], None)
    assert before["version"] > 0
    assert before["bytes"] > 0
    moved = cli("journal", "copy", "j.sqlite", database)
    assert (moved.code, "3 jobs moved" in moved.out, "marked as moved" in moved.err) == (0, True, True)
    again = cli("separate", *songs, "--algorithm", "40", "--journal", "j.sqlite")
    assert (again.code, "use the journal that they were moved to" in again.err) == (2, True)
    there = cli("journal", "--journal", database)
    assert "3 finished" in there.out
    assert cli("separate", *songs, "--algorithm", "40", "--journal", database).code == 0
    back = cli("journal", "copy", database, "new.sqlite", "--json")
    assert back.document["jobs"] == 3
    assert cli("separate", *songs, "--algorithm", "40", "--journal", "new.sqlite").code == 0
    assert len(service.jobs) == 3


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("journal", "copy", "a.sqlite", "b.sqlite"), "one of the two journals has to be a file"),
        (("journal", "copy", "a.sqlite", "postgresql://127.0.0.1:1/x"), "there is no journal at a.sqlite"),
        (("journal", "--journal", "a.sqlite"), "there is no journal 'a.sqlite'"),
        (("jobs", "--journal", f"postgresql://u:{PASSWORD}@127.0.0.1:1/x"), "postgresql://127.0.0.1:1/x cannot be"),
        (("jobs", "--journal", f"mysql://u:{PASSWORD}@127.0.0.1/x"), "begins with mysql://"),
        (("config", "set", "journal", f"postgresql://u:{PASSWORD}@{PASSWORD}@h/x"), "percent-encode"),
    ],
)
def test_mistakes(cli: Cli, service: Sandbox, words: tuple[str, ...], problem: str) -> None:
    ran = cli(*words)
    assert ran.code == 2
    assert problem in ran.err
    assert PASSWORD not in ran.out + ran.err


def test_a_url_is_accepted_where_pydantic_is_imported(cli: Cli) -> None:
    """As by `mvsep-async mcp`: cyclopts then validates what it has converted."""
    importlib.import_module("pydantic")
    ran = cli("journal", "--journal", "postgresql://127.0.0.1:1/x")
    assert "validation" not in ran.err, ran.err
