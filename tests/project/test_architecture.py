"""The structure of the package, checked from the imports and assignments as they are."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

import mvsep_async

PACKAGE: Final = Path(mvsep_async.__file__).parent

LAYERS: Final = (
    "cli",
    "testing webhooks library mcp",
    "recipes",
    "client",
    "scheduling",
    "submission postgres",
    "polling download journal",
    "jobs config",
    "endpoints",
    "observe catalogue",
    "models",
    "http",
    "transport audio",
    "naming sources concurrency postgres_url",
    "backoff errors",
)
"""The parts of the package from the top: a part imports those below it, and none beside or above it."""

FREE: Final = frozenset({"sandbox", "__init__", "__main__", "_lazy", "_version"})
"""The sandbox is a server, not a part of the client; the others only name what is elsewhere."""


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES: Final = modules()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of the package that a file imports when it runs, inside functions too."""
    for node in running(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mvsep_async"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def running(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from running(child)


@cache
def imports() -> dict[str, set[str]]:
    """Return what each module imports of the package. Not when the tests are collected, which every worker does."""
    return {name: set(imported(path)) - {name, "mvsep_async"} for name, path in MODULES.items()}


def test_no_files_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for other in imports()[name] & MODULES.keys():
                visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def part_of(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def test_every_part_has_its_layer() -> None:
    named = [part for layer in LAYERS for part in layer.split()]
    assert sorted(named) == sorted({part_of(name) for name in MODULES} - FREE)


def test_no_import_runs_up_or_sideways() -> None:
    level = {part: number for number, layer in enumerate(LAYERS) for part in layer.split()}
    wrong = [
        f"{name} imports {other}"
        for name, others in imports().items()
        for other in others
        if part_of(name) not in FREE
        and part_of(other) not in FREE
        and part_of(name) != part_of(other)
        and level[part_of(name)] >= level[part_of(other)]
    ]
    assert wrong == []


@pytest.mark.parametrize("attribute", ["state", "facts", "request", "progress"])
def test_only_the_registry_changes_a_job(attribute: str) -> None:
    """A job is called `job` or `entry` everywhere, so an assignment to its attributes shows."""
    wrong = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        if name != "mvsep_async.jobs.registry" and part_of(name) != "sandbox"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and node.attr == attribute
        and isinstance(node.value, ast.Name)
        and node.value.id in ("job", "entry", "known")
    ]
    assert wrong == []


def test_httpx_is_named_at_run_time_in_the_transport_alone() -> None:
    naming = {
        name
        for name, path in MODULES.items()
        if part_of(name) not in ("sandbox", "transport")
        for node in running(parsed(path))
        if (isinstance(node, ast.Import) and any(alias.name in ("httpx", "httpx2") for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("httpx", "httpx2"))
    }
    assert naming <= {"mvsep_async.client", "mvsep_async.config"}


def test_every_package_that_is_imported_is_required() -> None:
    """What is there because another package requires it may be gone with that package's next version."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    required = {normalized(re.split(r"[^\w.-]", line)[0]) for line in lines}
    homes = packages_distributions()
    imports = {
        (name, top)
        for name, path in MODULES.items()
        for node in running(parsed(path))
        for top in top_packages(node) - sys.stdlib_module_names - {"mvsep_async"}
    }
    assert len(imports) > 20
    assert [(name, top) for name, top in imports if not required & set(map(normalized, homes.get(top, ())))] == []


def top_packages(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    return {node.module.split(".")[0]} if isinstance(node, ast.ImportFrom) and node.module and not node.level else set()


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
