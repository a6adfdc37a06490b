"""Settings of a sandbox: its speed, its limits, and the quirks that the real service has been seen to have."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from attrs import define, field, frozen

MIB = 1024 * 1024


def or_random(token: str) -> str:
    """Return a token; a random one where it is empty."""
    return token or secrets.token_hex(15)


@frozen(kw_only=True)
class Quirks:
    """Variations in the answers of the service; each has been seen live.

    Durations are in seconds. The defaults are what was seen most often.
    """

    success_as_text: bool = False
    """`success` is the string "true" or "false" in every answer. (In the create of a URL job it always is.)"""
    escaped_slashes: bool = False
    """URLs hold the literal `\\/` that PHP leaves behind, as part of the decoded text."""
    early_not_found: float = 0.0
    """For this long after its create a job is still `not_found` at `get` and `get-remote`."""
    history_delay: float = 0.0
    """For this long after its create a job is missing from `separation_history` and `current_queue`."""
    url_long_hash: bool = False
    """The create of a URL job answers the hash of the real job at once; there is no `get-remote` stage."""
    remote_pending: Literal["message", "not_found", "status"] = "message"
    """What `get-remote` answers while the file is being fetched."""
    remote_stuck: bool = False
    """`get-remote` answers `processing` for ever; only the history names the real job."""
    link_only_hash: bool = False
    """`get-remote` names the hash of the real job only inside `data.link`."""
    current_queue: Literal["list", "count", "null"] = "list"
    """How `app/user` describes the unfinished jobs."""
    queue_key: Literal["current", "plan"] = "current"
    """The key under which `app/queue` describes the queue of a token's plan."""
    nested_groups: bool = False
    """With a token, `app/algorithms` answers a list of groups, each with its `algorithms`."""
    minutes_as_text: bool = False
    """`premium_minutes` is a string such as "42.5"."""
    flags_as_bool: bool = False
    """`premium_enabled` and similar flags are true/false instead of 1/0."""
    null_tags: bool = False
    """`tags` of a finished job is null."""
    peaks: int = 0
    """How many numbers each result file's `peaks` has (0: the key is absent)."""
    rich_files: bool = False
    """Result files have `name`, `link` and `stem` too, and the answer an `image`."""
    file_bytes: Literal["number", "text", "absent"] = "number"
    """How a result file's exact size is given."""
    raw_urls: bool = False
    """URLs of result files hold spaces and letters beyond ASCII unescaped."""
    empty_files: bool = False
    """`files` of a finished job is empty."""
    error_style: Literal["errors", "message", "fields", "top", "top_fields", "status"] = "errors"
    """Where a refusal puts its reason: an `errors` list, `data.message`, a field → messages table under `errors`,
    `message` at the top, such a table there, or nowhere."""
    after_cancel: Literal["not_found", "failed", "cancelled"] = "not_found"
    """The status of a cancelled job at `get`."""
    cancel_processing: Literal["accept", "refuse"] = "accept"
    """Whether a job that is being processed can be cancelled (its credits are spent either way)."""
    host_bound: bool = True
    """The status of a job is known only at the host (`Host` header) that accepted it. Its files always are."""
    link_host: str | None = None
    """The host that every job is handed to, if it is not the one that was asked: `data.link` names it."""
    html_as_200: bool = False
    """What the edge refuses (413, expired links) is an HTML page with status 200."""


@define(kw_only=True, eq=False, slots=False)
class SandboxSettings:
    """All settings of a sandbox, in seconds and bytes.

    They may also be changed while it runs: what follows uses the new value.
    """

    # speed
    speed: float = 60.0
    """Seconds of audio separated in a second, for an algorithm of price coefficient 1."""
    job_seconds: float | Callable[[int], float] | None = None
    """Exact processing time of every job, or a function of the job's serial number; None: by length and `speed`."""
    min_seconds: float = 0.2
    """The shortest processing time where `job_seconds` is not given."""
    queue_seconds: float = 0.0
    """How long every job waits at least before it is processed."""
    fetch_seconds: float = 0.0
    """How long fetching the file of a URL job takes at least."""
    jobs_ahead: int = 0
    """Other users' jobs ahead of each new one; they disappear evenly over `queue_seconds`."""
    workers: int = 12
    """Jobs processed at one time, of all accounts; with more than ten a premium account never waits for itself."""
    manual: bool = False
    """Jobs advance only on request (`start`, `show`, `finish`, `fail`)."""
    long_seconds: float = 600.0
    """Audio longer than this is distributed over several machines."""
    chunk_seconds: float = 120.0
    """How much of a long file one machine gets."""

    # results
    stems: Literal["separate", "copy"] = "separate"
    """`separate` makes real stems; `copy` returns the uploaded bytes as each stem, which costs no time."""
    slug_length: int = 80
    """Where the file name inside a hash is cut, at its end."""
    keep_input: bool = True
    """Serve the uploaded file as `input_file`."""
    links_expire: float | None = None
    """How long links to files work; another `get` returns fresh ones."""
    history_page: int = 20
    """Most entries of one answer of `separation_history`, even if `limit` asks for more."""
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
    """The answer to one job too many: `message`, `silent` (a 400 without a reason), or the exact words."""
    free_per_day: int = 50
    """Separations a day of an account that is not premium."""
    free_day: Literal["rolling", "calendar"] = "rolling"
    """Whether that day is the last 24 hours or the calendar day (UTC). Which one the service means is not known."""
    free_audio_seconds: float = 600.0
    """Longest audio of an account that is not premium."""
    premium_minutes: float = 1000.0
    """Credits of the premium account at the start."""
    premium_token: str = field(default="", converter=or_random, repr=False)
    """Token of the premium account; empty: a random one."""
    free_token: str = field(default="", converter=or_random, repr=False)
    """Token of the free account; empty: a random one."""
    premium_upload_bytes: int = 2048 * MIB
    """Largest upload of a premium account (2 GB has been seen)."""
    free_upload_bytes: int = 100 * MIB
    """Largest upload of any other account (100 MB has been seen)."""

    # network
    requests_per_minute: int = 6000
    """Requests to `/api` a minute and address before 429 (60 and 120 have been seen); downloads do not count."""
    rate_window: float = 60.0
    """Length of that minute."""
    rate_kind: Literal["fixed", "sliding"] = "fixed"
    """Whether the minute starts again as a whole or slides."""
    rate_scope: Literal["address", "token"] = "address"
    """What the requests are counted by."""
    bytes_per_second: float | None = None
    """How fast each connection carries an upload or a download; None: no limit."""
    link_bytes_per_second: float | None = None
    """How fast all connections together carry uploads, and as fast downloads; None: no limit."""
    body_read_timeout: float | None = 60.0
    """How long the server waits for more of a request's body before it closes the connection; None: for ever."""
    port: int = 0
    """The port on 127.0.0.1; 0: any that is free."""
    tls: ssl.SSLContext | None = None
    """Serve https with this context."""
    folder: Path | None = None
    """Parent of the temporary folder for uploads and results; None: the system's."""
    seed: int = 0
    """Seed of everything random, such as faults with a probability."""
    quirks: Quirks = field(factory=Quirks)
    """Variations in the answers."""

    def run_seconds(self, serial: int, duration: float, coefficient: float) -> float:
        """Return the processing time of the job with this serial number and `duration` seconds of audio."""
        if callable(self.job_seconds):
            return self.job_seconds(serial)
        if self.job_seconds is not None:
            return self.job_seconds
        return max(self.min_seconds, duration * coefficient / self.speed)

    def chunks(self, duration: float) -> int:
        """Return how many parts a file is split into; 0 for one that is not long."""
        return -int(-duration // self.chunk_seconds) if duration > self.long_seconds else 0

    def unfinished_limit(self, premium: bool) -> int:
        """Return the most unfinished jobs of an account of that plan."""
        return self.premium_limit if premium else self.free_limit

    def upload_limit(self, premium: bool) -> int:
        """Return the largest upload of an account of that plan, in bytes."""
        return self.premium_upload_bytes if premium else self.free_upload_bytes
