"""What a person or a script is shown of a batch."""

from __future__ import annotations

import pytest
import run_states
from batch_implement.core import run_transitions, transitions
from batch_implement.features.feature_list import Listing
from batch_implement.report import status_report
from batch_implement.store.store import unfinished_batch_error
from batches import NOW, all_completed, completed, failed, given_up, new_batch, started, then

BUSY = started(given_up(completed(new_batch(5, needs={4: [1]}))))

NO_LIST = Listing([], {})


def test_the_status_has_what_scripts_look_for():
    shown = status_report.status_data(BUSY)
    assert (shown["batch_id"], shown["status"], shown["revision"], shown["next"]) == ("batch-1", "in_progress", 1, 3)
    assert shown["counts"] == {
        "total": 5, "done": 1, "running": 1, "merging": 0, "waiting": 0, "pending": 1, "failed": 1, "skipped": 1,
    }  # fmt: skip
    assert shown["features"] == [
        {
            "number": 1,
            "text": "feature 1",
            "status": "done",
            "attempts": 1,
            "commit": "c0ffee",
            "review": "not reviewed",
        },
        {"number": 2, "text": "feature 2", "status": "failed", "reason": "it broke", "attempts": 1, "commit": None},
        {"number": 3, "text": "feature 3", "status": "running", "attempts": 1, "commit": None},
        {"number": 4, "text": "feature 4", "status": "pending", "attempts": 0, "commit": None},
        {
            "number": 5,
            "text": "feature 5",
            "status": "skipped",
            "reason": "blocked by feature 2",
            "attempts": 0,
            "commit": None,
        },
    ]


def test_attempts_are_those_that_were_begun():
    state = failed(new_batch(1))
    assert status_report.feature_entries(state)[0]["attempts"] == 1
    assert status_report.feature_entries(started(state))[0]["attempts"] == 2
    assert status_report.feature_entries(completed(state))[0]["attempts"] == 2


def test_a_feature_that_needed_no_change_is_listed_so():
    assert (
        status_report.feature_entries(completed(new_batch(1), no_change="it is there"))[0]["no_change"] == "it is there"
    )


def test_nothing_is_next_when_nothing_is_left():
    assert status_report.next_number(all_completed(new_batch(2))) is None
    assert status_report.next_number(completed(new_batch(2))) == 2


def test_a_person_sees_a_line_for_each_feature_and_what_is_now():
    lines = status_report.format_status(BUSY)
    assert lines == [
        "Batch batch-1: in progress, 1 of 5 done, 1 failed, 1 skipped",
        "Policy: no verify command: only the commit is required; 3 retries each.",
        "   1  done     feature 1  c0ffee",
        "   2  failed   feature 2  it broke",
        "   3  running  feature 3",
        "   4  pending  feature 4",
        "   5  skipped  feature 5  (needs 2)  blocked by feature 2",
        "Running: feature 3, attempt 1, phase understand.",
    ]


def test_several_attempts_are_said():
    assert "(2 attempts)" in status_report.format_status(completed(failed(new_batch(1))))[2]


def test_an_attempt_that_failed_is_said_while_its_feature_waits_for_the_next():
    lines = status_report.format_status(failed(new_batch(2)))
    assert lines[2] == "   1  pending  feature 1  (1 attempt)"
    assert "attempt" not in lines[3]


def test_a_pause_says_why_until_when_and_how_to_go_on():
    state = then(new_batch(1), transitions.pause, NOW, "limit", "2026-02-01T00:00:00Z")
    last = status_report.format_status(state)[-1]
    assert last.startswith("Paused: limit. Not before 2026-02-01T00:00:00Z. Resume it with `/batch-implement --resume`")


def test_the_full_stop_of_a_pauses_reason_is_not_doubled():
    state = then(new_batch(1), transitions.pause, NOW, "the disk is full.")
    assert status_report.format_status(state)[-1].startswith("Paused: the disk is full. Resume it with")


def test_a_person_is_told_what_is_now_and_who_is_at_work():
    assert status_report.describe_batch(started(new_batch(2)), at_work=True) == (
        "0 of 2 done, 0 failed, 0 skipped. Feature 1 of 2 is open. Claude Code has it; if it waits there, "
        "type `/batch-implement --resume`."
    )
    assert status_report.describe_batch(new_batch(2), at_work=False) == (
        "0 of 2 done, 0 failed, 0 skipped. Feature 1 of 2 is next. No process works on the batch. Resume it "
        "with `/batch-implement --resume` in Claude Code."
    )


def test_a_person_is_told_of_a_batch_that_waits_or_is_over_how_it_goes_on():
    waits = status_report.describe_batch(then(new_batch(2), transitions.pause, NOW, "lunch"), at_work=False)
    assert waits.startswith("Batch batch-1 is paused: 0 of 2 done, 0 failed, 0 skipped. Paused: lunch. Resume it with")
    over = status_report.describe_batch(given_up(new_batch(1)), at_work=False)
    assert over.startswith("Batch batch-1 is over (failed): 0 of 1 done, 1 failed, 0 skipped. All features processed")
    assert "`batchctl retry`" in over


@pytest.mark.parametrize(("number", "phrase"), [(0, "no retry"), (1, "1 retry"), (3, "3 retries")])
def test_a_number_of_retries_is_said_in_words_that_fit(number, phrase):
    assert status_report.count_retries(number) == phrase
    assert status_report.format_status(new_batch(1, max_retries=number))[1].endswith(f"; {phrase} each.")


def test_what_is_done_with_the_issues_is_said_where_it_is_asked_for():
    state = new_batch(1, comment_issues=True, close_issues=True)
    line = status_report.format_status(state)[1]
    assert "outcomes are posted to the issues; issues that are done are closed; " in line
    assert "issues" not in status_report.format_status(new_batch(1))[1]


def test_only_what_failed_is_said_to_come_back_without_its_number():
    last = status_report.format_status(then(new_batch(1), transitions.skip, NOW, 0, "not wanted"))[-1]
    assert last == "All features processed; 1 feature not done. `batchctl retry N` retries a skipped one."


def test_an_end_says_what_needs_a_look():
    assert status_report.format_status(all_completed(new_batch(1)))[-1] == "All features processed."
    last = status_report.format_status(given_up(completed(new_batch(2))))[-1]
    assert last == "All features processed; 1 feature not done. `batchctl retry` retries the failed ones."


@pytest.fixture
def driven():
    """A batch of two that `batchctl run` drives."""
    owner = {"session_id": "run-1", "pid": 4711, "pid_started": "x:1", "host": "here", "since": NOW, "driven": True}
    wish = {"branch": "batch/batch-1/merged", "base_commit": "b" * 40, "target": "main", "worktrees": "/w", "jobs": 1}
    return then(new_batch(2), run_transitions.begin, NOW, owner, **wish, options={}, budgets={})


def test_a_batch_that_was_driven_goes_on_with_the_driver_until_a_client_has_taken_it_over(driven):
    left = {**driven, "owner": None}
    assert status_report.describe_batch(left, at_work=False).endswith(
        "No process works on the batch. Resume it with `batchctl run --resume`."
    )
    waits = status_report.format_status(then(left, transitions.pause, NOW, "lunch"))[-1]
    assert waits == "Paused: lunch. Resume it with `batchctl run --resume`."
    taken = {**driven, "owner": {**driven["owner"], "driven": False}}
    assert status_report.describe_batch(taken, at_work=False).endswith(
        "Resume it with `/batch-implement --resume` in Claude Code."
    )


def test_a_driven_batch_in_the_way_of_another_is_resumed_by_the_driver(driven):
    assert "Resume it (`batchctl run --resume`)" in unfinished_batch_error(driven).message
    assert "Resume it (`/batch-implement --resume`)" in unfinished_batch_error(new_batch(1)).message


def test_a_driven_batch_that_is_over_says_where_its_work_lies(driven):
    over = all_completed(driven)
    assert status_report.format_status(over)[-2:] == [
        "All features processed.",
        "The commits are on branch batch/batch-1/merged; `batchctl report` shows how to merge it.",
    ]
    brought = {**over, "run": {**over["run"], "options": {"merge": True}}}
    assert status_report.format_status(brought)[-1] == "All features processed."


def test_a_long_text_is_cut_where_one_sees_it():
    state = new_batch(["x" * 80, "y" * 81])
    assert [line.split()[-1] for line in status_report.format_status(state)[2:4]] == ["x" * 80, "y" * 77 + "..."]
    assert status_report.format_plan(new_batch(["z" * 121]), NO_LIST)[1].endswith("z" * 117 + "...")


def test_what_comes_next_is_said_when_nothing_is_open():
    assert status_report.format_status(completed(new_batch(2)))[-1] == "Next: feature 2."


def test_a_text_with_line_breaks_stays_on_its_line():
    state = given_up(
        new_batch(["one\ntwo\x85three " + "x" * 200]),
    )
    state = {**state, "failed_features": [{**state["failed_features"][0], "error_message": "a\nb\x1b[2J"}]}
    lines = status_report.format_status(state)
    assert len("\n".join(lines).splitlines()) == 4
    assert "\x1b" not in "".join(lines)
    waits = then(new_batch(1), transitions.pause, NOW, "a\n\x1b[2Jb")
    assert "Paused: a  [2Jb." in status_report.format_status(waits)[-1]


def test_a_batch_that_asks_for_nothing_is_not_said_to_ask_for_a_commit():
    batch = new_batch(1)
    batch["policy"] = {**batch["policy"], "evidence": []}
    policy = status_report.format_status(batch)[1]
    assert policy == "Policy: no evidence required: the worker's word counts; 3 retries each."


def test_a_plan_says_what_would_be_done_and_that_nothing_was():
    lines = status_report.format_plan(new_batch(["a", "b\nc"], verify="make test", mode="direct"), NO_LIST)
    assert lines[0] == (
        "2 features would be done, in this order (direct; `make test` must pass on each commit; 3 retries each):"
    )
    assert lines[1:] == ["   1  a", "   2  b c", "Nothing was written or started."]
    assert "only the commit is required" in status_report.format_plan(new_batch(1), NO_LIST)[0]


def test_a_plan_shows_order_needs_wishes_and_hints():
    state = {
        **new_batch(3, needs={0: [2]}, order=[1, 2, 0], verify_timeout_s=5, verify="make"),
        "details": {"2": {"policy": {"verify": "make one", "evidence": ["review"], "max_retries": 0}}},
        "analysis_metadata": {"hints": [{"feature_index": 1, "needs": 0, "why": "tests \x1bfor"}], "inferred": False},
    }
    lines = status_report.format_plan(state, NO_LIST)
    assert "within 5 s" in lines[0]
    assert lines[1:] == [
        "   2  feature 2",
        "   3  feature 3  (verify `make one`; evidence review; no retry)",
        "   1  feature 1  (needs 3)",
        "The texts suggest an order; `--infer-order` applies it:",
        "      2 after 1: tests  for",
        "Nothing was written or started.",
    ]
    taken = {**state, "analysis_metadata": {**state["analysis_metadata"], "inferred": True}}
    assert "Inferred from the texts:" in status_report.format_plan(taken, NO_LIST)
    shown = status_report.plan_data(state, NO_LIST)
    assert (shown["order"], shown["dependencies"]) == ([2, 3, 1], {"1": [3]})
    assert shown["hints"] == [{"feature": 2, "needs": 1, "why": "tests \x1bfor"}]
    assert shown["features"][2]["policy"]["verify"] == "make one"


def test_a_person_reads_the_number_of_what_blocks_a_feature():
    state = given_up(new_batch(2, needs={1: [0]}))
    assert "blocked by feature 1" in status_report.format_status(state)[3]
    assert status_report.status_data(state)["features"][1]["reason"] == "blocked by feature 1"


@pytest.mark.parametrize(
    ("review", "verdict"),
    [("VERDICT: good\nYes.", "good"), ("VERDICT: fix\nNo.", "fix"), ("Yes.", "not reviewed"), (None, "not reviewed")],
)
def test_the_status_names_the_verdict_of_a_review(review, verdict):
    state = completed(new_batch(1, evidence=["commit", "review"]), review=review)
    assert status_report.status_data(state)["features"][0]["review"] == verdict
    shown = verdict if verdict == "not reviewed" else f"review: {verdict}"
    assert status_report.format_status(state)[2].endswith(f"c0ffee  {shown}")


def test_a_feature_without_a_change_has_neither_commit_nor_review():
    state = completed(new_batch(1, evidence=["commit", "review"]), no_change="It exists.")
    assert status_report.format_status(state)[2].endswith("no change")
    assert "c0ffee" not in status_report.format_status(state)[2]


def test_the_status_of_a_batch_without_reviews_does_not_mention_them():
    state = completed(new_batch(2))
    assert "review" not in "".join(status_report.format_status(state))
    assert "review" not in status_report.status_data(started(state))["features"][1]


def test_what_the_merge_queue_does_with_a_feature_is_shown():
    state = run_states.queued(run_states.queued(run_states.queued(run_states.run_state(5), 0), 1), 3)
    queue = {"groups": [{"features": [0, 3], "since": "2026-01-31T22:10:00Z", "splits": 1}], "judged": 4, "blamed": 1}
    state = then(state, run_transitions.record_queue, queue)
    entries = status_report.feature_entries(state)
    assert entries[3]["merge"] == {"since": "2026-01-31T22:10:00Z", "verified_with": [1], "splits": 1}
    assert set(entries[1]["merge"]) == {"since"} and "merge" not in entries[2]
    lines = status_report.format_status(state)
    assert any("verified with 4 since 22:10 UTC, group split 1 time" in line for line in lines)
    assert any("in the merge queue since" in line for line in lines)
