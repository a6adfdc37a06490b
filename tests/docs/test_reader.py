"""The reader of the pages notices what a page promises and the code does not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async import MVSepError
from mvsep_async.cli.exits import UsageProblem
from tests.docs.pages import ROOT, Block, blocks_of
from tests.docs.reader import Reader

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "made-up.md"


def block(language: str, code: str, **fields: object) -> Block:
    return Block(PAGE, 7, language, code, **fields)  # type: ignore[arg-type]


def page_of(tmp_path: Path, *lines: str) -> list[Block]:
    page = tmp_path / "page.md"
    page.write_text("\n".join(lines), "utf-8")
    return blocks_of(page)


def test_blocks_know_their_place(tmp_path: Path) -> None:
    blocks = page_of(
        tmp_path, "# Page", "", '```python title="a.py"', "one()", "```", "", "```text", "1", "```", "", "Words.", "",
        "<!-- not run: it takes a year -->", "```sh", "sleep 1y", "```", "- in a list:", "  ```json", "  {}", "  ```",
    )  # fmt: skip
    assert [(one.language, one.line, one.code) for one in blocks] == [
        ("python", 4, "one()\n"),
        ("text", 8, "1\n"),
        ("sh", 15, "sleep 1y\n"),
        ("json", 19, "{}\n"),
    ]
    assert [one.title for one in blocks] == ["a.py", None, None, None]
    assert [one.follows for one in blocks] == [False, True, False, False]
    assert [one.why for one in blocks] == [None, None, "it takes a year", None]


def test_a_block_without_an_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="does not end"):
        page_of(tmp_path, "```python", "one()")


@pytest.mark.parametrize(
    "wrong",
    [
        block("python", "1 / 0\n"),
        block("python", "import asyncio\nawait asyncio.sleep(0)\nraise ValueError\n"),
        block("python", "no python at all\n", why="it is not run"),
        block("sh", "mvsep-async no-such-command\n"),
        block("sh", "false | true\n"),
        block("json", "{not json}\n"),
        block("toml", "a = \n", title="pyproject.toml"),
        block("toml", 'tokn = "x"\n', title="config.toml"),
        block("toml", '[[step]]\nname = "a"\nalgorithm = "no such thing"\n', title="recipe.toml"),
        block("toml", "a = 1\n"),
        block("text", "who says so?\n"),
        block("ruby", "puts 1\n"),
        block("python", '--8<-- "examples/no_such_example.py"\n'),
        block("python", '--8<-- "scripts/update_catalogue.py"\n'),
        block("python", "def test_it():\n    assert False\n", title="test_it.py"),
    ],
    ids=lambda one: f"{one.language}: {one.code.splitlines()[0]}",
)
def test_what_is_wrong_is_noticed(reader: Reader, wrong: Block) -> None:
    with pytest.raises((AssertionError, ArithmeticError, ValueError, SyntaxError, MVSepError, UsageProblem)):
        reader.read(wrong)


def test_output_is_compared(reader: Reader) -> None:
    reader.read(block("python", "print('one')\nprint('two')\n"))
    with pytest.raises(AssertionError, match="where the page says"):
        reader.read(block("text", "one\nthree\n", follows=True))
    reader.read(block("sh", "pwd\n"))
    reader.read(block("text", "/home/you\n", follows=True))


def test_json_output_must_have_the_keys_that_the_page_shows(reader: Reader) -> None:
    reader.read(block("sh", """echo '{"a": 1}'\n"""))
    with pytest.raises(AssertionError, match="the keys are"):
        reader.read(block("json", '{"b": 2}\n', follows=True))


def test_blocks_of_a_page_share_names_and_run_in_its_folder(reader: Reader) -> None:
    reader.read(block("python", "from pathlib import Path\nsize = Path('song.flac').stat().st_size\n"))
    reader.read(block("python", "assert size > 100\n"))


def test_lines_of_errors_are_those_of_the_page(reader: Reader) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        reader.read(block("python", "x = 1\nx / 0\n"))
    assert Path(caught.traceback[-1].path) == PAGE
    assert caught.traceback[-1].lineno == 7  # counted from 0
