"""Metrics and spans of real jobs, as OpenTelemetry's own SDK collects them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from mvsep_async import Stage
from mvsep_async.observe import BudgetWaited, Left, SlotFreed, SlotTaken, Telemetry
from mvsep_async.sandbox import Sandbox
from tests.client.support import reached, until
from tests.conftest import NewClient


@define
class Station:
    """A telemetry and what arrived from it."""

    telemetry: Telemetry
    reader: InMemoryMetricReader
    exporter: InMemorySpanExporter

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def metric(self, name: str, **attributes: str) -> Any:
        """Return the value of a metric: its sum, or of a histogram the count; `None` if nothing was recorded."""
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                assert scope.scope.name == "mvsep_async"
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        wanted = {f"mvsep.{key}": value for key, value in attributes.items()}
                        if metric.name == name and dict(point.attributes) == wanted:
                            return point.count if hasattr(point, "count") else point.value
        return None


@pytest.fixture
def station() -> Iterator[Station]:
    reader, exporter = InMemoryMetricReader(), InMemorySpanExporter()
    meters, tracers = MeterProvider([reader], shutdown_on_exit=False), TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    yield Station(Telemetry(meter_provider=meters, tracer_provider=tracers), reader, exporter)
    meters.shutdown()
    tracers.shutdown()


async def test_a_job_becomes_a_span_and_counts(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, station: Station
) -> None:
    async with client_of(sandbox, on_event=station.telemetry) as client:
        job = await client.submit(song, algorithm=40)
        paths = await job.download(tmp_path)
    (span,) = station.spans
    assert span.name == "mvsep.job"
    assert dict(span.attributes or {}) == {"mvsep.job": job.id, "mvsep.stage": "done"}
    assert span.status.status_code is StatusCode.UNSET
    (uploaded,) = span.events
    assert uploaded.name == "uploaded"
    assert dict(uploaded.attributes or {})["mvsep.hash"] == job.hash
    assert station.metric("mvsep.jobs", stage="queued") == 1
    assert station.metric("mvsep.jobs", stage="done") == 1
    assert station.metric("mvsep.job.duration", stage="done") == 1
    assert station.metric("mvsep.slots.held") == 0
    assert station.metric("mvsep.uploaded") == song.stat().st_size
    assert station.metric("mvsep.downloaded") == sum(path.stat().st_size for path in paths)
    assert station.metric("mvsep.retries", step="create") is None


async def test_a_job_that_fails_is_a_span_with_an_error(
    held: Sandbox, client_of: NewClient, song: Path, station: Station
) -> None:
    async with client_of(held, on_event=station.telemetry) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        assert station.metric("mvsep.slots.held") == 1
        held.fail(str(job.hash), "no audio in it")
        async for _ in job:
            pass
    (span,) = station.spans
    assert span.status.status_code is StatusCode.ERROR
    assert "no audio in it" in str(span.status.description)
    assert held.premium_token not in span.to_json()
    assert station.metric("mvsep.jobs", stage="failed") == 1


async def test_a_job_that_is_refused_and_sent_again_is_one_span(
    client_of: NewClient, song: Path, station: Station
) -> None:
    async with Sandbox(stems="copy", job_seconds=0.0, premium_limit=1) as sandbox:
        sandbox.occupy(sandbox.premium_token, 1)
        async with client_of(sandbox, concurrency=1, on_event=station.telemetry) as client:
            job = await client.submit(song, algorithm=40)
            await until(lambda: station.metric("mvsep.retries", step="create"))
            await until(lambda: station.metric("mvsep.slots.held") == 0)
            sandbox.release(sandbox.premium_token)
            await job
    (span,) = station.spans
    assert [event.name for event in span.events][:1] == ["retried"]
    assert [event.name for event in span.events][-1:] == ["uploaded"]
    assert station.metric("mvsep.slots.held") == 0


async def test_unfinished_jobs_end_their_spans_when_the_client_closes(
    held: Sandbox, client_of: NewClient, song: Path, station: Station
) -> None:
    async with client_of(held, concurrency=2, on_event=station.telemetry) as client:
        jobs = [await client.submit(song, algorithm=40) for _ in range(3)]
        await reached(jobs[0], Stage.WAITING)
        await reached(jobs[1], Stage.WAITING)
        assert station.spans == []
    assert [dict(span.attributes or {})["mvsep.stage"] for span in station.spans] == ["left", "left"]
    assert station.metric("mvsep.slots.held") == 0


async def test_one_telemetry_serves_several_clients(
    held: Sandbox, client_of: NewClient, song: Path, station: Station
) -> None:
    async with client_of(held, on_event=station.telemetry) as first:
        one = await first.submit(song, algorithm=40)
        await reached(one, Stage.WAITING)
        async with client_of(held, on_event=station.telemetry) as second:
            other = await second.submit(song, algorithm=40)
            await reached(other, Stage.WAITING)
            assert station.metric("mvsep.slots.held") == 2
        assert station.metric("mvsep.slots.held") == 1
        held.finish(str(one.hash))
        await one
    assert {dict(span.attributes or {})["mvsep.job"] for span in station.spans} == {one.id, other.id}
    assert station.metric("mvsep.slots.held") == 0


def test_slots_of_unknown_jobs_are_not_counted(station: Station) -> None:
    station.telemetry(SlotTaken("a", 1, 10, 1))
    station.telemetry(SlotFreed("of an earlier run", 1, 10))
    station.telemetry(Left("of an earlier run", "hash", Stage.WAITING))
    assert station.metric("mvsep.slots.held") == 1
    assert station.spans == []


def test_waits_for_the_budget_are_a_histogram(station: Station) -> None:
    for _ in range(3):
        station.telemetry(BudgetWaited(0.5))
    assert station.metric("mvsep.budget.wait") == 3


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match="pip install"):
        Telemetry()
