"""Fills in what the pages of the documentation take from the code; a hook of MkDocs, see `mkdocs.yml`.

`{{ name }}` on a line of its own stands for one of `FILLINGS`, made anew in every build: none of it can be out of date.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from textwrap import dedent
from typing import Any, Final

import draw_layers
import draw_lifecycle

from mvsep_async import errors
from mvsep_async.catalogue.presets import PRESETS
from mvsep_async.cli.app import app
from mvsep_async.sandbox import FaultKind

__all__ = ["FILLINGS", "filled", "on_page_markdown"]

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
    pages = pages[pages.index("**Commands**") :]
    everywhere = re.compile(r"\*\*Common options\*\*:\n\n(?:\* .+\n)+\n?")
    common = everywhere.search(pages)
    if common is None:
        raise ValueError("no command takes what every command should take")
    first = pages.index("\n## ")
    shared = common[0].replace("**Common options**", "**Every command takes**")
    return f"{pages[:first]}\n{shared}\n{everywhere.sub('', pages[first:])}"


def _parts() -> str:
    """Return what each part is for, in its own words, from the top of the drawing to its bottom."""
    package = draw_layers.FOLDER
    rows = []
    for name in draw_layers.parts():
        source = package / name / "__init__.py" if (package / name).is_dir() else package / f"{name}.py"
        about = ast.get_docstring(ast.parse(source.read_text("utf-8")))
        if not about:
            raise ValueError(f"{source} does not say what it is for")
        first, _, _ = about.partition("\n\n")
        rows.append(f"| `{name}` | {' '.join(first.split())} |")
    return "\n".join(("| Part | What it is |", "|---|---|", *rows))


def _figure(drawing: Callable[[], str]) -> Callable[[], str]:
    """Return what puts a drawing into the page itself, so that it has the page's colours."""
    return lambda: f'<figure class="wide">\n{drawing()}</figure>'


FILLINGS: Final[Mapping[str, Callable[[], str]]] = {
    "errors": _errors,
    "presets": _presets,
    "faults": _faults,
    "commands": _commands,
    "parts": _parts,
    "lifecycle": _figure(draw_lifecycle.drawing),
    "layers": _figure(draw_layers.drawing),
}
