"""The container: small, not root, and without unneeded files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """The instructions of the Dockerfile, with their arguments, for each `FROM`."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found: list[list[tuple[str, str]]] = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest.strip()))
    return found


def test_it_is_built_from_slim_images_with_a_version(stages: list[list[tuple[str, str]]]) -> None:
    for stage in stages:
        assert re.fullmatch(r"python:3\.\d+-slim( AS \w+)?", dict(stage)["FROM"])


def test_it_does_not_run_as_root(stages: list[list[tuple[str, str]]]) -> None:
    words = [word for word, _ in stages[-1]]
    user = dict(stages[-1])["USER"]
    assert int(user) > 0, "a number: Kubernetes cannot tell whether a name is root"
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "RUN" not in words[words.index("USER") :]


def test_its_entry_point_is_the_command_line(stages: list[list[tuple[str, str]]]) -> None:
    last = dict(stages[-1])
    assert json.loads(last["ENTRYPOINT"]) == ["mvsep-async"]  # the form that passes signals on
    assert json.loads(last["CMD"]) == ["--help"]


def test_it_holds_the_installed_package_and_no_tools_to_build_it(stages: list[list[tuple[str, str]]]) -> None:
    assert [rest for word, rest in stages[-1] if word in ("COPY", "ADD")] == [
        "--from=build /opt/mvsep-async /opt/mvsep-async"
    ]
    assert not any("apt-get" in rest or "pip install" in rest for _, rest in stages[-1])


def test_no_secret_and_nothing_else_of_the_folder_is_sent_to_the_builder(
    stages: list[list[tuple[str, str]]],
) -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert ignored[0] == "*"
    copied = {name for word, rest in stages[0] if word == "COPY" for name in rest.split()[:-1]}
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() or name == "mvsep_async" for name in copied)
    assert not any(word in ("ARG", "ENV") and "TOKEN" in rest for stage in stages for word, rest in stage)


def test_any_user_can_keep_a_journal_in_a_volume(stages: list[list[tuple[str, str]]]) -> None:
    last = dict(stages[-1])
    folders = re.findall(r"XDG_(?:STATE|CONFIG|CACHE)_HOME=(\S+)", last["ENV"])
    assert len(folders) == 3
    assert all(folder.startswith("/state") for folder in folders)
    assert "install --directory --mode 1777 /state" in last["RUN"]
    for name in ("Dockerfile", "README.md"):
        assert "-v mvsep-async:/state" in (ROOT / name).read_text("utf-8")
