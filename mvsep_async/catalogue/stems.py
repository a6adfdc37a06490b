"""The stems of an algorithm, by the chosen options."""

from __future__ import annotations

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.options import Options, in_effect, resolve
from mvsep_async.errors import InvalidRequestError

__all__ = ["all_outputs", "check_stem", "outputs_for"]


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


def all_outputs(algorithm: Algorithm) -> frozenset[str]:
    """Return every stem that the algorithm can return with any options, empty if the service does not list them.

    All of them, because what the catalogue says about single options is not always complete.
    """
    labels = {*algorithm.outputs.values(), *algorithm.output_stems}
    for variant in algorithm.output_variants.variants if algorithm.output_variants else ():
        labels |= {*variant.outputs.values()}
    for field in algorithm.fields:
        for override in field.output_overrides.values():
            labels |= {*override.outputs.values()}
    return frozenset(labels)


def check_stem(stem: str, known: frozenset[str], of: str) -> None:
    """Raise `InvalidRequestError` if `stem` is not in `known`, which may be empty: then nothing is known."""
    spelled: dict[str, str] = {}
    for label in sorted(known):
        spelled.setdefault(label.casefold(), label)
    if known and stem.casefold() not in spelled:
        names = tuple(spelled.values())
        raise InvalidRequestError(f"{of} has no stem {stem!r}; it has {', '.join(names)}", candidates=names)
