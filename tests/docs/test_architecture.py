"""Every file of lib/ needs the standard library alone, besides the optional packages."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[2] / "lib"
OPTIONAL = {"jsonschema", "yaml", "rich", "distributed", "dask"}


def imports(path: Path) -> Iterator[str]:
    """Yield the top-level name of every absolute import that a file does when it runs."""

    def walk(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    return walk(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", sorted(LIB.rglob("*.py")), ids=lambda path: str(path.relative_to(LIB)))
def test_a_file_needs_the_standard_library_alone(path: Path) -> None:
    ours = {"batch_implement", *(file.stem for file in LIB.glob("*.py"))}
    for name in imports(path):
        if name not in ours | OPTIONAL:
            spec = importlib.util.find_spec(name)
            assert spec or name.startswith("_"), f"{path.name} imports {name}"  # `_sha2` is not in every version
            assert not spec or "site-packages" not in (spec.origin or ""), f"{path.name} imports {name}"
