"""A listener that reports to OpenTelemetry, if that package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvsep_async._version import __version__
from mvsep_async.models.stage import Stage
from mvsep_async.observe.events import (
    Answered,
    BudgetWaited,
    Downloaded,
    Event,
    Left,
    Retried,
    SlotFreed,
    SlotTaken,
    Submitted,
    Uploaded,
)

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["Telemetry"]


class Telemetry:
    """Reports events as metrics, and each job as a span `mvsep.job` from its first slot to the end of the separation.

    Metrics: `mvsep.jobs` (submitted and answered, by `mvsep.stage`), `mvsep.job.duration` (s, accepted to over),
    `mvsep.slots.held`, `mvsep.uploaded` and `mvsep.downloaded` (bytes), `mvsep.retries` (by `mvsep.step`),
    `mvsep.budget.wait` (s). One object may serve several clients. By default the global providers are used. Raises
    `ImportError` without the package `opentelemetry-api` (extra `telemetry`).
    """

    def __init__(
        self, *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise ImportError('Telemetry needs OpenTelemetry: pip install "mvsep-async[telemetry]"') from error
        meter = metrics.get_meter("mvsep_async", __version__, meter_provider)
        self._tracer = trace.get_tracer("mvsep_async", __version__, tracer_provider)
        self._error = trace.StatusCode.ERROR
        self._jobs = meter.create_counter("mvsep.jobs", description="Jobs submitted and answered")
        self._duration = meter.create_histogram("mvsep.job.duration", "s", "From accepted to over")
        self._slots = meter.create_up_down_counter("mvsep.slots.held", description="Slots of the account in use")
        self._uploaded = meter.create_counter("mvsep.uploaded", "By")
        self._downloaded = meter.create_counter("mvsep.downloaded", "By")
        self._retries = meter.create_counter("mvsep.retries")
        self._waits = meter.create_histogram("mvsep.budget.wait", "s", "Requests waiting for the minute's budget")
        self._spans: dict[str, Span] = {}
        self._holding: set[str] = set()

    def __call__(self, event: Event) -> None:
        match event:
            case Submitted():
                self._jobs.add(1, {"mvsep.stage": Stage.QUEUED.value})
            case SlotTaken(job=job):
                self._take(job)
            case SlotFreed(job=job):
                self._free(job)
            case Uploaded(job=job, size=size):
                self._uploaded.add(size)
                self._note(job, "uploaded", {"mvsep.hash": event.hash, "mvsep.size": size})
            case Answered(job=job, stage=stage):
                self._jobs.add(1, {"mvsep.stage": stage.value})
                if event.seconds is not None:
                    self._duration.record(event.seconds, {"mvsep.stage": stage.value})
                self._end(job, stage.value, event.error)
            case Downloaded(received=received):
                self._downloaded.add(received)
            case Left(job=job):
                self._free(job)
                self._end(job, "left", None)
            case Retried(what=what):
                self._retries.add(1, {"mvsep.step": what})
                if event.job is not None:
                    self._note(event.job, "retried", {"mvsep.step": what, "mvsep.error": event.error})
            case BudgetWaited(seconds=seconds):
                self._waits.record(seconds)

    def _take(self, job: str) -> None:
        self._holding.add(job)
        self._slots.add(1)
        if job not in self._spans:  # its create may have been refused before
            self._spans[job] = self._tracer.start_span("mvsep.job", attributes={"mvsep.job": job})

    def _free(self, job: str) -> None:
        if job in self._holding:  # slots of jobs from an earlier run had no event
            self._holding.remove(job)
            self._slots.add(-1)

    def _note(self, job: str, name: str, attributes: dict[str, str | int]) -> None:
        if job in self._spans:
            self._spans[job].add_event(name, attributes)

    def _end(self, job: str, stage: str, error: str | None) -> None:
        span = self._spans.pop(job, None)
        if span is None:
            return
        span.set_attribute("mvsep.stage", stage)
        if error is not None:
            span.set_status(self._error, error)
        span.end()
