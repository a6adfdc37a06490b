"""The time_scale: what a client at the real service waits for does not shrink with its poll interval."""

from __future__ import annotations

from typing import Any

import pytest

from mvsep_async.client import MVSepClient
from mvsep_async.config import ClientConfig, default_poll_interval, time_scale_of
from mvsep_async.errors import ConfigurationError
from mvsep_async.testing import no_waiting
from tests.conftest import STRANGER

SETTINGS: dict[str, Any] = dict.fromkeys(
    [
        "api_token",
        "base_url",
        "region",
        "concurrency",
        "journal",
        "requests_per_minute",
        "poll_interval",
        "timeout",
        "patience",
        "group_cap",
        "cache",
        "limit_rate",
        "on_event",
    ]
)


def config(**settings: Any) -> ClientConfig:
    return ClientConfig.of(**{**SETTINGS, **settings})


@pytest.mark.parametrize(
    ("base_url", "poll_interval", "time_scale"),
    [
        ("https://mvsep.com", 0.1, 1.0),
        ("https://mvsep.com", 20.0, 1.0),
        ("http://127.0.0.1:8000", 0.1, 0.05),
        ("http://[::1]:8000", 0.1, 0.05),
        ("http://localhost:8000", 20.0, 1.0),
    ],
)
def test_only_a_service_on_this_machine_is_waited_for_less(
    base_url: str, poll_interval: float, time_scale: float
) -> None:
    assert config(base_url=base_url, poll_interval=poll_interval).time_scale == pytest.approx(time_scale)


def test_no_waiting_makes_new_clients_fast_and_is_undone() -> None:
    with no_waiting():
        fast = config(base_url="http://127.0.0.1:8000")
    slow = config(base_url="http://127.0.0.1:8000")
    assert fast.poll_interval < 0.05
    assert slow.poll_interval == default_poll_interval.get() == 2.0
    assert time_scale_of(2.0, local=True) == 1.0


def test_a_region_is_short_for_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVSEP_BASE_URL", "http://127.0.0.1:8000")
    assert repr(MVSepClient(STRANGER, region="de2")) == "<MVSepClient https://de2.mvsep.com new>"


def test_an_unknown_region_and_two_addresses_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown region 'fr': use one of de, de2"):
        MVSepClient(STRANGER, region="fr")
    with pytest.raises(ConfigurationError, match="not both"):
        MVSepClient(STRANGER, region="de", base_url="https://mvsep.com")
