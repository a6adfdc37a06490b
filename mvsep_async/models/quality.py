"""The quality checker: how well an algorithm separates a known data set."""

import math
from collections.abc import Mapping

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.values import Unfit, kept, url_text

__all__ = ["Leaderboard", "QualityAdded", "QualityEntry"]


def _decibels(value: Json) -> Mapping[str, float]:
    if isinstance(value, dict):
        return {stem: number for stem, number in value.items() if isinstance(number, float)}
    raise Unfit("figures by stem", value)


@frozen(kw_only=True)
class QualityEntry:
    """One entry.

    `proc`: its state in the service's words or numbers. `message`: `OK`, or the error. `sdr`: signal-to-distortion
    ratio in decibels by stem, higher is better; empty until it is measured.
    """

    id: int
    dataset_type: str | None = None
    dataset_name: str | None = None
    date: str | None = None
    algo_name: str | None = None
    main_text: str | None = field(default=None, repr=False)
    proc: str | None = None
    proc_remote_date: str | None = None
    message: str | None = field(default=None, metadata=wire("msg"))
    metrics: Json = field(default=None, repr=False, metadata=wire("metrics", via=kept))
    sdr: Mapping[str, float] = field(factory=dict, metadata=wire("sdr", via=_decibels, dispensable=True))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @staticmethod
    def __from_wire__(raw: dict[str, Json]) -> dict[str, Json]:
        figures: dict[str, Json] = {}
        for key in [key for key in raw if key.startswith("sdr_")]:
            number = _number(raw[key])
            if number is not None:
                figures[key.removeprefix("sdr_")] = number
            if number is not None or raw[key] is None:
                del raw[key]
        return {"sdr": figures, **raw}


def _number(value: Json) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


@frozen(kw_only=True)
class Leaderboard:
    """The entries of one data set in order; `sortables` are the values that `sort` may have."""

    entries: tuple[QualityEntry, ...] = field(default=(), metadata=wire("data"))
    dataset_type: str | None = None
    sortables: Json = field(default=None, metadata=wire("sortables", via=kept))
    sort: str | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class QualityAdded:
    """An accepted entry: its number, and the address where its state is asked for."""

    id: int
    link: str | None = field(default=None, metadata=wire("link", via=url_text))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)
