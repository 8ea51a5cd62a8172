"""Run the features of a batch on a Dask cluster, as `local_executor` does on this machine.

    executor = DaskExecutor(project, options)       connect; RefusedError if the cluster is not reachable or not safe
    executor.slots                                  number of features that it can run in parallel
    executor.check()                                what would stop a run on the workers
    executor.begin(batch_id)                        then the driver calls `run_job` and `stop_all`
    executor.settle(state)                          push the batch's branch, delete merged branches on the remote
    executor.close()

Connections, TLS, resources and the rescheduling of a lost worker's tasks are Dask's. One resource `claude` stands for a
slot. Workers share nothing but the git remote: the start commit is pushed there before an attempt, and a verified
commit is fetched from there. A task is the job as JSON; nothing of this process's environment is sent.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
from concurrent import futures
from typing import Any, Callable, Dict, List, Optional

from ... import __version__
from ...base.project_paths import Project
from ...commands.doctor import ERROR, OK
from ...core.batch_state import key
from ...core.errors import BatchError, RefusedError
from ...core.prompts import pluralize
from ...git import git_client, remotes, worktrees
from .. import job as jobs
from ..job import COMPLETED, LOST, Job, Outcome
from ..options import Options
from ..preflight import environment_checks
from . import connection, ssh, task
from .connection import import_distributed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...core.batch_state import State

SLOTS_HINT = "start them with `--resources claude=N --nthreads N`, or give `--slots N`."
CLUSTER_S = 30
CONNECT_S = 15  # a scheduler that was only just started listens by then, and one that is gone is told of
POLL_S = 5
FETCH_S = 600
MAX_DELETED = 500


class DaskExecutor:
    """A connection to a cluster, for one batch. `place` names the cluster, `places` the worker of each session."""

    def __init__(self, project: Project, options: Options) -> None:
        self.project, self.options, self.batch_id = project, options, ""
        self.remote = remotes.find_push_url(project.root) or ""
        if not self.remote:
            raise RefusedError(
                "There is no git remote, which is all that workers share: `git remote add origin URL`.", "cluster-setup"
            )
        self.own_cluster: Any = None
        self.client: Any = None
        self.places: Dict[str, str] = {}
        self.machine_slots: Dict[str, int] = {}  # address of a worker -> slots on its machine
        self.lock, self.push_lock, self.stopping = threading.Lock(), threading.Lock(), threading.Event()
        self.pushed: Optional[str] = None
        self.tasks: Dict[str, Any] = {}
        import_distributed()
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # no tracebacks of lost connections
        self.patience_s = connection.get_patience_s()
        self.monitor = connection.SchedulerMonitor(self.patience_s)
        try:
            self.address = self._find_address()
            self.place = f"cluster {self.address}"
            self.client = self._connect()
            with contextlib.suppress(OSError, import_distributed().TimeoutError):  # `check` reports that there is none
                connection.call_scheduler(self.client, lambda: self.client.wait_for_workers(1, timeout=CLUSTER_S))
            if options.slots:
                self._call(self.client.run, task.set_slots, options.slots)
            self.slots = self._count_slots()
        except BaseException:  # also on Ctrl-C: what was started on other machines would stay there
            self.close()
            raise

    def _find_address(self) -> str:
        cluster = self.options.cluster or ""
        if cluster.startswith("ssh:"):
            self.own_cluster = _start_over_ssh(
                cluster[4:], self.options.slots or 1, insecure=bool(self.options.insecure_cluster)
            )
            return str(self.own_cluster.scheduler_address)
        address = cluster if "://" in cluster else connection.read_scheduler_file(cluster)
        if not self.options.insecure_cluster:
            refuse_unencrypted(address)
        return address

    def _connect(self, timeout_s: float = CONNECT_S) -> Any:
        client = self._reach(lambda: connection.connect(self.address, timeout_s))
        if self.batch_id:
            self._subscribe(client)
        return client

    def _reach(self, call: Callable[[], Any]) -> Any:
        """Return the result of a call of the scheduler. Raise RefusedError if it fails."""
        try:
            return call()
        except Exception as error:  # bare ones of Dask and ssl, and whatever a worker raises
            raise RefusedError(
                f"The scheduler {self.address} cannot be reached: {str(error) or type(error).__name__}. Check that it "
                "runs and accepts connections from this machine.",
                "cluster-unreachable",
            ) from error

    def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self._reach(lambda: connection.call_scheduler(self.client, lambda: method(*arguments, **options)))

    def begin(self, batch_id: str) -> None:
        """Use the cluster for this batch."""
        self.batch_id = batch_id
        self._subscribe(self.client)

    def _subscribe(self, client: Any) -> None:
        """Have `_record_place` called for each attempt that a worker begins."""
        # A client that is closed by now is replaced later.
        with contextlib.suppress(Exception):
            client.subscribe_topic(task.get_topic(self.batch_id), self._record_place)

    def _record_place(self, event: Any) -> None:
        message = event[1] if isinstance(event, tuple) else event
        if isinstance(message, dict) and isinstance(message.get("session_id"), str):
            self.places[message["session_id"]] = str(message.get("place"))

    def _count_slots(self) -> int:
        """Return the slots of all workers, and note those of each machine."""
        workers = self._call(self.client.scheduler_info, n_workers=-1)["workers"]
        slots = {
            address: min(int(worker["nthreads"]), int(worker["resources"].get(task.RESOURCE, 0)))
            for address, worker in workers.items()
        }
        for address, worker in workers.items():
            neighbours = [other for other, info in workers.items() if info["host"] == worker["host"]]
            self.machine_slots[address] = sum(slots[other] for other in neighbours)
        return sum(slots.values())

    def _wait_for_connection(self) -> Any:
        """Return the client when it is connected; None after `patience_s`, or when the run was stopped."""
        until = time.monotonic() + self.patience_s
        while not self.stopping.is_set():
            if self.client.status == "running":
                return self.client
            left = until - time.monotonic()
            if left <= 0:
                break
            if self.lock.acquire(timeout=min(left, 0.5)):  # one of the waiting threads connects
                try:
                    if self.client.status in ("closed", "closing"):
                        self.client = self._connect(min(CONNECT_S, left))
                except RefusedError:
                    pass
                finally:
                    self.lock.release()
            self.stopping.wait(min(left, 0.5))
        return None

    def check(self) -> List[Dict[str, str]]:
        """Check what would stop a run on the cluster, on each worker, in the form of `doctor.run_checks`."""
        if self.slots:
            text = f"{self.address} has {pluralize(self.slots, 'slot')}; workers fetch from {self.remote}"
            verdict = OK
        else:
            verdict, text = ERROR, f"No worker of {self.address} has a slot for a feature: {SLOTS_HINT}"
        checks = [{"check": "cluster", "verdict": verdict, "text": text}]
        head, jobs = git_client.get_head(self.project.root), self.options.jobs or self.slots
        slots = {address: min(jobs, number) for address, number in self.machine_slots.items()}
        needs = json.dumps({
            "client": self.options.client, "worker": self.options.worker, "remote": self.remote, "slots": slots,
            "tree_mb": environment_checks.measure_tree_bytes(self.project.root, head) / 1e6 if head else 0,
        })  # fmt: skip
        versions = [__version__, ".".join(map(str, sys.version_info[:2]))]
        answers = self._call(self.client.run, task.check_worker, needs, versions, on_error="return")
        for address, results in sorted(answers.items()):
            if isinstance(results, OSError):
                text = f"It does not answer ({results}). Check that it runs; if it was removed, try again."
                results = [("connection", ERROR, text)]
            elif isinstance(results, Exception):
                text = f"It cannot run batch-implement: {results}. Install the same version there."
                results = [("package", ERROR, text)]
            checks += [
                {"check": f"worker {address}: {name}", "verdict": verdict, "text": text}
                for name, verdict, text in results
            ]
        return checks

    def run_job(self, job: Job) -> Outcome:
        """Run one attempt to its end, on any worker with a free slot; as `local_executor.run_job` does here."""
        try:
            self._push(job.base)
            outcome = self._run_task(job)
            if outcome.kind == COMPLETED:
                self._fetch(job, outcome.commit)
            return outcome
        except BatchError as error:
            return jobs.interrupted_outcome(job, error.message, "network")

    def _run_task(self, job: Job) -> Outcome:
        client, future, failure_class = self._wait_for_connection(), None, "setup"
        cause = (
            f"The scheduler {self.address} has not answered for {self.patience_s:.0f} s. Check that it runs, then "
            "resume with `batchctl run --resume`."
        )
        try:
            if client is not None:
                if not self.tasks:
                    self.monitor.reset()
                future = self.tasks[job.session_id] = client.submit(
                    task.run_attempt, json.dumps(job._asdict()).encode(), key=f"batch-{job.session_id}", pure=False,
                    retries=0, resources={task.RESOURCE: 1},
                )  # fmt: skip
                answer = self._wait_for_task(client, future)
                if answer is not None:
                    return Outcome(**json.loads(answer))
        except (futures.CancelledError, import_distributed().client.FutureCancelledError) as error:
            cause, failure_class = f"the scheduler lost it ({error})", LOST
            self._subscribe(client)
        except Exception as error:  # a task can raise anything
            cause, failure_class = f"its task ended with {type(error).__name__}: {error}", "worker_died"
            is_of_task = future is not None and future.status in ("error", "finished")
            if not is_of_task and (isinstance(error, (OSError, RuntimeError)) or client.status != "running"):
                cause, failure_class = str(error), LOST
        finally:
            self.tasks.pop(job.session_id, None)
        if self.stopping.is_set():
            return jobs.interrupted_outcome(job, "the run was stopped", "stopped")
        outcome = jobs.interrupted_outcome(job, cause, failure_class)
        return outcome._replace(kind=jobs.NEEDS_USER, message=cause) if failure_class == "setup" else outcome

    def _wait_for_task(self, client: Any, future: Any) -> Optional[bytes]:
        """Return the result of a task; None when the scheduler has not answered for `patience_s`."""
        while not future.done():
            try:
                return bytes(future.result(timeout=POLL_S))
            except import_distributed().TimeoutError:
                if client.status in ("closed", "closing"):
                    raise ConnectionError("the connection to the scheduler was closed") from None
                if not future.done() and not self.monitor.is_responsive(client):  # a frozen one keeps its connections
                    return None
        return bytes(future.result())  # raises a TimeoutError of the task itself

    def _push(self, base: str) -> None:
        """Push the batch's branch, which has the commit that an attempt starts from, once for each commit."""
        with self.push_lock:
            if self.pushed != base:
                branch = worktrees.get_batch_branch(self.batch_id)
                remotes.push_branches(
                    self.project.root, self.remote, {branch: f"refs/heads/{branch}"}, "--no-verify", timeout_s=FETCH_S
                )
                self.pushed = base

    def _fetch(self, job: Job, commit: Optional[str]) -> None:
        """Fetch the branch that a worker pushed."""
        root, ref = self.project.root, f"refs/heads/{job.branch}"
        git_client.run_git(
            root, "-c", "gc.auto=0", "-c", "maintenance.auto=false", "fetch", "--quiet", "--no-tags",
            "--no-write-fetch-head", self.remote, f"+{ref}:{ref}", timeout_s=FETCH_S,
        )  # fmt: skip
        if not git_client.has_commit(root, commit, ref):
            raise BatchError(
                f"{job.branch} on the remote lacks the commit {commit} that its worker verified.",
                "cluster-unreachable",
            )

    def stop_all(self) -> None:
        """End the running attempts. Their outcomes are interrupted."""
        self.stopping.set()
        for future in list(self.tasks.values()):
            with contextlib.suppress(Exception):  # without a scheduler nothing runs
                future.cancel()

    def settle(self, state: State) -> None:
        """Push the batch's branch, and delete the branches of merged attempts on the remote."""
        root, branch = self.project.root, worktrees.get_batch_branch(self.batch_id)
        self._push(git_client.get_branch_tip(root, branch) or "")
        if state["run"]["options"].get("pr") == "feature":
            return
        existing = remotes.list_remote_branches(root, self.remote, [f"batch/{self.batch_id}/*"])
        merged = {
            worktrees.get_attempt_branch(self.batch_id, index, state["features"][index], client["attempt"])
            for index in state["completed_features"]
            for client in state["run"]["clients"].get(key(index), ())
        }
        done = sorted(merged & {*existing})
        for first in range(0, len(done), MAX_DELETED):
            deleted = dict.fromkeys(done[first : first + MAX_DELETED])
            remotes.push_branches(root, self.remote, deleted, "--no-verify", timeout_s=FETCH_S)

    def close(self) -> None:
        """Disconnect, and end a cluster that this run started."""
        self.stopping.set()
        for connected, timeout_s in ((self.client, 5), (self.own_cluster, CLUSTER_S)):
            if connected is not None:
                with contextlib.suppress(Exception):  # it may have ended already
                    connected.close(timeout=timeout_s)


def refuse_unencrypted(address: str) -> None:
    """Raise RefusedError for an address that is neither encrypted nor a loopback address."""
    scheme, _, rest = address.partition("://")
    host = rest.rpartition(":")[0].strip("[]") or rest
    if scheme not in ("tls", "wss") and not ssh.is_loopback(host):
        raise RefusedError(
            f"{address} is not encrypted: anybody who can reach it can run commands on all of its machines and read "
            "all data. Use certificates and tls:// (docs/cluster.md), or `--insecure-cluster` in a closed network.",
            "cluster-unencrypted",
        )


def _start_over_ssh(path: str, slots: int, *, insecure: bool) -> Any:
    """Start a cluster on the hosts listed in a file.

    Without encryption all of it must listen on loopback: a worker, too, runs what it receives. `insecure` permits it.
    """
    names = ssh.read_hosts(path)
    others = [name for name in names if not ssh.is_loopback(name)]
    if others and not insecure and not ssh.requires_encryption():
        refuse_unencrypted(f"tcp://{others[0]}:0")
    cluster = ssh.start_cluster(names, slots, None if others else ssh.LOOPBACK)
    try:
        if not insecure:
            refuse_unencrypted(str(cluster.scheduler_address))
    except RefusedError:
        cluster.close(timeout=CLUSTER_S)
        raise
    return cluster
