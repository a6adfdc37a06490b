import pytest

from mvsep_async.catalogue.plans import check_plan, check_song
from mvsep_async.errors import InvalidRequestError
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from tests.catalogue.samples import algorithm

FREE = User(email="e@x")
PREMIUM = User(email="e@x", premium_minutes=10, premium_enabled=True)
BROKE = User(email="e@x", premium_minutes=0, premium_enabled=True)
PAUSED = User(email="e@x", premium_minutes=10, premium_enabled=False)


@pytest.mark.parametrize("user", [None, FREE, PREMIUM])
@pytest.mark.parametrize("orientation", [0, 1, "1"])
def test_everyone_with_an_account(orientation: int | str, user: User | None) -> None:
    check_plan(algorithm(orientation=orientation), OutputFormat.FLAC_16, user)


@pytest.mark.parametrize("user", [None, FREE, BROKE, PAUSED])
def test_premium_accounts(user: User | None) -> None:
    check_plan(algorithm(orientation=2), OutputFormat.WAV_32, PREMIUM)
    with pytest.raises(InvalidRequestError, match=r"Test .* is for premium accounts"):
        check_plan(algorithm(orientation=2), OutputFormat.MP3, user)


@pytest.mark.parametrize("output_format", [OutputFormat.WAV_32, OutputFormat.FLAC_24])
def test_formats_for_premium_accounts(output_format: OutputFormat) -> None:
    with pytest.raises(InvalidRequestError, match=f"the output format {output_format.label} is for premium"):
        check_plan(algorithm(), output_format, FREE)


def test_an_unknown_orientation_is_for_everyone() -> None:
    odd = algorithm(orientation=7)
    check_plan(odd, OutputFormat.MP3, FREE)
    assert odd.extra["orientation"] == 7


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("user", "size", "seconds", "message"),
    [
        (FREE, 200 * MIB, 600.0, None),
        (FREE, 1, None, None),
        (FREE, 200 * MIB + 1, None, r"song\.flac has 200 MiB, and a free account takes at most 200 MiB"),
        (FREE, 1, 601.0, r"song\.flac lasts 10:01 min, and a free account takes at most 10:00 min"),
        (PAUSED, 1, 601.0, "a free account"),
        (PREMIUM, 2048 * MIB, 36_000.0, None),
        (PREMIUM, 2048 * MIB + 1, None, "a premium account takes at most 2048 MiB"),
    ],
)
def test_songs_beyond_the_limits_of_a_plan(user: User, size: int, seconds: float | None, message: str | None) -> None:
    if message is None:
        check_song(user, "song.flac", size=size, seconds=seconds)
    else:
        with pytest.raises(InvalidRequestError, match=message) as caught:
            check_song(user, "song.flac", size=size, seconds=seconds)
        assert "anyway=True" in str(caught.value)
