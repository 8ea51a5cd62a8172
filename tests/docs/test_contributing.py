"""CONTRIBUTING.md names paths and targets of make that exist."""

from __future__ import annotations

import re

import pages
import pytest
from pages import REPOSITORY

PAGE = REPOSITORY / "CONTRIBUTING.md"
_PATHS = tuple(f"{folder}/" for folder in ("lib", "tests", "scripts", "hooks", "schemas", "docs", "agents", ".ci"))
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def missing(span: str) -> str:
    """Return why a path or target between backticks does not exist; empty if it does or if it is neither."""
    if span.startswith("make "):
        return "" if span.removeprefix("make ") in TARGETS else "no such target"
    path = span.rsplit(" pytest ", maxsplit=1)[-1].removeprefix(".venv/bin/python ")
    return "no such path" if path.startswith(_PATHS) and not (REPOSITORY / path).exists() else ""


def test_every_path_and_target_exists() -> None:
    assert {span: why for span in pages.spans(PAGE) if (why := missing(span))} == {}


@pytest.mark.parametrize(
    "span", ["lib/no.py", "make nothing", "x -m pytest tests/unit/no.py", ".venv/bin/python scripts/no.py"]
)
def test_a_path_or_target_that_does_not_exist_is_noticed(span: str) -> None:
    assert missing(span)
