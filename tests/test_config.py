"""Client settings: pauses against the real service do not depend on the poll interval."""

from __future__ import annotations

import pytest

from mvsep_async.client import MVSepClient
from mvsep_async.config import ClientConfig, base_of, default_poll_interval, time_scale_of
from mvsep_async.errors import ConfigurationError
from mvsep_async.testing import no_waiting
from tests.conftest import STRANGER


def config(base_url: str, poll_interval: float | None = None) -> ClientConfig:
    return ClientConfig(token=None, base=base_of(base_url, None), poll_interval=poll_interval)


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


@pytest.mark.parametrize("rate", [0, 100, -1, float("nan")])
def test_a_rate_limit_that_is_too_low_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="limit_rate must be at least 1024"):
        MVSepClient(limit_rate=rate)


@pytest.mark.parametrize(
    ("base_url", "url", "allowed"),
    [
        ("https://mvsep.com", "https://cdn.example/stem.wav", False),
        ("https://mvsep.com", "https://de.mvsep.com/storage/stem.wav", True),
        ("https://mvsep.com", "http://192.168.1.1/stem.wav", False),
        ("http://127.0.0.1:8000", "http://192.168.1.1/stem.wav", True),
        ("http://nas.local", "http://192.168.1.1/stem.wav", True),
        ("http://nas", "http://192.168.1.1/stem.wav", True),
        ("http://10.0.0.5", "http://192.168.1.1/stem.wav", True),
        ("http://8.8.8.8", "http://192.168.1.1/stem.wav", False),
    ],
)
def test_only_a_private_service_leads_to_private_addresses(
    base_url: str, url: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MVSEP_ALLOW_PRIVATE_DOWNLOADS", raising=False)
    assert config(base_url=base_url).may_be_private(url) is allowed
    monkeypatch.setenv("MVSEP_ALLOW_PRIVATE_DOWNLOADS", "1")
    assert config(base_url=base_url).may_be_private(url)
