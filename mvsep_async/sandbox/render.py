"""The JSON of the separation section and of the account's lists. Reads jobs, changes nothing."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote

from attrs import define

from .audio.encode import ENCODINGS
from .catalogue import algorithms, brief
from .clock import Clock
from .jobs import Job, Phase, ResultFile, progress
from .links import Links
from .names import date_text, size_text, split_extension
from .queue import JobQueue
from .refusals import NO_SUCH_JOB
from .settings import SandboxSettings

NOT_FOUND = {"success": False, "status": "not_found", "data": {"message": NO_SUCH_JOB}}
IMAGE_NAME = "image.png"
KEEP_HOURS = 72
"""Where the `time_left` of the history begins (chosen)."""
BEING_FETCHED = "Your audio file is being downloaded, please wait a while..."


@define(eq=False)
class Renderer:
    """Renders jobs, as they are now, into the answers of the API."""

    _settings: SandboxSettings
    _clock: Clock
    _queue: JobQueue
    _links: Links

    def created(self, job: Job) -> dict[str, Any]:
        """Return the answer to create."""
        call = "get-remote" if job.short_hash else "get"
        # The file of a URL job may have been fetched by now, but create always answers the short hash.
        hash_ = job.short_hash or job.hash
        success = "true" if job.from_url else True
        return {"success": success, "data": {"hash": hash_, "link": self._links.api(job, call, hash_)}}

    def separation(self, job: Job | None) -> dict[str, Any]:
        """Return the answer to get."""
        if job is None:
            return NOT_FOUND
        match job.phase:
            case Phase.DONE:
                return {"success": True, "status": "done", "data": self._done(job)}
            case Phase.FAILED:
                return {"success": True, "status": "failed", "data": {"message": job.message}}
            case Phase.CANCELLED:
                after = self._settings.quirks.after_cancel
                if after == "not_found":
                    return NOT_FOUND
                return {"success": True, "status": after, "data": {"message": "The separation was cancelled"}}
            case Phase.DELETED:
                return NOT_FOUND
            case _:
                now = self._clock.now()
                place = self._queue.place(job, now, self._settings.jobs_ahead, self._settings.queue_seconds)
                status, data = progress(job, now, place)
                return {"success": True, "status": status, "data": data}

    def remote(self, job: Job | None) -> dict[str, Any]:
        """Return the answer to get-remote."""
        quirks = self._settings.quirks
        if job is None or job.short_hash is None:
            return NOT_FOUND
        if quirks.remote_stuck and job.phase is not Phase.FAILED:
            return {"success": True, "status": "processing", "data": {"message": BEING_FETCHED}}
        if job.phase is Phase.FETCHING:
            match quirks.remote_pending:
                case "message":
                    return {"success": False, "data": {"message": BEING_FETCHED}}
                case "not_found":
                    return NOT_FOUND
                case "status":
                    return {"success": True, "status": "processing", "data": {"message": BEING_FETCHED}}
        if not job.fetched:
            return self.separation(job)
        data = {"hash": job.hash, "link": self._links.api(job, "get", job.hash)}
        if quirks.link_only_hash:
            del data["hash"]
        return {"success": True, "status": "done", "data": data}

    def history_entry(self, job: Job) -> dict[str, Any]:
        """Return one entry of the history."""
        gone = self.separation(job) is NOT_FOUND
        age = self._clock.now() - job.created
        return {
            "id": job.serial,
            "hash": job.hash,
            "created_at": self._date(job.created),
            "updated_at": self._date(job.ended_at or job.created),
            "job_exists": not gone,
            "credits": None if gone else job.credits,
            "time_left": math.ceil(KEEP_HOURS - age / 3600),
            "algorithm": brief(algorithms()[job.sep_type], group=True),
        }

    def queue_entry(self, job: Job) -> dict[str, Any]:
        """Return one entry of `current_queue`."""
        return {"id": job.serial, "hash": job.hash, "created_at": self._date(job.created)}

    def demo_entry(self, job: Job) -> dict[str, Any]:
        """Return one entry of the demo page."""
        return {
            "hash": job.hash,
            "date": self._date(job.created)[:-3],
            "input_audio": self._input_url(job),
            "size": size_text(job.bytes),
            "algorithm": brief(algorithms()[job.sep_type], group=False),
        }

    def _done(self, job: Job) -> dict[str, Any]:
        quirks = self._settings.quirks
        algorithm = algorithms()[job.sep_type]
        stem, extension = split_extension(job.hash)
        data = {
            "hash": job.hash,
            "algorithm": algorithm.name,
            "algorithm_description": algorithm.entry["description"],
            "size": size_text(job.bytes),
            "output_format": ENCODINGS[job.output_format].label,
            "tags": None if quirks.null_tags else _tags(job, extension),
            "files": [] if quirks.empty_files else [self._file(job, file) for file in job.results.files],
            "date": self._date(job.created),
        }
        if job.inputs and self._settings.keep_input:
            data["input_file"] = {
                "url": self._input_url(job),
                "size": size_text(job.bytes),
                "download": f"{stem}_[mvsep].{extension}",
            }
        if quirks.rich_files:
            data["image"] = self._links.file(job, f"processed/{job.serial}/{IMAGE_NAME}")
        if job.results.transcription is not None:
            data["transcription"] = job.results.transcription
        return data

    def _file(self, job: Job, file: ResultFile) -> dict[str, Any]:
        quirks = self._settings.quirks
        name = file.name if quirks.raw_urls else quote(file.name)
        url = self._links.file(job, f"processed/{job.serial}/{name}")
        entry: dict[str, Any] = {"url": url, "size": size_text(file.size), "download": file.name, "type": file.stem}
        match quirks.file_bytes:
            case "number":
                entry["bytes"] = file.size
            case "text":
                entry["bytes"] = str(file.size)
            case "absent":
                pass
        if quirks.rich_files:
            entry |= {"name": file.stem, "link": url, "stem": file.stem.lower()}
        if quirks.peaks:
            entry["peaks"] = [round(math.sin(number / 9) / 2, 4) for number in range(quirks.peaks)]
        return entry

    def _input_url(self, job: Job) -> str:
        return self._links.file(job, f"temp/{quote(job.hash)}")

    def _date(self, moment: float) -> str:
        return date_text(self._clock.epoch(moment))


def _tags(job: Job, extension: str) -> dict[str, Any]:
    bitrate = job.bytes * 8 / job.duration if job.duration else 0
    audio = {"dataformat": extension, "bitrate": bitrate, "lossless": extension in ("wav", "flac", "aiff")}
    return {"audio": {**audio, "streams": [dict(audio)]}, "tags": {"id3v2": {"title": [job.filename]}}}
