"""`batchctl clean` lists what batches have left, and removes what it is told, on real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_implement.commands import batch_commands, cleanup, doctor
from batch_implement.commands.authorization import Caller
from batch_implement.commands.command import CommandContext
from batch_implement.git import worktrees
from batches import commit, git, new_batch

PERSON = Caller("", None, is_user=True)


@pytest.fixture
def left(store, repository):
    """An aborted batch whose run left a merged and an unmerged branch, three worktrees, a snapshot and logs."""
    store.create(new_batch(2))
    batch_commands.abort(CommandContext(store.project, PERSON))
    top = Path(f"{repository}.worktrees/batch-1")
    for name in ("1-done", "2-open"):
        worktrees.add(str(repository), str(top / name), f"batch/batch-1/{name}", "HEAD")
    worktrees.add_detached(str(repository), str(top / "verify-0"), "HEAD")
    commit(top / "1-done", done="1")
    git(repository, "merge", "-q", "--ff-only", "batch/batch-1/1-done")
    commit(top / "2-open", open="2")
    (top / "2-open" / "unique.txt").write_text("only here")
    git(repository, "update-ref", "refs/batch/batch-1/2.1", "batch/batch-1/2-open")
    logs = Path(store.project.private, "logs", "run", "batch-1", "1-1-1")
    logs.mkdir(parents=True)
    (logs / "stderr").write_text("x")
    return store.project


def clean(project, **how):
    return cleanup.clean(CommandContext(project, PERSON), **how).text


def remains(project):
    refs = git(project.root, "for-each-ref", "--format=%(refname)", "refs/heads/batch", "refs/batch").split()
    trees = [Path(path).name for path, _ in worktrees.list_worktrees(project.root)[1:]]
    return refs, sorted(trees), Path(project.private, "logs", "run", "batch-1").exists()


def test_without_an_option_everything_is_listed_and_nothing_removed(left):
    before = remains(left)
    text = clean(left)
    assert remains(left) == before
    for name in ("1-done", "2-open", "verify-0", "refs/batch/batch-1/2.1", "refs/heads/batch/batch-1/2-open", "logs"):
        assert name in text
    assert "Nothing was removed" in text and "--merged" in text


def test_merged_removes_what_head_has_and_names_the_rest(left):
    text = clean(left, merged=True)
    assert remains(left) == (["refs/batch/batch-1/2.1", "refs/heads/batch/batch-1/2-open"], ["2-open"], True)
    assert "4 stay, because they are not merged: `batchctl clean --all`" in text
    assert (Path(f"{left.root}.worktrees/batch-1/2-open/unique.txt")).read_text() == "only here"


def test_all_removes_the_rest_but_keeps_and_names_what_only_a_worktree_had(left):
    tip = git(left.root, "rev-parse", "batch/batch-1/2-open")
    text = clean(left, everything=True)
    assert remains(left) == (["refs/batch/batch-1/2.1-2"], [], False)
    assert git(left.root, "show", "refs/batch/batch-1/2.1-2:unique.txt") == "only here"
    assert "is in refs/batch/batch-1/2.1-2" in text and tip[:12] in text
    clean(left, everything=True)
    assert remains(left) == ([], [], False)


def test_a_batch_that_is_not_over_and_one_that_is_unknown_here_keep_everything(left, store):
    git(left.root, "branch", "batch/elsewhere/1-x")
    git(left.root, "branch", "batch/batch-2/1-x")
    store.create(new_batch(1, batch_id="batch-2"))
    text = clean(left, everything=True)
    assert "batch/batch-2/1-x" in text and "of the batch that is not over" in text
    assert "unknown in this folder" in text
    assert remains(left)[0] == [
        "refs/batch/batch-1/2.1-2", "refs/heads/batch/batch-2/1-x", "refs/heads/batch/elsewhere/1-x",
    ]  # fmt: skip


def test_where_no_batch_has_been_there_is_nothing(store):
    assert clean(store.project) == "No batch has left anything here."


def test_the_doctor_names_worktrees_that_a_batch_has_left(left):
    def found(project):
        return [check["text"] for check in doctor.run_checks(project, {}, "/nowhere") if check["check"] == "worktrees"]

    assert found(left) == ["3 worktrees of earlier batches are left: `batchctl clean` lists what may be removed."]
    clean(left, everything=True)
    assert found(left) == []


def test_merged_removes_a_snapshot_whose_commits_add_nothing_to_head(left):
    root = left.root
    git(root, "merge", "-q", "--squash", "refs/batch/batch-1/2.1")
    git(root, "commit", "-qm", "The same as another commit")
    tree = git(root, "rev-parse", "HEAD^{tree}")
    undone = git(root, "commit-tree", "-m", "Undo", "-p", left_over(root, "never merged"), tree)
    git(root, "update-ref", "refs/batch/batch-1/2.2", undone)
    clean(left, merged=True)
    assert [ref for ref in remains(left)[0] if ref.startswith("refs/batch/")] == ["refs/batch/batch-1/2.2"]


def left_over(root, text):
    """Return a commit on top of HEAD, which no ref has, with a file that HEAD lacks."""
    before = git(root, "rev-parse", "HEAD")
    made = commit(root, unmerged=text)
    git(root, "reset", "-q", "--hard", before)
    return made
