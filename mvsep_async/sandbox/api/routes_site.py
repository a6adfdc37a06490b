"""The endpoints of the site: catalogue, news, queue and demo page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mvsep_async.sandbox.accounts import Account
from mvsep_async.sandbox.catalogue import algorithms, catalogue_json
from mvsep_async.sandbox.jobs import Job, Phase, Priority
from mvsep_async.sandbox.parameters import integer
from mvsep_async.sandbox.service import Service

from .handling import Routes, authenticate, page

_DATA = Path(__file__).parents[1] / "data"
_MONTHS = (
    ("January", "январе", "enero"), ("February", "феврале", "febrero"), ("March", "марте", "marzo"),
    ("April", "апреле", "abril"), ("May", "мае", "mayo"), ("June", "июне", "junio"), ("July", "июле", "julio"),
    ("August", "августе", "agosto"), ("September", "сентябре", "septiembre"), ("October", "октябре", "octubre"),
    ("November", "ноябре", "noviembre"), ("December", "декабре", "diciembre"),
)  # fmt: skip
_TEXTS = {
    "en": ("Updates in {}", "<p>New models were added.</p>"),
    "ru": ("Обновления в {}", "<p>Добавлены новые модели.</p>"),
    "es": ("Actualizaciones de {}", "<p>Se han añadido nuevos modelos.</p>"),
}
_LANGUAGES = tuple(_TEXTS)
_SECONDS_PER_JOB = 30
"""The estimated time of a waiting job in the queue's summary (the service's own figure is not known)."""


async def _algorithms(service: Service, request: Request) -> object:
    quirks = service.settings.quirks
    query = request.query_params
    scopes = tuple(re.split(r"[,\s]+", query.get("scopes") or "single_upload"))
    nested = quirks.nested_groups and bool(query.get("api_token"))
    body = catalogue_json(scopes, slashes=quirks.escaped_slashes, nested=nested)
    return Response(body, media_type="application/json")


async def _news(service: Service, request: Request) -> object:
    return _news_in(request.query_params.get("lang", "en"))[page(request.query_params)]


async def _queue(service: Service, request: Request) -> object:
    service.refresh()
    waiting = {str(priority): service.waiting(priority) for priority in Priority}
    answer: dict[str, Any] = {"queue": {"in_process": len(service.queue.running), **waiting}}
    if request.query_params.get("api_token"):
        account = authenticate(service, request.query_params)
        priority = _priority(account)
        answer[service.settings.quirks.queue_key] = {"plan": str(priority), "queue": waiting[priority]}
        answer["free_separations"] = {"left": service.free_left(account), "max": service.settings.free_per_day}
    return answer


async def _queue_summary(service: Service, request: Request) -> object:
    priority = _priority(authenticate(service, request.query_params))
    service.refresh()
    ahead = service.waiting(priority) + service.settings.jobs_ahead
    seconds = round(ahead * _SECONDS_PER_JOB / service.settings.speed)
    return {"success": True, "data": {"ahead": ahead, "estimated_wait_seconds": seconds}}


async def _demo(service: Service, request: Request) -> object:
    query = request.query_params
    service.refresh()
    wanted = integer(query, "algorithm_id", 0) if query.get("algorithm_id") else None
    options = {name[8:-1]: value for name, value in query.items() if name.startswith("options[") and name[-1] == "]"}
    published = [
        service.render.demo_entry(job)
        for job in reversed(service.history)
        if job.is_demo and job.phase is Phase.DONE and _in_demo(job, wanted, options)
    ]
    recorded = [e for e in _recorded_demo() if not options and wanted in (None, e["algorithm"]["render_id"])]
    return [*published, *recorded][page(query)]


def _priority(account: Account) -> Priority:
    return Priority.PREMIUM if account.premium else Priority.REGISTERED


@cache
def _news_in(lang: str) -> list[dict[str, Any]]:
    """Return the news in a language, newest first: recorded entries, then two years of made-up ones like them."""
    if lang not in _TEXTS:
        return []
    recorded: list[dict[str, Any]] = json.loads((_DATA / "recorded_news.json").read_text(encoding="utf-8"))
    made_up = [_made_up_news(number, lang) for number in range(24, 0, -1)]
    return [entry for entry in recorded if entry["lang"] == lang] + made_up


@cache
def _recorded_demo() -> list[dict[str, Any]]:
    """Return the recorded entries of the demo page; their files are not in the sandbox."""
    entries: list[dict[str, Any]] = json.loads((_DATA / "recorded_demo.json").read_text(encoding="utf-8"))
    return entries


def _in_demo(job: Job, algorithm_id: int | None, options: Mapping[str, str]) -> bool:
    """Whether a published job matches the filters; the page's `algorithm_id` is a `render_id` (seen in the news)."""
    if algorithm_id is not None and job.sep_type != algorithm_id:
        return False
    fields = algorithms()[job.sep_type].fields
    named = {entry["server_key"]: name for name, entry in fields.items()}
    return all(job.options.get(named.get(field, field)) == value for field, value in options.items())


def _made_up_news(number: int, lang: str) -> dict[str, Any]:
    month, year = (number - 1) % 12, 2022 + (number - 1) // 12
    language = _LANGUAGES.index(lang)
    title, text = _TEXTS[lang]
    date = f"{year}-{month + 1:02}-21 05:00:00"
    return {
        "id": number + 100 * language,
        "title": title.format(_MONTHS[month][language]),
        "lang": lang,
        "text": text,
        "status": 1,
        "created_at": date,
        "updated_at": date,
    }


ROUTES: Routes = (
    ("GET", "/api/app/algorithms", _algorithms),
    ("GET", "/api/app/news", _news),
    ("GET", "/api/app/queue", _queue),
    ("GET", "/api/app/queue/summary", _queue_summary),
    ("GET", "/api/app/demo", _demo),
)
"""The endpoints of the section."""
