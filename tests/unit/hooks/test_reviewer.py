"""What hooks record of reviewers, and which calls of agents they deny."""

from __future__ import annotations

import pytest
from batch_implement.core import lease, transitions
from batch_implement.git import git_client
from batches import NOW, commit, new_batch, owner

REVIEWER = {"agent_id": "r-1", "agent_type": "batch-implement:reviewer"}
GOOD = "VERDICT: good\nNothing to fix."


@pytest.fixture
def open_feature(store, repository):
    """Return a function that creates a batch whose first feature is open at HEAD."""

    def make(*, evidence=("commit", "review")):
        store.create(new_batch(2, owner=owner("s-1"), evidence=list(evidence)))
        store.update(lambda state: lease.record_prompt(state, "p"))
        git_client.exclude_state_file(str(repository))
        head = git_client.get_head(str(repository))
        return store.update(lambda state: transitions.start(state, NOW, head, "main"))

    return make


def denial(output):
    fields = output["hookSpecificOutput"]
    assert fields["permissionDecision"] == "deny"
    return fields["permissionDecisionReason"]


def call_agent(hook, agent="batch-implement:reviewer"):
    return hook("PreToolUse", "Agent", tool_name="Agent", tool_input={"subagent_type": agent, "prompt": "Go."})


def review(hook, text, agent="r-1"):
    assert hook("SubagentStart", **{**REVIEWER, "agent_id": agent}) is None
    return hook("SubagentStop", last_assistant_message=text, **{**REVIEWER, "agent_id": agent})


def test_a_review_is_recorded_with_the_commit_that_it_began_at(hook, open_feature, store, repository):
    open_feature()
    made = commit(repository, one="1")
    assert review(hook, GOOD) is None
    (entry,) = store.read()["active"]["reviews"]
    assert (entry["agent"], entry["commit"], entry["text"], entry.get("moved")) == ("r-1", made, GOOD, None)


def test_a_review_of_commits_that_moved_meanwhile_is_marked(hook, open_feature, store, repository):
    open_feature()
    commit(repository, one="1")
    hook("SubagentStart", **REVIEWER)
    commit(repository, one="2")
    hook("SubagentStop", last_assistant_message=GOOD, **REVIEWER)
    assert store.read()["active"]["reviews"][0]["moved"] is True


@pytest.mark.parametrize("later", ["another feature", "another attempt"])
def test_a_review_that_outlives_its_attempt_is_not_taken_for_the_next(hook, open_feature, store, repository, later):
    open_feature()
    commit(repository, one="1")
    hook("SubagentStart", **REVIEWER)
    end = {
        "another feature": lambda state: transitions.complete(state, NOW, {"commit": "c0ffee", "verify": None}),
        "another attempt": lambda state: transitions.fail(state, NOW, "it broke", "feature"),
    }[later]
    store.update(end)
    store.update(lambda state: transitions.start(state, NOW, git_client.get_head(str(repository)), "main"))
    assert hook("SubagentStop", last_assistant_message=GOOD, **REVIEWER) is None
    assert store.read()["active"].get("reviews") is None
    assert "review" not in store.read()["evidence"].get("0", {})


def test_a_reviewer_without_a_verdict_is_sent_back_once(hook, open_feature, store):
    open_feature()
    answer = review(hook, "Looks right.")
    assert answer["decision"] == "block"
    assert "exactly `VERDICT: good` or `VERDICT: fix`" in answer["reason"]
    assert store.read()["active"]["reviews"][0]["text"] is None
    assert hook("SubagentStop", last_assistant_message="Right.", stop_hook_active=True, **REVIEWER) is None
    assert store.read()["active"]["reviews"][0]["text"] == "Right."


@pytest.mark.parametrize("message", ["API Error: 500", "", "You've hit your limit · resets 5pm"])
def test_a_review_that_the_client_broke_off_does_not_count(hook, open_feature, store, message):
    open_feature()
    assert review(hook, message) is None
    assert store.read()["active"]["reviews"] == []  # nothing that `batchctl done` would wait for


def test_a_reviewer_whose_id_no_client_would_give_is_not_recorded(hook, open_feature, store):
    open_feature()
    assert review(hook, GOOD, "r" * 1000) is None
    assert "reviews" not in store.read()["active"]


def test_another_agents_words_are_no_review(hook, open_feature, store):
    open_feature()
    other = {"agent_id": "r-1", "agent_type": "general-purpose"}
    hook("SubagentStart", **other)
    assert hook("SubagentStop", last_assistant_message=GOOD, **other) is None
    assert "reviews" not in store.read()["active"]


def test_the_reviewer_is_not_started_while_work_is_not_committed(hook, open_feature, repository):
    open_feature()
    (repository / "new.txt").write_text("x")
    assert "Commit first: the reviewer reads commits, and not committed is new.txt." in denial(call_agent(hook))
    commit(repository, new="x")
    assert call_agent(hook) is None


def test_the_reviewer_is_not_started_again_for_commits_that_need_a_fix(hook, open_feature, repository):
    open_feature()
    commit(repository, one="1")
    review(hook, "VERDICT: fix\nwrong")
    assert "Fix what it names and commit" in denial(call_agent(hook))
    commit(repository, one="2")
    assert call_agent(hook) is None


def test_the_reviewer_is_not_started_a_fourth_time(hook, open_feature, repository):
    open_feature()
    for number in range(3):
        commit(repository, one=str(number))
        review(hook, "VERDICT: fix\nwrong", f"r-{number}")
    commit(repository, one="3")
    assert "had its 3 reviews" in denial(call_agent(hook))


def test_where_no_review_is_required_the_reviewer_is_free(hook, open_feature, repository):
    open_feature(evidence=["commit"])
    (repository / "new.txt").write_text("x")
    assert call_agent(hook) is None


def test_the_worker_is_not_started_by_the_agent_tool(hook, open_feature, store):
    open_feature()
    assert "started by `/auto-implement` alone" in denial(call_agent(hook, "batch-implement:worker"))
    assert call_agent(hook, "general-purpose") is None
    store.update(lambda state: lease.acquire(state, owner("s-2"), "p"))
    assert call_agent(hook, "batch-implement:worker") is None
