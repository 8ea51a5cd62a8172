"""`batchctl convert`: any list as YAML, on standard output or in a file that is new."""

from __future__ import annotations

import json
import os

import pytest

STORIES = {
    "userStories": [{"id": "US-1", "title": "Pay", "passes": False}, {"id": "US-2", "title": "Buy", "passes": True}]
}
YAML = """\
# 1 feature of prd.json
# Read as Ralph prd.json: 1 open of 2
# Left out: 1
#   line 1: US-2 Buy (done)

features:
  - id: "US-1"
    title: "Pay"
"""


@pytest.fixture
def prd(repository):
    (repository / "prd.json").write_text(json.dumps(STORIES))
    return repository


def test_a_list_of_a_tool_is_printed_as_yaml(prd, typed):
    assert typed("convert", "prd.json") == (0, YAML, "")


def test_what_is_printed_makes_the_same_batch(prd, typed):
    (prd / "prd.yaml").write_text(typed("convert", "prd.json")[1])
    plan = [
        json.loads(typed("create", name, "--dry-run", "--json")[1])["features"] for name in ("prd.json", "prd.yaml")
    ]
    assert plan[0] == plan[1]


def test_the_file_is_written_where_nothing_is(prd, typed):
    status, out, err = typed("convert", "prd.json", "-o", "prd.yaml")
    assert (status, err) == (0, "")
    assert out == f"1 feature is in {prd}/prd.yaml; comments in it name what is left out (1).\n"
    assert (prd / "prd.yaml").read_text() == YAML
    assert sorted(path.name for path in prd.iterdir() if path.name.startswith(".prd")) == []


@pytest.mark.parametrize("make", [lambda path: path.write_text("mine"), lambda path: path.symlink_to("nowhere")])
def test_no_file_and_no_link_is_overwritten(make, prd, typed):
    make(prd / "out.yaml")
    status, _, err = typed("convert", "prd.json", "--output", "out.yaml")
    assert status == 2 and "out.yaml already exists and is not overwritten. Give another path." in err
    assert os.path.islink(prd / "out.yaml") or (prd / "out.yaml").read_text() == "mine"
    assert not (prd / "nowhere").exists()


@pytest.mark.parametrize("name", [".claude/batch_state.json", ".git/hooks/post-commit", "nowhere/out.yaml"])
def test_nothing_is_written_where_state_and_git_are(name, prd, typed):
    (prd / ".claude").mkdir(exist_ok=True)
    assert typed("convert", "prd.json", "-o", name)[0] == 2
    assert not (prd / name).exists()


def test_as_json_it_says_what_is_left_out(prd, typed):
    data = json.loads(typed("convert", "prd.json", "--json")[1])
    assert data["yaml"] == YAML and data["format"] == "Ralph prd.json: 1 open of 2"
    assert data["left_out"] == [{"line": 1, "text": "US-2 Buy", "reason": "done"}]


def test_a_list_of_ours_is_converted_too(repository, typed):
    (repository / "list.txt").write_text("Add a page (id: page)\nStyle it (after: page)\n")
    assert typed("convert", "list.txt")[1].endswith(
        'features:\n  - id: "page"\n    title: "Add a page"\n  - title: "Style it"\n    depends_on: ["page"]\n'
    )


def test_a_list_that_cannot_be_read_is_refused_as_by_create(repository, typed):
    status, out, err = typed("convert", "missing.txt")
    assert (status, out) == (2, "") and "file not found" in err
