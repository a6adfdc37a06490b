from __future__ import annotations

import os
import stat
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.cli import config_file
from mvsep_async.cli.config_file import read, write
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import TOKEN, Cli


def the_file() -> Path:
    return config_file.config_path()


def configured(text: str) -> Path:
    file = the_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    file.chmod(0o600)
    return file


def test_there_is_none() -> None:
    assert read(the_file()) == {}


def test_writing_keeps_the_rest(home: Path) -> None:
    file = configured('# mine\nout = "stems" # here\ntoken = "old"\n')
    write(file, "token", "new")
    write(file, "base_url", "http://127.0.0.1:1")
    assert file.read_text() == ('# mine\nout = "stems" # here\ntoken = "new"\nbase_url = "http://127.0.0.1:1"\n')


@pytest.mark.skipif(sys.platform == "win32", reason="modes mean nothing there")
def test_only_its_owner_can_read_it() -> None:
    old = os.umask(0)
    try:
        write(the_file(), "token", TOKEN)
    finally:
        os.umask(old)
    assert stat.S_IMODE(the_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(the_file().parent.stat().st_mode) == 0o700
    the_file().chmod(0o644)
    write(the_file(), "token", "another")
    assert stat.S_IMODE(the_file().stat().st_mode) == 0o600
    assert [path.name for path in the_file().parent.iterdir()] == ["config.toml"]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["token", "out", "algorithm"]))
def test_what_is_written_is_read(value: str, key: str) -> None:
    text = config_file._with('# a comment\nout = "x"\n', key, value)
    assert tomllib.loads(text) == {"out": "x"} | {key: value}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("token = ", "no TOML"),
        ('tokn = "x"', "did you mean token?"),
        ("format = 3", "no text"),
        ('[table]\nout = "x"', "unknown key 'table'"),
    ],
)
def test_what_cannot_be_read_is_told(cli: Cli, text: str, told: str) -> None:
    file = configured(text)
    with pytest.raises(UsageProblem, match=r"configuration file"):
        read(file)
    ran = cli("config")
    assert ran.code == 2
    assert told in ran.err
    assert str(file) in ran.err
    assert ran.err.count("\n") == 1


def test_a_number_is_an_algorithm() -> None:
    assert read(configured("algorithm = 40")) == {"algorithm": "40"}


def test_config_shows_where_each_value_comes_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    file = configured(f'token = "{TOKEN}"\nbase_url = "http://127.0.0.1:1"\nformat = "flac"\n')

    def shown(*words: str) -> dict[str, tuple[str | None, str]]:
        ran = cli("config", "--json", *words)
        assert TOKEN not in ran.out + ran.err
        return {row["setting"]: (row["value"], row["from"]) for row in ran.document}

    assert shown()["token"] == ("[token]", str(file))
    assert shown()["base_url"] == ("http://127.0.0.1:1", str(file))
    assert shown()["format"] == ("flac", str(file))
    assert shown()["out"] == ("stems", "default")
    monkeypatch.setenv("MVSEP_API_TOKEN", "from-the-environment")
    monkeypatch.setenv("MVSEP_BASE_URL", "http://127.0.0.1:2")
    assert shown()["token"] == ("[token]", "MVSEP_API_TOKEN")
    assert shown()["base_url"] == ("http://127.0.0.1:2", "MVSEP_BASE_URL")
    assert shown("--base-url", "http://127.0.0.1:3")["base_url"] == ("http://127.0.0.1:3", "--base-url")
    table = cli("config").out
    assert "MVSEP_API_TOKEN" in table
    assert "from-the-environment" not in table


@pytest.mark.skipif(sys.platform == "win32", reason="modes mean nothing there")
def test_a_token_that_others_may_read_is_warned_of(cli: Cli) -> None:
    configured(f'token = "{TOKEN}"').chmod(0o644)
    assert "chmod 600" in cli("config").err


def test_the_token_of_the_file_is_used(cli: Cli, service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MVSEP_API_TOKEN")
    configured(f'token = "{TOKEN}"')
    assert cli("account", "--json").document["name"] == "Premium"
