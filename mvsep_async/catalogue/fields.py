"""The options of an algorithm, as the catalogue describes them."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.values import Unfit, json_text, read_text

__all__ = ["Condition", "Field", "OutputOverride", "PriceRule", "exact", "labels"]


def labels(value: Json) -> Mapping[str, str]:
    """Read key → label, sent as JSON text or decoded; a list stands for the keys `0`, `1`…"""
    decoded = json_text(value)
    if decoded is None:
        return {}
    if isinstance(decoded, list):
        return {str(index): read_text(label) for index, label in enumerate(decoded)}
    if isinstance(decoded, dict):
        return {key: read_text(label) for key, label in decoded.items()}
    raise Unfit("labels by key", value)


def exact(value: Json) -> Decimal:
    """Read a factor such as `"1.5000"` exactly; raises `Unfit` for what is no number or negative."""
    try:
        number = Decimal(str(value)) if isinstance(value, str | int | float) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    # Beyond these limits it is nonsense, and would cost the arithmetic dearly.
    if number.is_finite() and 0 <= number <= 10**6 and number.adjusted() >= -12:
        return number
    if number == 0:
        return Decimal(0)
    raise Unfit("a factor", value)


def _keys(value: Json) -> tuple[str, ...]:
    decoded = json_text(value) if isinstance(value, str) and value.lstrip()[:1] in ("[", "{", '"') else value
    if isinstance(decoded, dict):
        decoded = list(decoded.values())
    if isinstance(decoded, list):
        return tuple(read_text(key) for key in decoded if key is not None)
    return tuple(key.strip() for key in read_text(decoded).split(",") if key.strip()) if decoded is not None else ()


@frozen(kw_only=True)
class Condition:
    """When a field is shown or hidden: by whether another field's value is among `values`."""

    depends_on: int | None = field(default=None, metadata=wire("depends_on_field_id"))
    operator: str = "in"
    values: tuple[str, ...] = field(default=(), metadata=wire("value_json", "value", via=_keys))
    action: str = "show"
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class PriceRule:
    """What a choice does to the price; `multiplier` is the only mode known."""

    option_key: str
    mode: str = "multiplier"
    value: Decimal = field(default=Decimal(1), metadata=wire("value", via=exact))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class OutputOverride:
    """What a choice does to the stems that come out: `set` replaces them, `add` adds to them."""

    mode: str = "set"
    outputs: Mapping[str, str] = field(factory=dict, metadata=wire("outputs", via=labels))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class Field:
    """One option of an algorithm.

    `name`: what it is called in `options` (`add_opt1`…), `label`: what the site calls it. `options`: key → label of its
    choices, empty for free text. `default`: the key that holds when nothing is chosen, if there is one. `server_key`:
    its name in `output_variants`. `registered_only_keys`: choices for registered users only.
    """

    name: str
    label: str = field(default="", metadata=wire("text"))
    id: int | None = None
    options: Mapping[str, str] = field(factory=dict, metadata=wire("options", via=labels))
    default: str | None = field(default=None, metadata=wire("default_key"))
    required: bool = False
    input_type: str = "select"
    server_key: str | None = None
    conditions: tuple[Condition, ...] = field(default=(), metadata=wire("conditions", first=json_text))
    price_rules: tuple[PriceRule, ...] = field(default=(), metadata=wire("price_rules", first=json_text))
    registered_only_keys: tuple[str, ...] = field(
        default=(), metadata=wire("registered_only_keys", via=_keys, dispensable=True)
    )
    output_overrides: Mapping[str, OutputOverride] = field(
        factory=dict, metadata=wire("output_overrides", first=json_text, dispensable=True)
    )
    help_link: str | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @property
    def free_text(self) -> bool:
        """Whether it takes any text in place of a choice."""
        return not self.options

    def __str__(self) -> str:
        return f"{self.label!r} ({self.name})" if self.label else self.name
