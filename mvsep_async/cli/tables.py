"""Prints listings and records: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, Literal, TypeVar

from attrs import field, frozen
from rich import box
from rich.table import Table
from rich.text import Text

from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import visible
from mvsep_async.http.call import Json

__all__ = ["Column", "cell", "print_record", "print_rows", "table"]

T = TypeVar("T")


@frozen
class Column(Generic[T]):
    """One column: its name, the value for programs, and the text for people where that differs.

    `wide`: what happens to a text that does not fit: it stays whole, is cut, or is folded into several lines.
    `only`: the column is for programs, or for people, alone. `title`: its name for people, where that differs.
    """

    name: str
    value: Callable[[T], Json]
    shown: Callable[[T], str] | None = None
    justify: Literal["left", "right"] = "left"
    style: str = ""
    wide: Literal["whole", "cut", "fold"] = field(default="whole", kw_only=True)
    only: Literal["programs", "people"] | None = field(default=None, kw_only=True)
    title: str | None = field(default=None, kw_only=True)

    def text(self, row: T) -> str:
        """Return the text for people."""
        return visible(self.shown(row) if self.shown else cell(self.value(row)))


def print_rows(rows: Iterable[T], columns: Sequence[Column[T]], *, empty: str = "nothing there") -> None:
    """Print a listing: one JSON array of objects, or a table."""
    rows = list(rows)
    if terminal().json:
        named = [column for column in columns if column.only != "people"]
        terminal().document([{column.name: column.value(row) for column in named} for row in rows])
    elif rows:
        terminal().show(table(rows, columns))
    else:
        terminal().note(empty)


def print_record(record: Mapping[str, Json], *, titles: Mapping[str, str] | None = None) -> None:
    """Print one thing: a JSON object, or its names and values below each other.

    `titles`: names for people, where they differ.
    """
    if terminal().json:
        terminal().document(dict(record))
        return
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, value in record.items():
        if value not in (None, "", [], {}):
            lines.add_row(
                Text((titles or {}).get(name, name)), Text("\n".join(visible(line) for line in _lines(value)))
            )
    terminal().show(lines)


def table(rows: Iterable[T], columns: Sequence[Column[T]]) -> Table:
    """Return the table of a listing, a line a row unless a column is folded."""
    shown = [column for column in columns if column.only != "programs"]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in shown:
        overflow: Literal["fold", "ellipsis"] = "fold" if column.wide == "fold" else "ellipsis"
        made.add_column(
            column.title or column.name,
            justify=column.justify,
            style=column.style,
            overflow=overflow,
            no_wrap=column.wide == "whole",
        )
    for row in rows:
        made.add_row(*(_cell_text(column, row) for column in shown))
    return made


def cell(value: Json) -> str:
    """Return a value as people read it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.2f}".rstrip("0").rstrip(".")
        case list():
            return ", ".join(map(cell, value))
        case dict():
            return ", ".join(f"{key}: {cell(inner)}" for key, inner in value.items())
        case _:
            return str(value)


def _cell_text(column: Column[T], row: T) -> Text:
    if column.wide == "fold":
        return Text(column.text(row))
    # Not wrapped itself, in a column that may become narrower: cut with an ellipsis.
    return Text(column.text(row), no_wrap=True, overflow="ellipsis")


def _lines(value: Json) -> list[str]:
    if isinstance(value, str):
        return value.split("\n")
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return [cell(one) for one in value]
    return [cell(value)]
