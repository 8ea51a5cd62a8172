"""What is more particular holds; evidence only ever grows."""

from __future__ import annotations

import pytest
from batch_implement.core import batch_policy
from batches import new_batch


def of(state, own, index=0):
    return batch_policy.feature_policy({**state, "details": {str(index): {"policy": own}}}, index)


def test_options_go_before_the_files_defaults_and_those_before_ours():
    defaults = {"verify": "from file", "max_retries": 1, "max_retries_total": 7, "workflow_mode": "direct"}
    policy = batch_policy.combine_policy(defaults, {"verify": "from option", "verify_timeout_s": 9})
    assert (policy["verify"], policy["verify_timeout_s"]) == ("from option", 9)
    assert (policy["max_retries"], policy["max_retries_total"], policy["max_failures_in_a_row"]) == (1, 7, 5)
    assert "workflow_mode" not in policy


@pytest.mark.parametrize(
    ("defaults", "given", "expected"),
    [
        ({}, {}, ["commit"]),
        ({"evidence": []}, {}, ["commit"]),
        ({"verify": "x"}, {}, ["commit", "verify"]),
        ({"verify": "x", "evidence": ["review"]}, {}, ["commit", "verify", "review"]),
        ({"evidence": ["review", "commit"]}, {"evidence": ["review"], "verify": "x"}, ["commit", "verify", "review"]),
    ],
)
def test_evidence_is_the_union_of_all_that_is_asked_for(defaults, given, expected):
    assert batch_policy.combine_policy(defaults, given)["evidence"] == expected


@pytest.mark.parametrize(("file", "option"), [(True, False), (False, True), (True, True)])
def test_whoever_says_unattended_it_is(file, option):
    assert batch_policy.combine_policy({"unattended": file}, {"unattended": option})["unattended"] is True
    assert batch_policy.combine_policy({"unattended": False}, {})["unattended"] is False


def test_a_feature_without_wishes_has_the_batchs_policy_and_mode():
    state = new_batch(2, verify="make test", mode="direct")
    assert batch_policy.feature_policy(state, 0) == {**state["policy"], "workflow_mode": "direct"}
    assert of(state, {"verify": "other"}, 1) != batch_policy.feature_policy(state, 0)


def test_a_features_own_wishes_hold_for_it():
    policy = of(new_batch(2, verify="make test"), {"verify": "make one", "max_retries": 0, "workflow_mode": "direct"})
    assert (policy["verify"], policy["max_retries"], policy["workflow_mode"]) == ("make one", 0, "direct")
    assert policy["evidence"] == ["commit", "verify"]


def test_a_feature_can_ask_for_more_evidence_but_not_for_less():
    state = new_batch(1)
    assert of(state, {"evidence": []})["evidence"] == ["commit"]
    assert of(state, {"evidence": ["review"]})["evidence"] == ["commit", "review"]
    assert of(state, {"verify": "x"})["evidence"] == ["commit", "verify"]


def test_what_is_no_features_to_say_is_passed_over():
    policy = of(new_batch(1), {"unattended": True, "max_retries_total": 0, "surprise": 1})
    assert (policy["unattended"], policy["max_retries_total"]) == (False, 50)
    assert "surprise" not in policy


def test_no_policy_shares_its_lists_with_another():
    batch_policy.create_policy()["evidence"].append("review")
    batch_policy.combine_policy({}, {})["evidence"].append("review")
    assert batch_policy.DEFAULT["evidence"] == ["commit"]
