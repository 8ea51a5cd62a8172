"""The run report as plain data, and its time line."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest
from batch_implement.core import batch_state, run_transitions, transitions
from batch_implement.report import formatting, run_report, run_report_html, run_report_markdown, timeline
from batch_implement.report.report_data import Bar, Mark, Span
from batch_implement.store import serialization
from batches import commit, completed, git, given_up, new_batch, started, then
from run_report_samples import at, begun, client, client_state, dispatched, merged, run_state

RUN_STATE = run_state()
NOW = at(500)
DATA = run_report.build_report(RUN_STATE, NOW)


def needs(data, kind):
    return [need for need in data.needs if need.kind == kind]


def commands(data):
    return [step.command for step in data.commands]


def test_the_samples_are_states_that_can_come_about():
    assert serialization.find_problems(RUN_STATE, None) == serialization.find_problems(client_state(), None) == []


def test_the_report_leaves_the_state_as_it_is_and_is_json():
    before = serialization.serialize(RUN_STATE)
    assert run_report.build_report(RUN_STATE, NOW) == DATA
    assert serialization.serialize(dataclasses.asdict(DATA))
    assert serialization.serialize(RUN_STATE) == before


def test_it_says_how_the_batch_ended():
    assert (DATA.headline, DATA.verdict) == ("17 of 20 features done (1 without a change)", "ended, 3 not done")
    counts = {name: number for name, number in DATA.counts.items() if number}
    assert counts == {"total": 20, "done": 17, "failed": 1, "skipped": 2}
    assert DATA.ended_at == max(entry["ended_at"] for entry in RUN_STATE["timings"].values() if "ended_at" in entry)
    assert DATA.took_s == timeline.seconds_between(RUN_STATE["created_at"], DATA.ended_at)


@pytest.mark.parametrize(
    ("state", "headline", "verdict"),
    [
        (completed(new_batch(1)), "1 of 1 feature done", "complete"),
        (completed(completed(new_batch(2))), "2 of 2 features done", "complete"),
        (new_batch(3), "0 of 3 features done", "in progress"),
        (completed(new_batch(3)), "1 of 3 features done", "in progress"),
        (new_batch(1), "0 of 1 feature done", "in progress"),
        (client_state(), "3 of 6 features done", "paused"),
    ],
)
def test_the_headline_counts_what_is_done(state, headline, verdict):
    data = run_report.build_report(state, NOW)
    assert (data.headline, data.verdict) == (headline, verdict)


def test_a_feature_has_its_evidence_its_merge_and_what_it_cost():
    feature = DATA.features[3]
    assert (feature.status, feature.attempts, feature.turns, feature.cost_usd) == ("done", 1, 62, 0.84)
    assert feature.seconds == 48 * 60
    assert feature.evidence.verify.command == "make test"
    assert feature.merge.commit == feature.commit == RUN_STATE["evidence"]["3"]["commit"]
    assert [entry.outcome for entry in feature.clients] == ["interrupted", "completed"]
    assert sum(feature.cost_usd or 0 for feature in DATA.features) == pytest.approx(DATA.spent["cost_usd"])


def test_a_failed_feature_says_why_what_it_blocks_where_its_work_is_and_how_to_retry():
    (need,) = needs(DATA, "failed")
    assert need.numbers == [5, 6, 7]
    assert need.what == "Feature 5 failed after 2 attempts; 6, 7 need it"
    assert need.said == "There is still no due date in the file format."
    assert [place.what for place in need.where] == ["snapshot", "branch", "worktree", "logs"]
    assert need.commands[0] == "batchctl retry 5"


def test_of_a_feature_whose_attempts_nobody_counted_only_its_failure_is_told():
    failed = [{"feature_index": 0, "error_message": "tests fail"}]
    state = batch_state.with_derived_fields({**new_batch(2), "failed_features": failed})
    (need,) = needs(run_report.build_report(state, NOW), "failed")
    assert need.what == "Feature 1 failed"


def test_the_command_for_a_snapshot_brings_its_files_back(repository):
    (repository / "README.md").write_text("kept")
    git(repository, "commit", "-qam", "x")
    git(repository, "update-ref", "refs/batch/batch-1/2.1", "HEAD")
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    (command,) = run_report._snapshot_command("refs/batch/batch-1/2.1")
    subprocess.run(["sh", "-c", command], cwd=repository, check=True, capture_output=True)
    assert (repository / "README.md").read_text() == "kept"


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "$(id)",
        "refs/batch/$(id)/1.1",
        "refs/heads/x",
        "batch a feature 1 attempt 1",
    ],
)
def test_what_is_no_snapshot_gets_no_command(name):
    assert run_report._snapshot_command(name) == []


def test_the_commands_to_go_on_are_exact(repository):
    branch = RUN_STATE["run"]["branch"]
    assert commands(DATA) == [
        "batchctl retry && batchctl run --resume",
        f"git log --oneline a1b2c3d4a1b2..{branch}",
        f"git switch main && git merge {branch}",
    ]
    git(repository, "switch", "-qc", branch)
    sha = commit(repository, one="1")
    subprocess.run(["sh", "-c", commands(DATA)[2]], cwd=repository, check=True, capture_output=True)
    assert git(repository, "rev-parse", "main") == sha


def test_what_needs_a_failed_feature_is_named_only_if_there_is_something():
    state = given_up(new_batch(1))
    (step,) = run_report.build_report(state, NOW).commands
    assert (
        step.what
        == "Retry 1 failed feature, once what is missing is there, then type `/batch-implement --resume` in Claude Code"
    )
    (step,) = run_report.build_report(given_up(new_batch(2, needs={1: [0]})), NOW).commands
    assert step.what.startswith(
        "Retry 1 failed feature and the features that need it, once what is missing is there, then"
    )


def test_a_run_that_merged_into_the_branch_of_the_person_shows_what_is_not_there_yet():
    state = run_transitions.end(merged(begun(["one"], merge=True), 0, 5, 0), at(6), "done")
    assert commands(run_report.build_report(state, NOW))[0] == f"git log --oneline main..{state['run']['branch']}"


@pytest.mark.parametrize("name", ["x; id", "-x", "a..b", "$(id)", "a b", "", "a\n"])
def test_a_branch_of_an_odd_name_gets_no_command(name):
    run = {**RUN_STATE["run"], "branch": name, "target": name}
    odd = run_report.build_report({**RUN_STATE, "run": run}, NOW)
    assert commands(odd) == ["batchctl retry && batchctl run --resume"]


def test_a_pause_comes_first_with_its_reason_and_its_time():
    data = run_report.build_report(client_state(), NOW)
    need = data.needs[0]
    assert need.what == "Paused since 1 Feb 2026, 01:06 UTC, not before 1 Feb 2026, 05:40 UTC"
    assert "Please run /login" in need.said
    assert commands(data) == ["/batch-implement --resume", "batchctl retry"]


def test_nothing_is_to_be_done_when_all_is_done_in_a_client():
    data = run_report.build_report(completed(new_batch(1)), NOW)
    assert (data.needs, data.commands, data.looks) == ([], [], [])


def test_a_batch_in_the_archive_gets_no_command_of_batchctl():
    data = run_report.build_report(client_state(), NOW, archived=True)
    assert data.verdict == "archived unfinished"
    assert not needs(data, "paused")
    assert not [text for need in data.needs for text in need.commands if "batchctl" in text]
    assert commands(data) == []


def test_trouble_with_the_code_host_needs_a_person():
    state = completed(new_batch(1))
    record = {"success": False, "timestamp": NOW, "error": "no rights", "url": "https://x.invalid/o/r/pull/1"}
    state = transitions.record_git_operation(state, 0, "pr", record)
    update = {"done": False, "outcome": "completed", "timestamp": NOW, "why": "gh is not logged in"}
    state = {**state, "issue_updates": {"0": {"comment": update}}}
    data = run_report.build_report(state, NOW)
    assert [(need.kind, need.said, need.commands) for need in data.needs] == [
        ("published", "no rights", []),
        ("issue", "gh is not logged in", ["batchctl issues"]),
    ]
    run = {**RUN_STATE["run"], "pull_request": {"error": "the base branch is protected"}}
    (need,) = needs(run_report.build_report({**RUN_STATE, "run": run}, NOW), "published")
    assert need.said == "the base branch is protected"


def test_what_went_well_and_deserves_a_look_is_listed():
    assert [(look.kind, look.number) for look in DATA.looks] == [("no_change", 8), ("decision", None)]
    kinds = [(look.kind, look.number) for look in run_report.build_report(client_state(), NOW).looks]
    assert kinds == [("foreign", 4), ("rewritten", 5)]
    asserted = completed(new_batch(1), asserted=True)
    assert run_report.build_report(asserted, NOW).looks[0].kind == "asserted"


def test_a_wait_has_its_length_and_one_that_goes_on_has_no_end():
    (wait,) = DATA.waits
    assert (wait.seconds, wait.failure_class) == (72 * 60, "limit")
    waiting = run_transitions.begin_wait(run_state(ended=False), at(600), at(700), "overloaded", "overload")
    last = run_report.build_report(waiting, NOW).waits[-1]
    assert (last.until, last.seconds) == (None, None)


def test_a_feature_under_way_is_open():
    state = dispatched(begun(["one", "two"]), 5, 1)
    data = run_report.build_report(state, at(9))
    assert [feature.status for feature in data.features] == ["pending", "running"]
    assert data.counts["running"] == 1
    (lane,) = data.time_line.lanes
    assert lane.bars == [Bar(at(5), at(9), "running", 1)]


# -- texts -------------------------------------------------------------------------------------------------------------


def test_a_text_is_cleaned_and_cut_and_keeps_its_lines_where_it_is_a_block():
    assert formatting.to_line("a\n b\t\u202ec\x1b[0m") == "a b c [0m"
    assert formatting.to_block("a \r\n\u202eb\x00\n\n") == "a\n b"
    assert formatting.to_line("x" * 600) == "x" * 497 + "..."
    assert len(formatting.to_line(" " * 3000 + "x")) < 20
    assert formatting.to_block("x\n" * 9000).endswith("x...")
    assert formatting.to_line(None) is None
    assert formatting.to_block(7) == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://code.invalid/owner/repository/pull/12",
        "http://code.invalid:8080/group/sub/repo/merge_requests/3",
        "https://code.invalid/o/r/issues/7#issuecomment-99",
    ],
)
def test_the_address_of_a_pull_request_or_an_issue_may_become_a_link(url):
    assert formatting.tracker_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)//x/pull/1", "https://code.invalid/o/r", "https://me@code.invalid/o/r/pull/1",
        "https://code.invalid/o/r/pull/1?x=y", "https://code.invalid/../r/pull/1", "//code.invalid/o/r/pull/1",
        "https://code.invalid/o/r/pull/1\n", "https://code.invalid/o/r/pull/1 ", "https://c\u043ede.invalid/o/r/pull/1",
        'https://code.invalid/o/r"/pull/1', "file:///o/r/pull/1", "data:text/html,/pull/1", None, 7, "",
    ],
)  # fmt: skip
def test_no_other_address_does(url):
    assert formatting.tracker_url(url) is None


def test_what_is_no_time_is_not_repeated():
    assert formatting.format_time("<b>") == formatting.format_time(None) == "at an unknown time"


# -- the time line -----------------------------------------------------------------------------------------------------


def test_a_lane_has_a_bar_for_each_client_and_a_mark_where_it_was_merged():
    lanes = {lane.number: lane for lane in DATA.time_line.lanes}
    assert set(lanes) == {*range(1, 6), *range(8, 21)}
    assert [bar.outcome for bar in lanes[4].bars] == ["interrupted", "done"]
    assert lanes[4].marks == [Mark(at(152), "merged")]
    assert DATA.time_line.waits == [Span(at(48), at(120))]
    assert DATA.time_line.begin == at(0)


def test_without_a_run_a_lane_goes_from_the_first_start_to_the_end_and_marks_failed_attempts():
    line = run_report.build_report(client_state(), at(90)).time_line
    assert [(lane.number, lane.bars[-1].outcome, len(lane.marks)) for lane in line.lanes] == [
        (1, "done", 0), (2, "running", 1), (3, "failed", 1), (4, "done", 0), (5, "done", 0),
    ]  # fmt: skip


def test_several_attempts_without_a_run_are_not_shown_as_work_all_along():
    state = then(new_batch(1), transitions.start, at(0), None)
    state = then(state, transitions.fail, at(5), "it broke", "feature")
    state = then(then(state, transitions.start, at(50), None), transitions.complete, at(60), {"commit": "c"})
    (lane,) = timeline.build_timeline(state, at(70)).lanes
    assert lane.bars == [Bar(at(0), at(60), "mixed", 2)]
    assert [mark.what for mark in lane.marks] == ["failed", "done"]


def test_an_open_feature_is_shown_from_the_start_of_this_attempt_until_now_or_the_pause():
    state = then(new_batch(1), transitions.start, at(0), None)
    state = then(then(state, transitions.fail, at(5), "it broke", "feature"), transitions.start, at(50), None)
    bars = [Bar(at(0), at(5), "failed", 1), Bar(at(50), at(70), "running", 2)]
    assert timeline.build_timeline(state, at(70)).lanes[0].bars == bars
    paused = then(state, transitions.pause, at(60), "by a person")
    assert timeline.build_timeline(paused, at(70)).lanes[0].bars == [bars[0], Bar(at(50), at(60), "running", 2)]


def test_a_batch_in_which_nothing_began_has_no_time_line():
    assert timeline.build_timeline(new_batch(2), NOW) is None


def test_times_that_are_none_are_left_out():
    state = client(dispatched(begun(["one"]), 0, 0), 0, 5, 0, "completed", started_at="<b>")
    state = run_transitions.return_to_pending(state, 0)
    assert timeline.build_timeline(state, NOW) is None
    assert timeline.parse_time("2026-01-31") == timeline.parse_time("2026-01-31T00:00:00Z") == 1769817600
    assert timeline.parse_time("x" * 100) is timeline.parse_time(None) is timeline.parse_time(5) is None


@pytest.mark.parametrize("span", [1, 59, 600, 3600, 8 * 3600, 30 * 3600, 40 * 86400, 4000 * 86400])
def test_the_axis_has_a_few_round_moments(span):
    ticks = timeline.axis_ticks(1769900473.0, 1769900473.0 + span)
    assert len(ticks) <= timeline.MAX_TICKS
    assert all(1769900473 <= moment <= 1769900473 + span and moment % 60 == 0 for moment in ticks)
    assert span < 600 or len(ticks) > 1


def test_midnight_is_named_by_its_day():
    assert [timeline.format_tick(moment) for moment in (1769904000, 1769907660)] == ["1 Feb", "01:01"]


@pytest.mark.parametrize(
    ("review", "verdict"),
    [("VERDICT: good\nYes.", "good"), ("VERDICT: fix\nNo.", "fix"), ("Yes.", "not reviewed"), (None, "not reviewed")],
)
def test_every_form_of_the_report_names_the_verdict_of_a_review(review, verdict):
    state = completed(new_batch(1, evidence=["commit", "review"]), review=review)
    report = run_report.build_report(state, NOW)
    assert dataclasses.asdict(report)["features"][0]["evidence"]["verdict"] == verdict
    shown = verdict if verdict == "not reviewed" else f"review: {verdict}"
    assert f", {shown}" in run_report_markdown.render_markdown(report)
    assert f"<dt>review</dt><dd>{verdict}</dd>" in run_report_html.render_html(report, "")
    assert [look.kind for look in report.looks] == (["review"] if verdict == "fix" else [])


@pytest.mark.parametrize("permanent", [False, True])
def test_a_retry_of_what_failed_for_good_waits_for_what_is_missing(permanent):
    state = then(
        started(new_batch(1, max_retries=0)), transitions.fail, NOW, "no account", "feature", permanent=permanent
    )
    text = run_report_markdown.render_markdown(run_report.build_report(state, NOW))
    assert "Retry 1 failed feature" in text
    assert (", once what is missing is there" in text) is permanent


def test_the_report_names_which_commit_of_which_feature_became_which():
    state = completed(new_batch(2), commits=["a" * 40])
    rewritten = [
        {"old": "a" * 40, "new": "b" * 40, "how": "rebased"},
        {"old": "c" * 40, "new": None, "how": "absorbed"},
    ]
    looks = run_report.build_report(completed(state, rewritten=rewritten), NOW).looks
    expected = f"{'a' * 12} of feature 1 is {'b' * 12} now, {'c' * 12} is in other commits now"
    assert [look.said for look in looks if look.kind == "rewritten"] == [expected]


def test_the_report_does_not_call_a_feature_without_a_change_unreviewed():
    state = completed(new_batch(1, evidence=["commit", "review"]), no_change="It exists.", review=None)
    report = run_report.build_report(state, NOW)
    assert "not reviewed" not in run_report_markdown.render_markdown(report)
    assert "<dt>review</dt>" not in run_report_html.render_html(report, "")


def test_the_report_of_a_batch_without_reviews_does_not_mention_them():
    report = run_report.build_report(completed(new_batch(1)), NOW)
    assert "review" not in run_report_markdown.render_markdown(report)
    assert "<dt>review</dt>" not in run_report_html.render_html(report, "")


def test_refused_tool_calls_are_in_the_report_with_the_rule_that_allows_them():
    state = dispatched(begun(["one"]), 1, 0)
    state = client(state, 1, 2, 0, "failed", refusals={"Bash(make test:*)": 3})
    report = run_report.build_report(state, NOW)
    for text in (run_report_markdown.render_markdown(report), run_report_html.render_html(report, "")):
        assert "3 tool calls refused" in text and "Bash(make test:*)" in text
