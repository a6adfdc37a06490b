"""httpx is imported in one folder only, and errors of httpx and httpx2 are recognised by name."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

import mvsep_async
from mvsep_async.transport.compat import Timeouts, error_names, library_of

PACKAGE = Path(mvsep_async.__file__).parent
SEPARATE = ("transport", "sandbox")
"""The folders that may import an HTTP library: the sandbox is a program of its own."""


def imported(path: Path) -> set[str]:
    """The modules that a file imports when it runs, those for type checkers left out."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_only_the_transport_imports_an_http_library() -> None:
    importing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if imported(path) & {"httpx", "httpx2", "httpcore", "h11"}
    }
    assert importing
    assert {name for name in importing if Path(name).parts[0] not in SEPARATE} == set()


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_client_is_told_by_its_classes(library: Any) -> None:
    class Own(library.AsyncClient):  # type: ignore[misc]
        pass

    async with Own() as http:
        assert library_of(http) is library
    assert library_of(object()) is httpx
    assert error_names(library.ReadTimeout("")) >= {"ReadTimeout", "TimeoutException", "TransportError"}
    assert error_names(TimeoutError()) == frozenset()


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_timeouts_of_either_library(library: Any) -> None:
    assert Timeouts.of(library.Timeout(5.0, read=None)) == Timeouts(5.0, None, 5.0, 5.0)
    assert Timeouts.of(3) == Timeouts(3, 3, 3, 3)
    assert Timeouts.of(Timeouts.of(3)).as_dict() == httpx.Timeout(3).as_dict()
