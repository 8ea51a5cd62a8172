"""docs/task-files.md: what it says of the file of each tool is what a dry run of that file says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pages
import pytest
from batch_implement.features import source_files
from batch_implement.features.data_formats import yaml_writer

PAGE = pages.REPOSITORY / "docs" / "task-files.md"
SECTIONS = re.split(r"^## (?!Acceptance)", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
FILE = re.compile(r"^`([^`]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SESSION = re.compile(r"^```console\n\$ (batchctl create (\S+) --dry-run)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENVIRONMENT = {**os.environ, "PATH": f"{pages.REPOSITORY / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def write_files(section: str, folder: Path) -> None:
    for name, text in FILE.findall(section):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_the_dry_run_of_the_list_of_each_tool_is_as_shown(section: str, repository: Path) -> None:
    write_files(section, repository)
    ((command, _, shown),) = SESSION.findall(section)
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=repository, env=ENVIRONMENT, check=False, capture_output=True, text=True
    )
    assert done.stdout + done.stderr == shown


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_the_list_of_each_tool_is_the_same_as_yaml(section: str, tmp_path: Path) -> None:
    write_files(section, tmp_path)
    listing = source_files.read_file(str(tmp_path / SESSION.findall(section)[0][1]))
    text = yaml_writer.format_listing(listing, "x")
    again = source_files.parse_text(text.encode(), "x.yaml", "yaml")
    assert [each._replace(line=0) for each in again.features] == [each._replace(line=0) for each in listing.features]


def test_every_tool_of_the_table_is_shown() -> None:
    linked = re.findall(r"^\| \[([^\]]+)\]\(#", PAGE.read_text("utf-8"), re.MULTILINE)
    assert linked == [section.partition("\n")[0] for section in SECTIONS]
