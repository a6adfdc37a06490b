"""The whole ASGI application: the API, the files, the control endpoints, and the edge in front."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mvsep_async.sandbox.faults import FaultBoard
from mvsep_async.sandbox.server.edge import Edge
from mvsep_async.sandbox.server.request_log import RequestLog
from mvsep_async.sandbox.service import Service

from . import control, routes_account, routes_quality, routes_separation, routes_site
from .handling import route

_SECTIONS = (routes_separation, routes_site, routes_account, routes_quality)


def build(service: Service, faults: FaultBoard) -> Edge:
    """Return the application of one service."""
    log = RequestLog()
    app = Starlette(
        routes=[
            *(route(service, *row) for section in _SECTIONS for row in section.ROUTES),
            *control.routes(service, faults, log),
        ],
        exception_handlers={404: _not_found, 405: _not_allowed},
    )
    return Edge(app, service.settings, faults, service.clock.now, log)


async def _not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"success": False, "message": f"The route {request.url.path} could not be found."}, 404)


async def _not_allowed(request: Request, error: Exception) -> Response:
    message = f"The {request.method} method is not supported for route {request.url.path}."
    return JSONResponse({"success": False, "message": message}, 405)
