"""The README's lines for Claude Code work in the real one, in a home of its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from client import Client, ClientMissing, new_project

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PLACEHOLDER = "/path/to/batch-implement"
NOT_CLONED = shutil.ignore_patterns(".git", ".venv*", "node_modules", "build", "__pycache__", ".*_cache", ".hypothesis")


class NoModel:
    """No model: nothing here gets so far."""

    url = "http://127.0.0.1:9"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client that has never heard of the plugin."""
    try:
        made = Client(new_project(tmp_path / "project"), NoModel(), None, tmp_path / "home")
    except ClientMissing as missing:
        pytest.skip(str(missing))
    with made:
        yield made


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a clone of this repository has."""
    shutil.copytree(REPOSITORY, tmp_path / "clone", symlinks=True, ignore=NOT_CLONED)
    return tmp_path / "clone"


@pytest.fixture
def installed(client: Client, clone: Path) -> Client:
    """The client, after the two install lines."""
    lines = re.findall(r"^/plugin (.*)$", README, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        words = line.replace(PLACEHOLDER, str(clone)).split()
        done = client.command("plugin", *words, env={"NPM_CONFIG_OFFLINE": "true"})
        assert done.returncode == 0, done.stdout + done.stderr
    return client


def test_the_install_lines_install_the_plugin(installed: Client) -> None:
    assert "batch-implement@batch-implement" in installed.command("plugin", "list").stdout


@pytest.mark.prove
def test_the_lines_that_take_it_out_leave_neither_plugin_nor_marketplace(installed: Client) -> None:
    page = (REPOSITORY / "docs" / "install.md").read_text(encoding="utf-8")
    lines = re.findall(r"^claude (plugin (?:uninstall|marketplace remove) .*)$", page, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        done = installed.command(*line.split())
        assert done.returncode == 0, done.stdout + done.stderr
    for shown in ("list", "marketplace list"):
        assert "batch-implement" not in installed.command("plugin", *shown.split()).stdout


# Fails as long as the root package.json names dependencies: Claude Code then runs `npm ci` in its copy of the plugin.
def test_installing_brings_nothing_from_npm(installed: Client) -> None:
    assert not list(installed.home.rglob("node_modules"))
    assert not (installed.home / ".npm").exists()


def test_every_option_of_claude_that_is_shown_exists(client: Client) -> None:
    known = client.command("--help").stdout
    pages = README + (REPOSITORY / "docs" / "start.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\$ )?claude (.*)$", pages, re.MULTILINE)
    assert len(lines) > 1
    for line in lines:
        for option in re.findall(r"(?<=\s)--?[a-z-]+", " " + re.sub(r'".*?"', "", line)):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", known), f"claude has no {option}"
