"""The pages as a forge shows them: complete, and up to date with the code."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

DOCS = ROOT / "docs"
UP_TO_DATE = "run `python scripts/docs_pages.py`"


@pytest.fixture
def docs_pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return import_module("docs_pages")


def linked() -> set[Path]:
    """Return the pages that the README links to."""
    text = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r"mvsep-async/blob/main/(docs/[^)\s#]+\.md)", text)
    return {ROOT / name for name in named}


def test_what_the_pages_take_from_the_code_is_up_to_date(docs_pages: Any) -> None:
    for page in DOCS.rglob("*.md"):
        text = page.read_text("utf-8")
        assert docs_pages.written(text) == text, f"{page}: {UP_TO_DATE}"
    for path, drawing in docs_pages.drawings().items():
        assert path.read_text("utf-8") == drawing, f"{path}: {UP_TO_DATE}"


def test_everything_that_can_be_written_is_on_a_page(docs_pages: Any) -> None:
    text = "".join(page.read_text("utf-8") for page in DOCS.rglob("*.md"))
    assert set(re.findall(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->", text, re.DOTALL)) == set(docs_pages.WRITTEN)
    assert set(re.findall(r"^\{\{ (\w+) \}\}$", text, re.MULTILINE)) == set(docs_pages.FILLINGS)


def test_pages_that_the_readme_links_to_need_no_site() -> None:
    pages = linked()
    assert len(pages) > 10
    only_on_the_site = re.compile(r"^\{\{ |^:::|^--8<--|^\?\?\?|^!!!|^---$|\]\[mvsep_async", re.MULTILINE)
    found = {page.name: only_on_the_site.findall(page.read_text("utf-8")) for page in pages}
    assert {name: what for name, what in found.items() if what} == {}


def test_links_between_pages_name_files_that_there_are() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in DOCS.rglob("*.md")
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert missing == []
