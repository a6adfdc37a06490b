"""Write an HTML page about a run: the slots over time, and every song with players for its stems."""

from __future__ import annotations

import os
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import quote

from attrs import define

from mvsep_async.library.manifest import Manifest
from mvsep_async.library.outcome import Failure, Notice, Tally
from mvsep_async.library.planner import SINGLE_STEP
from mvsep_async.library.progress import RunProgress
from mvsep_async.library.records import ManifestFile, SeparatedSong
from mvsep_async.library.timeline import Lane, Span, assign_lanes
from mvsep_async.models.user import User

__all__ = ["write_report"]

_DRAWN: Final = 3000
"""Most jobs on the timeline: more would be thinner than a hair, and slow to draw."""

_PLAYERS: Final = 1000
"""Most players on the page: with more of them, browsers take seconds to show it. Other stems are links."""

_PHASES: Final = {"up": "sending", "wait": "waiting", "work": "separating", "down": "fetching"}


def write_report(
    path: Path, target: Path, manifest: Manifest, run: str, progress: RunProgress, user: User | None
) -> None:
    """Write the page about one run, with all songs of the target. The file is replaced when the page is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", errors="replace") as file:
            file.writelines(_page(path.parent.absolute(), target.absolute(), manifest, run, progress, user))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _page(
    folder: Path, target: Path, manifest: Manifest, run: str, progress: RunProgress, user: User | None
) -> Iterator[str]:
    jobs = [job for job in progress.unfinished if job[1]]
    for song in manifest.songs(run=run):
        jobs += [(_label(song, one.step), one.spans) for one in song.timelines if one.spans]
    jobs.sort(key=lambda job: job[1][0].start)
    spans = [span for _, of_job in jobs for span in of_job]
    elapsed = max((span.end for span in spans), default=0.0) - min((span.start for span in spans), default=0.0)
    script = _resource("report.js")
    # The songs are written one by one: a library may have any number of them.
    before, after = (Template(half) for half in _resource("report.html").split("$songs"))
    yield before.substitute(
        script_hash=f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}",
        target=_text(str(target)),
        when=time.strftime("%Y-%m-%d %H:%M"),
        cards="".join(_cards(progress.tally, elapsed, user)),
        timeline="".join(_timeline(jobs[-_DRAWN:], left_out=max(0, len(jobs) - _DRAWN))),
        failures="".join(_failures(progress.failures)),
    )
    yield from _Songs(folder, target, run).rows(manifest.songs())
    yield after.substitute(notices="".join(_notices(progress.notices)), script=script)


def _resource(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


def _cards(tally: Tally, elapsed: float, user: User | None) -> Iterator[str]:
    failed = tally.failed + tally.failed_before
    several = tally.found > tally.songs  # several methods, each of which gives results of its own
    cards = [(f"{tally.songs:,}", "songs", "")] if several else []
    cards += [
        (f"{tally.separated:,}", "results separated" if several else "separated", "good" if tally.separated else ""),
        *([(f"{tally.up_to_date:,}", "up to date", "")] if tally.up_to_date else []),
        (f"{failed:,}", "failed", "bad" if failed else ""),
        *([(f"{tally.skipped:,}", "skipped", "warn")] if tally.skipped else []),
        (_length(tally.seconds), "of audio separated", ""),
        (_length(elapsed), "elapsed", ""),
        (f"{tally.credits:,}", "credits, by estimate", ""),
    ]
    if user is not None:
        cards.append((f"{user.premium_minutes:,.0f}", "credits left", ""))
    for value, name, mood in cards:
        yield f'<div class="card {mood}"><b>{value}</b><span>{name}</span></div>'


def _timeline(jobs: Sequence[tuple[str, tuple[Span, ...]]], *, left_out: int) -> Iterator[str]:
    if not jobs:
        return
    rows = assign_lanes(jobs)
    start = min(spans[0].start for _, spans in jobs)
    end = max(span.end for _, spans in jobs for span in spans)
    length = max(end - start, 0.001)
    legend = "".join(f'<span><i class="{phase}"></i>{name}</span>' for phase, name in _PHASES.items())
    yield f'<section><h2>The slots</h2><p class="legend">{legend}</p><div class="timeline">'
    for number, lane in enumerate(rows, start=1):
        yield f'<div class="lane"><span class="number">{number}</span>'
        yield '<svg viewBox="0 0 10000 24" preserveAspectRatio="none" role="img" '
        yield f'aria-label="slot {number}: {len(lane)} jobs">'
        yield from _bars(lane, start, length)
        yield "</svg></div>\n"
    marks = [start + length * part / 4 for part in range(5)]
    yield '<div class="axis"><span class="number"></span><div>'
    yield "".join(f"<span>{_clock(mark, start, length)}</span>" for mark in marks)
    yield "</div></div></div>"
    if left_out:
        yield f'<p class="quiet">The first {left_out:,} jobs of this run are not drawn.</p>'
    yield "</section>\n"


def _bars(lane: Lane, start: float, length: float) -> Iterator[str]:
    for label, spans in lane:
        yield f"<g><title>{_text(label)}: {_phases(spans)}</title>"
        for span in spans:
            x = (span.start - start) / length * 10000
            width = max((span.end - span.start) / length * 10000, 3)
            y, height = (18, 6) if span.phase == "down" else (1, 15)
            yield f'<rect class="{span.phase}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}"/>'
        yield "</g>"


def _phases(spans: Iterable[Span]) -> str:
    return ", ".join(f"{_PHASES[span.phase]} {_length(span.end - span.start)}" for span in spans)


def _failures(failures: Sequence[Failure]) -> Iterator[str]:
    if not failures:
        return
    yield '<section><h2>Failed</h2><div class="scroll"><table><thead><tr><th>Song</th><th>Method</th><th>Reason</th>'
    yield "</tr></thead><tbody>"
    for failure in sorted(failures, key=lambda one: (str(one.path), one.method)):
        yield f'<tr><td class="path">{_text(str(failure.path))}</td><td>{_text(failure.method)}</td>'
        yield f"<td>{_text(str(failure.error))}</td></tr>\n"
    yield "</tbody></table></div></section>\n"


@define
class _Songs:
    """The rows of the table of songs."""

    folder: Path
    target: Path
    run: str
    players: int = 0

    def rows(self, songs: Iterable[SeparatedSong]) -> Iterator[str]:
        """Yield a row for each song; its methods are under each other, to be compared by ear."""
        none = True
        for source, of_song in groupby(songs, key=lambda song: song.source):
            none = False
            yield self._row(source, sorted(of_song, key=lambda song: song.method_name))
        if none:
            yield '<tr><td colspan="5" class="quiet">No song is separated yet.</td></tr>'

    def _row(self, source: str, methods: list[SeparatedSong]) -> str:
        seconds = next((one.seconds for one in methods if one.seconds is not None), None)
        credits = sum(one.credits or 0 for one in methods)
        last = max(methods, key=lambda one: one.finished)
        return (
            f'<tr><td class="song"><b>{_text(methods[0].title)}</b><span class="path">{_text(source)}</span></td>'
            f'<td class="n" data-value="{seconds or 0:.3f}">{_length(seconds) if seconds else ""}</td>'
            f'<td class="n credits" data-value="{credits}" data-unit=" credit{"s"[: credits != 1]}">'
            f"{credits or ''}</td>"
            f'<td class="made" data-value="{last.finished:.0f}">{_made(last, self.run)}</td>'
            f'<td class="stems">{"".join(self._methods(methods))}</td></tr>\n'
        )

    def _methods(self, methods: list[SeparatedSong]) -> Iterator[str]:
        several = len(methods) > 1
        stems = [(_step(one, file.step, several=several), file) for one in methods for file in one.files]
        named = len({step for step, _ in stems}) > 1
        for step, of_step in groupby(stems, key=lambda stem: stem[0]):
            files = [file for _, file in of_step]
            if named:
                yield f'<div class="method">{_text(step)}</div>'
            played = self.players + len(files) <= _PLAYERS
            self.players += len(files)
            yield f'<div class="players{"" if played else " links"}">'
            yield "".join(self._stem(file, played=played) for file in files)
            yield "</div>"

    def _stem(self, file: ManifestFile, *, played: bool) -> str:
        address = escape(_address(self.target / file.path, self.folder), quote=True)
        link = f'<a href="{address}">{_text(file.stem)}</a>'
        return f'<div>{link}<audio controls preload="none" src="{address}"></audio></div>' if played else link


def _made(song: SeparatedSong, run: str) -> str:
    return "in this run" if song.run == run else time.strftime("%Y-%m-%d", time.localtime(song.finished))


def _address(path: Path, folder: Path) -> str:
    """Return the address of a file as seen from the page: relative, so that both can be moved together."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return path.as_uri()
    return "./" + quote(os.fsencode(relative.replace(os.sep, "/")))


def _notices(notices: Sequence[Notice]) -> Iterator[str]:
    if not notices:
        return
    yield f"<section><details><summary><h2>Remarks</h2> ({len(notices):,})</summary><ul>"
    for notice in notices:
        yield f'<li><span class="path">{_text(str(notice.path))}</span> {_text(notice.reason)}</li>\n'
    yield "</ul></details></section>\n"


def _label(song: SeparatedSong, step: str) -> str:
    return f"{song.title}, {_step(song, step, several=False)}"


def _step(song: SeparatedSong, step: str, *, several: bool) -> str:
    """Return the title of a step: the algorithm for a single step; `several`: the song has other methods, too."""
    return song.method_name if step == SINGLE_STEP else f"{song.method_name}: {step}" if several else step


def _text(text: str) -> str:
    """Return text that may stand in the page; bytes of file names that are not text become `�`."""
    return escape(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), quote=True)


def _length(seconds: float) -> str:
    if 0 < seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours:,}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"


def _clock(at: float, start: float, length: float) -> str:
    if length < 60:
        return f"+{at - start:.1f} s"
    pattern = "%m-%d %H:%M" if length > 86400 else "%H:%M" if length > 3600 else "%H:%M:%S"
    return time.strftime(pattern, time.localtime(at))
