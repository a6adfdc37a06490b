"""Separation by arithmetic: what both channels share is the voice, what differs is the rest.

The stems of a song always add up to the song, so that tests can check them. Files are read and written in blocks:
memory does not grow with their length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mvsep_async.models.output_format import OutputFormat

from .decode import Block, open_audio
from .encode import open_output

BLOCK_FRAMES = 1 << 17
"""Three seconds at 44.1 kHz: a mebibyte of stereo float32."""

_LOWEST_SPLIT = 200.0
_HIGHEST_SPLIT = 6000.0
"""Hertz between which the bands of the stems beyond the second divide (chosen: where the energy of music is)."""


def separate(
    source: Path, targets: Sequence[Path], output_format: OutputFormat, check: Callable[[], None] = lambda: None
) -> None:
    """Split `source` into as many stems as there are `targets`.

    The first is the centre (the same in both channels). The others share the sides, a band of frequencies each. One
    target alone gets the whole song. A mono file has no sides, so all its stems are bands.
    `check` is called before each block, and may raise to stop.
    Raises `NotAudioError` when `source` cannot be read.
    """
    with ExitStack() as stack:
        song = stack.enter_context(open_audio(source))
        outputs = [stack.enter_context(open_output(path, output_format, song.rate)) for path in targets]
        for block in song.blocks(BLOCK_FRAMES):
            check()
            for output, stem in zip(outputs, split(block, len(targets), song.rate), strict=True):
                output.write(stem)


def split(block: Block, count: int, rate: int) -> Iterator[Block]:
    """Yield the `count` stems of one block, stereo; they add up to the block."""
    left, right = block[:, 0], block[:, min(1, block.shape[1] - 1)]
    if count == 1:
        yield np.stack((left, right), axis=1)
    elif block.shape[1] == 1:
        yield from (np.stack((band, band), axis=1) for band in _bands(left, count, rate))
    else:
        half = np.float32(0.5)
        centre, side = (left + right) * half, (left - right) * half
        yield np.stack((centre, centre), axis=1)
        yield from (np.stack((band, -band), axis=1) for band in _bands(side, count - 1, rate))


def master(target: Path, reference: Path, output: Path, output_format: OutputFormat) -> None:
    """Match a song to a reference, in the simplest way: make `target` as loud as `reference`."""
    gain = np.float32(_loudness(reference) / max(_loudness(target), 1e-9))
    with open_audio(target) as song, open_output(output, output_format, song.rate) as out:
        for block in song.blocks(BLOCK_FRAMES):
            out.write(np.clip(next(split(block, 1, song.rate)) * gain, -1, 1))


def generate(prompt: str, seconds: float, output: Path, output_format: OutputFormat) -> None:
    """Generate music from words, in the simplest way: a chord whose notes come from the letters of `prompt`."""
    rate = 44100
    time = np.arange(int(rate * seconds), dtype=np.float32) / rate
    letters = [ord(letter) % 24 for letter in prompt[:3]] or [0]
    chord = sum(np.sin(2 * np.pi * 220 * 2 ** (letter / 12) * time) for letter in letters) / (4 * len(letters))
    with open_output(output, output_format, rate) as out:
        out.write(np.stack((chord, chord), axis=1).astype(np.float32))


def _bands(signal: npt.NDArray[np.float32], count: int, rate: int) -> Iterator[npt.NDArray[np.float32]]:
    if count == 1:
        yield signal
        return
    spectrum = np.fft.rfft(signal)
    hertz = np.fft.rfftfreq(len(signal), 1 / rate)
    borders = [0.0, *np.geomspace(_LOWEST_SPLIT, _HIGHEST_SPLIT, count - 1), np.inf]
    for low, high in pairwise(borders):
        band = np.where((hertz >= low) & (hertz < high), spectrum, 0)
        yield np.fft.irfft(band, len(signal)).astype(np.float32)


def _loudness(path: Path) -> float:
    total, frames = 0.0, 0
    with open_audio(path) as song:
        for block in song.blocks(BLOCK_FRAMES):
            total += float(np.square(block, dtype=np.float64).mean(axis=1).sum())
            frames += len(block)
    return float(np.sqrt(total / frames)) if frames else 0.0
