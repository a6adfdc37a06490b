"""Every refusal that the service is known to make, from the sandbox to the exception of the client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mvsep_async import (
    AuthenticationError,
    DailyLimitError,
    InvalidRequestError,
    JobNotFoundError,
    MVSepClient,
    MVSepError,
    NoFreeSlotError,
)
from mvsep_async.sandbox import Quirks, Sandbox

Call = Callable[[MVSepClient, Path], Awaitable[object]]


async def _create(client: MVSepClient, song: Path) -> object:
    return await client.separations.create(files=song, sep_type=40)


async def _two(client: MVSepClient, song: Path) -> object:
    await _create(client, song)
    return await _create(client, song)


@pytest.mark.parametrize(
    ("call", "free_per_day", "error", "text"),
    [
        (_two, 50, NoFreeSlotError, "You already have unprocessed file in queue"),
        (_create, 0, DailyLimitError, "You have reached the limit of separations for today"),
        (
            lambda client, song: client.separations.create(files=song, sep_type=30),
            50,
            InvalidRequestError,
            "Seperation type is unavailable until you purchase premium membership",
        ),
        (
            lambda client, song: client.separations.create(files=song, sep_type=9999),
            50,
            InvalidRequestError,
            "Seperation type is not set",
        ),
        (lambda client, song: client.separations.cancel("none"), 50, JobNotFoundError, "File or File Hash not found"),
        (lambda client, song: client.separations.delete("none"), 50, JobNotFoundError, "File or File Hash not found"),
    ],
)
async def test_known_refusals(call: Call, free_per_day: int, error: type[MVSepError], text: str, song: Path) -> None:
    async with (
        Sandbox(stems="copy", manual=True, free_per_day=free_per_day) as sandbox,
        MVSepClient(sandbox.free_token, base_url=sandbox.url, requests_per_minute=6000) as client,
    ):
        with pytest.raises(error, match=text) as caught:
            await call(client, song)
        assert getattr(caught.value, "stated", True)
        assert sandbox.free_token not in str(caught.value)


@pytest.mark.parametrize("style", ["errors", "message", "fields", "top", "top_fields"])
async def test_the_reason_is_read_wherever_it_is(style: Any, song: Path) -> None:
    quirks = Quirks(error_style=style)
    async with (
        Sandbox(stems="copy", quirks=quirks) as sandbox,
        MVSepClient(sandbox.premium_token, base_url=sandbox.url, requests_per_minute=6000) as client,
    ):
        with pytest.raises(InvalidRequestError, match="Seperation type is not set"):
            await client.separations.create(files=song, sep_type=9999)


async def test_the_daily_quota_counts_down_and_comes_back(song: Path) -> None:
    async with (
        Sandbox(stems="copy", manual=True, free_per_day=1) as sandbox,
        MVSepClient(sandbox.free_token, base_url=sandbox.url, requests_per_minute=6000) as client,
    ):
        created = await client.separations.create(files=song, sep_type=40)
        queue = await client.site.queue()
        assert queue.free_separations is not None
        assert (queue.free_separations.left, queue.free_separations.limit) == (0, 1)
        sandbox.finish(created.hash)
        with pytest.raises(DailyLimitError) as caught:
            await _create(client, song)
        sandbox.advance(caught.value.retry_after)
        await _create(client, song)


async def test_a_wrong_token(song: Path) -> None:
    async with (
        Sandbox(stems="copy") as sandbox,
        MVSepClient("wrong-token-4711", base_url=sandbox.url, requests_per_minute=6000) as client,
    ):
        for call in (_create(client, song), client.account.user(), client.account.purchases()):
            with pytest.raises(AuthenticationError):
                await call
