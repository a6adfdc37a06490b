"""The listener that logs: one line an event, at the right level."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mvsep_async import Stage
from mvsep_async.observe import Answered, BudgetWaited, Downloaded, Event, LogEvents, Retried, Submitted
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (Submitted("a", 40, None), logging.INFO),
        (Answered("a", "h", Stage.DONE, 1.0), logging.INFO),
        (Answered("a", "h", Stage.CANCELLED, None), logging.INFO),
        (Answered("a", "h", Stage.FAILED, 1.0, "why"), logging.WARNING),
        (Retried("create", "why", "a"), logging.WARNING),
        (BudgetWaited(1.0), logging.DEBUG),
    ],
)
def test_failures_are_warnings(event: Event, level: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    LogEvents()(event)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("mvsep_async.events", level)


def test_every_event_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    LogEvents()(Downloaded("a", Path("stems/Ночь\nDownloaded job=forged"), 10, 10, 0.25))
    assert caplog.messages == [
        r"Downloaded job=a path='stems/Ночь\nDownloaded job=forged' size=10 received=10 seconds=0.250"
    ]


def test_the_record_has_the_fields_for_structured_logs(caplog: pytest.LogCaptureFixture) -> None:
    own = logging.getLogger("a.logger.of.my.own")
    own.setLevel(logging.INFO)
    LogEvents(own)(Submitted("a", 40, None))
    (record,) = caplog.records
    assert record.name == own.name
    assert record.message == "Submitted job=a algorithm=40"
    assert record.__dict__["mvsep"] == {"job": "a", "algorithm": 40, "group": None}


def test_nothing_is_written_below_the_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    LogEvents()(Retried("create", "why", "a"))
    assert not caplog.records


async def test_a_whole_job_can_be_read_in_the_log(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mvsep_async.events")
    async with client_of(sandbox, on_event=LogEvents()) as client:
        await client.separate(song, tmp_path, algorithm=40)
    words = [record.message.split()[0] for record in caplog.records if record.name == "mvsep_async.events"]
    assert words[:5] == ["Submitted", "SlotTaken", "Uploaded", "SlotFreed", "Answered"]
    assert words[5:] == ["Downloaded"] * len(words[5:])
    assert sandbox.premium_token not in caplog.text
