"""Fills in what the pages of the documentation take from the code; a hook of MkDocs, see `mkdocs.yml`.

`{{ name }}` on a line of its own stands for one of `FILLINGS`, made anew in every build: none of it can be out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

from mvsep_async import errors
from mvsep_async.cli.app import app
from mvsep_async.presets import PRESETS
from mvsep_async.sandbox import FaultKind

__all__ = ["FILLINGS", "filled", "on_page_markdown"]

_DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
_PLACE: Final = re.compile(r"^\{\{ (\w+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in a page; MkDocs calls this."""
    return filled(markdown)


def filled(markdown: str) -> str:
    """Return a page with everything filled in; raises `KeyError` for what there is no filling for."""
    return _PLACE.sub(lambda found: FILLINGS[found[1]](), markdown)


def _errors() -> str:
    tree = dedent((errors.__doc__ or "").partition("\n\n")[2])
    lines = [line[4:] for line in tree.splitlines() if line.startswith("    ")]
    return "\n".join(("```text", *lines, "```"))


def _presets() -> str:
    rows = [f"| `{one.name}` | {one.algorithm} | {one.about} |" for one in PRESETS.values()]
    return "\n".join(("| Preset | Algorithm | What it makes |", "|---|---|---|", *rows))


def _faults() -> str:
    """Return a table of the kinds of faults, with the text under each in the source."""
    rows = re.findall(r'^    (\w+) = "(\w+)"\n    """(.+?)"""', inspect.getsource(FaultKind), re.MULTILINE | re.DOTALL)
    if len(rows) != len(FaultKind):
        raise ValueError("a kind of fault is not documented")
    table = [f"| `{value}` | {' '.join(about.split())} |" for _, value, about in rows]
    return "\n".join(("| Kind of fault | What happens |", "|---|---|", *table))


def _commands() -> str:
    """Return all commands with their options; what they all take is said once."""
    pages = app.generate_docs()
    _, _, pages = pages.partition("## Table of Contents")
    pages = pages[pages.index("**Separating**") :]
    everywhere = re.compile(r"\*\*Everywhere\*\*:\n\n(?:\* .+\n)+\n?")
    common = everywhere.search(pages)
    if common is None:
        raise ValueError("no command takes what every command should take")
    first = pages.index("\n## ")
    shared = common[0].replace("**Everywhere**", "**Every command takes**")
    return f"{pages[:first]}\n{shared}\n{everywhere.sub('', pages[first:])}"


def _drawing(name: str) -> Callable[[], str]:
    return lambda: f'<figure class="wide">\n{(_DOCS / name).read_text("utf-8")}</figure>'


FILLINGS: Final[Mapping[str, Callable[[], str]]] = {
    "errors": _errors,
    "presets": _presets,
    "faults": _faults,
    "commands": _commands,
    "lifecycle": _drawing("lifecycle.svg"),
    "layers": _drawing("layers.svg"),
}
