"""A recipe, and the sandbox's catalogue."""

from __future__ import annotations

import json

import pytest

from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.store import SCOPES
from mvsep_async.recipes import Recipe, Step
from mvsep_async.sandbox.catalogue import catalogue_json


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue(json.loads(catalogue_json(SCOPES)))


@pytest.fixture
def chain() -> Recipe:
    """Voice, then lead and backing voices, then the lead without reverb."""
    return Recipe(
        name="dry lead",
        steps=[
            Step(name="voice", algorithm="BS Roformer", keep=()),
            Step(name="lead", algorithm=49, input="voice.Vocals", keep=["Back vocals"]),
            Step(name="dry", algorithm="Reverb Removal", input="lead.Lead vocals", keep=["Noreverb"]),
        ],
    )
