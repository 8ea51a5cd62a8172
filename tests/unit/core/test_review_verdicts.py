"""What a review says, and which change of which attempt it is about."""

from __future__ import annotations

import pytest
from batch_implement.core import review_verdicts
from batches import NOW, failed, new_batch, started, then


def begun(state, agent="r-1", change="change"):
    return then(state, review_verdicts.begin, NOW, agent, "c0ffee", change)


def ended(state, text, agent="r-1", change="change"):
    return then(state, review_verdicts.end, agent, text, change)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("VERDICT: good", "good"),
        ("VERDICT: fix\nfile.py:1: wrong", "fix"),
        ("VERDICT: good \r\nmore", "good"),
        ("VERDICT: mend", None),
        ("VERDICT: good, mostly", None),
        ("verdict: good", None),
        ("**VERDICT: good**", "good"),
        ("**VERDICT:** fix\nfile.py:1: wrong", "fix"),
        ("## `VERDICT: good`. ", "good"),
        ("__VERDICT: fix.__\r\n", "fix"),
        ("VERDICT: good...", None),
        ("**VERDICT: good**, mostly", None),
        ("# VERDICT: good or fix", None),
        ("> VERDICT: good", None),
        ("Looks right.\nVERDICT: good", None),
        ("\nVERDICT: good", None),
        ("", None),
        (None, None),
    ],
)
def test_only_the_first_line_is_a_verdict_whatever_marks_and_full_stop_it_has(text, verdict):
    assert review_verdicts.parse_verdict(text) == verdict
    assert review_verdicts.describe({"review": text}) == (verdict or "not reviewed")


def test_a_fix_stays_with_its_change_whatever_another_look_says():
    state = ended(begun(started(new_batch(1))), "VERDICT: fix")
    state = ended(begun(state, "r-2"), "VERDICT: good", "r-2")
    assert review_verdicts.judge(state["active"], "change") == "fix"
    assert review_verdicts.judge(state["active"], "another") is None
    state = ended(begun(state, "r-3", "another"), "VERDICT: good", "r-3", "another")
    assert review_verdicts.judge(state["active"], "another") == "good"


def test_a_review_goes_with_its_attempt():
    state = begun(ended(begun(started(new_batch(1))), "VERDICT: good"), "r-2")
    again = started(failed(state))
    assert (again["active"]["attempt"], again["active"].get("reviews")) == (2, None)
    assert ended(again, "VERDICT: good", "r-2") is again


def test_a_review_counts_for_no_change_when_commits_were_made_meanwhile():
    state = ended(begun(started(new_batch(1))), "VERDICT: good", change="another")
    assert [review_verdicts.judge(state["active"], change) for change in ("change", "another")] == [None, None]
    assert len(review_verdicts.list_ended(state["active"])) == 1


def test_a_reviewer_that_ends_twice_is_heard_once():
    state = ended(begun(started(new_batch(1))), "VERDICT: fix")
    assert ended(state, "VERDICT: good") is state


def test_the_last_ten_reviews_are_kept_and_their_texts_cut():
    state = started(new_batch(1))
    for number in range(12):
        state = ended(begun(state, f"r-{number}"), "VERDICT: fix\n" + "x" * 3000, f"r-{number}")
    reviews = state["active"]["reviews"]
    assert [review["agent"] for review in reviews] == [f"r-{number}" for number in range(2, 12)]
    assert {len(review["text"]) for review in reviews} == {2000}


def test_without_an_open_feature_nothing_is_recorded():
    state = new_batch(1)
    assert begun(state) is state
    assert ended(state, "VERDICT: good") is state


def test_a_review_that_dies_is_forgotten_and_no_other():
    state = begun(ended(begun(started(new_batch(1))), "VERDICT: fix"), "r-2")
    left = review_verdicts.drop(review_verdicts.drop(state, "r-1"), "r-2")
    assert [review["agent"] for review in left["active"]["reviews"]] == ["r-1"]
    idle = new_batch(1)
    assert review_verdicts.drop(idle, "r-1") is idle


def test_a_review_ends_with_its_own_reviewer():
    state = begun(begun(started(new_batch(1)), "r-1", "first"), "r-2", "second")
    state = ended(state, "VERDICT: good", "r-2", "second")
    assert [review_verdicts.judge(state["active"], change) for change in ("first", "second")] == [None, "good"]
