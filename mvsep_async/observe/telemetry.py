"""A subscriber that feeds OpenTelemetry, where that package is installed."""

from __future__ import annotations

import time
from typing import Any

from mvsep_async._version import __version__
from mvsep_async.jobs.stage import Stage
from mvsep_async.observe.events import (
    Answered,
    BudgetWaited,
    Downloaded,
    Event,
    Retried,
    SlotTaken,
    Submitted,
    Uploaded,
)

__all__ = ["Telemetry"]


class Telemetry:
    """Turns events into metrics, and each job into a span from its slot to the service's answer.

    Metrics: `mvsep.jobs` (by stage), `mvsep.job.duration` (s), `mvsep.slots.held`, `mvsep.uploaded` and
    `mvsep.downloaded` (bytes), `mvsep.retries`, `mvsep.budget.wait` (s). Needs the package `opentelemetry-api`; raises
    `ImportError` without it.
    """

    def __init__(self, *, meter_provider: Any = None, tracer_provider: Any = None) -> None:
        from opentelemetry import metrics, trace

        meter = metrics.get_meter("mvsep_async", __version__, meter_provider=meter_provider)
        self._tracer = trace.get_tracer("mvsep_async", __version__, tracer_provider=tracer_provider)
        self._failed = trace.Status(trace.StatusCode.ERROR)
        self._jobs = meter.create_counter("mvsep.jobs", description="Jobs by the stage they reached")
        self._duration = meter.create_histogram("mvsep.job.duration", unit="s", description="Accepted to over")
        self._held = meter.create_gauge("mvsep.slots.held", description="Slots of the account in use")
        self._uploaded = meter.create_counter("mvsep.uploaded", unit="By")
        self._downloaded = meter.create_counter("mvsep.downloaded", unit="By")
        self._retries = meter.create_counter("mvsep.retries")
        self._waits = meter.create_histogram("mvsep.budget.wait", unit="s")
        self._spans: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Submitted():
                self._jobs.add(1, {"stage": Stage.QUEUED.value})
            case SlotTaken(job=job, held=held):
                self._held.set(held)
                self._spans.setdefault(job, self._tracer.start_span("mvsep.job", attributes={"mvsep.job": job}))
            case Uploaded(size=size):
                self._uploaded.add(size)
                self._note(event.job, "uploaded", {"size": size})
            case Answered(stage=stage, seconds=seconds):
                self._jobs.add(1, {"stage": stage.value})
                self._duration.record(seconds, {"stage": stage.value})
                self._end(event)
            case Downloaded(received=received):
                self._downloaded.add(received)
            case Retried(what=what):
                self._retries.add(1, {"what": what})
                if event.job is not None:
                    self._note(event.job, "retried", {"error": event.error})
            case BudgetWaited(seconds=seconds):
                self._waits.record(seconds)

    def _note(self, job: str, name: str, attributes: dict[str, Any]) -> None:
        if job in self._spans:
            self._spans[job].add_event(name, attributes, timestamp=time.time_ns())

    def _end(self, event: Answered) -> None:
        span = self._spans.pop(event.job, None)
        if span is not None:
            span.set_attribute("mvsep.stage", event.stage.value)
            if event.error is not None:
                span.set_status(self._failed)
            span.end()
