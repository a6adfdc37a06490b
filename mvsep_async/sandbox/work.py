"""Making the results of one job, in a worker thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from attrs import frozen

from .audio import separate
from .audio.decode import NotAudioError, audio_seconds
from .catalogue import GENERATORS, MATCHERING_TYPES, MIDI_TYPES, TEXT_TYPES, Algorithm, algorithms
from .jobs import Job, ResultFile, Results
from .names import slug, split_extension

NOT_AUDIO = "The file could not be read: it is damaged or is not audio"
GUESSED_BYTES_PER_SECOND = 40_000
"""Of audio whose length is not looked up: mp3 at 320 kbps."""
_HEADERS = (b"RIFF", b"fLaC", b"OggS", b"FORM")
_GENERATED_SECONDS = 10.0
_SONG_NAME_LENGTH = 60

# A header of one track of 96 ticks a quarter; then middle C for a quarter, and the end of the track.
_MIDI = bytes.fromhex("4d546864000000060000000100604d54726b0000000c00903c4060803c0000ff2f00")


class WorkFailedError(Exception):
    """The job fails with this message."""


@frozen
class Task:
    """The making of a job's results."""

    job: Job
    folder: Path
    mode: Literal["separate", "copy"]
    raw_names: bool

    @property
    def algorithm(self) -> Algorithm:
        return algorithms()[self.job.sep_type]


def measure(inputs: Sequence[Path], algorithm: Algorithm, options: Mapping[str, str], mode: str) -> float | None:
    """Return the seconds of audio that a job is about; None when its file is not audio."""
    if algorithm.sep_type in GENERATORS:
        return _generated_seconds(options)
    if not inputs:
        return None
    if mode == "separate":
        return audio_seconds(inputs[0])
    # Nothing will decode the file, so any bytes will do; only a length in the header is worth a look.
    with inputs[0].open("rb") as file:
        known = file.read(4) in _HEADERS
    guess = inputs[0].stat().st_size / GUESSED_BYTES_PER_SECOND
    return (audio_seconds(inputs[0]) if known else None) or guess


def perform(task: Task, check: Callable[[], None] = lambda: None) -> Results:
    """Make the files. Raises `WorkFailedError` with the service's message; `check` may raise to stop early."""
    job, algorithm = task.job, task.algorithm
    if algorithm.sep_type in TEXT_TYPES:
        return _transcribe(task)
    if algorithm.sep_type in MIDI_TYPES:
        path = _target(task, "notes", "mid")
        path.write_bytes(_MIDI)
        return Results((_result(task, path, "notes", "mid"),))
    stems = algorithm.stems(job.options)
    extension = job.output_format.extension
    if task.mode == "copy" and job.inputs:
        return Results(tuple(_result(task, job.inputs[0], stem, extension) for stem in stems))
    paths = [_target(task, f"{number}-{slug(stem, 40)}", extension) for number, stem in enumerate(stems)]
    try:
        if algorithm.sep_type in GENERATORS:
            prompt = job.options.get("add_opt1", "")
            separate.generate(prompt, _generated_seconds(job.options), paths[0], job.output_format)
        elif algorithm.sep_type in MATCHERING_TYPES:
            separate.master(job.inputs[0], job.inputs[1], paths[0], job.output_format)
        else:
            separate.separate(job.inputs[0], paths, job.output_format, check)
    except (NotAudioError, OSError) as error:
        raise WorkFailedError(NOT_AUDIO) from error
    return Results(tuple(_result(task, path, stem, extension) for path, stem in zip(paths, stems, strict=True)))


def _base(job: Job, algorithm: Algorithm) -> str:
    """Return the beginning of the names of a job's files: song, algorithm, model, like `song_bsroformer_mt_29`.

    With long names the algorithm's whole name is in it.
    """
    song = slug(split_extension(job.filename)[0], _SONG_NAME_LENGTH)
    name = algorithm.name if job.long_filenames else algorithm.name.split("(")[0].removeprefix("MVSep")
    words = slug(name, 60)
    base = f"{song}_{words if job.long_filenames else words.replace('-', '')}"
    model = algorithm.model_key(job.options)
    return base if model is None else f"{base}_mt_{model}"


def _generated_seconds(options: Mapping[str, str]) -> float:
    try:
        return min(47.0, max(1.0, float(options.get("add_opt2") or _GENERATED_SECONDS)))
    except ValueError:
        return _GENERATED_SECONDS


def _transcribe(task: Task) -> Results:
    seconds = measure(task.job.inputs, task.algorithm, task.job.options, task.mode) or 0.0
    words = f"{seconds:.1f} seconds of audio. The sandbox does not recognise words."
    text, timed = _target(task, "speech", "txt"), _target(task, "speech", "json")
    text.write_text(words + "\n", encoding="utf-8")
    timed.write_text(json.dumps({"segments": [{"start": 0.0, "end": seconds, "text": words}]}), encoding="utf-8")
    return Results((_result(task, text, "speech", "txt"), _result(task, timed, "speech", "json")), words)


def _target(task: Task, part: str, extension: str) -> Path:
    task.folder.mkdir(parents=True, exist_ok=True)
    return task.folder / f"{part}.{extension}"


def _result(task: Task, path: Path, stem: str, extension: str) -> ResultFile:
    part = f"{stem} – é" if task.raw_names else slug(stem, 40)
    return ResultFile(path, stem, f"{_base(task.job, task.algorithm)}_{part}.{extension}", path.stat().st_size)
