"""The documentation is a site that builds without a warning, and without anything from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mvsep_async
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow

LOADED = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//|<link\b[^>]*\bhref="(?:https?:)?//|@import'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_of_the_navigation_is_built(site: Path) -> None:
    named = re.findall(r": ([\w/-]+)\.md$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert len(named) > 20
    assert [name for name in named if not (site / f"{name}.html").is_file()] == []


def test_reading_it_loads_nothing_from_other_hosts(site: Path) -> None:
    assert [page.name for page in site.rglob("*.html") if LOADED.search(page.read_text("utf-8"))] == []


def test_nothing_is_left_to_be_filled_in(site: Path) -> None:
    left = re.compile(r"\{\{ \w+ \}\}|::: mvsep_async")
    assert [page.name for page in site.rglob("*.html") if left.search(page.read_text("utf-8"))] == []


def test_the_parts_are_those_of_the_code(site: Path) -> None:
    page = (site / "reference" / "parts.html").read_text("utf-8")
    assert page.count('<svg class="drawing"') == 1
    drawn = set(re.findall(r'<text class="name"[^>]*>(\w+)</text>', page))
    inside = (path for path in Path(mvsep_async.__file__).parent.iterdir() if not path.name.startswith("_"))
    assert drawn == {path.stem for path in inside if path.suffix == ".py" or path.is_dir()}


def test_search_works_without_a_server(site: Path) -> None:
    assert (site / "search" / "search_index.js").read_text("utf-8").startswith("var __index = {")
    page = (site / "how-to" / "bot.html").read_text("utf-8")
    assert 'src="../js/iframe-worker.js"' in page


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("client", ["MVSepClient.submit", "MVSepClient.map", "Pair"]),
        ("jobs", ["Job.download", "Progress.starts_in", "Stage.QUEUED", "OutputFormat.FLAC_16"]),
        ("errors", ["errors.SubmissionUnknownError"]),
        ("sandbox", ["sandbox.Quirks.early_not_found", "testing.no_waiting"]),
    ],
)
def test_the_reference_has_what_the_code_has(site: Path, page: str, names: list[str]) -> None:
    text = (site / "reference" / f"{page}.html").read_text("utf-8")
    assert [name for name in names if f'id="mvsep_async.{name}"' not in text] == []


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    import mvsep_async

    text = "".join(page.read_text("utf-8") for page in (site / "reference").glob("*.html"))
    anchors = set(re.findall(r'id="mvsep_async\.(?:errors\.)?(\w+)"', text))
    assert sorted(set(mvsep_async.__all__) - anchors - {"__version__"}) == []
