"""Each list of features that a page shows is read, and one in YAML or JSON fits the published schema as it is.

The first line of an example names its file, or it is accounted for below.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pages
import pytest
import yaml
from batch_implement.features import planner, source_files
from batch_implement.report import status_report
from batch_implement.validation.schema import Schema, load_published

BLOCK = re.compile(r"^```(text|yaml|json|markdown|md|org)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?:# |<!-- )([\w.-]+)(?: -->)?\n")
# What is no list of ours: commands, settings, sessions. `test_task_files` runs those of docs/task-files.md.
OTHERS = re.compile(
    r"/\w+|\{\"permissions|\{\"statusLine|repos:|\{\n  \"yaml.schemas|Read as |\d+ features|Read as|Batch",
    re.DOTALL,
)
EXAMPLES = [
    (page, kind, text)
    for page in [pages.REPOSITORY / "README.md", *sorted((pages.REPOSITORY / "docs").glob("*.md"))]
    if page.name != "task-files.md"
    for kind, text in BLOCK.findall(page.read_text("utf-8"))
    if not OTHERS.match(text)
]


@pytest.mark.parametrize(
    ("page", "kind", "text"), EXAMPLES, ids=lambda value: getattr(value, "name", None) or value[:20]
)
def test_a_list_that_a_page_shows_is_read_and_fits_the_schema(page: Path, kind: str, text: str, tmp_path: Path) -> None:
    name = NAMED.match(text)
    path = tmp_path / (name[1] if name else f"todo.{ {'text': 'txt', 'markdown': 'md'}.get(kind, kind) }")
    path.write_text(text, "utf-8")
    listing = source_files.read_file(str(path))
    planner.check_order(listing)
    if kind in ("yaml", "json"):
        value = yaml.safe_load(text) if kind == "yaml" else json.loads(text)
        assert Schema(load_published("features")).check(value) == []


def test_the_page_of_lists_has_an_example_of_each_form() -> None:
    assert {kind for page, kind, _ in EXAMPLES if page.name == "features.md"} >= {"text", "yaml", "org", "markdown"}


def test_the_dry_run_that_the_page_shows_is_that_of_its_list(tmp_path: Path) -> None:
    page = (pages.REPOSITORY / "docs" / "features.md").read_text("utf-8")
    (text,) = re.findall(r"^```markdown\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(r"^```text\n(Read as .*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "todo.md").write_text(text, "utf-8")
    listing = source_files.read_file(str(tmp_path / "todo.md"))
    state = planner.build_first_state("batch-1", "2026-01-31T23:00:00Z", listing, {}, features_file="todo.md")
    assert status_report.format_plan(state, listing) == shown.rstrip("\n").split("\n")
