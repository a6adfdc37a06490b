"""The endpoints of the quality checker."""

from __future__ import annotations

import zipfile

import anyio.to_thread
from starlette.requests import Request

from mvsep_async.sandbox.parameters import flag, integer
from mvsep_async.sandbox.quality import entry_json, sortables
from mvsep_async.sandbox.refusals import invalid, missing
from mvsep_async.sandbox.service import Service

from .handling import Routes, authenticate, host_of, page, read_fields, read_upload

_CHECK_SECONDS = 60.0
"""How long the check of an entry takes at speed 1 (chosen)."""


async def _queue(service: Service, request: Request) -> object:
    now, epoch = service.clock.now(), service.clock.epoch(0)
    return [entry_json(entry, now, epoch) for entry in service.quality.newest()[page(request.query_params)]]


async def _leaderboard(service: Service, request: Request) -> object:
    query = request.query_params
    dataset, sort = query.get("dataset_type") or "0", query.get("sort") or sortables()[0]
    now, epoch = service.clock.now(), service.clock.epoch(0)
    leaders = service.quality.leaders(dataset, query.get("algo_name_filter", ""), sort, now)
    return {
        "success": True,
        "data": [entry_json(entry, now, epoch) for entry in leaders[page(query)]],
        "dataset_type": dataset,
        "sortables": sortables(),
        "sort": sort,
    }


async def _add(service: Service, request: Request) -> object:
    form = await read_upload(service, request)
    try:
        fields = form.fields
        authenticate(service, fields, status=401)
        for name in ("algo_name", "main_text"):
            if not fields.get(name):
                raise missing(name)
        if "zipfile" not in form.files:
            raise missing("zipfile")
        ensemble = flag(fields, "ensemble")
        readable = await anyio.to_thread.run_sync(zipfile.is_zipfile, form.files["zipfile"].path)
        entry = service.quality.add(
            dataset_type=fields.get("dataset_type") or "0",
            algo_name=fields["algo_name"],
            main_text=fields["main_text"],
            ensemble=ensemble,
            password=fields.get("password", ""),
            now=service.clock.now(),
            seconds=_CHECK_SECONDS / service.settings.speed,
            readable=readable,
        )
    finally:
        form.discard()
    link = f"{service.links.origin(host_of(request))}/api/quality_checker/entry?id={entry.id}"
    return {"success": True, "data": {"id": entry.id, "link": link}}


async def _entry(service: Service, request: Request) -> object:
    entry = service.quality.find(integer(request.query_params, "id", -1))
    if entry is None:
        raise invalid("id", "Entry not found")
    return entry_json(entry, service.clock.now(), service.clock.epoch(0))


async def _delete(service: Service, request: Request) -> object:
    fields = await read_fields(service, request)
    if not fields.get("id"):
        raise missing("id")
    service.quality.delete(integer(fields, "id", -1), fields.get("password", ""))
    return {"success": True, "data": {"message": "successfully deleted"}}


ROUTES: Routes = (
    ("GET", "/api/quality_checker/queue", _queue),
    ("GET", "/api/quality_checker/leaderboard", _leaderboard),
    ("POST", "/api/quality_checker/add", _add),
    ("GET", "/api/quality_checker/entry", _entry),
    # The API page says GET, the recorded call is POST.
    ("GET", "/api/quality_checker/delete", _delete),
    ("POST", "/api/quality_checker/delete", _delete),
)
"""The endpoints of the section."""
