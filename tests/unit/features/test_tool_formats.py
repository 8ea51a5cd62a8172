"""Task files of other tools, read as lists of features.

Each file (and the folder) in `tool_lists/` is one of a tool, made up for these tests; `NAME.expected` beside it has
what a person would take from it, in the form of `tool_list_format`. Adding a pair adds a test.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import listings
import pytest
import tool_list_format
from batch_implement.core.errors import UsageError
from batch_implement.features import planner, source_files
from batch_implement.features.feature_list import ListOptions
from batch_implement.validation import file_validation

LISTS = Path(__file__).with_name("tool_lists")
PATHS = sorted(path for path in LISTS.iterdir() if path.suffix != ".expected")


def read(value, tag="", leaves=False):
    text = value if isinstance(value, str) else json.dumps(value)
    return source_files.parse_text(text.encode(), "f.json", "json", ListOptions(tag=tag, leaves=leaves))


def refusal(value, **options):
    return listings.refusal(read, value, **options)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_list_of_a_tool_is_read_as_a_person_would(path):
    listing = tool_list_format.read(path)
    planner.check_order(listing)
    assert tool_list_format.describe(listing) == path.with_name(f"{path.name}.expected").read_text("utf-8")


def test_every_list_has_its_expectation():
    expected = {path.name.removesuffix(".expected") for path in LISTS.iterdir() if path.suffix == ".expected"}
    assert expected == {path.name for path in PATHS}


@pytest.mark.parametrize("path", [path for path in PATHS if "--" not in path.name], ids=lambda path: path.name)
def test_validate_accepts_what_create_reads(path):
    assert file_validation.is_features_file(str(path))
    assert file_validation.check_features_file(str(path)) == []


TWO_TAGS = {
    "api": {"tasks": [{"id": 1, "title": "A", "status": "pending", "dependencies": []}]},
    "web": {"tasks": [{"id": 1, "title": "B", "status": "done", "dependencies": []}]},
}


def test_several_tags_without_a_choice_are_named_with_what_is_open_in_them():
    said = "Task Master tasks.json: several tags. Choose one with `--tag NAME`: api (1 open of 1), web (0 open of 1)."
    assert refusal(TWO_TAGS) == f"f.json: {said}"


def test_an_unknown_tag_is_refused_with_those_there_are():
    assert "unknown tag 'wbe'. Choose one with `--tag NAME`: api (1 open of 1), web" in refusal(TWO_TAGS, tag="wbe")


@pytest.mark.parametrize("value", [["A"], [{"description": "A", "passes": False}], {"userStories": [{"title": "A"}]}])
def test_a_tag_for_a_list_of_something_else_is_refused(value):
    assert "this is no Task Master file, so it has no tags. Leave `--tag` out." in refusal(value, tag="x")


def test_a_master_without_open_tasks_is_not_taken_for_the_end_of_work():
    tags = {"master": TWO_TAGS["web"], "api": TWO_TAGS["api"]}
    assert "the tag master has no open task. Choose one with `--tag NAME`: master (0 open of 1), api" in refusal(tags)


def test_a_tag_for_a_file_without_tags_is_refused():
    tasks = {"tasks": [{"id": 1, "title": "A", "testStrategy": "", "status": "pending"}]}
    assert "the file has no tags, so none is called 'x'. Leave `--tag` out." in refusal(tasks, tag="x")


def test_a_list_without_open_tasks_says_what_became_of_them():
    stories = [{"title": "A", "passes": True}, {"title": "B", "status": "cancelled"}]
    assert "no open tasks (1 done, 1 cancelled)." in refusal({"userStories": stories})
    doubtful = [{"title": "A", "passes": True, "status": "partial"}]
    assert "(1 done). The status 'partial' with `passes: true` is taken as done. Reopen" in refusal(
        {"userStories": doubtful}
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"branchName": "x", "userStories": []}, "`userStories` is empty. Add what is to be done."),
        ({"project": "x", "features": []}, "`features` is empty. Add what is to be done."),
        ({"userStories": [{"passes": False}]}, "f.json:1: this entry has neither a title nor a description."),
        (
            {"master": {"tasks": [{"title": "A"}, {"id": 2}]}},
            "f.json:1: this entry has neither a title nor a description.",
        ),
        ([{"title": "A", "status": "todo"}, {"status": "todo"}], "this entry has neither a title nor a description."),
        ([{"number": 3, "state": "OPEN"}], "Write the list with `gh issue list --json number,title,body,state`."),
    ],
)
def test_what_a_list_of_a_tool_lacks_is_said(value, said):
    assert said in refusal(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([{"title": "A", "verfiy": "make"}], "unknown property 'verfiy'. Did you mean `verify`?"),
        ([{"title": "A", "verify": "make", "status": "todo"}], "unknown property 'status'"),
        ({"features": [{"title": "A", "depends": [1]}]}, "unknown property 'depends'. Did you mean `depends_on`?"),
        ({"features": [{"title": "A", "priorty": 1}]}, "unknown property 'priorty'"),
        ({"defaults": {}, "features": [{"title": "A", "passes": False}]}, "unknown property 'passes'"),
    ],
)
def test_an_error_in_a_list_of_ours_is_not_taken_for_a_list_of_a_tool(value, said):
    assert said in refusal(value)


def test_a_circle_of_tasks_is_refused_by_name():
    tasks = [{"id": one, "title": one.upper(), "status": "todo", "needs": [two]} for one, two in ("ab", "ba")]
    with pytest.raises(UsageError, match=r"cycle: 1 \(`A`\) needs 2 \(`B`\), which needs 1"):
        planner.check_order(read(tasks))


def test_a_part_that_needs_its_whole_comes_after_it():
    tasks = [
        {"id": "a", "title": "Whole", "status": "todo"},
        {"id": "a.1", "title": "Part", "status": "todo", "parent": "a", "depends_on": ["a"]},
        {"id": "a.2", "title": "Other part", "status": "todo", "parent": "a"},
    ]
    listing = read(tasks)
    assert [feature.details.get("depends_on") for feature in listing.features] == [["a.2"], ["a"], None]
    assert listing.notes == []


def test_what_is_too_long_is_cut_and_says_where_the_rest_is():
    steps = [{"id": number, "title": f"S{number}", "status": "todo", "details": "x" * 30_000} for number in (1, 2)]
    tasks = {"tasks": [{"id": 1, "title": "A", "status": "todo", "testStrategy": "t", "subtasks": steps}]}
    listing = read(tasks)
    (feature,) = listing.features
    assert len(feature.details["description"]) == 50_000
    assert feature.details["description"].endswith("\n\n[cut after 50,000 characters; all of it is in f.json, line 1]")
    assert "1 A: cut after 50,000 characters. `--leaves` makes each subtask a feature." in listing.notes
    assert [len(each.details["description"]) < 40_000 for each in read(tasks, leaves=True).features] == [True, True]


def test_an_object_without_a_list_is_said_to_be_one():
    said = "no list of features: this is an object with `version`, `command`. Give a list, or an object with the list"
    assert refusal({"version": "2", "command": "make"}).startswith(f"f.json:1: {said} in `features`;")


def test_a_line_of_json_that_is_broken_is_named():
    with pytest.raises(UsageError, match=r"f.jsonl:3: not JSON: .* In JSON lines each line is a whole value\."):
        source_files.parse_text(b'{"title": "A", "status": "todo"}\n\n{"title": \n', "f.jsonl", "jsonl")


def test_a_folder_of_something_else_is_refused_as_before(tmp_path):
    (tmp_path / "notes.md").write_text("# Notes\n")
    (tmp_path / "1-notes.md").write_text("# Notes\n")
    with pytest.raises(UsageError, match="this is a directory"):
        source_files.read_file(str(tmp_path))


@pytest.mark.parametrize("below", ["backlog", "backlog/tasks", "."])
def test_the_folder_of_backlog_md_is_found_from_the_project_and_from_the_tasks(below, tmp_path):
    shutil.copytree(LISTS / "backlog", tmp_path / "backlog")
    listing = source_files.read_file(str(tmp_path / below))
    assert tool_list_format.describe(listing) == (LISTS / "backlog.expected").read_text("utf-8")


def test_a_title_that_an_editor_put_on_a_line_of_its_own_is_read(tmp_path):
    (tmp_path / "task-1 - Map.md").write_text("---\nid: task-1\ntitle:\n  Draw 'a map'\n  of it\nstatus: To Do\n---\n")
    (feature,) = source_files.read_file(str(tmp_path)).features
    assert feature.text == "Draw 'a map' of it"


def test_a_title_with_control_characters_is_cleaned_everywhere():
    listing = read([{"id": "\x1b[1m", "title": "A\x1b[31m\u202eB", "status": "to\x07do", "steps": ["\x1b]0;x\x07"]}])
    assert tool_list_format.describe(listing).replace("\n", "").isprintable()


def test_entries_that_are_the_same_in_everything_are_told_apart():
    entries = [
        {"title": "A", "status": "todo"},
        {"title": "a", "status": "todo"},
        {"title": "A", "done": False, "id": "x"},
    ]
    listing = read(entries)
    assert [feature.text for feature in listing.features] == ["A", "a (2)", "A (x)"]
    assert "A feature that is there more than once: 'a (2)'." in listing.notes
