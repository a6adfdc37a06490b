"""One algorithm of the catalogue: its input, its stems, its price, and who may use it."""

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Final

from attrs import field, frozen

from mvsep_async.catalogue.fields import Field, exact, labels
from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.values import Unfit, json_text, name_in, read_int, read_text

__all__ = ["AccountPlan", "Algorithm", "Description", "Needs", "OutputVariant", "OutputVariants"]


class AccountPlan(IntEnum):
    """Who may use an algorithm; the numbers are the service's `orientation`."""

    EVERYONE = 0
    REGISTERED = 1
    PREMIUM = 2


class Needs(Enum):
    """The input of an algorithm."""

    FILE = "file"
    PAIR = "pair"
    """A song and a reference that it should sound like."""
    NOTHING = "nothing"
    """A generator: its result comes from the options alone."""


_PAIR_WIDGETS: Final = ("matchering", "double", "pair", "two")


def _plan(value: Json) -> AccountPlan:
    try:
        return AccountPlan(read_int(value))
    except ValueError:
        pass
    raise Unfit("an orientation of 0, 1 or 2", value)


def _rating(value: Json) -> Decimal:
    return exact(value.get("average") if isinstance(value, dict) else value)


def _total(value: Json) -> int:
    return read_int(value.get("total") if isinstance(value, dict) else None)


def _stems(value: Json) -> tuple[str, ...]:
    decoded = json_text(value)
    if isinstance(decoded, dict):
        decoded = list(decoded.values())
    if isinstance(decoded, list):
        return tuple(read_text(stem) for stem in decoded)
    raise Unfit("a list of stems", value)


@frozen(kw_only=True)
class Description:
    """The site's description of an algorithm in one language; `long_description` is HTML."""

    lang: str = "en"
    short_description: str = ""
    long_description: str = field(default="", repr=False)
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class OutputVariant:
    """The stems for one combination of options. `match`: `server_key` of a field → key of its choice."""

    match: Mapping[str, str] = field(factory=dict, metadata=wire("match", via=labels))
    outputs: Mapping[str, str] = field(factory=dict, metadata=wire("outputs", via=labels))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class OutputVariants:
    """The stems for each combination of options that the service has results of."""

    keys: tuple[str, ...] = ()
    variants: tuple[OutputVariant, ...] = ()
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class Algorithm:
    """One algorithm.

    `sep_type` (the service's `render_id`) is what `submit` takes; nothing in this package takes `id`.
    `price_coefficient`: credits per minute, before price rules. `rating`: the users' average of 5, from `rating_total`
    votes. `usage`: how often it was used recently. `outputs`: stem → label, `output_stems`: stems as the site lists
    them. `order_id`: its place on the site. `plan`: who may use it (the service's `orientation`).
    """

    sep_type: int = field(metadata=wire("render_id"))
    name: str
    id: int | None = None
    group: str | None = field(default=None, metadata=wire("algorithm_group", via=name_in, stays=True))
    group_id: int | None = field(default=None, metadata=wire("algorithm_group_id"), repr=False)
    order_id: int | None = field(default=None, repr=False)
    plan: AccountPlan = field(default=AccountPlan.EVERYONE, metadata=wire("orientation", via=_plan, dispensable=True))
    price_coefficient: Decimal = field(default=Decimal(1), metadata=wire("price_coefficient", via=exact))
    fields: tuple[Field, ...] = field(
        default=(), metadata=wire("algorithm_fields", "additional_fields", first=json_text), repr=False
    )
    output_stems: tuple[str, ...] = field(
        default=(), metadata=wire("output_stems", via=_stems, dispensable=True), repr=False
    )
    outputs: Mapping[str, str] = field(factory=dict, metadata=wire("outputs", via=labels, dispensable=True), repr=False)
    output_variants: OutputVariants | None = field(
        default=None, metadata=wire("output_variants", first=json_text), repr=False
    )
    audio_upload_disabled: bool = field(default=False, repr=False)
    audio_widget: str | None = field(default=None, repr=False)
    description: str | None = field(default=None, repr=False)
    descriptions: tuple[Description, ...] = field(
        default=(), metadata=wire("algorithm_descriptions", dispensable=True), repr=False
    )
    rating: Decimal | None = field(default=None, metadata=wire("rating", via=_rating, stays=True), repr=False)
    rating_total: int | None = field(default=None, metadata=wire("rating", via=_total, stays=True), repr=False)
    usage: int | None = field(default=None, repr=False)
    is_active: bool = field(default=True, repr=False)
    allow_resample: bool | None = field(default=None, repr=False)
    created_at: str | None = field(default=None, repr=False)
    updated_at: str | None = field(default=None, repr=False)
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @property
    def needs(self) -> Needs:
        """Whether it takes a song, a pair of songs, or nothing."""
        widget = (self.audio_widget or "").lower()
        if self.audio_upload_disabled or widget.startswith("no"):
            return Needs.NOTHING
        return Needs.PAIR if any(word in widget for word in _PAIR_WIDGETS) else Needs.FILE

    def short_description(self, lang: str = "en") -> str:
        """Return the plain description in `lang`, else in English, else in whatever language there is."""
        by_lang = {described.lang.lower(): described.short_description for described in self.descriptions}
        for text in (by_lang.get(lang.lower()), by_lang.get("en"), self.description, *by_lang.values()):
            if text:
                return text
        return ""

    def __str__(self) -> str:
        return f"{self.name} ({self.sep_type})"

    @staticmethod
    def __from_wire__(raw: dict[str, Json]) -> dict[str, Json]:
        if raw.get("algorithm_fields") is None and raw.get("additional_fields") is not None:
            raw["additional_fields"] = _older_fields(raw["additional_fields"])
        return raw


def _older_fields(value: Json) -> Json:
    """Convert `additional_fields` of older answers, a list or a mapping by field name, to a list of fields."""
    decoded = json_text(value)
    if not isinstance(decoded, dict):
        return decoded
    return [
        {"name": name, **described} if isinstance(described, dict) else {"name": name, "text": name}
        for name, described in decoded.items()
    ]
