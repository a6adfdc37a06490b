"""Every code block of the README and of the documentation does what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks_of, pages
from tests.docs.reader import Reader

pytestmark = pytest.mark.slow

PAGES = [page for page in pages() if blocks_of(page)]


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_a_reader_who_tries_everything_on_a_page_gets_through(page: Path, reader: Reader) -> None:
    for block in blocks_of(page):
        try:
            reader.read(block)
        except Exception as error:
            error.add_note(f"at {block.place}")
            raise
