"""What an attempt leaves on a cluster's worker: nothing that runs, and no cost that is told twice."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from batch_implement.base import process_identity
from batch_implement.base.project_paths import Project
from batch_implement.runner import job, local_executor
from batch_implement.runner.dask import repository_cache
from local import until
from run_states import run_state

STREAMS = Path(__file__).resolve().parents[1] / "unit" / "runner" / "streams"


@pytest.fixture
def asked(repository, tmp_path, monkeypatch):
    """A job as a cluster's worker gets it, and a cache for that."""
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repository), str(remote)], check=True)
    head = subprocess.run(["git", "-C", str(remote), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    subprocess.run(["git", "-C", str(remote), "branch", "batch/b/merged"], check=True)
    monkeypatch.setenv("BATCHCTL_CACHE", str(tmp_path / "cache"))
    state = run_state(1)
    state["run"]["options"] = {"remote": str(remote)}
    made = job.create_job(Project(str(repository)), state, 0)
    yield made._replace(batch_id="b", base=head.stdout.strip(), branch="batch/b/1-one")
    for pid in process_identity.find_marked(
        repository_cache.get_worktree(made._replace(batch_id="b", branch="batch/b/1-one"))
    ):
        os.kill(pid, signal.SIGKILL)  # where the test has failed


def test_an_attempt_that_is_killed_takes_its_client_along(asked, tmp_path):
    """It stayed, and went on working and spending: the worker did not know its work tree."""
    its = tmp_path / "pids"
    command = f"cat > /dev/null; echo $PPID > {its}.part; sleep 300 & echo $! >> {its}.part; mv {its}.part {its}; wait"

    def kill():
        until(its.exists)
        os.kill(int(its.read_text().split()[0]), signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    outcome = local_executor.run_job(asked._replace(command=command))
    killing.join()
    assert (outcome.kind, outcome.failure_class) == (job.INTERRUPTED, "worker_died")
    assert not any(process_identity.is_running(int(pid), None) for pid in its.read_text().split())


def test_a_git_that_outlives_its_attempt_is_found_by_its_work_tree(asked, tmp_path, monkeypatch):
    """All of them had an empty mark."""
    programs, marks = tmp_path / "programs", tmp_path / "marks"
    programs.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    (programs / "git").write_text(
        f'#!/bin/sh\necho "${process_identity.WORKTREE_VARIABLE}" >> {marks}\nexec {real} "$@"\n'
    )
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    local_executor.run_job(asked._replace(command="cat > /dev/null; exit 1"))
    assert set(marks.read_text().splitlines()) == {repository_cache.get_worktree(asked)}


def test_what_a_client_cost_is_told_once_though_the_next_attempt_is_in_the_same_work_tree(asked, tmp_path):
    """It was told again by each attempt: the note that it was told went to another folder."""
    program = tmp_path / "claude"
    program.write_text(f"#!/bin/sh\ncat > /dev/null; echo x > half-done; cat {STREAMS}/limit.jsonl; exit 1\n")
    program.chmod(0o755)
    asked = asked._replace(command=None, client={**asked.client, "path": str(program), "permission_mode": "auto"})
    told = [
        local_executor.run_job(asked._replace(session_id=f"00000000-0000-4000-8000-00000000000{n}")) for n in range(2)
    ]
    assert os.path.exists(os.path.join(repository_cache.get_worktree(asked), "half-done"))
    assert told[0].spent["output_tokens"] > 0 or told[0].spent["turns"] > 0, told[0]
    for name in ("turns", "output_tokens", "cost_usd"):
        assert len({each.spent[name] for each in told}) == 1, [each.spent for each in told]
