"""Which calls are sent again, and for how long."""

from __future__ import annotations

import pytest

from mvsep_async.errors import (
    InvalidRequestError,
    MVSepError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    TransportError,
)
from mvsep_async.http.call import Call, Json
from mvsep_async.http.retry import PatientCaller

GET = Call(method="GET", path="app/queue")
CREATE = Call(method="POST", path="separation/create", repeatable=False)


class Failing:
    """Raises its errors, one a call, then answers."""

    def __init__(self, *errors: MVSepError) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def call(self, call: Call, /) -> Json:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return {"ok": 1}


def patient(wire: Failing, told: list[str]) -> PatientCaller:
    return PatientCaller(wire, time_scale=0.0, on_retry=lambda path, error: told.append(f"{path}: {error}"))


async def test_a_failure_that_may_be_temporary_is_retried_and_reported() -> None:
    wire = Failing(TransportError("cut"), ProtocolError("garbage"), ServiceUnavailableError("down", retry_after=0.0))
    told: list[str] = []
    assert await patient(wire, told).call(GET) == {"ok": 1}
    assert told == ["app/queue: cut", "app/queue: garbage", "app/queue: down"]


@pytest.mark.parametrize("error", [InvalidRequestError("bad"), RateLimitedError("slow")])
async def test_what_cannot_help_is_not_sent_again(error: MVSepError) -> None:
    wire = Failing(error)
    with pytest.raises(type(error)):
        await patient(wire, []).call(GET)
    assert wire.calls == 1


async def test_what_is_not_repeatable_is_sent_once() -> None:
    wire = Failing(TransportError("cut"))
    with pytest.raises(TransportError):
        await patient(wire, []).call(CREATE)
    assert wire.calls == 1


async def test_a_call_fails_after_its_patience_despite_a_longer_retry_after() -> None:
    wire = Failing(ServiceUnavailableError("in maintenance", retry_after=31.0))
    told: list[str] = []
    with pytest.raises(ServiceUnavailableError, match="in maintenance"):
        await patient(wire, told).call(GET)
    assert wire.calls == 1
    assert not told
