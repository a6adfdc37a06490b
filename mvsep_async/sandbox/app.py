"""The whole application: the API, the files, the control surface, and the edge in front."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from . import control, routes_app, routes_quality, routes_separation
from .edge import Edge
from .listener import Connections
from .service import Service


def build(service: Service, connections: Connections) -> Edge:
    """One application for one service."""
    edge = Edge(Starlette(), service.settings, service.faults, connections, service.clock.now)
    edge.app = Starlette(
        routes=[
            *routes_separation.routes(service),
            *routes_app.routes(service),
            *routes_quality.routes(service),
            *control.routes(service, edge),
        ],
        exception_handlers={404: _not_found, 405: _not_allowed},
    )
    return edge


async def _not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"success": False, "message": f"The route {request.url.path} could not be found."}, 404)


async def _not_allowed(request: Request, error: Exception) -> Response:
    message = f"The {request.method} method is not supported for route {request.url.path}."
    return JSONResponse({"success": False, "message": message}, 405)
