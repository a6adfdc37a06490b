"""`quality`: the quality checker, where separations of known songs are measured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from cyclopts import App

from mvsep_async.cli.config import COMMON, CommonOptions, Limit, Start, connect, load_config
from mvsep_async.cli.help import FLAGS
from mvsep_async.cli.prompts import ask_secret
from mvsep_async.cli.tables import Column, print_record, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import size_text
from mvsep_async.models.quality import QualityEntry

__all__ = ["quality"]

quality = App(name="quality", help="The quality checker: measured separations.", help_flags=FLAGS)

_ENTRIES: Final[tuple[Column[QualityEntry], ...]] = (
    Column("id", lambda one: one.id, justify="right"),
    Column("algo_name", lambda one: one.algo_name, style="bold"),
    Column("dataset", lambda one: one.dataset_name or one.dataset_type),
    Column("date", lambda one: one.date),
    Column("message", lambda one: one.message),
    Column("sdr", lambda one: dict(one.sdr)),
    Column("main_text", lambda one: one.main_text, only="programs"),
)


@quality.command
async def queue(*, start: Start = 0, limit: Limit = 20, common: CommonOptions = COMMON) -> int:
    """List the latest entries."""
    async with connect(load_config(common)) as client:
        entries = await client.quality.queue(start=start, limit=limit)
    print_rows(entries, _ENTRIES)
    return 0


@quality.command
async def leaderboard(
    dataset: str = "0",
    /,
    *,
    start: Start = 0,
    limit: Limit = 20,
    name: str | None = None,
    sort: str | None = None,
    common: CommonOptions = COMMON,
) -> int:
    """List the best entries of a data set.

    Parameters
    ----------
    dataset
        The data set's number, 0 to 12.
    name
        Only algorithms whose name contains this.
    sort
        Metric to sort by.
    """
    async with connect(load_config(common)) as client:
        board = await client.quality.leaderboard(dataset, start=start, limit=limit, algo_name_filter=name, sort=sort)
    print_rows(board.entries, _ENTRIES)
    return 0


@quality.command
async def entry(id: int, /, *, common: CommonOptions = COMMON) -> int:
    """Show one entry, with its figures once it is measured.

    Parameters
    ----------
    id
        The entry's number.
    """
    async with connect(load_config(common)) as client:
        found = await client.quality.entry(id)
    print_record({column.name: column.value(found) for column in _ENTRIES})
    return 0


@quality.command
def add(
    zipfile: Path,
    /,
    *,
    name: str,
    text: str,
    dataset: str = "0",
    ensemble: bool = False,
    password_stdin: bool = False,
    common: CommonOptions = COMMON,
) -> Callable[[], Awaitable[int]]:
    """Add an entry: a zip of separated stems. It asks for a password, with which the entry can be deleted later.

    Parameters
    ----------
    zipfile
        The zip file.
    name
        The algorithm's name.
    text
        A description of the entry.
    dataset
        The data set's number.
    ensemble
        Mark the entry as an ensemble of several models.
    password_stdin
        Read the password from the first line of standard input.
    """
    password = ask_secret("Password for this entry: ", from_stdin=password_stdin)

    def sent(count: int, total: int) -> None:
        if (here := terminal()).live:
            here.err.print(f"\r{size_text(count)} of {size_text(total)}  ", end="\n" if count == total else "")

    async def work() -> int:
        async with connect(load_config(common), needs_token=True) as client:
            added = await client.quality.add(
                zipfile,
                algo_name=name,
                main_text=text,
                dataset_type=dataset,
                ensemble=ensemble,
                password=password,
                on_progress=sent,
            )
        print_record({"id": added.id, "link": added.link})
        return 0

    return work


@quality.command
def delete(id: int, /, *, password_stdin: bool = False, common: CommonOptions = COMMON) -> Callable[[], Awaitable[int]]:
    """Delete an entry; it asks for the password that the entry was added with.

    Parameters
    ----------
    id
        The entry's number.
    password_stdin
        Read the password from the first line of standard input.
    """
    password = ask_secret("Password of this entry: ", from_stdin=password_stdin)

    async def work() -> int:
        async with connect(load_config(common)) as client:
            said = await client.quality.delete(id, password)
        print_record({"id": id, "deleted": True, "message": said.message})
        return 0

    return work
