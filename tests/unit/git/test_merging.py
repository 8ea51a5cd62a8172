"""Commits put onto another commit without a worktree: as `git rebase` does it, but for the encoding, which stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from batch_implement.git import merging
from batches import commit, git

FORMAT = "--format=%an|%ae|%ad|%T|%B"


def log(repository: Path, span: str) -> bytes:
    words = ("git", "-C", str(repository), "log", "--reverse", "--encoding=UTF-8", FORMAT, span)
    return subprocess.run(words, check=True, capture_output=True).stdout


def put_on(repository: Path, onto: str, last: str) -> str:
    merged = merging.merge_trees(str(repository), onto, last)
    assert merged.conflicts == []
    return merging.transplant(str(repository), onto, onto, last, merged.tree)


@pytest.fixture
def moved(repository: Path) -> str:
    """A head that has moved on since `main`; HEAD is detached at `main`."""
    commit(repository, shared="one\ntwo\nthree\nfour\nfive\n", gone="x")
    git(repository, "checkout", "-q", "--detach", "main")
    head = commit(repository, shared="ONE\ntwo\nthree\nfour\nfive\n", other="x")
    git(repository, "checkout", "-q", "--detach", "main")
    return head


def test_commits_are_what_git_rebase_makes_of_them(repository, moved):
    git(repository, "mv", "gone.txt", "here.txt")
    git(repository, "commit", "-qm", "Rename\n\n  With a body,\n\nand a trailer: yes")
    git(repository, "commit", "-q", "--allow-empty", "-m", "Nothing")
    git(repository, "-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "--allow-empty", "-m", "nothing \udce9")
    (repository / "here.txt").chmod(0o755)
    git(
        repository,
        "commit",
        "-qam",
        "fixup! Rename",
        "--author",
        "Änne O'Neil <a@example.invalid>",
        "--date",
        "@7 +0530",
    )
    last = commit(repository, shared="one\ntwo\nthree\nfour\nFIVE\n")
    tree, branches = git(repository, "status", "--porcelain"), git(repository, "branch", "-a", "-v")
    new = put_on(repository, moved, last)
    assert (tree, branches) == (git(repository, "status", "--porcelain"), git(repository, "branch", "-a", "-v"))
    git(repository, "rebase", "-q", "--onto", moved, "main", last)
    assert len(log(repository, f"{moved}..{new}").splitlines()) > 8
    assert log(repository, f"{moved}..{new}") == log(repository, f"{moved}..HEAD")


def test_what_others_made_already_is_left_out(repository, moved):
    commit(repository, other="x")
    last = commit(repository, mine="1")
    new = put_on(repository, moved, last)
    assert git(repository, "log", "--format=%s", f"{moved}..{new}").splitlines() == ["Add mine"]


@pytest.mark.parametrize("how", ["back and forth", "a merge"])
def test_commits_that_cannot_be_put_there_one_by_one_become_one_of_their_net_change(repository, moved, how):
    if how == "a merge":
        git(repository, "checkout", "-q", "-b", "side")
        commit(repository, side="1")
        git(repository, "checkout", "-q", "--detach", "main")
        commit(repository, mine="1")
        git(repository, "merge", "-q", "--no-ff", "-m", "Merge", "side")
        last = git(repository, "rev-parse", "HEAD")
    else:
        commit(repository, shared="1\ntwo\nthree\nfour\nfive\n")
        commit(repository, shared="one\ntwo\nthree\nfour\nfive\n")
        last = commit(repository, mine="1")
    new = put_on(repository, moved, last)
    assert git(repository, "rev-parse", f"{new}^") == moved
    assert git(repository, "show", f"{new}:mine.txt") == "1"
    assert git(repository, "show", f"{new}:shared.txt").startswith("ONE")
    body = git(repository, "log", "-1", "--format=%B", new)
    assert "The net change of these commits:" in body and "Add mine" in body
