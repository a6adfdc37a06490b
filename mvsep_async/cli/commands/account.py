"""`account`: credits, history and settings of the account."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen
from cyclopts import App

from mvsep_async.cli.config import COMMON, CommonOptions, connect, load_config
from mvsep_async.cli.job_ids import JobNames, read_journal, record_label, short_ids, song_of_hash
from mvsep_async.cli.tables import Column, print_record, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import age_text
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.message import Message

__all__ = ["account", "history"]

account = App(name="account", help="Log in, see credits and history, change settings.")
for _name in ("login", "logout", "register"):
    account.command(f"mvsep_async.cli.commands.login:{_name}", name=_name)

Switch = Literal["on", "off"]


@frozen
class _Row:
    id: str
    song: str
    entry: HistoryEntry


_HISTORY: Final[tuple[Column[_Row], ...]] = (
    Column("id", lambda row: row.id, style="bold"),
    Column("song", lambda row: row.song, wide="cut"),
    Column("algorithm", lambda row: row.entry.algorithm.name if row.entry.algorithm else None, wide="cut"),
    Column("created_at", lambda row: row.entry.created_at, lambda row: (row.entry.created_at or "")[:10], title="date"),
    Column("credits", lambda row: row.entry.credits, justify="right"),
    Column("job_exists", lambda row: row.entry.job_exists, only="programs"),
    Column("time_left", lambda row: row.entry.time_left, lambda row: _kept_for(row.entry), "right", title="stems"),
    Column("hash", lambda row: row.entry.hash, only="programs"),
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
    """Let jobs spend credits, or run them on the free plan's terms.

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
    """Give result files long names, or short ones.

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


@account.command
async def history(*, start: int = 0, limit: int = 20, all: bool = False, common: CommonOptions = COMMON) -> int:
    """List what the account has separated, the newest first, and how long the service keeps the stems.

    Parameters
    ----------
    start
        How many of the newest to skip.
    limit
        How many to list.
    all
        List all of them.
    """
    config = load_config(common)
    async with connect(config, needs_token=True) as client:
        if all:
            entries = [entry async for entry in client.account.history_all(start=start)]
        else:
            entries = await client.account.history(start=start, limit=limit)
    ids = short_ids([JobNames(entry.hash) for entry in entries])
    songs = {record.facts.hash: record_label(record) for record in await read_journal(config.journal_path)}
    rows = [
        _Row(id, songs.get(entry.hash) or song_of_hash(entry.hash), entry)
        for id, entry in zip(ids, entries, strict=True)
    ]
    print_rows(rows, _HISTORY, json=common.json, empty="nothing was separated yet")
    return 0


def _kept_for(entry: HistoryEntry) -> str:
    """Return how long the service keeps the stems of a job."""
    if not entry.job_exists:
        return "deleted"
    if entry.time_left is None:
        return ""
    if entry.time_left <= 0:
        return "expired"
    return f"{age_text(entry.time_left * 3600)} left"


def _say(name: str, switch: Switch, said: Message, *, json: bool) -> None:
    if json:
        terminal().document({name.replace("-", "_"): switch == "on", "message": said.message})
    else:
        terminal().result(f"{name} is {switch}" + (f": {said.message}" if said.message else ""))
