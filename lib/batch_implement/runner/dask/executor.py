"""The same run on a Dask cluster: its workers do what threads' processes do on one machine.

    crew = Crew(project, wish)                      connected; Refused when it cannot be, or is not safe
    crew.slots                                      features that it can work on at a time
    crew.begin(batch_id)
    Driver(..., ThreadPoolExecutor(jobs), work=crew.work, stop=crew.stop, place=crew.place, places=crew.places)
    crew.settle(state)                              the remote is left as it should be
    crew.close()

Everything between the machines is dask.distributed's: connections, TLS, resources, retries after a lost worker. Here is
only what a batch asks of it: one resource `claude` for each feature at a time, no result twice, no task of a run that
is gone. Workers share nothing but the remote: the base goes there before an attempt, and what was verified comes back
from there. A task is the job as JSON, without anything of this process's environment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from concurrent import futures
from typing import Any, Dict, List, Optional

from ... import __version__
from ...base import timestamps
from ...base.project_paths import Project
from ...commands.doctor import ERROR, OK
from ...core.batch_state import key
from ...core.errors import BatchError, RefusedError
from ...core.prompts import pluralize
from ...git import git_client, remotes, worktrees
from .. import job as jobs
from .. import logs
from ..job import COMPLETED, LOST, Job, Outcome
from ..options import Options
from ..preflight import environment
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
    """A cluster for one batch. `slots` is what it can work on at a time, `place` a word for where, `places` where each
    session's attempt is done as it becomes known.
    """

    def __init__(self, project: Project, wish: Options) -> None:
        self.project, self.wish, self.batch_id = project, wish, ""
        self.remote = require_push_url(project.root)
        self.own: Any = None
        self.client: Any = None
        self.places: Dict[str, str] = {}
        self.machine_slots: Dict[str, int] = {}  # worker's address -> the slots of all workers on its machine
        self.lock, self.push_lock, self.gone = threading.Lock(), threading.Lock(), threading.Event()
        self.pushed: Optional[str] = None
        self.waiting: Dict[str, Any] = {}
        import_distributed()
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # its tracebacks: `_connected` tells it
        self.patience_s = connection.get_patience_s()
        self.monitor = connection.SchedulerMonitor(self.patience_s)
        try:
            self.address = self._find_address()
            self.place = f"cluster {self.address}"
            self.client = self._connect()
            self._wait_for_worker()
            if wish.slots:
                self._run_on_workers(task.set_slots, wish.slots)
            self.slots = self._count_slots()
        except BaseException:  # Ctrl-C, too: what was started on other machines would stay there
            self.close()
            raise

    # -- the connection --------------------------------------------------------------------------------------------

    def _find_address(self) -> str:
        given = self.wish.cluster or ""
        if given.startswith("ssh:"):
            self.own = _start_over_ssh(given[4:], self.wish.slots or 1, insecure=bool(self.wish.insecure_cluster))
            return str(self.own.scheduler_address)
        address = given if "://" in given else connection.read_scheduler_file(given)
        if not self.wish.insecure_cluster:
            refuse_unencrypted(address)
        return address

    def _connect(self, timeout_s: float = CONNECT_S) -> Any:
        try:
            client = connection.connect(self.address, timeout_s)
        except Exception as error:  # bare ones of Dask and of ssl among them
            raise self._unreachable_error(error) from error
        if self.batch_id:
            self._subscribe(client)
        return client

    def _unreachable_error(self, error: Exception) -> RefusedError:
        why = str(error) or type(error).__name__
        return RefusedError(
            f"The scheduler {self.address} cannot be reached: {why}. Is it running, and may this machine "
            "connect to it?",
            "cluster-unreachable",
        )

    def _run_on_workers(self, *what: Any, **how: Any) -> Any:
        """What each worker answers to that call, by its address."""
        try:
            return connection.call_scheduler(self.client, lambda: self.client.run(*what, **how))
        except Exception as error:  # whatever a worker raises comes out here
            raise self._unreachable_error(error) from error

    def _wait_for_worker(self) -> None:
        """Give workers that were only just started the time to find their scheduler."""

        def wait() -> None:
            self.client.wait_for_workers(1, timeout=CLUSTER_S)

        with contextlib.suppress(OSError, import_distributed().TimeoutError):  # that none is there is told by `look`
            connection.call_scheduler(self.client, wait)

    def begin(self, batch_id: str) -> None:
        """Work for that batch."""
        self.batch_id = batch_id
        self._subscribe(self.client)

    def _subscribe(self, client: Any) -> None:
        """Have workers' words of the batch come to `_heard`. One that is closed by now is made again."""
        with contextlib.suppress(Exception):
            client.subscribe_topic(task.get_topic(self.batch_id), self._record_place)

    def _record_place(self, event: Any) -> None:
        told = event[1] if isinstance(event, tuple) else event
        if isinstance(told, dict) and isinstance(told.get("session_id"), str):
            self.places[told["session_id"]] = str(told.get("place"))

    def _count_slots(self) -> int:
        try:
            told = connection.call_scheduler(self.client, lambda: self.client.scheduler_info(n_workers=-1))["workers"]
        except Exception as error:  # it may go at any moment, with any of Dask's errors
            raise self._unreachable_error(error) from error
        threads = {address: int(each["nthreads"]) for address, each in told.items()}
        given = {address: int(each["resources"].get(task.RESOURCE, 0)) for address, each in told.items()}
        for here, each in told.items():
            beside = [other for other, its in told.items() if its["host"] == each["host"]]
            self.machine_slots[here] = sum(min(threads[other], given[other]) for other in beside)
        return sum(min(threads[each], given[each]) for each in told)

    def _wait_for_connection(self) -> Any:
        """The client once there is a scheduler; None after `patience_s` without, or when the run was stopped."""
        until = time.monotonic() + self.patience_s
        while not self.gone.is_set():
            if self.client.status == "running":
                return self.client
            left = until - time.monotonic()
            if left <= 0:
                break
            if self.lock.acquire(timeout=min(left, 0.5)):  # one of all that wait tries, and none beyond its time
                try:
                    if self.client.status in ("closed", "closing"):
                        self.client = self._connect(min(CONNECT_S, left))
                except RefusedError:
                    pass
                finally:
                    self.lock.release()
            self.gone.wait(min(left, 0.5))
        return None

    def look(self) -> List[Dict[str, str]]:
        """What would stop the night on the cluster, in the form of `doctor.run_checks`: each worker is asked."""
        found = [
            {"check": "cluster", "verdict": ERROR, "text": f"No worker of {self.address} takes a feature: {SLOTS_HINT}"}
        ]
        if self.slots:
            words = (
                f"{self.address} takes {pluralize(self.slots, 'feature')} at a time; workers fetch from {self.remote}"
            )
            found = [{"check": "cluster", "verdict": OK, "text": words}]
        head, jobs = git_client.get_head(self.project.root), self.wish.jobs or self.slots
        slots = {address: min(jobs, number) for address, number in self.machine_slots.items()}
        asked = json.dumps({
            "client": self.wish.client, "worker": self.wish.worker, "remote": self.remote, "slots": slots,
            "tree_mb": environment.measure_tree_bytes(self.project.root, head) / 1e6 if head else 0,
        })  # fmt: skip
        mine = [__version__, ".".join(map(str, sys.version_info[:2]))]
        answers = self._run_on_workers(task.check_worker, asked, mine, on_error="return")
        for address, told in sorted(answers.items()):
            if isinstance(told, OSError):
                text = f"It does not answer ({told}). See that it runs; when it is gone for good, the same again does."
                told = [("connection", ERROR, text)]
            elif isinstance(told, Exception):
                told = [("package", ERROR, f"It cannot run batch-implement: {told}. Install the same version there.")]
            found += [{"check": f"worker {address}: {name}", "verdict": verdict, "text": text}
                      for name, verdict, text in told]  # fmt: skip
        return found

    # -- the driver's side of an attempt ---------------------------------------------------------------------------

    def work(self, job: Job) -> Outcome:
        """What `worker.work` is on one machine: one attempt, to its end, on whichever worker has a slot."""
        try:
            self._push(job.base)
            outcome = self._run_task(job)
            if outcome.kind == COMPLETED:
                self._fetch(job, outcome.commit)
        except BatchError as error:
            return jobs.interrupted_outcome(job, error.message, timestamps.now(), "network")
        return self._save_logs(job, outcome)

    def _run_task(self, job: Job) -> Outcome:
        client, asked = self._wait_for_connection(), None
        if client is None:
            return self._scheduler_lost_outcome(job)
        data = json.dumps(job._asdict()).encode()
        if not self.waiting:
            self.monitor.reset()
        try:
            asked = client.submit(
                task.run_attempt,
                data,
                key=f"batch-{job.session_id}",
                pure=False,
                retries=0,
                resources={task.RESOURCE: 1},
            )
            self.waiting[job.session_id] = asked
            told = self._wait_for_task(client, asked)
            return self._scheduler_lost_outcome(job) if told is None else Outcome(**json.loads(told))
        except (futures.CancelledError, import_distributed().client.FutureCancelledError) as error:
            why = "the run was stopped" if self.gone.is_set() else f"the scheduler lost it ({error})"
            self._subscribe(client)
            return jobs.interrupted_outcome(job, why, timestamps.now(), "stopped" if self.gone.is_set() else LOST)
        except Exception as error:  # a task can raise anything: the next is not to suffer for it
            its_own = asked is not None and asked.status in ("error", "finished")
            if not its_own and (isinstance(error, (OSError, RuntimeError)) or client.status != "running"):
                return jobs.interrupted_outcome(job, str(error), timestamps.now(), LOST)
            return jobs.interrupted_outcome(
                job, f"its task ended with {type(error).__name__}: {error}", timestamps.now()
            )
        finally:
            self.waiting.pop(job.session_id, None)

    def _scheduler_lost_outcome(self, job: Job) -> Outcome:
        if self.gone.is_set():
            return jobs.interrupted_outcome(job, "the run was stopped", timestamps.now(), "stopped")
        why = (
            f"The scheduler {self.address} has not answered for {self.patience_s:.0f} s. See that it runs; "
            "`batchctl run --resume` goes on."
        )
        return jobs.interrupted_outcome(job, why, timestamps.now(), "setup")._replace(kind=jobs.NEEDS_USER, message=why)

    def _wait_for_task(self, client: Any, asked: Any) -> Optional[bytes]:
        """What the task brings back. None when the scheduler has not answered for `patience_s`: one that is frozen
        keeps its connections.
        """
        while not asked.done():
            try:
                return bytes(asked.result(timeout=POLL_S))
            except import_distributed().TimeoutError:
                if client.status in ("closed", "closing"):
                    raise ConnectionError("the connection to the scheduler was closed") from None
                if not asked.done() and not self.monitor.is_responsive(client):
                    return None
        return bytes(asked.result())  # this is where a TimeoutError of the task's own comes out

    def _push(self, base: str) -> None:
        """See that the commit an attempt begins at is on the remote."""
        with self.push_lock:
            if self.pushed != base:
                branch = worktrees.get_batch_branch(self.batch_id)
                remotes.push_branches(
                    self.project.root, self.remote, {branch: f"refs/heads/{branch}"}, "--no-verify", timeout_s=FETCH_S
                )
                self.pushed = base

    def _fetch(self, job: Job, commit: Optional[str]) -> None:
        """Bring what a worker pushed."""
        root, ref = self.project.root, f"refs/heads/{job.branch}"
        git_client.run_git(
            root, "-c", "gc.auto=0", "-c", "maintenance.auto=false", "fetch", "--quiet", "--no-tags",
            "--no-write-fetch-head", self.remote, f"+{ref}:{ref}", timeout_s=FETCH_S,
        )  # fmt: skip
        if not git_client.has_commit(root, commit, ref):
            raise BatchError(
                f"{job.branch} on the remote has not the commit {commit} that its worker verified.",
                "cluster-unreachable",
            )

    def _save_logs(self, job: Job, outcome: Outcome) -> Outcome:
        """The outcome with the logs that came with it in a folder here."""
        name = f"{job.feature_index + 1}-{job.attempt}-{job.session_id[:8]}"
        return logs.save_received_logs(outcome, os.path.join(jobs.run_log_folder(self.project, self.batch_id), name))

    # -- the end ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the attempts that are under way; they come back as interrupted."""
        self.gone.set()
        for asked in list(self.waiting.values()):
            with contextlib.suppress(Exception):  # where the scheduler is gone nothing is under way
                asked.cancel()

    def settle(self, state: State) -> None:
        """Push the batch's branch as it is, and remove the branches of merged attempts from the remote."""
        root, branch = self.project.root, worktrees.get_batch_branch(self.batch_id)
        self._push(git_client.get_branch_tip(root, branch) or "")
        existing = remotes.list_remote_branches(root, self.remote, [f"batch/{self.batch_id}/*"])
        done = sorted({*_list_merged_branches(state)} & {*existing})
        if state["run"]["options"].get("pr") == "feature":
            return
        for first in range(0, len(done), MAX_DELETED):
            deleted = dict.fromkeys(done[first : first + MAX_DELETED])
            remotes.push_branches(root, self.remote, deleted, "--no-verify", timeout_s=FETCH_S)

    def close(self) -> None:
        """Disconnect. A cluster that this run started ends."""
        self.gone.set()
        for each, timeout_s in ((self.client, 5), (self.own, CLUSTER_S)):
            if each is not None:
                with contextlib.suppress(Exception):  # of one that is gone already
                    each.close(timeout=timeout_s)


def _list_merged_branches(state: State) -> List[str]:
    """The branches of all attempts at features that are completed."""
    return [
        worktrees.get_attempt_branch(state["batch_id"], index, state["features"][index], client["attempt"])
        for index in state["completed_features"]
        for client in state["run"]["clients"].get(key(index), ())
    ]


# -- where it is ------------------------------------------------------------------------------------------------------


def refuse_unencrypted(address: str) -> None:
    """Refused for a scheduler that is neither encrypted nor on this machine alone."""
    way, _, rest = address.partition("://")
    host = rest.rpartition(":")[0].strip("[]") or rest
    if way not in ("tls", "wss") and not ssh.is_loopback(host):
        raise RefusedError(
            f"{address} is not encrypted: whoever can reach it can run commands on all of its machines, and read what "
            "is sent. Give the scheduler and its workers certificates and take tls:// (docs/cluster.md), or say "
            "`--insecure-cluster` if the network itself is closed.",
            "cluster-unencrypted",
        )


def _start_over_ssh(path: str, slots: int, *, insecure: bool) -> Any:
    """A cluster on the hosts that a file names. Unencrypted, all of it listens on loopback, or the person has said that
    the network is closed: a worker runs what it is told just as a scheduler does.
    """
    names = ssh.read_hosts(path)
    others = [name for name in names if not ssh.is_loopback(name)]
    if others and not insecure and not ssh.requires_encryption():
        refuse_unencrypted(f"tcp://{others[0]}:0")
    its = ssh.start_cluster(names, slots, None if others else ssh.LOOPBACK)
    try:
        if not insecure:
            refuse_unencrypted(str(its.scheduler_address))
    except RefusedError:
        its.close(timeout=CLUSTER_S)
        raise
    return its


def require_push_url(root: str) -> str:
    """Return the URL that workers fetch from and push to. Raise RefusedError without a remote."""
    url = remotes.find_push_url(root)
    if url is None:
        raise RefusedError(
            "There is no git remote, which is all that workers share: `git remote add origin URL`.", "cluster-setup"
        )
    return url
