"""The audio formats of results."""

import re
from enum import IntEnum
from typing import Final, Self

from mvsep_async.errors import InvalidRequestError

__all__ = ["OutputFormat"]


class OutputFormat(IntEnum):
    """The encoding of the stems; the numbers are the service's `output_format`."""

    MP3 = 0
    """320 kbps, constant."""
    WAV_16 = 1
    FLAC_16 = 2
    M4A = 3
    WAV_32 = 4
    FLAC_24 = 5

    @property
    def extension(self) -> str:
        """The file name's ending, without the dot."""
        return self.name.partition("_")[0].lower()

    @property
    def premium(self) -> bool:
        """Whether this format is for premium accounts only."""
        return self in (OutputFormat.WAV_32, OutputFormat.FLAC_24)

    @property
    def label(self) -> str:
        """The name on the command line: `mp3`, `wav16`, `flac16`, `m4a`, `wav32`, `flac24`."""
        return self.name.replace("_", "").lower()

    @classmethod
    def parse(cls, value: "str | int | OutputFormat") -> Self:
        """Read a format from its label, its member name or its number; `wav` and `flac` mean 16 bit.

        Raises `InvalidRequestError` with the list of formats.
        """
        text = str(int(value) if isinstance(value, int) else value).strip().lower().removeprefix(".")
        for member in cls:
            if text == str(member.value) or _SHORT.get(text, re.sub(r"(?<=[a-z])[_ -]", "", text)) == member.label:
                return member
        labels = [member.label for member in cls]
        raise InvalidRequestError(
            f"unknown output format {str(value)[:60]!r}: use one of {', '.join(labels)} (wav and flac mean 16 bit)",
            candidates=labels,
        )


_SHORT: Final = {"wav": "wav16", "flac": "flac16"}
