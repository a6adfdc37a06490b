"""What a sandbox can be told: sizes, limits, pace, and the quirks that the real service has been seen to have."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from attrs import define, field, frozen

MIB = 1024 * 1024


@frozen(kw_only=True)
class Quirks:
    """Peculiarities of the service; each has been seen live, none of them holds always.

    Durations are in seconds. The defaults are what was seen most often.
    """

    success_as_text: bool = True
    """`separation/create` answers `"success": "true"`, a string."""
    escaped_slashes: bool = False
    """Addresses hold the literal `\\/` that PHP leaves behind, as part of the decoded text."""
    early_not_found: float = 0.0
    """So long after its create a job is still `not_found` at `get` and `get-remote`."""
    history_delay: float = 0.0
    """So long after its create a job shows in neither `separation_history` nor `current_queue`."""
    remote_pending: Literal["message", "not_found", "status"] = "message"
    """What `get-remote` says while the file is being fetched."""
    link_only_hash: bool = False
    """A fetched url job names its real hash only inside `data.link`."""
    current_queue: Literal["list", "count", "null"] = "list"
    """What `app/user` says about the unfinished jobs."""
    minutes_as_text: bool = False
    """`premium_minutes` is a string such as "42.5"."""
    flags_as_bool: bool = False
    """`premium_enabled` and its kind are true/false instead of 1/0."""
    null_tags: bool = False
    """`tags` of a finished job is null."""
    peaks: int = 0
    """So many numbers of waveform in each result file's `peaks` (0: the key is absent)."""
    rich_files: bool = False
    """Result files have `name`, `link` and `stem` too."""
    raw_urls: bool = False
    """Addresses of result files hold spaces and letters beyond ASCII as they are."""
    empty_files: bool = False
    """`files` of a finished job is empty."""
    error_style: Literal["message", "errors", "fields", "top", "status"] = "message"
    """Where a refusal puts its reason: `data.message`, an `errors` list, a field → messages table under `errors`,
    `message` at the top, or nowhere."""
    after_cancel: Literal["not_found", "failed", "cancelled"] = "not_found"
    """What `get` says of a cancelled job."""
    cancel_processing: Literal["accept", "refuse"] = "accept"
    """Whether a job that is being processed can be cancelled (its credits are spent either way)."""
    host_bound: bool = True
    """A job is known only at the host (`Host` header) that accepted it."""
    link_host: str | None = None
    """The host that create hands every job to, when it is not the one that was asked: `data.link` names it."""
    html_as_200: bool = False
    """What the edge refuses (413, expired links) is an HTML page with status 200."""


@define(kw_only=True, eq=False, slots=False)
class Settings:
    """All that can be chosen about a sandbox. Seconds and bytes throughout.

    Everything may also be changed while it runs: what follows uses the new value.
    """

    # pace
    speed: float = 60.0
    """Seconds of audio separated in a second, for an algorithm of price coefficient 1."""
    job_seconds: float | Callable[[int], float] | None = None
    """Exact processing time of every job, or a function of the job's serial number; None: by length and `speed`."""
    min_seconds: float = 0.2
    """The shortest processing where `job_seconds` is not given."""
    queue_seconds: float = 0.0
    """How long every job waits at least before a worker may take it."""
    fetch_seconds: float = 0.0
    """How long fetching the file of a url job takes at least."""
    strangers: int = 0
    """Other people's jobs ahead of each new one; they vanish evenly over `queue_seconds`."""
    workers: int = 12
    """Jobs processed at one time, of all accounts; with more than ten a premium account never waits for itself."""
    manual: bool = False
    """Jobs go on only when told (`start`, `show`, `finish`, `fail`)."""
    long_seconds: float = 600.0
    """Audio longer than this is distributed over several machines."""
    chunk_seconds: float = 120.0
    """How much of a long file one machine gets."""

    # what is made
    stems: Literal["separate", "copy"] = "separate"
    """`separate` makes real stems; `copy` hands the uploaded bytes back as each stem, which costs nothing."""
    hash_content: bool = True
    """Ten digits of a job's hash come from the content; off: from its serial number (a little faster)."""
    slug_length: int = 80
    """Where the file name inside a hash is cut, at its end."""
    keep_input: bool = True
    """Serve the uploaded file as `input_file`."""
    links_expire: float | None = None
    """So long do links to files work; a fresh `get` gives fresh ones."""
    expired_status: int = 403
    """What an expired link answers."""
    keep_hours: float = 72.0
    """`time_left` of the history counts down from here."""
    fail_names: tuple[str, ...] = ("*sandbox-fail*",)
    """Jobs whose uploaded file name matches one of these patterns fail."""
    fail_sep_types: frozenset[int] = frozenset()
    """Jobs of these separation types fail."""

    # accounts
    premium_limit: int = 10
    """Most unfinished jobs of a premium account."""
    free_limit: int = 1
    """Most unfinished jobs of any other account."""
    refusal: str = "message"
    """The answer to one job too many: `message`, `silent` (a 400 that does not say why), or the words themselves."""
    premium_minutes: float = 1000.0
    """Credits of the premium account at the start."""
    premium_token: str = field(default="", repr=False)
    """Token of the premium account; empty: a new one."""
    free_token: str = field(default="", repr=False)
    """Token of the free account; empty: a new one."""
    premium_upload_bytes: int = 2048 * MIB
    """Largest upload of a premium account (2 GB has been seen)."""
    free_upload_bytes: int = 100 * MIB
    """Largest upload of another account (100 MB has been seen)."""

    # wire
    requests_per_minute: int = 6000
    """Requests to `/api` a minute and address before 429 (60 and 120 have been seen); downloads do not count."""
    rate_window: float = 60.0
    """Length of that minute."""
    rate_kind: Literal["fixed", "sliding"] = "fixed"
    """Whether the minute starts anew as a whole or slides."""
    rate_scope: Literal["address", "token"] = "address"
    """What the minute is counted for."""
    bytes_per_second: float | None = None
    """How fast each connection carries an upload or a download; None: as fast as it can."""
    port: int = 0
    """The port on 127.0.0.1; 0: any that is free."""
    tls: ssl.SSLContext | None = None
    """Serve https with this context."""
    folder: Path | None = None
    """Where uploads and results are kept (a folder is made in it and removed at the end); None: the system's."""
    seed: int = 0
    """Of everything that is drawn by lot (faults with a probability)."""
    quirks: Quirks = field(factory=Quirks)

    def run_seconds(self, serial: int, duration: float, coefficient: float) -> float:
        """How long processing takes for the job with this serial number and `duration` seconds of audio."""
        if callable(self.job_seconds):
            return self.job_seconds(serial)
        if self.job_seconds is not None:
            return self.job_seconds
        return max(self.min_seconds, duration * coefficient / self.speed)

    def chunks(self, duration: float) -> int:
        """Over how many machines a file is spread; 0 for one that is not long."""
        return -int(-duration // self.chunk_seconds) if duration > self.long_seconds else 0

    def unfinished_limit(self, premium: bool) -> int:
        """Most unfinished jobs of an account of that plan."""
        return self.premium_limit if premium else self.free_limit

    def upload_limit(self, premium: bool) -> int:
        """Largest upload of an account of that plan."""
        return self.premium_upload_bytes if premium else self.free_upload_bytes
