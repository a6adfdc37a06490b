"""Short songs for the demo, in several formats: a voice in the middle, instruments at the sides, made of sines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

__all__ = ["make_songs"]

RATE: Final = 44_100
_TITLES: Final = (
    "First Light",
    "Paper Boats",
    "Long Way Down (live)",
    "Señorita Luna",
    "Night Bus",
    "Harbour Lights",
    "春の歌",
    "One More Mile",
)
_LENGTHS: Final = (10, 14, 28, 8, 12, 24, 9, 16)
"""Seconds of audio: most are short, two are long enough to be shared out over several machines."""

_FORMATS: Final = ("wav", "flac", "mp3", "m4a", "ogg", "aiff")

_SCALE: Final = (0, 2, 4, 7, 9, 12, 9, 7)
_CHORDS: Final = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))


def make_songs(folder: Path, count: int) -> list[Path]:
    """Write `count` songs into `folder` and return their paths; files that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        title = _TITLES[index % len(_TITLES)] + (f" {index // len(_TITLES) + 1}" if index >= len(_TITLES) else "")
        path = folder / f"{index + 1:02} {title}.{_FORMATS[index % len(_FORMATS)]}"
        if not path.exists():
            _write(path, _LENGTHS[index % len(_LENGTHS)], root=220 * 2 ** (index % 5 / 12))
        paths.append(path)
    return paths


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples: TypeAlias = NDArray[np.float64]


def _write(path: Path, seconds: int, *, root: float) -> None:
    import numpy as np
    import soundfile

    from mvsep_async.models.output_format import OutputFormat
    from mvsep_async.sandbox.audio.encode import open_output

    time = np.arange(RATE * seconds) / RATE

    def tone(semitones: Samples, harmonics: int) -> Samples:
        """Return a tone whose pitch may change from sample to sample."""
        phase = 2 * np.pi * np.cumsum(root * 2 ** (semitones / 12)) / RATE
        made = np.zeros_like(phase)
        for n in range(1, harmonics + 1):
            made += np.sin(n * phase) / n**1.5
        return made

    beat, bar = (time * 2).astype(int), (time / 2).astype(int)
    melody, chords = np.array(_SCALE, float), np.array(_CHORDS, float)
    voice = tone(melody[beat * 3 % len(melody)] + 12, 5) * np.minimum(1, (1 - time * 2 % 1) * 3)
    chord = np.zeros_like(time)
    for part in range(chords.shape[1]):
        chord += tone(chords[bar % len(chords), part] - 12, 3)
    chord *= 0.6 + 0.4 * np.sin(2 * np.pi * 0.5 * time)
    left, right = voice * 0.16 + chord * 0.09, voice * 0.16 - chord * 0.09
    song = np.stack((left, right), axis=1)
    if path.suffix == ".m4a":
        with open_output(path, OutputFormat.M4A, RATE) as file:
            file.write(song.astype(np.float32))
    else:
        soundfile.write(path, song, RATE)
