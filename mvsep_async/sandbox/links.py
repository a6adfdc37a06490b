"""The links in answers: their host, their expiry, and whether one that comes back is still valid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from urllib.parse import quote

from attrs import define

from .clock import Clock
from .jobs import Job
from .settings import SandboxSettings

_STAMP = re.compile(r"[0-9]{1,18}")


@define(eq=False)
class Links:
    """Makes links and checks them."""

    _settings: SandboxSettings
    _clock: Clock
    _valid_from: float = 0.0

    def expire_all(self) -> None:
        """Make every link to a file that was given so far invalid."""
        self._valid_from = self._clock.now()

    def api(self, job: Job, call: str, hash_: str) -> str:
        """Return the URL of a call about a job, at its host."""
        return self._escaped(f"{self.origin(job.host)}/api/separation/{call}?hash={quote(hash_)}")

    def file(self, job: Job, path: str) -> str:
        """Return the URL of a file of a job; `path` is below `/storage/`, and quoted."""
        url = f"{self.origin(job.host)}/storage/{path}"
        if self._settings.links_expire is not None or self._valid_from:
            # When the link was made, rounded up so that it never seems older than it is.
            url += f"?t={math.ceil(self._clock.now() * 1000)}"
        return self._escaped(url)

    def origin(self, host: str) -> str:
        """Return scheme and host of a URL."""
        return f"{'https' if self._settings.tls else 'http'}://{host}"

    def is_valid(self, query: Mapping[str, str]) -> bool:
        """Whether a link to a file with this query has not expired."""
        given = query.get("t", "0")
        moment = int(given) / 1000 if _STAMP.fullmatch(given) else 0.0
        if moment < self._valid_from:
            return False
        life = self._settings.links_expire
        return life is None or self._clock.now() - moment < life

    def _escaped(self, url: str) -> str:
        return url.replace("/", "\\/") if self._settings.quirks.escaped_slashes else url
