"""What an attempt leaves in the user's tree when it ends goes into a snapshot, not into the stash list."""

from __future__ import annotations

import pytest
from batch_implement.commands import batch_commands, feature_commands
from batch_implement.commands.authorization import Caller
from batch_implement.commands.command import CommandContext
from batch_implement.core import transitions
from batch_implement.core.errors import LockTimeout, RefusedError
from batch_implement.git import git_client, leftovers
from batches import NOW, commit, git, new_batch

PERSON = Caller("", None, is_user=True)
REF = "refs/batch/batch-1/1.1"


@pytest.fixture
def opened(store, repository):
    """The store of a batch of two whose first feature is open and has left a change and a new file."""
    git_client.exclude_state_file(str(repository))
    commit(repository, tracked="old")
    store.create(new_batch(2))
    start(store)
    leave(repository)
    return store


def start(store):
    return feature_commands.start(CommandContext(store.project, PERSON)).text


def fail(store, reason="no luck"):
    return feature_commands.fail(CommandContext(store.project, PERSON), reason).text


def leave(repository):
    (repository / "tracked.txt").write_text("half", encoding="utf-8")
    (repository / "new.txt").write_text("half", encoding="utf-8")


def look(repository):
    """Everything that a refusal must leave as it is."""
    files = {path.name: path.read_bytes() for path in repository.iterdir() if path.is_file()}
    return files, git(repository, "status", "--porcelain"), git(repository, "stash", "list"), git(repository, "log")


def is_clean(repository):
    return git(repository, "status", "--porcelain") == "" == git(repository, "stash", "list")


WAYS = {
    "fail": fail,
    "skip": lambda store: batch_commands.skip(CommandContext(store.project, PERSON), 0, "not now").text,
    "abort": lambda store: batch_commands.abort(CommandContext(store.project, PERSON)).text,
}


@pytest.mark.parametrize("way", WAYS)
def test_leftovers_go_into_a_snapshot_that_the_answer_brings_back(opened, repository, way):
    text = WAYS[way](opened)
    assert is_clean(repository)
    assert f"is in `{REF}`: `git cherry-pick -n -m 1 {REF}` brings it back" in text
    git(repository, "cherry-pick", "-n", "-m", "1", REF)
    assert [(repository / name).read_text() for name in ("tracked.txt", "new.txt")] == ["half", "half"]


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_leaves_tree_index_and_stashes_as_they_were(opened, repository, way, monkeypatch):
    git(repository, "add", "new.txt")
    (repository / "new.txt").write_text("later", encoding="utf-8")
    before, state = look(repository), opened.read()

    def refuse(*_):
        raise LockTimeout("The lock is held.", "lock", "somebody")

    for name in ("update", "update_with_result", "archive"):
        monkeypatch.setattr(type(opened), name, refuse)
    with pytest.raises(LockTimeout):
        WAYS[way](opened)
    monkeypatch.undo()
    assert look(repository) == before
    assert opened.read() == state


def test_an_attempt_that_was_closed_meanwhile_is_refused_and_its_tree_stays(opened, repository, monkeypatch):
    before = look(repository)
    real = leftovers.keep

    def keep_and_be_late(*arguments):
        ref = real(*arguments)
        monkeypatch.undo()
        opened.update(lambda state: transitions.fail(state, NOW, "elsewhere", "feature"))
        return ref

    monkeypatch.setattr(leftovers, "keep", keep_and_be_late)
    with pytest.raises(RefusedError, match="not open any more"):
        fail(opened)
    assert look(repository) == before


@pytest.mark.parametrize("way", ["fail", "skip"])
def test_what_a_kill_left_in_the_tree_is_taken_out_before_the_next_feature(opened, repository, way, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(leftovers, "take_out", die)
    with pytest.raises(KeyboardInterrupt):
        WAYS[way](opened)
    monkeypatch.undo()
    assert not is_clean(repository) and opened.read()["leftovers"]["snapshot"] == REF
    start(opened)
    assert is_clean(repository)
    assert "leftovers" not in opened.read()


def test_what_was_brought_back_on_purpose_stays(opened, repository):
    fail(opened)
    git(repository, "cherry-pick", "-n", "-m", "1", REF)
    start(opened)
    assert (repository / "tracked.txt").read_text() == "half"


def test_what_the_user_made_between_two_attempts_stays_where_it_is(opened, repository):
    fail(opened)
    (repository / "notes.txt").write_text("the user's", encoding="utf-8")
    (repository / "README.md").write_text("the user's", encoding="utf-8")
    start(opened)
    leave(repository)
    fail(opened, "no luck again")
    assert git(repository, "status", "--porcelain").split("\n") == [" M README.md", "?? notes.txt"]
    assert git(repository, "diff", "--name-only", "refs/batch/batch-1/2.1^1", "refs/batch/batch-1/2.1").split() == [
        "new.txt",
        "tracked.txt",
    ]


def test_the_next_attempt_is_told_where_the_work_of_the_last_one_is(opened):
    fail(opened)
    start(opened)
    fail(opened)
    assert f"Its uncommitted work is in `{REF}`: `git cherry-pick -n -m 1 {REF}`" in start(opened)
