"""`/_sandbox/*`: the strings of a sandbox that runs in another process, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .edge import Edge
from .faults import Fault
from .jobs import JobRecord, Shown
from .service import Service
from .settings import Settings

_SETTABLE = {
    setting.name: setting.default
    for setting in attrs.fields(Settings)
    if isinstance(setting.default, int | float | str | None) and setting.name not in ("tls", "folder", "port")
}
"""Settings that JSON can express and that are looked at while a sandbox runs, with their defaults."""
RECENT = 200
"""How many of the last requests the state shows."""

Deed = Callable[[Mapping[str, Any]], Any]


def routes(service: Service, edge: Edge) -> list[Route]:
    """GET `state` and `requests`; GET, POST, DELETE `faults`; POST of each deed with its arguments as a JSON object.

    Deeds: `start`, `finish`, `fail`, `delete`, `show` (by `hash`), `occupy` and `release` (by `token`), `advance`,
    `expire_links`, `set` (any setting that is a number, a text or a flag).
    """

    async def state(request: Request) -> Response:
        return JSONResponse(describe(service, edge))

    async def requests(request: Request) -> Response:
        return JSONResponse([attrs.asdict(record) for record in edge.log.entries])

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            service.faults.clear()
        elif request.method == "POST":
            try:
                service.faults.add(Fault.from_json(await request.json()))
            except (TypeError, ValueError) as error:
                return JSONResponse({"message": str(error)}, 400)
        return JSONResponse(service.faults.active())

    async def act(request: Request) -> Response:
        deed = deeds(service, request.headers.get("host", "")).get(request.path_params["deed"])
        if deed is None:
            return JSONResponse({"message": "no such deed"}, 404)
        try:
            answer = deed(await request.json() if await request.body() else {})
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"message": f"{type(error).__name__}: {error}"}, 400)
        return JSONResponse({"result": answer})

    return [
        Route("/_sandbox/state", state),
        Route("/_sandbox/requests", requests),
        Route("/_sandbox/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/_sandbox/{deed}", act, methods=["POST"]),
    ]


def deeds(service: Service, host: str) -> Mapping[str, Deed]:
    """What can be done from outside, by name."""

    def change(arguments: Mapping[str, Any]) -> None:
        for name, value in dict(arguments).items():
            if name not in _SETTABLE or not _fits(value, _SETTABLE[name]):
                raise ValueError(f"{name} cannot be set from outside, or not to {value!r}")
            setattr(service.settings, name, value)

    def account(arguments: Mapping[str, Any]) -> Any:
        found = service.accounts.find(arguments["token"])
        if found is None:
            raise ValueError("no such account")
        return found

    return {
        "start": lambda arguments: service.start(arguments["hash"]),
        "finish": lambda arguments: service.finish(arguments["hash"]),
        "fail": lambda arguments: service.fail(arguments["hash"], arguments.get("message", "The separation failed")),
        "delete": lambda arguments: service.delete(arguments["hash"]),
        "show": lambda arguments: service.show(
            arguments["hash"], Shown(arguments["status"], arguments.get("data", {})) if "status" in arguments else None
        ),
        "occupy": lambda arguments: [
            job.hash for job in service.occupy(account(arguments), int(arguments.get("count", 1)), host)
        ],
        "release": lambda arguments: service.release(account(arguments), arguments.get("count")),
        "advance": lambda arguments: service.advance(float(arguments["seconds"])),
        "expire_links": lambda arguments: service.expire_links(),
        "set": change,
    }


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, str | bool):
        return type(value) is type(default)
    if value is None:
        return default is None
    return isinstance(value, int | float) and not isinstance(value, bool)


def describe(service: Service, edge: Edge) -> dict[str, Any]:
    """All that can be known, as JSON."""
    now = service.settle()
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
                "unfinished": account.unfinished,
                "peak_unfinished": account.peak_unfinished,
            }
            for account in service.accounts
        ],
        "requests": [attrs.asdict(record) for record in list(edge.log.entries)[-RECENT:]],
        "counts": {
            "by_path": dict(edge.log.by_path),
            "by_status": {str(status): count for status, count in edge.log.by_status.items()},
            "faults_struck": service.faults.struck,
        },
    }
