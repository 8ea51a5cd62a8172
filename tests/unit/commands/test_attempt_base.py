"""`batchctl done` in a run: commits go onto the present head of the batch's branch before they are verified."""

from __future__ import annotations

import os

import pytest
from batch_implement.base import process_identity
from batch_implement.base.project_paths import Project
from batch_implement.commands import attempt_base
from batch_implement.core import transitions
from batch_implement.core.errors import RefusedError
from batch_implement.git import git_client
from batch_implement.store.store import Store
from batches import NOW, commit, git, new_batch

MERGED = "batch/batch-1/merged"
MINE = "batch/batch-1/1-mine"


@pytest.fixture
def attempt(repository):
    """An attempt whose HEAD is a commit on top of `main`, on a branch of its own: `attempt(has_client=True)`."""

    def begin(*, has_client=True, **files):
        base = commit(repository, shared="one\n")
        git(repository, "branch", MERGED)
        git(repository, "checkout", "-q", "-b", MINE)
        git_client.exclude_state_file(str(repository))
        store = Store(Project(str(repository)), trusted=False)
        owner = {**process_identity.new_owner("s-1", os.getpid(), NOW), "driven": True} if has_client else None
        state = {**new_batch(1), "owner": owner, "attempt_of": {"batch_id": "batch-1", "feature_number": 1}}
        store.create(state)
        store.update(lambda current: transitions.start(current, NOW, base, MINE))
        if files:
            commit(repository, **files)
        return store

    return begin


def merge_meanwhile(repository, **files):
    """Move the batch's branch on by a commit, and return it."""
    git(repository, "checkout", "-q", MERGED)
    made = commit(repository, **files)
    git(repository, "checkout", "-q", MINE)
    return made


def follow(store):
    state, text = attempt_base.follow_branch(store, store.require())
    assert state == store.require()
    return text


def test_commits_are_put_onto_what_was_merged_meanwhile_and_the_base_moves_along(attempt, repository):
    store = attempt(mine="1")
    (repository / "ignored.txt").write_text("stays")
    (repository / ".git" / "info" / "exclude").open("a").write("ignored.txt\n")
    tip = merge_meanwhile(repository, other="x")
    text = follow(store)
    assert f"Your commits were put onto {tip[:12]}" in text and "'" + tip[:7] in text and "Add other" in text
    assert git(repository, "rev-parse", "HEAD^") == tip == store.require()["active"]["base_commit"]
    assert git(repository, "branch", "--show-current") == MINE
    assert git(repository, "log", "-1", "--format=%s", "refs/batch/batch-1/1.1-before") == "Add mine"
    assert git(repository, "status", "--porcelain") == ""
    assert (repository / "mine.txt").exists() and (repository / "other.txt").exists()
    assert (repository / "ignored.txt").read_text() == "stays"
    assert follow(store) == ""


def test_a_conflict_is_left_as_marked_files_without_an_operation_and_mended_there(attempt, repository):
    store = attempt(shared="mine\n", more="1")
    old, tip = git(repository, "rev-parse", "HEAD"), merge_meanwhile(repository, shared="theirs\n")
    with pytest.raises(RefusedError) as caught:
        attempt_base.follow_branch(store, store.require())
    assert f"up to {old[:12]} conflict with what was merged meanwhile, in shared.txt." in caught.value.message
    assert "Add shared" in caught.value.message and "`batchctl done` again" in caught.value.message
    assert git(repository, "rev-parse", "HEAD") == tip == store.require()["active"]["base_commit"]
    assert git_client.operation_in_progress(str(repository)) is None
    text = (repository / "shared.txt").read_text()
    assert "<<<<<<<" in text and "mine\n" in text and "theirs\n" in text
    assert git(repository, "status", "--porcelain").split() == ["A", "more.txt", "M", "shared.txt"]
    commit(repository, shared="both\n")
    assert follow(store) == ""
    assert old in git(repository, "reflog", "--format=%H").split()


def test_a_conflict_whose_update_of_the_state_was_killed_is_resolved_there_too(attempt, repository, monkeypatch):
    store = attempt(shared="mine\n")
    tip = merge_meanwhile(repository, shared="theirs\n")

    def die(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "update", die)
        with pytest.raises(KeyboardInterrupt):
            attempt_base.follow_branch(store, store.require())
    assert git(repository, "rev-parse", "HEAD") == tip
    assert "<<<<<<<" in (repository / "shared.txt").read_text() and follow(store) == ""
    commit(repository, shared="both\n")
    assert follow(store) == "" and git(repository, "rev-parse", "HEAD^") == tip


@pytest.mark.parametrize(
    "why", ["uncommitted", "operation", "branch", "no commits", "a run began", "in the way", "in its way", "command"]
)
def test_nothing_moves_when_it_cannot_be_done_safely(attempt, repository, why):
    store = attempt(has_client=why != "command", **({} if why == "no commits" else {"mine": "1", "shared": "mine\n"}))
    if why == "in its way":
        (repository / ".git" / "info" / "exclude").open("a").write("/folder\n")
        git(repository, "checkout", "-q", MERGED)
        (repository / "folder").mkdir()
        (repository / "folder" / "new.txt").write_text("x")
        git(repository, "add", "-f", "folder")
        git(repository, "commit", "-qm", "Add a folder")
        git(repository, "checkout", "-q", MINE)
        (repository / "folder").write_text("a file of the worker's")
    else:
        merge_meanwhile(repository, **{"other": "x", **({"shared": "theirs\n"} if why == "command" else {})})
    if why == "uncommitted":
        (repository / "mine.txt").write_text("more")
    elif why == "operation":
        (repository / ".git" / "CHERRY_PICK_HEAD").write_text(git(repository, "rev-parse", MERGED) + "\n")
    elif why == "branch":
        git(repository, "checkout", "-q", "-b", "elsewhere")
    elif why == "a run began":
        from batch_implement.commands import verify_command

        head = git(repository, "rev-parse", "HEAD")
        os.makedirs(verify_command.run_folder(store.project, store.require(), head))
    elif why == "in the way":
        (repository / ".git" / "info" / "exclude").open("a").write("other.txt\n")
        (repository / "other.txt").write_text("a file of the worker's")
    before = git(repository, "rev-parse", "HEAD"), git(repository, "status", "--porcelain"), store.require()
    assert follow(store) == ""
    assert before == (git(repository, "rev-parse", "HEAD"), git(repository, "status", "--porcelain"), store.require())
    if why in ("in the way", "in its way"):
        name = "other.txt" if why == "in the way" else "folder"
        assert (repository / name).read_text() == "a file of the worker's"


def test_work_that_others_have_done_already_stays_for_the_merge_queue_to_say(attempt, repository):
    store = attempt(same="1")
    merge_meanwhile(repository, same="1")
    assert follow(store) == ""
