"""What is read from issues and written to them, through the stand-in for gh."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest
from batch_implement.core import transitions
from batch_implement.core.errors import RefusedError, UsageError
from batch_implement.features import github_issues, issue_comments
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
    """The stand-in's GitHub: three open issues, a closed one, a pull request."""
    made = StandIn(tmp_path / "github.json")
    made.add(72, "Fix the leak", body="It drips.\r\n\tA lot.", labels=["bug"])
    made.add(73, "Old", state="CLOSED", labels=["bug"])
    made.add(74, "Add a login page", labels=["bug", "ui"], milestone="v1")
    made.add(75, "Mend the leak", pull_request=True, labels=["bug"])
    made.add(90, "Fix the leak", labels=["ui"], milestone="v1")
    made.on_path(monkeypatch)
    return made


def refusal(kind, call, *arguments, **options):
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    assert caught.value.message.isprintable()
    return caught.value.message


def read_numbers(found):
    return [issue["number"] for issue in found.issues]


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["72"], [72]), (["#74"], [74]), (["72,73"], [72, 73]), (["9", "#3,4", "1"], [9, 3, 4, 1]),
        (["72,", "73"], [72, 73]), (["#1, #2"], [1, 2]), (["007"], [7]), (["2147483647"], [2147483647]),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(words, expected):
    assert github_issues.parse_numbers(words) == expected


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["72", "x73"], "'x73'"), (["-1"], "'-1'"), (["+1"], "'+1'"), (["0"], "'0'"), (["#0"], "'#0'"),
        (["##7"], "'##7'"), (["7.5"], "'7.5'"), (["1e3"], "'1e3'"), (["\u0667"], "'\u0667'"),
        (["\uff17"], "'\uff17'"), ([""], "''"), ([","], "','"), (["12345678901"], "'12345678901'"),
        (["2147483648"], "'2147483648'"), (["7 8"], "'7 8'"), (["72,#72"], "'#72'"), (["7", "07"], "'07'"),
        (["a\x1b[2Jb"], "'a [2Jb'"), (["https://x.invalid/issues/7"], "7'"), (["9" * 5000], "no issue number"),
    ],
)  # fmt: skip
def test_a_word_that_is_no_number_or_one_again_is_named(words, named):
    assert named in refusal(UsageError, github_issues.parse_numbers, words)


def test_no_numbers_and_too_many_are_refused():
    assert "No issue number is given" in refusal(UsageError, github_issues.parse_numbers, [])
    assert len(github_issues.parse_numbers([str(number) for number in range(1, 1001)])) == 1000
    assert "1,001 issues are named" in refusal(
        UsageError, github_issues.parse_numbers, [str(number) for number in range(1, 1002)]
    )


# -- reading -----------------------------------------------------------------------------------------------------------


def test_issues_are_read_in_the_order_given_and_closed_ones_are_left_out_and_told(root, github):
    found = github_issues.read_issues(root, numbers=[90, 73, 72])
    assert read_numbers(found) == [90, 72]
    assert found.closed == [73]
    assert found.unreadable == []
    assert found.issues[1] == {
        "number": 72, "title": "Fix the leak", "body": "It drips.\n    A lot.",
        "url": "https://github.invalid/acme/widgets/issues/72",
    }  # fmt: skip


def test_issues_of_a_label_or_milestone_are_read_by_number(root, github):
    assert read_numbers(github_issues.read_issues(root, label="ui")) == [74, 90]
    assert read_numbers(github_issues.read_issues(root, milestone="v1")) == [74, 90]
    assert read_numbers(github_issues.read_issues(root, label="bug", milestone="v1")) == [74]


def test_an_issue_that_the_list_still_has_but_is_closed_is_left_out_and_told(root, github):
    github.add(60, "Just closed", state="CLOSED", labels=["ui"], index_lags=True)
    found = github_issues.read_issues(root, label="ui")
    assert (read_numbers(found), found.closed) == ([74, 90], [60])


def test_issues_become_features_that_differ_even_under_one_title(root, github):
    assert github_issues.to_features(github_issues.read_issues(root, numbers=[72, 90])) == [
        (
            "Fix the leak (#72)", 72,
            {"description": "It drips.\n    A lot.", "url": "https://github.invalid/acme/widgets/issues/72"},
        ),
        ("Fix the leak (#90)", 90, {"url": "https://github.invalid/acme/widgets/issues/90"}),
    ]  # fmt: skip


def test_titles_and_bodies_are_cleaned_and_keep_their_lines(root, github):
    github.add(80, "a\x1b[31mb\u202ec\nd\x00", body="one\r\ntwo\x07\u2066\rthree\n\n```\n$(touch x)\n```\n\n")
    github.add(81, " \u200f ", body=None)
    first, second = github_issues.read_issues(root, numbers=[80, 81]).issues
    assert first["title"] == "a [31mb c d"
    assert first["body"] == "one\ntwo  \nthree\n\n```\n$(touch x)\n```"
    assert (second["title"], second["body"]) == ("untitled", "")


def test_a_long_body_is_cut_and_says_so(root, github):
    github.add(80, "long", body="x" * 50_000)
    github.add(81, "longer", body="x" * 50_001)
    first, second = github_issues.read_issues(root, numbers=[80, 81]).issues
    assert first["body"] == "x" * 50_000
    assert second["body"] == "x" * 50_000 + (
        "\n\n[cut after 50,000 characters; all of it: https://github.invalid/acme/widgets/issues/81]"
    )


def test_a_pull_request_is_refused_as_one(root, github):
    message = refusal(RefusedError, github_issues.read_issues, root, numbers=[72, 75])
    assert message.startswith("75 is a pull request, not an issue (https://github.invalid/acme/widgets/pull/75).")


def test_a_repository_called_pull_has_issues(root, github):
    github.change(url="https://github.invalid/acme/pull")
    git(root, "remote", "set-url", "origin", "https://github.invalid/acme/pull")
    assert read_numbers(github_issues.read_issues(root, numbers=[72])) == [72]


def test_one_unreadable_issue_refuses_all_of_them(root, github):
    assert refusal(RefusedError, github_issues.read_issues, root, numbers=[72, 999]).startswith("There is no issue 999")


def test_unreadable_issues_can_be_skipped_and_are_told(root, github):
    github.goes_wrong("issue view 74", "garbled")
    github.goes_wrong("issue view 90", "something else")
    found = github_issues.read_issues(root, numbers=[999, 74, 72, 75, 90, 73], skip_unreadable=True)
    assert (read_numbers(found), found.closed) == ([72], [73])
    assert [number for number, _ in found.unreadable] == [999, 74, 75, 90]
    assert "There is no issue 999" in found.unreadable[0][1]
    assert "is a pull request" in found.unreadable[2][1]


@pytest.mark.parametrize(
    "name", ["logged out", "token expired", "rate limited", "offline", "bad gateway", "no such repository", "too old"]
)
def test_what_concerns_every_issue_is_never_skipped(root, github, name):
    github.goes_wrong("issue view 74", name)
    refusal(RefusedError, github_issues.read_issues, root, numbers=[72, 74], skip_unreadable=True)


def test_without_gh_nothing_is_skipped(root, github, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert "was not found on PATH" in refusal(
        RefusedError, github_issues.read_issues, root, numbers=[72], skip_unreadable=True
    )


def test_nothing_is_read_on_after_one_that_could_not_be(root, github):
    github.goes_wrong("issue view 999", "logged out")
    for number in range(100, 160):
        github.add(number, f"issue {number}")
    refusal(RefusedError, github_issues.read_issues, root, numbers=[999, *range(100, 160)])
    assert len(github.calls("issue view")) < 30


def test_no_open_issue_left_is_refused_with_the_reasons(root, github):
    message = refusal(RefusedError, github_issues.read_issues, root, numbers=[73, 999], skip_unreadable=True)
    assert message.startswith("No open issue is left to work on: 73 is closed; There is no issue 999")


def test_a_label_or_milestone_that_nothing_has_says_how_to_look(root, github):
    message = refusal(RefusedError, github_issues.read_issues, root, label="good first issue")
    assert message == (
        "No open issue has the label 'good first issue'. Look: `gh label list` shows the labels, `gh issue list "
        "--state all --label 'good first issue'` what there is, closed ones too."
    )
    message = refusal(RefusedError, github_issues.read_issues, root, label="bug", milestone="v2")
    assert "the label 'bug' and the milestone 'v2'" in message
    assert "`gh issue list --state all --label bug --milestone v2`" in message
    assert "milestone '9'" in refusal(RefusedError, github_issues.read_issues, root, milestone="9")


def test_more_than_gh_lists_is_refused(root, github, monkeypatch):
    monkeypatch.setattr(gh, "MAX_ISSUES", 2)
    assert "there may be more" in refusal(RefusedError, github_issues.read_issues, root, label="ui")
    assert github.calls("issue list")[0]["arguments"][-3:-1] == ["2", "--json"]
    monkeypatch.setattr(gh, "MAX_ISSUES", 3)
    assert len(github_issues.read_issues(root, label="ui").issues) == 2


@pytest.mark.parametrize("options", [{}, {"numbers": [72], "label": "ui"}, {"numbers": [72], "milestone": "v1"}])
def test_issues_are_named_in_one_way(root, github, options):
    assert "Say which issues" in refusal(UsageError, github_issues.read_issues, root, **options)


@pytest.mark.parametrize("options", [{"label": ""}, {"label": " "}, {"milestone": "a\nb"}, {"label": "\x1b"}])
def test_a_label_or_milestone_is_a_name(root, github, options):
    assert "is blank or has control characters" in refusal(UsageError, github_issues.read_issues, root, **options)
    assert github.calls() == []


@pytest.mark.parametrize("wrong", ["title", "url", "state", "number", "body"])
def test_an_answer_that_lacks_something_is_refused(root, github, monkeypatch, wrong):
    answer = {"number": 72, "title": "t", "body": "b", "url": "https://github.invalid/a/b/issues/72", "state": "OPEN"}
    monkeypatch.setattr(gh, "view_issue", lambda root, number: {**answer, wrong: 7})
    assert "lacks what was asked for" in refusal(RefusedError, github_issues.read_issues, root, numbers=[72])
    monkeypatch.setattr(gh, "list_issues", lambda root, label, milestone: [{**answer, wrong: None, "number": "72"}])
    assert "without a number" in refusal(RefusedError, github_issues.read_issues, root, label="ui")


def test_eight_issues_are_read_at_a_time(monkeypatch):
    together = threading.Barrier(8, timeout=20)
    running, most = set(), []

    def view(root, number):
        running.add(number)
        most.append(len(running))
        together.wait()
        running.discard(number)
        url = f"https://github.invalid/a/b/issues/{number}"
        return {"number": number, "title": "t", "body": "", "url": url, "state": "OPEN"}

    monkeypatch.setattr(gh, "view_issue", view)
    assert read_numbers(github_issues.read_issues("/", numbers=range(64, 0, -1))) == list(range(64, 0, -1))
    assert max(most) == 8


# -- writing -----------------------------------------------------------------------------------------------------------


def pushed(root):
    """Pretend that HEAD was pushed to the default branch."""
    git(root, "update-ref", "refs/remotes/origin/main", "HEAD")


@pytest.fixture
def done(root):
    """A batch whose first feature is completed with a commit that is on the default branch."""
    sha = commit(root, one="1")
    pushed(root)
    return completed(of_issues(new_batch(3)), commit=sha, commits=[sha], branch="main")


def test_nothing_is_written_without_being_asked(root, github, done):
    assert github_issues.publish(root, done, 0, comment=False, close=False) == {}
    assert github.calls() == []


def test_a_comment_is_written_once_and_not_twice(root, github, done):
    first = github_issues.publish(root, done, 0, comment=True, close=False)
    url = github.issue(72)["comments"][0]["url"]
    assert first == {"comment": {"done": True, "url": url, "why": None}}
    assert github.comments(72) == [issue_comments.format_outcome(done, 0)]
    again = github_issues.publish(root, done, 0, comment=True, close=False)
    assert again == {"comment": {"done": True, "url": url, "why": "it was there already"}}
    assert len(github.comments(72)) == 1
    assert github.issue(72)["state"] == "OPEN"


@pytest.mark.parametrize("name", ["bad gateway", "connection slow"])
def test_a_comment_whose_answer_was_lost_is_not_written_again(root, github, done, name):
    github.goes_wrong("issue comment", [f"lost: {name}"])
    lost = github_issues.publish(root, done, 0, comment=True, close=False)["comment"]
    assert lost["done"] is False
    assert "Whether the comment was written is not known" in lost["why"]
    assert github_issues.publish(root, done, 0, comment=True, close=False)["comment"]["done"] is True
    assert len(github.comments(72)) == 1


def test_a_comment_that_was_not_written_is_written_by_the_next_call(root, github, done):
    github.goes_wrong("issue comment", ["rate limited"])
    result = github_issues.publish(root, done, 0, comment=True, close=False)["comment"]
    assert (result["done"], result["url"], "rate limit" in result["why"]) == (False, None, True)
    assert "is not known" not in result["why"]
    assert github_issues.publish(root, done, 0, comment=True, close=False)["comment"]["done"] is True
    assert len(github.comments(72)) == 1


def test_another_outcome_gets_a_comment_of_its_own_each_once(root, github):
    state = of_issues(new_batch(3, max_retries=0))
    state = failed(state, f"no luck\n{NASTY}")
    github_issues.publish(root, state, 0, comment=True, close=True)
    state = then(state, transitions.retry, [0])
    state = completed(state)
    for _ in range(2):
        github_issues.publish(root, state, 0, comment=True, close=False)
    assert [body.splitlines()[-1] for body in github.comments(72)] == [
        "<!-- batch-implement batch-1 0 failed -->",
        "<!-- batch-implement batch-1 0 done -->",
    ]


def test_a_comment_that_a_person_has_edited_is_still_known(root, github, done):
    body = f"Thanks!\n\n{issue_comments.format_outcome(done, 0).strip()} \r\n\r\nMore words."
    github.add(72, "Fix the leak", comments=[{"author": "octocat", "body": body, "url": "u"}])
    assert github_issues.publish(root, done, 0, comment=True, close=False)["comment"]["url"] == "u"


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
    github_issues.publish(root, done, 0, comment=True, close=False)
    assert len(github.comments(72)) == 2


def test_an_old_gh_that_does_not_say_whose_a_comment_is_counts_it(root, github, done, monkeypatch):
    answer = {"state": "OPEN", "comments": [{"body": issue_comments.format_marker(done, 0), "url": "u"}]}
    monkeypatch.setattr(gh, "view_issue", lambda root, number, fields: answer)
    assert github_issues.publish(root, done, 0, comment=True, close=False)["comment"]["why"] == "it was there already"


def test_an_issue_is_closed_when_its_commit_is_on_the_default_branch(root, github, done):
    assert github_issues.publish(root, done, 0, comment=False, close=True) == {
        "close": {"done": True, "url": None, "why": None}
    }
    assert (github.issue(72)["state"], github.issue(72)["stateReason"]) == ("CLOSED", "COMPLETED")
    assert github.comments(72) == []
    again = github_issues.publish(root, done, 0, comment=False, close=True)["close"]
    assert again == {"done": True, "url": None, "why": "it was closed already"}
    assert len(github.calls("issue close")) == 1


def test_a_comment_and_a_closing_are_both_done(root, github, done):
    result = github_issues.publish(root, done, 0, comment=True, close=True)
    assert list(result) == ["comment", "close"]
    assert all(part["done"] for part in result.values())


def test_an_issue_stays_open_until_its_commit_is_on_the_default_branch(root, github):
    pushed(root)
    sha = commit(root, one="1")
    state = completed(of_issues(new_batch(3)), commit=sha)
    result = github_issues.publish(root, state, 0, comment=True, close=True)
    assert result["comment"]["done"] is True
    assert result["close"]["done"] is False
    assert result["close"]["why"].startswith(f"Commit {sha[:12]} is not on origin/main yet, as far as this clone knows")
    assert github.issue(72)["state"] == "OPEN"
    pushed(root)
    assert github_issues.publish(root, state, 0, comment=True, close=True)["close"]["done"] is True


def test_a_later_commit_on_the_default_branch_is_enough(root, github, done):
    commit(root, two="2")
    pushed(root)
    assert github_issues.publish(root, done, 0, comment=False, close=True)["close"]["done"] is True


def test_the_default_branch_is_the_code_hosts(root, github, done):
    github.change(default_branch="trunk")
    why = github_issues.publish(root, done, 0, comment=False, close=True)["close"]["why"]
    assert why == "This clone knows no origin/trunk yet: `git fetch origin`, then `batchctl issues`."
    git(root, "update-ref", "refs/remotes/origin/trunk", "HEAD~1")
    assert (
        "is not on origin/trunk yet" in github_issues.publish(root, done, 0, comment=False, close=True)["close"]["why"]
    )


def test_any_of_the_remotes_that_stand_for_the_repository_will_do(root, github, done):
    git(root, "remote", "add", "upstream", "git@github.invalid:acme/widgets.git")
    git(root, "update-ref", "refs/remotes/upstream/main", "HEAD~1")
    assert github_issues.publish(root, done, 0, comment=False, close=True)["close"]["done"] is True


def test_another_remote_than_the_repositorys_does_not_count(root, github, done):
    git(root, "remote", "set-url", "origin", "https://github.invalid/me/widgets")
    git(root, "remote", "add", "upstream", "https://github.invalid/acme/widgets")
    why = github_issues.publish(root, done, 0, comment=False, close=True)["close"]["why"]
    assert why.startswith("This clone knows no upstream/main yet")


@pytest.mark.parametrize("sha", [None, "", "--all", "HEAD", "0" * 40])
def test_without_a_known_commit_nothing_is_closed(root, github, sha):
    pushed(root)
    state = completed(of_issues(new_batch(3)), commit=sha)
    assert github_issues.publish(root, state, 0, comment=False, close=True)["close"]["done"] is False
    assert github.calls("issue close") == []


@pytest.mark.parametrize("url", ["https://github.invalid/other/name", ""])
def test_a_repository_that_is_none_of_the_remotes_closes_nothing(root, github, done, monkeypatch, url):
    monkeypatch.setattr(gh, "get_repository", lambda root: gh.Repository(url, "main", []))
    assert (
        "is none of the remotes here" in github_issues.publish(root, done, 0, comment=False, close=True)["close"]["why"]
    )
    monkeypatch.setattr(gh, "get_repository", lambda root: gh.Repository(url, "", ["origin"]))
    assert (
        "has no default branch yet" in github_issues.publish(root, done, 0, comment=False, close=True)["close"]["why"]
    )


def test_only_a_completed_features_issue_is_closed(root, github):
    pushed(root)
    state = given_up(of_issues(new_batch(3)))
    result = github_issues.publish(root, state, 0, comment=True, close=True)
    assert result["comment"]["done"] is True
    assert "Feature 1 is failed: only the issue of a completed one is closed." in result["close"]["why"]
    assert github.issue(72)["state"] == "OPEN"


def test_a_locked_conversation_keeps_the_comment_out_but_not_the_closing(root, github, done):
    github.add(72, "hot", locked=True)
    result = github_issues.publish(root, done, 0, comment=True, close=True)
    assert "is locked" in result["comment"]["why"]
    assert result["close"]["done"] is True


@pytest.mark.some(2)
@pytest.mark.parametrize(
    "name", ["logged out", "rate limited", "offline", "garbled", "something else", "token too weak"]
)
def test_trouble_is_told_in_the_result_and_never_raised(root, github, done, name):
    github.goes_wrong("*", name)
    result = github_issues.publish(root, done, 0, comment=True, close=True)
    assert [part["done"] for part in result.values()] == [False, False]
    assert all(part["why"] for part in result.values())
    github.goes_right()
    github.goes_wrong("issue close", name)
    result = github_issues.publish(root, done, 0, comment=True, close=True)
    assert [part["done"] for part in result.values()] == ([True, True] if name == "garbled" else [True, False])


def test_a_call_that_does_not_end_leaves_it_open_whether_the_comment_is_there(root, github, done, monkeypatch):
    monkeypatch.setattr(gh, "TIMEOUT_S", 1)
    github.goes_wrong("issue comment", "hang")
    why = github_issues.publish(root, done, 0, comment=True, close=False)["comment"]["why"]
    assert "did not answer within 1 s" in why
    assert why.endswith("Whether the comment was written is not known; the next try looks before it writes.")


def test_no_comment_is_written_when_the_known_ones_are_not_told(root, github, done, monkeypatch):
    for told in (None, 3, ["x"]):
        monkeypatch.setattr(
            gh, "view_issue", lambda root, number, fields, found=told: {"state": "OPEN", "comments": found}
        )
        assert "lacks its comments" in github_issues.publish(root, done, 0, comment=True, close=False)["comment"]["why"]
    assert github.calls("issue comment") == []


def test_a_batch_that_is_not_of_issues_has_none_to_write_to(root, github):
    result = github_issues.publish(root, completed(new_batch(1)), 0, comment=True, close=True)
    assert "did not come from issues" in result["comment"]["why"]
    assert github.calls() == []


def test_a_feature_that_has_not_ended_is_not_published(root, github):
    result = github_issues.publish(root, of_issues(new_batch(3)), 1, comment=True, close=True)
    assert "Feature 2 is pending" in result["close"]["why"]
    assert github.calls() == []


def test_the_state_is_left_as_it_was(root, github, done):
    before = repr(done)
    github_issues.publish(root, done, 0, comment=True, close=True)
    assert repr(done) == before


def _publish(root, state):
    github_issues.publish(root, state, 0, comment=True, close=False)


def test_calls_at_the_same_time_write_one_comment(root, github, done):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_publish, args=(root, done)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(github.comments(72)) == 1


def test_a_lock_that_is_not_free_is_told(root, github, done, monkeypatch):
    monkeypatch.setattr(github_issues, "LOCK_TIMEOUT_S", 0.05)
    folder = Path(root) / ".git" / "batch-implement" / "issues"
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    with lock.FileLock(descriptor, str(folder), 1):
        result = github_issues.publish(root, done, 0, comment=True, close=False)
    os.close(descriptor)
    assert "was not free" in result["comment"]["why"]
    assert github.calls() == []


def test_a_folder_that_cannot_be_used_is_told(root, github, done):
    (Path(root) / ".git" / "batch-implement").symlink_to("/")
    assert "is a symbolic link" in github_issues.publish(root, done, 0, comment=True, close=False)["comment"]["why"]
