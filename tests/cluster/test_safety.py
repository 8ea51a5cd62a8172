"""What must not happen on the way to a cluster: an open scheduler, a secret that travels, a branch overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from batch_implement.base import process_identity
from batch_implement.base.project_paths import Project
from batch_implement.cli import arguments
from batch_implement.core.errors import RefusedError, UsageError
from batch_implement.git import git_client, remotes
from batch_implement.runner import attempt as attempts
from batch_implement.runner import job, options
from batch_implement.runner.dask import executor, repository_cache
from batch_implement.store.store import Store
from run_states import run_state

BASE = {"cluster": "tcp://127.0.0.1:1"}


def git(folder: Path | str, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    "address",
    [
        "tcp://scheduler:8786",
        "tcp://192.0.2.7:8786",
        "ws://host:80",
        "ucx://host:1",
        "tcp://127.0.0.1.example.invalid:1",
    ],
)
def test_a_scheduler_that_others_can_reach_unencrypted_is_refused(address):
    with pytest.raises(RefusedError, match="--insecure-cluster"):
        executor.refuse_unencrypted(address)


@pytest.mark.parametrize(
    "address",
    ["tls://scheduler:8786", "wss://host:443", "tcp://127.0.0.1:8786", "tcp://[::1]:8786", "tcp://localhost:1"],
)
def test_an_encrypted_one_and_one_on_this_machine_alone_are_taken(address):
    executor.refuse_unencrypted(address)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://me:t0ken@host.invalid/a/b.git", "https://host.invalid/a/b.git"),
        ("https://t0ken@host.invalid/a/b.git", "https://host.invalid/a/b.git"),
        ("ssh://git:pass@host.invalid:22/a.git", "ssh://git@host.invalid:22/a.git"),
        ("ssh://git@host.invalid/a.git", "ssh://git@host.invalid/a.git"),
        ("git@host.invalid:a/b.git", "git@host.invalid:a/b.git"),
        ("/srv/a.git", "/srv/a.git"),
        ("../a.git", "/project/a.git"),
    ],
)
def test_no_password_or_token_of_the_remote_is_sent(url, sent):
    assert remotes.strip_credentials(url, "/project/here") == sent


def test_nothing_of_the_environment_is_in_a_task(repository, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "s3cret-value")
    state = run_state(1)
    state["run"]["options"] = {**options.to_stored(options.Options(**BASE)), "remote": "/srv/a.git"}
    (repository / ".claude").mkdir()
    (repository / ".claude" / "settings.local.json").write_text("{}")
    made = job.create_job(Project(str(repository)), state, 0)
    text = json.dumps(made._asdict())
    assert made.remote and made.worktree == "" and made.client["settings"] is None
    for name, value in os.environ.items():
        assert len(value) < 8 or value not in text, name


def test_without_dask_the_option_says_how_to_get_it(repository):
    hidden = "import sys; sys.modules['distributed'] = None; sys.path.insert(0, sys.argv.pop(1)); "
    code = f"{hidden}from batch_implement.cli.batchctl import main; sys.exit(main(sys.argv[1:]))"
    (repository / "f.txt").write_text("feature 1\n")
    git(repository, "remote", "add", "origin", "/srv/a.git")
    lib = str(Path(executor.__file__).parents[3])
    words = ["run", "f.txt", "--worker", "true", "--cluster", "tcp://127.0.0.1:1"]
    asked = subprocess.run(
        [sys.executable, "-c", code, lib, *words], cwd=repository, capture_output=True, text=True, check=False
    )
    assert asked.returncode == 1 and "pip install 'batch-implement[cluster]'" in asked.stderr
    assert Store(Project(str(repository))).read() is None


class Attempt:
    """One attempt on a machine with a cache of its own, and a remote."""

    def __init__(self, repository: Path, bare: Path) -> None:
        self.remote, base = bare, git(repository, "rev-parse", "HEAD")
        subprocess.run(["git", "clone", "-q", "--bare", str(repository), str(bare)], check=True)
        git(bare, "update-ref", "refs/heads/batch/b/merged", base)
        state = run_state(1)
        state["run"]["options"] = {"remote": str(bare)}
        made = job.create_job(Project(str(repository)), state, 0)
        self.job = made._replace(batch_id="b", base=base, branch="batch/b/1-one")

    def begun(self, place: Path) -> repository_cache.CachedJob:
        os.environ["BATCHCTL_CACHE"] = str(place)
        return repository_cache.prepare(self.job)

    def committed(self, here: repository_cache.CachedJob, name: str) -> str:
        Path(here.job.worktree, name).write_text(name)
        git(here.job.worktree, "add", ".")
        git(here.job.worktree, "commit", "-qm", name)
        return git(here.job.worktree, "rev-parse", "HEAD")

    def tip(self) -> str | None:
        return git_client.get_branch_tip(str(self.remote), self.job.branch)


@pytest.fixture
def attempt(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("BATCHCTL_CACHE", str(tmp_path / "none"))
    return Attempt(repository, tmp_path / "remote.git")


def done(commit: str) -> dict[str, object]:
    return {"kind": job.COMPLETED, "commit": commit, "evidence": {}}


def test_the_later_of_two_that_do_one_attempt_does_not_overwrite_what_the_first_pushed(attempt, tmp_path):
    slow, quick = attempt.begun(tmp_path / "slow"), attempt.begun(tmp_path / "quick")
    first, second = attempt.committed(quick, "quick"), attempt.committed(slow, "slow")
    assert repository_cache.finish(quick, attempt.job, done(first))["kind"] == job.COMPLETED
    verdict = repository_cache.finish(slow, attempt.job, done(second))
    assert (verdict["kind"], verdict["failure_class"], attempt.tip()) == (job.INTERRUPTED, job.LOST, first)


def test_a_push_that_does_not_end_in_time_is_an_interruption_not_a_death(attempt, tmp_path, monkeypatch):
    """The attempt's process died of it, three times, and the feature had failed."""
    here = attempt.begun(tmp_path / "one")
    commit = attempt.committed(here, "one")
    hook = attempt.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexec sleep 60\n")
    hook.chmod(0o755)
    monkeypatch.setattr(repository_cache, "PUSH_S", 0.5)
    verdict = repository_cache.finish(here, attempt.job, done(commit))
    assert (verdict["kind"], verdict["failure_class"]) == (job.INTERRUPTED, "network")
    assert os.path.exists(here.job.worktree), "the commit is nowhere else"


def test_an_attempt_that_was_pushed_is_taken_up_where_it_was_pushed_on_whatever_machine(attempt, tmp_path):
    here = attempt.begun(tmp_path / "one")
    commit = attempt.committed(here, "one")
    repository_cache.finish(here, attempt.job, done(commit))
    assert not os.path.exists(here.job.worktree)
    there = attempt.begun(tmp_path / "two")
    assert (there.pushed, git(there.job.worktree, "rev-parse", "HEAD")) == (commit, commit)
    assert there.job.base == attempt.job.base


@pytest.mark.parametrize("kind", [job.FAILED, job.INTERRUPTED, job.NEEDS_USER])
def test_what_was_not_verified_is_never_pushed(attempt, tmp_path, kind):
    here = attempt.begun(tmp_path / "one")
    attempt.committed(here, "one")
    repository_cache.finish(
        here, attempt.job, {"kind": kind, "commit": None, "message": "", "failure_class": "feature"}
    )
    assert attempt.tip() is None
    assert os.path.exists(here.job.worktree) == (kind != job.FAILED)


def test_a_client_that_pushes_its_branch_itself_does_not_push_the_attempts(attempt, tmp_path):
    here = attempt.begun(tmp_path / "one")
    attempt.committed(here, "one")
    git(here.job.worktree, "push", "-q", str(attempt.remote), "HEAD")
    assert attempt.tip() is None


def test_a_remote_that_does_not_answer_costs_no_attempt(attempt, tmp_path):
    here = attempt.begun(tmp_path / "one")
    gone = attempt.job._replace(repository=str(tmp_path / "gone.git"))
    verdict = repository_cache.finish(here, gone, done(attempt.committed(here, "one")))
    assert (verdict["kind"], verdict["failure_class"]) == (job.INTERRUPTED, "network")
    assert os.path.exists(here.job.worktree)


def test_a_pushed_attempt_whose_outcome_was_lost_is_verified_again_and_adopted_without_a_client(attempt, tmp_path):
    work = "echo one > one && git add . && git commit -qm one"
    asked = attempt.job._replace(command=work, policy={**attempt.job.policy, "verify": "test -f one"})
    os.environ["BATCHCTL_CACHE"] = str(tmp_path / "one")
    first = attempts.run_attempt(asked, threading.Event())
    assert (first.kind, first.commit) == (job.COMPLETED, attempt.tip())
    assert set(first.log_texts) >= {"brief", "stderr"} and all(
        len(text) <= 200_000 for text in first.log_texts.values()
    )
    os.environ["BATCHCTL_CACHE"] = str(tmp_path / "two")
    again = attempts.run_attempt(asked._replace(command="exit 1", session_id="again"), threading.Event())
    assert (again.kind, again.commit, again.evidence["verify"]["exit_code"]) == (job.COMPLETED, first.commit, 0)


def test_a_pushed_attempt_that_does_not_verify_here_is_worked_on(attempt, tmp_path):
    here = attempt.begun(tmp_path / "one")
    repository_cache.finish(here, attempt.job, done(attempt.committed(here, "one")))
    work = "echo two > two && git add . && git commit -qm two"
    asked = attempt.job._replace(command=work, policy={**attempt.job.policy, "verify": "test -f one -a -f two"})
    os.environ["BATCHCTL_CACHE"] = str(tmp_path / "two")
    outcome = attempts.run_attempt(asked, threading.Event())
    assert (outcome.kind, outcome.commit) == (job.COMPLETED, attempt.tip())
    assert git(attempt.remote, "log", "--format=%s", "-2", attempt.job.branch).split() == ["two", "one"]


# -- what stays in the cache -------------------------------------------------------------------------------------------

DAY_S = 24 * 3600


def interrupted(here: repository_cache.CachedJob, asked: job.Job) -> bool:
    """Whether the work tree of an attempt that was interrupted is still there; its fetched branch never is."""
    repository_cache.finish(here, asked, {"kind": job.INTERRUPTED, "message": "", "failure_class": "stopped"})
    assert f"{repository_cache.FETCHED_REFS}refs/heads/{asked.branch}" not in git(here.job.repository, "for-each-ref")
    return os.path.exists(here.job.worktree)


def test_a_work_tree_goes_with_its_attempt_unless_something_is_in_it_that_is_nowhere_else(attempt, tmp_path):
    here = attempt.begun(tmp_path / "one")
    assert not interrupted(here, attempt.job)
    assert git(here.job.repository, "branch", "--list") == ""
    here = attempt.begun(tmp_path / "one")
    Path(here.job.worktree, "new").write_text("not committed")
    assert interrupted(here, attempt.job)
    assert Path(attempt.begun(tmp_path / "one").job.worktree, "new").read_text() == "not committed"
    attempt.committed(here, "new")
    assert interrupted(here, attempt.job)
    git(here.job.worktree, "reset", "-q", "--hard", "HEAD^")
    assert not interrupted(here, attempt.job)


def test_one_that_was_pushed_already_is_not_kept_when_it_is_interrupted(attempt, tmp_path):
    here = attempt.begun(tmp_path / "one")
    repository_cache.finish(here, attempt.job, done(attempt.committed(here, "one")))
    assert not interrupted(attempt.begun(tmp_path / "two"), attempt.job)


def aged(tree: str, days: float) -> None:
    """Let everything in a work tree be that old."""
    moment = time.time() - days * DAY_S
    for place, _, files in os.walk(tree):
        for path in (place, *(os.path.join(place, name) for name in files)):
            os.utime(path, (moment, moment))


def test_what_is_kept_is_removed_when_nothing_has_touched_it_for_a_week_and_nobody_works_in_it(attempt, tmp_path):
    here = attempt.begun(tmp_path / "one")
    Path(here.job.worktree, "deep").mkdir()
    Path(here.job.worktree, "deep", "new").write_text("not committed")
    assert interrupted(here, attempt.job)
    first, attempt.job = attempt.job, attempt.job._replace(branch="batch/b/2-two")

    def stays() -> bool:
        attempt.begun(tmp_path / "one")
        return os.path.exists(here.job.worktree)

    aged(here.job.worktree, 6.9)
    assert stays()
    aged(here.job.worktree, 7.1)
    os.utime(Path(here.job.worktree, "deep", "new"))
    assert stays()
    aged(here.job.worktree, 7.1)
    marked = {**os.environ, process_identity.WORKTREE_VARIABLE: here.job.worktree}
    with subprocess.Popen(["sleep", "600"], env=marked) as client:
        assert stays()
        client.kill()
    assert not stays()
    assert repository_cache.LOCAL_PREFIX + first.branch not in git(here.job.repository, "branch", "--list")


def test_what_was_fetched_for_old_batches_goes(attempt, tmp_path):
    for number in range(6):
        batch = f"b{number}"
        git(attempt.remote, "update-ref", f"refs/heads/batch/{batch}/merged", attempt.job.base)
        git(attempt.remote, "update-ref", f"refs/heads/batch/{batch}/1-one", attempt.job.base)
        attempt.job = attempt.job._replace(batch_id=batch, branch=f"batch/{batch}/1-one")
        here = attempt.begun(tmp_path / "one")  # and a worker that dies does not settle it
    fetched = git(here.job.repository, "for-each-ref", "--format=%(refname)", repository_cache.FETCHED_REFS).split()
    assert f"{repository_cache.FETCHED_REFS}refs/heads/{attempt.job.branch}" in fetched
    assert len(fetched) == 2 * (repository_cache.KEPT_BATCHES + 1)


def typed(*words: str) -> options.Options:
    return options.from_arguments(arguments.parse_command(["run", *words]), "/somewhere")


@pytest.mark.parametrize("words", [["--slots", "2"], ["--insecure-cluster"], ["--cluster", "no/such/file"]])
def test_what_is_said_of_a_cluster_that_is_not_there_is_wrong(words):
    with pytest.raises(UsageError, match="--cluster"):
        typed("f.txt", *words)


def test_a_run_that_goes_on_has_its_cluster_and_as_many_slots_as_that_has_now():
    state = run_state(1)
    state["run"]["options"] = options.to_stored(typed("f.txt", "--cluster", "tls://scheduler:8786", "--slots", "3"))
    on = options.for_resume(state, typed("--resume"), "/project")
    assert (on.cluster, on.slots, on.jobs) == ("tls://scheduler:8786", 3, None)
