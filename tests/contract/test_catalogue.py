"""Every type and option of the live catalogue, in the sandbox's answers and in the client's model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.options import in_effect
from mvsep_async.catalogue.price import credits_for
from mvsep_async.catalogue.sep_types import catalogue_facts
from mvsep_async.models.decode import decode
from mvsep_async.sandbox import accounts, catalogue
from mvsep_async.sandbox.create_request import check
from mvsep_async.sandbox.form import Form, Upload
from mvsep_async.sandbox.settings import SandboxSettings

SECONDS = 613
ACCOUNT = accounts.Account("token", "name", "a@b.c", "password", minutes=1000, created=0, premium_enabled=True)
SONG = Upload("song.wav", Path("song.wav"), 1, "")
SETTINGS = SandboxSettings()

types = pytest.mark.parametrize("fact", catalogue_facts(), ids=lambda fact: str(fact["sep_type"]))


def client_and_sandbox(fact: Mapping[str, Any]) -> tuple[Algorithm, catalogue.Algorithm]:
    known = catalogue.algorithms()[fact["sep_type"]]
    return decode(known.entry, Algorithm, what="app/algorithms"), known  # type: ignore[arg-type]


def accepted(sep_type: int, options: Mapping[str, str]) -> dict[str, str]:
    """The options of a create as the sandbox takes them."""
    fields = {"api_token": "token", "sep_type": str(sep_type), **options}
    files = dict.fromkeys(("audiofile", "target_audiofile", "reference_audiofile"), SONG)
    return check(Form(fields, files), ACCOUNT, SETTINGS).options


@types
def test_the_sandbox_answers_every_fact(fact: Mapping[str, Any]) -> None:
    entry = catalogue.algorithms()[fact["sep_type"]].entry
    for key in ("id", "name", "orientation", "price_coefficient", "is_active", "audio_widget", "allow_resample"):
        assert entry[key] == fact[key], key
    assert entry["algorithm_group"]["name"] == fact["group"]
    assert json.loads(entry["output_stems"] or "null") == fact["output_stems"]
    assert fact["outputs"] in (None, json.loads(entry["outputs"] or "null"))
    names = {field["id"]: field["name"] for field in entry["algorithm_fields"]}
    for field, known in zip(entry["algorithm_fields"], fact["fields"], strict=True):
        for key, its in {
            "name": "name", "text": "label", "default_key": "default", "input_type": "type", "required": "required",
            "server_key": "server_key",
        }.items():  # fmt: skip
            assert field[key] == known[its], key
        assert json.loads(field["options"]) == known["options"]
        rules = [{key: rule[key] for key in ("option_key", "mode", "value")} for rule in field["price_rules"]]
        assert rules == known.get("price_rules", [])
        conditions = [
            {
                "depends_on": names[one["depends_on_field_id"]],
                "operator": one["operator"],
                "value": one["value_json"],
                "action": one["action"],
            }
            for one in field["conditions"]
        ]
        assert conditions == known.get("conditions", [])


@types
def test_the_model_has_every_fact(fact: Mapping[str, Any]) -> None:
    model, _ = client_and_sandbox(fact)
    assert (model.sep_type, model.id, model.name, model.group) == (
        fact["sep_type"], fact["id"], fact["name"], fact["group"],
    )  # fmt: skip
    assert (model.plan, model.is_active, model.audio_widget) == (
        fact["orientation"], bool(fact["is_active"]), fact["audio_widget"],
    )  # fmt: skip
    assert float(model.price_coefficient) == fact["price_coefficient"]
    assert model.allow_resample == bool(fact["allow_resample"])
    assert list(model.output_stems) == (fact["output_stems"] or [])
    assert fact["outputs"] in (None, model.outputs)
    names = {field.id: field.name for field in model.fields}
    for field, known in zip(model.fields, fact["fields"], strict=True):
        assert (field.name, field.label, field.default, field.input_type, field.server_key, field.required) == (
            known["name"], known["label"], known["default"], known["type"], known["server_key"],
            bool(known["required"]),
        )  # fmt: skip
        assert field.options == known["options"]
        assert [(rule.option_key, rule.mode, f"{rule.value:.4f}") for rule in field.price_rules] == [
            (rule["option_key"], rule["mode"], rule["value"]) for rule in known.get("price_rules", [])
        ]
        assert [
            (names[one.depends_on or 0], one.operator, list(one.values), one.action) for one in field.conditions
        ] == [(one["depends_on"], one["operator"], one["value"], one["action"]) for one in known.get("conditions", [])]


@types
def test_every_option_is_accepted(fact: Mapping[str, Any]) -> None:
    texts = {field["name"]: "text" for field in fact["fields"] if not field["options"]}
    for field in fact["fields"]:
        for key in field["options"]:
            assert accepted(fact["sep_type"], {**texts, field["name"]: key})[field["name"]] == key


@types
def test_defaults_and_prices_are_the_same_in_client_and_sandbox(fact: Mapping[str, Any]) -> None:
    model, known = client_and_sandbox(fact)
    texts = {field["name"]: "text" for field in fact["fields"] if not field["options"]}
    selects = [field for field in fact["fields"] if field["options"]]
    default = {field["name"]: field["default"] for field in selects if field["default"] is not None}
    for keys in [
        tuple(default.get(field["name"]) for field in selects),
        *product(*(field["options"] for field in selects)),
    ]:
        wanted = {field["name"]: key for field, key in zip(selects, keys, strict=True) if key is not None}
        chosen = {name: key for name, key in wanted.items() if name in in_effect(model, {**texts, **wanted})}
        price = credits_for(model, {**texts, **chosen}, SECONDS)
        for options in (wanted, chosen):  # programs also send the options of fields that the page hides
            charged = accounts.credits_for(SECONDS, known.price_coefficient, known.multipliers({**texts, **options}))
            assert charged == price, wanted
    assert credits_for(model, texts, SECONDS) == accounts.credits_for(
        SECONDS, known.price_coefficient, known.multipliers(texts)
    )
    assert {
        name: value for name, value in in_effect(model, texts).items() if name not in texts
    }.items() <= default.items()
