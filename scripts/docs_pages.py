"""Put into the pages of the documentation what they take from the code.

    python scripts/docs_pages.py

What stands between `<!-- begin NAME -->` and `<!-- end NAME -->` is written into the page by this command, so that the
page is complete on a forge too; a test checks that it is up to date. `{{ NAME }}` on a line of its own is filled in
when the site is built (a hook of MkDocs, see `mkdocs.yml`): that is for the reference, which often changes.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import draw_layers
import draw_lifecycle

from mvsep_async import errors
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.presets import PRESETS
from mvsep_async.catalogue.price import credits_for, credits_per_minute
from mvsep_async.cli.app import app
from mvsep_async.sandbox import FaultKind
from mvsep_async.sandbox.catalogue import catalogue_json

__all__ = ["DOCS", "FILLINGS", "WRITTEN", "drawings", "filled", "on_page_markdown", "written"]

DOCS: Final = Path(__file__).parents[1] / "docs"

_SCOPES: Final = ("single_upload", "no_upload", "matchering_upload")
_BETWEEN: Final = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
_PLACE: Final = re.compile(r"^\{\{ (\w+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in a page; MkDocs calls this."""
    return filled(markdown)


def filled(markdown: str) -> str:
    """Return a page with everything filled in; raises `KeyError` for what there is no filling for."""
    return _PLACE.sub(lambda found: FILLINGS[found[1]](), markdown)


def written(markdown: str) -> str:
    """Return a page with what this command writes into it; raises `KeyError` for what there is no text for."""
    return _BETWEEN.sub(lambda found: f"{found[1]}{WRITTEN[found[2]]()}\n{found[3]}", markdown)


def drawings() -> dict[Path, str]:
    """Return the drawings that are files of the documentation."""
    return {DOCS / "lifecycle.svg": draw_lifecycle.drawing()}


def _errors() -> str:
    tree = dedent((errors.__doc__ or "").partition("\n\n")[2])
    lines = [line[4:] for line in tree.splitlines() if line.startswith("    ")]
    return "\n".join(("<!-- not run: it is a drawing -->", "```text", *lines, "```"))


def _presets() -> str:
    rows = [f"| `{one.name}` | {one.algorithm} | {one.about} |" for one in PRESETS.values()]
    return "\n".join(("| Preset | Algorithm | What it makes |", "|---|---|---|", *rows))


def _catalogue() -> Catalogue:
    """Return the catalogue of the sandbox, which is that of the service, except for its ratings and descriptions."""
    return Catalogue(json.loads(catalogue_json(_SCOPES)))


def _purposes() -> str:
    """Return a table of the presets with what comes out and what it costs."""
    catalogue, rows = _catalogue(), []
    for preset in PRESETS.values():
        one = catalogue.find(preset.algorithm)
        stems = catalogue.stems(one, preset.options)
        listed = ", ".join(stems[:8]) + (f" and {len(stems) - 8} more" if len(stems) > 8 else "")
        account = "premium" if one.plan.name == "PREMIUM" or one.price_coefficient > 1 else "any"
        name = one.name.partition(" (")[0]
        about = preset.about.partition(" (")[0]
        rate = f"{float(credits_per_minute(one, preset.options)):g}"
        rows.append(f"| {about} | `{preset.name}` | {name} ({one.sep_type}) | {listed} | {rate} | {account} |")
    head = "| What you want | Preset | Algorithm | Stems | Credits a minute | Account |"
    return "\n".join((head, "|---|---|---|---|---|---|", *rows))


def _prices() -> str:
    """Return a table of what songs cost."""
    catalogue = _catalogue()
    lengths = {"a song of 3:30": 210, "a song of 5:00": 300, "a set of 60:00": 3600}
    names = {40: "most algorithms, such as BS Roformer", 26: None, 28: None, 30: None}
    rows = []
    for number, name in names.items():
        one = catalogue[number]
        prices = " | ".join(str(credits_for(one, None, seconds)) for seconds in lengths.values())
        rows.append(f"| {name or one.name} ({number}) | {float(one.price_coefficient):g} | {prices} |")
    head = f"| Algorithm | Credits a minute | {' | '.join(lengths)} |"
    return "\n".join((head, "|---|---|---|---|---|", *rows))


def _multipliers() -> str:
    """Return a list of the options that change the price."""
    rows = [
        f"- {one.name} ({one.sep_type}): *{field.label}* {field.options.get(rule.option_key, rule.option_key)}: "
        f"× {float(rule.value):g}"
        for one in _catalogue()
        for field in one.fields
        for rule in field.price_rules
        if rule.value != 1
    ]
    return "\n".join(rows)


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
    pages = re.sub(r'"([^"\n]*\*[^"\n]*)"', r"`\1`", pages)  # a pattern with asterisks is not an emphasis
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
    "commands": _commands,
    "parts": _parts,
    "layers": _figure(draw_layers.drawing),
}

WRITTEN: Final[Mapping[str, Callable[[], str]]] = {
    "errors": _errors,
    "presets": _presets,
    "faults": _faults,
    "purposes": _purposes,
    "prices": _prices,
    "multipliers": _multipliers,
}


def main() -> None:
    """Write what is written into pages, and the drawings."""
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text("utf-8")
        if (after := written(before)) != before:
            page.write_text(after, "utf-8")
    for path, drawing in drawings().items():
        path.write_text(drawing, "utf-8")


if __name__ == "__main__":
    main()
