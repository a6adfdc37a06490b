"""The pytest plugin, as a user's own tests have it: in a pytest of its own, with every warning an error."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

OURS = ("-p", "mvsep_async.testing.plugin")
STRICT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:respx", "-W", "error")
LOOPS = ("-o", "asyncio_default_fixture_loop_scope=function")
"""pytest-asyncio warns where this is not set."""

USERS_TEST = """
import io, wave
import anyio
import pytest

{marks}

def song():
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1); file.setsampwidth(2); file.setframerate(8000)
        file.writeframes(bytes(1600))
    return target.getvalue()

{fixture_mark}
async def job(mvsep_client):
    return await mvsep_client.submit(song(), filename="song.wav", algorithm=40)

async def test_separates(mvsep_client, mvsep_sandbox, tmp_path):
    with anyio.fail_after(60):
        paths = await mvsep_client.separate(song(), tmp_path, filename="song.wav", algorithm=40)
    assert paths and all(path.stat().st_size for path in paths)
    assert len(mvsep_sandbox.jobs) == 1

async def test_shares_the_client_with_a_fixture_of_its_own(job, mvsep_client):
    assert mvsep_client.jobs() == [job]
    with anyio.fail_after(60):
        assert (await job).files

async def test_may_leave_a_job_unfinished(mvsep_client):
    await mvsep_client.submit(song(), filename="song.wav", algorithm=40)

@pytest.mark.mvsep_sandbox(manual=True, premium_limit=1)
async def test_sets_up_the_sandbox(mvsep_client, mvsep_sandbox):
    job = await mvsep_client.submit(song(), filename="song.wav", algorithm=40)
    with anyio.fail_after(60):
        while not mvsep_sandbox.jobs:
            await anyio.sleep(0.01)
        assert not job.done()
        mvsep_sandbox.finish(mvsep_sandbox.jobs[0].hash)
        await job

def test_without_any_loop(mvsep_sandbox):
    assert mvsep_sandbox.url.startswith("http://127.0.0.1:")
"""

USERS_MODES = {
    "auto": ("", "@pytest.fixture", ("-o", "asyncio_mode=auto", "-p", "no:anyio"), 5),
    "strict": (
        "import pytest_asyncio\npytestmark = pytest.mark.asyncio",
        "@pytest_asyncio.fixture",
        ("-o", "asyncio_mode=strict"),
        5,
    ),
    "anyio": ("pytestmark = pytest.mark.anyio", "@pytest.fixture", ("-o", "asyncio_mode=strict"), 9),
    "anyio alone": ("pytestmark = pytest.mark.anyio", "@pytest.fixture", ("-p", "no:asyncio"), 9),
}
"""Marks, how a fixture is made, arguments, and how many tests there are: anyio runs each on asyncio and on trio."""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    loops = () if "no:asyncio" in arguments else LOOPS
    return pytester.runpytest_subprocess(*_not_twice(), *STRICT, *loops, *arguments)


def _not_twice() -> tuple[str, ...]:
    """Return what loads the plugin where the installed package does not say by itself that it has one."""
    from importlib.metadata import entry_points

    return () if any(point.value == OURS[1] for point in entry_points(group="pytest11")) else OURS


@pytest.mark.parametrize("mode", USERS_MODES)
def test_a_user_s_tests_run_under_the_plugin_they_have(pytester: pytest.Pytester, mode: str) -> None:
    marks, fixture_mark, arguments, passed = USERS_MODES[mode]
    users = USERS_TEST.format(marks=marks, fixture_mark=fixture_mark)
    if mode == "strict":  # the sync test of the module cannot bear the mark of all others
        users = users.replace("pytestmark = pytest.mark.asyncio", "").replace("async def test", ASYNCIO_TEST)
    pytester.makepyfile(users)
    result = run(pytester, *arguments)
    # A fixture's two halves may run in one task or in two: that is pytest-asyncio's own affair, and changes.
    result.assert_outcomes(passed=passed)
    assert result.ret == 0, f"pytest-asyncio {version('pytest-asyncio')}, anyio {version('anyio')}"


ASYNCIO_TEST = "@pytest.mark.asyncio\nasync def test"


def test_a_client_that_cannot_be_opened_is_an_error_of_that_test_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from contextlib import contextmanager
        import pytest
        from mvsep_async import MVSepClient

        @pytest.fixture(autouse=True)
        def broken(monkeypatch, request):
            async def fail(self):
                raise RuntimeError("cannot be opened")
            if "fails" in request.node.name:
                monkeypatch.setattr(MVSepClient, "__aenter__", fail)

        async def test_fails(mvsep_client):
            raise AssertionError("never run")

        async def test_passes(mvsep_client):
            assert mvsep_client.jobs() == []
        """
    )
    result = run(pytester, "-o", "asyncio_mode=auto")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*RuntimeError: cannot be opened"])


def test_what_is_missing_is_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        sys.modules["soundfile"] = None

        def test_without_the_extra(mvsep_sandbox):
            raise AssertionError("never run")

        def test_without_an_async_plugin(mvsep_client):
            raise AssertionError("never run")
        """
    )
    result = run(pytester, "-p", "no:asyncio")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*pip install*mvsep-async?sandbox?*", "*mvsep_client needs pytest-asyncio*"])


def test_the_fixtures_and_the_marker_are_documented(pytester: pytest.Pytester) -> None:
    run(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.mvsep_sandbox*"])
    fixtures = run(pytester, "--fixtures").stdout
    fixtures.fnmatch_lines(["mvsep_sandbox*", "*fresh sandbox*", "mvsep_client*", "*does not wait*"])
    assert "_mvsep_client" not in fixtures.str()


OUR_OWN = ["mvsep_async._lazy", "mvsep_async._version", "mvsep_async.testing", "mvsep_async.testing.plugin"]


def test_it_costs_nothing_until_a_fixture_is_used() -> None:
    script = """
import sys, pytest
before = set(sys.modules)
import mvsep_async.testing.plugin
print(*sorted(set(sys.modules) - before))
"""
    command = [sys.executable, "-c", script]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert loaded == ["mvsep_async", *OUR_OWN]


def test_a_run_that_does_not_use_it_loads_nothing_of_the_client(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import sys

        def test_nothing_is_loaded():
            ours = {{name for name in sys.modules if name.startswith("mvsep_async")}}
            assert ours <= {{"mvsep_async", *{OUR_OWN}, "mvsep_async.testing.plugin_asyncio"}}
        """
    )
    run(pytester).assert_outcomes(passed=1)
