"""`mvsep-async sandbox`: its options, and what it prints."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import mvsep_async.sandbox
from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import Cli


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Sandbox]:
    """The sandboxes that the command would serve; each is started, announced and stopped at once."""
    sandboxes: list[Sandbox] = []

    def serve(sandbox: Sandbox, started: Callable[[Sandbox], None]) -> None:
        with sandbox:
            started(sandbox)
        sandboxes.append(sandbox)

    monkeypatch.setattr(mvsep_async.sandbox, "serve", serve)
    return sandboxes


@pytest.mark.parametrize(
    ("option", "value", "setting"),
    [
        ("--speed", "8", ("speed", 8)),
        ("--job-seconds", "60", ("job_seconds", 60)),
        ("--queue-seconds", "15", ("queue_seconds", 15)),
        ("--jobs-ahead", "5", ("jobs_ahead", 5)),
        ("--requests-per-minute", "60", ("requests_per_minute", 60)),
        ("--link-bytes-per-second", "1000000", ("link_bytes_per_second", 1_000_000)),
        ("--body-read-timeout", "5", ("body_read_timeout", 5)),
        ("--premium-limit", "3", ("premium_limit", 3)),
        ("--premium-minutes", "7", ("premium_minutes", 7)),
        ("--free-limit", "2", ("free_limit", 2)),
        ("--free-per-day", "3", ("free_per_day", 3)),
        ("--manual", None, ("manual", True)),
    ],
)
def test_every_option_is_a_setting(
    cli: Cli, served: list[Sandbox], option: str, value: str | None, setting: tuple[str, object]
) -> None:
    ran = cli("sandbox", option, *([] if value is None else [value]))
    assert ran.code == 0, ran.err
    name, expected = setting
    assert getattr(served[0], name) == expected
    assert getattr(Sandbox(), name) != expected, "a value that the option need not have set"


def test_the_defaults_are_those_of_the_service(cli: Cli, served: list[Sandbox]) -> None:
    assert cli("sandbox").code == 0
    (sandbox,) = served
    assert (sandbox.requests_per_minute, sandbox.premium_limit, sandbox.free_limit) == (120, 10, 1)
    assert (sandbox.link_bytes_per_second, sandbox.job_seconds, sandbox.free_per_day) == (None, None, 50)


def test_it_prints_how_to_reach_it(cli: Cli, served: list[Sandbox]) -> None:
    shown = cli("sandbox")
    for text in (served[0].url, served[0].premium_token, served[0].free_token, "MVSEP_BASE_URL", "MVSEP_API_TOKEN"):
        assert text in shown.out
    ran = cli("sandbox", "--json")
    (document,) = ran.documents
    assert document == {
        "url": served[1].url, "premium_token": served[1].premium_token, "free_token": served[1].free_token,
    }  # fmt: skip


def test_a_port_in_use_is_named(cli: Cli) -> None:
    with Sandbox() as other:
        ran = cli("sandbox", "--port", str(other.port))
    assert ran.code == 2
    assert f"port {other.port} cannot be used" in ran.err


@pytest.mark.parametrize("option", ["--speed", "--link-bytes-per-second", "--requests-per-minute"])
def test_a_rate_of_zero_is_refused(cli: Cli, option: str) -> None:
    ran = cli("sandbox", option, "0")
    assert ran.code == 2
    assert option in ran.err
