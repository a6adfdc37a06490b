"""`curl`, called the way the examples of the service's own API page call it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from mvsep_async.sandbox import Sandbox

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None, reason="curl is not installed")


def curl(*arguments: str) -> str:
    """What curl prints; it must end well."""
    command = [CURL or "curl", "--silent", "--show-error", "--noproxy", "*", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def curl_json(*arguments: str) -> Any:
    return json.loads(curl(*arguments))


def form(**fields: object) -> list[str]:
    """The `-F name=value` of curl."""
    return [part for name, value in fields.items() for part in ("-F", f"{name}={value}")]


def create(sandbox: Sandbox, song: Path, **fields: object) -> Any:
    token = {"api_token": sandbox.premium_token}
    parts = form(**{**token, "audiofile": f"@{song}", "sep_type": 40, "add_opt1": 29, "output_format": 1, **fields})
    return curl_json("-X", "POST", f"{sandbox.url}/api/separation/create", *parts)


def test_create_get_and_download(sandbox: Sandbox, song: Path, tmp_path: Path) -> None:
    sandbox.manual = True
    created = create(sandbox, song)
    assert created["success"] is True
    hash_ = created["data"]["hash"]
    got = curl_json("-X", "GET", f"{sandbox.url}/api/separation/get?hash={hash_}")
    assert got == {"success": True, "status": "waiting", "data": {"queue_count": 1, "current_order": 1}}
    sandbox.finish(hash_)
    while got["status"] != "done":
        got = curl_json(created["data"]["link"])
    url = got["data"]["files"][0]["url"]
    target = tmp_path / "vocals.wav"
    curl("-r", "0-9999", "-o", str(target), url)
    assert target.stat().st_size == 10_000
    curl("-C", "-", "-o", str(target), url)
    assert soundfile.info(target).duration == 2.0


def test_headers(sandbox: Sandbox, song: Path) -> None:
    sandbox.manual = True
    create(sandbox, song)
    head = curl("-I", f"{sandbox.url}/storage/temp/{sandbox.jobs[0].hash}").lower()
    assert f"content-length: {song.stat().st_size}" in head
    assert "accept-ranges: bytes" in head
    dumped = curl("-D", "-", "-o", "/dev/null", f"{sandbox.url}/api/app/queue").lower()
    assert "x-ratelimit-limit: 6000" in dumped


def test_a_large_upload_is_asked_for_with_100_continue(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.manual, sandbox.stems = True, "copy"
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(3_000_000))
    assert create(sandbox, large, audiofile=f"@{large};filename=Ünïcode name.mp3")["success"] is True
    assert sandbox.jobs[0].bytes == 3_000_000
    assert sandbox.jobs[0].filename == "Ünïcode name.mp3"
    assert sandbox.jobs[0].hash.endswith("-unicode-name.mp3")


def test_a_url_job(sandbox: Sandbox, song: Path) -> None:
    sandbox.manual = True
    create(sandbox, song)
    url = f"{sandbox.url}/storage/temp/{sandbox.jobs[0].hash}"
    parts = form(api_token=sandbox.premium_token, url=url, remote_type="direct", sep_type=40)
    created = curl_json("-X", "POST", f"{sandbox.url}/api/separation/create", *parts)
    answer = curl_json(created["data"]["link"])
    while answer.get("status") != "done":
        answer = curl_json(f"{sandbox.url}/api/separation/get-remote?hash={created['data']['hash']}")
    assert curl_json(answer["data"]["link"])["status"] == "waiting"


def test_cancel(sandbox: Sandbox, song: Path) -> None:
    sandbox.manual = True
    hash_ = create(sandbox, song)["data"]["hash"]
    parts = form(api_token=sandbox.premium_token, hash=hash_)
    assert curl_json("-X", "POST", f"{sandbox.url}/api/separation/cancel", *parts)["success"] is True
    assert sandbox.job(hash_).cancelled


def test_matchering_and_generator(sandbox: Sandbox, song: Path) -> None:
    url = f"{sandbox.url}/api/separation/create"
    token = {"api_token": sandbox.premium_token}
    pair = form(**token, sep_type=68, target_audiofile=f"@{song}", reference_audiofile=f"@{song}")
    assert curl_json("-X", "POST", url, *pair)["success"] is True
    words = form(**token, sep_type=62, add_opt1="slow blues", add_opt2=1)
    assert curl_json("-X", "POST", url, *words)["success"] is True


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("app/algorithms", "render_id"),
        ("app/algorithms?scopes=no_upload", "render_id"),
        ("app/news?lang=en&start=0&limit=10", "title"),
        ("app/demo?start=0&limit=10", "hash"),
        ("quality_checker/leaderboard?dataset_type=0&start=0&limit=20", "data"),
        ("app/queue", "queue"),
        ("app/queue?api_token={token}", "current"),
        ("app/queue/summary?api_token={token}", "data"),
        ("app/user?api_token={token}", "data"),
        ("app/separation_history?api_token={token}&start=0&limit=10", "data"),
    ],
)
def test_what_is_read(sandbox: Sandbox, path: str, key: str) -> None:
    answer = curl_json("--globoff", "-X", "GET", f"{sandbox.url}/api/{path.format(token=sandbox.premium_token)}")
    assert key in (answer[0] if isinstance(answer, list) else answer)


@pytest.mark.parametrize("option", ["-F", "-d"])
@pytest.mark.parametrize(
    "call", ["enable_premium", "disable_premium", "enable_long_filenames", "disable_long_filenames"]
)
def test_switches(sandbox: Sandbox, call: str, option: str) -> None:
    url = f"{sandbox.url}/api/app/{call}"
    assert curl_json("-X", "POST", url, option, f"api_token={sandbox.premium_token}")["success"] is True
    assert curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", url, option, "api_token=wrong") == "400"


def test_login_and_register(sandbox: Sandbox) -> None:
    parts = form(name="N", email="n@example.com", password="12345678", password_confirmation="12345678")
    assert curl_json("-X", "POST", f"{sandbox.url}/api/app/register", *parts)["success"] is True
    parts = form(email="n@example.com", password="12345678")
    assert curl_json("-X", "POST", f"{sandbox.url}/api/app/login", *parts)["data"]["name"] == "N"
    assert curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", f"{sandbox.url}/api/app/login") == "400"


def test_quality_checker(sandbox: Sandbox, tmp_path: Path) -> None:
    archive = tmp_path / "results.zip"
    archive.write_bytes(b"PK\x05\x06" + bytes(18))
    base = f"{sandbox.url}/api/quality_checker"
    fields = {"algo_name": "Mine", "main_text": "t", "dataset_type": 1, "ensemble": 0, "password": "secret"}
    parts = form(api_token=sandbox.premium_token, zipfile=f"@{archive}", **fields)
    added = curl_json("-X", "POST", f"{base}/add", *parts)
    number = added["data"]["id"]
    assert curl_json(added["data"]["link"])["algo_name"] == "Mine"
    assert curl_json(f"{base}/queue?start=0&limit=20")[0]["id"] == number
    assert curl_json("-X", "POST", f"{base}/delete", *form(id=number, password="wrong"))["success"] is False
    # The API page says GET and shows form fields: curl then sends a GET with a form.
    assert curl_json("-X", "GET", f"{base}/delete", *form(id=number, password="secret"))["success"] is True


def test_wrong_tokens_by_status(sandbox: Sandbox, song: Path) -> None:
    url = f"{sandbox.url}/api/separation/create"
    parts = form(api_token="wrong", audiofile=f"@{song}", sep_type=40)
    assert curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", url, *parts) == "401"
    assert httpx.get(f"{sandbox.url}/api/app/user", params={"api_token": "wrong"}, timeout=60).status_code == 400
