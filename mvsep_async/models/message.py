"""The answer of calls that return no data."""

from collections.abc import Mapping

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.values import flat_text

__all__ = ["Message"]


@frozen(kw_only=True)
class Message:
    """Whether a call succeeded; `message` is the service's text, empty if there is none."""

    success: bool = True
    message: str = field(default="", metadata=wire("message", via=lambda value: flat_text(value) or ""))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @staticmethod
    def __from_wire__(raw: dict[str, Json]) -> dict[str, Json]:
        data = raw.pop("data", None)
        if isinstance(data, dict):
            return {**data, **{key: value for key, value in raw.items() if value is not None}}
        if isinstance(data, str) and raw.get("message") is None:
            return {**raw, "message": data}
        return raw if data in (None, []) else {**raw, "data": data}
