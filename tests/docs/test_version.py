"""One version: `lib/batch_implement/__init__.py` has it, and whoever else shows one shows the same."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from batch_implement import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
SHOWN_IN = (
    ".claude-plugin/plugin.json", ".claude-plugin/marketplace.json", "package.json", "pyproject.toml", "CHANGELOG.md",
    "lib/batch_implement/__init__.py",
)  # fmt: skip


def shown(root: Path) -> dict[str, str | None]:
    """The version that each file shows; None where it shows none."""
    text = {name: (root / name).read_text(encoding="utf-8") for name in SHOWN_IN}
    [listed] = json.loads(text[".claude-plugin/marketplace.json"])["plugins"]
    patterns = {
        "pyproject.toml": r'^version = "(.*)"',
        "CHANGELOG.md": r"^## \[(\d\S*)\]|^The first version, (\d+\.\d+\.\d+)",
        "lib/batch_implement/__init__.py": r'^__version__ = "(.*)"',
    }
    found = {
        ".claude-plugin/plugin.json": json.loads(text[".claude-plugin/plugin.json"]).get("version"),
        ".claude-plugin/marketplace.json": listed.get("version"),
        "package.json": json.loads(text["package.json"]).get("version"),
    }
    for name, pattern in patterns.items():
        match = re.search(pattern, text[name], re.MULTILINE)
        found[name] = next(filter(None, match.groups())) if match else None
    return found


MUST_SHOW = {".claude-plugin/plugin.json", "CHANGELOG.md", "lib/batch_implement/__init__.py"}


def troubles(root: Path) -> list[str]:
    """The files that show another version than the package, or none though they must."""
    every = shown(root)
    one = every["lib/batch_implement/__init__.py"]
    return [name for name in SHOWN_IN if (every[name] or name in MUST_SHOW) and every[name] != one]


def test_every_file_that_shows_a_version_shows_that_of_the_package() -> None:
    assert troubles(REPOSITORY) == []
    assert shown(REPOSITORY)["lib/batch_implement/__init__.py"] == __version__


def test_a_distribution_takes_its_version_from_the_package() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in project
    assert 'version = { attr = "batch_implement.__version__" }' in project


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (".claude-plugin/plugin.json", f'"version": "{__version__}"', '"version": "9.9.9"'),
        (".claude-plugin/plugin.json", f'"version": "{__version__}",', ""),
        (".claude-plugin/marketplace.json", '"source": "./"', '"source": "./", "version": "9.9.9"'),
        ("package.json", '"private": true', '"private": true, "version": "9.9.9"'),
        ("pyproject.toml", 'dynamic = ["version"]', 'version = "9.9.9"'),
        ("CHANGELOG.md", "## [Unreleased]", "## [9.9.9]"),
    ],
)
def test_another_version_is_noticed(tmp_path: Path, name: str, old: str, new: str) -> None:
    for each in SHOWN_IN:
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / each, tmp_path / each)
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert troubles(tmp_path) == [name]
