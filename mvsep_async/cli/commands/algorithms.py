"""`algorithms`: list, search and explain the algorithms."""

from __future__ import annotations

import textwrap
from typing import Final

from cyclopts import App

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.fields import Condition, Field
from mvsep_async.catalogue.presets import PRESETS, Preset
from mvsep_async.cli.complete import AlgorithmName
from mvsep_async.cli.config import COMMON, CommonOptions, connect, load_config
from mvsep_async.cli.help import FLAGS
from mvsep_async.cli.tables import Column, print_record, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.http.call import Json

__all__ = ["algorithms"]

algorithms = App(name="algorithms", help="List, search and explain the algorithms.", help_flags=FLAGS)

_COLUMNS: Final[tuple[Column[Algorithm], ...]] = (
    Column("sep_type", lambda one: one.sep_type, justify="right"),
    Column("name", lambda one: one.name, style="bold", wide="cut"),
    Column("group", lambda one: one.group, only="programs"),
    Column("rating", lambda one: None if one.rating is None else float(one.rating), lambda one: _rating(one), "right"),
    Column("usage", lambda one: one.usage, lambda one: f"{one.usage or 0:,}", "right"),
    Column("price", lambda one: float(one.price_coefficient), justify="right"),
    Column("plan", lambda one: one.plan.name.lower()),
    Column("needs", lambda one: one.needs.value, only="programs"),
    Column("description", lambda one: one.short_description(), only="programs"),
)


_PICKS: Final[tuple[Column[tuple[Preset, Algorithm]], ...]] = (
    Column("preset", lambda pick: pick[0].name, style="bold"),
    Column("what comes out", lambda pick: pick[0].about, wide="cut"),
    Column("algorithm", lambda pick: pick[1].sep_type, justify="right"),
    Column("rating", lambda pick: None, lambda pick: _rating(pick[1]), "right"),
    Column("price", lambda pick: float(pick[1].price_coefficient), justify="right"),
)


@algorithms.default
async def find(*words: str, all: bool = False, refresh: bool = False, common: CommonOptions = COMMON) -> int:
    """Show which algorithm to pick; with words, list those that they describe, the best first.

    Rating is the users' average of 5, price is credits a minute, usage counts recent separations.

    Parameters
    ----------
    words
        Words of a name, a group or a description.
    all
        List all algorithms.
    refresh
        Ask the service again instead of using the list that was stored for a day.
    """
    async with connect(load_config(common)) as client:
        catalogue = await client.catalogue(refresh=refresh)
    if not (words or all or common.json):
        numbers = {one.sep_type for one in catalogue}
        presets = [preset for preset in PRESETS.values() if preset.algorithm in numbers]
        picks = [(preset, catalogue.find(preset.algorithm)) for preset in presets]
        print_rows(picks, _PICKS)
        terminal().note(
            "price: credits a minute. Use one with --preset NAME or -a NUMBER. `mvsep-async algorithms --all` lists "
            f"all {len(catalogue)} algorithms, `mvsep-async algorithms WORDS` searches them"
        )
        return 0
    found = catalogue.search(" ".join(words)) if words else sorted(catalogue, key=lambda one: one.sep_type)
    print_rows(found, _COLUMNS, empty=f"no algorithm matches {' '.join(words)!r}")
    return 0


@algorithms.command
async def show(algorithm: AlgorithmName, /, *, common: CommonOptions = COMMON) -> int:
    """Explain one algorithm: its options and their choices, its stems, its price.

    Parameters
    ----------
    algorithm
        Its number (sep_type) or name.
    """
    async with connect(load_config(common)) as client:
        catalogue = await client.catalogue()
    found = catalogue.find(algorithm)
    record: dict[str, Json] = {column.name: column.value(found) for column in _COLUMNS}
    record["stems"] = list(catalogue.stems(found))
    if common.json:
        record["options"] = [_field(field, found) for field in found.fields]
    else:
        record |= {column.name: column.text(found) for column in _COLUMNS if column.only is None}
        names = max(map(len, [*record, *(field.name for field in found.fields)]))
        for field in found.fields:
            record[field.name] = _described(field, found, terminal().out.width - names - 4)
    print_record(record)
    return 0


def _rating(algorithm: Algorithm) -> str:
    return "" if algorithm.rating is None else f"{algorithm.rating:.1f}"


def _field(field: Field, algorithm: Algorithm) -> Json:
    return {
        "name": field.name,
        "label": field.label,
        "choices": dict(field.options),
        "default": field.default,
        "required": field.required,
        "price_factors": dict(_price_factors(field)),
        "conditions": [
            {
                "action": one.action,
                "option": _name_of(one, algorithm),
                "operator": one.operator,
                "choices": list(one.values),
            }
            for one in field.conditions
        ],
    }


def _described(field: Field, algorithm: Algorithm, width: int) -> str:
    """Return an option and its choices for people, each in as many lines of `width` columns as it needs."""
    needed = " (required)" if field.required and field.default is None else ""
    lines = [f"{field.label}{needed}"]
    for one in field.conditions:
        only = "only" if one.action == "show" else "not"
        lines.append(f"  {only} if {_name_of(one, algorithm)} is {' or '.join(one.values)}")
    factors = _price_factors(field)
    if field.free_text:
        lines.append("  any text")
    widest = max((len(key) for key in field.options), default=0)
    for key, label in field.options.items():
        default = " (default)" if key == field.default else ""
        price = f" (price × {factors[key]:g})" if key in factors else ""
        text = f"  {key.rjust(widest)}  {' '.join(label.split())}{default}{price}"
        lines += textwrap.wrap(text, max(width, 40), subsequent_indent=" " * (widest + 4)) or [text]
    return "\n".join(lines)


def _price_factors(field: Field) -> dict[str, float]:
    """Return what choices multiply the price by, of those that change it."""
    rules = [rule for rule in field.price_rules if rule.mode == "multiplier" and rule.value != 1]
    return {rule.option_key: float(rule.value) for rule in rules}


def _name_of(condition: Condition, algorithm: Algorithm) -> str | None:
    """Return the name of the option that a condition depends on, if the algorithm has it."""
    return next((field.name for field in algorithm.fields if field.id == condition.depends_on), None)
