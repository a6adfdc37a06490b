"""The stems of an algorithm, by the chosen options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.options import Options, in_effect, resolve
from mvsep_async.errors import InvalidRequestError

__all__ = ["check_stems", "outputs_for"]

_REMAINDER: Final = frozenset({"other", "instrumental", "instrum", "instruments", "accompaniment", "music"})
"""Names of what is left of a song: the service's results use one where its catalogue uses another."""


def outputs_for(algorithm: Algorithm, options: Options | None = None) -> dict[str, str]:
    """Return the stems of the results, stem → label; empty if the service does not list them.

    These are the outputs of this combination of options (`output_variants`), else those of the algorithm, changed by
    the choices: first those that set the outputs, then those that add to them. Raises `InvalidRequestError` for invalid
    options.
    """
    values = in_effect(algorithm, resolve(algorithm, options))
    outputs = dict(algorithm.outputs) or {stem: stem for stem in algorithm.output_stems}
    by_server = {field.server_key: values.get(field.name) for field in algorithm.fields if field.server_key}
    for variant in algorithm.output_variants.variants if algorithm.output_variants else ():
        if variant.match and all(by_server.get(key) == value for key, value in variant.match.items()):
            outputs = dict(variant.outputs)
            break
    overrides = [
        field.output_overrides[values[field.name]]
        for field in algorithm.fields
        if values.get(field.name) in field.output_overrides
    ]
    for override in overrides:
        if override.mode == "set" and override.outputs:
            outputs = dict(override.outputs)
    for override in overrides:
        if override.mode == "add":
            outputs |= override.outputs
    return outputs


def check_stems(algorithm: Algorithm, options: Options | None, stems: Iterable[str] | None) -> None:
    """Raise `InvalidRequestError` for a stem that the algorithm does not return, if the service lists its stems."""
    outputs = outputs_for(algorithm, options)
    if stems is None or not outputs:
        return
    names = {name.casefold() for pair in outputs.items() for name in pair}
    if names & _REMAINDER:
        names |= _REMAINDER
    for stem in stems:
        if stem.casefold() not in names:
            raise InvalidRequestError(
                f"{algorithm.name} has no stem {stem!r}; its stems are {', '.join(outputs.values())}",
                candidates=list(outputs.values()),
            )
