"""The web application, served by uvicorn and used like its page uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import frozen

from examples import fastapi_app
from examples.fastapi_app import PAGE, create_app
from mvsep_async import MVSepClient
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.server.listener import bind
from tests.client.support import calls, paid, until
from tests.conftest import NewClient, wav
from tests.serving import address_of, served

ROOT = Path(__file__).parents[2]


@frozen
class Browser:
    """Somebody at the page."""

    http: httpx.AsyncClient
    app: Any

    async def upload(self, data: bytes, **query: str) -> httpx.Response:
        return await self.http.post("/songs", content=data, params={"name": "Some Song.wav", **query})

    async def events(self, song: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """Read as `EventSource` does: the data of each event, of one song if it is given."""
        async with self.http.stream("GET", "/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
                    if song in (None, data["id"]):
                        yield data

    async def over(self, song: str) -> dict[str, Any]:
        """Wait until a song is over."""
        async for data in self.events(song):
            if data["over"]:
                return data
        raise AssertionError


@asynccontextmanager
async def browser_of(client: MVSepClient, data: Path, **settings: Any) -> AsyncIterator[Browser]:
    bound = bind(0)
    app = create_app(client, data, **settings)
    async with (
        served(app, bound, lifespan="on") as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
    ):
        yield Browser(http, app)
        app.state.songs.stop()


async def test_a_song_is_followed_live_and_its_stems_are_heard(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    async with browser_of(client_of(held), tmp_path) as browser:
        answer = await browser.upload(wav())
        assert answer.status_code == 202
        song = answer.json()["id"]
        stages = []
        async for data in browser.events(song):
            stages.append(data["stage"])
            if data["stage"] == "waiting":
                held.finish(held.jobs[0].hash)
            if data["over"]:
                break
        assert data["error"] is None
        assert (data["title"], data["preset"], data["fraction"]) == ("Some Song", "vocals", 1.0)
        assert stages[-1] == "finished"
        assert {stem["name"] for stem in data["stems"]} == {"Vocals", "Other"}
        part = await browser.http.get(data["stems"][0]["url"], headers={"Range": "bytes=0-9"})
        assert (part.status_code, len(part.content)) == (206, 10)  # players seek
        assert (await browser.http.get("/songs")).json() == [data]


async def test_every_browser_hears_of_every_song(held: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    async with browser_of(client_of(held), tmp_path) as browser:
        first = (await browser.upload(wav())).json()["id"]
        second = (await browser.upload(wav(0.2), preset="karaoke")).json()["id"]
        heard = set()
        async for data in browser.events():
            heard.add(data["id"])
            if heard == {first, second}:
                break
        await until(lambda: len(held.jobs) == 2)


async def test_a_song_is_cancelled_and_then_removed(held: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    async with browser_of(client_of(held), tmp_path) as browser:
        song = (await browser.upload(wav())).json()["id"]
        await until(lambda: held.jobs)
        assert (await browser.http.delete(f"/songs/{song}")).status_code == 204
        assert (await browser.over(song))["stage"] == "cancelled"
        assert held.jobs[0].cancelled
        assert (await browser.http.delete(f"/songs/{song}")).status_code == 204
        assert (await browser.http.get("/songs")).json() == []
        assert [data async for data in browser_first(browser)] == [{"id": song, "removed": True}]


async def browser_first(browser: Browser) -> AsyncIterator[dict[str, Any]]:
    async for data in browser.events():
        yield data
        return


async def test_a_restart_continues_with_the_songs_there_were(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.sqlite"
    async with browser_of(client_of(held, journal=journal), tmp_path) as browser:
        song = (await browser.upload(wav())).json()["id"]
        await until(lambda: held.unfinished(held.premium_token) == 1)
    held.finish(held.jobs[0].hash)
    async with browser_of(client_of(held, journal=journal), tmp_path) as browser:
        data = await browser.over(song)
        assert data["title"] == "Some Song"
        assert (await browser.http.get(data["stems"][0]["url"])).status_code == 200
    async with browser_of(client_of(held, journal=journal), tmp_path) as browser:
        [listed] = (await browser.http.get("/songs")).json()
        assert listed == data
    assert paid(held) == 1


async def test_mistakes_are_reported_in_words(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    async with browser_of(client_of(sandbox), tmp_path, max_upload_mb=1) as browser:
        empty = await browser.upload(b"")
        assert (empty.status_code, "is empty" in empty.json()["detail"]) == (422, True)
        unknown = await browser.upload(wav(), preset="no such")
        assert (unknown.status_code, "did you mean" in unknown.json()["detail"]) == (422, True)

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield bytes(500_000)

        for body in (bytes(1_500_000), pieces()):  # with a length, and without one
            large = await browser.http.post("/songs", content=body, params={"name": "Large.wav"})
            assert (large.status_code, large.json()["detail"]) == (413, "The song is larger than 1 MB.")
        elsewhere = await browser.http.get("/songs", headers={"sec-fetch-site": "cross-site"})
        assert elsewhere.status_code == 403
        for path in ("/songs/none/0", "/songs/none"):
            assert (await browser.http.request("GET" if path[-1] == "0" else "DELETE", path)).status_code == 404
        song = (await browser.upload(wav())).json()["id"]
        assert (await browser.over(song))["error"] is None
        texts = [empty.text, unknown.text, (await browser.http.get("/songs")).text]
    assert not any(sandbox.premium_token in text for text in texts)
    assert paid(sandbox) == 1


async def test_a_song_that_fails_says_why(held: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    async with browser_of(client_of(held), tmp_path) as browser:
        song = (await browser.upload(wav())).json()["id"]
        await until(lambda: held.jobs)
        held.fail(held.jobs[0].hash, "no audio in it")
        assert "no audio in it" in (await browser.over(song))["error"]


async def test_stems_that_cannot_be_stored_are_reported_and_fetched_by_the_next_start(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.sqlite"
    (tmp_path / "stems").write_text("a file, where the folder of the stems should be")
    async with browser_of(client_of(sandbox, journal=journal), tmp_path) as browser:
        song = (await browser.upload(wav())).json()["id"]
        assert "stems" in (await browser.over(song))["error"]
    (tmp_path / "stems").unlink()
    async with browser_of(client_of(sandbox, journal=journal), tmp_path) as browser:
        data = await browser.over(song)
        assert (data["error"], len(data["stems"])) == (None, 2)
    assert paid(sandbox) == 1


async def test_the_page_needs_nothing_that_its_policy_forbids(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    async with browser_of(client_of(sandbox), tmp_path) as browser:
        page = await browser.http.get("/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script>|<script [^>]*>[^<]|<style|\sstyle=|\son\w+=|https?://", page.text)
        for name in re.findall(r'(?:src|href)="(page/[^"]+)"', page.text):
            file = await browser.http.get(f"/{name}")
            assert file.status_code == 200
            assert file.headers["content-security-policy"] == policy
        names = [one["name"] for one in (await browser.http.get("/settings")).json()["presets"]]
        assert names == fastapi_app.PRESETS
    script = (PAGE / "page.js").read_text("utf-8")
    assert not re.search(r"innerHTML|\beval\b|\.style\b|https?://", script)


async def test_a_webhook_spares_most_polls(
    held: Sandbox, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = bind(0)
    monkeypatch.setenv("PUBLIC_URL", address_of(bound))
    app = create_app(client_of(held, poll_interval=3600.0), tmp_path)
    async with (
        served(app, bound, lifespan="on") as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
    ):
        browser = Browser(http, app)
        song = (await browser.upload(wav())).json()["id"]
        await until(lambda: held.jobs)
        held.finish(held.jobs[0].hash)
        await browser.over(song)
        app.state.songs.stop()
    assert calls(held, "separation/get") <= 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_as_a_program_it_needs_a_token_and_stops_with_browsers_connected(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "examples" / "fastapi_app.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DATA": str(tmp_path / "data"), "PORT": "0"}
    environment.pop("MVSEP_API_TOKEN", None)
    without = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert without.returncode == 1
    assert without.stderr.startswith("Set MVSEP_API_TOKEN")
    environment |= {"MVSEP_API_TOKEN": "some-token-of-a-test", "MVSEP_BASE_URL": "http://127.0.0.1:9"}
    with subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            seen = ""
            while (running := re.search(r"Uvicorn running on (\S+)", seen)) is None:
                line = process.stderr.readline()
                assert line, seen
                seen += line
            with httpx.stream("GET", f"{running[1]}/events", trust_env=False, timeout=60) as answer:
                assert answer.status_code == 200
                process.send_signal(signal.SIGINT)
                assert b"".join(answer.iter_raw()) == b""  # it ends, whole
            rest = process.stderr.read()
            assert process.wait() == 0, rest
            assert "Traceback" not in rest
        finally:
            process.kill()


async def test_songs_that_change_while_a_slow_browser_receives_others(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    async with browser_of(client_of(held), tmp_path) as browser:
        uploaded = {(await browser.upload(wav(0.1 + n / 100))).json()["id"] for n in range(3)}
        changes = browser.app.state.songs.changes()
        told = {json.loads((await anext(changes)).removeprefix("data: "))["id"]}
        uploaded.add((await browser.upload(wav(0.5))).json()["id"])
        while told != uploaded:
            told.add(json.loads((await anext(changes)).removeprefix("data: "))["id"])
        await changes.aclose()
