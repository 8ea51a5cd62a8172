"""The comment that tells how an issue's feature ended: what it says, and that nobody's words get out of their block."""

from __future__ import annotations

import re

import pytest
from batch_implement.core import transitions
from batch_implement.core.errors import RefusedError
from batch_implement.features import issue_comments
from batches import completed, failed, given_up, new_batch, of_issues, started, then

NASTY = "<!-- batch-implement batch-1 0 done -->"


def refusal(state, index):
    with pytest.raises(RefusedError) as caught:
        issue_comments.format_outcome(state, index)
    assert caught.value.message.isprintable()
    return caught.value.message


def fenced(text):
    """What stands in a comment's code blocks, and what is left of it without them."""
    blocks = re.findall(r"^(`{3,})text\n(.*?)\n\1$", text, flags=re.M | re.S)
    return [block for _, block in blocks], re.sub(r"^(`{3,})text\n.*?\n\1$", "", text, flags=re.M | re.S)


def given_up_with(words):
    return failed(of_issues(new_batch(3)), words, permanent=True)


SHA = "0123456789abcdef0123456789abcdef01234567"


def test_a_completed_feature_is_told_with_commits_and_verify():
    verify = {"command": "make `test`", "exit_code": 0, "seconds": 12.345, "log": "/x"}
    state = completed(of_issues(new_batch(3)), commit=SHA, commits=["a" * 40, SHA], branch="main", verify=verify)
    assert issue_comments.format_outcome(state, 0) == (
        "**Done** by batch-implement (feature 1 of 3 in batch `batch-1`).\n\n"
        f"Commits on `main`:\n\n- {'a' * 40}\n- {SHA}\n\n"
        "The verify command ended with exit status 0 after 12.3 s:\n\n```text\nmake `test`\n```\n\n"
        "<!-- batch-implement batch-1 0 done -->\n"
    )


def test_many_commits_are_told_by_the_last():
    shas = [f"{number:040x}" for number in range(25)]
    text = issue_comments.format_outcome(completed(of_issues(new_batch(3)), commits=shas), 0)
    assert "Commits, the last 20 of 25:" in text
    assert shas[4] not in text
    assert all(sha in text for sha in shas[5:])


def test_what_is_no_commit_id_is_not_told_and_a_branch_cannot_break_out():
    state = completed(of_issues(new_batch(3)), commits=["@everyone", SHA], branch="a`b`@all\x1b")
    assert f"Commits on `a b @all `:\n\n- {SHA}\n\n" in issue_comments.format_outcome(state, 0)


def test_what_needed_no_change_or_was_only_asserted_is_told_so():
    state = completed(of_issues(new_batch(3)), no_change="it is there already")
    assert (
        "It needed no change. The reason given:\n\n```text\nit is there already\n```"
        in issue_comments.format_outcome(state, 0)
    )
    assert "No verify command was asked for." in issue_comments.format_outcome(state, 0)
    state = completed(of_issues(new_batch(3)), commit=None, asserted=True)
    assert "A script said so; nothing was checked." in issue_comments.format_outcome(state, 0)
    assert "Commits" not in issue_comments.format_outcome(state, 0)


def test_a_failed_feature_is_told_with_its_attempts_its_error_and_its_snapshot():
    state = failed(of_issues(new_batch(1, max_retries=1), [72]))
    state = failed(state, "it broke\nagain")
    state = then(state, transitions.record_snapshot, 0, "refs/batch/batch-1/1.2")
    text = issue_comments.format_outcome(state, 0)
    assert "**Failed** by batch-implement" in text
    assert "Given up after 2 attempts. The last one said:\n\n```text\nit broke\nagain\n```" in text
    assert "```text\nrefs/batch/batch-1/1.2\n```" in text
    assert text.endswith("<!-- batch-implement batch-1 0 failed -->\n")
    assert "after 1 attempt." in issue_comments.format_outcome(given_up(of_issues(new_batch(1), [72])), 0)


def test_a_skipped_feature_is_told_with_its_reason_or_what_blocks_it():
    state = of_issues(new_batch(3, needs={2: [0]}))
    state = then(given_up(state), transitions.skip, "2026-01-31T23:59:59Z", 1, "not wanted")
    assert "Not tried. The reason given:\n\n```text\nnot wanted\n```" in issue_comments.format_outcome(state, 1)
    blocked = issue_comments.format_outcome(state, 2)
    assert "Not tried: it needs feature 1 (#72), which was not completed." in blocked
    assert blocked.endswith("<!-- batch-implement batch-1 2 skipped -->\n")
    assert "needs feature 1, which" in issue_comments.format_outcome({**state, "issue_numbers": None}, 2)


def test_a_reason_that_only_looks_like_a_blocker_is_told_as_it_is():
    for reason in ("blocked by 99", "blocked by 1 or 2"):
        state = then(of_issues(new_batch(3)), transitions.skip, "2026-01-31T23:59:59Z", 1, reason)
        assert f"```text\n{reason}\n```" in issue_comments.format_outcome(state, 1)


def test_a_feature_that_has_not_ended_has_no_outcome():
    state = started(of_issues(new_batch(2), [72, 74]))
    assert "Feature 1 is running" in refusal(state, 0)
    assert "Feature 2 is pending" in refusal(state, 1)


@pytest.mark.parametrize(
    "words",
    [
        "```\n@everyone #1",
        "````\n```\n@all",
        "~~~",
        NASTY,
        f"x\n{NASTY}\ny",
        f"a\u2028{NASTY}",
        "`" * 200,
        "\x1b[2J\u202e",
        "-->",
    ],
)
def test_what_others_said_stays_in_its_code_block(words):
    text = issue_comments.format_outcome(given_up_with(words), 0)
    blocks, rest = fenced(text)
    assert len(blocks) == 1
    assert rest.strip().splitlines()[-1] == "<!-- batch-implement batch-1 0 failed -->"
    assert "@" not in rest and "completed -->" not in rest
    assert NASTY not in text.splitlines()
    assert all(char.isprintable() for line in text.split("\n") for char in line if char != "\u2028")


def test_a_comment_stays_within_what_github_takes():
    long = "`" * 100_000
    verify = {"command": long, "exit_code": 0}
    done = completed(of_issues(new_batch(3)), commits=[SHA] * 100, branch="b" * 200, verify=verify, no_change=long)
    for state in (done, given_up_with(long), given_up_with("x\n" * 100_000)):
        assert len(issue_comments.format_outcome(state, 0)) < 60_000
    assert "...[cut]" in issue_comments.format_outcome(given_up_with(long), 0)
