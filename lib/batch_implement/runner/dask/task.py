"""What a cluster's worker does: an attempt, and the looks before the night. Dask calls it; `cluster` asks for it.

client.submit(do, data, ...)                 one attempt: the job as JSON, then the outcome as JSON
client.run(looked, asked, versions)          what an attempt needs and has not there
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
from ...base import processes
from ...commands import doctor
from ...commands.doctor import ERROR, OK, WARNING
from ...git import git_client, remotes
from .. import local_executor
from ..job import Job
from ..preflight import environment, preflight_checks
from . import repository_cache

RESOURCE = "claude"
POLL_S = 2.0


def get_topic(batch_id: str) -> str:
    """Under which workers tell where the attempts of a batch are done."""
    return f"batch-implement-{batch_id}"


def run_attempt(data: bytes) -> bytes:
    """The task: one attempt on this worker, from its job as JSON to its outcome as JSON. The attempt ends when nobody
    wants the task any more, as when the driver has died.
    """
    from distributed import get_worker

    own = get_worker()
    job = Job(**json.loads(data))
    begun = job._replace(session_id=str(uuid.uuid4()))  # a task that is run again is another conversation
    place = f"{processes.get_host_name()} ({own.name})"
    own.log_event(get_topic(job.batch_id), {"session_id": job.session_id, "place": place})
    ended = threading.Event()
    threading.Thread(target=_stop_when_cancelled, args=(own, own.get_current_task(), begun, ended), daemon=True).start()
    try:
        outcome = local_executor.run_job(begun)
    finally:
        ended.set()
    return json.dumps(outcome._replace(session_id=job.session_id, place=place)._asdict()).encode()


def check_worker(asked: str, versions: List[str], dask_worker: Any) -> List[Tuple[str, str, str]]:
    """On a worker: (what was looked at, verdict, text) of what attempts need there. Nothing is changed but that the
    cache's folder is made. `asked` is JSON: `{client, worker, remote}` as the driver has them, `tree_mb` of a work
    tree, and `slots`: address of a worker -> the slots of all workers on its machine, which share room and memory.
    """
    wish = json.loads(asked)
    top = repository_cache.get_cache_folder(os.environ)
    os.makedirs(top, mode=0o700, exist_ok=True)
    found: List[Tuple[str, str, str]] = []
    mine = [__version__, ".".join(map(str, sys.version_info[:2]))]
    if mine[0] != versions[0]:
        text = f"batch-implement {mine[0]} here, {versions[0]} at the driver. Install the same version."
        found.append(("package", ERROR, text))
    if mine[1] != versions[1]:
        found.append(("python", WARNING, f"Python {mine[1]} here, {versions[1]} at the driver: Dask wants them alike."))
    slots = max(1, wish["slots"].get(dask_worker.address, 0))
    elsewhere = "set BATCHCTL_CACHE to another folder where the worker is started"
    answers: List[Tuple[str, Callable[[], Iterable[Tuple[str, str]]]]] = [
        ("remote", lambda: _check_git_remote(wish["remote"])),
        ("disk", lambda: environment.check_disk_space(wish["tree_mb"], top, slots, "--slots", elsewhere)),
    ]
    if wish["worker"] is None:
        program = shutil.which(wish["client"] or "claude")
        answers += [
            ("client", lambda: doctor.check_client(program)),
            ("login", lambda: preflight_checks.check_login(top, program, os.environ)),
            ("memory", lambda: environment.check_memory(slots, "--slots")),
        ]
    for name, ask in answers:
        found += [(name, verdict, text) for verdict, text in ask() if verdict != OK]
    if not any(verdict == ERROR for _, verdict, _ in found):
        free = shutil.disk_usage(top).free / 1e9
        found.append(
            (
                "all",
                OK,
                f"{processes.get_host_name()}: Python {mine[1]}, {git_client.get_version()}, {free:.0f} GB free",
            )
        )
    return found


def _check_git_remote(remote: str) -> Iterator[Tuple[str, str]]:
    """On a worker: whether it reaches the remote and knows who commits."""
    try:
        remotes.list_remote_branches("/", remote, ["none"], timeout_s=60)
    except remotes.RemoteError as error:
        yield ERROR, error.message
    if not git_client.has_identity("/"):
        yield ERROR, "git does not know who commits here: `git config --global user.email` and `user.name`."


def _stop_when_cancelled(own: Any, task: Any, begun: Job, ended: threading.Event) -> None:
    while not ended.wait(POLL_S):
        known = own.state.tasks.get(task)
        if known is None or known.state not in ("executing", "long-running"):
            local_executor.stop_sessions([begun.session_id])


async def set_slots(slots: int, dask_worker: Any = None) -> None:
    """Let a worker take so many features at a time, as far as it has threads."""
    await dask_worker.set_resources(**{RESOURCE: slots})
