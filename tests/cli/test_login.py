from __future__ import annotations

import io
import tomllib
from collections.abc import Callable

import pytest

from mvsep_async.cli.config_file import config_path
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.accounts import DEFAULT_PASSWORD
from tests.cli.conftest import TOKEN, Cli

Typed = Callable[[str], None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, service: Sandbox) -> None:
    monkeypatch.delenv("MVSEP_API_TOKEN")


def test_login_keeps_the_token(cli: Cli, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvsep_async.cli.prompts.getpass", lambda question: DEFAULT_PASSWORD)
    typed("premium@example.test\n")
    ran = cli("login", "--verbose")
    assert ran.code == 0, ran.err
    assert TOKEN not in ran.out + ran.err
    assert DEFAULT_PASSWORD not in ran.out + ran.err
    assert tomllib.loads(config_path().read_text()) == {"token": TOKEN}
    assert cli("account").code == 0


def test_login_prints_the_token_and_keeps_it_nowhere(cli: Cli, typed: Typed) -> None:
    typed(f"{DEFAULT_PASSWORD}\n")
    ran = cli("login", "--email", "premium@example.test", "--password-stdin", "--print")
    assert ran.out == f"{TOKEN}\n"
    assert not config_path().exists()


def test_login_remembers_where(cli: Cli, typed: Typed, service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MVSEP_BASE_URL")
    typed(f"{TOKEN}\n")
    assert cli("login", "--token", "--password-stdin", "--base-url", service.url).code == 0
    assert cli("account").code == 0


def test_a_wrong_password(cli: Cli, typed: Typed) -> None:
    typed("not the password\n")
    ran = cli("login", "--email", "premium@example.test", "--password-stdin", "--verbose")
    assert ran.code == 2
    assert "does not accept this email and password" in ran.err
    assert "not the password" not in ran.out + ran.err
    assert not config_path().exists()


def test_a_wrong_token_is_not_kept(cli: Cli, typed: Typed) -> None:
    typed("wrong-token\n")
    ran = cli("login", "--token", "--password-stdin")
    assert ran.code == 2
    assert "wrong-token" not in ran.out + ran.err
    assert not config_path().exists()


def test_without_a_terminal_it_says_how_to_pipe(cli: Cli, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_terminal(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("mvsep_async.cli.prompts.getpass", no_terminal)
    ran = cli("login", "--email", "premium@example.test")
    assert ran.code == 2
    assert "--password-stdin" in ran.err


def test_register(cli: Cli, typed: Typed) -> None:
    typed("a good password\n")
    ran = cli("register", "--name", "Ann", "--email", "ann@example.test", "--password-stdin")
    assert ran.code == 0, ran.err
    typed("a good password\n")
    again = cli("register", "--name", "Ann", "--email", "ann@example.test", "--password-stdin")
    assert again.code == 1
    assert "email" in again.err


def test_passwords_that_differ(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["one password", "another one"])
    monkeypatch.setattr("mvsep_async.cli.prompts.getpass", lambda question: next(answers))
    ran = cli("register", "--name", "Ann", "--email", "ann@example.test")
    assert ran.code == 2
    assert "not the same" in ran.err
