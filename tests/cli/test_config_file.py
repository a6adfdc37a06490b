from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.cli import config_file
from mvsep_async.cli.config import parse_rate
from mvsep_async.cli.config_file import config_path, read, remove, write
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


def test_a_missing_file_is_an_empty_configuration() -> None:
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
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.toml")
        file.write_text('# a comment\nout = "x"\n\n[profile.band]\nout = "y"\n')
        write(file, key, value)
        assert read(file) == {"out": "x"} | {key: value}
        assert read(file, "band") == {"out": "y", key: value} | {"out": "y"}
        for profile in ("band", "new", "an odd one"):
            write(file, key, value, profile)
            assert read(file, profile)[key] == value
        assert file.read_text().startswith("# a comment\n")
        assert remove(file, key, "band")
        assert not remove(file, key, "band")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("token = ", "not valid TOML"),
        ('tokn = "x"', "did you mean token?"),
        ("format = 3", "not text"),
        ('[table]\nout = "x"', "unknown key 'table'"),
    ],
)
def test_what_cannot_be_read_is_reported(cli: Cli, text: str, told: str) -> None:
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


def test_a_profile_goes_before_the_rest(cli: Cli, service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    configured(
        f'token = "{TOKEN}"\nformat = "flac"\n[profile.band]\ntoken = "{service.free_token}"\nout = "~/band stems"\n'
    )
    monkeypatch.delenv("MVSEP_API_TOKEN")
    assert cli("account", "--json").document["name"] == "Premium"
    assert cli("account", "--json", "--profile", "band").document["name"] != "Premium"
    monkeypatch.setenv("MVSEP_API_TOKEN", TOKEN)
    assert cli("account", "--json", "--profile", "band").document["name"] != "Premium"
    shown = {row["setting"]: row["value"] for row in cli("config", "--json", "--profile", "band").document}
    assert (shown["format"], shown["out"]) == ("flac", "~/band stems")
    missing = cli("account", "--profile", "bnad")
    assert (missing.code, "profiles in it: band" in missing.err) == (2, True)


def test_a_tilde_is_the_home_folder(
    cli: Cli, service: Sandbox, songs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "me"))
    configured('out = "~/stems"\njournal = "~/jobs.sqlite"\n')
    assert cli("separate", songs[0], "--poll-interval", "0.02").code == 0
    assert (tmp_path / "me" / "stems").is_dir()
    assert (tmp_path / "me" / "jobs.sqlite").is_file()


def test_config_set_and_unset(cli: Cli) -> None:
    assert cli("config", "set", "format", "flac").code == 0
    assert cli("config", "set", "out", "there", "--profile", "band").code == 0
    assert read(config_path(), "band") == {"format": "flac", "out": "there"}
    assert cli("config", "unset", "format").code == 0
    assert read(config_path()) == {}
    assert cli("config", "set", "token", "x").code == 2


def test_logout_removes_the_token(cli: Cli) -> None:
    file = configured(f'out = "x"\ntoken = "{TOKEN}"\n')
    assert "was removed" in cli("logout").out
    assert file.read_text() == 'out = "x"\n'
    assert "there is no token" in cli("logout").out


def test_a_region_is_an_address(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(*words: str) -> str:
        return next(row["value"] for row in cli("config", "--json", *words).document if row["setting"] == "base_url")

    assert shown("--region", "de2") == "https://de2.mvsep.com"
    configured('region = "hk"\n')
    assert shown() == "https://hk.mvsep.com"
    assert cli("config", "--region", "de", "--base-url", "https://x.test").code == 2
    configured('region = "mars"\n')
    assert cli("config").code == 2


@pytest.mark.parametrize(
    ("text", "rate"), [("2M", 2 * 1024**2), ("500k", 500 * 1024), ("1.5G", 1.5 * 1024**3), ("9000", 9000.0)]
)
def test_a_rate_is_written_as_for_curl(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["fast", "-1", "0", "2T", "M", "1..2"])
def test_an_invalid_rate_is_reported(cli: Cli, text: str) -> None:
    ran = cli("separate", "a.wav", "--limit-rate=" + text)
    assert (ran.code, ran.err.count("\n")) == (2, 1)


def test_without_a_home_directory_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a user id without a passwd entry."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    for find in (config_file.config_path, config_file.cache_folder, config_file.state_folder):
        with pytest.raises(UsageProblem, match="set HOME"):
            find()
    with pytest.raises(UsageProblem, match="set HOME"):
        config_file.expand_home("~/stems")
    assert config_file.expand_home("stems") == Path("stems")


@pytest.mark.parametrize(
    ("key", "value"),
    [("format", "ogg"), ("limit_rate", "fast"), ("base_url", "x"), ("region", "moon"), ("shared_files", "maybe")],
)
def test_a_value_that_no_command_takes_is_not_written(cli: Cli, key: str, value: str) -> None:
    ran = cli("config", "set", key, value)
    assert (ran.code, value in ran.err) == (2, True)
    assert not config_path().exists()


def test_a_preset_is_not_set_as_the_algorithm(cli: Cli) -> None:
    ran = cli("config", "set", "algorithm", "Karaoke")
    assert ran.code == 2
    assert "'Karaoke' is a preset, not an algorithm: `mvsep-async config set algorithm 49`" in ran.err
    assert not config_path().exists()
