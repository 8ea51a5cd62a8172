"""One attempt with the real client: what it says of its cost when it has to end, and the settings it works under.

tests/client/test_overnight.py has whole runs.
"""

from __future__ import annotations

import json
import os
import time
from concurrent import futures
from pathlib import Path
from typing import Any, Callable

import pytest
from batch_implement.base import process_identity
from batch_implement.runner import acquire_batch, local_executor
from batch_implement.runner import job as jobs
from batch_implement.store.store import Store
from scripted_model import Request, Script, call, say
from test_overnight import unattended_run
from unattended import UnattendedRun

import scripts

__all__ = ["unattended_run"]  # the fixture


def one_job(unattended: UnattendedRun, **budgets: Any) -> jobs.Job:
    """The job of the first feature, for a client that is given to this process."""
    options = {"permission_mode": "acceptEdits", "allow": [], "merge": False, "pr": None, "worker": None}
    state = acquire_batch.acquire_run(
        Store(unattended.project), unattended.clock.now(), jobs=1, worktrees=f"{unattended.project.root}.worktrees",
        options={**options, **unattended.options}, budgets=budgets,
    )  # fmt: skip
    return jobs.create_job(unattended.project, state, 0)


@pytest.fixture
def its_environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[UnattendedRun], None]:
    """Makes this process's environment that of the clients of a run."""

    def take(unattended: UnattendedRun) -> None:
        for name in set(os.environ) - set(unattended.environ or {}):
            monkeypatch.delenv(name)
        for name, value in (unattended.environ or {}).items():
            monkeypatch.setenv(name, value)

    return take


def test_a_client_that_has_to_end_still_says_what_it_cost_and_leaves_nothing(unattended_run, its_environment, tmp_path):
    mark = tmp_path / "pid"

    def dawdles(request: Request) -> Script:
        yield call("Bash", command="git status").with_usage(5000, 200)
        yield call("Bash", command=f"echo $CLAUDE_PID > {mark}; sleep 300").with_usage(7000, 300)
        yield say("Nobody hears this.")

    unattended = unattended_run(dawdles, 1)
    unattended.options["permission_mode"] = "bypassPermissions"
    its_environment(unattended)
    job = one_job(unattended)
    with futures.ThreadPoolExecutor(1) as executor:
        future = executor.submit(local_executor.run_job, job)
        deadline = time.monotonic() + 120
        while not mark.exists() and not future.done() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # the call that wrote it is under way
        local_executor.stop_all()
        outcome = future.result()
    assert (outcome.kind, outcome.failure_class) == (jobs.INTERRUPTED, "stopped"), outcome
    assert outcome.spent["cost_usd"] > 0 and outcome.spent["output_tokens"] == 500
    assert process_identity.find_marked(job.worktree) == [] and not process_identity.is_running(
        int(mark.read_text()), None
    )


@pytest.mark.prove
def test_a_persons_local_settings_hold_in_the_work_tree_which_has_no_such_file(
    unattended_run, its_environment, project
):
    (project / ".claude").mkdir(exist_ok=True)
    local = {"permissions": {"allow": ["Bash(perl:*)"]}}
    (project / ".claude" / "settings.local.json").write_text(json.dumps(local))
    scripts.git(project, "config", "core.excludesFile", str(Path(project, ".git", "theirs")))
    Path(project, ".git", "theirs").write_text(".claude/settings.local.json\n")
    refused: list[bool] = []

    def work(request: Request) -> Script:
        for command in ("perl -e 1", "awk 1 /dev/null > /dev/zero"):
            request = yield call("Bash", command=command)
            refused.append(request.error)
        yield from scripts.alone()(request)

    unattended = unattended_run(work, 1)
    its_environment(unattended)
    outcome = local_executor.run_job(one_job(unattended))
    assert outcome.kind == jobs.COMPLETED, outcome.message
    assert refused == [False, True]
    assert outcome.spent["turns"] > 3 and outcome.evidence["commits"] == [outcome.commit]
