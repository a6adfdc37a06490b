"""Idempotency keys of a recipe's jobs, by which they are found again and never paid twice. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from mvsep_async.audio.digest import AudioContent
from mvsep_async.recipes.recipe import Recipe, Step

__all__ = ["PREFIX", "content_key", "digest_of", "keys_of"]

PREFIX: Final = "recipe:"
_BYTES: Final = 15
"""Of each hash: 120 bits, so that two of a billion jobs have the same one by chance with a probability below 1e-18."""


def keys_of(recipe: Recipe, source: str) -> Mapping[str, str]:
    """Return the idempotency key of each step, by its name, for a resolved recipe.

    `source`: the identity of the song's audio. A key covers all that determines a step's result: the song, and the
    algorithm, the options and the format of the step and of those before it. Other steps, names and the stems that are
    kept can change without anything being paid again.
    """
    keys: dict[str, str] = {}
    for step in recipe.steps:
        before = ["song", source] if step.input is None else [keys[step.input.step], step.input.stem.casefold()]
        keys[step.name] = PREFIX + _hashed([*before, *_settings(step)])
    return MappingProxyType(keys)


def content_key(content: AudioContent) -> str:
    """Return the identity of a song's audio, as `keys_of` takes it."""
    return f"audio {content.digest}"


def digest_of(recipe: Recipe) -> str:
    """Return a short hash of how a resolved recipe separates a song: the same for one that makes the same stems."""
    return _hashed([[step.name, step.input and str(step.input).casefold(), *_settings(step)] for step in recipe.steps])


def _settings(step: Step) -> list[object]:
    return [step.algorithm, sorted(step.options.items()), int(step.output_format)]


def _hashed(parts: list[object]) -> str:
    return blake2b(json.dumps(parts, separators=(",", ":")).encode(), digest_size=_BYTES).hexdigest()
