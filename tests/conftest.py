"""Fixtures for tests of the whole client: a sandbox, a client and a song."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from typing import Any, TypeAlias

import hypothesis
import pytest

from mvsep_async import MVSepClient
from mvsep_async.sandbox import Sandbox

NewClient: TypeAlias = Callable[..., MVSepClient]

STRANGER = "no-account-has-4711"
"""A token that nobody knows. No ordinary word: it is hidden in every log of the process while a client has it."""


_FOREIGN = re.compile(r"MVSEP_(?!TEST_)|PG|OTEL_|.*_proxy$", re.IGNORECASE)
"""Settings of the client, of databases and of proxies: no test depends on the shell from which the tests are run."""

for name in filter(_FOREIGN.match, list(os.environ)):
    del os.environ[name]

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
"""Workers and the processes that tests start compile each module once, not each of them again."""

SLOW_TIMEOUT = 600.0
"""Seconds that a test marked `slow` may take: it starts processes, and the machine may be busy with others."""

hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")
"""No example has to be fast: the machine may be busy with other tests."""

hypothesis.settings.register_profile("quick", hypothesis.settings.get_profile("suite"), max_examples=20)
"""For a run that repeats the suite on one more interpreter: `--hypothesis-profile=quick`."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run more workers than there are processors with `-n auto`: the tests wait for sockets and processes a lot."""
    return max(3, (os.cpu_count() or 2) * 3 // 2)


ONE_WORKER = {
    "tests/docs/test_site.py": "site",
    "tests/docs/test_examples.py": "pages",
    "tests/docs/test_reader.py": "pages",
    "tests/project/test_architecture.py": "package",
}
"""Modules whose tests share what takes long to make, so that one worker makes it, not each."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all tests of some modules to one worker. The marker `xdist_group` has no effect from pytest 9.2 on."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ONE_WORKER.get(nodeid.split("::")[0], nodeid)

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of a command in a process of its own as slow, and give slow tests more time than the others have."""
    for item in items:
        if "child" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what a process wrote whose failure fails the test: its exception does not."""
    report = yield
    failed = None if call.excinfo is None else call.excinfo.value
    if isinstance(failed, subprocess.CalledProcessError | subprocess.TimeoutExpired):
        for name, written in (("stdout", failed.stdout), ("stderr", failed.stderr)):
            if written:
                text = written.decode(errors="replace") if isinstance(written, bytes) else str(written)
                report.sections.append((f"{name} of {failed.cmd!r:.200}", text))
    return report


def wav(seconds: float = 0.1, *, rate: int = 8000) -> bytes:
    """Return a short stereo wav file, which differs by its length."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\x01\x02\x03\x04" * int(rate * seconds))
    return target.getvalue()


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A song on disk."""
    path = tmp_path / "Some Song.wav"
    path.write_bytes(wav())
    return path


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A service that gives back the upload as every stem, at once."""
    async with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
        yield sandbox


@pytest.fixture
async def held() -> AsyncIterator[Sandbox]:
    """The same, but jobs go on only when told."""
    async with Sandbox(stems="copy", manual=True) as sandbox:
        yield sandbox


@pytest.fixture
def client_of() -> NewClient:
    """`client_of(sandbox, **settings)`: a client of its premium account that hardly waits, still to be entered."""

    def new(sandbox: Sandbox, **settings: Any) -> MVSepClient:
        token = settings.pop("api_token", sandbox.premium_token)
        return MVSepClient(
            token, **{"base_url": sandbox.url, "poll_interval": 0.02, "requests_per_minute": 6000, **settings}
        )

    return new
