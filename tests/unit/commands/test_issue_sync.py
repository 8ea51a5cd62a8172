"""Outcomes go back to the issues where the policy asks for it, each once, and never fail the feature."""

from __future__ import annotations

import errno

import pytest
from batch_implement.commands import feature_commands, issue_sync
from batch_implement.commands.authorization import Caller
from batch_implement.commands.command import CommandContext
from batch_implement.core.errors import RefusedError
from batch_implement.store import atomic_files
from batches import commit, completed, git, given_up, new_batch
from gh_stand_in import StandIn


def at_terminal(store):
    return CommandContext(store.project, Caller("", None, is_user=True))


@pytest.fixture
def github(repository, tmp_path, monkeypatch):
    """A code host with the issues 7, 8 and 9, and the repository's branch pushed to it."""
    bare = tmp_path / "acme" / "widgets.git"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    git(repository, "remote", "add", "origin", str(bare))
    git(repository, "push", "-q", "-u", "origin", "HEAD:main")
    made = StandIn(tmp_path / "github.json")
    for number in (7, 8, 9):
        made.add(number, f"Issue {number}")
    made.on_path(monkeypatch)
    return made


@pytest.fixture
def batch_of(store):
    """Makes a batch of the issues 7, 8 and 9 with this policy: `batch_of(comment_issues=True)`."""

    def make(*steps, **policy):
        state = {**new_batch(3, **policy), "issue_numbers": [7, 8, 9], "source_type": "issues"}
        store.create(state)
        for step in steps:
            state = store.update(step)
        return state

    return make


def updates(store):
    return {
        name: {what: (record["done"], record["outcome"]) for what, record in kinds.items()}
        for name, kinds in store.read()["issue_updates"].items()
    }


def test_nothing_is_written_without_being_asked(store, github, batch_of):
    state = batch_of(completed)
    assert issue_sync.publish_after_outcome(store, state, 0) == ""
    assert issue_sync.publish(store, store.read(), [0]) == []
    with pytest.raises(RefusedError, match="does not write to issues"):
        issue_sync.publish_all(at_terminal(store))
    assert github.calls() == []


def test_a_batch_of_no_issues_has_none_to_tell(store, github):
    state = store.create(new_batch(1, comment_issues=True))
    assert issue_sync.publish_after_outcome(store, state, 0) == ""


def test_an_outcome_is_written_once_and_a_new_one_once_more(store, github, batch_of):
    batch_of(given_up, comment_issues=True)
    for _ in range(2):
        assert issue_sync.publish(store, store.read(), [0]) == []
    assert len(github.comments(7)) == 1
    assert updates(store) == {"0": {"comment": (True, "failed")}}
    from batch_implement.core import transitions

    store.update(lambda state: transitions.retry(state, [0]))
    assert issue_sync.find_due_updates(store.read(), 0) == []
    store.update(completed)
    issue_sync.publish(store, store.read(), [0])
    assert len(github.comments(7)) == 2
    assert updates(store) == {"0": {"comment": (True, "done")}}


def test_an_issue_is_closed_once_its_commit_is_on_the_default_branch(store, github, batch_of, repository):
    sha = commit(repository, one="1")
    batch_of(lambda state: completed(state, commit=sha), close_issues=True)
    [message] = issue_sync.publish(store, store.read(), [0])
    assert "Issue #7: " in message and "not on origin/main yet" in message
    assert github.issue(7)["state"] == "OPEN" and updates(store) == {"0": {"close": (False, "done")}}
    git(repository, "push", "-q", "origin", "HEAD:main")
    assert issue_sync.publish_all(at_terminal(store)).text == "1 issue updated, 0 remaining."
    assert github.issue(7)["state"] == "CLOSED" and updates(store) == {"0": {"close": (True, "done")}}
    assert issue_sync.publish_all(at_terminal(store)).text.startswith("Nothing is due")


def test_the_first_trouble_ends_the_round_and_the_rest_stays_due(store, github, batch_of):
    batch_of(completed, completed, comment_issues=True)
    github.goes_wrong("*", "offline")
    message = issue_sync.publish_all(at_terminal(store)).text
    assert message.startswith("0 issues updated, 2 remaining.\nIssue #7: ")
    assert len(github.calls()) == 1
    github.goes_right()
    assert issue_sync.publish_all(at_terminal(store)).text == "2 issues updated, 0 remaining."
    assert [len(github.comments(number)) for number in (7, 8, 9)] == [1, 1, 0]


def test_at_the_end_of_a_batch_all_that_is_due_is_written(store, github, batch_of):
    github.goes_wrong("*", "offline")
    state = batch_of(completed, comment_issues=True)
    assert "`batchctl issues` tries again" in issue_sync.publish_after_outcome(store, state, 0)
    github.goes_right()
    store.update(completed)
    state = store.update(completed)
    assert issue_sync.publish_after_outcome(store, state, 2) == ""
    assert [len(github.comments(number)) for number in (7, 8, 9)] == [1, 1, 1]


def test_done_and_the_last_fail_write_and_a_fail_that_is_tried_again_does_not(store, github, batch_of, repository):
    batch_of(comment_issues=True, max_retries=1)
    feature_commands.start(at_terminal(store))
    commit(repository, one="1")
    assert "is done" in feature_commands.done(at_terminal(store)).text
    feature_commands.start(at_terminal(store))
    feature_commands.fail(at_terminal(store), "no luck")
    assert [len(github.comments(number)) for number in (7, 8, 9)] == [1, 0, 0]
    feature_commands.start(at_terminal(store))
    feature_commands.fail(at_terminal(store), "never", permanent=True)
    assert [len(github.comments(number)) for number in (7, 8, 9)] == [1, 0, 1]


def test_trouble_with_an_issue_leaves_the_feature_done(store, github, batch_of, repository):
    github.goes_wrong("*", "logged out")
    batch_of(comment_issues=True)
    feature_commands.start(at_terminal(store))
    commit(repository, one="1")
    message = feature_commands.done(at_terminal(store)).text
    assert "is done" in message and "gh auth login" in message and "batchctl issues" in message
    assert store.read()["completed_features"] == [0]


def test_an_outcome_that_cannot_be_recorded_does_not_say_that_nothing_was_changed(store, github, batch_of, monkeypatch):
    state = batch_of(completed, comment_issues=True)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_files, "write_all", full)
    problem = issue_sync.publish_after_outcome(store, state, 0)
    assert "Disk space is used up" in problem and "Nothing was changed" not in problem
    assert "It is not recorded what was written to issue #7." in problem
