"""The separation types: what `app/algorithms` answers, and what the sandbox itself needs to know of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from attrs import field, frozen

from .catalogue_entries import entries

TEXT_TYPES = frozenset({39, 64})
"""Whisper and Parakeet: the result is text."""
MIDI_TYPES = frozenset({80, 113, 114, 127})
"""The result is a MIDI file."""
GENERATORS = frozenset({62})
"""Stable Audio Open: no file goes in."""
MATCHERING_TYPES = frozenset({68})
"""Two files go in."""
DEFAULT_SEP_TYPE = 40
"""What create assumes when no type is named; the service's own choice is not documented."""
PREMIUM_ORIENTATION = 2
"""The `orientation` of an algorithm for premium accounts only."""


@frozen
class Algorithm:
    """One entry of `app/algorithms`, parsed."""

    sep_type: int
    name: str
    orientation: int
    price_coefficient: float
    active: bool
    fields: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """`add_opt1` … → the entry of `algorithm_fields`."""
    outputs: tuple[str, ...]
    """The labels of its results where the options do not say otherwise."""
    variants: Sequence[Mapping[str, Any]] = field(repr=False)
    """Its results for certain options: `match` (server key → option key) and `outputs` (key → label)."""
    entry: Mapping[str, Any] = field(repr=False)

    @property
    def needs_premium(self) -> bool:
        return self.orientation == PREMIUM_ORIENTATION or self.price_coefficient > 1

    def multipliers(self, options: Mapping[str, str]) -> list[float]:
        """Return what the price rules of the chosen options multiply the price by."""
        return [
            float(rule["value"])
            for name, entry in self.fields.items()
            if not self._hides(entry, options)
            for rule in entry.get("price_rules") or ()
            if rule["mode"] == "multiplier" and rule["option_key"] == options.get(name, entry.get("default_key"))
        ]

    def choices(self, name: str) -> Mapping[str, str]:
        """Return key → label of a field's options; empty for free text."""
        choices: Mapping[str, str] = json.loads(self.fields[name]["options"])
        return choices

    def stems(self, options: Mapping[str, str]) -> tuple[str, ...]:
        """Return the labels of the results for these options."""
        chosen = {item["server_key"]: options.get(name, item["default_key"]) for name, item in self.fields.items()}
        outputs = self.outputs
        for variant in self.variants:
            if all(chosen.get(key) == value for key, value in variant["match"].items()):
                outputs = tuple(variant["outputs"].values())
                break
        overrides = [
            json.loads(item["output_overrides"] or "{}").get(options.get(name, item["default_key"]), {})
            for name, item in self.fields.items()
        ]
        for override in overrides:
            if override.get("mode") == "set":
                outputs = tuple(override["outputs"].values())
        added = [override["outputs"].values() for override in overrides if override.get("mode") == "add"]
        return tuple(dict.fromkeys(chain(outputs, *added)))

    def _hides(self, entry: Mapping[str, Any], options: Mapping[str, str]) -> bool:
        """Whether a field does not apply to these options. Programs send fields that the page hides all the same."""
        for condition in entry["conditions"]:
            other = next(item for item in self.fields.values() if item["id"] == condition["depends_on_field_id"])
            holds = options.get(other["name"], other["default_key"]) in condition["value_json"]
            if holds == (condition["action"] == "hide"):
                return True
        return False

    def model_key(self, options: Mapping[str, str]) -> str | None:
        """Return the option key of the chosen model (`model_type`); None where there is no such choice."""
        for name, item in self.fields.items():
            if item["server_key"] == "model_type":
                return options.get(name) or item["default_key"]
        return None


@cache
def algorithms() -> Mapping[int, Algorithm]:
    """Return every algorithm by its `sep_type` (`render_id`), in the catalogue's order."""
    return {entry["render_id"]: _parse_entry(entry) for entry in entries()}


@cache
def catalogue_json(scopes: tuple[str, ...], *, slashes: bool = False, nested: bool = False) -> bytes:
    """Return the body of `app/algorithms` for those scopes.

    `slashes`: escape them as PHP does. `nested`: a list of groups, each with its `algorithms`.
    """
    chosen = [algorithm.entry for algorithm in algorithms().values() if algorithm.entry["audio_widget"] in scopes]
    text = json.dumps(_nested(chosen) if nested else chosen)
    return (text.replace("/", "\\/") if slashes else text).encode()


def brief(algorithm: Algorithm, *, group: bool) -> dict[str, Any]:
    """Return the short form that the history (with its group) and the demo page (without) contain."""
    keys = ["name", "algorithm_group_id", "orientation", "render_id", "order_id", "created_at", "updated_at"]
    return {key: algorithm.entry[key] for key in [*keys, "algorithm_group"][: None if group else -1]}


def _nested(chosen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[int, dict[str, Any]] = {}
    for entry in chosen:
        group = groups.setdefault(entry["algorithm_group_id"], {**entry["algorithm_group"], "algorithms": []})
        group["algorithms"].append(entry)
    return list(groups.values())


def _parse_entry(entry: Mapping[str, Any]) -> Algorithm:
    outputs = json.loads(entry["outputs"] or "{}")
    stems = json.loads(entry["output_stems"] or "[]")
    variants = json.loads(entry["output_variants"] or "{}").get("variants", [])
    return Algorithm(
        sep_type=entry["render_id"],
        name=entry["name"],
        orientation=entry["orientation"],
        price_coefficient=float(entry["price_coefficient"]),
        active=bool(entry["is_active"]),
        fields={item["name"]: item for item in entry["algorithm_fields"]},
        outputs=tuple(_default_outputs(outputs, stems).values()) or ("Result",),
        variants=variants,
        entry=entry,
    )


def _default_outputs(outputs: Mapping[str, str], stems: Sequence[str]) -> Mapping[str, str]:
    """Return the outputs that `output_stems` names too: `outputs` alone can hold more than come out at one time."""
    named = {key: label for key, label in outputs.items() if key in stems}
    return named if len(named) == len(stems) else outputs
