"""`/_sandbox/*`: control of a sandbox that runs in another process, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvsep_async.sandbox.faults import Fault, FaultBoard
from mvsep_async.sandbox.jobs import JobRecord
from mvsep_async.sandbox.server.request_log import RequestLog
from mvsep_async.sandbox.service import Service
from mvsep_async.sandbox.settings import Quirks, SandboxSettings

_FIXED = ("tls", "folder", "port")
_SETTINGS = {setting.name: setting for setting in attrs.fields(SandboxSettings) if setting.name not in _FIXED}
_QUIRKS = {quirk.name: quirk for quirk in attrs.fields(Quirks)}
_OF_ACCOUNTS = ("name", "email", "token", "minutes", "premium", "unfinished", "peak_unfinished")
RECENT = 200
"""How many of the last requests `state` lists."""


def routes(service: Service, board: FaultBoard, log: RequestLog) -> list[Route]:
    """GET `state` and `requests`; GET, POST, DELETE `faults`; POST of a command with its arguments as a JSON object.

    Commands: `start`, `finish`, `fail`, `delete`, `show` (by `hash`), `occupy` and `release` (by `token`), `advance`,
    `expire_links`, `set` (any setting that is a number, a text or a flag), `quirks` (any of them).
    """

    async def state(request: Request) -> Response:
        return JSONResponse(describe(service, board, log))

    async def requests(request: Request) -> Response:
        return JSONResponse([attrs.asdict(record) for record in log.entries])

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            board.clear()
        elif request.method == "POST":
            try:
                board.add(Fault(**await request.json()))
            except (TypeError, ValueError) as error:
                return JSONResponse({"message": str(error)}, 400)
        return JSONResponse(board.active)

    async def run(request: Request) -> Response:
        command = commands(service, request.headers.get("host", "")).get(request.path_params["command"])
        if command is None:
            return JSONResponse({"message": f"unknown command {request.path_params['command']!r}"}, 404)
        try:
            answer = command(**(await request.json() if await request.body() else {}))
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"message": f"{type(error).__name__}: {error}"}, 400)
        return JSONResponse({"result": answer})

    return [
        Route("/_sandbox/state", state),
        Route("/_sandbox/requests", requests),
        Route("/_sandbox/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/_sandbox/{command}", run, methods=["POST"]),
    ]


def commands(service: Service, host: str) -> Mapping[str, Callable[..., Any]]:
    """Return the commands by name."""
    settings = service.settings

    def change(**changes: Any) -> None:
        for name, value in _checked(changes, _SETTINGS).items():
            setattr(settings, name, value)

    def change_quirks(**changes: Any) -> None:
        settings.quirks = attrs.evolve(settings.quirks, **_checked(changes, _QUIRKS))

    return {
        "start": service.start,
        "finish": service.finish,
        "fail": service.fail,
        "delete": service.delete,
        "show": service.show,
        "occupy": partial(service.occupy, host),
        "release": service.release,
        "advance": service.advance,
        "expire_links": service.links.expire_all,
        "set": change,
        "quirks": change_quirks,
    }


def _checked(changes: dict[str, Any], known: Mapping[str, attrs.Attribute[Any]]) -> dict[str, Any]:
    """Return the changes if each is of a known setting, to a value that it may have; else raise `ValueError`."""
    for name, value in changes.items():
        if name not in known or not _fits(value, str(known[name].type)):
            raise ValueError(f"{name} cannot be set over HTTP, or not to {value!r}")
    return changes


def _fits(value: Any, annotation: str) -> bool:
    """Whether a setting with that annotation may have that value."""
    match value:
        case None:
            return "None" in annotation
        case bool():
            return annotation == "bool"
        case str():
            return annotation.startswith(("str", "Literal"))
        case int() | float():
            return annotation.startswith(("int", "float"))
        case _:
            return False


def describe(service: Service, board: FaultBoard, log: RequestLog) -> dict[str, Any]:
    """Return the state of the sandbox as JSON."""
    now = service.refresh()
    return {
        "now": now,
        "jobs": [attrs.asdict(JobRecord.of(job)) for job in service.history],
        "accounts": [
            {name: getattr(account, name) for name in _OF_ACCOUNTS} | {"free_left": service.free_left(account)}
            for account in service.accounts
        ],
        "requests": [attrs.asdict(record) for record in list(log.entries)[-RECENT:]],
        "counts": {
            "by_path": dict(log.by_path),
            "by_status": {str(status): count for status, count in log.by_status.items()},
            "faults_triggered": board.triggered,
        },
    }
