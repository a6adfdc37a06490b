"""`algorithms`: what the service can do to a song."""

from __future__ import annotations

from typing import Final

from cyclopts import App

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.fields import Condition, Field
from mvsep_async.cli.config import COMMON, CommonOptions, connect, load_config
from mvsep_async.cli.tables import Column, print_record, print_rows
from mvsep_async.http.call import Json

__all__ = ["algorithms"]

algorithms = App(name="algorithms", help="List, search and explain the algorithms.")

_COLUMNS: Final[tuple[Column[Algorithm], ...]] = (
    Column("sep_type", lambda one: one.sep_type, justify="right"),
    Column("name", lambda one: one.name, style="bold"),
    Column("group", lambda one: one.group),
    Column("plan", lambda one: one.plan.name.lower()),
    Column("price", lambda one: float(one.price_coefficient), justify="right"),
    Column("rating", lambda one: None if one.rating is None else float(one.rating), justify="right"),
    Column("needs", lambda one: one.needs.value),
    Column("description", lambda one: one.short_description(), hidden=True),
)


@algorithms.default
async def find(*words: str, refresh: bool = False, common: CommonOptions = COMMON) -> int:
    """List the algorithms: all of them, or those that words describe, the best first.

    Parameters
    ----------
    words
        Words of a name, a group or a description.
    refresh
        Ask the service again, in place of what was kept for a day.
    """
    async with connect(load_config(common)) as client:
        catalogue = await client.catalogue(refresh=refresh)
    found = catalogue.search(" ".join(words)) if words else sorted(catalogue, key=lambda one: one.sep_type)
    print_rows(found, _COLUMNS, json=common.json, empty=f"no algorithm has anything of {' '.join(words)!r}")
    return 0


@algorithms.command
async def show(algorithm: str, /, *, common: CommonOptions = COMMON) -> int:
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
        for field in found.fields:
            record[field.name] = _told(field, found)
    print_record(record, json=common.json)
    return 0


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


def _told(field: Field, algorithm: Algorithm) -> str:
    needed = " (required)" if field.required and field.default is None else ""
    lines = [f"{field.label}{needed}"]
    lines += [
        f"  ({one.action} when {_name_of(one, algorithm)} {one.operator} {', '.join(one.values)})"
        for one in field.conditions
    ]
    factors = _price_factors(field)
    if field.free_text:
        lines.append("  any text")
    width = max((len(key) for key in field.options), default=0)
    for key, label in field.options.items():
        price = f" (price × {factors[key]:g})" if key in factors else ""
        lines.append(f"  {key.rjust(width)}  {label}{price}" + (" (default)" if key == field.default else ""))
    return "\n".join(lines)


def _price_factors(field: Field) -> dict[str, float]:
    """Return what choices multiply the price by, of those that change it."""
    rules = [rule for rule in field.price_rules if rule.mode == "multiplier" and rule.value != 1]
    return {rule.option_key: float(rule.value) for rule in rules}


def _name_of(condition: Condition, algorithm: Algorithm) -> str | None:
    """Return the name of the option that a condition looks at, where the algorithm has it."""
    return next((field.name for field in algorithm.fields if field.id == condition.depends_on), None)
