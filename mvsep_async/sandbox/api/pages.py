"""The site's news and its demo page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mvsep_async.sandbox.catalogue import algorithms
from mvsep_async.sandbox.jobs import Job

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


@cache
def news(lang: str) -> list[dict[str, Any]]:
    """Return the news in a language, newest first: recorded entries, then two years of made-up ones like them."""
    if lang not in _TEXTS:
        return []
    recorded: list[dict[str, Any]] = json.loads((_DATA / "recorded_news.json").read_text(encoding="utf-8"))
    made_up = [_entry(number, lang) for number in range(24, 0, -1)]
    return [entry for entry in recorded if entry["lang"] == lang] + made_up


@cache
def recorded_demo() -> list[dict[str, Any]]:
    """Return the recorded entries of the demo page; their files are not in the sandbox."""
    entries: list[dict[str, Any]] = json.loads((_DATA / "recorded_demo.json").read_text(encoding="utf-8"))
    return entries


def in_demo(job: Job, algorithm_id: int | None, options: Mapping[str, str]) -> bool:
    """Whether a published job matches the filters; the page's `algorithm_id` is a `render_id` (seen in the news)."""
    if algorithm_id is not None and job.sep_type != algorithm_id:
        return False
    fields = algorithms()[job.sep_type].fields
    named = {entry["server_key"]: name for name, entry in fields.items()}
    return all(job.options.get(named.get(field, field)) == value for field, value in options.items())


def _entry(number: int, lang: str) -> dict[str, Any]:
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
