"""Which commits an attempt made, by real reflogs and by what was fetched."""

from __future__ import annotations

import shutil

import pytest
from batch_implement.base import timestamps
from batch_implement.git import own_commits
from batches import commit, git

LONG_AGO = "2001-01-01T00:00:00Z"


@pytest.fixture
def root(repository):
    """The scratch repository's path."""
    return str(repository)


@pytest.fixture
def base(root):
    """The commit that the attempt begins at."""
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def elsewhere(root, tmp_path):
    """A clone in which commits are made that the repository then fetches."""
    git(tmp_path, "clone", "-q", root, "elsewhere")
    git(root, "remote", "add", "origin", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere"


def new(root, base):
    return git(root, "rev-list", f"{base}..HEAD").split()


def made_here(root, base, since=LONG_AGO):
    return own_commits.list_made_here(root, new(root, base), base, since)


def of_attempt(root, base):
    return own_commits.list_of_attempt(root, new(root, base), base, LONG_AGO, "batch/b/merged")


def replay(root, sha):
    """Move HEAD to the commit as a tool does that keeps no reflog of what it makes."""
    git(root, "reset", "-q", "--hard", sha)


def bot_commit(root, name):
    """A commit that another program wrote, without a word in a reflog."""
    identity = ("-c", "user.name=bot", "-c", "user.email=bot@example.invalid")
    sha = git(root, *identity, "commit-tree", "-p", "HEAD", "-m", name, git(root, "write-tree"))
    replay(root, sha)
    return sha


def test_whatever_makes_a_commit_here_makes_it_the_features(root, base):
    git(root, "checkout", "-qb", "side")
    picked, sided = commit(root, picked="1"), commit(root, side="1")
    git(root, "checkout", "-q", "main")
    git(root, "-c", "user.email=bot@example.invalid", "commit", "-q", "--allow-empty", "-m", "By a bot: fast-forward")
    git(root, "cherry-pick", "-x", picked)
    git(root, "revert", "--no-edit", "HEAD")
    git(root, "merge", "-q", "--no-edit", "side")
    git(root, "commit", "-q", "--amend", "-m", "The merge")
    git(root, "checkout", "-qb", "topic", base)
    commit(root, topic="1")
    git(root, "rebase", "-q", "main")
    assert made_here(root, base) == set(new(root, base))
    assert sided in new(root, base)


def test_a_commit_made_in_another_worktree_on_no_branch_is_own(root, base, tmp_path):
    git(root, "worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    made = commit(tmp_path / "other", one="1")
    git(root, "merge", "-q", "--ff-only", made)
    assert made_here(root, base) == {made}


@pytest.mark.parametrize("pull", [("merge", "--ff-only"), ("reset", "--hard"), ("rebase",), ("cherry-pick", "--ff")])
def test_what_was_only_fetched_is_not_own(root, base, elsewhere, pull):
    theirs = commit(elsewhere, theirs="1")
    git(root, "fetch", "-q", "origin")
    git(root, *pull, "origin/main")
    assert new(root, base) == [theirs]
    assert made_here(root, base) == set()
    assert of_attempt(root, base) == set()


def test_a_merge_of_what_was_fetched_is_own_but_not_what_it_brings(root, base, elsewhere):
    commit(elsewhere, theirs="1")
    mine = commit(root, mine="1")
    git(root, "pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
    assert made_here(root, base) == of_attempt(root, base) == {mine, git(root, "rev-parse", "HEAD")}


def test_what_was_made_here_before_the_attempt_is_not_own(root, base, monkeypatch):
    git(root, "checkout", "-qb", "side")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@1000000000 +0000")
    old = commit(root, old="1")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    git(root, "checkout", "-q", "main")
    fresh = commit(root, fresh="1")
    git(root, "merge", "-q", "--no-edit", "side")
    assert old in new(root, base)
    since = timestamps.from_now(-3600)
    assert made_here(root, base, since) == {fresh, git(root, "rev-parse", "HEAD")}


def test_a_commit_with_a_date_of_the_past_is_own_when_it_was_made_since(root, monkeypatch):
    base = commit(root, base="1")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@1000000000 +0000")
    made = commit(root, one="1")
    assert made_here(root, base, timestamps.now()) == {made}


def test_without_reflogs_the_committer_and_the_time_decide(root, base, elsewhere):
    git(root, "config", "core.logAllRefUpdates", "false")
    shutil.rmtree(f"{root}/.git/logs")
    theirs, mine = commit(elsewhere, theirs="1"), commit(root, mine="1")
    git(root, "pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
    bot = bot_commit(root, "by a bot")
    assert {theirs, mine, bot} < set(new(root, base))
    assert made_here(root, base) == {mine, git(root, "rev-parse", "HEAD~1")}
    assert made_here(root, base, timestamps.from_now(3600)) == set()


def test_in_a_run_a_commit_is_own_whoever_wrote_it_and_even_when_it_was_pushed(root, base, elsewhere):
    bot = bot_commit(root, "by a bot")
    assert (made_here(root, base), of_attempt(root, base)) == (set(), {bot})
    mine = commit(root, mine="1")
    git(elsewhere, "checkout", "-q", "--detach")
    git(root, "push", "-q", "origin", "HEAD:refs/heads/topic")
    assert mine in of_attempt(root, base)


def test_in_a_run_what_the_batch_has_already_is_not_own(root, base):
    git(root, "checkout", "-qb", "batch/b/merged")
    merged = commit(root, merged="1")
    git(root, "checkout", "-qb", "attempt", base)
    git(root, "reflog", "expire", "--expire=all", "--all")
    git(root, "merge", "-q", "--ff-only", "batch/b/merged")
    assert new(root, base) == [merged]
    assert of_attempt(root, base) == set()
