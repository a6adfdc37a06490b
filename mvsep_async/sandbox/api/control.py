"""`/_sandbox/*`: control of a sandbox that runs in another process, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvsep_async.sandbox.faults import Fault, FaultBoard
from mvsep_async.sandbox.jobs import JobRecord, StatusOverride
from mvsep_async.sandbox.server.request_log import RequestLog
from mvsep_async.sandbox.settings import Quirks, SandboxSettings

from .handling import Backend

_FIXED = ("tls", "folder", "port")
_SETTINGS = {setting.name: setting for setting in attrs.fields(SandboxSettings) if setting.name not in _FIXED}
_QUIRKS = {quirk.name: quirk for quirk in attrs.fields(Quirks)}
RECENT = 200
"""How many of the last requests `state` lists."""

Command = Callable[[Mapping[str, Any]], Any]


def routes(backend: Backend, board: FaultBoard, log: RequestLog) -> list[Route]:
    """GET `state` and `requests`; GET, POST, DELETE `faults`; POST of a command with its arguments as a JSON object.

    Commands: `start`, `finish`, `fail`, `delete`, `show` (by `hash`), `occupy` and `release` (by `token`), `advance`,
    `expire_links`, `set` (any setting that is a number, a text or a flag), `quirks` (any of them).
    """

    async def state(request: Request) -> Response:
        return JSONResponse(describe(backend, board, log))

    async def requests(request: Request) -> Response:
        return JSONResponse([attrs.asdict(record) for record in log.entries])

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            board.clear()
        elif request.method == "POST":
            try:
                board.add(Fault.from_json(await request.json()))
            except (TypeError, ValueError) as error:
                return JSONResponse({"message": str(error)}, 400)
        return JSONResponse(board.active())

    async def run(request: Request) -> Response:
        command = commands(backend, request.headers.get("host", "")).get(request.path_params["command"])
        if command is None:
            return JSONResponse({"message": f"unknown command {request.path_params['command']!r}"}, 404)
        try:
            answer = command(await request.json() if await request.body() else {})
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"message": f"{type(error).__name__}: {error}"}, 400)
        return JSONResponse({"result": answer})

    return [
        Route("/_sandbox/state", state),
        Route("/_sandbox/requests", requests),
        Route("/_sandbox/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/_sandbox/{command}", run, methods=["POST"]),
    ]


def commands(backend: Backend, host: str) -> Mapping[str, Command]:
    """Return the commands by name."""
    service, settings = backend.service, backend.service.settings

    def change(arguments: Mapping[str, Any]) -> None:
        for name, value in _checked(arguments, _SETTINGS).items():
            setattr(settings, name, value)

    def change_quirks(arguments: Mapping[str, Any]) -> None:
        settings.quirks = attrs.evolve(settings.quirks, **_checked(arguments, _QUIRKS))

    def account(arguments: Mapping[str, Any]) -> Any:
        found = service.accounts.find(arguments["token"])
        if found is None:
            raise ValueError("no account has that token")
        return found

    def show(arguments: Mapping[str, Any]) -> None:
        shown = StatusOverride(arguments["status"], arguments.get("data", {})) if "status" in arguments else None
        service.show(arguments["hash"], shown)

    return {
        "start": lambda arguments: service.start(arguments["hash"]),
        "finish": lambda arguments: service.finish(arguments["hash"]),
        "fail": lambda arguments: service.fail(arguments["hash"], arguments.get("message", "The separation failed")),
        "delete": lambda arguments: service.delete(arguments["hash"]),
        "show": show,
        "occupy": lambda arguments: [
            job.hash for job in service.occupy(account(arguments), int(arguments.get("count", 1)), host)
        ],
        "release": lambda arguments: service.release(account(arguments), arguments.get("count")),
        "advance": lambda arguments: service.advance(float(arguments["seconds"])),
        "expire_links": lambda arguments: backend.links.expire_all(),
        "set": change,
        "quirks": change_quirks,
    }


def _checked(arguments: Mapping[str, Any], known: Mapping[str, attrs.Attribute[Any]]) -> dict[str, Any]:
    """Return the arguments if each is a known setting with a value that it may have; else raise `ValueError`."""
    for name, value in dict(arguments).items():
        if name not in known or not _fits(value, str(known[name].type)):
            raise ValueError(f"{name} cannot be set over HTTP, or not to {value!r}")
    return dict(arguments)


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


def describe(backend: Backend, board: FaultBoard, log: RequestLog) -> dict[str, Any]:
    """Return the state of the sandbox as JSON."""
    service = backend.service
    now = service.refresh()
    return {
        "now": now,
        "jobs": [attrs.asdict(JobRecord.of(job)) for job in service.history],
        "accounts": [
            {
                "name": account.name,
                "email": account.email,
                "token": account.token,
                "minutes": account.minutes,
                "premium": account.premium,
                "free_left": service.free_left(account),
                "unfinished": account.unfinished,
                "peak_unfinished": account.peak_unfinished,
            }
            for account in service.accounts
        ],
        "requests": [attrs.asdict(record) for record in list(log.entries)[-RECENT:]],
        "counts": {
            "by_path": dict(log.by_path),
            "by_status": {str(status): count for status, count in log.by_status.items()},
            "faults_triggered": board.triggered,
        },
    }
