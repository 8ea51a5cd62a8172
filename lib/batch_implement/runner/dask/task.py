"""Functions that Dask runs on a worker: an attempt, and the checks before a run. `executor` submits them.

client.submit(run_attempt, data, ...)               one attempt: a job as JSON, an outcome as JSON
client.run(check_worker, needs, versions)           what attempts need and the worker does not have
client.run(set_slots, slots)
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import uuid
from typing import Any, Callable, Iterable, Iterator, List, Tuple

from ... import __version__
from ...base import process_identity
from ...commands import doctor
from ...commands.doctor import ERROR, OK, WARNING
from ...git import git_client, remotes
from .. import local_executor
from ..job import Job
from ..preflight import environment_checks, preflight_checks
from . import repository_cache

RESOURCE = "claude"
POLL_S = 2.0


def get_topic(batch_id: str) -> str:
    """Return the Dask topic on which workers announce the attempts of a batch."""
    return f"batch-implement-{batch_id}"


def run_attempt(data: bytes) -> bytes:
    """Run one attempt on this worker. End it when the task is released, as when the driver has died."""
    from distributed import get_worker

    worker = get_worker()
    job = Job(**json.loads(data))
    begun = job._replace(session_id=str(uuid.uuid4()))  # a task that Dask runs again needs a new session
    place = f"{process_identity.get_host_name()} ({worker.name})"
    worker.log_event(get_topic(job.batch_id), {"session_id": job.session_id, "place": place})
    ended = threading.Event()
    threading.Thread(
        target=_stop_when_cancelled, args=(worker, worker.get_current_task(), begun, ended), daemon=True
    ).start()
    try:
        outcome = local_executor.run_job(begun)
    finally:
        ended.set()
    return json.dumps(outcome._replace(session_id=job.session_id, place=place)._asdict()).encode()


def check_worker(needs_json: str, versions: List[str], dask_worker: Any) -> List[Tuple[str, str, str]]:
    """Return (check, verdict, text) of what attempts need on this worker. Creates the cache folder and nothing else.

    `needs_json` has `client`, `worker` and `remote` of the driver, `tree_mb` of a worktree, and in `slots` for each
    worker's address the slots of its machine, which share disk space and memory.
    """
    needs = json.loads(needs_json)
    top = repository_cache.get_cache_folder(os.environ)
    os.makedirs(top, mode=0o700, exist_ok=True)
    results: List[Tuple[str, str, str]] = []
    mine = [__version__, ".".join(map(str, sys.version_info[:2]))]
    if mine[0] != versions[0]:
        text = f"batch-implement {mine[0]} here, {versions[0]} at the driver. Install the same version."
        results.append(("package", ERROR, text))
    if mine[1] != versions[1]:
        results.append(
            ("python", WARNING, f"Python {mine[1]} here, {versions[1]} at the driver: Dask needs the same version.")
        )
    slots = max(1, needs["slots"].get(dask_worker.address, 0))
    elsewhere = "set BATCHCTL_CACHE to another folder where the worker is started"
    checks: List[Tuple[str, Callable[[], Iterable[Tuple[str, str]]]]] = [
        ("remote", lambda: _check_git_remote(needs["remote"])),
        ("disk", lambda: environment_checks.check_disk_space(needs["tree_mb"], top, 2 * slots, "--slots", elsewhere)),
    ]
    if needs["worker"] is None:
        program = shutil.which(needs["client"] or "claude")
        checks += [
            ("client", lambda: doctor.check_client(program)),
            ("login", lambda: preflight_checks.check_login(top, program, os.environ)),
            ("memory", lambda: environment_checks.check_memory(slots, "--slots")),
        ]
    for name, check in checks:
        results += [(name, verdict, text) for verdict, text in check() if verdict != OK]
    if not any(verdict == ERROR for _, verdict, _ in results):
        free = shutil.disk_usage(top).free / 1e9
        text = (
            f"{process_identity.get_host_name()}: Python {mine[1]}, {git_client.require_version()}, {free:.0f} GB free"
        )
        results.append(("all", OK, text))
    return results


def _check_git_remote(remote: str) -> Iterator[Tuple[str, str]]:
    """Check that this worker can reach the remote and make commits."""
    try:
        remotes.list_remote_branches("/", remote, ["none"], timeout_s=60)
    except remotes.RemoteError as error:
        yield ERROR, error.message
    if not git_client.has_identity("/"):
        yield ERROR, "git user.name or user.email is not set: `git config --global user.email` and `user.name`."


def _stop_when_cancelled(worker: Any, task: Any, begun: Job, ended: threading.Event) -> None:
    while not ended.wait(POLL_S):
        known = worker.state.tasks.get(task)
        if known is None or known.state not in ("executing", "long-running"):
            local_executor.stop_session(begun.session_id)


async def set_slots(slots: int, dask_worker: Any = None) -> None:
    """Set how many features a worker runs in parallel; its threads are the limit."""
    await dask_worker.set_resources(**{RESOURCE: slots})
