"""The package as a whole: its exports, and the modules that importing it loads."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mvsep_async
from mvsep_async import errors

DESIGNED = {
    "MVSepClient", "Job", "Progress", "Stage", "OutputFormat", "Separation", "OutputFile", "Pair", "MVSepError",
    "ConfigurationError", "AuthenticationError", "InvalidRequestError", "NoFreeSlotError", "DailyLimitError",
    "RateLimitedError",
    "ServiceUnavailableError", "TransportError", "ProtocolError", "UploadError", "DownloadError",
    "SubmissionUnknownError", "JobFailedError", "JobNotFoundError", "JobCancelledError", "JobTimeoutError",
    "ClientClosedError", "JournalError",
}  # fmt: skip

FOREIGN = ("cyclopts", "rich", "numpy", "soundfile", "starlette", "uvicorn", "multipart", "mutagen", "trio", "pytest")


def imported(statement: str) -> set[str]:
    """Return the top-level modules, and our own modules, that a statement loads in a fresh interpreter."""
    code = f"import sys; {statement}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_every_public_name_resolves() -> None:
    for name in mvsep_async.__all__:
        value = getattr(mvsep_async, name)
        assert name == "__version__" or getattr(value, "__name__", name) == name
    assert set(mvsep_async.__all__) >= DESIGNED
    assert len(mvsep_async.__all__) == len(set(mvsep_async.__all__))
    assert set(dir(mvsep_async)) >= DESIGNED


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        mvsep_async.nonesuch  # noqa: B018


def test_all_errors_are_public_and_of_one_tree() -> None:
    ours = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    assert ours == set(errors.__all__)
    assert ours <= set(mvsep_async.__all__)
    for name in ours:
        assert issubclass(getattr(errors, name), errors.MVSepError)
    assert issubclass(errors.JobTimeoutError, TimeoutError)


def test_the_drawing_of_the_errors_matches_the_classes() -> None:
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([\s│├└─]*)([A-Z]\w+Error)\b", line)
        if found:
            depth, name = len(found[1]), found[2]
            above = [entry for entry in above if entry[0] < depth]
            if above:
                drawn[name] = above[-1][1]
            above.append((depth, name))
    assert drawn == {
        name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__ if name != "MVSepError"
    }


def test_an_error_can_be_copied_for_several_jobs() -> None:
    original = errors.SubmissionUnknownError("lost", found=["a"])
    try:
        raise original
    except errors.MVSepError:
        pass
    copy = original.of("mv1", "h")
    assert type(copy) is errors.SubmissionUnknownError
    assert (str(copy), copy.found, copy.job, copy.hash) == ("lost", ("a",), "mv1", "h")
    assert copy.__traceback__ is None
    assert original.job is None


def test_importing_the_package_loads_no_dependency() -> None:
    loaded = imported("import mvsep_async")
    assert not loaded & {*FOREIGN, "httpx", "anyio", "attrs", "cattrs", "asyncio"}
    assert {name for name in loaded if name.startswith("mvsep_async.")} == {"mvsep_async._lazy", "mvsep_async._version"}


def test_the_client_loads_none_of_the_extras_nor_the_command_line() -> None:
    loaded = imported("from mvsep_async import *; import mvsep_async.scheduling.session")
    assert "cattrs" in loaded
    # httpx and httpcore load some of them by themselves, where they are installed.
    assert not (loaded - imported("import httpx, httpcore, anyio, attrs, cattrs")) & set(FOREIGN)
    assert not {name for name in loaded if name.split(".")[:2] in (["mvsep_async", "cli"], ["mvsep_async", "sandbox"])}
    assert "sqlite3" not in loaded


@pytest.mark.parametrize(
    ("content", "cause"),
    [("raise ImportError('libmissing.so')", "libmissing.so"), ("import json; json.nonesuch", "nonesuch")],
)
def test_a_broken_dependency_is_named(content: str, cause: str, tmp_path: Path) -> None:
    (tmp_path / "anyio.py").write_text(content)
    ran = subprocess.run(
        [sys.executable, "-c", "from mvsep_async import MVSepClient"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert ran.returncode == 1
    assert cause in ran.stderr
    assert "ImportError" in ran.stderr.splitlines()[-1]
    assert "cannot import name" not in ran.stderr


def test_the_engine_is_loaded_when_a_client_is_opened() -> None:
    loaded = imported("from mvsep_async import MVSepClient; MVSepClient('a-token')")
    folders = {name.split(".")[1] for name in loaded if name.startswith("mvsep_async.")}
    assert not folders & {"scheduling", "submission", "polling", "download", "journal", "catalogue"}
    assert len([name for name in loaded if name.startswith("mvsep_async.")]) < 20


def test_it_is_typed() -> None:
    assert (Path(mvsep_async.__file__).parent / "py.typed").exists()
