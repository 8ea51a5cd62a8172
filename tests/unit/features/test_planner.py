"""From a listing to a batch: order, needs, details and numbers stay joined to the texts."""

from __future__ import annotations

import pytest
from batch_implement.core import batch_policy, transitions
from batch_implement.core.errors import RefusedError, UsageError
from batch_implement.features import planner
from batch_implement.features.feature_list import Feature, Listing
from batches import NOW, checked, completed, conditions, given_up, new_batch, skipped_reasons, then


def listing(*features, **defaults):
    made = [feature if isinstance(feature, Feature) else Feature(feature, 0) for feature in features]
    return Listing(made, defaults)


def first(found, given=None, **how):
    state = planner.build_first_state("batch-1", NOW, found, given or {}, features_file="list", **how)
    return checked({**state, "revision": 1})


def needing(text, *needs, name=None, **more):
    details = {"depends_on": list(needs), **({"id": name} if name else {}), **more}
    return Feature(text, 0, details)


def test_without_needs_the_order_is_the_lists():
    state = first(listing("a", "b", "c"))
    assert (state["feature_order"], state["feature_dependencies"], state["current_index"]) == ([0, 1, 2], {}, 0)
    assert (state["source_type"], state["issue_numbers"], state["features_file"]) == ("file", None, "list")
    assert state["analysis_metadata"]["reordered"] is False


def test_with_needs_everything_comes_after_what_it_needs():
    state = first(listing(needing("a", "late"), "b", needing("c", name="late")))
    assert state["feature_order"] == [1, 2, 0]
    assert state["feature_dependencies"] == {"0": [2]}
    assert state["current_index"] == 1
    assert state["analysis_metadata"]["explicit"] == 1 and state["analysis_metadata"]["reordered"] is True


def test_a_features_details_lie_under_its_own_index():
    state = first(listing("a", needing("b", name="bee", description="long"), "c"))
    assert state["details"] == {"1": {"depends_on": [], "id": "bee", "description": "long"}}


def test_issues_numbers_are_those_of_the_features_that_are_left():
    found = listing(Feature("x (#9)", 0, {"description": "d"}, 9), Feature("y (#4)", 0, {"depends_on": ["#9"]}, 4))
    state = first(found)
    assert (state["source_type"], state["issue_numbers"]) == ("issues", [9, 4])
    assert state["feature_dependencies"] == {"1": [0]}


def test_options_defaults_and_a_features_own_wishes_end_up_where_they_hold():
    own = Feature("b", 0, {"policy": {"verify": "own"}})
    state = first(listing("a", own, verify="file", workflow_mode="direct"), {"max_retries": 0})
    assert (state["policy"]["verify"], state["policy"]["max_retries"], state["workflow_mode"]) == ("file", 0, "direct")
    assert [batch_policy.feature_policy(state, index)["verify"] for index in (0, 1)] == ["file", "own"]
    assert first(listing("a", workflow_mode="direct"), {"workflow_mode": "auto-implement"})["workflow_mode"] == (
        "auto-implement"
    )


def test_hints_are_told_and_taken_only_when_asked_for():
    found = listing("Write tests for the login page", "Add the login page")
    told = first(found)
    assert told["feature_dependencies"] == {} and told["analysis_metadata"]["inferred"] is False
    assert [(hint["feature_index"], hint["needs"]) for hint in told["analysis_metadata"]["hints"]] == [(0, 1)]
    taken = first(found, infer_order=True)
    assert (taken["feature_dependencies"], taken["feature_order"]) == ({"0": [1]}, [1, 0])


def test_what_cannot_be_ordered_is_refused():
    with pytest.raises(UsageError, match="needs"):
        first(listing(needing("a", "2"), needing("b", "1")))


@pytest.mark.parametrize("own", [{"evidence": ["verify"]}, {"evidence": ["review", "verify"]}])
def test_evidence_of_a_command_that_nobody_gave_is_refused(own):
    found = listing("a", Feature("b", 0, {"policy": own}))
    with pytest.raises(UsageError, match="Feature 2 asks for `verify`"):
        first(found)
    assert first(found, {"verify": "make test"})["policy"]["verify"] == "make test"


# -- more features ----------------------------------------------------------------------------------------------------


def added(state, found):
    return then(state, transitions.add, NOW, **planner.build_additions(state, found))


def test_more_features_refer_to_the_numbers_that_status_shows_and_to_ids():
    state = first(listing("a", needing("b", name="bee")))
    state = added(state, listing(needing("c", "1", name="sea"), needing("d", "bee", "sea"), needing("e", "4")))
    assert state["feature_dependencies"] == {"2": [0], "3": [1, 2], "4": [3]}
    assert state["feature_order"] == [0, 1, 2, 3, 4]
    assert state["details"]["2"]["id"] == "sea"


def test_what_needs_a_feature_that_failed_is_blocked_at_once_and_comes_back_with_it():
    state = given_up(first(listing("a", "b")))
    state = added(state, listing(needing("c", "1"), needing("d", "3")))
    assert skipped_reasons(state) == {2: "blocked by 0", 3: "blocked by 2"}
    assert conditions(then(state, transitions.retry, [0])) == ["pending"] * 4


def test_what_needs_a_completed_feature_can_run():
    state = added(completed(first(listing("a"))), listing(needing("b", "1")))
    assert (state["status"], state["current_index"]) == ("in_progress", 1)


def test_issues_and_lists_are_not_mixed():
    of_issues = first(listing(Feature("x (#9)", 0, {}, 9)))
    assert added(of_issues, listing(Feature("y (#4)", 0, {}, 4)))["issue_numbers"] == [9, 4]
    with pytest.raises(RefusedError, match="come from issues"):
        added(of_issues, listing("z"))
    with pytest.raises(RefusedError, match="come from a list"):
        added(new_batch(1), listing(Feature("y (#4)", 0, {}, 4)))


def test_what_the_source_knows_about_references_goes_before_numbers_and_ids():
    features = [Feature("a", 2), Feature("b", 3, {"depends_on": ["2"]}), Feature("c", 4, {"depends_on": ["1"]})]
    listing = Listing(features, {}, resolved={(1, "2"): (0,), (2, "1"): ()})
    state = planner.build_first_state("batch-1", NOW, listing, {}, features_file="f.md")
    assert state["feature_dependencies"] == {"1": [0]}


def test_a_number_in_a_list_that_is_added_is_that_of_status():
    state = planner.build_first_state("batch-1", NOW, Listing([Feature("a", 1)], {}), {}, features_file="f.md")
    added = [Feature("b", 1, {"depends_on": ["1"]}), Feature("c", 2, {"depends_on": ["T1"]})]
    listing = Listing(added, {}, resolved={(0, "1"): (1,), (1, "T1"): (0,)})
    assert planner.build_additions(state, listing)["needs"] == {"1": [0], "2": [1]}
