"""The endpoints of the site: catalogue, news, queue and demo page."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mvsep_async.sandbox.accounts import Account
from mvsep_async.sandbox.catalogue import catalogue_json
from mvsep_async.sandbox.jobs import Phase, Priority
from mvsep_async.sandbox.parameters import integer
from mvsep_async.sandbox.service import Service

from . import pages
from .handling import Routes, authenticate, page

_SECONDS_PER_JOB = 30
"""The estimated time of a waiting job in the queue's summary (the service's own figure is not known)."""


async def _algorithms(service: Service, request: Request) -> object:
    quirks = service.settings.quirks
    query = request.query_params
    scopes = tuple(re.split(r"[,\s]+", query.get("scopes") or "single_upload"))
    nested = quirks.nested_groups and bool(query.get("api_token"))
    body = catalogue_json(scopes, slashes=quirks.escaped_slashes, nested=nested)
    return Response(body, media_type="application/json")


async def _news(service: Service, request: Request) -> object:
    return pages.news(request.query_params.get("lang", "en"))[page(request.query_params)]


async def _queue(service: Service, request: Request) -> object:
    service.refresh()
    waiting = {str(priority): service.waiting(priority) for priority in Priority}
    answer: dict[str, Any] = {"queue": {"in_process": len(service.queue.running), **waiting}}
    if request.query_params.get("api_token"):
        account = authenticate(service, request.query_params)
        priority = _priority(account)
        answer[service.settings.quirks.queue_key] = {"plan": str(priority), "queue": waiting[priority]}
        answer["free_separations"] = {"left": service.free_left(account), "max": service.settings.free_per_day}
    return answer


async def _queue_summary(service: Service, request: Request) -> object:
    priority = _priority(authenticate(service, request.query_params))
    service.refresh()
    ahead = service.waiting(priority) + service.settings.jobs_ahead
    seconds = round(ahead * _SECONDS_PER_JOB / service.settings.speed)
    return {"success": True, "data": {"ahead": ahead, "estimated_wait_seconds": seconds}}


async def _demo(service: Service, request: Request) -> object:
    query = request.query_params
    service.refresh()
    wanted = integer(query, "algorithm_id", 0) if query.get("algorithm_id") else None
    options = {name[8:-1]: value for name, value in query.items() if name.startswith("options[") and name[-1] == "]"}
    published = [
        service.render.demo_entry(job)
        for job in reversed(service.history)
        if job.is_demo and job.phase is Phase.DONE and pages.in_demo(job, wanted, options)
    ]
    recorded = [e for e in pages.recorded_demo() if not options and wanted in (None, e["algorithm"]["render_id"])]
    return [*published, *recorded][page(query)]


def _priority(account: Account) -> Priority:
    return Priority.PREMIUM if account.premium else Priority.REGISTERED


ROUTES: Routes = (
    ("GET", "/api/app/algorithms", _algorithms),
    ("GET", "/api/app/news", _news),
    ("GET", "/api/app/queue", _queue),
    ("GET", "/api/app/queue/summary", _queue_summary),
    ("GET", "/api/app/demo", _demo),
)
"""The endpoints of the section."""
