"""What a feature is, whatever it was written in: its notes, and how texts are cleaned."""

from __future__ import annotations

import time

import pytest
from batch_implement.base.text import clean_block
from batch_implement.core.errors import UsageError
from batch_implement.features import feature_list
from batch_implement.features.feature_list import Feature, parse_feature


@pytest.mark.parametrize(
    ("written", "text", "details"),
    [
        ("Add a login page", "Add a login page", {}),
        ("Add a page (after: 2, schema)", "Add a page", {"depends_on": ["2", "schema"]}),
        ("Add a table (id: schema)", "Add a table", {"id": "schema"}),
        ("a (id: b-1.x_Y) (after: #12)", "a", {"id": "b-1.x_Y", "depends_on": ["#12"]}),
        ("a(after:1)(id:7b)", "a", {"depends_on": ["1"], "id": "7b"}),
        ("a ( AFTER : 1 ,2 )  ( Id : b )  ", "a", {"depends_on": ["1", "2"], "id": "b"}),
        ("\ta\u202e (after:\t1)\x1b", "a", {"depends_on": ["1"]}),
        ("Add a page (again) (after: 1)", "Add a page (again)", {"depends_on": ["1"]}),
        ("Open it after lunch (after all)", "Open it after lunch (after all)", {}),
        ("Show the user (id: 5) in the list", "Show the user (id: 5) in the list", {}),
        ("Take (a, b) and :)", "Take (a, b) and :)", {}),
        ("see (before: 1)", "see (before: 1)", {}),
        ("the morning after: 5)", "the morning after: 5)", {}),
        (")", ")", {}),
        ("x ()", "x ()", {}),
    ],
)
def test_notes_at_the_end_of_a_text_are_taken_off_it_and_all_else_stays(written, text, details):
    assert parse_feature(written, "f.txt", 3) == Feature(text, 3, details)


@pytest.mark.parametrize(
    ("written", "fragment"),
    [
        ("a (after:)", "invalid reference '' in `(after: ...)`"),
        ("a (after: )", "invalid reference ''"),
        ("a (after: 1,)", "invalid reference ''"),
        ("a (after: 1 2)", "invalid reference '1 2'"),
        ("a (after: lunch break)", "invalid reference 'lunch break'"),
        ("a (after: ü)", "invalid reference 'ü'"),
        ("a (after: #0)", "invalid reference '#0'"),
        ("a (after: " + "x" * 65 + ")", "invalid reference"),
        ("a (after: 1, x, X)", "names a feature twice"),
        ("a (after: 1", "'(after: 1' looks like a note"),
        ("a (after: 1).", "'(after: 1).' looks like a note"),
        ("a (after: 1) b (id: x)", "'(after: 1) b' looks like a note"),
        ("a (after: (1))", "looks like a note"),
        ("a (after: f(1))", "looks like a note"),
        ("a (id: x", "'(id: x' looks like a note"),
        ("a (id:)", "not digits alone"),
        ("a (id: 12)", "not digits alone"),
        ("a (id: a b)", "not digits alone"),
        ("a (id: é)", "not digits alone"),
        ("a (id: " + "x" * 65 + ")", "not digits alone"),
        ("a (id: x) (id: y)", "`(id: ...)` is there twice"),
        ("a (after: 1) (id: y) (after: 2)", "`(after: ...)` is there twice"),
        ("(after: 1)", "a note without a feature"),
    ],
)
def test_a_note_that_is_malformed_is_refused_with_its_line_and_the_form(written, fragment):
    with pytest.raises(UsageError) as caught:
        parse_feature(written, "f.txt", 3)
    assert caught.value.message.startswith("f.txt:3: ")
    assert fragment in caught.value.message


def test_the_longest_id_and_reference_are_taken():
    feature = parse_feature(f"a (id: {'x' * 64}) (after: {'9' * 64}, #999999999)", "f", 1)
    assert feature.details == {"id": "x" * 64, "depends_on": ["9" * 64, "#999999999"]}


def test_odd_texts_take_linear_time():
    for text in ("(" * 200_000, "(after" * 50_000, "( " * 100_000 + ")", "(id:" * 50_000, "(" + " " * 200_000 + ")"):
        begun = time.monotonic()
        try:
            parse_feature(text, "f", 1)
        except UsageError:
            pass
        assert time.monotonic() - begun < 2


def test_a_block_keeps_its_line_breaks_and_indentation_and_loses_what_could_hide():
    assert clean_block("\r\n  a\tb\x1b[0m \r\n\r\n\u202ec\rd\u2028e  \n\n") == "  a b [0m\n\n c\nd\ne"


def test_features_on_one_line_are_named_by_their_numbers():
    with pytest.raises(UsageError, match=r"f:1: the same feature as number 1\."):
        feature_list.check_features([Feature("a", 1), Feature("b", 1), Feature("A", 1)], "f")
    with pytest.raises(UsageError, match="f:1: the feature number 2 has the id 'X' too"):
        feature_list.check_features([Feature("a", 1), Feature("b", 1, {"id": "x"}), Feature("c", 1, {"id": "X"})], "f")
