"""What is unique in a worktree or branch is kept before it goes, with a real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from batch_implement.core.errors import StateError
from batch_implement.git import snapshots, worktrees
from batches import commit, git

REF = "refs/batch/b/1.1"


@pytest.fixture
def tree(repository, tmp_path):
    """The worktree of an attempt, on its branch."""
    (repository / ".gitignore").write_text("lib/\nnode_modules/\n*.pyc\n")
    commit(repository, tracked="old\n")
    folder = tmp_path / "trees" / "b" / "1-add"
    worktrees.add(str(repository), str(folder), "batch/b/1-add", "HEAD")
    return folder


def remove(repository, tree):
    """Remove the worktree; the ref of its snapshot. The repository is pruned as `git gc` does it."""
    ref = worktrees.remove(str(repository), str(tree))
    assert not tree.exists()
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "prune", "--expire=now")
    return ref


def files(repository, ref):
    """The files of a commit and their contents, but for those that were there before."""
    names = git(repository, "ls-tree", "-r", "-z", "--name-only", ref).split("\0")
    new = [name for name in names if name and name not in (".gitignore", "README.md")]
    return {name: git(repository, "show", f"{ref}:{name}") for name in new}


def test_without_anything_unique_nothing_is_kept(repository, tree):
    commit(tree, work="committed")
    (tree / "node_modules" / "x").mkdir(parents=True)
    (tree / "node_modules" / "x" / "index.js").write_text("fetched")
    (tree / "a.pyc").write_text("generated")
    (tree / ".claude").mkdir()
    (tree / ".claude" / "batch_state.json").write_text("{}")
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "exclude").write_text("/.claude/batch_state.json*\n")
    assert remove(repository, tree) is None
    assert git(repository, "for-each-ref", "refs/batch") == ""


def test_files_that_no_commit_has_are_kept_the_ignored_ones_too_and_come_back(repository, tree):
    (tree / "tracked.txt").write_text("new\n")
    (tree / "untracked [x].txt").write_text("u")
    (tree / "lib").mkdir()
    (tree / "lib" / "adder.py").write_text("def add(): ...")
    os.symlink("nowhere", tree / "lib" / "link")
    before = git(tree, "status", "--porcelain"), (Path(git(tree, "rev-parse", "--git-dir")) / "index").read_bytes()
    assert snapshots.keep_worktree(str(tree), REF) == REF
    assert (
        git(tree, "status", "--porcelain"),
        (Path(git(tree, "rev-parse", "--git-dir")) / "index").read_bytes(),
    ) == before
    ref = remove(repository, tree)
    assert ref == REF, "the same is not kept twice"
    kept = {"lib/adder.py": "def add(): ...", "lib/link": "nowhere", "tracked.txt": "new", "untracked [x].txt": "u"}
    assert files(repository, REF) == files(repository, ref) == kept
    git(repository, "checkout", "-q", ref, "--", ".")
    assert (repository / "lib" / "adder.py").read_text() == "def add(): ..."


def test_commits_that_only_the_reflog_has_are_kept(repository, tree):
    lost = commit(tree, lost="l")
    git(tree, "reset", "-q", "--hard", "HEAD~1")
    git(tree, "checkout", "-q", "--detach")
    detached = commit(tree, detached="d")
    git(tree, "checkout", "-q", "batch/b/1-add")
    ref = remove(repository, tree)
    assert ref == REF
    assert {lost, detached} <= set(git(repository, "rev-list", ref).split())


@pytest.mark.parametrize("flag", ["--skip-worktree", "--assume-unchanged"])
def test_changes_that_git_was_told_not_to_see_are_kept(repository, tree, flag):
    git(tree, "update-index", flag, "tracked.txt")
    (tree / "tracked.txt").write_text("hidden\n")
    assert files(repository, remove(repository, tree))["tracked.txt"] == "hidden"


def test_what_only_the_index_has_is_kept(repository, tree):
    (tree / "tracked.txt").write_text("staged\n")
    git(tree, "add", ".")
    (tree / "tracked.txt").write_text("later\n")
    ref = remove(repository, tree)
    assert files(repository, ref)["tracked.txt"] == "later"
    assert git(repository, "show", f"{ref}^2:tracked.txt") == "staged"


def test_in_the_middle_of_a_rebase_the_autostash_and_the_conflict_are_kept(repository, tree):
    side = commit(tree, a="side")
    git(tree, "reset", "-q", "--hard", "HEAD~1")
    commit(tree, a="work")
    (tree / "tracked.txt").write_text("stashed by the rebase\n")
    stopped = subprocess.run(["git", "-C", str(tree), "rebase", "--autostash", side], capture_output=True, check=False)
    assert stopped.returncode != 0
    ref = remove(repository, tree)
    assert "<<<<<<<" in files(repository, ref)["a.txt"]
    commits = git(repository, "rev-list", ref).split()
    assert git(repository, "grep", "-l", "stashed by the rebase", *commits)


def test_a_nested_repository_and_a_submodule_are_kept_with_their_commits_and_files(repository, tree, tmp_path):
    origin = tmp_path / "origin"
    git(tmp_path, "init", "-q", str(origin))
    commit(origin, sub="s")
    git(tree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin), "sub")
    git(tree, "commit", "-qm", "Add a submodule")
    inside = commit(tree / "sub", inside="i")
    (tree / "sub" / "open.txt").write_text("o")
    git(tree, "init", "-q", "nested")
    nested = commit(tree / "nested", nested="n")
    remove(repository, tree)
    refs = git(repository, "for-each-ref", "--format=%(refname)", "refs/batch").split()
    kept = set(git(repository, "rev-list", *refs).split())
    assert {inside, nested} <= kept
    assert "o" in [files(repository, ref).get("open.txt") for ref in refs]


def test_what_cannot_be_kept_stays_with_its_worktree_and_is_named(repository, tree, monkeypatch):
    (tree / "lib").mkdir()
    (tree / "lib" / "large").write_bytes(b"x" * 100)
    monkeypatch.setattr(snapshots, "MAX_IGNORED_BYTES", 99)
    with pytest.raises(StateError, match=r"too large to be kept .*lib/large"):
        worktrees.remove(str(repository), str(tree))
    assert (tree / "lib" / "large").exists()
    monkeypatch.undo()
    git(tree, "init", "-q", "lib/nested")
    with pytest.raises(StateError, match=r"lib/nested is an ignored repository"):
        worktrees.remove(str(repository), str(tree))
    (tree / "lib").rename(tree / "empty")
    with pytest.raises(StateError, match="does not have a commit checked out"):
        worktrees.remove(str(repository), str(tree))
    assert (tree / "empty" / "large").exists()


def test_devices_and_pipes_keep_nothing_back(repository, tree):
    os.mkfifo(tree / "pipe")
    (tree / "untracked.txt").write_text("u")
    assert files(repository, remove(repository, tree))["untracked.txt"] == "u"


def test_a_branch_that_was_rebased_when_it_was_merged_keeps_its_own_commits(repository, tree):
    work = commit(tree, work="w")
    git(tree, "reset", "-q", "--hard", "HEAD~1")
    again = commit(tree, again="a")
    worktrees.remove(str(repository), str(tree))
    worktrees.finish_branch(str(repository), "batch/b/1-add", "HEAD", keep=False)
    refs = git(repository, "for-each-ref", "--format=%(refname)", "refs/batch").split()
    assert {work, again} <= set(git(repository, "rev-list", *refs).split())
    assert git(repository, "branch", "--list", "batch/*") == ""
    worktrees.add(str(repository), str(tree), "batch/b/1-add", "HEAD")
    worktrees.remove(str(repository), str(tree))
    worktrees.finish_branch(str(repository), "batch/b/1-add", "HEAD", keep=False)
    assert git(repository, "for-each-ref", "--format=%(refname)", "refs/batch").split() == refs


@pytest.mark.parametrize(("batch_id", "name"), [("b", "a..b"), (".x.", "y.lock"), ("b c", "~^:?*[\\"), ("", "@{")])
def test_a_ref_has_a_name_that_git_takes(batch_id, name, repository):
    git(repository, "update-ref", snapshots.get_ref(batch_id, name), "HEAD")
