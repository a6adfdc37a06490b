"""Songs that were separated outside of the library, such as by `mvsep-async separate`: they are not paid again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import evolve, field, frozen

from mvsep_async.download.paths import next_free
from mvsep_async.jobs.fingerprint import content_fingerprint, fingerprint
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import OVER, JobState
from mvsep_async.jobs.request import JobSettings
from mvsep_async.library.planner import PlannedSong
from mvsep_async.library.records import ManifestFile, SeparatedSong
from mvsep_async.models.separation import OutputFile, Separation
from mvsep_async.naming import stem_path

__all__ = ["EarlierResult", "adopt", "earlier_results", "find_earlier"]


_UNPAID: Final = (JobState.QUEUED, JobState.UPLOADING, *OVER)
"""States of jobs that were not paid, or that are over without a result."""


@frozen
class EarlierResult:
    """The result of a job of another journal. `paths`: its files that were complete, by their names at the service.

    `separation`: `None` while the job is not over.
    """

    separation: Separation | None
    host: str | None = None
    paths: Mapping[str, Path] = field(factory=dict)


def earlier_results(records: Iterable[Record]) -> dict[str, EarlierResult]:
    """Return the jobs in a journal that were paid, by the fingerprints of their songs' files and audio with settings.

    Those that failed or were cancelled are left out.
    """
    found: dict[str, EarlierResult] = {}
    for record in records:
        facts, request = record.facts, record.request
        if facts.separation is not None and facts.separation.files:
            paths = {name: path for name, path in reversed(facts.planned) if path in facts.paths}
            result = EarlierResult(facts.separation, None if facts.host is None else str(facts.host), paths)
        elif record.state not in _UNPAID:
            result = EarlierResult(None)
        else:
            continue
        for key in filter(None, (request.content, request.fingerprint)):
            if result.separation is not None or key not in found:
                found[key] = result
    return found


def find_earlier(item: PlannedSong, results: Mapping[str, EarlierResult]) -> EarlierResult | None:
    """Return the earlier result of a song: by its audio if that was read, else by its path, size and time."""
    step, *others = item.method.recipe.steps
    if others or step.input is not None or not results:
        return None
    settings = JobSettings(
        algorithm=int(step.algorithm),
        options=tuple(sorted(step.options.items())),
        output_format=step.output_format,
    )
    if item.content is not None:
        return results.get(content_fingerprint(item.content.digest, settings=settings))
    return results.get(fingerprint(item.song.path, item.song.size, item.song.mtime_ns, settings))


def adopt(item: PlannedSong, target: Path, results: Mapping[str, EarlierResult]) -> SeparatedSong | None:
    """Return the manifest's entry for a song with an earlier result, `None` for a song without one. It reads the disk.

    Stems that are below the target folder stay where they are; the others have the places that they would be downloaded
    to. `item`: a song whose audio was read.
    """
    assert item.content is not None
    result = find_earlier(item, results)
    if result is None or result.separation is None:
        return None
    (step,) = item.method.recipe.steps
    separation = result.separation
    wanted = None if step.keep is None else {stem.casefold() for stem in step.keep}
    kept = [file for file in separation.files if wanted is None or file.stem.casefold() in wanted]
    if not kept:
        return None
    return evolve(item, credits=0).separated(tuple(_file(file, separation.hash, result, item, target) for file in kept))


def _file(file: OutputFile, hash: str, result: EarlierResult, item: PlannedSong, target: Path) -> ManifestFile:
    """Return a stem as the manifest holds it: where it is, or where it will be."""
    (step,) = item.method.recipe.steps
    path = result.paths.get(file.name)
    size = file.bytes or 0
    if path is not None and path.is_relative_to(target) and path.is_file():
        size = path.stat().st_size
    else:
        wanted = stem_path(
            item.method.layout(item.place, step.name), ext=PurePosixPath(file.name).suffix, stem=file.stem
        )
        path = next_free(target / wanted, lambda path: path.exists())
    relative = path.relative_to(target).as_posix()
    return ManifestFile(step.name, file.stem, relative, size, hash, result.host)
