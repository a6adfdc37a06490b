"""The quality checker: measurements of separated data sets."""

from collections.abc import Mapping
from enum import IntEnum

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.values import Unfit, json_text, read_float, read_text, url_text

__all__ = ["DatasetType", "Leaderboard", "QualityAdded", "QualityEntry"]


class DatasetType(IntEnum):
    """The data sets of the quality checker; the numbers are the service's `dataset_type`.

    The names of 5 to 12 are not documented: an entry's `dataset_name` has them.
    """

    SYNTH = 0
    MULTISONG = 1
    PIANO = 2
    LEAD_BACK_VOCALS = 3
    GUITAR = 4
    TYPE_5 = 5
    TYPE_6 = 6
    TYPE_7 = 7
    TYPE_8 = 8
    TYPE_9 = 9
    TYPE_10 = 10
    TYPE_11 = 11
    TYPE_12 = 12


def _decibels(value: Json) -> Mapping[str, float]:
    if isinstance(value, dict):
        return {stem: number for stem, number in value.items() if isinstance(number, float)}
    raise Unfit("figures by stem", value)


def _metrics(value: Json) -> Mapping[str, Mapping[str, float]]:
    decoded = json_text(value)
    if not isinstance(decoded, dict):
        raise Unfit("figures by metric and stem", value)
    found: dict[str, Mapping[str, float]] = {}
    for metric, by_stem in decoded.items():
        if not isinstance(by_stem, dict):
            raise Unfit("figures by stem", by_stem, (metric,))
        numbers = {stem: _number(figure) for stem, figure in by_stem.items()}
        found[metric] = {stem: number for stem, number in numbers.items() if number is not None}
    return found


def _names(value: Json) -> tuple[str, ...]:
    decoded = json_text(value)
    if isinstance(decoded, dict):
        return tuple(decoded)
    if isinstance(decoded, list):
        return tuple(read_text(name) for name in decoded)
    raise Unfit("a list of names", value)


@frozen(kw_only=True)
class QualityEntry:
    """One entry.

    `proc`: its state, as the service's text or number. `message`: `OK`, or the error. `sdr`: signal-to-distortion
    ratio in decibels by stem, higher is better; empty until it is measured. `metrics`: metric → stem → figure.
    """

    id: int
    dataset_type: str | None = None
    dataset_name: str | None = None
    date: str | None = None
    algo_name: str | None = None
    main_text: str | None = field(default=None, repr=False)
    ensemble: bool | None = None
    proc: str | None = None
    proc_remote_date: str | None = None
    message: str | None = field(default=None, metadata=wire("msg"))
    metrics: Mapping[str, Mapping[str, float]] = field(
        factory=dict, repr=False, metadata=wire("metrics", via=_metrics, dispensable=True)
    )
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
        return read_float(value)
    except Unfit:
        return None


@frozen(kw_only=True)
class Leaderboard:
    """The entries of one data set, in order. `sortables`: the values that `sort` accepts."""

    entries: tuple[QualityEntry, ...] = field(default=(), metadata=wire("data"))
    dataset_type: str | None = None
    sortables: tuple[str, ...] = field(default=(), metadata=wire("sortables", via=_names, dispensable=True))
    sort: str | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class QualityAdded:
    """An accepted entry: its number, and the address of its status."""

    id: int
    link: str | None = field(default=None, metadata=wire("link", via=url_text))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)
