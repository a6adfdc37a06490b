"""The page about a run: who was in which slot when, and where the stems are. One file, all in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import quote

from mvsep_async.library.manifest import Manifest, ManifestFile, SeparatedSong
from mvsep_async.library.outcome import Failure, Notice, Tally
from mvsep_async.library.planner import SINGLE_STEP
from mvsep_async.library.timeline import Lane, Span, assign_lanes
from mvsep_async.models.user import User

__all__ = ["write_report"]

_DRAWN: Final = 3000
"""Most jobs on the timeline, our choice: more would be thinner than a hair, and slow to draw."""

_PHASES: Final = {"up": "sending", "wait": "waiting", "work": "separating", "down": "fetching"}


def write_report(
    path: Path,
    target: Path,
    manifest: Manifest,
    run: str,
    tally: Tally,
    failures: Sequence[Failure],
    notices: Sequence[Notice],
    user: User | None,
    unfinished: Sequence[tuple[str, tuple[Span, ...]]] = (),
) -> None:
    """Write the page for one run, with all songs that the target holds. It takes its name only when it is complete.

    `unfinished`: label and phases of the jobs of songs that failed, which the manifest does not hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    folder = path.parent.absolute()
    try:
        with part.open("w", encoding="utf-8", errors="replace") as file:
            file.writelines(_page(folder, target.absolute(), manifest, run, tally, failures, notices, user, unfinished))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _page(
    folder: Path,
    target: Path,
    manifest: Manifest,
    run: str,
    tally: Tally,
    failures: Sequence[Failure],
    notices: Sequence[Notice],
    user: User | None,
    unfinished: Sequence[tuple[str, tuple[Span, ...]]],
) -> Iterator[str]:
    drawn = [job for job in unfinished if job[1]]
    for row in manifest.songs(run=run):
        drawn += [(_label(row, course.step), course.spans) for course in row.timelines if course.spans]
    drawn.sort(key=lambda job: job[1][0].start)
    spans = [span for _, course in drawn for span in course]
    took = max((span.end for span in spans), default=0.0) - min((span.start for span in spans), default=0.0)
    yield _HEAD.substitute(target=_text(str(target)), when=time.strftime("%Y-%m-%d %H:%M"), style=_STYLE)
    yield from _cards(tally, took, user)
    yield from _timeline(drawn[-_DRAWN:], left_out=max(0, len(drawn) - _DRAWN))
    yield from _failures(failures)
    yield from _songs(manifest.songs(), folder, target, run)
    yield from _notices(notices)
    yield "</main></body></html>\n"


def _cards(tally: Tally, took: float, user: User | None) -> Iterator[str]:
    cards = [
        (f"{tally.separated:,}", "separated now", "good" if tally.separated else ""),
        (f"{tally.up_to_date:,}", "done before", ""),
        (f"{tally.failed:,}", "failed", "bad" if tally.failed else ""),
        (f"{tally.skipped:,}", "left out", "warn" if tally.skipped else ""),
        (_length(tally.seconds), "of music", ""),
        (_length(took), "it took", ""),
        (f"{tally.credits:,}", "credits, by estimate", ""),
    ]
    if user is not None:
        cards.append((f"{user.premium_minutes:,.0f}", "credits left", ""))
    yield '<section class="cards">'
    for value, name, mood in cards:
        yield f'<div class="card {mood}"><b>{value}</b><span>{name}</span></div>'
    yield "</section>\n"


def _timeline(drawn: Sequence[tuple[str, tuple[Span, ...]]], *, left_out: int) -> Iterator[str]:
    if not drawn:
        return
    rows = assign_lanes(drawn)
    start = min(spans[0].start for _, spans in drawn)
    end = max(span.end for _, spans in drawn for span in spans)
    length = max(end - start, 0.001)
    legend = "".join(f'<span><i class="{phase}"></i>{name}</span>' for phase, name in _PHASES.items())
    yield f'<section><h2>The slots</h2><p class="legend">{legend}</p><div class="timeline">'
    for number, lane in enumerate(rows, start=1):
        yield f'<div class="lane"><span class="number">{number}</span>'
        yield '<svg viewBox="0 0 10000 24" preserveAspectRatio="none" role="img" '
        yield f'aria-label="slot {number}: {len(lane.bars)} jobs">'
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
    for label, spans in lane.bars:
        yield f"<g><title>{_text(label)}: {_course(spans)}</title>"
        for span in spans:
            x = (span.start - start) / length * 10000
            width = max((span.end - span.start) / length * 10000, 3)
            y, height = (18, 6) if span.phase == "down" else (1, 15)
            yield f'<rect class="{span.phase}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}"/>'
        yield "</g>"


def _course(spans: Iterable[Span]) -> str:
    return ", ".join(f"{_PHASES[span.phase]} {_length(span.end - span.start)}" for span in spans)


def _failures(failures: Sequence[Failure]) -> Iterator[str]:
    if not failures:
        return
    yield '<section><h2>Failed</h2><div class="scroll"><table><thead><tr><th>Song</th><th>Way</th><th>Why</th></tr>'
    yield "</thead><tbody>"
    for failure in sorted(failures, key=lambda one: (str(one.path), one.method)):
        yield f'<tr><td class="path">{_text(str(failure.path))}</td><td>{_text(failure.method)}</td>'
        yield f"<td>{_text(str(failure.error))}</td></tr>\n"
    yield "</tbody></table></div></section>\n"


def _songs(rows: Iterable[SeparatedSong], folder: Path, target: Path, run: str) -> Iterator[str]:
    yield '<section><h2>Songs</h2><div class="scroll"><table><thead><tr><th>Song</th><th class="n">Length</th>'
    yield '<th class="n">Credits</th><th>Made</th><th>Stems</th></tr></thead><tbody>'
    none = True
    for source, of_song in groupby(rows, key=lambda row: row.source):
        none = False
        ways = sorted(of_song, key=lambda row: row.method_name)
        lengths = [row.seconds for row in ways if row.seconds is not None]
        credits_ = sum(row.credits or 0 for row in ways)
        made = _made(max(ways, key=lambda row: row.finished), run)
        yield f'<tr><td class="song"><b>{_text(ways[0].title)}</b><span class="path">{_text(source)}</span></td>'
        yield f'<td class="n">{_length(lengths[0]) if lengths else ""}</td>'
        yield f'<td class="n credits">{credits_ or ""}</td><td class="made">{made}</td><td class="stems">'
        stems = [(_step(row, file.step, several=len(ways) > 1), file) for row in ways for file in row.files]
        for step, named in groupby(stems, key=lambda stem: stem[0]):
            name = f"<span>{_text(step)}</span>" if len({step for step, _ in stems}) > 1 else ""
            yield f"<div>{name}{''.join(_link(file, folder, target) for _, file in named)}</div>"
        yield "</td></tr>\n"
    yield '<tr><td colspan="5" class="quiet">No song is done yet.</td></tr>' if none else ""
    yield "</tbody></table></div></section>\n"


def _made(row: SeparatedSong, run: str) -> str:
    return "in this run" if row.run == run else time.strftime("%Y-%m-%d", time.localtime(row.finished))


def _link(file: ManifestFile, folder: Path, target: Path) -> str:
    return f'<a href="{escape(_address(target / file.path, folder), quote=True)}">{_text(file.stem)}</a>'


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


def _label(row: SeparatedSong, step: str) -> str:
    return f"{row.title}, {_step(row, step, several=False)}"


def _step(row: SeparatedSong, step: str, *, several: bool) -> str:
    """Return what a step is called: the algorithm, where that is all there is; `several`: beside other ways."""
    return row.method_name if step == SINGLE_STEP else f"{row.method_name}: {step}" if several else step


def _text(text: str) -> str:
    """Return text that may stand in the page; bytes of file names that are no text show as `�`."""
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


_HEAD: Final = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Separated songs</title><style>$style</style></head><body><main>
<header><h1>Separated songs</h1><p class="quiet">$target · $when</p></header>
"""
)

_STYLE: Final = """
:root{color-scheme:light dark;--ground:#f6f6f4;--card:#fff;--ink:#1c1d20;--quiet:#6a6d75;--line:#e3e3df;
--up:#e0a030;--wait:#c3c7d1;--work:#3b7dd8;--down:#2fa37c;--bad:#c43d3d;--link:#2563b8}
@media (prefers-color-scheme:dark){:root{--ground:#131417;--card:#1c1e22;--ink:#e8e8e6;--quiet:#979ba5;--line:#2c2f35;
--up:#d69a3a;--wait:#4a4f5c;--work:#5b97ea;--down:#3fb78d;--bad:#ee7070;--link:#86b6f5}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1100px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0;letter-spacing:-.01em}h2{font-size:17px;margin:0 0 10px}
header p{margin:2px 0 0;overflow-wrap:anywhere}
section{margin-top:26px}.quiet{color:var(--quiet)}
.cards{display:grid;grid-template-columns:repeat(4,1fr);gap:10px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.card b{display:block;font-size:21px;font-weight:650;font-variant-numeric:tabular-nums;white-space:nowrap}
.card span{color:var(--quiet);font-size:13px}.good b{color:var(--down)}.bad b{color:var(--bad)}.warn b{color:var(--up)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 0 10px;font-size:13px;color:var(--quiet)}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;vertical-align:-1px}
.timeline{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px 8px}
.lane,.axis{display:flex;gap:10px;align-items:center}.lane+.lane{margin-top:3px}
.number{width:20px;flex:none;text-align:right;font-size:12px;color:var(--quiet);font-variant-numeric:tabular-nums}
.lane svg{flex:1;min-width:0;height:24px;background:var(--ground);border-radius:4px}
.axis div{flex:1;display:flex;justify-content:space-between;font-size:12px;color:var(--quiet);padding-top:6px}
rect.up{fill:var(--up)}rect.wait{fill:var(--wait)}rect.work{fill:var(--work)}rect.down{fill:var(--down)}
i.up{background:var(--up)}i.wait{background:var(--wait)}i.work{background:var(--work)}i.down{background:var(--down)}
g:hover rect{filter:brightness(1.15)}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:8px 14px;vertical-align:top}
th{font-size:12px;font-weight:600;color:var(--quiet);white-space:nowrap}tbody tr{border-top:1px solid var(--line)}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
td b{font-weight:550;display:block;overflow-wrap:anywhere}.made{white-space:nowrap}td.song,td.stems{width:40%}
.path{color:var(--quiet);font-size:13px;overflow-wrap:anywhere}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
.stems span{color:var(--quiet);font-size:13px;margin-right:8px}
.stems a{display:inline-block;border:1px solid var(--line);border-radius:6px;padding:0 8px;margin:1px 2px 3px 0;
font-size:13px}
details ul{padding-left:20px}summary{cursor:pointer}summary h2{display:inline}
@media (max-width:640px){main{padding:18px 12px 40px}.cards{grid-template-columns:repeat(2,1fr)}
.axis div span:nth-child(even){display:none}
table,tbody,tr,td{display:block}thead{display:none}tbody tr{padding:8px 0}td{padding:2px 12px}
td.song,td.stems{width:auto}td:empty{display:none}
td.n,td.made{display:inline-block;color:var(--quiet);font-size:13px;padding-right:0}td.stems{padding-top:4px}
.credits::after{content:" credits"}}
"""
