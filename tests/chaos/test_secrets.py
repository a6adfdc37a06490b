"""The token is in no file, and in no object of an open client but the one made to hold it."""

from __future__ import annotations

import gc
from collections import deque
from pathlib import Path
from types import FunctionType, ModuleType

import anyio
import pytest

from mvsep_async import MVSepClient, MVSepError
from mvsep_async.http.token import Token
from mvsep_async.sandbox import Sandbox
from tests.client.support import until
from tests.conftest import NewClient, wav

_ELSEWHERE = (ModuleType, type, FunctionType, Token, Sandbox)
"""Where the walk stops: what belongs to the interpreter, the one object that may hold it, and the service itself."""


def holders(root: object, token: Token) -> list[str]:
    """Return what leads to each text that contains `token`, among all objects that can be reached from `root`."""
    secret, found = token.reveal(), []
    raw = secret.encode()
    seen, line = {id(root)}, deque([(root, "client")])
    while line:
        thing, way = line.popleft()
        if (isinstance(thing, str) and secret in thing) or (isinstance(thing, bytes | bytearray) and raw in thing):
            found.append(way)
        if isinstance(thing, _ELSEWHERE):
            continue
        for below in gc.get_referents(thing):
            if id(below) not in seen:
                seen.add(id(below))
                line.append((below, f"{way[-300:]} > {type(below).__name__}"))
    assert len(seen) > 1000
    return found


async def test_no_object_of_a_working_client_holds_it(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    sandbox.faults.add(path="separation/create", kind="lose_answer")
    sandbox.faults.add(path="app/user", kind="html")
    sandbox.faults.add(path="app/separation_history", kind="garble")
    sandbox.faults.add(path="separation/cancel", kind="refuse", status=401)
    async with client_of(sandbox, journal=tmp_path / "j.db") as client:
        await client.separate(song, tmp_path, algorithm="BS Roformer")
        with pytest.raises(MVSepError):
            await client.separations.cancel("20230327071601-0e3e5c6c85-none.mp3")
        await client.account.history()
        token = Token(sandbox.premium_token)  # not in a local: the frame of this very test is among what is reached
        assert holders(client, token) == []


def test_the_walk_finds_what_is_there() -> None:
    client = MVSepClient("a-token-of-no-use", base_url="http://127.0.0.1:9")
    padding, token = [str(number) for number in range(2000)], Token("a-token-of-no-use")
    assert holders([client, padding], token) == []
    assert holders([client, padding, {"url": "?api_token=a-token-of-no-use"}], token) == ["client > dict > str"]


async def test_no_file_holds_it(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    sandbox.faults.add(path="separation/create", kind="lose_answer")
    sandbox.faults.add(path="/storage/*", kind="stall", after_bytes=20_000, seconds=60.0, count=None)
    async with client_of(sandbox, journal=tmp_path / "j.db", cache=tmp_path / "cache") as client:
        job = await client.submit(wav(2.0), filename="a.wav", algorithm="BS Roformer", key="a key", metadata={"a": 1})
        await job
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job.download, tmp_path / "stems")
            await until(lambda: job.progress.bytes_received)
            tasks.cancel_scope.cancel()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        endings = {path.name.rpartition(".")[2] for path in files}
        assert {"db", "db-wal", "part", "json"} <= endings
        for path in files:
            assert sandbox.premium_token.encode() not in path.read_bytes(), path
