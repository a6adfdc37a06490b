"""`separation/*`, and the files that come of it."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import answers, files
from .handling import api, edge_refusal, host_of, read_request, read_small, whose
from .jobs import Job
from .orders import check
from .refusals import missing
from .service import Service


def routes(service: Service) -> list[Route]:
    """All routes of the section."""

    async def result(request: Request) -> Response:
        return _stored(service, request, request.path_params["name"], is_input=False)

    async def source(request: Request) -> Response:
        return _stored(service, request, request.path_params["name"], is_input=True)

    return [
        api(service, "separation/create", _create, "POST"),
        api(service, "separation/get", _get, "GET"),
        api(service, "separation/get-remote", _get_remote, "GET"),
        api(service, "separation/cancel", _cancel, "POST"),
        Route("/storage/results/{name}", result),
        Route("/storage/temp/{name}", source),
    ]


async def _create(service: Service, request: Request) -> object:
    form = await read_request(service, request)
    try:
        order = check(form, service.accounts.find(form.fields.get("api_token")), service.settings)
        job = await service.create(order, host_of(request))
    except BaseException:
        form.discard()
        raise
    return answers.created(service, job)


async def _get(service: Service, request: Request) -> object:
    query = request.query_params
    if not query.get("hash"):
        raise missing("hash")
    if query.get("mirror") == "1":
        whose(service, query).charge(1)
    job = service.find(query["hash"], host_of(request))
    # The hash that create gave for a url is no hash of a separation.
    known = job if job is not None and job.hash == query["hash"] and job.fetched else None
    return answers.separation(service, known, service.clock.now())


async def _get_remote(service: Service, request: Request) -> object:
    hash_ = request.query_params.get("hash")
    if not hash_:
        raise missing("hash")
    job = service.find(hash_, host_of(request))
    return answers.remote(service, job if job is not None and job.short_hash == hash_ else None)


async def _cancel(service: Service, request: Request) -> object:
    fields = await read_small(service, request)
    account = whose(service, fields)
    if not fields.get("hash"):
        raise missing("hash")
    service.cancel(fields["hash"], account, host_of(request))
    return {"success": True, "message": "The separation was cancelled"}


def _stored(service: Service, request: Request, name: str, *, is_input: bool) -> Response:
    job = service.jobs.get(name) if is_input else service.stored.get(name)
    if job is None or job.removed:
        return edge_refusal(service, 404)
    if not _valid(service, request):
        return edge_refusal(service, service.settings.expired_status)
    if is_input:
        return files.serve(request, job.inputs[0], name) if job.inputs else edge_refusal(service, 404)
    return files.serve(request, _path(job, name), name, attachment=name)


def _path(job: Job, name: str) -> Path:
    return next(file.path for file in job.files if file.name == name)


def _valid(service: Service, request: Request) -> bool:
    given = request.query_params.get("t", "0")
    moment = int(given) / 1000 if re.fullmatch(r"[0-9]{1,18}", given) else 0.0
    if moment < service.links_valid_from:
        return False
    life = service.settings.links_expire
    return life is None or service.clock.now() - moment < life
