"""The code blocks of a page, as a reader sees them. Pure.

What is expected of a block follows from its language and from what stands around it:

- `python` runs, the blocks of a page one after the other, with top-level `await`; a `title` makes it a file, too;
- `sh` runs in bash; `toml` is read by what it configures, which its `title` says; `json` is parsed;
- `text` right after a block that runs is what that block writes, `...` standing for anything.

A comment before a block says why it is not run: `<!-- not run: it needs a terminal -->`. Python is then compiled and
type-checked all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Final

from attrs import frozen

__all__ = ["ROOT", "Block", "blocks_of", "pages"]

ROOT: Final = Path(__file__).parents[2]

_FENCE: Final = re.compile(r"(?P<indent> *)```(?P<language>[\w+-]*)(?P<info>[^`]*)$")
_TITLE: Final = re.compile(r'title="([^"]+)"')
_INCLUDED: Final = re.compile(r'--8<-- "([^"]+)"\s*')
_NOT_RUN: Final = re.compile(r"<!-- (?:not run: (?P<why>.+)|(?P<command>demo|test)-command) -->")


@frozen
class Block:
    """One code block. `line`: where its code begins, from 1. `why`: the reason for which it is not run."""

    page: Path
    line: int
    language: str
    code: str
    title: str | None = None
    why: str | None = None
    follows: bool = False
    """Whether only blank lines stand between it and the block before it."""

    @property
    def included(self) -> Path | None:
        """The file that it shows instead of code of its own."""
        found = _INCLUDED.fullmatch(self.code)
        return found and ROOT / found[1]

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return the README and every page of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in its order."""
    return list(_blocks(page, page.read_text("utf-8").splitlines()))


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    at = 0
    remark: str | None = None
    follows = False
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            if lines[at].strip():
                told = _NOT_RUN.search(lines[at])
                remark = None if told is None else told["why"] or f"it is the {told['command']} command"
                follows = follows and remark is not None
            at += 1
            continue
        end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() == "```"), None)
        assert end is not None, f"{page}:{at + 1}: the block does not end"
        title = _TITLE.search(fence["info"])
        code = dedent("\n".join(lines[at + 1 : end])) + "\n"
        yield Block(page, at + 2, fence["language"], code, title and title[1], remark, follows)
        at, remark, follows = end + 1, None, True
