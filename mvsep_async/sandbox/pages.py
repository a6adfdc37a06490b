"""The site's news and its demo page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .catalogue import algorithms
from .jobs import Job

_DATA = Path(__file__).parent / "data"
_MONTHS = (
    ("January", "январе"), ("February", "феврале"), ("March", "марте"), ("April", "апреле"), ("May", "мае"),
    ("June", "июне"), ("July", "июле"), ("August", "августе"), ("September", "сентябре"), ("October", "октябре"),
    ("November", "ноябре"), ("December", "декабре"),
)  # fmt: skip


@cache
def news(lang: str) -> list[dict[str, Any]]:
    """The news in a language, newest first: one entry as it was recorded, two years of others in its image."""
    if lang not in ("en", "ru"):
        return []
    recorded: list[dict[str, Any]] = json.loads((_DATA / "recorded_news.json").read_text(encoding="utf-8"))
    made = [_entry(number, lang) for number in range(24, 0, -1)]
    return [entry for entry in recorded if entry["lang"] == lang] + made


@cache
def recorded_demo() -> list[dict[str, Any]]:
    """The entries of the demo page that were recorded; their files are not here."""
    entries: list[dict[str, Any]] = json.loads((_DATA / "recorded_demo.json").read_text(encoding="utf-8"))
    return entries


def in_demo(job: Job, algorithm_id: int | None, options: Mapping[str, str]) -> bool:
    """Whether a published job passes the filters; the page's `algorithm_id` is a `render_id` (seen in the news)."""
    if algorithm_id is not None and job.sep_type != algorithm_id:
        return False
    fields = algorithms()[job.sep_type].fields
    named = {entry["server_key"]: name for name, entry in fields.items()}
    return all(job.options.get(named.get(field, field)) == value for field, value in options.items())


def _entry(number: int, lang: str) -> dict[str, Any]:
    month, year = (number - 1) % 12, 2022 + (number - 1) // 12
    title = f"Updates in {_MONTHS[month][0]}" if lang == "en" else f"Обновления в {_MONTHS[month][1]}"
    text = "<p>New models were added.</p>" if lang == "en" else "<p>Добавлены новые модели.</p>"
    date = f"{year}-{month + 1:02}-21 05:00:00"
    return {
        "id": number + (0 if lang == "ru" else 100),
        "title": title,
        "lang": lang,
        "text": text,
        "status": 1,
        "created_at": date,
        "updated_at": date,
    }
