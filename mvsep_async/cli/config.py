"""The configuration of a command: flags before the environment before the configuration file before the defaults."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, get_args

from attrs import define, frozen
from cyclopts import Parameter, validators

from mvsep_async.cli import config_file
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.help import ADVANCED
from mvsep_async.cli.help import COMMON as COMMON_OPTIONS
from mvsep_async.cli.terminal import terminal
from mvsep_async.client import MVSepClient
from mvsep_async.http.hosts import DEFAULT_BASE_URL, Host
from mvsep_async.http.token import Token
from mvsep_async.observe.events import BudgetWaited, Event, Listener, Retried, Submitted
from mvsep_async.postgres_url import JournalAddress, PostgresURL, journal_address

__all__ = [
    "COMMON",
    "NO_JOURNAL",
    "TOKEN_VARIABLE",
    "TRANSFER",
    "URL_VARIABLE",
    "All",
    "CommandConfig",
    "CommonOptions",
    "ConfigValue",
    "Limit",
    "Region",
    "Start",
    "TransferOptions",
    "address_of_region",
    "connect",
    "load_config",
    "parse_rate",
]

TOKEN_VARIABLE: Final = "MVSEP_API_TOKEN"  # noqa: S105 -- a name
URL_VARIABLE: Final = "MVSEP_BASE_URL"
NO_JOURNAL: Final = "off"
"""The value of `journal` in the configuration file for no journal."""

Region: TypeAlias = Literal["de", "de2", "hk"]

_REPEAT: Final = 60.0
"""Seconds before it is reported again what a command waits for."""

_LONG: Final = 5.0
"""Seconds of a wait that is worth a line."""

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)", re.IGNORECASE)

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@Parameter(name="*", group=COMMON_OPTIONS)
@frozen(kw_only=True)
class CommonOptions:
    """What every command takes."""

    base_url: Annotated[str | None, Parameter(metavar="URL")] = None
    """Address of the service; by default MVSEP_BASE_URL, else https://mvsep.com."""
    region: Annotated[Region | None, Parameter(metavar="REGION")] = None
    """Region of the service, which by default is the nearest one: de, de2 or hk."""
    profile: Annotated[str | None, Parameter(metavar="NAME")] = None
    """Use the account of [profile.NAME] in the configuration file."""
    json: bool = False
    """Write JSON to standard output, and nothing else."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """Write results and errors only."""
    verbose: Annotated[bool, Parameter(alias="-v")] = False
    """Log requests and retries, without the token."""


COMMON: Final = CommonOptions()

Start = Annotated[int, Parameter(help="Number of entries to skip.")]
Limit = Annotated[int, Parameter(help="How many to list.")]
All = Annotated[bool, Parameter(help="List all of them.")]


@Parameter(name="*", group=ADVANCED)
@frozen(kw_only=True)
class TransferOptions:
    """How a command uses the service and the line."""

    concurrency: Annotated[int | None, Parameter(metavar="N", validator=validators.Number(gte=1))] = None
    """Most jobs at the service at one time; by default what the account allows."""
    limit_rate: Annotated[str | None, Parameter(metavar="RATE")] = None
    """Bytes per second for all transfers together, such as 500K or 2M; by default no limit."""
    compress_uploads: bool = False
    """Send WAV and AIFF songs as FLAC: half the bytes, the same audio, but without tags."""
    poll_interval: Annotated[float | None, Parameter(metavar="SECONDS", validator=validators.Number(gt=0))] = None
    """Shortest interval between two polls of one job; by default 2 seconds."""


TRANSFER: Final = TransferOptions()


@frozen
class ConfigValue:
    """One setting and where it comes from; `value` is `None` where nothing sets it."""

    value: str | None
    origin: str


@frozen(kw_only=True)
class CommandConfig:
    """Everything that is configured, resolved."""

    path: Path
    base_url: ConfigValue
    out: ConfigValue
    format: ConfigValue
    algorithm: ConfigValue
    journal: ConfigValue
    limit_rate: ConfigValue
    token: Token | None = None
    token_origin: str = ""
    profile: str | None = None
    shared_files: ConfigValue = ConfigValue("false", "default")
    journal_url: PostgresURL | None = None
    """The journal, if it is a database; `journal` then has no password."""

    @property
    def host(self) -> Host:
        """The service's address; raises `ConfigurationError` for an invalid one."""
        return Host.parse(self.base_url.value or DEFAULT_BASE_URL)

    @property
    def out_folder(self) -> Path:
        """The folder for stems."""
        return config_file.expand_home(self.out.value or "stems")

    @property
    def account(self) -> str:
        """A name for the account at this service, for files; it does not reveal the token."""
        token = "" if self.token is None else self.token.reveal()
        digest = blake2b(token.encode(), digest_size=4).hexdigest()
        # The regions of the service know each other's jobs.
        name = self.host.name.removeprefix("www.")
        name = "mvsep.com" if name.endswith(".mvsep.com") else name.replace(":", "_")
        return f"{name}-{self.host.port}-{digest}"

    @property
    def files_are_shared(self) -> bool:
        """Whether all machines with the same journal see the same files under the same paths."""
        value = self.shared_files.value
        if value not in ("true", "false"):
            raise UsageProblem(f"shared_files is {value!r} in {self.shared_files.origin}: write true or false")
        return value == "true"

    @property
    def journal_path(self) -> JournalAddress | None:
        """The journal to use: the configured one, else one for this account at this service; `None` for none."""
        if self.journal_url is not None:
            return self.journal_url
        match self.journal.value:
            case None:
                return config_file.state_folder() / "journals" / f"{self.account}.sqlite"
            case value if value == NO_JOURNAL:
                return None
            case value:
                return config_file.expand_home(value)


def load_config(common: CommonOptions, environ: Mapping[str, str] = os.environ) -> CommandConfig:
    """Resolve the configuration; raises `UsageProblem` for a configuration file that cannot be used."""
    path = config_file.config_path()
    values = config_file.read(path, common.profile)
    origin = str(path) if common.profile is None else f"[profile.{common.profile}] of {path}"
    token, token_origin = _token(environ, values, origin, common.profile)
    place = journal_address(values["journal"]) if "journal" in values else None
    url = place if isinstance(place, PostgresURL) else None
    secret = "token" if "token" in values else "password" if url is not None and url.has_password else None
    if secret is not None and config_file.exposed(path):
        terminal().note(f"warning: others may read the {secret} in {path}: chmod 600 {path}")
    if common.region is not None and common.base_url is not None:
        raise UsageProblem("--region and --base-url both name the service: leave one out")
    region = values.get("region")
    return CommandConfig(
        path=path,
        base_url=_first(
            (common.base_url, "--base-url"),
            (address_of_region(common.region), "--region"),
            (environ.get(URL_VARIABLE), URL_VARIABLE),
            (values.get("base_url"), origin),
            (address_of_region(region), origin),
            (DEFAULT_BASE_URL, "default"),
        ),
        out=_first((values.get("out"), origin), ("stems", "default")),
        format=_first((values.get("format"), origin), ("mp3", "default")),
        algorithm=_first((values.get("algorithm"), origin)),
        journal=_first((values.get("journal") if url is None else str(url), origin)),
        journal_url=url,
        limit_rate=_first((values.get("limit_rate"), origin)),
        shared_files=_first((values.get("shared_files"), origin), ("false", "default")),
        token=token,
        token_origin=token_origin,
        profile=common.profile,
    )


def connect(
    config: CommandConfig,
    *,
    needs_token: bool = False,
    journal: JournalAddress | None = None,
    transfer: TransferOptions = TRANSFER,
    on_event: Listener = lambda event: None,
) -> MVSepClient:
    """Return a client with this configuration; raises `UsageProblem` without a token that is needed."""
    if needs_token and config.token is None:
        raise UsageProblem(
            f"no API token: run `mvsep-async login`, or set {TOKEN_VARIABLE} (the token is on the account page of the "
            "service); `mvsep-async demo` needs none"
        )
    local = config.host.name in _LOOPBACK  # a sandbox: its port is another one every time
    return MVSepClient(
        "" if config.token is None else config.token.reveal(),
        base_url=config.base_url.value,
        concurrency=transfer.concurrency,
        journal=journal.reveal() if isinstance(journal, PostgresURL) else journal,
        poll_interval=transfer.poll_interval,
        shared_files=config.files_are_shared,
        limit_rate=parse_rate(transfer.limit_rate or config.limit_rate.value),
        compress_uploads=transfer.compress_uploads,
        cache=None if local else config_file.cache_folder(),
        on_event=_WaitNotes(on_event),
    )


@define
class _WaitNotes:
    """Reports why nothing happens, once a minute at most, and passes every event on.

    Waits for the request limit are reported as long as no song is submitted: later they are part of every long run.
    """

    on_event: Listener
    clock: Callable[[], float] = time.monotonic
    _reported: float = float("-inf")
    _submitted: bool = False

    def __call__(self, event: Event) -> None:
        match event:
            case Retried(error=error, job=None):
                self._report(f"trying again: {error}")
            case BudgetWaited(seconds) if seconds >= _LONG and not self._submitted:
                self._report(f"waiting {seconds:.0f} s: the service's requests of this minute are used up")
            case Submitted():
                self._submitted = True
        self.on_event(event)

    def _report(self, text: str) -> None:
        if self.clock() >= self._reported + _REPEAT:
            self._reported = self.clock()
            terminal().note(text)


def parse_rate(text: str | None) -> float | None:
    """Read bytes per second as curl writes them: a number, with K, M or G for powers of 1024."""
    if text is None:
        return None
    found = _RATE.fullmatch(text.strip())
    rate = float(found[1]) * 1024 ** " KMG".index(found[2].upper() or " ") if found else 0.0
    if rate <= 0:
        raise UsageProblem(f"the rate {text!r} is not a number of bytes per second, such as 500K or 2M")
    return rate


def _token(
    environ: Mapping[str, str], values: Mapping[str, str], origin: str, profile: str | None
) -> tuple[Token | None, str]:
    candidates = [(environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE), (values.get("token"), origin)]
    if profile is not None:
        candidates.reverse()  # a profile that is asked for takes precedence over the environment
    for given, place in candidates:
        if given and given.strip():
            return Token(given.strip()), place
    return None, "not set"


def address_of_region(region: str | None) -> str | None:
    """Return the address of a region; raises `UsageProblem` for one that the service does not have."""
    if region is not None and region not in get_args(Region):
        raise UsageProblem(f"there is no region {region!r}; the regions are {', '.join(get_args(Region))}")
    return None if region is None else f"https://{region}.mvsep.com"


def _first(*candidates: tuple[str | None, str]) -> ConfigValue:
    return next((ConfigValue(value, origin) for value, origin in candidates if value), ConfigValue(None, "not set"))
