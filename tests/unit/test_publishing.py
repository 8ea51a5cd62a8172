"""What a shell command published, read off the command and its output."""

from __future__ import annotations

import pytest
from batch_implement.publishing import operations

URL = "https://github.com/o/r/pull/17"
PUSHED = {"success": True, "remote": None, "branch": None, "error": None}


@pytest.mark.parametrize(
    ("command", "remote", "branch"),
    [
        ("git push", None, None),
        ("git push origin main", "origin", "main"),
        ("git push -u origin feature/x", "origin", "feature/x"),
        ("git -C /repo push origin", "origin", None),
        ("git -c a=b --no-pager push", None, None),
        ("make test && git push origin main; echo done", "origin", "main"),
        ("git add -A\ngit commit -qm x\ngit push", None, None),
        ("(cd sub && git push origin main)", "origin", "main"),
        ("git push 'my remote' main | cat", "my remote", "main"),
    ],
)
def test_a_push_is_recorded_with_where_it_went(command, remote, branch):
    assert operations(command, "", succeeded=True) == {"push": {**PUSHED, "remote": remote, "branch": branch}}


@pytest.mark.parametrize(
    "command",
    [
        "", "git pull", "git push --dry-run", "git push -n origin main", "echo git push", "git commit -m 'git push'",
        "git stash push", "gitpush", "git log --grep push", "gh pr list", "gh pr view 3", "git push 'unclosed",
    ],
)  # fmt: skip
def test_what_publishes_nothing_is_not_recorded(command):
    assert operations(command, URL, succeeded=True) == {}


def test_a_pull_request_is_recorded_with_its_number_and_address():
    output = f"Creating pull request\nsee https://x/pull/1 above\n  {URL}  \n"
    found = operations("gh pr create --fill", output, succeeded=True)
    assert found == {"pr": {"success": True, "url": URL, "number": 17, "error": None}}


@pytest.mark.parametrize("output", ["", "https://github.com/o/r", "/pull/17", "https://github.com/o/r/pull/new"])
def test_without_an_address_of_a_pull_request_there_is_no_number(output):
    assert operations("gh pr create", output, succeeded=True)["pr"]["number"] is None


def test_a_failure_keeps_the_beginning_of_what_was_said():
    found = operations("git push && gh pr create", "rejected " + "x" * 1000, succeeded=False)
    assert (found["push"]["success"], found["pr"]["success"]) == (False, False)
    assert found["push"]["error"] == ("rejected " + "x" * 1000)[:500]
