"""The limits of accounts without premium."""

import pytest

from .conftest import Open, make_song

LIMIT = (
    "You have reached the limit of separations for today. "
    "Please try again tomorrow or consider signing up for a premium account."
)
DAY = 86400


async def test_the_daily_limit(open_sandbox: Open) -> None:
    api = await open_sandbox(free_per_day=2, free_limit=5)
    free = api.sandbox.free_token

    async def left() -> int:
        found: int = (await api.get("app/queue", api_token=free)).json()["free_separations"]["left"]
        return found

    assert await left() == 2
    for _ in range(2):
        await api.made(token=free)
    refused = await api.create(token=free)
    assert (refused.status_code, refused.json()) == (400, {"success": False, "errors": [LIMIT]})
    assert await left() == 0
    await api.made()  # a premium account has no such limit
    api.sandbox.advance(DAY - 60)
    assert (await api.create(token=free)).status_code == 400
    api.sandbox.advance(61)
    assert await left() == 2
    await api.made(token=free)


async def test_the_day_may_be_a_calendar_day(open_sandbox: Open) -> None:
    api = await open_sandbox(free_per_day=1, free_limit=5, free_day="calendar")
    free = api.sandbox.free_token
    await api.made(token=free)
    assert (await api.create(token=free)).status_code == 400
    created = (await api.user(free))["current_queue"][0]["created_at"]
    hours, minutes, seconds = map(int, created.split()[1].split(":"))
    api.sandbox.advance(DAY - (hours * 3600 + minutes * 60 + seconds))
    await api.made(token=free)


@pytest.mark.parametrize(("processed", "left"), [(False, 1), (True, 0)])
async def test_a_cancel_before_processing_gives_the_separation_back(
    open_sandbox: Open, processed: bool, left: int
) -> None:
    api = await open_sandbox(free_per_day=1)
    free = api.sandbox.free_token
    hash_ = await api.made(token=free)
    if processed:
        api.sandbox.start(hash_)
    await api.post("separation/cancel", api_token=free, hash=hash_)
    answer = (await api.get("app/queue", api_token=free)).json()
    assert answer["free_separations"] == {"left": left, "max": 1}


async def test_a_refused_create_uses_no_separation(open_sandbox: Open) -> None:
    api = await open_sandbox(free_per_day=2)
    free = api.sandbox.free_token
    await api.made(token=free)
    assert (await api.create(token=free)).status_code == 400  # no slot
    answer = (await api.get("app/queue", api_token=free)).json()
    assert answer["free_separations"]["left"] == 1


async def test_audio_over_ten_minutes_needs_premium(open_sandbox: Open) -> None:
    api = await open_sandbox(stems="separate")
    song = make_song(seconds=601, rate=8000, channels=1)
    refused = await api.create(song, token=api.sandbox.free_token)
    assert refused.status_code == 400
    assert "longer than your plan allows (10 minutes)" in refused.json()["errors"][0]
    assert api.sandbox.jobs == []
    assert (await api.create(song)).status_code == 200
