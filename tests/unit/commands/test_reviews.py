"""Reviews that bind: to an attempt, and to what its commits change, with a real git."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from batch_implement.base import timestamps
from batch_implement.base.project_paths import Project
from batch_implement.commands import evidence, feature_commands, reviews
from batch_implement.commands.authorization import Caller
from batch_implement.commands.command import CommandContext
from batch_implement.core import review_verdicts, transitions
from batch_implement.core.errors import RefusedError
from batch_implement.git import git_client
from batch_implement.store.store import Store
from batches import NOW, commit, git, new_batch, owner, then

GOOD, FIX = "VERDICT: good\nNothing to fix.", "VERDICT: fix\none.txt:1: wrong"


@pytest.fixture
def project(repository):
    """The scratch repository's places."""
    return Project(str(repository))


@pytest.fixture
def opened(project):
    """A batch that requires reviews, whose first feature is open at HEAD."""
    batch = new_batch(2, evidence=["commit", "review"])
    return then(batch, transitions.start, NOW, git_client.get_head(project.root), "main")


def change_of(project, state):
    return reviews.identify_change(project.root, evidence.attribute_work(project, state).commits)


def reviewed(project, state, text=GOOD, agent="r-1"):
    """The state after a review of what is committed now."""
    change = change_of(project, state)
    state = then(state, review_verdicts.begin, NOW, agent, git_client.get_head(project.root), change)
    return then(state, review_verdicts.end, agent, text, change)


def refusal(project, state):
    with pytest.raises(RefusedError) as caught:
        evidence.collect(project, state)
    assert caught.value.topic == "review-missing"
    return caught.value.message


def test_a_missing_review_is_named_with_what_is_to_be_reviewed(project, opened):
    commit(project.root, one="1")
    message = refusal(project, opened)
    assert "this attempt has none" in message
    assert f"`batch-implement:reviewer` review `git diff {opened['active']['base_commit'][:12]}..HEAD`" in message
    begun = then(opened, review_verdicts.begin, NOW, "r-1", None, change_of(project, opened))
    assert "one that was begun has not ended" in refusal(project, begun)


@pytest.fixture
def under_review(project, opened):
    """The batch on disk, whose owner began a review of its commit a moment ago: (store, the commit's change)."""
    info = Path(project.root, ".git", "info")
    info.mkdir(exist_ok=True)
    (info / "exclude").write_text(".claude/\n")
    commit(project.root, one="1")
    change, now = change_of(project, opened), timestamps.now()
    state = then({**opened, "owner": owner()}, review_verdicts.begin, now, "r-1", None, change)
    store = Store(project)
    store.create(state)
    return store, change


def test_a_review_in_the_background_is_waited_for(project, under_review):
    store, change = under_review
    with pytest.raises(reviews.ReviewRunning, match="run `batchctl done` again") as caught:
        evidence.collect(project, store.read(), wait_s=0)
    assert caught.value.exit_code == 4
    ending = threading.Timer(0.2, store.update, [lambda state: review_verdicts.end(state, "r-1", GOOD, change)])
    ending.start()
    assert evidence.collect(project, store.read(), wait_s=60)["review"] == GOOD
    ending.join()


def test_a_review_whose_client_is_gone_is_not_waited_for(project, under_review):
    store, _ = under_review
    later = {**owner(), "since": timestamps.from_now(5)}
    assert "has not ended" in refusal(project, {**store.read(), "owner": later})
    assert "has not ended" in refusal(project, {**store.read(), "owner": None})


def test_a_review_of_other_commits_is_not_waited_for(project, under_review):
    commit(project.root, one="2")
    assert "has not ended" in refusal(project, under_review[0].read())


def test_a_good_review_of_what_is_committed_is_evidence(project, opened):
    commit(project.root, one="1")
    assert evidence.collect(project, reviewed(project, opened))["review"] == GOOD


@pytest.mark.parametrize("text", ["VERDICT: mend", "Looks right.", "VERDICT: good, mostly\nRun `x`"])
def test_a_review_without_a_verdict_is_none(project, opened, text):
    commit(project.root, one="1")
    message = refusal(project, reviewed(project, opened, text))
    assert "neither `VERDICT: good` nor `VERDICT: fix`" in message
    assert "\n> " + text.split("\n")[0] + "\nLet the agent" in message


def test_fix_needs_a_later_commit_and_another_review(project, opened):
    commit(project.root, one="1")
    state = reviewed(project, opened, FIX)
    message = refusal(project, state)
    assert "`VERDICT: fix` (1 review of 3 used)" in message
    assert "> one.txt:1: wrong" in message
    assert "`VERDICT: fix`" in refusal(project, reviewed(project, state, GOOD, "r-2"))
    git(project.root, "commit", "-q", "--allow-empty", "-m", "Nothing")
    assert "`VERDICT: fix`" in refusal(project, state)
    commit(project.root, one="2")
    assert "is not what the last review looked at" in refusal(project, state)
    assert evidence.collect(project, reviewed(project, state, GOOD, "r-2"))["review"] == GOOD


@pytest.mark.parametrize("later", ["another file", "the same file", "only blanks", "a mode", "an amend", "a binary"])
def test_a_review_of_an_earlier_change_does_not_count(project, opened, later):
    root = project.root
    Path(root, "data").write_bytes(b"\0one")
    commit(root, one="if x:\n    y\n    z\n")
    state = reviewed(project, opened)
    if later == "another file":
        commit(root, two="2")
    elif later == "the same file":
        commit(root, one="if x:\n    y\n    w\n")
    elif later == "only blanks":
        commit(root, one="if x:\n    y\nz\n")
    elif later == "a mode":
        Path(root, "one.txt").chmod(0o755)
        commit(root)
    elif later == "a binary":
        Path(root, "data").write_bytes(b"\0two")
        commit(root)
    else:
        Path(root, "one.txt").write_text("2")
        git(root, "commit", "-qa", "--amend", "--no-edit")
    assert "is not what the last review looked at" in refusal(project, state)


def test_a_review_survives_what_changes_no_content(project, opened):
    commit(project.root, one="1")
    commit(project.root, two="2")
    state = reviewed(project, opened)
    git(project.root, "commit", "-q", "--amend", "-m", "Another message")
    assert evidence.collect(project, state)["review"] == GOOD
    git(project.root, "reset", "-q", "--soft", state["active"]["base_commit"])
    git(project.root, "commit", "-qm", "Both in one")
    assert evidence.collect(project, state)["review"] == GOOD


def fetch_upstream(root, folder, start, **files):
    """Commit files in a clone, on top of `start`, and fetch that commit as the branch `upstream`."""
    git(root, "clone", "-q", root, str(folder))
    git(folder, "checkout", "-q", start)
    commit(folder, **files)
    git(root, "fetch", "-q", str(folder), "HEAD:refs/remotes/other/upstream")


LINES = [f"line {number}\n" for number in range(40)]


def test_a_clean_rebase_keeps_the_review_also_in_a_file_that_upstream_changed(project, tmp_path):
    root = project.root
    commit(root, shared="".join(LINES))
    batch = new_batch(1, evidence=["commit", "review"])
    state = then(batch, transitions.start, NOW, git_client.get_head(root), "main")
    commit(root, shared="".join([*LINES[:-1], "feature\n"]))
    state = reviewed(project, state)
    upstream = {"shared": "".join(["upstream\n", "more\n", *LINES]), "other": "x"}
    fetch_upstream(root, tmp_path / "clone", state["active"]["base_commit"], **upstream)
    git(root, "rebase", "-q", "other/upstream")
    assert evidence.collect(project, state)["review"] == GOOD
    commit(root, shared=Path(root, "shared.txt").read_text() + "later\n")
    assert "is not what the last review looked at" in refusal(project, state)


def test_a_commit_of_somebody_else_on_top_keeps_the_review(project, opened, tmp_path):
    root = project.root
    commit(root, one="1")
    state = reviewed(project, opened)
    fetch_upstream(root, tmp_path / "clone", "main", theirs="x")
    git(root, "merge", "-q", "--ff-only", "other/upstream")
    assert evidence.collect(project, state)["review"] == GOOD


def test_a_feature_without_a_change_needs_no_review(project, opened):
    taken = evidence.collect(project, opened, no_change="it is there")
    assert (taken["no_change"], taken["review"]) == ("it is there", None)


def test_where_no_review_is_required_only_one_of_what_is_completed_is_kept(project):
    state = then(new_batch(1), transitions.start, NOW, git_client.get_head(project.root), "main")
    commit(project.root, one="1")
    state = reviewed(project, state, FIX)
    assert evidence.collect(project, state)["review"] == FIX
    commit(project.root, one="2")
    assert evidence.collect(project, state)["review"] is None


def test_without_git_a_review_is_of_its_attempt(tmp_path):
    project = Project(str(tmp_path))
    state = then(new_batch(1, evidence=["review"]), transitions.start, NOW, None)
    assert "this attempt has none" in refusal(project, state)
    state = then(state, review_verdicts.begin, NOW, "r-1", None, reviews.NO_CHANGE)
    state = then(state, review_verdicts.end, "r-1", GOOD, reviews.NO_CHANGE)
    assert evidence.collect(project, state)["review"] == GOOD


def test_the_attempt_fails_after_three_reviews_that_approve_nothing(project, store, opened):
    state = opened
    for number in range(3):
        commit(project.root, one=str(number))
        state = reviewed(project, state, FIX, f"r-{number}")
    commit(project.root, one="3")
    store.create({**state, "revision": 0})
    git_client.exclude_state_file(project.root)
    result = feature_commands.done(CommandContext(project, Caller("", None, is_user=True)))
    assert "had 3 reviews, and none of them says `VERDICT: good`" in result.message
    assert "So this attempt has failed. Feature 1 of 2 is to be tried again (1 attempt used)." in result.message
    ended = store.read()
    assert (ended["active"], ended["completed_features"], ended["retry_attempts"]) == (None, [], {"0": 1})
    assert "> one.txt:1: wrong" in ended["attempts"]["0"][0]["error_message"]


def test_the_third_review_can_approve(project, opened):
    state = opened
    for number, text in enumerate((FIX, FIX, GOOD)):
        commit(project.root, one=str(number))
        state = reviewed(project, state, text, f"r-{number}")
    assert evidence.collect(project, state)["review"] == GOOD
    commit(project.root, one="later")
    with pytest.raises(reviews.ReviewsExhausted):
        evidence.collect(project, state)
