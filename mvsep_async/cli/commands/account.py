"""`account` and `history`: who one is, what one has separated, and the account's switches."""

from __future__ import annotations

from typing import Final, Literal

from cyclopts import App

from mvsep_async.cli.config import COMMON, CommonOptions, connect, load_config
from mvsep_async.cli.tables import Column, print_record, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.message import Message

__all__ = ["account", "history"]

account = App(name="account", help="Show the account, and switch its settings.")

Switch = Literal["on", "off"]

_HISTORY: Final[tuple[Column[HistoryEntry], ...]] = (
    Column("created_at", lambda one: one.created_at),
    Column("algorithm", lambda one: one.algorithm.name if one.algorithm else None),
    Column("credits", lambda one: one.credits, justify="right"),
    Column("job_exists", lambda one: one.job_exists),
    Column("time_left", lambda one: one.time_left, justify="right"),
    Column("hash", lambda one: one.hash),
)


@account.default
async def show(*, common: CommonOptions = COMMON) -> int:
    """Show the account that the token belongs to: its plan, its credits, its unfinished jobs."""
    async with connect(load_config(common), needs_token=True) as client:
        user = await client.account.user()
    print_record(
        {
            "name": user.name,
            "email": user.email,
            "premium": user.is_premium,
            "credits": user.premium_minutes,
            "premium_enabled": user.premium_enabled,
            "long_filenames_enabled": user.long_filenames_enabled,
            "unfinished_jobs": user.current_queue.count,
            "jobs": [job.hash for job in user.current_queue.jobs or ()],
            "created_at": user.created_at,
        },
        json=common.json,
    )
    return 0


@account.command
async def premium(switch: Switch, /, *, common: CommonOptions = COMMON) -> int:
    """Let jobs spend credits, or not: without, they run on the free plan's terms.

    Parameters
    ----------
    switch
        on or off.
    """
    async with connect(load_config(common), needs_token=True) as client:
        said = await (client.account.enable_premium() if switch == "on" else client.account.disable_premium())
    _say("premium", switch, said, json=common.json)
    return 0


@account.command
async def long_filenames(switch: Switch, /, *, common: CommonOptions = COMMON) -> int:
    """Have results named at length, or briefly.

    Parameters
    ----------
    switch
        on or off.
    """
    async with connect(load_config(common), needs_token=True) as client:
        api = client.account
        said = await (api.enable_long_filenames() if switch == "on" else api.disable_long_filenames())
    _say("long-filenames", switch, said, json=common.json)
    return 0


async def history(*, start: int = 0, limit: int = 20, all: bool = False, common: CommonOptions = COMMON) -> int:
    """List what the account has separated, the newest first.

    Parameters
    ----------
    start
        How many of the newest to leave out.
    limit
        How many to list.
    all
        List all there are.
    """
    async with connect(load_config(common), needs_token=True) as client:
        if all:
            entries = [entry async for entry in client.account.history_all(start=start)]
        else:
            entries = await client.account.history(start=start, limit=limit)
    print_rows(entries, _HISTORY, json=common.json, empty="nothing was separated yet")
    return 0


def _say(name: str, switch: Switch, said: Message, *, json: bool) -> None:
    if json:
        terminal().document({name.replace("-", "_"): switch == "on", "message": said.message})
    else:
        terminal().result(f"{name} is {switch}" + (f": {said.message}" if said.message else ""))
