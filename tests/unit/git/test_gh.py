"""The seam to gh, against the stand-in: what is called, how, and what each trouble says."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time

import pytest
from batch_implement.core.errors import RefusedError
from batch_implement.git import gh
from batches import git
from gh_stand_in import FOLDER, StandIn, behaviour


@pytest.fixture
def root(repository):
    """A repository whose remote is the stand-in's."""
    git(repository, "remote", "add", "origin", "git@github.invalid:acme/widgets.git")
    return str(repository)


@pytest.fixture
def github(tmp_path, monkeypatch):
    """The stand-in's GitHub, with two issues and a pull request."""
    made = StandIn(tmp_path / "github.json")
    made.add(72, "Fix the leak", body="It drips.\r\nA lot.", labels=["bug"])
    made.add(73, "Add a login page", state="CLOSED", labels=["bug", "help wanted"], milestone="v1")
    made.add(74, "Mend the leak", pull_request=True)
    made.on_path(monkeypatch)
    return made


def trouble(call, *arguments):
    with pytest.raises(gh.GhError) as caught:
        call(*arguments)
    assert isinstance(caught.value, RefusedError)
    assert caught.value.message.isprintable()
    return caught.value


# -- the calls ---------------------------------------------------------------------------------------------------------


def test_an_issue_is_viewed_with_the_fields_that_were_asked_for(root, github):
    assert gh.view_issue(root, 72) == {
        "number": 72, "title": "Fix the leak", "body": "It drips.\r\nA lot.", "state": "OPEN",
        "url": "https://github.invalid/acme/widgets/issues/72",
    }  # fmt: skip
    assert gh.view_issue(root, 73, "state") == {"state": "CLOSED"}


def test_a_pull_request_is_told_by_its_address(root, github):
    assert gh.view_issue(root, 74)["url"] == "https://github.invalid/acme/widgets/pull/74"


def test_open_issues_are_listed_by_label_and_milestone(root, github):
    github.add(75, "Another", labels=["BUG"], milestone="v1")
    github.change(milestones={"3": "v1"})
    assert [issue["number"] for issue in gh.list_issues(root, "bug")] == [75, 72]
    assert [issue["number"] for issue in gh.list_issues(root, None, "v1")] == [75]
    assert [issue["number"] for issue in gh.list_issues(root, None, "3")] == [75]
    assert [issue["number"] for issue in gh.list_issues(root, "Bug", "v1")] == [75]
    assert gh.list_issues(root, "nobody has this") == gh.list_issues(root, None, "nor this") == []


@pytest.mark.parametrize("name", ["one, two", 'say "hi"', '"', "--web", "-x", "a=b", "$(touch x)", "'", "é"])
def test_the_name_of_a_label_or_a_milestone_stays_one_argument(root, github, name):
    github.add(80, "odd", labels=[name], milestone=name)
    github.add(81, "part", labels=["one"], milestone="one")
    assert [issue["number"] for issue in gh.list_issues(root, name)] == [80]
    assert [issue["number"] for issue in gh.list_issues(root, None, name)] == [80]


def test_a_comment_goes_in_by_standard_input_and_its_address_comes_back(root, github):
    body = "--help $(touch x) `id`\n\nmore é\n"
    url = gh.add_comment(root, 72, body)
    assert url.startswith("https://github.invalid/acme/widgets/issues/72#issuecomment-")
    assert github.comments(72) == [body]
    call = github.calls("issue comment")[0]
    assert (call["arguments"], call["input"]) == (["issue", "comment", "72", "--body-file", "-"], body)


def test_an_issue_is_closed_as_completed_and_a_closed_one_stays_so(root, github):
    gh.close_issue(root, 72)
    gh.close_issue(root, 73)
    assert (github.issue(72)["state"], github.issue(72)["stateReason"]) == ("CLOSED", "COMPLETED")
    assert "stateReason" not in github.issue(73)


def test_the_repository_has_an_address_a_default_branch_and_its_remotes(root, github):
    assert gh.get_repository(root) == ("https://github.invalid/acme/widgets", "main", ["origin"])
    github.change(default_branch="")
    assert gh.get_repository(root).default_branch == ""


@pytest.mark.parametrize(
    "address",
    [
        "https://github.invalid/acme/widgets", "https://github.invalid/acme/widgets.git/",
        "git@github.invalid:acme/widgets", "ssh://git@github.invalid:22/acme/widgets.git", "https://me:secret@github.invalid/Acme/Widgets.git",
        "git://github.invalid/acme/widgets", "at-work:acme/widgets.git", "/somewhere/acme/widgets.git",
    ],
)  # fmt: skip
def test_a_remote_is_known_by_any_way_to_write_its_address(root, github, address):
    git(root, "remote", "set-url", "origin", address)
    assert gh.get_repository(root).remotes == ["origin"]


def test_remotes_at_the_host_come_before_those_that_only_end_alike(root, github):
    for name, address in {
        "fork": "https://github.invalid/me/widgets", "upstream": "https://github.invalid/acme/widgets",
        "mirror": "https://mirror.invalid/acme/widgets", "a.b": "https://github.invalid/acme/widgets.git",
    }.items():  # fmt: skip
        git(root, "remote", "add", name, address)
    assert gh.get_repository(root).remotes == ["upstream", "origin", "a.b"]


def test_a_pull_request_is_opened_found_by_its_branch_and_given_another_text(root, github):
    assert gh.find_pull_request(root, "side") is None
    body = "--web $(touch x) é\n"
    url = gh.create_pull_request(root, head="side", base="main", title="--web `id`", body=body)
    assert url == "https://github.invalid/acme/widgets/pull/101"
    assert gh.find_pull_request(root, "side") == {
        "number": 101, "url": url, "baseRefName": "main", "isCrossRepository": False,
    }  # fmt: skip
    assert github.pulls() == [
        {"number": 101, "title": "--web `id`", "body": body, "head": "side", "base": "main", "state": "OPEN"}
    ]
    gh.edit_pull_request(root, 101, "Another.")
    assert github.pulls()[0]["body"] == "Another."


def test_a_pull_request_that_there_is_or_that_has_no_commits_is_told_apart(root, github, tmp_path):
    github.change(pulls={"7": {"title": "t", "body": "b", "head": "side", "base": "main", "state": "OPEN"}})
    words = {"root": root, "head": "side", "base": "main", "title": "t", "body": "b"}
    error = trouble(lambda: gh.create_pull_request(**words))
    assert (error.kind, "https://github.invalid/acme/widgets/pull/7" in error.message) == ("exists", True)
    git(tmp_path, "init", "-q", "--bare", "empty")
    github.change(git=str(tmp_path / "empty"), pulls={})
    error = trouble(lambda: gh.create_pull_request(**words))
    assert (error.kind, "side into main" in error.message) == ("no_commits", True)


def test_what_the_login_may_do_is_told(root, github, monkeypatch):
    assert gh.get_permission(root) == "ADMIN"
    github.change(permission="READ")
    assert gh.get_permission(root) == "READ"
    for said in (b"{}", b"[]", b'{"viewerPermission": null}'):
        monkeypatch.setattr(gh, "_run_gh", lambda *arguments, said=said, **more: said)
        assert gh.get_permission(root) == ""


@pytest.mark.parametrize("said", [b"{}", b"[3]", b'[{"number": "7", "url": "u"}]', b'[{"number": 7}]', b"null"])
def test_pull_requests_of_another_shape_are_refused(root, github, monkeypatch, said):
    monkeypatch.setattr(gh, "_run_gh", lambda *arguments, **more: said)
    assert trouble(gh.find_pull_request, root, "side").kind == "answer"


def test_the_version_is_what_gh_says_first(github):
    assert gh.get_version() == "gh version 2.63.2 (2024-12-05)"


def test_gh_runs_in_the_root_and_neither_asks_nor_colours_nor_talks_on(root, github, monkeypatch):
    for name in ("GH_FORCE_TTY", "GH_DEBUG", "DEBUG", "CLICOLOR_FORCE", "GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("GH_PAGER", "less")
    gh.view_issue(root, 72)
    call = github.calls()[0]
    assert call["cwd"] == root
    assert call["environment"] == {
        "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "GH_PAGER": "cat", "NO_COLOR": "1", "LC_ALL": "C",
    }  # fmt: skip


# -- trouble -----------------------------------------------------------------------------------------------------------

TROUBLES = {
    "logged out": ("login", "Run `gh auth login`"),
    "token expired": ("login", "`gh auth login` renews it"),
    "rate limited": ("rate", "`gh api rate_limit` shows when"),
    "rate limited already": ("rate", "already exceeded for user ID"),
    "rate limited by REST": ("rate", "HTTP 403: API rate limit exceeded"),
    "rate limited for a while": ("rate", "Please wait a few minutes"),
    "too quick": ("rate", "was submitted too quickly"),
    "offline": ("offline", "error connecting to api.github.com"),
    "connection refused": ("offline", "connection refused"),
    "connection slow": ("offline", "TLS handshake timeout"),
    "bad gateway": ("server", "GitHub has an outage"),
    "no such repository": ("repository", "`gh repo view`"),
    "many remotes": ("repository", "`gh repo set-default`"),
    "token too weak": ("permission", "may not do that with issue 72"),
    "may not close": ("permission", "octocat does not have the correct permissions"),
    "may not open": ("permission", "issues and pull requests"),
    "no collaborator": ("permission", "octocat must be a collaborator"),
    "too old": ("old", "`gh --version`"),
    "cancelled": ("other", "`gh issue view` ended with exit status 2 (issue 72): no output."),
    "something else": ("other", "Something went wrong while executing your query."),
    "silent": ("other", "no output"),
    "garbled": ("answer", "gh's answer about issue 72 is not JSON"),
}


def test_every_trouble_of_the_stand_in_is_held():
    assert TROUBLES.keys() == behaviour.TROUBLES.keys()


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_has_its_kind_and_says_what_to_do(root, github, name):
    github.goes_wrong("issue view", name)
    error = trouble(gh.view_issue, root, 72)
    kind, words = TROUBLES[name]
    assert (error.kind, words in error.message) == (kind, True), error.message


def test_the_message_of_each_kind_is_its_own():
    messages = {}
    for name, (kind, _) in TROUBLES.items():
        status, output = behaviour.TROUBLES[name]
        messages.setdefault(kind, set()).add(
            gh.classify_error(status, output.encode(), root="/r", call="gh issue view", about="issue 7").message[:40]
        )
    every = [message for kind in messages.values() for message in kind]
    assert len(every) == len(set(every))


def test_not_being_logged_in_is_known_by_the_exit_status_in_automation_too(root, github, monkeypatch):
    monkeypatch.setenv("CI", "true")
    github.goes_wrong("*", "logged out")
    assert trouble(gh.view_issue, root, 72).kind == "login"
    assert gh.classify_error(4, b"in other words", root=root, call="gh", about="").kind == "login"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('Post "https://api.github.com/graphql": dial tcp 140.82.121.6:443: connect: no route to host', "offline"),
        ('Post "https://api.github.com/graphql": proxyconnect tcp: no proxy there', "offline"),
        ('Post "https://api.github.com/graphql": read: connection reset by peer', "offline"),
        ("HTTP 429: Too Many Requests (https://api.github.com/graphql)", "rate"),
        ("HTTP 504: 504 Gateway Timeout (https://api.github.com/graphql)", "server"),
        ("HTTP 403: Resource protected by organization SAML enforcement.", "permission"),
        ('invalid argument "completed" for "-r, --reason" flag', "other"),
        ('unknown flag: --reason', "old"),
        ("Unknown JSON field: \"body\"\nAvailable fields:\n  title", "old"),
    ],
)  # fmt: skip
def test_other_words_of_the_same_trouble_are_known(said, kind):
    assert gh.classify_error(1, said.encode(), root="/r", call="gh issue view", about="issue 7").kind == kind


def test_a_telling_word_after_many_others_is_found():
    output = b"warning: " + b"x " * 1000 + b"API rate limit exceeded"
    assert gh.classify_error(1, output, root="/r", call="gh issue view", about="issue 7").kind == "rate"


def test_an_issue_that_is_not_there_is_named(root, github):
    error = trouble(gh.view_issue, root, 999)
    assert error.kind == "no_issue"
    assert error.message.startswith("There is no issue 999 in the repository")


def test_an_older_gh_says_it_in_other_words():
    output = b"GraphQL error: Could not resolve to an Issue with the number of 9."
    assert gh.classify_error(1, output, root="/r", call="gh issue view", about="issue 9").kind == "no_issue"


def test_a_milestone_that_is_not_there_is_named(root, github):
    error = trouble(gh.list_issues, root, None, "9")
    assert error.kind == "no_milestone"
    assert error.message.startswith("There is no milestone '9'. List them: `gh api 'repos/{owner}/{repo}/milestones")


def test_a_locked_conversation_takes_no_comment(root, github):
    github.add(75, "hot", locked=True)
    error = trouble(gh.add_comment, root, 75, "cool down")
    assert (error.kind, "issue 75 is locked" in error.message) == ("locked", True)


def test_issues_that_are_switched_off_are_told(root, github):
    github.change(issues_enabled=False)
    for call in ((gh.view_issue, root, 999), (gh.list_issues, root, "bug")):
        error = trouble(*call)
        assert (error.kind, "has disabled issues" in error.message) == ("repository", True)


def test_a_folder_without_a_repository_or_remote_is_told(root, github, tmp_path):
    (tmp_path / "plain").mkdir()
    assert "not a git repository" in trouble(gh.view_issue, str(tmp_path / "plain"), 72).message
    git(root, "remote", "set-url", "origin", "https://elsewhere.invalid/other/thing")
    assert "none of the git remotes" in trouble(gh.view_issue, root, 72).message
    git(root, "remote", "remove", "origin")
    error = trouble(gh.view_issue, root, 72)
    assert error.kind == "repository"
    assert f"gh finds no GitHub repository for {root}" in error.message
    assert "no git remotes found" in error.message


def test_without_gh_it_says_how_to_get_it(root, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    error = trouble(gh.view_issue, root, 72)
    assert error.kind == "missing"
    assert error.message.startswith("gh, GitHub's command line, was not found on PATH.")


def test_a_gh_in_the_project_is_not_run_by_a_relative_path(root, monkeypatch, tmp_path):
    script = os.path.join(root, "gh")
    with open(script, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\ntouch ran\n")
    os.chmod(script, 0o755)
    monkeypatch.chdir(root)
    for path in ("", ".", f".{os.pathsep}{tmp_path}", f"{os.pathsep}{tmp_path}"):
        monkeypatch.setenv("PATH", path)
        assert trouble(gh.view_issue, root, 72).kind == "missing"
    assert not os.path.exists(os.path.join(root, "ran"))


def test_a_gh_that_cannot_start_is_told(root, monkeypatch, tmp_path):
    (tmp_path / "gh").write_text("#!/no/such/interpreter\n", encoding="utf-8")
    (tmp_path / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    error = trouble(gh.view_issue, root, 72)
    assert (error.kind, error.message.startswith("`gh issue view` cannot be started")) == ("missing", True)


def test_a_call_that_does_not_end_is_ended(root, github, monkeypatch):
    monkeypatch.setattr(gh, "TIMEOUT_S", 1)
    github.goes_wrong("issue view", "hang")
    began = time.monotonic()
    error = trouble(gh.view_issue, root, 72)
    assert error.kind == "timeout"
    assert time.monotonic() - began < 8
    assert error.message.startswith("`gh issue view` did not answer within 1 s and was ended (issue 72).")


@pytest.mark.parametrize("said", [b"[]", b"3", b"", b"null", b'{"number": 72', b"\xff", b'{"a": 1, "a": 2}'])
def test_an_answer_of_another_shape_is_refused(root, github, monkeypatch, said):
    monkeypatch.setattr(gh, "_run_gh", lambda *arguments, **more: said)
    assert trouble(gh.view_issue, root, 72).kind == "answer"
    assert trouble(gh.get_repository, root).kind == "answer"
    if said != b"[]":
        assert trouble(gh.list_issues, root, "bug").kind == "answer"


@pytest.mark.parametrize("said", [b'{"url": "x"}', b'{"url": 1, "defaultBranchRef": {"name": "main"}}', b"[3]"])
def test_a_repository_that_lacks_something_is_refused(root, github, monkeypatch, said):
    monkeypatch.setattr(gh, "_run_gh", lambda *arguments, **more: said)
    assert trouble(gh.get_repository, root).kind == "answer"
    assert trouble(gh.list_issues, root, "bug").kind == "answer"


def test_what_gh_says_is_shown_short_and_without_control_characters():
    output = b"\x1b[31mbad\x1b[0m " + b"x" * 5000
    message = gh.classify_error(1, output, root="/r", call="gh issue view", about="issue 7").message
    assert message.isprintable()
    assert len(message) < 400


# -- the stand-in ------------------------------------------------------------------------------------------------------


def stand_in(root, *words, body=None):
    return subprocess.run(["gh", *words], cwd=root, input=body, stdin=None if body else subprocess.DEVNULL,
                          capture_output=True, text=True)  # fmt: skip


def test_the_stand_in_answers_in_the_shape_that_the_manual_names(root, github):
    """Of `gh issue view`, `gh issue list` and `gh repo view`; that of a comment is in gh's api/queries_comments.go."""
    github.add(
        75, "Another", labels=["bug"], milestone="v1", comments=[{"author": "octocat", "body": "Hm", "url": "u"}]
    )
    every = ",".join(behaviour.ISSUE_FIELDS)
    viewed = json.loads(stand_in(root, "issue", "view", "75", "--json", every).stdout)
    assert sorted(viewed) == sorted(behaviour.ISSUE_FIELDS)
    shapes = {
        "number": int, "title": str, "body": str, "state": str, "url": str, "closed": bool, "labels": list,
        "comments": list, "author": dict, "milestone": dict, "stateReason": str,
    }  # fmt: skip
    assert {name: type(viewed[name]) for name in shapes} == shapes
    assert viewed["state"] == "OPEN"
    assert sorted(viewed["labels"][0]) == ["color", "description", "id", "name"]
    assert sorted(viewed["comments"][0]) == [
        "author", "authorAssociation", "body", "createdAt", "id", "includesCreatedEdit", "isMinimized",
        "minimizedReason", "reactionGroups", "url", "viewerDidAuthor",
    ]  # fmt: skip
    assert viewed["comments"][0]["author"] == {"login": "octocat"}
    listed = json.loads(stand_in(root, "issue", "list", "--label", "bug", "--json", gh.ISSUE_FIELDS).stdout)
    assert [sorted(entry) for entry in listed] == [sorted(gh.ISSUE_FIELDS.split(","))] * 2
    repository = json.loads(stand_in(root, "repo", "view", "--json", "defaultBranchRef,url").stdout)
    assert repository == {"defaultBranchRef": {"name": "main"}, "url": "https://github.invalid/acme/widgets"}


def test_the_fields_that_we_ask_for_are_all_in_the_manual():
    assert set(gh.ISSUE_FIELDS.split(",")) | {"state", "comments"} <= set(behaviour.ISSUE_FIELDS)
    assert {"defaultBranchRef", "url", "viewerPermission"} <= set(behaviour.REPOSITORY_FIELDS)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["issue", "view", "72", "--json", "nose"], 1, 'Unknown JSON field: "nose"\nAvailable fields:\n  assignees\n'),
        (["issue", "view", "--json", "title"], 1, "accepts 1 arg(s), received 0"),
        (["issue", "view", "x", "--json", "title"], 1, 'invalid issue format: "x"'),
        (["issue", "view", "72", "--nose"], 1, "unknown flag: --nose\n\nUsage:  gh issue view"),
        (["issue", "comment", "72"], 1, "flags required when not running interactively"),
        (["issue", "close", "72", "--reason", "done"], 1, "valid values are {completed|not planned}"),
        (["issue", "comment", "72", "--body", " "], 1, "Body cannot be blank"),
        (["issue", "comment", "72", "--body", "x" * 65_537], 1, "Body is too long (maximum is 65536 characters)"),
        (["nose"], 1, 'unknown command "nose" for "gh"'),
        (["pr", "create", "--head", "x"], 1, "must provide `--title` and `--body`"),
        (["pr", "create", "--title", "t", "--body", "b"], 1, "aborted: you must first push the current branch"),
        (["pr", "create", "--head", "x", "--title", " ", "--body", "b"], 1, "title must not be blank"),
        (
            ["pr", "create", "--head", "x", "--title", "x" * 257, "--body", "b"],
            1,
            "pull request create failed: GraphQL: Title is too long (maximum is 256 characters) (createPullRequest)",
        ),
        (["pr", "edit", "9", "--body", "b"], 1, "Could not resolve to a PullRequest with the number of 9."),
        (["issue", "close", "73"], 0, "! Issue acme/widgets#73 (Add a login page) is already closed"),
        (["issue", "close", "#72"], 0, "\u2713 Closed issue acme/widgets#72 (Fix the leak)"),
    ],
)
def test_the_stand_in_refuses_and_tells_as_gh_does(root, github, words, status, said):
    answer = stand_in(root, *words)
    assert (answer.returncode, said in answer.stderr) == (status, True), answer.stderr


def test_the_stand_in_is_the_gh_on_path(github):
    assert gh._find_program() == str(FOLDER / "gh")
    assert stat.S_IMODE((FOLDER / "gh").stat().st_mode) & 0o111 == 0o111
