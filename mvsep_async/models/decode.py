"""Decoding of the service's JSON into the models: lenient with types, strict with meaning.

The rules, from answers that the service was seen to give:

- numbers and flags also come as text (`"42.5"`, `"1"`, `"true"`), flags as 0/1, text as numbers;
- `null`, and `[]` in place of another type (PHP's empty mapping), mean no value: the default is used;
- a value that does not fit a field that may be `None` is left in `extra` under its key; one that does not fit any other
  field is a `ProtocolError`;
- an object without a single known key is a `ProtocolError`;
- unknown keys are kept in `extra`, except waveform `peaks` (megabytes) and secrets.
"""

import json
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import attrs
from cattrs import Converter

from mvsep_async.errors import ProtocolError
from mvsep_async.http.call import Json
from mvsep_async.http.redaction import redact
from mvsep_async.http.response import excerpt
from mvsep_async.http.token import Token
from mvsep_async.models.values import (
    DROPPED_KEYS,
    Unfit,
    cleaned,
    read_bool,
    read_float,
    read_int,
    read_text,
    read_token,
)

__all__ = ["decode", "payload", "record", "wire"]

T = TypeVar("T")


def decode(data: Json, cls: type[T], *, what: str) -> T:
    """Build a `cls` from decoded JSON; `what` names the answer in errors.

    Raises `ProtocolError` with the place and a redacted, shortened excerpt of a value that does not fit.
    """
    try:
        return _converter.structure(data, cls)
    except Unfit as unfit:
        problem = f"{'.'.join(unfit.path) or 'it'} should be {unfit.expected}, not {_shown(unfit)}"
    except RecursionError:
        problem = "it is nested too deeply"
    # Raised here, without the data: a traceback must not hold the whole answer, which may have a token in it.
    del data
    raise ProtocolError(f"the answer to {what} could not be decoded: {problem}")


def wire(
    *keys: str,
    via: Callable[[Any], Any] | None = None,
    first: Callable[[Any], Any] | None = None,
    dispensable: bool = False,
    stays: bool = False,
) -> dict[str, object]:
    """Return attrs metadata: the service's keys for a field, the preferred one first, and how its value is read.

    `via` reads the value instead of the field's type; `first` prepares it for the type. `dispensable`: treat the field
    like one that may be `None`, though it has another default. `stays`: keep the value in `extra` too, since only a
    part of it is read.
    """
    return {"keys": keys, "via": via, "first": first, "dispensable": dispensable, "stays": stays}


def payload(answer: Json) -> Json:
    """Return the `data` of an answer, or the answer itself if it has no such envelope."""
    return answer["data"] if isinstance(answer, dict) and answer.get("data") is not None else answer


def record(answer: Json) -> Json:
    """Return the object in an answer's `data`, merged with the keys beside it, which are to be kept as well."""
    data = payload(answer)
    if data is answer or not isinstance(answer, dict) or not isinstance(data, dict):
        return data
    return {**{key: value for key, value in answer.items() if key not in ("data", "success")}, **data}


def _shown(problem: Unfit) -> str:
    if problem.path and problem.path[-1] in DROPPED_KEYS:
        return "its value"
    return excerpt(redact(json.dumps(_pruned(problem.value), ensure_ascii=False)).encode("utf-8", "replace"))


def _pruned(value: Json, depth: int = 0) -> Json:
    if isinstance(value, dict):
        shown = {} if depth > 2 else dict(list(value.items())[:8])
        return {key[:40]: "…" if key in DROPPED_KEYS else _pruned(item, depth + 1) for key, item in shown.items()}
    if isinstance(value, list):
        return [] if depth > 2 else [_pruned(item, depth + 1) for item in value[:5]]
    return value[:200] if isinstance(value, str) else value


def _scalar(read: Callable[[Any], Any], value: Json, _: object) -> Any:
    return read(value)


def _is_a(origin: type, wanted: Any) -> bool:
    return typing.get_origin(wanted) is origin


def _items(value: Json) -> list[tuple[str, Json]]:
    if isinstance(value, list):
        return [(str(index), item) for index, item in enumerate(value)]
    if isinstance(value, dict) and all(key.isdecimal() for key in value):
        # PHP writes a list with holes, or one that does not start at 0, as an object.
        return list(value.items())
    raise Unfit("a list", value)


def _read_each(items: Iterable[tuple[str, Json]], read: Callable[[Any], Any]) -> Iterator[tuple[str, Any]]:
    for place, item in items:
        try:
            yield place, read(item)
        except Unfit as unfit:
            raise unfit.inside(place) from None


def _sequence_factory(make: Callable[[Any], Any], cls: Any) -> Callable[[Any, Any], Any]:
    read = _reader(typing.get_args(cls)[0])

    def structure(value: Json, _: object) -> Any:
        items = [(place, item) for place, item in _items(value) if item is not None]
        return make([item for _, item in _read_each(items, read)])

    return structure


def _mapping_factory(cls: Any) -> Callable[[Any, Any], Any]:
    read = _reader(typing.get_args(cls)[1])

    def structure(value: Json, _: object) -> Any:
        if not isinstance(value, dict):
            raise Unfit("an object", value)
        return dict(_read_each(value.items(), read))

    return structure


@attrs.frozen
class _Attribute:
    """How one attribute is found and decoded."""

    name: str
    keys: tuple[str, ...]
    read: Callable[[Any], Any]
    required: bool
    dispensable: bool
    stays: bool


def _reader(wanted: Any, first: Callable[[Any], Any] | None = None) -> Callable[[Any], Any]:
    if isinstance(wanted, str):  # `Json` is a recursive alias, a text at run time: the value stays as it is.
        return cleaned
    hook = _converter.get_structure_hook(wanted)
    return lambda value: hook(first(value) if first else value, wanted)


def _described(attribute: "attrs.Attribute[Any]") -> _Attribute:
    wanted: Any = attribute.type
    arguments = typing.get_args(wanted)
    may_be_none = isinstance(wanted, types.UnionType) and len(arguments) == 2 and type(None) in arguments
    via, first = attribute.metadata.get("via"), attribute.metadata.get("first")
    if may_be_none:
        wanted = next(argument for argument in arguments if argument is not type(None))
    return _Attribute(
        name=attribute.alias or attribute.name,
        keys=attribute.metadata.get("keys") or (attribute.name,),
        read=via or _reader(wanted, first),
        required=attribute.default is attrs.NOTHING,
        dispensable=may_be_none or attribute.metadata.get("dispensable", False),
        stays=attribute.metadata.get("stays", False),
    )


def _object_factory(cls: Any) -> Callable[[Any, Any], Any]:
    described = tuple(
        _described(attribute) for attribute in attrs.fields(cls) if attribute.init and attribute.name != "extra"
    )
    known = frozenset(key for one in described for key in one.keys)
    keeps_extra = hasattr(attrs.fields(cls), "extra")
    prepare: Callable[[dict[str, Json]], dict[str, Json]] | None = getattr(cls, "__from_wire__", None)

    def structure(raw: Json, _: object) -> Any:
        if not isinstance(raw, dict):
            raise Unfit("an object", raw)
        rest = prepare(dict(raw)) if prepare else dict(raw)
        if known.isdisjoint(rest):
            raise Unfit(f"an object with {' or '.join(sorted(known)[:6])}", raw)
        values = {}
        for one in described:
            found, value = _take(one, rest)
            if found:
                values[one.name] = value
        if keeps_extra:
            values["extra"] = cleaned(typing.cast("Json", rest))
        return cls(**values)

    return structure


def _take(attribute: _Attribute, rest: dict[str, Json]) -> tuple[bool, Any]:
    """Return whether an attribute has a value, and the value, removed from `rest` if it was read."""
    misfit: Unfit | None = None
    for key in attribute.keys:
        value = rest.get(key)
        if value is None:
            rest.pop(key, None)
            continue
        try:
            read = attribute.read(value)
        except Unfit as unfit:
            if value == []:
                del rest[key]
            else:
                misfit = misfit or unfit.inside(key)
            continue
        if not attribute.stays:
            del rest[key]
        return True, read
    if misfit and not attribute.dispensable:
        raise misfit
    if attribute.required:
        raise Unfit("present", None, (attribute.keys[0],))
    return False, None


_converter: Final = Converter(detailed_validation=False)
for _type, _hook in ((str, read_text), (int, read_int), (float, read_float), (bool, read_bool), (Token, read_token)):
    _converter.register_structure_hook(_type, partial(_scalar, _hook))
for _origin in (tuple, list):
    _converter.register_structure_hook_factory(partial(_is_a, _origin), partial(_sequence_factory, _origin))
_converter.register_structure_hook_factory(partial(_is_a, Mapping), _mapping_factory)
_converter.register_structure_hook_factory(attrs.has, _object_factory)
