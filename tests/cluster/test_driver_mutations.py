"""The tests of a scheduler that is gone, of tasks that break, of what attempts leave, tried on code that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutating import mutated

WRONG = {
    "a scheduler that takes the connection is waited for": (
        "test_scheduler.py",
        "runner/dask/connection.py",
        "answer.result(timeout_s + POLL_S)",
        "answer.result()",
    ),
    "a connection that comes too late stays": (
        "test_scheduler.py",
        "runner/dask/connection.py",
        "            too_late(result)",
        "            pass",
    ),
    "a question before the night waits for ever": (
        "test_scheduler.py",
        "runner/dask/connection.py",
        "            if not hearing.is_responsive(client):",
        "            if not client:",
    ),
    "nobody asks a scheduler that is silent": (
        "test_scheduler.py",
        "runner/dask/executor.py",
        "if not future.done() and not self.monitor.is_responsive(client):",
        "if False:",
    ),
    "silence counts as an answer": (
        "test_scheduler.py",
        "runner/dask/connection.py",
        "            return time.monotonic() - self.last_answer_s < self.patience_s",
        "            return True",
    ),
    "a thread gives up while another asks": (
        "test_scheduler.py",
        "runner/dask/connection.py",
        "            return True\n",
        "            return time.monotonic() - self.last_answer_s < self.patience_s\n",
    ),
    "what a task raises ends the run": (
        "test_scheduler.py",
        "runner/dask/executor.py",
        "        except Exception as error:  # a task can raise anything",
        "        except OSError as error:",
    ),
    "what a task raises is nobody's fault": (
        "test_scheduler.py",
        "runner/dask/executor.py",
        'future.status in ("error", "finished")',
        'future.status == "finished"',
    ),
    "a connection that is lost is the feature's fault": (
        "test_scheduler.py",
        "runner/dask/executor.py",
        "        if not is_of_task and",
        "        if is_of_task and",
    ),
    "a client that is closed ends the run": (
        "test_scheduler.py",
        "runner/dask/executor.py",
        "        with contextlib.suppress(Exception):\n            client.subscribe_topic",
        "        if client:\n            client.subscribe_topic",
    ),
    "room is asked for as if there were one slot": (
        "test_worker_checks.py",
        "runner/dask/task.py",
        'slots = max(1, needs["slots"].get(dask_worker.address, 0))',
        "slots = 1",
    ),
    "each worker has its machine for itself": (
        "test_worker_checks.py",
        "runner/dask/executor.py",
        'if info["host"] == worker["host"]]',
        "if other == address]",
    ),
    "the processes of an attempt have no mark": (
        "test_attempt_cleanup.py",
        "runner/local_executor.py",
        "process_identity.WORKTREE_VARIABLE: worktree}",
        "process_identity.WORKTREE_VARIABLE: job.worktree}",
    ),
    "that a cost was told is noted elsewhere": (
        "test_attempt_cleanup.py",
        "runner/attempt.py",
        "logs.mark_reported(Project(repository_cache.get_worktree(job)))",
        "logs.mark_reported(Project(job.worktree))",
    ),
    "a client outlives the attempt": (
        "test_attempt_cleanup.py",
        "runner/local_executor.py",
        "worktrees.end_processes(folder)",
        "pass",
    ),
}

# The same for tests that have a scheduler and workers.
CTRL_C = "test_early_ends.py::test_the_first_ctrl_c_lets_the_clients_on_the_workers_go_on_and_the_second_ends_them"
GONE = "test_early_ends.py::test_a_scheduler_that_is_gone_for_good_ends_the_run_and_resume_goes_on_with_another"
WRONG_IN_A_RUN = {
    "the first Ctrl-C ends everything": (
        CTRL_C,
        "runner/driver.py",
        'self.stopping = "now" if self.stopping or now else "soon"',
        'self.stopping = "now"',
    ),
    "the second Ctrl-C is like the first": (
        CTRL_C,
        "runner/driver.py",
        'self.stopping = "now" if self.stopping or now else "soon"',
        'self.stopping = "now" if now else "soon"',
    ),
    "a client whose driver wants it no more goes on": (
        CTRL_C,
        "runner/dask/task.py",
        "            local_executor.stop_session(begun.session_id)",
        "            pass",
    ),
    "a scheduler that is gone counts as the feature's fault": (
        GONE,
        "runner/dask/executor.py",
        "(kind=jobs.NEEDS_USER, message=cause)",
        "(kind=jobs.FAILED, message=cause)",
    ),
    "one that is gone is waited for without end": (
        GONE,
        "runner/dask/executor.py",
        "            if left <= 0:\n                break",
        "            if left <= 0:\n                left = 1.0",
    ),
    "an open scheduler is taken unasked": (
        "test_connections.py::test_an_open_scheduler_on_the_machines_own_address_works_only_with_insecure_cluster",
        "runner/dask/executor.py",
        "        if not self.options.insecure_cluster:",
        "        if False:",
    ),
}


@pytest.mark.prove
@pytest.mark.parametrize("name", [*WRONG, *WRONG_IN_A_RUN])
def test_the_tests_notice(name, tmp_path):
    test, *patch = {**WRONG, **WRONG_IN_A_RUN}[name]
    lib = mutated((patch[0], patch[1], patch[2]), str(tmp_path))
    tests = Path(__file__).resolve().parents[1]
    line = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", f"pythonpath={lib} {tests}",
            *(["-m", "prove"] if name in WRONG_IN_A_RUN else []),
            str(Path(__file__).with_name(test.partition("::")[0])) + "".join(test.partition("::")[1:])]  # fmt: skip
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "CLUSTER_TEST_WAIT_S": "60"}
    tried = subprocess.run(line, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert tried.returncode == 1 and " failed" in tried.stdout, tried.stdout[-2000:] + tried.stderr[-500:]
