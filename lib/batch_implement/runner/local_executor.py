"""What goes to the executor: `work(job)` does one attempt in a process of its own and brings back its outcome.

The process (`attempt`) ends with its standard input: when this one dies, however, its client dies too. An attempt whose
process dies is `interrupted`; nothing is raised but what is a bug.
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
    """Do one attempt, to its end."""
    lib = os.path.join(project_paths.plugin_root(), "lib")
    with tempfile.TemporaryFile() as errors:
        with _lock:
            attempt = subprocess.Popen(
                [sys.executable, "-I", "-X", "utf8", "-c", ENTRY, lib], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, start_new_session=True,
            )  # fmt: skip
            _running[job.session_id] = attempt
        said = _exchange(attempt, job)
        code = attempt.wait()
        with _lock:
            del _running[job.session_id]
            _close_stdin(attempt)
        errors.seek(0)
        words = errors.read()[-2000:].decode("utf-8", "replace").strip()
    try:
        return Outcome.of(json.loads(said))
    except (ValueError, TypeError):
        worktrees.end_processes(repository_cache.get_worktree(job))
        return jobs.interrupted_outcome(job, f"it ended with {code}. {words}".strip(), timestamps.now())


def _exchange(attempt: subprocess.Popen[bytes], job: Job) -> bytes:
    """Give the attempt its job, and wait for what it says, to the end. Its standard input stays open."""
    if attempt.stdin is None or attempt.stdout is None:
        return b""
    try:
        attempt.stdin.write(json.dumps(job._asdict()).encode() + b"\n")
        attempt.stdin.flush()
    except (BrokenPipeError, ValueError):
        pass  # it has died, or is to end already: what it says tells
    return attempt.stdout.read()


def stop_sessions(sessions: Collection[str]) -> None:
    """Tell the attempts of these sessions that this process has under way to end; they come back as interrupted."""
    with _lock:
        for session_id in sessions:
            if session_id in _running:
                _close_stdin(_running[session_id])


def stop_all() -> None:
    """End the attempts that this process has under way; they come back as interrupted. Returns when none of them is
    left, at the latest after some 20 s, when those that did not end by themselves are killed. One that is begun later
    is not ended: call it again as long as any call of `work` has not returned.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    with _lock:
        left = list(_running.values())
        for attempt in left:
            _close_stdin(attempt)
    for attempt in left:
        try:
            attempt.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            attempt.kill()


def _close_stdin(attempt: subprocess.Popen[bytes]) -> None:
    """Close its standard input: the sign for it to end."""
    try:
        if attempt.stdin:
            attempt.stdin.close()
    except BrokenPipeError:
        pass
