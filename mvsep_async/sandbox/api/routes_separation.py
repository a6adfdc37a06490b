"""The endpoints of separations, and their files."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mvsep_async.sandbox.accounts import Account
from mvsep_async.sandbox.create_request import check
from mvsep_async.sandbox.jobs import Job, Phase
from mvsep_async.sandbox.refusals import Refusal, missing
from mvsep_async.sandbox.render import IMAGE_NAME
from mvsep_async.sandbox.server import files
from mvsep_async.sandbox.service import Service

from .handling import Routes, authenticate, edge_refusal, host_of, read_fields, read_upload

MIRROR_CREDITS = 1
_IMAGE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)
"""A transparent PNG of one pixel."""


async def _create(service: Service, request: Request) -> object:
    form = await read_upload(service, request)
    try:
        wanted = check(form, service.accounts.find(form.fields.get("api_token")), service.settings)
        job = await service.create(wanted, host_of(request))
    except BaseException:
        form.discard()
        raise
    return service.render.created(job)


async def _get(service: Service, request: Request) -> object:
    query = request.query_params
    if not query.get("hash"):
        raise missing("hash")
    job = service.find(query["hash"], host_of(request))
    # The short hash that create answered for a URL job is not the hash of a separation.
    known = job if job is not None and job.hash == query["hash"] and job.fetched else None
    if query.get("mirror") == "1":
        account = authenticate(service, query)
        if account.minutes < MIRROR_CREDITS:
            raise Refusal(400, "There are not enough credits for the mirror")
        if known is not None:
            account.charge(MIRROR_CREDITS)
    return service.render.separation(known)


async def _get_remote(service: Service, request: Request) -> object:
    hash_ = request.query_params.get("hash")
    if not hash_:
        raise missing("hash")
    job = service.find(hash_, host_of(request))
    return service.render.remote(job if job is not None and job.short_hash == hash_ else None)


async def _cancel(service: Service, request: Request) -> object:
    service.cancel(*await _own_job(service, request))
    return {"success": True, "message": "The separation was cancelled"}


async def _delete(service: Service, request: Request) -> object:
    service.delete_finished(*await _own_job(service, request))
    return {"success": True, "message": "The separation was deleted"}


async def _own_job(service: Service, request: Request) -> tuple[str, Account, str]:
    """Return the hash that a request names, the account, and the host that is asked."""
    fields = await read_fields(service, request)
    account = authenticate(service, fields)
    if not fields.get("hash"):
        raise missing("hash")
    return fields["hash"], account, host_of(request)


async def _result(service: Service, request: Request) -> Response:
    name = request.path_params["name"]
    job = service.by_serial(request.path_params["serial"])
    if job is not None and name == IMAGE_NAME:
        return _refused(service, request, job) or Response(_IMAGE, media_type="image/png")
    path = next((file.path for file in job.results.files if file.name == name), None) if job else None
    if job is None or path is None:
        return edge_refusal(service, 404)
    return _refused(service, request, job) or files.serve(request, path, name, attachment=name)


async def _source(service: Service, request: Request) -> Response:
    name = request.path_params["name"]
    job = service.jobs.get(name)
    if job is None or not job.inputs:
        return edge_refusal(service, 404)
    return _refused(service, request, job) or files.serve(request, job.inputs[0], name)


def _refused(service: Service, request: Request, job: Job) -> Response | None:
    """Return the refusal of a request for a file of `job`; None if it may have it."""
    if job.phase is Phase.DELETED or job.host != host_of(request):
        return edge_refusal(service, 404)
    if not service.links.is_valid(request.query_params):
        return edge_refusal(service, 403)
    return None


ROUTES: Routes = (
    ("POST", "/api/separation/create", _create),
    ("GET", "/api/separation/get", _get),
    ("GET", "/api/separation/get-remote", _get_remote),
    ("POST", "/api/separation/cancel", _cancel),
    ("POST", "/api/separation/delete", _delete),
    ("GET", "/storage/processed/{serial:int}/{name}", _result),
    ("GET", "/storage/temp/{name}", _source),
)
"""The endpoints of the section."""
