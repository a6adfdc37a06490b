"""`account`: credits, purchases, history and settings of the account."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Final, Literal

from attrs import frozen
from cyclopts import App, Parameter, validators

from mvsep_async.cli.config import COMMON, All, CommonOptions, Limit, Start, connect, load_config
from mvsep_async.cli.help import FLAGS
from mvsep_async.cli.known_jobs import KnownJob, short_ids
from mvsep_async.cli.libraries import library_jobs
from mvsep_async.cli.outcome import distinct_ends
from mvsep_async.cli.state import read_journal
from mvsep_async.cli.tables import Column, print_record, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import age_text
from mvsep_async.http.call import Json
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.message import Message
from mvsep_async.models.site import FreeSeparations
from mvsep_async.models.user import Purchase

__all__ = ["account", "history"]

account = App(name="account", help="Log in, see credits and history, change settings.", help_flags=FLAGS)
for _name, _help in {
    "login": "Get the API token and store it for later commands.",
    "logout": "Remove the API token from the configuration file.",
    "register": "Make a new account.",
}.items():
    account.command(f"mvsep_async.cli.commands.login:{_name}", name=_name, help=_help)

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

_PURCHASES: Final[tuple[Column[Purchase], ...]] = (
    Column("id", lambda one: one.id, justify="right"),
    Column("created_at", lambda one: one.created_at, lambda one: (one.created_at or "")[:10], title="date"),
    Column("credits", lambda one: one.credits, justify="right"),
    Column("amount", lambda one: one.amount, lambda one: "" if one.amount is None else f"{one.amount:.2f}", "right"),
    Column("currency", lambda one: one.currency),
    Column("status", lambda one: one.status),
)


_TITLES: Final = {
    "premium_enabled": "spends credits",
    "free_separations": "free separations",
    "long_filenames_enabled": "long file names",
    "unfinished_jobs": "unfinished jobs",
    "created_at": "since",
}


@account.default
async def show(*, common: CommonOptions = COMMON) -> int:
    """Show the account that the token belongs to: its plan, credits, free separations and unfinished jobs."""
    async with connect(load_config(common), needs_token=True) as client:
        user = await client.account.user()
        free = (await client.site.queue()).free_separations
    left: Json = None if free is None else {"left": free.left, "max": free.limit}
    print_record(
        {
            "name": user.name,
            "email": user.email,
            "premium": user.is_premium,
            "credits": user.premium_minutes,
            "premium_enabled": user.premium_enabled,
            "free_separations": left if common.json else _left_today(None if user.is_premium else free),
            "long_filenames_enabled": user.long_filenames_enabled,
            "unfinished_jobs": user.current_queue.count,
            "jobs": [job.hash for job in user.current_queue.jobs or ()],
            "created_at": user.created_at,
        },
        titles=_TITLES,
    )
    return 0


@account.command
async def purchases(*, start: Start = 0, limit: Limit = 20, all: All = False, common: CommonOptions = COMMON) -> int:
    """List the account's purchases of credits, the newest first."""
    async with connect(load_config(common), needs_token=True) as client:
        if all:
            found = [purchase async for purchase in client.account.purchases_all(start=start)]
        else:
            found = await client.account.purchases(start=start, limit=limit)
    print_rows(found, _PURCHASES, empty="no credits were bought yet")
    return 0


@account.command
async def credit_alert(
    credits: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    /,
    *,
    common: CommonOptions = COMMON,
) -> int:
    """Show or set when the service mails that credits run low.

    Parameters
    ----------
    credits
        Send a mail when fewer credits than this are left; 0 turns it off. Without a number, show the setting.
    """
    async with connect(load_config(common), needs_token=True) as client:
        if credits is None:
            threshold = (await client.account.credit_alert()).credit_threshold
        else:
            await client.account.set_credit_alert(credits)
            threshold = credits
    if threshold:
        text = f"the service sends a mail when fewer than {threshold:g} credits are left"
    else:
        text = "the service sends no mail when credits run low"
    terminal().answer({"credit_threshold": threshold}, text)
    return 0


@account.command
async def premium(switch: Switch, /, *, common: CommonOptions = COMMON) -> int:
    """Turn the use of credits on or off.

    When it is off, jobs run on the free plan's terms.

    Parameters
    ----------
    switch
        on or off.
    """
    async with connect(load_config(common), needs_token=True) as client:
        said = await (client.account.enable_premium() if switch == "on" else client.account.disable_premium())
    return _report("premium", switch, said)


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
    return _report("long-filenames", switch, said)


@account.command
async def history(*, start: Start = 0, limit: Limit = 20, all: All = False, common: CommonOptions = COMMON) -> int:
    """List what the account has separated, the newest first.

    The last column shows how long the service keeps the stems.
    """
    config = load_config(common)
    async with connect(config, needs_token=True) as client:
        if all:
            entries = [entry async for entry in client.account.history_all(start=start)]
        else:
            entries = await client.account.history(start=start, limit=limit)
    own = [KnownJob.of_record(record) for record in await read_journal(config.journal_path, config)]
    known = {job.hash: job for job in (*await library_jobs(config), *own)}
    jobs = [known.get(entry.hash) or KnownJob(hash=entry.hash) for entry in entries]
    names = distinct_ends([job.path if job.path.name else PurePath(job.song) for job in jobs])
    ids = short_ids([KnownJob(hash=entry.hash) for entry in entries])
    rows = [_Row(id, name, entry) for id, name, entry in zip(ids, names, entries, strict=True)]
    print_rows(rows, _HISTORY, empty="nothing was separated yet")
    return 0


def _left_today(free: FreeSeparations | None) -> str:
    """Return how many free separations are left today; a premium account has no such limit."""
    if free is None or free.left is None:
        return ""
    return f"{free.left} left today" if free.limit is None else f"{free.left} of {free.limit} left today"


def _kept_for(entry: HistoryEntry) -> str:
    """Return how long the service keeps the stems of a job."""
    if not entry.job_exists:
        return "deleted"
    if entry.time_left is None:
        return ""
    if entry.time_left <= 0:
        return "expired"
    return f"{age_text(entry.time_left * 3600)} left"


def _report(name: str, switch: Switch, said: Message) -> int:
    document: Json = {name.replace("-", "_"): switch == "on", "message": said.message}
    terminal().answer(document, f"{name} is {switch}" + (f": {said.message}" if said.message else ""))
    return 0
