"""Check the options given for an algorithm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.fields import Condition, Field
from mvsep_async.catalogue.names import folded, head, nearest
from mvsep_async.errors import InvalidRequestError

__all__ = ["Options", "in_effect", "resolve", "validate"]

Options = Mapping[str, str | int | float | bool | None]
"""`add_optN` or the field's label → key or label of the choice, or text; `None` for the service's default."""

_IN: Final = frozenset({"in", "=", "==", "eq", "equals", "is"})
_NOT_IN: Final = frozenset({"not_in", "notin", "nin", "not in", "!=", "<>", "ne", "neq", "not_equals", "is_not"})
_SHOWN: Final = 30
"""Most choices listed in an error."""


def validate(algorithm: Algorithm, options: Options | None = None) -> dict[str, str]:
    """Return the given options in the service's form; raises `InvalidRequestError` for invalid or missing ones.

    Like `resolve`, and also checks that every required option without a default is given.
    """
    chosen = resolve(algorithm, options)
    missing = {
        field.name: [f"{field} is required: give {'a text' if field.free_text else f'one of {_listed(field)}'}"]
        for field in algorithm.fields
        if field.name not in chosen and _is_missing(field, algorithm, chosen)
    }
    if missing:
        raise _problem(algorithm, missing)
    return chosen


def resolve(algorithm: Algorithm, options: Options | None = None) -> dict[str, str]:
    """Return the given options in the service's form, `add_optN` → key, in the order of the algorithm's fields.

    Defaults are not filled in. Raises `InvalidRequestError`, whose `fields` name every problem: an option that the
    algorithm does not have, one that does not apply together with the others, a choice that is not offered.
    """
    problems: dict[str, list[str]] = {}
    candidates: list[str] = []
    chosen: dict[str, str] = {}
    for name, value in (options or {}).items():
        if value is None:
            continue
        try:
            field = _field(algorithm, name)
            key = _choice(field, _as_text(value))
            if chosen.setdefault(field.name, key) != key:
                raise InvalidRequestError(f"{field} is given twice, as {chosen[field.name]!r} and as {key!r}")
        except InvalidRequestError as problem:
            problems.setdefault(name, []).append(problem.message)
            candidates += problem.candidates
    for field in algorithm.fields:
        reason = _hidden_because(field, algorithm, chosen) if field.name in chosen else None
        if reason:
            problems.setdefault(field.name, []).append(f"{field} applies only {reason}")
    if problems:
        raise _problem(algorithm, problems, candidates)
    return {field.name: chosen[field.name] for field in algorithm.fields if field.name in chosen}


def in_effect(algorithm: Algorithm, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each field for these choices, defaults included, without hidden fields."""
    values = ((field, _value(field, algorithm, chosen, ())) for field in algorithm.fields)
    return {field.name: value for field, value in values if value is not None}


def _problem(
    algorithm: Algorithm, problems: Mapping[str, Sequence[str]], candidates: Sequence[str] = ()
) -> InvalidRequestError:
    texts = [text for said in problems.values() for text in said]
    hint = f"; did you mean {' or '.join(candidates)}?" if candidates else ""
    return InvalidRequestError(f"{algorithm}: {'; '.join(texts)}{hint}", fields=problems, candidates=candidates)


def _value(field: Field, algorithm: Algorithm, chosen: Mapping[str, str], asking: tuple[str, ...]) -> str | None:
    if field.name in asking:  # Fields that depend on each other in a circle do not hide each other.
        return chosen.get(field.name, field.default)
    if _failed(field, algorithm, chosen, asking) is not None:
        return None
    return chosen.get(field.name, field.default)


def _failed(
    field: Field, algorithm: Algorithm, chosen: Mapping[str, str], asking: tuple[str, ...] = ()
) -> tuple[Condition, Field, str | None] | None:
    """Return the condition that hides a field, with the field that it depends on and the value of that field.

    A field is shown when all its `show` conditions hold and none of its `hide` conditions does. That they combine so is
    inferred: only single ones were seen. A condition with an unknown operator or field hides nothing.
    """
    for condition in field.conditions:
        other = next((other for other in algorithm.fields if other.id == condition.depends_on), None)
        if other is None or other.id is None:
            continue
        value = _value(other, algorithm, chosen, (*asking, field.name))
        operator, action = condition.operator.strip().lower(), condition.action.strip().lower()
        if operator in _IN:
            holds = value in condition.values
        elif operator in _NOT_IN:
            holds = value not in condition.values
        else:
            continue
        if (action == "show" and not holds) or (action == "hide" and holds):
            return condition, other, value
    return None


def _hidden_because(field: Field, algorithm: Algorithm, chosen: Mapping[str, str]) -> str | None:
    failed = _failed(field, algorithm, chosen)
    if failed is None:
        return None
    condition, other, value = failed
    wanted = " or ".join(_named(other, key) for key in condition.values)
    negated = (condition.operator.strip().lower() in _NOT_IN) != (condition.action.strip().lower() == "hide")
    actual = "that one does not apply" if value is None else f"it is {_named(other, value)}"
    return f"when {other} is {'not ' if negated else ''}{wanted}, but {actual}"


def _is_missing(field: Field, algorithm: Algorithm, chosen: Mapping[str, str]) -> bool:
    return field.required and not field.default and _failed(field, algorithm, chosen) is None


def _field(algorithm: Algorithm, name: str) -> Field:
    """Find a field by its name or label, ignoring case, and spaces and underscores in the name."""
    plain = folded(name).replace("_", "").replace(" ", "")
    for field in algorithm.fields:
        if plain == field.name.lower().replace("_", ""):
            return field
    by_label = [field for field in algorithm.fields if folded(field.label) == folded(name)]
    by_server_key = [field for field in algorithm.fields if folded(field.server_key or "") == folded(name)]
    for found in (by_label, by_server_key) if plain else ():
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidRequestError(
                f"the option {name[:60]!r} is ambiguous: use {' or '.join(field.name for field in found)}",
                candidates=[field.name for field in found],
            )
    there = ", ".join(str(field) for field in algorithm.fields)
    labelled = {field.label: field.name for field in algorithm.fields if field.label}
    raise InvalidRequestError(
        f"unknown option {name[:60]!r}: " + (f"the options are {there}" if there else "it has no options"),
        candidates=[labelled[label] for label in nearest(name, labelled)],
    )


def _choice(field: Field, text: str) -> str:
    """Return the key for a key, a label or an unambiguous beginning of a label; free text as it is."""
    if field.free_text:
        if field.required and not text.strip():
            raise InvalidRequestError(f"{field} must not be empty")
        return text
    if text in field.options:
        return text
    wanted = folded(text)
    for form in (folded, head):
        found = [key for key, label in field.options.items() if wanted in (form(label), folded(key))]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidRequestError(
                f"the choice {text[:60]!r} of {field} is ambiguous: {', '.join(_named(field, key) for key in found)}",
                candidates=found,
            )
    labelled = {label: key for key, label in field.options.items()}
    raise InvalidRequestError(
        f"{field} has no choice {text[:60]!r}: use {_listed(field)}",
        candidates=[labelled[label] for label in nearest(text, labelled)],
    )


def _as_text(value: str | float | bool) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value).strip() if not isinstance(value, str) else value


def _named(field: Field, key: str) -> str:
    return f"{key} ({field.options[key]})" if key in field.options else repr(key)


def _listed(field: Field) -> str:
    keys: Sequence[str] = list(field.options)
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(_named(field, key) for key in keys[:_SHOWN]) + more
