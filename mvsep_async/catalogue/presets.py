"""Presets: names for common separations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from mvsep_async.catalogue.names import nearest
from mvsep_async.errors import InvalidRequestError

__all__ = ["PRESETS", "Preset", "find_preset"]


def _frozen_options(options: Mapping[str, object]) -> Mapping[str, str]:
    return MappingProxyType({str(name): str(value) for name, value in options.items()})


@frozen
class Preset:
    """An algorithm with its options, for the `algorithm` of `submit`. `stems`: those to download, `None` for all."""

    name: str
    algorithm: int | str
    options: Mapping[str, str] = field(factory=dict, converter=_frozen_options)
    stems: tuple[str, ...] | None = None
    about: str = ""


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset("vocals", 40, about="voice and accompaniment, by BS Roformer"),
            Preset("vocals-ensemble", 26, about="voice and accompaniment by several models (premium)"),
            Preset("four-stems", 20, about="vocals, drums, bass and the rest, by Demucs4"),
            Preset("six-stems", 63, about="vocals, bass, drums, guitar, piano and the rest, by BS Roformer SW"),
            Preset("all-in", 30, about="every instrument the service knows well, by several models (premium)"),
            Preset("karaoke", 49, about="the lead voice; backing voices and music"),
            Preset("male-female", 57, about="male voices; female voices"),
            Preset("drums", 44, about="drums and the rest"),
            Preset("drum-kit", 37, about="kick, snare, toms, hi-hat, ride and crash of a song's drums"),
            Preset("bass", 41, about="bass and the rest"),
            Preset("guitar", 31, about="guitar and the rest"),
            Preset("piano", 29, about="piano and the rest"),
            Preset("film", 56, about="speech, music and effects of a film"),
            Preset("dereverb", 22, about="the recording without reverb"),
            Preset("denoise", 47, about="the recording without noise"),
            Preset("crowd", 34, about="the crowd of a live recording; the music"),
        )
    }
)
"""Numbers are the service's `sep_type`. Options are the service's defaults, which follow its newest models."""


def find_preset(name: str) -> Preset:
    """Return the preset with this name, without case; raises `InvalidRequestError` with the most similar names."""
    found = PRESETS.get(name.strip().lower())
    if found is None:
        near = nearest(name, PRESETS) or list(PRESETS)
        raise InvalidRequestError(
            f"unknown preset {name[:60]!r}; did you mean {' or '.join(near[:5])}?", candidates=near
        )
    return found
