"""Run attempts on this machine: `run_job(job)` makes one in a process of its own and returns its outcome.

The process (`attempt`) stops on SIGTERM, and when its standard input is closed: no client outlives this process. An
attempt whose process dies is `interrupted`.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from typing import Dict

from ..base import process_identity, project_paths, subprocesses
from ..git import worktrees
from . import job as jobs
from .dask import repository_cache
from .job import Job, Outcome

ENTRY = (
    "import sys; sys.path.insert(0, sys.argv[1]); from batch_implement.runner import attempt; sys.exit(attempt.main())"
)
STOP_TIMEOUT_S = 20.0

place = None  # as `DaskExecutor` has them: attempts are made on this machine
places: Dict[str, str] = {}
_stops: Dict[str, threading.Event] = {}  # by session id, of the running attempts


def run_job(job: Job) -> Outcome:
    """Make one attempt. Return its outcome."""
    lib, worktree = os.path.join(project_paths.plugin_root(), "lib"), repository_cache.get_worktree(job)
    # The mark is that of all that it starts, too. The next run ends by it an attempt that outlives its driver.
    environment = {**os.environ, process_identity.WORKTREE_VARIABLE: worktree}
    stop = _stops[job.session_id] = threading.Event()
    try:
        ended = subprocesses.run(
            [sys.executable, "-I", "-X", "utf8", "-c", ENTRY, lib], env=environment, timeout_s=math.inf, stop=stop,
            input=json.dumps(job._asdict()).encode() + b"\n", holds_input=True, grace_s=STOP_TIMEOUT_S,
        )  # fmt: skip
    finally:
        del _stops[job.session_id]
    try:
        return Outcome(**json.loads(ended.stdout))
    except (ValueError, TypeError):
        for folder in (worktree, jobs.get_verify_worktree(job._replace(worktree=worktree))):
            worktrees.end_processes(folder)
    if stop.is_set():
        return jobs.interrupted_outcome(job, "the run was stopped", "stopped")
    error_text = ended.stderr[-2000:].decode("utf-8", "replace")
    reason = f"the process of the attempt {subprocesses.describe_end(ended.returncode)}. {error_text}".strip()
    return jobs.interrupted_outcome(job, reason)


def stop_session(session_id: str) -> None:
    """Have the running attempt of a session stopped, and killed after 20 s: its outcome is `interrupted`."""
    if session_id in _stops:
        _stops[session_id].set()


def stop_all() -> None:
    """Have all running attempts stopped.

    Does not affect an attempt that starts later: call this again until every call of `run_job` has returned.
    """
    for stop in list(_stops.values()):
        stop.set()
