"""The project's own files say the same things, and work where they are read: on PyPI, on GitHub, in a container."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import mvsep_async

ROOT: Final = Path(__file__).parents[2]
REPOSITORY: Final = "https://github.com/mvsep-async/mvsep-async"
PAGES: Final = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]

_LINK: Final = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
_FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def links_of(page: str) -> list[str]:
    """Return the targets of a page's links and pictures, which are not those of its code."""
    return [inline or reference for inline, reference in _LINK.findall(_FENCED.sub("", text_of(page)))]


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(text_of("pyproject.toml"))["project"]
    return project


def test_the_readme_has_no_link_that_works_on_github_alone() -> None:
    links = links_of("README.md")
    assert len(links) > 15
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_of_the_project_name_files_that_there_are(page: str) -> None:
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com")
    ours = re.compile(rf"{REPOSITORY}/(?:blob|tree)/main/([^#]+)|{raw}/main/([^#]+)|(?!https?:|#)([^#]+)")
    named = [next(filter(None, found.groups())) for link in links_of(page) if (found := ours.match(link))]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_reference_links_are_defined_and_used() -> None:
    text = _FENCED.sub("", text_of("README.md"))
    used = set(re.findall(r"\]\[([^\]]+)\]", text))
    assert used == set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))


def test_the_metadata_has_the_addresses_that_pypi_shows(metadata: dict[str, Any]) -> None:
    assert metadata["urls"].keys() >= {"Homepage", "Documentation", "Changelog", "Issues", "Source"}
    assert all(url.startswith("https://") for url in metadata["urls"].values())
    assert metadata["urls"]["Source"] == REPOSITORY


def test_the_citation_has_the_version_and_the_licence_of_the_package(metadata: dict[str, Any]) -> None:
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["version"] == mvsep_async.__version__
    assert citation["license"] == metadata["license"]
    assert citation["repository-code"] == REPOSITORY


def test_every_python_of_the_classifiers_is_run_by_the_workflow(metadata: dict[str, Any]) -> None:
    workflow = yaml.safe_load(text_of(".github/workflows/ci.yml"))
    run = workflow["jobs"]["run"]["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: 3."
    claimed = [f"3.{line.removeprefix(prefix)}" for line in metadata["classifiers"] if line.startswith(prefix)]
    assert run == claimed
    assert metadata["requires-python"] == f">={claimed[0]}"


def test_no_extra_is_left_out_of_the_tests(metadata: dict[str, Any]) -> None:
    extras = metadata["optional-dependencies"]
    named = re.fullmatch(r"mvsep-async\[([\w,]+)\]", extras["test"][0])
    assert named is not None
    assert set(named[1].split(",")) == extras.keys() - {"test"}


def test_everything_that_is_required_has_a_lower_bound(metadata: dict[str, Any]) -> None:
    extras = metadata["optional-dependencies"].values()
    required = metadata["dependencies"] + [one for extra in extras for one in extra]
    assert [one for one in required if not re.search(r">=|==|^mvsep-async\[", one)] == []


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflows_ask_for_no_more_than_they_need(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert "permissions" in job
        for step in job["steps"]:
            assert "uses" not in step or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"])
            assert "${{" not in step.get("run", ""), "an expression in a script can be code of somebody else's"


def test_contributing_names_tests_and_modules_that_there_are() -> None:
    named = re.findall(r"`((?:mvsep_async|tests|benchmarks|scripts|examples)/[\w./-]*)", text_of("CONTRIBUTING.md"))
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists() and not name.startswith("mvsep_async/")] == []
    package = Path(mvsep_async.__file__).parent
    ours = [name.removeprefix("mvsep_async/") for name in named if name.startswith("mvsep_async/")]
    assert [name for name in ours if not (package / name).exists()] == []


def test_contributing_lists_every_module_with_a_branch_for_a_platform() -> None:
    branch = re.compile(r"sys\.platform|os\.name\b|hasattr\(os, |getattr\(os, |getattr\(signal, |fcntl|supports_dir_fd")
    package = Path(mvsep_async.__file__).parent
    branching = {
        f"mvsep_async/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*.py")
        if branch.search(path.read_text("utf-8"))
    }
    table = text_of("CONTRIBUTING.md").partition("## Windows and macOS")[2]
    assert {name for name in branching if f"`{name}`" not in table} == set()
