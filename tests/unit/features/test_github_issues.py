"""How issues are read as features, through the stand-in for gh."""

from __future__ import annotations

import threading

import pytest
from batch_implement.core.errors import RefusedError, UsageError
from batch_implement.features import github_issues
from batch_implement.features.feature_list import Feature
from batch_implement.git import gh
from batches import git
from gh_stand_in import StandIn


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
    return [feature.issue for feature in found.features]


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
        (["a\x1b[2Jb"], "'a [2Jb'"), (["https://x.invalid/issues/7"], "7'"), (["9" * 5000], "not an issue number"),
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
    assert found.features[1] == Feature(
        "Fix the leak (#72)",
        0,
        {"description": "It drips.\n    A lot.", "url": "https://github.invalid/acme/widgets/issues/72"},
        72,
    )


def test_issues_of_a_label_or_milestone_are_read_by_number(root, github):
    assert read_numbers(github_issues.read_issues(root, label="ui")) == [74, 90]
    assert read_numbers(github_issues.read_issues(root, milestone="v1")) == [74, 90]
    assert read_numbers(github_issues.read_issues(root, label="bug", milestone="v1")) == [74]


def test_an_issue_that_the_list_still_has_but_is_closed_is_left_out_and_told(root, github):
    github.add(60, "Just closed", state="CLOSED", labels=["ui"], index_lags=True)
    found = github_issues.read_issues(root, label="ui")
    assert (read_numbers(found), found.closed) == ([74, 90], [60])


def test_issues_become_features_that_differ_even_under_one_title(root, github):
    texts = [(feature.text, feature.issue) for feature in github_issues.read_issues(root, numbers=[72, 90]).features]
    assert texts == [("Fix the leak (#72)", 72), ("Fix the leak (#90)", 90)]


def test_titles_and_bodies_are_cleaned_and_keep_their_lines(root, github):
    github.add(80, "a\x1b[31mb\u202ec\nd\x00", body="one\r\ntwo\x07\u2066\rthree\n\n```\n$(touch x)\n```\n\n")
    github.add(81, " \u200f ", body=None)
    first, second = github_issues.read_issues(root, numbers=[80, 81]).features
    assert first.text == "a [31mb c d (#80)"
    assert first.details["description"] == "one\ntwo  \nthree\n\n```\n$(touch x)\n```"
    assert (second.text, "description" in second.details) == ("untitled (#81)", False)


def test_a_long_body_is_cut_and_says_so(root, github):
    github.add(80, "long", body="x" * 50_000)
    github.add(81, "longer", body="x" * 50_001)
    first, second = github_issues.read_issues(root, numbers=[80, 81]).features
    assert first.details["description"] == "x" * 50_000
    assert second.details["description"] == "x" * 50_000 + (
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
    assert len(github_issues.read_issues(root, label="ui").features) == 2


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
