"""What items say that they need."""

from __future__ import annotations

import pytest
from batch_implement.features.list_references import (
    is_broken_near_miss,
    leading_name,
    leading_number,
    read_near_miss,
    read_need_line,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1.2 a", "1.2"),
        ("1.2.3. a", "1.2.3"),
        ("T012 [P] a", "T012"),
        ("**T012** a", "T012"),
        ("[US-3] a", "US-3"),
        ("Task 2.1: a", "2.1"),
        ("M4.2 a", "M4.2"),
        ("a 1.2", ""),
        ("1. a", ""),
        ("3.5mm plugs", ""),
        ("Add T012", ""),
    ],
)
def test_the_id_that_a_text_begins_with_is_its_name(text, name):
    assert leading_name(text) == name


@pytest.mark.parametrize(("text", "number"), [("2. a", 2), ("12) a", 12), ("Task 3: a", 3), ("2.5 a", 0), ("2 a", 0)])
def test_the_number_that_a_text_begins_with_counts(text, number):
    assert leading_number(text) == number


@pytest.mark.parametrize(
    ("inner", "references"),
    [
        ("after 1", ["1"]),
        ("afetr: 1, T003", ["1", "T003"]),
        ("aftr: 2", ["2"]),
        ("depends on: schema", ["schema"]),
        ("depends on T001 and T002", ["T001", "T002"]),
        ("blocked by #12", ["#12"]),
        ("needs: 1 & 2", ["1", "2"]),
        ("requires tasks 1, 2", ["1", "2"]),
        ("needs review", None),
        ("requires: Docker", None),
        ("after the release", None),
        ("after 5 seconds", None),
        ("later: 3", None),
        ("alter: 3", None),
        ("see 1", None),
        ("", None),
    ],
)
def test_a_note_that_is_spelled_otherwise_is_taken_when_it_is_unmistakable(inner, references):
    assert read_near_miss(inner) == references


def test_a_need_with_a_colon_that_names_nothing_is_broken():
    assert is_broken_near_miss("depends on: the schema being there")
    assert not is_broken_near_miss("requires: a lot of time")
    assert not is_broken_near_miss("after a while")
    assert not is_broken_near_miss("note: a b c")


@pytest.mark.parametrize(
    ("line", "references"),
    [
        ("Depends on: 1.2", ["1.2"]),
        ("- **Dependencies:** T001, T002 (the schema)", ["T001", "T002"]),
        ("_Depends on: Task 3_", ["3"]),
        ("Blocked by: none", []),
        ("Dependencies: None (first task)", []),
        ("Depends on: the schema being there", None),
    ],
)
def test_a_line_below_an_item_says_what_the_item_needs(line, references):
    assert read_need_line(line).references == references


@pytest.mark.parametrize("line", ["Independent: 1", "needs 2", "Notes: depends on: 1", "x" * 600 + ": 1"])
def test_other_lines_say_nothing_of_the_kind(line):
    assert read_need_line(line) is None
