"""`batchctl fail`: what went wrong decides what happens next."""

from __future__ import annotations

import errno

import pytest
from batch_implement.base import timestamps
from batch_implement.commands import feature_commands
from batch_implement.commands.authorization import Caller
from batch_implement.commands.command import CommandContext
from batch_implement.core import failure_classification
from batch_implement.core.errors import RefusedError, StateError
from batch_implement.git import git_client
from batch_implement.store import atomic_files
from batches import conditions, git, new_batch

PERSON = Caller("", None, is_user=True)


@pytest.fixture
def fail(store):
    """Fails the next feature of a batch of two with these words: `fail("no luck")`; the state then."""

    def make(words, features=2, **policy):
        if store.read() is None:
            store.create(new_batch(features, **policy))
        feature_commands.start(CommandContext(store.project, PERSON))
        make.answer = feature_commands.fail(CommandContext(store.project, PERSON), words).text
        return store.read()

    return make


@pytest.mark.parametrize(
    ("words", "kind", "then", "status"),
    [
        ("AssertionError: 401 != 200", "feature", "pending", "in_progress"),
        ("fatal: unable to access: Could not resolve host: code.invalid", "network", "pending", "in_progress"),
        ("fatal: Unable to create '.git/index.lock': File exists.", "busy", "pending", "in_progress"),
        ("write error: No space left on device", "disk", "pending", "paused"),
        ("To get started with GitHub CLI, please run:  gh auth login", "auth", "pending", "paused"),
        (
            "API Error: Claude Code is unable to respond to this request, which appears to violate our Usage Policy",
            "refusal",
            "failed",
            "in_progress",
        ),
    ],
)
def test_its_class_decides_between_another_try_a_pause_and_the_end(fail, words, kind, then, status):
    assert failure_classification.classify_report(words) == kind
    state = fail(words)
    assert (conditions(state)[0], state["status"]) == (then, status)
    [attempt] = state["attempts"]["0"]
    assert (attempt["failure_class"], attempt["error_message"]) == (kind, words)
    assert state["retry_attempts"] == {"0": 1}
    if status == "paused":
        assert f"user action required ({kind})" in state["pause"]["reason"]


def test_the_time_of_the_next_try_is_kept_and_never_waited_for(fail, monkeypatch):
    monkeypatch.setattr(timestamps, "now", lambda: "2026-01-31T12:00:00Z")
    waits = []
    monkeypatch.setattr(timestamps, "from_now", lambda seconds: waits.append(seconds) or f"in {seconds:.0f} s")
    state = fail("no luck", features=1)
    assert state["attempts"]["0"][-1]["retry_after"] == f"in {waits[0]:.0f} s"
    state = fail("no luck again")
    first, second = waits
    assert 15 <= first <= 30 and 30 <= second <= 60


def test_a_limit_that_says_when_it_ends_is_tried_again_then(fail, monkeypatch):
    monkeypatch.setattr(timestamps, "now", lambda: "2026-01-31T12:00:00Z")
    state = fail("You've hit your limit \u00b7 resets 5pm (UTC)")
    assert state["attempts"]["0"][-1]["retry_after"] == "2026-01-31T17:00:00Z"


def test_a_features_own_allowance_goes_before_the_batchs(store, fail):
    state = {**new_batch(1, max_retries=3), "details": {"0": {"policy": {"max_retries": 0}}}}
    store.create(state)
    state = fail("no luck")
    assert (conditions(state), state["status"]) == (["failed"], "failed")


def test_the_batch_pauses_after_failures_in_a_row_and_ends_when_its_retries_are_used_up(fail):
    state = fail("one", max_failures_in_a_row=2)
    state = fail("two")
    assert (state["status"], state["failures_in_a_row"]) == ("paused", 0)
    with pytest.raises(RefusedError, match="is paused"):
        fail("three")


def test_all_retries_of_a_batch_are_counted_together(fail):
    fail("one", max_retries_total=1)
    fail("two")
    assert conditions(fail("three"))[0] == "failed"


def test_what_is_said_names_the_number_of_features_that_it_blocks(store, fail):
    store.create(new_batch(3, needs={1: [0], 2: [1]}, max_retries=0))
    fail("no luck")
    assert "given up on; 2 features that need it are skipped" in fail.answer


def test_when_a_failure_cannot_be_written_the_work_is_where_it_was(store, repository, monkeypatch):
    git_client.exclude_state_file(str(repository))
    store.create(new_batch(1))
    feature_commands.start(CommandContext(store.project, PERSON))
    (repository / "work.txt").write_text("half done", encoding="utf-8")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_files, "write_all", full)
    git(repository, "add", "work.txt")
    before = git(repository, "status", "--porcelain")
    with pytest.raises(StateError):
        feature_commands.fail(CommandContext(store.project, PERSON), "no luck")
    assert (repository / "work.txt").read_text(encoding="utf-8") == "half done"
    assert git(repository, "status", "--porcelain") == before == "A  work.txt"
    assert git(repository, "stash", "list") == ""
