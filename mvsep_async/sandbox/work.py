"""What the GPUs would do: one job's files, made in a worker thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import soundfile
from attrs import frozen

from . import separate
from .catalogue import GENERATORS, MATCHERING_TYPES, MIDI_TYPES, TEXT_TYPES, Algorithm
from .encode import ENCODINGS, Format
from .jobs import Job, ResultFile
from .names import slug, split_extension

NOT_AUDIO = "The file could not be read: it is damaged or is not audio"
GUESSED_BYTES_PER_SECOND = 40_000
"""Of audio whose length is not looked up: mp3 at 320 kbps."""
_HEADERS = (b"RIFF", b"fLaC", b"OggS", b"FORM")
_GENERATED_SECONDS = 10.0

# A header of one track of 96 ticks a quarter; then middle C for a quarter, and the end of the track.
_MIDI = bytes.fromhex("4d546864000000060000000100604d54726b0000000c00903c4060803c0000ff2f00")


class WorkFailedError(Exception):
    """The job fails with this message."""


@frozen
class Task:
    """What of a job, of its algorithm and of the settings decides about its files."""

    inputs: Sequence[Path]
    algorithm: Algorithm
    options: dict[str, str]
    output_format: Format
    mode: Literal["separate", "copy"]
    folder: Path
    base: str
    """What all the files' names begin with."""
    raw_names: bool


def measure(inputs: Sequence[Path], algorithm: Algorithm, options: dict[str, str], mode: str) -> float | None:
    """Seconds of audio that a job has to do; None when its file is not audio."""
    if algorithm.sep_type in GENERATORS:
        return _generated_seconds(options)
    if not inputs:
        return None
    if mode == "separate":
        return separate.audio_seconds(inputs[0])
    # Nobody will decode it, so any bytes will do; only where the length is in the header is it worth the look.
    with inputs[0].open("rb") as file:
        known = file.read(4) in _HEADERS
    guess = inputs[0].stat().st_size / GUESSED_BYTES_PER_SECOND
    return (separate.audio_seconds(inputs[0]) if known else None) or guess


def perform(task: Task, check: Callable[[], None] = lambda: None) -> tuple[ResultFile, ...]:
    """Make the files. Raises `WorkFailedError` with what the service would say; `check` may raise to end it early."""
    if task.algorithm.sep_type in TEXT_TYPES:
        return _transcribe(task)
    if task.algorithm.sep_type in MIDI_TYPES:
        path = _target(task, "notes", "mid")
        path.write_bytes(_MIDI)
        return (_result(task, path, "notes", "mid"),)
    stems = task.algorithm.stems(task.options)
    extension = ENCODINGS[task.output_format].extension
    if task.mode == "copy" and task.inputs:
        return tuple(_result(task, task.inputs[0], stem, extension) for stem in stems)
    paths = [_target(task, slug(stem, 40), extension) for stem in stems]
    try:
        if task.algorithm.sep_type in GENERATORS:
            prompt = task.options.get("add_opt1", "")
            separate.generate(prompt, _generated_seconds(task.options), paths[0], task.output_format)
        elif task.algorithm.sep_type in MATCHERING_TYPES:
            separate.master(task.inputs[0], task.inputs[1], paths[0], task.output_format)
        else:
            separate.separate(task.inputs[0], paths, task.output_format, check)
    except (soundfile.LibsndfileError, OSError) as error:
        raise WorkFailedError(NOT_AUDIO) from error
    return tuple(_result(task, path, stem, extension) for path, stem in zip(paths, stems, strict=True))


def result_base(job: Job, algorithm: Algorithm) -> str:
    """How the names of a job's files begin: its hash, and the algorithm where the account wants long names."""
    base = split_extension(job.hash)[0]
    return f"{base}_{slug(algorithm.name.split('(')[0], 30)}" if job.long_filenames else base


def _generated_seconds(options: dict[str, str]) -> float:
    try:
        return min(47.0, max(1.0, float(options.get("add_opt2") or _GENERATED_SECONDS)))
    except ValueError:
        return _GENERATED_SECONDS


def _transcribe(task: Task) -> tuple[ResultFile, ...]:
    seconds = measure(task.inputs, task.algorithm, task.options, task.mode) or 0.0
    words = f"{seconds:.1f} seconds of audio came to the sandbox, which understands no words."
    text, timed = _target(task, "speech", "txt"), _target(task, "speech", "json")
    text.write_text(words + "\n", encoding="utf-8")
    timed.write_text(json.dumps({"segments": [{"start": 0.0, "end": seconds, "text": words}]}), encoding="utf-8")
    return _result(task, text, "speech", "txt"), _result(task, timed, "speech", "json")


def _target(task: Task, part: str, extension: str) -> Path:
    task.folder.mkdir(parents=True, exist_ok=True)
    return task.folder / f"{part}.{extension}"


def _result(task: Task, path: Path, stem: str, extension: str) -> ResultFile:
    part = f"{stem} – é" if task.raw_names else slug(stem, 40)
    return ResultFile(path, stem, f"{task.base}_{part}.{extension}", path.stat().st_size)
