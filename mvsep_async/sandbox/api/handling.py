"""Common parts of all endpoints: reading parameters, sending refusals and JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from mvsep_async.sandbox.accounts import Account
from mvsep_async.sandbox.form import Form, InvalidFormError, TooLargeError, read_form
from mvsep_async.sandbox.parameters import integer
from mvsep_async.sandbox.refusals import Refusal, invalid, missing, wrong_token
from mvsep_async.sandbox.server.fault_injection import edge_page
from mvsep_async.sandbox.service import Service
from mvsep_async.sandbox.settings import MIB

PAGE_LIMIT = 20
"""Most entries of a listing in one answer; a larger `limit` is clipped."""

Handler = Callable[[Service, Request], Awaitable[Any]]
Routes = Sequence[tuple[str, str, Handler]]
"""Method, path, handler."""


def route(service: Service, method: str, path: str, handler: Handler) -> Route:
    """Return the route of a handler. What the handler returns is sent as JSON, unless it is a response already."""

    @wraps(handler)
    async def endpoint(request: Request) -> Response:
        try:
            answer = await handler(service, request)
        except Refusal as refusal:
            return _json(service, refusal.body(service.settings.quirks), refusal.status)
        except InvalidFormError as error:
            return _json(service, invalid("request", str(error)).body(service.settings.quirks), 400)
        except TooLargeError:
            return edge_refusal(service, 413)
        except ClientDisconnect:
            return Response(status_code=499)
        return answer if isinstance(answer, Response) else _json(service, answer)

    return Route(path, endpoint, methods=[method])


async def read_upload(service: Service, request: Request) -> Form:
    """Return the parameters and files of a request; form fields override query parameters."""
    limit = max(service.settings.premium_upload_bytes, service.settings.free_upload_bytes) + MIB
    if int(request.headers.get("content-length", 0)) > limit:
        raise TooLargeError
    content_type = request.headers.get("content-type", "")
    form = await read_form(request.stream(), content_type, service.folder, limit=limit)
    form.fields = {**request.query_params, **form.fields}
    return form


async def read_fields(service: Service, request: Request) -> dict[str, str]:
    """Return the parameters of a request; files in it are discarded."""
    form = await read_upload(service, request)
    form.discard()
    return form.fields


def edge_refusal(service: Service, status: int) -> Response:
    """Return an error page of the edge."""
    return HTMLResponse(edge_page(status), 200 if service.settings.quirks.html_as_200 else status)


def authenticate(service: Service, fields: Mapping[str, str], status: int = 400) -> Account:
    """Return the account of `api_token`, or raise a refusal."""
    token = fields.get("api_token")
    if not token:
        raise missing("api_token")
    account = service.accounts.find(token)
    if account is None:
        raise wrong_token(status)
    return account


def page(fields: Mapping[str, str]) -> slice:
    """Return the part of a listing that `start` and `limit` select."""
    start = max(0, integer(fields, "start", 0))
    return slice(start, start + min(PAGE_LIMIT, max(0, integer(fields, "limit", 10))))


def host_of(request: Request) -> str:
    """Return the host that the request was sent to, with its port."""
    return request.headers.get("host", "")


def _json(service: Service, answer: Any, status: int = 200) -> Response:
    if service.settings.quirks.success_as_text and isinstance(answer, dict) and isinstance(answer.get("success"), bool):
        answer = {**answer, "success": str(answer["success"]).lower()}
    return JSONResponse(answer, status)
