"""Pull requests of a run: real git, a bare repository as the remote, the stand-in for gh."""

from __future__ import annotations

import os

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.core import run_transitions
from batch_implement.core.errors import BatchError
from batch_implement.git import gh
from batch_implement.runner import pull_requests
from batches import NOW, commit, git, new_batch, owner, then
from gh_stand_in import StandIn

BATCH = "batch/batch-1/merged"
REPORT = "# Morning\n\nAll is well.\n"


@pytest.fixture
def remote(tmp_path, repository):
    """A bare repository at the end of `origin`, which has `main`."""
    path = tmp_path / "remote" / "acme" / "widgets.git"
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "--template=")
    git(repository, "remote", "add", "origin", str(path))
    git(repository, "push", "-q", "origin", "main")
    return path


@pytest.fixture
def github(tmp_path, remote, monkeypatch):
    """The stand-in's GitHub, which looks at that repository."""
    made = StandIn(tmp_path / "github.json")
    made.change(git=str(remote))
    made.on_path(monkeypatch)
    return made


class Run:
    """A run over a batch: `merge(index, name=text)` gives a feature a commit on the batch's branch."""

    def __init__(self, repository, needs=None, features=4):
        self.root, self.project = repository, Project(str(repository))
        self.base = git(repository, "rev-parse", "HEAD")
        git(repository, "branch", BATCH)
        self.state = then(
            new_batch(features, needs=needs), run_transitions.begin, NOW, owner(), branch=BATCH, base_commit=self.base,
            target="main", worktrees=f"{repository}.worktrees/batch-1", jobs=2, options={}, budgets={},
        )  # fmt: skip

    def merge(self, index, *, no_change=None, **files):
        """Complete a feature as the queue does it."""
        git(self.root, "switch", "-q", BATCH)
        made = [commit(self.root, **{name: text}) for name, text in files.items()]
        git(self.root, "switch", "-q", "main")
        head = git(self.root, "rev-parse", BATCH)
        branch = f"batch/batch-1/{index + 1}-feature-{index + 1}"
        proof = {"commit": head, "commits": made, "verify": None, "branch": BATCH}
        proof = {**proof, "no_change": no_change} if no_change else proof
        spot = {"base": head, "branch": branch, "worktree": "/w", "session_id": "s", "place": "here"}
        state = run_transitions.dispatch(self.state, NOW, index, **spot)
        ended = {"attempt": 1, "started_at": NOW, "ended_at": NOW, "outcome": "completed", "branch": branch}
        state = run_transitions.record_client(state, index, ended)
        state = run_transitions.await_merge(state, NOW, index, proof, [])
        merge = {"commit": head, "from": head, "rebased": False}
        state = run_transitions.prepare_merges(state, {index: {"evidence": proof, "merge": merge}})
        self.state = run_transitions.complete_feature(state, NOW, index)

    def open(self, index):
        """Open a feature's pull request and keep its record."""
        record = pull_requests.open_for_feature(self.project, self.state, index)
        known = self.state["git_operations"]
        kept = {**known.get(str(index), {}), "pr": record}
        self.state = {**self.state, "git_operations": {**known, str(index): kept}}
        return record

    def open_batch(self, report=REPORT):
        return pull_requests.open_for_batch(self.project, self.state, report)


@pytest.fixture
def run(repository):
    return Run(repository)


def own_commits(remote, branch, base="main"):
    """The subjects of what a pull request shows, oldest first."""
    return git(remote, "log", "--reverse", "--format=%s", f"{base}..{branch}").splitlines()


def refuse_pushes(remote, words="no, thanks"):
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    hook.chmod(0o755)
    return hook


# -- the batch ---------------------------------------------------------------------------------------------------------


def test_the_batch_is_pushed_and_has_a_pull_request_with_the_report(run, remote, github):
    run.merge(0, a="1")
    run.merge(1, b="2")
    record = run.open_batch()
    [pull] = github.pulls()
    assert (pull["head"], pull["base"], pull["body"]) == (BATCH, "main", REPORT)
    assert pull["title"] == "2 of 4 features of batch batch-1"
    head = git(run.root, "rev-parse", BATCH)
    assert git(remote, "rev-parse", BATCH) == head
    expected = {
        "success": True, "number": pull["number"], "url": f"https://github.invalid/acme/widgets/pull/{pull['number']}",
        "branch": BATCH, "sha": head, "remote": "origin", "error": None,
    }  # fmt: skip
    assert {name: record[name] for name in expected} == expected
    assert record["timestamp"].endswith("Z")
    assert git(run.root, "status", "--porcelain") == ""
    assert git(run.root, "branch", "--show-current") == "main"


def test_a_second_call_finds_the_first_ones_pull_request_and_renews_it(run, remote, github):
    run.merge(0, a="1")
    first = run.open_batch()
    run.merge(1, b="2")
    second = run.open_batch("# Later\n")
    assert (second["number"], second["success"], second["error"]) == (first["number"], True, None)
    [pull] = github.pulls()
    assert pull["body"] == "# Later\n"
    assert git(remote, "rev-parse", BATCH) == second["sha"] != first["sha"]


@pytest.mark.prove
def test_a_pull_request_whose_text_cannot_be_renewed_counts_and_says_so(run, remote, github):
    run.merge(0, a="1")
    first = run.open_batch()
    github.goes_wrong("pr edit", "something else")
    second = run.open_batch()
    assert (second["success"], second["number"]) == (True, first["number"])
    assert "updating its text failed" in second["error"]


@pytest.mark.prove
def test_one_that_is_opened_by_somebody_meanwhile_is_taken(run, remote, github, monkeypatch):
    run.merge(0, a="1")
    github.change(pulls={"7": {"title": "t", "body": "b", "head": BATCH, "base": "main", "state": "OPEN"}})
    looks = iter([lambda *_: None, gh.find_pull_request])  # the first comes too early
    monkeypatch.setattr(gh, "find_pull_request", lambda *words: next(looks)(*words))
    record = run.open_batch()
    assert (record["success"], record["number"], len(github.pulls())) == (True, 7, 1)


@pytest.mark.prove
def test_a_closed_one_and_one_from_a_fork_do_not_count(run, remote, github):
    run.merge(0, a="1")
    pull = {"title": "t", "body": "b", "head": BATCH, "base": "main"}
    github.change(pulls={"7": {**pull, "state": "CLOSED"}, "8": {**pull, "state": "OPEN", "from_fork": True}})
    record = run.open_batch()
    assert (record["success"], record["number"] in (7, 8)) == (True, False)


@pytest.mark.prove
def test_it_goes_into_the_branch_that_the_person_was_on_when_the_remote_has_that(run, remote, github):
    run.merge(0, a="1")
    run.state["run"]["target"] = "develop"
    git(run.root, "branch", "develop", run.base)
    git(run.root, "push", "-q", "origin", "develop")
    run.open_batch()
    assert github.pulls()[0]["base"] == "develop"


@pytest.mark.prove
def test_it_goes_into_the_default_branch_when_the_persons_own_is_only_here(run, remote, github):
    run.merge(0, a="1")
    run.state["run"]["target"] = "only-here"
    run.open_batch()
    assert github.pulls()[0]["base"] == "main"


def test_the_default_branch_is_never_pushed_to(run, remote, github):
    run.merge(0, a="1")
    before = git(remote, "rev-parse", "main")
    github.change(default_branch=BATCH)
    record = run.open_batch()
    assert (record["success"], "the run never pushes to it" in record["error"]) == (False, True)
    github.change(default_branch="")
    assert "has no default branch yet" in run.open_batch()["error"]
    assert git(remote, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert git(remote, "rev-parse", "main") == before


def test_nothing_is_forced(run, remote, github):
    run.merge(0, a="1")
    git(run.root, "switch", "-q", "-c", "other", run.base)
    other = commit(run.root, z="9")
    git(run.root, "push", "-q", "origin", f"{other}:refs/heads/{BATCH}")
    git(run.root, "switch", "-q", "main")
    record = run.open_batch()
    assert record["success"] is False
    assert f"`git push origin --delete {BATCH}`" in record["error"]
    assert git(remote, "rev-parse", BATCH) == other
    assert github.pulls() == []


def test_a_remote_that_refuses_is_told_with_what_it_said(run, remote, github):
    run.merge(0, a="1")
    refuse_pushes(remote)
    record = run.open_batch()
    assert (record["success"], record["number"]) == (False, None)
    assert "The remote's rules refuse it." in record["error"]
    assert "pre-receive hook declined" in record["error"]


@pytest.mark.prove
def test_a_remote_that_is_gone_is_told(run, remote, github):
    run.merge(0, a="1")
    remote.rename(remote.with_name("elsewhere.git"))
    record = run.open_batch()
    assert (record["success"], "`git remote -v` shows the URL of origin" in record["error"]) == (False, True)


@pytest.mark.prove
def test_a_batch_that_brought_nothing_is_told(run, remote, github):
    record = run.open_batch()
    assert (record["success"], "There is nothing to open a pull request for" in record["error"]) == (False, True)
    git(run.root, "branch", "-D", BATCH)
    assert f"The branch {BATCH} is gone" in run.open_batch()["error"]


@pytest.mark.parametrize(
    ("call", "trouble", "message"),
    [
        ("pr create", "may not open", "issues and pull requests"),
        pytest.param("repo view", "logged out", "`gh auth login`", marks=pytest.mark.prove),
        pytest.param("repo view", "offline", "GitHub cannot be reached", marks=pytest.mark.prove),
        pytest.param("pr create", "no collaborator", "may not do that", marks=pytest.mark.prove),
        pytest.param("pr list", "too old", "Update it", marks=pytest.mark.prove),
        pytest.param("pr create", "silent", "no output", marks=pytest.mark.prove),
    ],
)  # fmt: skip
def test_trouble_with_gh_is_in_the_record_with_what_to_do(run, remote, github, call, trouble, message):
    run.merge(0, a="1")
    github.goes_wrong(call, trouble)
    record = run.open_batch()
    assert (record["success"], message in record["error"]) == (False, True), record["error"]
    github.goes_right()
    assert run.open_batch()["success"] is True


@pytest.mark.prove
def test_one_that_was_opened_although_gh_failed_is_found_by_the_next_call(run, remote, github):
    run.merge(0, a="1")
    github.goes_wrong("pr create", "lost: connection slow")
    assert run.open_batch()["success"] is False
    github.goes_right()
    assert run.open_batch()["success"] is True
    assert len(github.pulls()) == 1


@pytest.mark.prove
def test_without_gh_or_without_its_remote_it_says_what_is_missing(run, remote, github, monkeypatch):
    git(run.root, "remote", "set-url", "origin", "https://elsewhere.invalid/other/thing")
    assert "none of the git remotes" in run.open_batch()["error"]
    monkeypatch.setenv("PATH", "")
    assert "gh, GitHub's command line, was not found" in run.open_batch()["error"]


@pytest.mark.prove
def test_a_report_too_long_for_github_is_cut_at_a_line(run, remote, github):
    run.merge(0, a="1")
    assert run.open_batch("line\n" * 20_000)["success"] is True
    body = github.pulls()[0]["body"]
    assert len(body) < 65_536
    assert body.endswith("line\n\n[shortened; `batchctl report` has all of it]\n")


def test_the_password_in_an_address_is_not_told(run, remote, github):
    run.merge(0, a="1")
    git(run.root, "config", "remote.origin.url", "file://me:secret@nowhere.invalid/no/acme/widgets.git")
    record = run.open_batch()
    assert (record["success"], "secret" in record["error"]) == (False, False), record["error"]


# -- each feature ------------------------------------------------------------------------------------------------------


def test_a_feature_has_its_own_commits_alone(run, remote, github):
    run.merge(0, a="1")
    run.merge(1, b="2", c="3")
    record = run.open(1)
    assert own_commits(remote, "batch/batch-1/2-feature-2") == ["Add b", "Add c"]
    [pull] = github.pulls()
    assert (pull["head"], pull["base"], pull["title"]) == ("batch/batch-1/2-feature-2", "main", "feature 2")
    assert (record["branch"], record["number"]) == (pull["head"], pull["number"])
    body = pull["body"]
    assert "    feature 2\n" in body
    assert "**Done** by batch-implement" in body
    assert "builds on" not in body
    assert BATCH not in git(remote, "for-each-ref")


@pytest.mark.prove
def test_what_is_left_of_making_it_is_nothing(run, remote, github):
    run.merge(0, a="1")
    run.merge(1, b="2")
    before = git(run.root, "for-each-ref", "refs/heads")
    run.open(1)
    assert git(run.root, "worktree", "list").count("\n") == 0
    assert git(run.root, "for-each-ref", "refs/heads") == before
    assert not os.path.exists(f"{run.root}.worktrees/batch-1/pull-request")


def test_a_feature_that_needs_one_is_stacked_on_that_ones_branch(repository, remote, github):
    run = Run(repository, needs={2: [1]})
    run.merge(0, a="1")
    run.merge(1, b="2")
    run.merge(2, c="3")
    below = run.open(1)
    run.open(2)
    pull = github.pulls()[1]
    assert (pull["base"], pull["head"]) == ("batch/batch-1/2-feature-2", "batch/batch-1/3-feature-3")
    assert own_commits(remote, pull["head"], pull["base"]) == ["Add c"]
    assert f"It builds on #{below['number']}: merge that first." in pull["body"]


def test_a_feature_that_needs_several_has_theirs_below_and_says_so(repository, remote, github):
    run = Run(repository, needs={3: [1, 2], 2: [0]})
    for index, name in enumerate("abcd"):
        run.merge(index, **{name: "1"})
    first = run.open(1)
    run.open(3)
    pull = github.pulls()[1]
    assert pull["base"] == "main"
    assert own_commits(remote, pull["head"]) == ["Add a", "Add b", "Add c", "Add d"]
    assert f"It builds on #{first['number']}, feature 3 of the batch and contains their commits" in pull["body"]


@pytest.mark.prove
def test_a_feature_whose_need_has_no_open_request_has_its_commits_below(repository, remote, github):
    run = Run(repository, needs={1: [0]})
    run.merge(0, a="1")
    run.merge(1, b="2")
    github.goes_wrong("pr create", ["may not open"])
    assert run.open(0)["success"] is False
    assert run.open(1)["success"] is True
    assert own_commits(remote, "batch/batch-1/2-feature-2") == ["Add a", "Add b"]


@pytest.mark.prove
def test_a_needed_branch_that_was_merged_and_removed_is_not_built_on(repository, remote, github):
    run = Run(repository, needs={1: [0]})
    run.merge(0, a="1")
    run.merge(1, b="2")
    run.open(0)
    git(remote, "update-ref", "-d", "refs/heads/batch/batch-1/1-feature-1")
    assert run.open(1)["success"] is True
    assert github.pulls()[1]["base"] == "main"


@pytest.mark.prove
def test_a_need_that_changed_nothing_is_not_built_on(repository, remote, github):
    run = Run(repository, needs={1: [0]})
    run.merge(0, no_change="there already")
    run.merge(1, b="2")
    assert "has no commit of its own" in run.open(0)["error"]
    assert run.open(1)["success"] is True
    assert own_commits(remote, "batch/batch-1/2-feature-2") == ["Add b"]


@pytest.mark.prove
def test_the_same_feature_again_gives_the_same_commit_and_finds_its_request(run, remote, github):
    run.merge(0, a="1")
    run.merge(1, b="2")
    github.goes_wrong("pr create", ["connection slow"])
    first = run.open(1)
    assert first["success"] is False
    second = run.open(1)
    third = run.open(1)
    assert first["sha"] == second["sha"] == third["sha"]
    assert (second["number"], len(github.pulls())) == (third["number"], 1)


def test_commits_that_stand_on_what_the_list_does_not_say_are_told(run, remote, github):
    run.merge(0, a="1\n")
    run.merge(1, a="2\n")
    record = run.open(1)
    assert record["success"] is False
    assert "feature 2 do not apply without those of other features (conflict in a.txt)" in record["error"]
    assert git(run.root, "worktree", "list").count("\n") == 0
    assert github.pulls() == []


def test_a_hostile_text_stays_a_title_and_a_block(repository, remote, github):
    run = Run(repository)
    run.state["features"][0] = "--web `id` $(touch x) \u202e @everyone " + "x" * 400
    run.state["details"] = {"0": {"description": "```\n# not a heading\n"}}
    run.state["issue_numbers"] = [72, None, None, None]
    run.merge(0, a="1")
    assert run.open(0)["success"] is True
    [pull] = github.pulls()
    assert pull["title"].startswith("--web `id` $(touch x) @everyone xxx")
    assert (len(pull["title"]), pull["title"][-3:]) == (200, "...")
    assert "    ```\n    # not a heading\n" in pull["body"]
    assert "For #72." in pull["body"]


# -- whether a push would go -------------------------------------------------------------------------------------------


def refusal(run, remote_name):
    """Why a push of the batch's branch would be refused; empty if it would not."""
    try:
        pull_requests.push_branch(str(run.root), remote_name, run.base, BATCH, "--dry-run")
    except BatchError as error:
        return error.message
    return ""


def test_a_dry_run_tells_whether_a_push_would_go_and_changes_nothing(run, remote):
    before = git(remote, "for-each-ref")
    assert refusal(run, "origin") == ""
    assert git(remote, "for-each-ref") == before
    hook = run.root / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'tests fail' >&2\nexit 1\n")
    hook.chmod(0o755)
    assert f"Pushing {BATCH} to origin failed" in refusal(run, "origin")
    assert "does not exist" in refusal(run, "nowhere")


@pytest.mark.prove
def test_a_push_that_does_not_end_is_ended(run, remote, monkeypatch):
    hook = run.root / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nsleep 600\n")
    hook.chmod(0o755)
    monkeypatch.setattr(pull_requests, "PUSH_TIMEOUT_S", 1)
    assert "did not answer within 1 s" in refusal(run, "origin")
