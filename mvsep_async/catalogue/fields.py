"""The description of an algorithm's options in the catalogue."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.values import Unfit, json_text, read_text

__all__ = ["Condition", "Field", "OutputOverride", "PriceRule", "exact", "labels"]


def labels(value: Json) -> Mapping[str, str]:
    """Read key → label from JSON or JSON text; a list has the keys `0`, `1`…"""
    decoded = json_text(value)
    if decoded is None:
        return {}
    if isinstance(decoded, list):
        return {str(index): read_text(label) for index, label in enumerate(decoded)}
    if isinstance(decoded, dict):
        return {key: read_text(label) for key, label in decoded.items()}
    raise Unfit("labels by key", value)


def exact(value: Json) -> Decimal:
    """Read a factor such as `"1.5000"` exactly; raises `Unfit` if it is negative or not a number."""
    try:
        number = Decimal(str(value)) if isinstance(value, str | int | float) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    # Larger or finer numbers are nonsense, and would make the exact arithmetic slow.
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
    """When a field is shown or hidden: depending on whether another field's value is in `values`."""

    depends_on: int | None = field(default=None, metadata=wire("depends_on_field_id"))
    operator: str = "in"
    values: tuple[str, ...] = field(default=(), metadata=wire("value_json", "value", via=_keys))
    action: str = "show"
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class PriceRule:
    """The effect of a choice on the price; `multiplier` is the only known mode."""

    option_key: str
    mode: str = "multiplier"
    value: Decimal = field(default=Decimal(1), metadata=wire("value", via=exact))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class OutputOverride:
    """The effect of a choice on the stems: `set` replaces them, `add` adds to them."""

    mode: str = "set"
    outputs: Mapping[str, str] = field(factory=dict, metadata=wire("outputs", via=labels))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class Field:
    """One option of an algorithm.

    `name`: its name in `options` (`add_opt1`…), `label`: its name on the site. `options`: key → label of its choices,
    empty for free text. `default`: the key used when nothing is chosen, `None` without one. `server_key`: its name in
    `output_variants`. `registered_only_keys`: choices for registered users only. `help_link`: its page of help.
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
        """Whether it takes any text instead of a choice."""
        return not self.options

    def __str__(self) -> str:
        return f"{self.label!r} ({self.name})" if self.label else self.name
