"""`queue`, `news`, `demo-page`: public pages of the service."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from mvsep_async.cli.choice import parse_options
from mvsep_async.cli.config import COMMON, CommonOptions, Limit, Start, connect, load_config
from mvsep_async.cli.tables import Column, print_record, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import plain, seconds_text, visible
from mvsep_async.errors import MVSepError
from mvsep_async.http.call import Json
from mvsep_async.models.site import DemoEntry, NewsItem

__all__ = ["demo_page", "news", "queue"]

_NEWS: Final[tuple[Column[NewsItem], ...]] = (
    Column("id", lambda one: one.id),
    Column("created_at", lambda one: one.created_at),
    Column("title", lambda one: one.title),
    Column("lang", lambda one: one.lang),
    Column("text", lambda one: plain(one.text)),
)

_DEMO: Final[tuple[Column[DemoEntry], ...]] = (
    Column("date", lambda one: one.date, lambda one: (one.date or "")[:10]),
    Column("algorithm", lambda one: one.algorithm.name if one.algorithm else None, wide="cut"),
    Column("size", lambda one: one.size, justify="right"),
    Column("hash", lambda one: one.hash, wide="cut"),
    Column("input_audio", lambda one: one.input_audio, only="programs"),
)


_QUEUE: Final = {
    "in_process": "being processed",
    "plan_queue": "queue of the plan",
    "ahead": "ahead of you",
    "estimated_wait_seconds": "estimated wait",
}


async def queue(*, common: CommonOptions = COMMON) -> int:
    """Show how many jobs the service has; with a token, also the queue that the account's jobs stand in."""
    config = load_config(common)
    async with connect(config) as client:
        found = await client.site.queue()
        record: dict[str, Json] = {
            "in_process": found.in_process,
            "premium": found.premium,
            "registered": found.registered,
            "unregistered": found.unregistered,
        }
        if found.plan is not None:
            record |= {"plan": found.plan.plan, "plan_queue": found.plan.queue}
        if config.token is not None:
            try:
                ahead = await client.site.queue_summary()
            except MVSepError:
                pass  # it is not documented: a service without it is not broken
            else:
                seconds = ahead.estimated_wait_seconds
                wait = seconds if common.json or seconds is None else seconds_text(seconds)
                record |= {"ahead": ahead.ahead, "estimated_wait_seconds": wait}
    print_record(record, titles=_QUEUE)
    return 0


async def news(*, lang: str | None = None, start: Start = 0, limit: Limit = 5, common: CommonOptions = COMMON) -> int:
    """Read the service's news, the newest first.

    Parameters
    ----------
    lang
        Two letters, such as en.
    """
    async with connect(load_config(common)) as client:
        items = await client.site.news(lang=lang, start=start, limit=limit)
    if common.json:
        print_rows(items, _NEWS)
        return 0
    for item in items:
        head = Text(visible(item.title), style="bold")
        head.append(f"  {visible(item.created_at or '')}", style="dim")
        terminal().show(head)
        terminal().show(Text("\n".join(map(visible, plain(item.text).split("\n"))) + "\n"))
    return 0


async def demo_page(
    *,
    algorithm: str | None = None,
    opt: tuple[str, ...] = (),
    start: Start = 0,
    limit: Limit = 20,
    common: CommonOptions = COMMON,
) -> int:
    """List separations that their makers made public, the newest first.

    Parameters
    ----------
    algorithm
        Only separations by this algorithm: its name or number.
    opt
        Only separations with this option; repeatable.
    """
    options = parse_options(opt)
    async with connect(load_config(common)) as client:
        number = None
        if algorithm is not None:
            catalogue = await client.catalogue()
            found = catalogue.find(algorithm)
            number, options = found.sep_type, catalogue.validate(found, options) if options else {}
        entries = await client.site.demo(start=start, limit=limit, algorithm_id=number, options=options or None)
    print_rows(entries, _DEMO)
    return 0
