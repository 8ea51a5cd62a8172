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
        "runner/scheduler.py",
        "answer.result(timeout_s + LOOK_S)",
        "answer.result()",
    ),
    "a connection that comes too late stays": (
        "test_scheduler.py",
        "runner/scheduler.py",
        "            client.close(timeout=ANSWER_S)",
        "            pass",
    ),
    "nobody asks a scheduler that is silent": (
        "test_scheduler.py",
        "runner/cluster.py",
        "if not asked.done() and not self.hearing.goes_on(client):",
        "if False:",
    ),
    "silence counts as an answer": (
        "test_scheduler.py",
        "runner/scheduler.py",
        "            return time.monotonic() - self.heard_s < self.patience_s",
        "            return True",
    ),
    "a thread gives up while another asks": (
        "test_scheduler.py",
        "runner/scheduler.py",
        "            return True\n",
        "            return time.monotonic() - self.heard_s < self.patience_s\n",
    ),
    "what a task raises ends the run": (
        "test_scheduler.py",
        "runner/cluster.py",
        "        except Exception as error:  # a task can raise anything: the next is not to suffer for it",
        "        except OSError as error:",
    ),
    "what a task raises is nobody's fault": (
        "test_scheduler.py",
        "runner/cluster.py",
        'asked.status in ("error", "finished")',
        'asked.status == "finished"',
    ),
    "a connection that is lost is the feature's fault": (
        "test_scheduler.py",
        "runner/cluster.py",
        "        if not its_own and",
        "        if its_own and",
    ),
    "room is asked for as if there were one slot": (
        "test_looks.py",
        "runner/task.py",
        'slots = max(1, wish["slots"].get(dask_worker.address, 0))',
        "slots = 1",
    ),
    "each worker has its machine for itself": (
        "test_looks.py",
        "runner/cluster.py",
        'for other, its in told.items() if its["host"] == each["host"])',
        "for other, its in told.items() if other == address)",
    ),
    "the processes of an attempt have no mark": (
        "test_left_behind.py",
        "runner/attempt.py",
        "os.environ[process.MARK] = tree",
        "os.environ[process.MARK] = job.worktree",
    ),
    "that a cost was told is noted elsewhere": (
        "test_left_behind.py",
        "runner/attempt.py",
        "logs.report(Project(tree))",
        "logs.report(Project(job.worktree))",
    ),
    "a client outlives the attempt": (
        "test_left_behind.py",
        "runner/worker.py",
        "worktrees.end_left_behind(cache.tree(job))",
        "pass",
    ),
}


@pytest.mark.prove
@pytest.mark.parametrize("name", WRONG)
def test_the_tests_notice(name, tmp_path):
    test, *patch = WRONG[name]
    lib = mutated((patch[0], patch[1], patch[2]), str(tmp_path))
    tests = Path(__file__).resolve().parents[1]
    line = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", f"pythonpath={lib} {tests}",
            str(Path(__file__).with_name(test))]  # fmt: skip
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    tried = subprocess.run(line, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert tried.returncode == 1 and " failed" in tried.stdout, tried.stdout[-2000:] + tried.stderr[-500:]
