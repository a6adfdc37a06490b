"""The whole ASGI application: the API, the files, the control endpoints, and the edge in front."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mvsep_async.sandbox.faults import FaultBoard
from mvsep_async.sandbox.server.edge import Edge
from mvsep_async.sandbox.server.listener import Connections
from mvsep_async.sandbox.server.request_log import RequestLog

from . import control, routes_account, routes_quality, routes_separation, routes_site
from .handling import Backend


def build(backend: Backend, faults: FaultBoard, connections: Connections) -> Edge:
    """Return the application of one service."""
    service, log = backend.service, RequestLog()
    app = Starlette(
        routes=[
            *routes_separation.routes(backend),
            *routes_site.routes(backend),
            *routes_account.routes(backend),
            *routes_quality.routes(backend),
            *control.routes(backend, faults, log),
        ],
        exception_handlers={404: _not_found, 405: _not_allowed},
    )
    return Edge(app, service.settings, faults, connections, log, service.clock.now)


async def _not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"success": False, "message": f"The route {request.url.path} could not be found."}, 404)


async def _not_allowed(request: Request, error: Exception) -> Response:
    message = f"The {request.method} method is not supported for route {request.url.path}."
    return JSONResponse({"success": False, "message": message}, 405)
