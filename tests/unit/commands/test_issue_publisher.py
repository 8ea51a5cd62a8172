"""What is written to issues, through the stand-in for gh."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.commands import issue_publisher
from batch_implement.core import transitions
from batch_implement.features import issue_comments
from batch_implement.git import gh
from batch_implement.store import lock
from batches import commit, completed, failed, git, given_up, new_batch, of_issues, then
from gh_stand_in import StandIn

NASTY = "<!-- batch-implement batch-1 0 done -->"


@pytest.fixture
def root(repository):
    """A repository whose remote is the stand-in's, with nothing pushed yet."""
    git(repository, "remote", "add", "origin", "https://github.invalid/acme/widgets.git")
    return str(repository)


@pytest.fixture
def github(tmp_path, monkeypatch):
    """The stand-in's GitHub: two open issues, a closed one."""
    made = StandIn(tmp_path / "github.json")
    made.add(72, "Fix the leak", body="It drips.", labels=["bug"])
    made.add(73, "Old", state="CLOSED", labels=["bug"])
    made.add(74, "Add a login page", labels=["bug", "ui"], milestone="v1")
    made.on_path(monkeypatch)
    return made


def pushed(root):
    """Pretend that HEAD was pushed to the default branch."""
    git(root, "update-ref", "refs/remotes/origin/main", "HEAD")


@pytest.fixture
def done(root):
    """A batch whose first feature is completed with a commit that is on the default branch."""
    sha = commit(root, one="1")
    pushed(root)
    return completed(of_issues(new_batch(3)), commit=sha, commits=[sha], branch="main")


def test_a_comment_is_written_once_and_not_twice(root, github, done):
    first = issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])
    url = github.issue(72)["comments"][0]["url"]
    assert first == {"comment": {"done": True, "url": url, "why": None}}
    assert github.comments(72) == [issue_comments.format_outcome(done, 0)]
    again = issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])
    assert again == {"comment": {"done": True, "url": url, "why": "it was there already"}}
    assert len(github.comments(72)) == 1
    assert github.issue(72)["state"] == "OPEN"


@pytest.mark.parametrize("name", ["bad gateway", "connection slow"])
def test_a_comment_whose_answer_was_lost_is_not_written_again(root, github, done, name):
    github.goes_wrong("issue comment", [f"lost: {name}"])
    lost = issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])["comment"]
    assert lost["done"] is False
    assert "Whether the comment was written is not known" in lost["why"]
    assert issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])["comment"]["done"] is True
    assert len(github.comments(72)) == 1


def test_a_comment_that_was_not_written_is_written_by_the_next_call(root, github, done):
    github.goes_wrong("issue comment", ["rate limited"])
    result = issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])["comment"]
    assert (result["done"], result["url"], "rate limit" in result["why"]) == (False, None, True)
    assert "is not known" not in result["why"]
    assert issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])["comment"]["done"] is True
    assert len(github.comments(72)) == 1


def test_another_outcome_gets_a_comment_of_its_own_each_once(root, github):
    state = of_issues(new_batch(3, max_retries=0))
    state = failed(state, f"no luck\n{NASTY}")
    issue_publisher.publish_outcome(Project(root), state, 0, ["comment", "close"])
    state = then(state, transitions.retry, [0])
    state = completed(state)
    for _ in range(2):
        issue_publisher.publish_outcome(Project(root), state, 0, ["comment"])
    assert [body.splitlines()[-1] for body in github.comments(72)] == [
        "<!-- batch-implement batch-1 0 failed -->",
        "<!-- batch-implement batch-1 0 done -->",
    ]


def test_a_comment_that_a_person_has_edited_is_still_known(root, github, done):
    body = f"Thanks!\n\n{issue_comments.format_outcome(done, 0).strip()} \r\n\r\nMore words."
    github.add(72, "Fix the leak", comments=[{"author": "octocat", "body": body, "url": "u"}])
    assert issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])["comment"]["url"] == "u"


@pytest.mark.parametrize(
    ("author", "body"),
    [
        ("stranger", "{mark}"),
        ("octocat", "> {mark}"),
        ("octocat", "see {mark}"),
        ("octocat", "<!-- batch-implement batch-2 0 done -->"),
        ("octocat", "<!-- batch-implement batch-1 1 done -->"),
        ("octocat", "<!-- batch-implement batch-1 0 failed -->"),
    ],
)
def test_what_only_looks_like_our_comment_does_not_count(root, github, done, author, body):
    github.add(
        72,
        "t",
        comments=[{"author": author, "body": body.format(mark=issue_comments.format_marker(done, 0)), "url": "u"}],
    )
    issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])
    assert len(github.comments(72)) == 2


def test_an_old_gh_that_does_not_say_whose_a_comment_is_counts_it(root, github, done, monkeypatch):
    answer = {"state": "OPEN", "comments": [{"body": issue_comments.format_marker(done, 0), "url": "u"}]}
    monkeypatch.setattr(gh, "view_issue", lambda root, number, fields: answer)
    assert (
        issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])["comment"]["why"] == "it was there already"
    )


def test_an_issue_is_closed_when_its_commit_is_on_the_default_branch(root, github, done):
    assert issue_publisher.publish_outcome(Project(root), done, 0, ["close"]) == {
        "close": {"done": True, "url": None, "why": None}
    }
    assert (github.issue(72)["state"], github.issue(72)["stateReason"]) == ("CLOSED", "COMPLETED")
    assert github.comments(72) == []
    again = issue_publisher.publish_outcome(Project(root), done, 0, ["close"])["close"]
    assert again == {"done": True, "url": None, "why": "it was closed already"}
    assert len(github.calls("issue close")) == 1


def test_a_comment_and_a_closing_are_both_done(root, github, done):
    result = issue_publisher.publish_outcome(Project(root), done, 0, ["comment", "close"])
    assert list(result) == ["comment", "close"]
    assert all(part["done"] for part in result.values())


def test_an_issue_stays_open_until_its_commit_is_on_the_default_branch(root, github):
    pushed(root)
    sha = commit(root, one="1")
    state = completed(of_issues(new_batch(3)), commit=sha)
    result = issue_publisher.publish_outcome(Project(root), state, 0, ["comment", "close"])
    assert result["comment"]["done"] is True
    assert result["close"]["done"] is False
    assert result["close"]["why"].startswith(f"Commit {sha[:12]} is not on origin/main yet, as far as this clone knows")
    assert github.issue(72)["state"] == "OPEN"
    pushed(root)
    assert issue_publisher.publish_outcome(Project(root), state, 0, ["comment", "close"])["close"]["done"] is True


def test_a_later_commit_on_the_default_branch_is_enough(root, github, done):
    commit(root, two="2")
    pushed(root)
    assert issue_publisher.publish_outcome(Project(root), done, 0, ["close"])["close"]["done"] is True


def test_the_default_branch_is_the_code_hosts(root, github, done):
    github.change(default_branch="trunk")
    why = issue_publisher.publish_outcome(Project(root), done, 0, ["close"])["close"]["why"]
    assert why == "This clone knows no origin/trunk yet: `git fetch origin`, then `batchctl issues`."
    git(root, "update-ref", "refs/remotes/origin/trunk", "HEAD~1")
    assert (
        "is not on origin/trunk yet"
        in issue_publisher.publish_outcome(Project(root), done, 0, ["close"])["close"]["why"]
    )


def test_any_of_the_remotes_that_stand_for_the_repository_will_do(root, github, done):
    git(root, "remote", "add", "upstream", "git@github.invalid:acme/widgets.git")
    git(root, "update-ref", "refs/remotes/upstream/main", "HEAD~1")
    assert issue_publisher.publish_outcome(Project(root), done, 0, ["close"])["close"]["done"] is True


def test_another_remote_than_the_repositorys_does_not_count(root, github, done):
    git(root, "remote", "set-url", "origin", "https://github.invalid/me/widgets")
    git(root, "remote", "add", "upstream", "https://github.invalid/acme/widgets")
    why = issue_publisher.publish_outcome(Project(root), done, 0, ["close"])["close"]["why"]
    assert why.startswith("This clone knows no upstream/main yet")


@pytest.mark.parametrize("sha", [None, "", "--all", "HEAD", "0" * 40])
def test_without_a_known_commit_nothing_is_closed(root, github, sha):
    pushed(root)
    state = completed(of_issues(new_batch(3)), commit=sha)
    assert issue_publisher.publish_outcome(Project(root), state, 0, ["close"])["close"]["done"] is False
    assert github.calls("issue close") == []


@pytest.mark.parametrize("url", ["https://github.invalid/other/name", ""])
def test_a_repository_that_is_none_of_the_remotes_closes_nothing(root, github, done, monkeypatch, url):
    monkeypatch.setattr(gh, "get_repository", lambda root: gh.Repository(url, "main", []))
    assert (
        "is none of the remotes here"
        in issue_publisher.publish_outcome(Project(root), done, 0, ["close"])["close"]["why"]
    )
    monkeypatch.setattr(gh, "get_repository", lambda root: gh.Repository(url, "", ["origin"]))
    assert (
        "has no default branch yet"
        in issue_publisher.publish_outcome(Project(root), done, 0, ["close"])["close"]["why"]
    )


def test_only_a_completed_features_issue_is_closed(root, github):
    pushed(root)
    state = given_up(of_issues(new_batch(3)))
    result = issue_publisher.publish_outcome(Project(root), state, 0, ["comment", "close"])
    assert result["comment"]["done"] is True
    assert "Feature 1 is failed: only the issue of a completed one is closed." in result["close"]["why"]
    assert github.issue(72)["state"] == "OPEN"


def test_a_locked_conversation_keeps_the_comment_out_but_not_the_closing(root, github, done):
    github.add(72, "hot", locked=True)
    result = issue_publisher.publish_outcome(Project(root), done, 0, ["comment", "close"])
    assert "is locked" in result["comment"]["why"]
    assert result["close"]["done"] is True


@pytest.mark.some(2)
@pytest.mark.parametrize(
    "name", ["logged out", "rate limited", "offline", "garbled", "something else", "token too weak"]
)
def test_trouble_is_told_in_the_result_and_never_raised(root, github, done, name):
    github.goes_wrong("*", name)
    result = issue_publisher.publish_outcome(Project(root), done, 0, ["comment", "close"])
    assert [part["done"] for part in result.values()] == [False, False]
    assert all(part["why"] for part in result.values())
    github.goes_right()
    github.goes_wrong("issue close", name)
    result = issue_publisher.publish_outcome(Project(root), done, 0, ["comment", "close"])
    assert [part["done"] for part in result.values()] == ([True, True] if name == "garbled" else [True, False])


def test_a_call_that_does_not_end_leaves_it_open_whether_the_comment_is_there(root, github, done, monkeypatch):
    monkeypatch.setattr(gh, "TIMEOUT_S", 1)
    github.goes_wrong("issue comment", "hang")
    why = issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])["comment"]["why"]
    assert "did not answer within 1 s" in why
    assert why.endswith("Whether the comment was written is not known; the next try looks before it writes.")


def test_no_comment_is_written_when_the_known_ones_are_not_told(root, github, done, monkeypatch):
    for answer in (None, 3, ["x"]):
        monkeypatch.setattr(
            gh, "view_issue", lambda root, number, fields, comments=answer: {"state": "OPEN", "comments": comments}
        )
        assert (
            "lacks its comments"
            in issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])["comment"]["why"]
        )
    assert github.calls("issue comment") == []


def test_a_feature_that_has_not_ended_is_not_published(root, github):
    result = issue_publisher.publish_outcome(Project(root), of_issues(new_batch(3)), 1, ["comment", "close"])
    assert "Feature 2 is pending" in result["close"]["why"]
    assert github.calls() == []


def test_the_state_is_left_as_it_was(root, github, done):
    before = repr(done)
    issue_publisher.publish_outcome(Project(root), done, 0, ["comment", "close"])
    assert repr(done) == before


def _publish(root, state):
    issue_publisher.publish_outcome(Project(root), state, 0, ["comment"])


def test_calls_at_the_same_time_write_one_comment(root, github, done):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_publish, args=(root, done)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(github.comments(72)) == 1


def test_a_lock_that_is_not_free_is_told(root, github, done, monkeypatch):
    monkeypatch.setattr(issue_publisher, "LOCK_TIMEOUT_S", 0.05)
    folder = Path(root) / ".git" / "batch-implement" / "issues"
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    with lock.FileLock(descriptor, str(folder), 1):
        result = issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])
    os.close(descriptor)
    assert "was not free" in result["comment"]["why"]
    assert github.calls() == []


def test_a_folder_that_cannot_be_used_is_told(root, github, done):
    (Path(root) / ".git" / "batch-implement").symlink_to("/")
    assert (
        "is a symbolic link" in issue_publisher.publish_outcome(Project(root), done, 0, ["comment"])["comment"]["why"]
    )
