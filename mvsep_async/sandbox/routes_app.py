"""`app/*`: the catalogue, the site's pages, and the account."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import answers, pages
from .accounts import Account, user_json
from .catalogue import catalogue_json
from .handling import Handler, api, page, read_small, whose
from .jobs import Phase, Priority
from .orders import integer
from .refusals import FormRefusal, missing
from .service import Service

SCOPES = ("single_upload", "no_upload", "matchering_upload")
_SECONDS_PER_JOB = 30
"""What a waiting job is reckoned at in the queue's summary (nothing is known of the service's own figure)."""


def routes(service: Service) -> list[Route]:
    """All routes of the section."""
    return [
        api(service, "app/algorithms", _algorithms, "GET"),
        api(service, "app/news", _news, "GET"),
        api(service, "app/queue", _queue, "GET"),
        api(service, "app/queue/summary", _queue_summary, "GET"),
        api(service, "app/demo", _demo, "GET"),
        api(service, "app/login", _login, "POST"),
        api(service, "app/register", _register, "POST"),
        api(service, "app/user", _user, "GET"),
        api(service, "app/separation_history", _history, "GET"),
        api(service, "app/enable_premium", _switch("premium_enabled", True), "POST"),
        api(service, "app/disable_premium", _switch("premium_enabled", False), "POST"),
        api(service, "app/enable_long_filenames", _switch("long_filenames", True), "POST"),
        api(service, "app/disable_long_filenames", _switch("long_filenames", False), "POST"),
    ]


async def _algorithms(service: Service, request: Request) -> object:
    scopes = tuple(re.split(r"[,\s]+", request.query_params.get("scopes") or "single_upload"))
    body = catalogue_json(scopes, slashes=service.settings.quirks.escaped_slashes)
    return Response(body, media_type="application/json")


async def _news(service: Service, request: Request) -> object:
    return pages.news(request.query_params.get("lang", "en"))[page(request.query_params)]


async def _queue(service: Service, request: Request) -> object:
    service.settle()
    waiting = {str(priority): service.waiting(priority) for priority in Priority}
    answer: dict[str, Any] = {"queue": {"in_process": len(service.engine.running), **waiting}}
    if request.query_params.get("api_token"):
        priority = _priority(whose(service, request.query_params))
        answer["plan"] = {"plan": str(priority), "queue": waiting[priority]}
    return answer


async def _queue_summary(service: Service, request: Request) -> object:
    priority = _priority(whose(service, request.query_params))
    service.settle()
    ahead = service.waiting(priority) + service.settings.strangers
    seconds = round(ahead * _SECONDS_PER_JOB / service.settings.speed)
    return {"success": True, "data": {"ahead": ahead, "estimated_wait_seconds": seconds}}


async def _demo(service: Service, request: Request) -> object:
    query = request.query_params
    service.settle()
    wanted = integer(query, "algorithm_id", 0) if query.get("algorithm_id") else None
    options = {name[8:-1]: value for name, value in query.items() if name.startswith("options[") and name[-1] == "]"}
    published = [
        answers.demo_entry(service, job)
        for job in reversed(service.history)
        if job.is_demo and job.phase is Phase.DONE and not job.removed and pages.in_demo(job, wanted, options)
    ]
    recorded = [e for e in pages.recorded_demo() if not options and wanted in (None, e["algorithm"]["render_id"])]
    return [*published, *recorded][page(query)]


async def _login(service: Service, request: Request) -> object:
    fields = await read_small(service, request)
    _require(fields, "email", "password")
    account = service.accounts.by_email(fields["email"])
    if account is None or account.password != fields["password"]:
        raise FormRefusal(400, "", {"email": ["These credentials do not match our records."]})
    return {"success": True, "data": _described(service, account)}


async def _register(service: Service, request: Request) -> object:
    fields = await read_small(service, request)
    _require(fields, "name", "email", "password", "password_confirmation")
    problems: dict[str, list[str]] = {}
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", fields["email"]):
        problems["email"] = ["The email must be a valid email address."]
    elif service.accounts.by_email(fields["email"]):
        problems["email"] = ["The email has already been taken."]
    if len(fields["password"]) < 8:
        problems["password"] = ["The password must be at least 8 characters."]
    elif fields["password"] != fields["password_confirmation"]:
        problems["password"] = ["The password confirmation does not match."]
    if problems:
        raise FormRefusal(400, "", problems)
    now = service.clock.epoch(service.clock.now())
    service.accounts.add(now=now, name=fields["name"], email=fields["email"], password=fields["password"])
    return {"success": True, "message": f"Account verification email sent to {fields['email']}"}


async def _user(service: Service, request: Request) -> object:
    return {"success": True, "data": _described(service, whose(service, request.query_params))}


async def _history(service: Service, request: Request) -> object:
    account = whose(service, request.query_params)
    jobs = service.seen_jobs(account)[page(request.query_params)]
    now = service.clock.now()
    return {"success": True, "data": [answers.history_entry(service, job, now) for job in jobs]}


def _switch(name: str, value: bool) -> Handler:
    async def handler(service: Service, request: Request) -> object:
        account = whose(service, await read_small(service, request))
        setattr(account, name, value)
        return {"success": True, "message": f"successfully {'enabled' if value else 'disabled'}"}

    return handler


def _described(service: Service, account: Account) -> dict[str, Any]:
    queue = [answers.queue_entry(service, job) for job in service.seen_jobs(account) if job.unfinished]
    return user_json(account, queue, service.clock.epoch(service.clock.now()), service.settings.quirks)


def _priority(account: Account) -> Priority:
    return Priority.PREMIUM if account.premium else Priority.REGISTERED


def _require(fields: Mapping[str, str], *names: str) -> None:
    lacking = {name: missing(name).message for name in names if not fields.get(name)}
    if lacking:
        raise FormRefusal(400, "", {name: [text] for name, text in lacking.items()})
