"""All separation types: those that were recorded from the service, the others made in their image."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from attrs import field, frozen

from .names import slug

TEXT_TYPES = frozenset({39, 64})
"""Whisper and Parakeet: the result is text."""
MIDI_TYPES = frozenset({104})
"""The sandbox's own addition, so that a result that is neither audio nor text can be had."""
GENERATORS = frozenset({62})
"""Stable Audio Open: no file goes in."""
MATCHERING_TYPES = frozenset({68})
"""Two files go in."""
DEFAULT_SEP_TYPE = 40
"""What create assumes when no type is named; the service's own choice is not documented."""

_DATA = Path(__file__).parent / "data"
_ENSEMBLES = frozenset({26, 28, 30})
_REGISTERED = frozenset({20, 12, 49, 9})
_STEMS: Mapping[int, Sequence[str]] = {
    0: ["Vocals", "Instrumental"],
    3: ["Vocals", "Drums", "Bass", "Other"],
    22: ["No reverb", "Reverb"],
    42: ["Speaker 1", "Speaker 2"],
    50: ["Aspiration", "Other"],
    53: ["Singer 1", "Singer 2"],
    55: ["Centre", "Sides"],
    57: ["Male", "Female"],
    68: ["Mastered"],
}
"""Stems of the types whose names do not tell them."""
_DESCRIPTION_SENTENCES = 17
"""Makes the whole catalogue about a megabyte, like the real one."""


@frozen
class Algorithm:
    """What the sandbox itself needs to know of one entry of `app/algorithms`."""

    sep_type: int
    name: str
    orientation: int
    price_coefficient: float
    active: bool
    fields: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """`add_opt1` … → the entry of `algorithm_fields`."""
    outputs: tuple[str, ...]
    """What it makes where the options do not say otherwise."""
    variants: Sequence[Mapping[str, Any]] = field(repr=False)
    """What it makes for certain options: `match` (server key → option key) and `outputs` (key → label)."""
    entry: Mapping[str, Any] = field(repr=False)

    def multipliers(self, options: Mapping[str, str]) -> list[float]:
        """What the price rules of the chosen options multiply the price by."""
        return [
            float(rule["value"])
            for name, entry in self.fields.items()
            for rule in entry.get("price_rules") or ()
            if rule["mode"] == "multiplier" and rule["option_key"] == options.get(name, entry.get("default_key"))
        ]

    def choices(self, name: str) -> Mapping[str, str]:
        """Key → label of a field's options; empty for free text."""
        choices: Mapping[str, str] = json.loads(self.fields[name]["options"])
        return choices

    def stems(self, options: Mapping[str, str]) -> tuple[str, ...]:
        """The labels of what comes out for these options."""
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


@cache
def algorithms() -> Mapping[int, Algorithm]:
    """Every algorithm by its `sep_type` (`render_id`), in the catalogue's order."""
    recorded = {entry["render_id"]: entry for entry in _read_json("recorded_algorithms.json")}
    with (_DATA / "sep_types.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    rows.append({"sep_type": "104", "name": "Sandbox Notes (MIDI)", "fields": ""})
    entries = [
        recorded.pop(sep_type, None) or _synthesise(sep_type, row["name"], row["fields"], number)
        for number, row in enumerate(rows)
        for sep_type in [int(row["sep_type"])]
    ]
    return {entry["render_id"]: _understand(entry) for entry in [*entries, *recorded.values()]}


@cache
def catalogue_json(scopes: tuple[str, ...], *, slashes: bool = False) -> bytes:
    """The body of `app/algorithms` for those scopes; with `slashes` escaped the way PHP does it."""
    chosen = [algorithm.entry for algorithm in algorithms().values() if algorithm.entry["audio_widget"] in scopes]
    text = json.dumps(chosen)
    return (text.replace("/", "\\/") if slashes else text).encode()


def brief(algorithm: Algorithm, *, group: bool) -> dict[str, Any]:
    """The short form that the history (with its group) and the demo page (without) carry."""
    keys = ["name", "algorithm_group_id", "orientation", "render_id", "order_id", "created_at", "updated_at"]
    return {key: algorithm.entry[key] for key in [*keys, "algorithm_group"][: None if group else -1]}


def _read_json(name: str) -> Any:
    return json.loads((_DATA / name).read_text(encoding="utf-8"))


def _understand(entry: Mapping[str, Any]) -> Algorithm:
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
        outputs=tuple(_usual(outputs, stems).values()) or ("Result",),
        variants=variants,
        entry=entry,
    )


def _usual(outputs: Mapping[str, str], stems: Sequence[str]) -> Mapping[str, str]:
    """`outputs` can name more than comes out at one time; `output_stems` then says which, where it names the same."""
    named = {key: label for key, label in outputs.items() if key in stems}
    return named if len(named) == len(stems) else outputs


def _synthesise(sep_type: int, name: str, fields: str, number: int) -> dict[str, Any]:
    chance = random.Random(sep_type)
    own_id = sep_type - 2 if sep_type > 2 else 200 + sep_type
    stems = _stems(sep_type, name)
    widget = {62: "no_upload", 68: "matchering_upload"}.get(sep_type, "single_upload")
    group = {"id": 13 + number % 9, "name": _group(name)}
    stamp = f"{2022 + number % 4}-0{1 + number % 9}-1{number % 10} 0{number % 10}:2{number % 6}:3{number % 10}"
    return {
        "id": own_id,
        "name": name,
        "algorithm_group_id": group["id"],
        "orientation": 2 if sep_type in _ENSEMBLES else 1 if sep_type in _REGISTERED else 0,
        "render_id": sep_type,
        "order_id": 20 + number * 10,
        "created_at": None if number % 17 == 0 else stamp,
        "updated_at": "2026-07-07 01:57:45",
        "additional_fields": None,
        "price_coefficient": 2 if sep_type in _ENSEMBLES else 1,
        "is_active": 1,
        "audio_upload_disabled": int(widget == "no_upload"),
        "audio_widget": widget,
        "allow_resample": int(sep_type not in TEXT_TYPES),
        "output_stems": json.dumps([slug(stem, 40) for stem in stems]) if stems else None,
        "outputs": json.dumps({slug(stem, 40): stem for stem in stems}) if stems else None,
        "output_variants": None,
        "description": f"{name}: one of the separation types of the service.",
        "usage": chance.randrange(200, 190000),
        "rating": {"average": f"{chance.uniform(2.5, 4.9):.4f}", "total": chance.randrange(2, 700)},
        "algorithm_fields": [
            _field(own_id, position, *declared.strip().split("=", 1), sep_type=sep_type)
            for position, declared in enumerate(filter(None, fields.split(";")))
        ],
        "algorithm_descriptions": [_description(own_id, name, lang) for lang in ("en", "ru")],
        "algorithm_group": {**group, "created_at": "2025-12-24 06:31:54", "updated_at": "2025-12-24 06:31:54"},
    }


def _field(own_id: int, position: int, name: str, label: str, *, sep_type: int) -> dict[str, Any]:
    choices = _choices(label)
    dearer = sep_type in _ENSEMBLES and position > 0
    rules = [{"option_key": "1", "mode": "multiplier", "value": "1.5000"}] if dearer else []
    return {
        "id": own_id * 4 + position,
        "name": name,
        "text": label,
        "algorithm_id": own_id,
        "options": json.dumps(choices, indent=4) if choices else "{}",
        "output_overrides": None,
        "created_at": "2024-11-24 22:38:30",
        "updated_at": "2024-11-24 22:38:30",
        "default_key": next(iter(choices), None),
        "server_key": {"Output files": "detailed", "How to extract": "extract_type"}.get(label, slug(label, 30)),
        "input_type": "select" if choices else "text",
        "required": 1 if choices or "prompt" in label else 0,
        "help_link": None,
        "registered_only_keys": None,
        "price_rules": rules,
        "conditions": [],
    }


def _choices(label: str) -> dict[str, str]:
    match label.lower():
        case "text prompt" | "length (in seconds)":
            return {}
        case "how to extract" | "extraction type":
            return {"0": "Extract directly from mixture", "1": "Use vocals model to help"}
        case "output files":
            return {"0": "Standard set", "1": "Include results of independent models"}
        case "preprocess":
            return {"0": "Extract vocals first", "1": "Use as is"}
        case "agressiveness":
            return {str(value / 10): str(value / 10) for value in range(3, 10)}
        case "cutoff (hz)":
            return {"0": "Automatic", **{str(value): f"{value} Hz" for value in range(2000, 22001, 2000)}}
        case "transcription type":
            return {"0": "Old style with Whisper", "1": "New style with timestamps"}
        case _:
            return {str(number): f"Model {number + 1} (SDR avg: {9.5 + number / 4:.2f})" for number in range(5)}


def _description(own_id: int, name: str, lang: str) -> dict[str, Any]:
    sentence = {
        "en": f"<p>{name} is described on this page at some length, with a table of its quality on public data.</p>",
        "ru": f"<p>{name}: на этой странице модель описана подробно, с таблицей качества на открытых данных.</p>",
    }[lang]
    return {
        "id": own_id * 2 + (lang == "ru"),
        "short_description": sentence[3:-4],
        "long_description": "\r\n".join([sentence] * _DESCRIPTION_SENTENCES),
        "lang": lang,
        "algorithm_id": own_id,
        "created_at": "2024-11-25 09:50:56",
        "updated_at": "2024-11-27 16:52:37",
    }


def _stems(sep_type: int, name: str) -> Sequence[str]:
    if sep_type in TEXT_TYPES | MIDI_TYPES:
        return []
    if sep_type in _STEMS:
        return _STEMS[sep_type]
    inside = re.search(r"\(([^()]*[,/][^()]*)\)\s*$", name)
    if inside is None or "by " in inside[1]:
        return ["Restored"] if "(" in name else []
    return list(_capitals(re.sub(r"^.*:", "", inside[1]).split(",")))


def _capitals(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        if word.strip() == "lead/back vocals":
            yield from ("Lead vocals", "Back vocals")
        else:
            yield {"instrum": "Instrumental"}.get(word.strip(), word.strip().capitalize())


def _group(name: str) -> str:
    if "Ensemble" in name:
        return "Ensembles"
    if "vocal" in name.lower():
        return "Vocals / Instrumental"
    return "Instruments" if "other" in name else "Effects"
