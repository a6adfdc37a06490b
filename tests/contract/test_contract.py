"""Client, sandbox and models are compared with the table of the service's API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import mvsep_async.endpoints
from mvsep_async import MVSepClient
from mvsep_async.sandbox import Quirks, Sandbox

from .recorder import Recorder, repeat
from .table import TABLE, Endpoint, World

PARTLY_READ = {"algorithm_group", "rating"}
"""Keys that stay in `extra` although they are typed: not all of their value is."""

rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


@asynccontextmanager
async def opened(song: Path) -> AsyncIterator[tuple[World, Recorder]]:
    """Open a sandbox whose jobs wait until they are told to go on, and a client whose traffic is recorded."""
    recorder = Recorder()
    async with (
        Sandbox(stems="copy", manual=True, quirks=Quirks(rich_files=True, peaks=3)) as sandbox,
        httpx.AsyncClient(transport=recorder) as http,
        MVSepClient(sandbox.premium_token, base_url=sandbox.url, requests_per_minute=6000, http=http) as client,
    ):
        yield World(client, sandbox, song), recorder


@rows
async def test_the_client_sends_every_parameter(row: Endpoint, song: Path) -> None:
    async with opened(song) as (world, recorder):
        await row.call(world)
        sent = recorder.exchanges[-1]
        assert (sent.method, sent.path) == (row.method, row.path)
        assert sent.parameters.keys() == row.sends.keys()
        for name, value in row.sends.items():
            expected = world.sandbox.premium_token if name == "api_token" else value
            assert expected is None or sent.parameters[name] == expected, name


@rows
async def test_the_sandbox_understands_every_parameter(row: Endpoint, song: Path) -> None:
    async with opened(song) as (world, recorder):
        await row.call(world)
        sent = recorder.exchanges[-1]
        assert sent.refused != row.success
        for name, bad in row.refused.items():
            assert (await repeat(sent, {name: bad})).refused, name
        for name, other in row.changes.items():
            again = await repeat(sent, {name: other})
            assert again.answer != sent.answer, name


@rows
async def test_the_models_type_every_field(row: Endpoint, song: Path) -> None:
    async with opened(song) as (world, recorder):
        value = await row.call(world)
        answer = recorder.exchanges[-1].answer
        for where, attribute in row.answers.items():
            assert _raw(answer, where) is not MISSING, f"the sandbox does not answer {where}"
            holder, found = _typed(value, attribute)
            assert found is not None, attribute
            key = where.rpartition(".")[2]
            assert key in PARTLY_READ or key not in getattr(holder, "extra", {}), f"{key} is not read"


async def test_keys_without_a_field_of_their_own_are_kept_but_for_waveforms(song: Path) -> None:
    (row,) = (row for row in TABLE if row.name == "done")
    async with opened(song) as (world, recorder):
        value: Any = await row.call(world)
        (file, *_) = recorder.exchanges[-1].answer["data"]["files"]
        assert len(file["peaks"]) == 3
        extra = value.separation.files[0].extra
        assert extra == {key: file[key] for key in ("link", "name", "stem")}


def test_every_parameter_has_a_proof() -> None:
    proven: dict[str, set[str]] = {}
    for row in TABLE:
        shown = {*row.refused, *row.changes, *row.proven_by}
        proven.setdefault(row.path, set()).update(shown)
        assert set(row.proven_by.values()) <= {other.path for other in TABLE}
        assert shown <= row.sends.keys()
    # `mirror` is what makes the token of `separation/get` needed.
    assert {
        (row.path, name) for row in TABLE for name in row.sends if name not in proven[row.path] and name != "mirror"
    } == set()


def test_every_call_of_the_client_is_in_the_table() -> None:
    folder = Path(mvsep_async.endpoints.__file__).parent
    text = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    paths = set(re.findall(r'"((?:separation|app|quality_checker)/[a-z_/-]+|purchases|credit_alert)"', text))
    switches = {"enable_premium", "disable_premium", "enable_long_filenames", "disable_long_filenames"}
    assert paths | {f"app/{name}" for name in switches} == {row.path for row in TABLE}
    assert len(TABLE) == len({row.name for row in TABLE})


MISSING = object()


def _raw(answer: Any, where: str) -> Any:
    for step in where.split("."):
        if found := re.fullmatch(r"\[(\w+)=(\d+)]", step):
            answer = next((entry for entry in answer if entry[found[1]] == int(found[2])), MISSING)
        elif isinstance(answer, list) and step.isdigit():
            answer = answer[int(step)] if int(step) < len(answer) else MISSING
        else:
            answer = answer.get(step, MISSING) if isinstance(answer, dict) else MISSING
    return answer


def _typed(value: Any, attribute: str) -> tuple[Any, Any]:
    holder = value
    for step in attribute.split("."):
        holder = value
        if isinstance(value, Sequence) and step.isdigit():
            value = value[int(step)]
        elif isinstance(value, Mapping):
            value = value[step]
        else:
            value = getattr(value, step)
    return holder, value
