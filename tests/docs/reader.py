"""A reader who tries every block of a page, in an empty folder with a few songs, against a sandbox."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import json
import subprocess
import tomllib
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.cli import config_file
from mvsep_async.recipes import read_recipe
from tests.docs.pages import ROOT, Block

__all__ = ["Reader", "compiled"]

_SECONDS: Final = 300.0
_LOOSELY: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def compiled(block: Block) -> Any:
    """Return the block's code object, whose lines are those of the page."""
    source = "\n" * (block.line - 1) + block.code
    return compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@define
class Reader:
    """Tries the blocks of one page. `environ`: what the page's programs see."""

    folder: Path
    environ: Mapping[str, str]
    catalogue: Catalogue
    names: dict[str, Any] = field(factory=lambda: {"__name__": "__main__"})
    """What the page has defined so far."""
    _written: str | None = None

    def read(self, block: Block) -> None:
        """Try a block; raises what it raises, and `AssertionError` where it is not what the page says."""
        written, self._written = self._written, None
        if block.included is not None:
            tested = ROOT / "tests" / "examples" / f"test_{block.included.name}"
            assert block.included.is_file(), f"{block.place}: there is no {block.included}"
            assert tested.is_file(), f"{block.place}: nothing tests {block.included}"
            return
        match block.language:
            case "python" if block.why is not None:
                compiled(block)
            case _ if block.why is not None:
                pass
            case "python":
                self._python(block)
            case "sh":
                self._shell(block)
            case "toml":
                self._toml(block)
            case "json" if block.follows and written is not None:
                self._same_shape(block, written)
            case "json":
                json.loads(block.code)
            case "text" if block.follows and written is not None:
                alike = doctest.OutputChecker().check_output(block.code, written, _LOOSELY)
                assert alike, f"{block.place}: it writes\n{written}\nwhere the page says\n{block.code}"
            case _:
                raise AssertionError(f"{block.place}: nobody checks blocks in {block.language or 'no language'}")

    def _python(self, block: Block) -> None:
        if block.title is not None:
            self._file(block)
            if block.title.startswith("test_"):
                # Hypothesis takes two seconds to load, and no page uses it.
                settings = "" if (self.folder / "pyproject.toml").exists() else "-o asyncio_mode=auto"
                self._shell(
                    block, f"python -m pytest -q -p no:cacheprovider -p no:hypothesispytest {settings} {block.title}"
                )
                return
        with redirect_stdout(io.StringIO()) as written:
            running = eval(compiled(block), self.names)  # the documentation is ours
            if inspect.iscoroutine(running):
                asyncio.run(asyncio.wait_for(running, _SECONDS))
        self._written = self._at_home(written.getvalue())

    def _shell(self, block: Block, script: str | None = None) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script or block.code],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block.place}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        self._written = self._at_home(done.stdout)

    def _toml(self, block: Block) -> None:
        tomllib.loads(block.code)
        match block.title:
            case "pyproject.toml":
                self._file(block)  # pytest, which is run here, goes by it
            case "config.toml":
                path = config_file.config_path()
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.code, "utf-8")
                path.chmod(0o600)
                assert config_file.read(path)
            case str():
                read_recipe(self._file(block)).resolve(self.catalogue)
            case None:
                raise AssertionError(f"{block.place}: give it a title, which says what it configures")

    def _same_shape(self, block: Block, written: str) -> None:
        shown, real = (set(json.loads(text.splitlines()[0])) for text in (_flat(block.code), written))
        assert shown == real, f"{block.place}: the keys are {sorted(real)}"

    def _at_home(self, written: str) -> str:
        """Return what was written as it would be in a reader's own folder."""
        return written.replace(str(self.folder), "/home/you")

    def _file(self, block: Block) -> Path:
        assert block.title is not None
        path = self.folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, "utf-8")
        return path


def _flat(code: str) -> str:
    return json.dumps(json.loads(code))
