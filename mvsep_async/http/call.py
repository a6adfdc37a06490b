"""One call to the service as a value: method, path, parameters, priority. It does not hold the token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, IntEnum
from typing import Literal, Protocol, TypeAlias

from attrs import field, frozen

from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import Part
from mvsep_async.http.token import Token

__all__ = ["Auth", "Call", "Caller", "Json", "Priority"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A decoded JSON value."""


class Auth(Enum):
    """Whether a call carries the token. Without one, `REQUIRED` fails before anything is sent."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Priority(IntEnum):
    """The order in which calls share the requests of a minute; lower goes first."""

    CREATE = 0
    CANCEL = 1
    LIKELY = 2
    """A poll of a job that has probably ended: its slot may be idle until a poll shows it."""
    POLL = 3
    REST = 4


Parameters: TypeAlias = "Mapping[str, str | int | Token | None]"
"""Parameters by name; those that are `None` are not sent."""


def _given(parameters: Parameters) -> Mapping[str, str | int | Token]:
    return {name: value for name, value in parameters.items() if value is not None}


@frozen(kw_only=True)
class Call:
    """One request to `<host>/api/<path>`. Parameters that are `None` are left out.

    `repeatable`: whether it is safe to send it twice; a call that is not repeatable is sent once, whatever happens.
    `host`: `None` is the client's base URL. With `multipart` the form and `files` go out as one streamed body.
    `tolerant`: a JSON object is the answer whatever `success` and a status of 400 or 404 say, since this endpoint says
    "not yet" in that way.
    """

    method: Literal["GET", "POST"]
    path: str
    query: Mapping[str, str | int | Token] = field(factory=dict, converter=_given)
    form: Mapping[str, str | int | Token] = field(factory=dict, repr=False, converter=_given)
    """Not in the `repr`: it holds passwords."""
    files: tuple[Part, ...] = ()
    multipart: bool = False
    auth: Auth = Auth.NONE
    host: Host | None = None
    repeatable: bool = True
    tolerant: bool = False
    priority: Priority = Priority.REST
    answer_within: float | None = None
    """Most seconds from the request, or the last byte of its upload, until the answer is complete; `None`: 30, or the
    timeouts of the client where they are longer."""
    on_progress: Callable[[int, int], None] | None = None
    """Called with the bytes of the files sent so far, and of all."""
    on_handed_over: Callable[[], None] | None = None
    """Called before the last byte is sent: from then on the service may have accepted the call."""
    before_last: Callable[[], Awaitable[None]] | None = None
    """Awaited each time before the last byte of a form, or a GET, is sent; it may raise to keep the call from being
    accepted."""
    on_rate_limited: Callable[[], None] | None = None
    """Called after a 429, to which the service did nothing: the call is sent again."""


class Caller(Protocol):
    """Sends calls for the endpoints."""

    async def call(self, call: Call, /) -> Json:
        """Send the call and return the decoded answer, or raise the `MVSepError` that it stands for."""
        ...
