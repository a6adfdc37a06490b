"""The endpoints of an account: login, profile, history, credits and switches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from mvsep_async.sandbox.accounts import Account, purchase_json, user_json, whole
from mvsep_async.sandbox.parameters import integer
from mvsep_async.sandbox.refusals import FormRefusal, invalid, missing
from mvsep_async.sandbox.service import Service

from .handling import Handler, Routes, authenticate, page, read_fields

_PURCHASES_LIMIT = 100
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,4})?")


async def _login(service: Service, request: Request) -> object:
    fields = await read_fields(service, request)
    _require(fields, "email", "password")
    account = service.accounts.by_email(fields["email"])
    if account is None or account.password != fields["password"]:
        raise FormRefusal(400, "", {"email": ["These credentials do not match our records."]})
    return {"success": True, "data": _profile(service, account)}


async def _register(service: Service, request: Request) -> object:
    fields = await read_fields(service, request)
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
    now = service.clock.today()
    service.accounts.add(now=now, name=fields["name"], email=fields["email"], password=fields["password"])
    return {"success": True, "message": f"Account verification email sent to {fields['email']}"}


async def _user(service: Service, request: Request) -> object:
    return {"success": True, "data": _profile(service, authenticate(service, request.query_params))}


async def _history(service: Service, request: Request) -> object:
    account = authenticate(service, request.query_params)
    jobs = service.listed_jobs(account)[page(request.query_params)]
    jobs = jobs[: service.settings.history_page]
    return {"success": True, "data": [service.render.history_entry(job) for job in jobs]}


async def _purchases(service: Service, request: Request) -> object:
    query = request.query_params
    account = authenticate(service, query)
    offset = max(0, integer(query, "offset", 0))
    limit = min(_PURCHASES_LIMIT, max(1, integer(query, "limit", 20)))
    wanted = query.get("status")
    found = [purchase for purchase in reversed(account.purchases) if not wanted or purchase.status == wanted]
    return {
        "success": True,
        "data": [purchase_json(purchase) for purchase in found[offset : offset + limit]],
        "total": len(found),
        "limit": limit,
        "offset": offset,
    }


async def _credit_alert(service: Service, request: Request) -> object:
    account = authenticate(service, request.query_params)
    return {"success": True, "data": {"credit_threshold": whole(account.credit_threshold)}}


async def _set_credit_alert(service: Service, request: Request) -> object:
    fields = await read_fields(service, request)
    account = authenticate(service, fields)
    threshold = fields.get("credit_threshold")
    if not threshold:
        raise missing("credit_threshold")
    if not _NUMBER.fullmatch(threshold):
        raise invalid("credit_threshold", "The credit threshold must be a number that is not negative.")
    account.credit_threshold = float(threshold)
    return {"success": True, "data": {"credit_threshold": whole(account.credit_threshold)}}


def _switch(name: str, value: bool) -> Handler:
    async def handler(service: Service, request: Request) -> object:
        account = authenticate(service, await read_fields(service, request))
        setattr(account, name, value)
        return {"success": True, "message": f"successfully {'enabled' if value else 'disabled'}"}

    return handler


def _profile(service: Service, account: Account) -> dict[str, Any]:
    queue = [service.render.queue_entry(job) for job in service.listed_jobs(account) if job.unfinished]
    return user_json(account, queue, service.clock.today(), service.settings.quirks)


def _require(fields: Mapping[str, str], *names: str) -> None:
    absent = {name: missing(name).message for name in names if not fields.get(name)}
    if absent:
        raise FormRefusal(400, "", {name: [text] for name, text in absent.items()})


ROUTES: Routes = (
    ("POST", "/api/app/login", _login),
    ("POST", "/api/app/register", _register),
    ("GET", "/api/app/user", _user),
    ("GET", "/api/app/separation_history", _history),
    ("POST", "/api/app/enable_premium", _switch("premium_enabled", True)),
    ("POST", "/api/app/disable_premium", _switch("premium_enabled", False)),
    ("POST", "/api/app/enable_long_filenames", _switch("long_filenames", True)),
    ("POST", "/api/app/disable_long_filenames", _switch("long_filenames", False)),
    ("GET", "/api/purchases", _purchases),
    ("GET", "/api/credit_alert", _credit_alert),
    ("POST", "/api/credit_alert", _set_credit_alert),
)
"""The endpoints of the section."""
