"""What was refused for its size or for lack of credits, and until when."""

from __future__ import annotations

import pytest
from attrs import evolve

from mvsep_async.errors import InvalidRequestError, MVSepError
from mvsep_async.jobs.request import JobRequest, JobSettings
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from mvsep_async.submission.limits import PremiumRefusals, RefusedSizes

REFUSAL = InvalidRequestError("for premium", fields={"sep_type": ("purchase premium",)}, status=400, reason="premium")
REQUEST = JobRequest("mv1", "song.wav", JobSettings(algorithm=26))
PREMIUM = User(premium_enabled=True, premium_minutes=1.0)


class Account:
    def __init__(self, user: User | None) -> None:
        self.user = user
        self.requests = 0

    async def __call__(self) -> User | None:
        self.requests += 1
        return self.user


async def test_the_account_is_asked_once_a_minute_whether_it_has_credits_again() -> None:
    now = 0.0
    refusals, account = PremiumRefusals(lambda: now), Account(User())
    await refusals.check(REQUEST, account)
    assert account.requests == 0
    refusals.record(REFUSAL, REQUEST)
    for _ in range(3):
        with pytest.raises(InvalidRequestError, match=r"song.wav was not sent.*for premium") as caught:
            await refusals.check(REQUEST, account)
        assert (caught.value.fields, caught.value.status) == (REFUSAL.fields, None)
    assert account.requests == 1
    now, account.user = 61.0, PREMIUM
    await refusals.check(REQUEST, account)
    account.user = User()
    await refusals.check(REQUEST, account)
    assert account.requests == 2


async def test_other_algorithms_and_formats_are_sent() -> None:
    refusals, account = PremiumRefusals(lambda: 0.0), Account(User())
    refusals.record(REFUSAL, REQUEST)
    for change in ({"algorithm": 40}, {"output_format": OutputFormat.WAV_16}, {"anyway": True}):
        await refusals.check(evolve(REQUEST, settings=evolve(REQUEST.settings, **change)), account)
    assert account.requests == 0


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("?", fields={"add_opt1": ("invalid",)}, status=400, reason="invalid"),
        InvalidRequestError("?", status=400, reason="premium"),
        InvalidRequestError("?", fields=REFUSAL.fields, reason="premium"),  # found here, before it was sent
    ],
)
async def test_other_refusals_concern_one_song(error: MVSepError) -> None:
    refusals = PremiumRefusals(lambda: 0.0)
    refusals.record(error, REQUEST)
    await refusals.check(REQUEST, Account(User()))


def too_large(reason: str = "") -> InvalidRequestError:
    return InvalidRequestError("too large", status=413, reason=reason)


def test_a_size_that_was_refused_in_words_is_not_sent_again() -> None:
    sizes = RefusedSizes(lambda: 0.0)
    sizes.record(too_large("The audiofile must not be greater than 100 kilobytes."), REQUEST, None, 200)
    sizes.check(REQUEST, None, 199)
    with pytest.raises(InvalidRequestError, match="as too large"):
        sizes.check(REQUEST, None, 200)


def test_a_bare_413_concerns_other_songs_only_if_it_lasts() -> None:
    now = 0.0
    sizes = RefusedSizes(lambda: now)
    for seconds in (0.0, 1.0, 59.0):
        now = seconds
        sizes.record(too_large(), REQUEST, None, 300)
        sizes.check(REQUEST, None, 300)
    now = 60.0
    sizes.record(too_large(), REQUEST, None, 200)
    with pytest.raises(InvalidRequestError, match="as too large"):
        sizes.check(REQUEST, None, 200)
    sizes.accepted(REQUEST, None, 199)
    with pytest.raises(InvalidRequestError, match="as too large"):
        sizes.check(REQUEST, None, 200)
    sizes.accepted(REQUEST, None, 200)
    sizes.check(REQUEST, None, 200)
