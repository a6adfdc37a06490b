"""Jobs for journals: plain ones, and hypothesis strategies for all kinds."""

import inspect
from pathlib import Path
from typing import Any

import attrs
from hypothesis import strategies as st

from mvsep_async import errors
from mvsep_async.errors import MVSepError
from mvsep_async.http.hosts import Host
from mvsep_async.http.redaction import redact
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest, JobSettings, Target, new_id
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.separation import InputFile, OutputFile, Separation
from mvsep_async.sources import Pair, Spooled

SPOOL = Path("/music/j.db.spool")
SETTINGS = JobSettings(algorithm=40, options=(("add_opt1", "81"),))


def a_request(**changes: Any) -> JobRequest:
    return attrs.evolve(JobRequest(new_id(), "/music/song.flac", SETTINGS), **changes)


def whole(cls: type[Any], **strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Build `cls` from a strategy for each of its fields: a field that is new and not kept must not go unnoticed."""
    assert set(strategies) == {field.alias for field in attrs.fields(cls)}
    return st.builds(cls, **strategies)


def comparable(record: Record) -> tuple[Any, ...]:
    """Return what two equal records have in common: errors compare by identity."""
    error = record.facts.error
    return attrs.evolve(record, facts=attrs.evolve(record.facts, error=None)), type(error), error and vars(error)


# Names in an encoding other than ours arrive with lone surrogates in them.
text = st.text(
    st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
).filter(lambda sample: redact(sample) == sample)
maybe_text = st.none() | text
names = text.map(lambda name: name.replace("\0", "").replace("/", "") or "x")
full_texts = st.lists(names, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
full_paths = full_texts.map(Path)
some_paths = full_texts | full_paths
seconds = st.floats(allow_nan=False)
counts = st.integers(0, 2**62)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
extras = st.dictionaries(text, json_values, max_size=2)

settings_ = whole(
    JobSettings,
    algorithm=st.none() | st.integers(0, 999),
    options=st.lists(st.tuples(text, text), max_size=3).map(tuple),
    output_format=st.sampled_from(OutputFormat),
    remote_type=st.sampled_from([None, "direct", "mega", "drive", "dropbox"]),
    demo=st.booleans(),
    webhook_url=maybe_text,
    on_unknown=st.sampled_from(["raise", "resubmit"]),
    anyway=st.booleans(),
)
targets = whole(
    Target,
    directory=full_texts,
    stems=st.none() | st.lists(text, max_size=3).map(tuple),
    layout=text,
    overwrite=st.booleans(),
)
sources = (
    st.none()
    | some_paths
    | text.map(lambda rest: "https://" + rest)
    | st.builds(Pair, some_paths, some_paths)
    | st.builds(Spooled, names.map(lambda name: SPOOL / name) | full_paths, text)
)
orders = whole(
    JobRequest,
    id=st.uuids().map(str),
    source=sources,
    settings=settings_,
    filename=maybe_text,
    group=maybe_text,
    priority=st.integers(-(2**63), 2**63 - 1),
    key=maybe_text,
    metadata=json_values,
    target=st.none() | targets,
    fingerprint=st.none() | st.text("0123456789abcdef"),
    content=st.none() | st.text("0123456789abcdef"),
)
separations = whole(
    Separation,
    hash=text,
    algorithm=maybe_text,
    algorithm_description=maybe_text,
    output_format=maybe_text,
    size=maybe_text,
    tags=st.none(),
    input_file=st.none() | whole(InputFile, url=maybe_text, name=maybe_text, size=maybe_text, extra=extras),
    files=st.lists(
        whole(OutputFile, url=text, name=text, stem=text, size=maybe_text, bytes=st.none() | counts, extra=extras),
        max_size=2,
    ).map(tuple),
    date=maybe_text,
    image=maybe_text,
    transcription=maybe_text,
    extra=extras,
)
_CARRIED = {
    "job": maybe_text,
    "hash": maybe_text,
    "status": st.none() | st.integers(100, 599),
    "retry_after": st.none() | seconds,
    "fields": st.dictionaries(text, st.lists(text, max_size=2), max_size=2),
    "candidates": st.lists(text, max_size=2),
    "reason": text,
    "stated": st.booleans(),
    "found": st.lists(text, max_size=2),
}


def _errors_of(cls: type[MVSepError]) -> st.SearchStrategy[MVSepError]:
    carried = [name for name in inspect.signature(cls).parameters if name != "message"]
    return st.builds(cls, text, **{name: _CARRIED[name] for name in carried})


all_errors = st.sampled_from(errors.__all__).flatmap(lambda name: _errors_of(getattr(errors, name)))
facts_ = whole(
    Facts,
    hash=maybe_text,
    remote=maybe_text,
    host=st.none()
    | st.builds(Host, st.sampled_from(["http", "https"]), st.just("de.mvsep.com"), st.integers(1, 65535)),
    attempts=st.integers(0, 99),
    intent_at=st.none() | seconds,
    accepted_at=st.none() | seconds,
    separation=st.none() | separations,
    error=st.none() | all_errors,
    planned=st.lists(st.tuples(text, full_paths), max_size=2).map(tuple),
    paths=st.lists(full_paths, max_size=2).map(tuple),
    archived=st.booleans(),
)
records = st.builds(
    Record,
    request=orders,
    state=st.sampled_from(JobState),
    facts=facts_,
)
