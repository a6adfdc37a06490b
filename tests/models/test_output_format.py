import pytest

from mvsep_async.errors import InvalidRequestError
from mvsep_async.models.output_format import OutputFormat

NUMBERS = {"MP3": 0, "WAV_16": 1, "FLAC_16": 2, "M4A": 3, "WAV_32": 4, "FLAC_24": 5}


def test_the_numbers_are_the_services() -> None:
    assert {member.name: int(member) for member in OutputFormat} == NUMBERS


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("mp3", OutputFormat.MP3),
        ("wav16", OutputFormat.WAV_16),
        ("flac16", OutputFormat.FLAC_16),
        ("m4a", OutputFormat.M4A),
        ("wav32", OutputFormat.WAV_32),
        ("flac24", OutputFormat.FLAC_24),
        ("wav", OutputFormat.WAV_16),
        ("FLAC", OutputFormat.FLAC_16),
        ("WAV_32", OutputFormat.WAV_32),
        (" flac-24 ", OutputFormat.FLAC_24),
        (4, OutputFormat.WAV_32),
        ("5", OutputFormat.FLAC_24),
        (OutputFormat.M4A, OutputFormat.M4A),
    ],
)
def test_parse(text: str | int, member: OutputFormat) -> None:
    assert OutputFormat.parse(text) is member


@pytest.mark.parametrize("wrong", ["ogg", "", 6, -1, "wav24", "flac2"])
def test_an_unknown_format_lists_the_formats(wrong: str | int) -> None:
    with pytest.raises(InvalidRequestError, match="mp3, wav16, flac16, m4a, wav32, flac24") as caught:
        OutputFormat.parse(wrong)
    assert "flac24" in caught.value.candidates


def test_extensions_and_plans() -> None:
    assert [member.extension for member in OutputFormat] == ["mp3", "wav", "flac", "m4a", "wav", "flac"]
    assert [member for member in OutputFormat if member.premium] == [OutputFormat.WAV_32, OutputFormat.FLAC_24]
