"""ARCHITECTURE.md is true: it names every file, and no file reaches out further than its rules allow.

That a file imports only what stands below it is import-linter's to say (test_imports.py). It needs Python 3.11, and one
version is enough: what a file imports is the same in all.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rooms import PAGE, groups, listed

REPOSITORY = Path(__file__).resolve().parents[2]
LIB = REPOSITORY / "lib"
PACKAGE = LIB / "batch_implement"
FILES = sorted(PACKAGE.rglob("*.py"))
OPTIONAL = {"jsonschema", "yaml", "rich", "distributed", "dask"}
PURE_MAY_IMPORT = {
    "__future__", "re", "typing", "heapq", "itertools", "math", "difflib", "datetime", "zoneinfo", "html",
}  # fmt: skip
EXCEPTIONS = {"report": {"listing"}, "story": {"features"}}  # for `clean`, which is pure itself


def pure() -> list[str]:
    """The modules that rule 2 names."""
    rule = re.search(r"\*\*Pure middle\.\*\* (.*?) touch no file", PAGE, re.DOTALL)
    assert rule
    return re.findall(r"`(\w+)`", rule.group(1))


def room(path: Path) -> str:
    """The room that a file is in: itself, or the folder of which the page lists no file."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0] if parts[0] in listed() else "/".join(parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(level, module) of every import that a file does when it runs: level 0 is absolute, any other one of ours."""

    def walk(node: ast.AST) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            yield from ((0, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            of_folder = node.level and (node.module is None or (PACKAGE / node.module).is_dir())
            module = (node.module or "") if node.level == 0 else (node.module or "").split(".")[-1]
            yield from ((node.level, name.name if of_folder else module) for name in node.names)
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    return walk(ast.parse(path.read_text(encoding="utf-8")))


def test_the_page_names_every_file_of_the_package_and_no_other() -> None:
    assert sorted(listed()) == sorted({room(path) for path in FILES if path.name != "__init__.py"})


def test_no_group_is_longer_than_a_look() -> None:
    assert {heading for heading, group in groups().items() if not 1 < len(group) <= 11} == set()


@pytest.mark.parametrize("name", pure())
def test_a_pure_module_imports_nothing_that_reaches_out(name: str) -> None:
    (file,) = PACKAGE.rglob(f"{name}.py")
    for level, module in imports(file):
        ours = {*pure(), "errors"} | EXCEPTIONS.get(name, set())
        assert module in (ours if level else PURE_MAY_IMPORT), f"{name} imports {module}"


@pytest.mark.parametrize("path", sorted(LIB.rglob("*.py")), ids=lambda path: str(path.relative_to(LIB)))
def test_a_file_needs_the_standard_library_alone(path: Path) -> None:
    ours = {"batch_implement", *(file.stem for file in LIB.glob("*.py"))}
    for level, module in imports(path):
        name = module.split(".")[0]
        if level == 0 and name not in ours | OPTIONAL:
            found = importlib.util.find_spec(name)
            assert found or name.startswith("_"), f"{path.name} imports {name}"  # `_sha2` is not in every version
            assert not found or "site-packages" not in (found.origin or ""), f"{path.name} imports {name}"
