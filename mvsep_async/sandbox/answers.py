"""The JSON of the separation section and of the account's lists. Reads the service, changes nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .catalogue import algorithms, brief
from .encode import ENCODINGS, Format
from .jobs import Job, Phase, ResultFile, progress
from .names import date_text, size_text, split_extension

if TYPE_CHECKING:
    from .service import Service

NOT_FOUND = {"success": False, "status": "not_found", "data": {"message": "Separation not found"}}
BEING_FETCHED = "Your audio file is being downloaded, please wait a while..."


def api_link(service: Service, job: Job, call: str = "get") -> str:
    """The address of a call about a job, at the host that has it."""
    return _address(service, f"{_origin(service, job)}/api/separation/{call}?hash={quote(job.hash)}")


def created(service: Service, job: Job) -> dict[str, Any]:
    """The answer to create."""
    call = "get-remote" if job.short_hash else "get"
    success: Any = "true" if service.settings.quirks.success_as_text else True
    # A url job may have its long hash already, but create always answers the short one.
    hash_ = job.short_hash or job.hash
    link = f"{_origin(service, job)}/api/separation/{call}?hash={quote(hash_)}"
    return {"success": success, "data": {"hash": hash_, "link": _address(service, link)}}


def separation(service: Service, job: Job | None, now: float) -> dict[str, Any]:
    """The answer to get."""
    if job is None:
        return NOT_FOUND
    match job.phase:
        case Phase.DONE:
            return {"success": True, "status": "done", "data": _done(service, job)}
        case Phase.FAILED:
            return {"success": True, "status": "failed", "data": {"message": job.message}}
        case Phase.CANCELLED:
            after = service.settings.quirks.after_cancel
            if after == "not_found":
                return NOT_FOUND
            return {"success": True, "status": after, "data": {"message": "The separation was cancelled"}}
        case Phase.DELETED:
            return NOT_FOUND
        case _:
            status, data = progress(job, now, service.place(job, now))
            return {"success": True, "status": status, "data": data}


def remote(service: Service, job: Job | None) -> dict[str, Any]:
    """The answer to get-remote."""
    if job is None or job.short_hash is None:
        return NOT_FOUND
    if job.phase is Phase.FETCHING:
        match service.settings.quirks.remote_pending:
            case "message":
                return {"success": False, "data": {"message": BEING_FETCHED}}
            case "not_found":
                return NOT_FOUND
            case "status":
                return {"success": True, "status": "processing", "data": {"message": BEING_FETCHED}}
    if not job.fetched:
        return separation(service, job, service.clock.now())
    data = {"hash": job.hash, "link": api_link(service, job)}
    if service.settings.quirks.link_only_hash:
        del data["hash"]
    return {"success": True, "status": "done", "data": data}


def history_entry(service: Service, job: Job, now: float) -> dict[str, Any]:
    """One entry of the history."""
    gone = separation(service, job, now) is NOT_FOUND
    return {
        "id": job.serial,
        "hash": job.hash,
        "created_at": date_text(service.clock.epoch(job.created)),
        "updated_at": date_text(service.clock.epoch(job.ended_at or job.created)),
        "job_exists": not gone,
        "credits": None if gone else job.credits,
        "time_left": math.ceil(service.settings.keep_hours - (now - job.created) / 3600),
        "algorithm": brief(algorithms()[job.sep_type], group=True),
    }


def queue_entry(service: Service, job: Job) -> dict[str, Any]:
    """One unfinished job, the way `current_queue` lists it."""
    return {"id": job.serial, "hash": job.hash, "created_at": date_text(service.clock.epoch(job.created))}


def demo_entry(service: Service, job: Job) -> dict[str, Any]:
    """One entry of the demo page."""
    return {
        "hash": job.hash,
        "date": date_text(service.clock.epoch(job.created))[:-3],
        "input_audio": _input_url(service, job),
        "size": size_text(job.bytes),
        "algorithm": brief(algorithms()[job.sep_type], group=False),
    }


def _done(service: Service, job: Job) -> dict[str, Any]:
    quirks = service.settings.quirks
    algorithm = algorithms()[job.sep_type]
    stem, extension = split_extension(job.hash)
    data = {
        "algorithm": algorithm.name,
        "algorithm_description": algorithm.entry["description"],
        "size": size_text(job.bytes),
        "output_format": ENCODINGS[Format(job.output_format)].label,
        "tags": None if quirks.null_tags else _tags(job, extension),
        "input_file": {
            "url": _input_url(service, job),
            "size": size_text(job.bytes),
            "download": f"{stem}_[mvsep].{extension}",
        },
        "files": [] if quirks.empty_files else [_file(service, job, file) for file in job.files],
        "date": date_text(service.clock.epoch(job.created)),
    }
    if not job.inputs or not service.settings.keep_input:
        del data["input_file"]
    return data


def _file(service: Service, job: Job, file: ResultFile) -> dict[str, Any]:
    quirks = service.settings.quirks
    name = file.name if quirks.raw_urls else quote(file.name)
    url = _file_url(service, job, f"results/{name}")
    stem, extension = split_extension(file.name)
    entry: dict[str, Any] = {
        "url": url,
        "size": size_text(file.size),
        "download": f"{stem}_[mvsep].{extension}",
        "type": file.stem,
    }
    if quirks.rich_files:
        entry |= {"name": file.stem, "link": url, "stem": file.stem.lower()}
    if quirks.peaks:
        entry["peaks"] = [round(math.sin(number / 9) / 2, 4) for number in range(quirks.peaks)]
    return entry


def _tags(job: Job, extension: str) -> dict[str, Any]:
    bitrate = job.bytes * 8 / job.duration if job.duration else 0
    audio = {"dataformat": extension, "bitrate": bitrate, "lossless": extension in ("wav", "flac", "aiff")}
    return {"audio": {**audio, "streams": [dict(audio)]}, "tags": {"id3v2": {"title": [job.filename]}}}


def _origin(service: Service, job: Job) -> str:
    return f"{'https' if service.settings.tls else 'http'}://{job.host}"


def _input_url(service: Service, job: Job) -> str:
    return _file_url(service, job, f"temp/{quote(job.hash)}")


def _file_url(service: Service, job: Job, path: str) -> str:
    url = f"{_origin(service, job)}/storage/{path}"
    if service.settings.links_expire is not None or service.links_valid_from:
        # When the link was given; it is rounded up so that a link is never older than it is.
        url += f"?t={math.ceil(service.clock.now() * 1000)}"
    return _address(service, url)


def _address(service: Service, url: str) -> str:
    return url.replace("/", "\\/") if service.settings.quirks.escaped_slashes else url
