"""What every endpoint needs: its parameters read, its refusals answered, its JSON written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from .accounts import Account
from .edge import edge_page
from .intake import BadFormError, Form, TooLargeError, read_form
from .orders import integer
from .refusals import Refusal, invalid, missing, wrong_token
from .service import Service
from .settings import MIB

PAGE_LIMIT = 20
"""The most that a listing gives at one time; more is clipped."""

Handler = Callable[[Service, Request], Awaitable[Any]]


def api(service: Service, path: str, handler: Handler, *methods: str) -> Route:
    """A route below `/api`. What the handler returns is sent as JSON, unless it is a response already."""

    @wraps(handler)
    async def endpoint(request: Request) -> Response:
        try:
            answer = await handler(service, request)
        except Refusal as refusal:
            return JSONResponse(refusal.body(service.settings.quirks), refusal.status)
        except BadFormError as error:
            return JSONResponse(invalid("request", str(error)).body(service.settings.quirks), 400)
        except TooLargeError:
            return edge_refusal(service, 413)
        except ClientDisconnect:
            return Response(status_code=499)
        return answer if isinstance(answer, Response) else JSONResponse(answer)

    return Route(f"/api/{path}", endpoint, methods=list(methods))


async def read_request(service: Service, request: Request) -> Form:
    """The parameters of a request, from its form and (below those) its query."""
    limit = max(service.settings.premium_upload_bytes, service.settings.free_upload_bytes) + MIB
    if int(request.headers.get("content-length", 0)) > limit:
        raise TooLargeError
    form = await read_form(
        request.stream(), request.headers.get("content-type", ""), service.folder,
        limit=limit, hash_content=service.settings.hash_content,
    )  # fmt: skip
    form.fields = {**request.query_params, **form.fields}
    return form


async def read_small(service: Service, request: Request) -> dict[str, str]:
    """The same for a request that carries no file; one that does is welcome, and its file is not kept."""
    form = await read_request(service, request)
    form.discard()
    return form.fields


def edge_refusal(service: Service, status: int) -> Response:
    """A page of the edge."""
    return HTMLResponse(edge_page(status), 200 if service.settings.quirks.html_as_200 else status)


def whose(service: Service, fields: dict[str, str] | Any, status: int = 400) -> Account:
    """The account of `api_token`, or a refusal."""
    token = fields.get("api_token")
    if not token:
        raise missing("api_token")
    account = service.accounts.find(token)
    if account is None:
        raise wrong_token(status)
    return account


def page(fields: Any) -> slice:
    """What `start` and `limit` choose of a listing."""
    start = max(0, integer(fields, "start", 0))
    return slice(start, start + min(PAGE_LIMIT, max(0, integer(fields, "limit", 10))))


def host_of(request: Request) -> str:
    """The host that was asked, with its port."""
    return request.headers.get("host", "")
