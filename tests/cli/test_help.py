"""The help of commands: one screen for people, and everything with `--help-all`."""

from __future__ import annotations

import re

import pytest

from mvsep_async.cli.app import COMMANDS
from tests.cli.conftest import Cli

_COMMON = ("--base-url", "--region", "--profile", "--json", "--quiet", "--verbose")
_BELOW = ("jobs download", "jobs resume", "account history", "recipe run", "journal copy", "algorithms show")
ALL = [name for name, *_ in COMMANDS] + list(_BELOW)


def options(text: str) -> dict[str, str]:
    """Return what is said of each option, by its long name."""
    entries = re.findall(r"^  (?:-\w, |    )?(--[\w-]+)[^\n]*?(?:\n {9,}|  )(\S[^\n]*)", text, re.MULTILINE)
    return {name: about.strip() for name, about in entries}


@pytest.mark.parametrize("name", [*ALL, "service", "more", ""])
def test_the_help_of_a_command_fits_a_terminal_of_24_rows_and_80_columns(cli: Cli, name: str) -> None:
    lines = cli(*name.split(), "--help").out.splitlines()
    assert len(lines) <= 23  # and the prompt
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ALL)
def test_help_all_describes_every_option(cli: Cli, name: str) -> None:
    short, full = cli(*name.split(), "--help").out, cli(*name.split(), "--help-all").out
    named = set(re.findall(r"--[a-z][\w-]+", short)) - {"--help-all"}
    common = set(_COMMON) if "[OPTIONS]" in full else set()
    assert named | common <= options(full).keys()
    assert max(map(len, full.splitlines())) <= 80


@pytest.mark.parametrize("name", ["separate", "library"])
def test_the_short_help_explains_an_option_or_names_it(cli: Cli, name: str) -> None:
    short, full = cli(name, "--help").out, cli(name, "--help-all").out
    assert set(options(full)) - set(_COMMON) <= set(re.findall(r"--[a-z][\w-]+", short))
    assert {"--algorithm", "--format", "--dry-run"} <= options(short).keys()
    assert "--poll-interval" not in options(short)


def test_the_whole_description_is_in_the_full_help(cli: Cli) -> None:
    assert "nothing is paid twice" in " ".join(cli("separate", "--help-all").out.split())


def test_h_is_help(cli: Cli) -> None:
    assert cli("separate", "-h").out == cli("separate", "--help").out == cli("separate", "song.wav", "--help").out


def test_an_asterisk_of_a_pattern_is_shown(cli: Cli) -> None:
    assert '"*.flac"' in cli("library", "--help").out
