"""Run attempts on this machine: `run_job(job)` makes one in a process of its own and returns its outcome.

The process (`attempt`) stops when its standard input is closed, so no client outlives this process. An attempt whose
process dies is `interrupted`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import Collection, Dict

from ..base import project_paths, timestamps
from ..git import worktrees
from . import job as jobs
from .dask import repository_cache
from .job import Job, Outcome

ENTRY = (
    "import sys; sys.path.insert(0, sys.argv[1]); from batch_implement.runner import attempt; sys.exit(attempt.main())"
)
STOP_TIMEOUT_S = 20.0

_running: Dict[str, subprocess.Popen[bytes]] = {}
_lock = threading.Lock()


def run_job(job: Job) -> Outcome:
    """Make one attempt. Return its outcome."""
    lib = os.path.join(project_paths.plugin_root(), "lib")
    with tempfile.TemporaryFile() as errors:
        with _lock:
            attempt = subprocess.Popen(
                [sys.executable, "-I", "-X", "utf8", "-c", ENTRY, lib], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, start_new_session=True,
            )  # fmt: skip
            _running[job.session_id] = attempt
        output = _exchange(attempt, job)
        code = attempt.wait()
        with _lock:
            del _running[job.session_id]
            _close_stdin(attempt)
        errors.seek(0)
        error_text = errors.read()[-2000:].decode("utf-8", "replace").strip()
    try:
        return Outcome(**json.loads(output))
    except (ValueError, TypeError):
        worktrees.end_processes(repository_cache.get_worktree(job))
        return jobs.interrupted_outcome(job, f"it exited with status {code}. {error_text}".strip(), timestamps.now())


def _exchange(attempt: subprocess.Popen[bytes], job: Job) -> bytes:
    """Send the attempt its job and return all its output. Its standard input stays open."""
    if attempt.stdin is None or attempt.stdout is None:
        return b""
    try:
        attempt.stdin.write(json.dumps(job._asdict()).encode() + b"\n")
        attempt.stdin.flush()
    except (BrokenPipeError, ValueError):
        pass  # it has died or is being stopped: its output shows which
    return attempt.stdout.read()


def stop_sessions(sessions: Collection[str]) -> None:
    """Stop the running attempts of these sessions: their outcome is `interrupted`."""
    with _lock:
        for session_id in sessions:
            if session_id in _running:
                _close_stdin(_running[session_id])


def stop_all() -> None:
    """Stop all running attempts and wait for them, at most 20 s; then kill those that are left.

    Does not affect an attempt that starts later: call this again until every call of `run_job` has returned.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    with _lock:
        attempts = list(_running.values())
        for attempt in attempts:
            _close_stdin(attempt)
    for attempt in attempts:
        try:
            attempt.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            attempt.kill()


def _close_stdin(attempt: subprocess.Popen[bytes]) -> None:
    """Close its standard input, which tells the attempt to stop."""
    try:
        if attempt.stdin:
            attempt.stdin.close()
    except BrokenPipeError:
        pass
