"""The service in memory: what it has done, and what it answers to a request that reaches it whole."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from math import inf
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import trio
from attrs import define, field, frozen

from .machine import EPOCH
from .scenario import Scenario
from .story import Story

__all__ = ["BASE", "FULL", "REGIONS", "Answer", "RemoteJob", "Service", "audio_in", "result_bytes", "song_bytes"]

BASE: Final = "https://mvsep.com"
REGIONS: Final = ("https://de.mvsep.com", "https://de2.mvsep.com", "https://hk.mvsep.com")
_MARK: Final = re.compile(rb"SONG(\d{4})")
_NAME: Final = re.compile(rb'filename="([^"]+)"')
_URL: Final = re.compile(rb'name="url"\r\n\r\n\S*/(\S+)')
_FILE: Final = re.compile(r"/storage/processed/(?P<hash>.+)_(?P<stem>vocals|other)\.wav")
_NOT_FOUND: Final = {"success": False, "status": "not_found", "data": {"message": "File or File Hash not found"}}
_LIMIT: Final = "You have reached the limit of separations for today. Please try again tomorrow."
_FETCHING: Final = {"success": False, "message": "Your audio file is being downloaded, please wait a while..."}
_QUOTA_SECONDS: Final = 1800.0
FULL: Final = "You already have unprocessed file in queue. Please wait before adding new file!"


def song_bytes(audio: int, tag: str = "", *, scale: int = 1) -> bytes:
    """Return a WAV file with this audio, `scale` times as long, and perhaps a tag, which is not part of it."""
    data = (b"SONG%04d" % audio) * (200 + 37 * audio) * scale
    info = b""
    if tag:
        text = tag.encode().ljust(8, b"\0")
        body = b"INFOINAM" + len(text).to_bytes(4, "little") + text
        info = b"LIST" + len(body).to_bytes(4, "little") + body
    chunk = b"fmt \x10\0\0\0\x01\0\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x10\0"
    chunk += b"data" + len(data).to_bytes(4, "little") + data + info
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WAVE" + chunk


def audio_in(body: bytes) -> int | None:
    """Return which audio an upload has."""
    found = _MARK.search(body)
    return None if found is None else int(found[1])


def result_bytes(audio: int, stem: str) -> bytes:
    """Return the file that the service makes of a song."""
    data = f"{stem} of {audio:04d};".encode() * (150 + 50 * audio)
    return b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0" + b"\1\0\2\0" * 4 + b"data" + data


@frozen
class Answer:
    """What the service answers."""

    status: int
    body: bytes
    headers: dict[str, str] = field(factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200) -> Answer:
        return cls(status, json.dumps(value).encode(), {"content-type": "application/json"})


@define(eq=False)
class RemoteJob:
    """A job at the service."""

    number: int
    hash: str
    audio: int | None
    accepted: float
    listed: float
    found: float
    started: float
    ended: float
    host: str
    short_hash: str | None = None
    """The hash of a job for a URL, until its song is fetched."""
    fetched: float = -inf
    fails: bool = False
    cancelled: bool = False
    refunded: bool = False
    rejected: bool = False
    """Whether the client has been told that its create cannot succeed, or cannot know it: it counts no slot for it."""

    def unfinished(self, now: float) -> bool:
        return not self.cancelled and now < self.ended

    def shown_hash(self, now: float) -> str:
        """Return the hash in the account's lists."""
        return self.hash if self.short_hash is None or now >= self.fetched else self.short_hash


@define(eq=False)
class Service:
    """One account of the service. It works whether somebody asks or not: a job's course is drawn when it is accepted.

    `cancelled`: the audio of jobs whose `cancel()` returned true: they must not come back.
    """

    scenario: Scenario
    story: Story
    rng: Random
    jobs: list[RemoteJob] = field(factory=list)
    cancelled: set[int] = field(factory=set)
    requests: list[float] = field(factory=list)
    refused: int = 0
    _quota_used: list[float] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        for number in range(self.scenario.old_jobs):
            at = -60.0 * (self.scenario.old_jobs - number)
            self._add(None, f"old-{number}.mp3", at, listed=at, ended=at + 30.0)

    @property
    def limit(self) -> int:
        """Unfinished jobs that the account may have."""
        return 10 if self.scenario.premium else 1

    @property
    def free_left(self) -> int | None:
        """Separations that a free account has left, `None` if there is no limit."""
        if self.scenario.premium or not self.scenario.quota:
            return None
        since = trio.current_time() - _QUOTA_SECONDS
        return max(0, self.scenario.quota - sum(at > since for at in self._quota_used))

    def unfinished(self) -> list[RemoteJob]:
        """Return the unfinished jobs, strangers' too."""
        now = trio.current_time()
        return [job for job in self.jobs if job.unfinished(now)]

    def paid(self, audio: int) -> list[RemoteJob]:
        """Return the jobs that were paid for a song and not refunded."""
        return [job for job in self.jobs if job.audio == audio and not job.refunded]

    def stranger(self) -> None:
        """Accept a job of another program, if there is a slot."""
        if len(self.unfinished()) < self.limit:
            self._add(None, f"stranger-{len(self.jobs)}.mp3", trio.current_time())

    def handle(self, request: httpx.Request, body: bytes) -> Answer:
        """Do what a complete request asks for, and return the answer."""
        url = urlsplit(str(request.url))
        if file := _FILE.fullmatch(url.path):
            return self._file(request, file["hash"], file["stem"])
        now = trio.current_time()
        self.requests = [at for at in self.requests if at > now - 60.0]
        headers = {
            "x-ratelimit-limit": str(self.scenario.requests_per_minute),
            "x-ratelimit-remaining": str(max(0, self.scenario.requests_per_minute - len(self.requests) - 1)),
        }
        if len(self.requests) >= self.scenario.requests_per_minute:
            self.refused += 1
            return Answer(429, b"{}", {**headers, "retry-after": "20"})
        self.requests.append(now)
        given = {name: values[0] for name, values in parse_qs(url.query).items()}
        if request.method == "POST" and "multipart" not in request.headers.get("content-type", ""):
            given |= {name: values[0] for name, values in parse_qs(body.decode()).items()}
        host = f"{url.scheme}://{url.netloc}"
        match url.path.removeprefix("/api/"):
            case "separation/create":
                answer = self._create(body, host)
            case "separation/get":
                answer = self._get(given.get("hash", ""), host)
            case "separation/get-remote":
                answer = self._get_remote(given.get("hash", ""), host)
            case "separation/cancel":
                answer = self._cancel(given.get("hash", ""))
            case "app/user":
                answer = self._user()
            case "app/separation_history":
                answer = self._history(int(given.get("start", 0)), int(given.get("limit", 10)))
            case "app/queue":
                answer = self._queue()
            case path:
                self.story.say("service", f"does not know {path}")
                answer = Answer(404, b"<html><title>404</title></html>")
        return Answer(answer.status, answer.body, {**headers, **answer.headers})

    def _add(self, audio: int | None, name: str, at: float, *, listed: float = -1e9, ended: float = -1e9) -> RemoteJob:
        drawn, scenario = self.rng, self.scenario
        date = datetime.fromtimestamp(EPOCH + at, UTC) + timedelta(hours=scenario.time_zone)
        waiting = drawn.random() * scenario.job_seconds[0] * 3
        length = drawn.uniform(*scenario.job_seconds)
        listed = listed if listed > -1e9 else at + drawn.uniform(0, scenario.listed_after)
        job = RemoteJob(
            number=len(self.jobs),
            hash=f"{date:%Y%m%d%H%M%S}-{drawn.getrandbits(40):010x}-{name}",
            audio=audio,
            accepted=at,
            listed=listed,
            found=at + drawn.uniform(0, scenario.found_after),
            started=at + waiting,
            ended=ended if ended > -1e9 else at + waiting + length,
            host=drawn.choice(REGIONS) if scenario.regions else BASE,
            fails=audio is not None and drawn.random() < scenario.failures,
        )
        self.jobs.append(job)
        return job

    def _create(self, body: bytes, host: str) -> Answer:
        now = trio.current_time()
        audio = audio_in(body)
        name, url = _NAME.search(body), _URL.search(body)
        name = name or url
        if audio is None or name is None:
            return Answer.json({"success": False, "errors": {"audiofile": ["The audiofile field is required."]}}, 400)
        if self.free_left == 0:
            self.story.say("service", f"refuses song {audio}: no separations are left")
            return Answer.json({"success": False, "errors": [_LIMIT]}, 400)
        if len(self.unfinished()) >= self.limit:
            self.story.say("service", f"refuses song {audio}: all {self.limit} slots are in use")
            return Answer.json({"success": False, "errors": [FULL]}, 400)
        named = name[1].decode().lower()
        job = self._add(audio, named if "." in named else f"fetched-{audio}.wav", now)
        if url is not None and self.scenario.fetch_seconds:
            job.short_hash, job.fetched = (
                f"{self.rng.getrandbits(64):016x}",
                now + self.rng.uniform(0, self.scenario.fetch_seconds),
            )
            job.started, job.ended = (moment + job.fetched - now for moment in (job.started, job.ended))
        self._quota_used.append(now)
        self.story.say("service", f"accepts song {audio} as job {job.number} ({job.hash})")
        if len(self.paid(audio)) > 1:
            self.story.violate(
                "no audio is paid twice", f"song {audio} has jobs {[j.number for j in self.paid(audio)]}"
            )
        if audio in self.cancelled:
            self.story.violate("what was cancelled stays cancelled", f"song {audio} is sent again")
        where = job.host if self.scenario.regions else host
        call = "get" if job.short_hash is None else "get-remote"
        hash = job.short_hash or job.hash
        data = {"hash": hash, "link": f"{where}/api/separation/{call}?hash={hash}".replace("/", "\\/")}
        return Answer.json({"success": True, "data": data})

    def _find(self, hash: str, host: str | None) -> RemoteJob | None:
        job = next((job for job in self.jobs if hash in (job.hash, job.short_hash)), None)
        if job is None or trio.current_time() < job.found:
            return None
        return None if self.scenario.regions and host not in (None, job.host) else job

    def _get_remote(self, hash: str, host: str) -> Answer:
        job, now = self._find(hash, host), trio.current_time()
        if job is None or job.cancelled or hash != job.short_hash:
            return Answer.json(_NOT_FOUND)
        if now < job.fetched:
            return Answer.json(self.rng.choice((_FETCHING, {"success": True, "status": "processing", "data": {}})))
        link = f"{job.host}/api/separation/get?hash={job.hash}"
        data = self.rng.choice(({"hash": job.hash, "link": link}, {"link": link}))
        return Answer.json({"success": True, "status": "done", "data": data})

    def _get(self, hash: str, host: str) -> Answer:
        job, now = self._find(hash, host), trio.current_time()
        if job is None or job.cancelled or hash != job.hash or now < job.fetched:
            return Answer.json(_NOT_FOUND)
        if now < job.started:
            place = 1 + int(job.started - now) // 10
            return Answer.json(
                {"success": True, "status": "waiting", "data": {"queue_count": place + 3, "current_order": place}}
            )
        if now < job.ended:
            part = (now - job.started) / (job.ended - job.started)
            if part < 0.3:
                data = {"queue_count": 1, "current_order": 1, "finished_chunks": int(part * 10), "all_chunks": 3}
                return Answer.json({"success": True, "status": "distributing", "data": data})
            status = "processing" if part < 0.9 else "merging"
            return Answer.json({"success": True, "status": status, "data": {"message": "working"}})
        if job.fails:
            return Answer.json({"success": True, "status": "failed", "data": {"message": "no GPU was left"}})
        assert job.audio is not None
        files = [
            {
                "url": f"{job.host}/storage/processed/{job.hash}_{stem}.wav".replace("/", "\\/"),
                "download": f"{job.hash}_{stem}.wav",
                "type": stem.title(),
                "bytes": len(result_bytes(job.audio, stem)),
            }
            for stem in ("vocals", "other")
        ]
        return Answer.json(
            {"success": True, "status": "done", "data": {"hash": job.hash, "algorithm": "A", "files": files}}
        )

    def _cancel(self, hash: str) -> Answer:
        job, now = self._find(hash, None), trio.current_time()
        if job is None or job.cancelled:
            return Answer.json({"success": False, "message": "File or File Hash not found"}, 400)
        if now >= job.started:
            return Answer.json({"success": False, "message": "The job is being processed"}, 400)
        job.cancelled = job.refunded = True
        self.story.say("service", f"cancels job {job.number}")
        return Answer.json({"success": True})

    def _listed(self) -> list[RemoteJob]:
        now = trio.current_time()
        return sorted((j for j in self.jobs if j.listed <= now and not j.cancelled), key=lambda j: -j.accepted)

    def _user(self) -> Answer:
        now = trio.current_time()
        listed = [job.shown_hash(now) for job in self._listed() if job.unfinished(now)]
        queue: Any
        match self.scenario.queue_shape:
            case "count":
                queue = len(self.unfinished())
            case "text":
                queue = str(len(self.unfinished()))
            case "hashes":
                queue = listed or None
            case _:
                queue = [{"hash": hash} for hash in listed] or None
        minutes = "420.5" if self.scenario.premium else 0
        enabled = int(self.scenario.premium)
        data = {"name": "a", "email": "a@b", "premium_minutes": minutes, "premium_enabled": enabled}
        return Answer.json({"success": True, "data": {**data, "current_queue": queue}})

    def _queue(self) -> Answer:
        left, most = (50, 50) if self.free_left is None else (self.free_left, self.scenario.quota)
        return Answer.json({"queue": {"in_process": 1}, "free_separations": {"left": left, "max": most}})

    def _history(self, start: int, limit: int) -> Answer:
        size = min(limit, self.scenario.page_size, 20)
        entries: list[Any] = [
            {
                "id": job.number,
                "hash": job.shown_hash(trio.current_time()),
                "job_exists": True,
                "credits": 1,
                "algorithm": {"name": "A", "render_id": 40},
            }
            for job in self._listed()[start : start + size]
        ]
        if self.scenario.holes and entries:
            # An entry of another program cannot be shown, or is null.
            entries = [
                None if self.jobs[entry["id"]].audio is None and self.rng.random() < 0.3 else entry for entry in entries
            ]
        return Answer.json({"success": True, "data": entries})

    def _file(self, request: httpx.Request, hash: str, stem: str) -> Answer:
        job = next((job for job in self.jobs if job.hash == hash), None)
        if job is None or job.audio is None:
            return Answer(404, b"<html><title>404</title></html>")
        content = result_bytes(job.audio, stem)
        headers = {"etag": f'"{job.number}{stem}"', "content-type": "audio/wav", "accept-ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if asked and request.headers.get("if-range") in (None, headers["etag"]):
            first = int(asked[1])
            if first >= len(content):
                return Answer(416, b"", {**headers, "content-range": f"bytes */{len(content)}"})
            headers["content-range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return Answer(206, content[first:], headers)
        return Answer(200, content, headers)
