"""An attempt that is killed at any point goes on: its feature is neither lost nor done twice, and nothing is left.

A run (`batchctl run`) gives each attempt a process of its own. That is killed with SIGKILL as soon as each of
the things that it brings about can be seen, alone and with its driver; then the same attempt is begun again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pytest
from batch_implement.base import process_identity, project_paths
from batch_implement.core import batch_policy
from batch_implement.runner import job as jobs
from batch_implement.runner.job import Job, Outcome
from batches import git
from mutating import Patch, mutated

LIB = os.path.join(project_paths.plugin_root(), "lib")
# It says that it was begun, and whether another still works there; it does its work in steps that can be told apart.
WORKER = (
    "cat > /dev/null; for pid in $(cat ../pids 2>/dev/null); do "
    "grep -qs '^State:.[^ZX]' /proc/$pid/status && echo $pid >> ../met; done; "
    "echo $$ >> ../pids; sleep 0.2; echo x > work.txt; sleep 0.2; git add work.txt; "
    "git diff --cached --quiet || git commit -qm Work; sleep 0.8"
)
SEEN: dict[str, Callable[[Job], bool]] = {
    "the folder": lambda job: os.path.exists(job.worktree),
    "the work tree": lambda job: os.path.exists(f"{job.worktree}/README.md"),
    "the batch of one": lambda job: os.path.exists(f"{job.worktree}/.claude/batch_state.json"),
    "the client": lambda job: os.path.exists(f"{job.worktree}/../pids"),
    "a file": lambda job: os.path.exists(f"{job.worktree}/work.txt"),
    "the commit": lambda job: (
        os.path.exists(f"{job.repository}/.git/refs/heads/{job.branch}")
        and Path(job.repository, ".git", "refs", "heads", job.branch).read_text().strip() != job.base
    ),
    "the verify command": lambda job: os.path.exists(f"{job.worktree}/../verifying"),
    "the end": lambda job: is_completed(job),
}
DRIVER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from batch_implement.runner import local_executor
from batch_implement.runner.job import Job
print(json.dumps(local_executor.run_job(Job(**json.loads(sys.stdin.readline())))._asdict()))
"""
WRONG: dict[str, Patch] = {
    "an attempt begins where it was not left": (
        "runner/attempt.py",
        'if state is None or state["batch_id"] != _attempt_batch_id(job):',
        "if True:",
    ),
    "what a dead attempt started goes on": (
        "git/worktrees.py",
        "    process_identity.end_marked(folder)\n",
        "    pass\n",
    ),
}


def job_in(repository: Path, number: int, dispatch: int) -> Job:
    """The job of a feature's first attempt, dispatched once more."""
    limits = {"time_s": 300, "turns": None, "cost_usd": None, "left_usd": None}
    policy = {
        **batch_policy.create_policy(verify="touch ../verifying; sleep 0.3; ls work.txt"),
        "max_retries": 0,
        "max_retries_total": 0,
        "budgets": {},
    }
    return Job(
        batch_id="batch-1", feature_index=number, attempt=1, text="Work", details={}, needs=[], earlier=[],
        policy=policy, repository=str(repository), remote=False, base=git(repository, "rev-parse", "main"),
        branch=f"batch/batch-1/{number + 1}-work", worktree=f"{repository}.worktrees/{number + 1}/work",
        session_id=f"{dispatch:08d}-0000-4000-8000-000000000000", command=WORKER, client={}, limits=limits,
    )  # fmt: skip


class Driven:
    """A driver with one job, to be killed."""

    def __init__(self, lib: str, job: Job) -> None:
        self.job = job
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, lib], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job._asdict()) + "\n")
        self.process.stdin.close()

    def outcome(self) -> Outcome | None:
        """What it came to; None when it was killed before it had one."""
        assert self.process.stdout
        said = self.process.stdout.read()
        self.process.wait()
        return Outcome(**json.loads(said)) if said.strip() else None

    def kill(self, *, driver: bool) -> None:
        """Kill its attempt, if that is there, and the driver."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            attempts = [int(pid) for pid in children.read_text().split()]
        except OSError:
            attempts = []
        if driver:
            self.process.kill()
        for pid in attempts:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def is_completed(job: Job) -> bool:
    """Whether the batch of one is over."""
    try:
        return '"status": "completed"' in Path(job.worktree, ".claude", "batch_state.json").read_text()
    except FileNotFoundError:
        return False


def begun(job: Job) -> int:
    """How often the worker command was begun."""
    pids = Path(job.worktree, "..", "pids")
    return len(pids.read_text().split()) if pids.exists() else 0


def killed_throughout(lib: str, repository: Path) -> tuple[list[str], int]:
    """What went wrong with attempts that were killed as soon as each thing could be seen, and the number of those that
    were killed before they had an outcome.
    """
    troubles, kills = [], 0
    for number, (name, with_driver) in enumerate((name, with_driver) for name in SEEN for with_driver in (False, True)):
        job = job_in(repository, number, 1)
        driven = Driven(lib, job)
        while not SEEN[name](job) and driven.process.poll() is None:
            time.sleep(0.001)
        driven.kill(driver=with_driver)
        over, times = is_completed(job), begun(job)
        outcome = driven.outcome()
        kills += outcome is None or outcome.kind != jobs.COMPLETED
        if outcome is None or outcome.kind == jobs.INTERRUPTED:
            outcome = Driven(lib, job_in(repository, number, 2)).outcome()
        found = wrong(job, outcome)
        if over and begun(job) != times:
            found.append("it was done once more")
        troubles += [f"{name}{', driver too' if with_driver else ''}: {what}" for what in found]
    return troubles, kills


def wrong(job: Job, outcome: Outcome | None) -> list[str]:
    """What is wrong with a job's last outcome, its branch and its work tree."""
    if outcome is None or outcome.kind != jobs.COMPLETED:
        return [f"no outcome that is good: {outcome and (outcome.kind, outcome.failure_class, outcome.message)}"]
    found = []
    commits = git(job.repository, "rev-list", f"main..{job.branch}").split()
    if [outcome.commit] != commits or outcome.evidence["commits"] != commits:
        found.append(f"the branch has {commits}, the evidence {outcome.evidence['commits']}")
    if git(job.worktree, "status", "--porcelain"):
        found.append("the work tree is not clean")
    if git(job.worktree, "ls-tree", "--name-only", "HEAD").split() != ["README.md", "work.txt"]:
        found.append("the commit does not hold what was there before")
    if os.path.exists(f"{job.worktree}/../met"):
        found.append("two of them worked in one work tree")
    if process_identity.find_marked(job.worktree):
        found.append("something still runs")
    return found


pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="asks /proc which process is the attempt")


@pytest.mark.prove
def test_an_attempt_killed_at_any_point_is_neither_lost_nor_done_twice(repository: Path) -> None:
    troubles, kills = killed_throughout(LIB, repository)
    print(f"{kills} attempts killed before they had an outcome, {len(troubles)} troubles")
    assert not troubles, "\n".join(troubles)
    assert kills > len(SEEN)


@pytest.mark.prove
@pytest.mark.parametrize("name", WRONG)
def test_killing_attempts_notices(repository: Path, tmp_path: Path, name: str) -> None:
    troubles, kills = killed_throughout(mutated(WRONG[name], str(tmp_path)), repository)
    print(f"{name}: {len(troubles)} of {kills} kills")
    assert troubles
