"""The driver: starts what may start, takes what comes back, waits when it must, and ends when nothing is left to do.

    state = takeover.begin(project, terms, now)             the batch under a run
    state = Driver(project, state, executor, ...).run()     until everything is done, or something stops it

It is the only writer of the batch's state while it runs. Workers are calls of `worker.work` on an executor
(`concurrent.futures`): what they need and bring back is in `job`. Time is asked of, and waited for by, `Clock` alone.
The first Ctrl-C lets what is under way end, the second ends it: what was under way is taken up by the next run.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent import futures
from typing import Any, Callable, Dict, List, Optional

from ..base import processes, signals, timestamps
from ..base.project_paths import Project
from ..commands import issue_sync
from ..core import batch_state, failure_classification, policies, run_transitions, transitions
from ..core.batch_state import key
from ..core.errors import BatchError, RefusedError
from ..git import worktrees
from ..store.store import Store
from . import acquire, merge_queue
from . import job as jobs
from .job import Job, Outcome
from .job import describe_feature as _named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.batch_state import State

TICK_S = 1.0
STOP_MESSAGES = {
    "soon": "what is under way is let end, nothing else begins; Ctrl-C again ends it at once",
    "now": "what is under way is ended; `batchctl run --resume` takes it up again",
}


class Clock:
    """The time, and waiting for it. A test gives another."""

    def now(self) -> str:
        """This moment, as the state holds it."""
        return timestamps.now()

    def sleep(self, seconds: float, woken: Callable[[], object]) -> None:
        """Return after that many seconds, or soon after `woken` says so."""
        signals.wait_until(seconds, woken)


class Driver:
    """One run, from `takeover.begin` to its end.

    `executor` runs the workers, `work` is what it is given to call, `stop` ends all of them. `display` has
    `event(kind, text)` and `refresh(state)`, and is closed by whoever opened it. `told("failure", state)` is called
    when a feature is given up on. `place` is where the workers are when that is not this machine, and `places` has
    more of it as it becomes known: session id -> place.
    """

    def __init__(
        self,
        project: Project,
        state: State,
        executor: futures.Executor,
        *,
        display: Any,
        told: Callable[[str, State], object],
        work: Callable[[Job], Outcome],
        stop: Callable[[], None],
        wall_clock: Optional[Clock] = None,
        place: Optional[str] = None,
        places: Optional[Dict[str, str]] = None,
    ) -> None:
        self.project, self.executor, self.work, self.stop = project, executor, work, stop
        self.display, self.told, self.clock = display, told, wall_clock or Clock()
        self.store, self.place, self.places = Store(project), place, places if places is not None else {}
        self.batch_id, self.session_id = state["batch_id"], state["owner"]["session_id"]
        self.working: Dict[futures.Future[Outcome], Job] = {}
        self.to_merge: List[int] = [
            int(name) for name, entry in state["run"]["running"].items() if entry["step"] == "merging"
        ]
        self.merger = futures.ThreadPoolExecutor(1, thread_name_prefix="merge")
        self.merging: Optional[tuple[int, futures.Future[merge_queue.PreparedMerge]]] = None
        self.stopping = self.said = ""  # empty, a key of STOPPING after a Ctrl-C
        self.stopped = threading.Event()
        self.waits_in_a_row = 0
        self.why = ""

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> State:
        """Drive the batch until nothing can go on; the state it ends with. Whatever happens, no process of a worker
        is left, and the lease is over.
        """

        def now() -> None:
            self.interrupt(now=True)

        with signals.handle_signals({signal.SIGINT: self.interrupt, signal.SIGTERM: now, signal.SIGHUP: now}):
            try:
                while self._step():
                    pass
            finally:
                self._stop_workers()
        return self._finish_run()

    def _step(self) -> bool:
        """One look at what there is to do; whether there is more."""
        if self.stopping != self.said:
            self.said = self.stopping
            self.display.event("stopping", STOP_MESSAGES[self.said])
        if self.stopping == "now":
            self.stopped.set()
            self.stop()  # at every look: a worker may only just have begun
        state = self._require_ownership(self.store.require())
        state = self._end_wait(state)
        if run_transitions.update_places(state, self.places):
            state = self.store.update(lambda current: run_transitions.update_places(current, self.places) or current)
        state = self._start_features(state)
        self._start_merge(state)
        self.display.refresh(state)
        outstanding: List[futures.Future[Any]] = [*self.working]
        if self.merging:
            outstanding.append(self.merging[1])
        if outstanding:
            done, _ = futures.wait(outstanding, TICK_S, futures.FIRST_COMPLETED)
            for future in done:
                self._handle_future(future)
            return True
        return not self._is_over(state)

    def interrupt(self, *, now: bool = False) -> None:
        """A person's Ctrl-C: the first lets what is under way end, the second (or `now`) ends it."""
        self.stopping = "now" if self.stopping or now else "soon"

    def _require_ownership(self, state: State) -> State:
        """The state, if the batch is still this run's. Refused when somebody else took it."""
        if state["batch_id"] != self.batch_id or (state["owner"] or {}).get("session_id") != self.session_id:
            self.why = "somebody else took the batch over"
            raise RefusedError(
                f"Batch {self.batch_id} in {self.project.root} is not this run's any more: somebody took it over or "
                "replaced it. What was under way is ended; see `batchctl status`.",
                "run-stopped",
            )
        return state

    def _can_start(self, state: State) -> bool:
        return not self.stopping and not self.why and state["status"] == "in_progress" and not state["run"]["waiting"]

    def _start_features(self, state: State) -> State:
        """Give the executor what may begin now."""
        if self._can_start(state) and next(batch_state.pending_indices(state), None) is not None:
            state = self._pause_at_limits(state)
        if not self._can_start(state):
            return state
        here = state["run"]["running"] if self.place is None else self.working  # what is merged uses the machine, too
        free = state["run"]["jobs"] - len(here)
        now = self.clock.now()
        ready = run_transitions.ready_indices(state, now)[: max(0, free)]
        for number, index in enumerate(ready):
            share = run_transitions.client_budget_usd(
                state, sum(map(jobs.max_cost_usd, self.working.values())), len(ready) - number
            )
            if not share:
                break
            job = jobs.create_job(self.project, state, index, share)
            state = self.store.update(
                lambda current, job=job: run_transitions.dispatch(  # type: ignore[misc]
                    current, now, job.feature_index, base=job.base, branch=job.branch, worktree=job.worktree,
                    session_id=job.session_id, place=self.place or processes.get_host_name(),
                )
            )  # fmt: skip
            self.working[self.executor.submit(self.work, job)] = job
            self.display.event("started", _named(state, index, f"attempt {job.attempt}"))
        return state

    def _is_over(self, state: State) -> bool:
        """Whether the run is at its end; when it only waits, wait for that."""
        if not batch_state.is_live(state):
            self.why = self.why or "nothing is left to do"
            return True
        if state["status"] == "paused" and not self.stopping and not self.why:
            self.why = "the batch is paused"
            self.display.event("paused", state["pause"]["reason"])
        if self.stopping or self.why:
            self.why = self.why or "it was stopped"
            return True
        now = self.clock.now()
        until = state["run"]["waiting"]["until"] if state["run"]["waiting"] else run_transitions.next_start(state, now)
        if until is None:
            if run_transitions.ready_indices(state, now):
                return False
            self.why = "what is left cannot begin"
            return True
        self.clock.sleep(min(max(0.0, timestamps.seconds_between(now, until)), 60.0), lambda: self.stopping)
        return False

    # -- limits and waits ------------------------------------------------------------------------------------------

    def _pause_at_limits(self, state: State) -> State:
        """Pause the batch when a limit that a person set is reached."""
        run, limits = state["run"], state["policy"]["budgets"]
        now = self.clock.now()
        reached = ""
        if "cost_usd" in limits and run["spent"]["cost_usd"] >= limits["cost_usd"]:
            reached = f"the cost has reached ${run['spent']['cost_usd']:.2f} of ${limits['cost_usd']:.2f}"
        elif "time_s" in limits and timestamps.seconds_between(run["started_at"], now) >= limits["time_s"]:
            reached = f"the run has taken its {limits['time_s']} s"
        return self._pause_batch(f"a limit is reached: {reached}") if reached else state

    def _pause_batch(self, reason: str) -> State:
        self.display.event("paused", reason)
        self.why = self.why or reason
        return self.store.update(
            lambda current: (
                transitions.pause(current, self.clock.now(), reason) if batch_state.is_live(current) else current
            )
        )

    def _end_wait(self, state: State) -> State:
        """End a wait whose time has come; pause when all waits together have taken what they may."""
        waiting = state["run"]["waiting"]
        now = self.clock.now()
        if waiting is None:
            return state
        limits = state["policy"]["budgets"]
        waited = timestamps.seconds_between(waiting["since"], now)
        if now < waiting["until"] and not self.stopping:
            if "wait_s" not in limits or state["run"]["spent"]["waited_s"] + waited < limits["wait_s"]:
                return state
            self._pause_batch(
                f"a limit is reached: the run has waited {limits['wait_s']} s in all; {waiting['reason']}"
            )
        return self.store.update(lambda current: run_transitions.end_wait(current, now, waited))

    # -- what comes back -------------------------------------------------------------------------------------------

    def _handle_future(self, future: futures.Future[Any]) -> None:
        if self.merging is not None and future is self.merging[1]:
            index, self.merging = self.merging[0], None
            self._finish_merge(index, future)
            return
        job = self.working.pop(future)
        error = future.exception()
        if error is not None and not isinstance(error, (BatchError, OSError, futures.BrokenExecutor)):
            raise error
        self._record_outcome(
            job, future.result() if error is None else jobs.interrupted_outcome(job, str(error), self.clock.now())
        )

    def _record_outcome(self, job: Job, outcome: Outcome) -> None:
        """Write what an attempt came to into the state."""
        index, now = job.feature_index, self.clock.now()
        state = self._require_ownership(self.store.require())
        entry = state["run"]["running"].get(key(index))
        if entry is None or entry["session_id"] != outcome.session_id:
            return  # of an attempt that was given up meanwhile
        record = jobs.client_record(job, outcome)

        def settle(current: State) -> State:
            noted = run_transitions.record_client(current, index, record)
            if outcome.kind == jobs.COMPLETED:
                return run_transitions.await_merge(noted, index, outcome.evidence, outcome.decisions)
            if (
                outcome.kind == jobs.FAILED
                or run_transitions.consecutive_crashes(noted, index) >= run_transitions.CRASHES_BEFORE_COUNTED
            ):
                return run_transitions.fail_attempt(
                    noted, now, index, outcome.message, outcome.failure_class, permanent=outcome.permanent,
                    changed=outcome.changed, stash=outcome.stash, retry_after=self._retry_time(job, outcome, now),
                )  # fmt: skip
            freed = run_transitions.return_to_pending(noted, index)
            if outcome.kind == jobs.NEEDS_USER:
                return transitions.pause(
                    freed, now, f"a person is needed ({outcome.failure_class}): {outcome.message[:300]}"
                )
            if failure_classification.TREATMENT.get(outcome.failure_class) == "wait" and not self.stopping:
                return run_transitions.begin_wait(
                    freed, now, self._wait_end(outcome, now), outcome.message[:300], outcome.failure_class
                )
            return freed

        state = self.store.update(settle)
        if outcome.kind in (jobs.COMPLETED, jobs.FAILED):
            self.waits_in_a_row = 0
        if outcome.kind == jobs.COMPLETED:
            self.to_merge.append(index)
            self.display.event("done", _named(state, index, "verified"))
        elif batch_state.feature_status(state, index) == "pending":
            kind = "failed" if outcome.kind == jobs.FAILED else "interrupted"
            self.display.event(kind, _named(state, index, outcome.message))
            if outcome.kind == jobs.FAILED:
                worktrees.remove(self.project.root, job.worktree)  # its commits are on its branch, the rest in a stash
        else:
            self._report_failure(state, index, outcome.message)
        if state["run"]["waiting"]:
            self.display.event(
                "waits", f"until {state['run']['waiting']['until']}: {state['run']['waiting']['reason']}"
            )

    def _retry_time(self, job: Job, outcome: Outcome, now: str) -> str:
        backoff = failure_classification.backoff_s(job.attempt, os.urandom(1)[0] / 256)
        return outcome.retry_after or timestamps.add_seconds(now, backoff)

    def _wait_end(self, outcome: Outcome, now: str) -> str:
        """When the next client may begin after one met a limit, overload or no network."""
        self.waits_in_a_row += 1
        backoff = timestamps.add_seconds(
            now, failure_classification.backoff_s(self.waits_in_a_row, os.urandom(1)[0] / 256)
        )
        return max(outcome.retry_after or backoff, timestamps.add_seconds(now, 1))

    def _report_failure(self, state: State, index: int, why: str) -> None:
        """A feature has failed for good: tell of it, and of what needs it."""
        self.display.event("failed", _named(state, index, f"for good: {why}"))
        self._comment_on_issue(state, index)
        self.told("failure", state)

    def _comment_on_issue(self, state: State, index: int) -> None:
        told = issue_sync.publish_after_outcome(self.store, state, index)
        if told:
            self.display.event("note", told.strip())

    # -- merging ---------------------------------------------------------------------------------------------------

    def _start_merge(self, state: State) -> None:
        """Give the merge queue its next feature."""
        if self.merging is not None or not self.to_merge or self.stopping == "now":
            return
        index = self.to_merge.pop(0)
        entry, run = state["run"]["running"].get(key(index)), state["run"]
        if entry is None:
            return
        policy = policies.feature_policy(state, index)
        log = os.path.join(jobs.run_log_folder(self.project, self.batch_id), f"{index + 1}-{entry['attempt']}-merge")
        future = self.merger.submit(
            merge_queue.prepare_merge,
            self.project.root,
            acquire.merge_worktree(state),
            run["branch"],
            entry["evidence"]["commit"],
            verify=policy["verify"],
            timeout_s=policy["verify_timeout_s"],
            log=log,
            stopped=self.stopped,
        )
        self.merging = index, future

    def _finish_merge(self, index: int, future: futures.Future[merge_queue.PreparedMerge]) -> None:
        state = self._require_ownership(self.store.require())
        root, now, branch = self.project.root, self.clock.now(), state["run"]["branch"]
        entry = state["run"]["running"][key(index)]
        try:
            ready = future.result()
            self.store.update(lambda current: run_transitions.record_merge_commit(current, index, ready.commit))
            merge_queue.fast_forward(root, branch, ready)
        except merge_queue.MergeStopped:
            return
        except merge_queue.HeadMoved:
            self.to_merge.insert(0, index)
            return
        except merge_queue.CannotMerge as error:
            words = error.message
            state = self.store.update(lambda current: run_transitions.send_back(current, now, index, words))
            if batch_state.feature_status(state, index) == "pending":
                self.display.event("sent back", _named(state, index, words))
                worktrees.remove(root, entry["worktree"])
            else:
                self._report_failure(state, index, words)
            return
        proof = {**entry["evidence"], "commit": ready.commit, "branch": branch}
        if ready.rebased:
            proof["commits"] = ready.commits
        if ready.verify:
            proof["verify"] = ready.verify
        merge = {
            "commit": ready.commit, "from": entry["evidence"]["commit"], "rebased": ready.rebased,
            "verify_seconds": ready.verify["seconds"] if ready.verify else None,
        }  # fmt: skip
        state = self.store.update(lambda current: run_transitions.complete_feature(current, now, index, proof, merge))
        self.display.event("merged", _named(state, index, ready.commit[:12]))
        worktrees.remove(root, entry["worktree"])
        worktrees.finish_branch(
            root, entry["branch"], ready.commit, keep=state["run"]["options"].get("pr") == "feature"
        )
        self._comment_on_issue(state, index)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _stop_workers(self) -> None:
        """No worker is left, and the queue has ended what it was at."""
        if self.working or self.merging:
            self.stopped.set()
        for future in self.working:
            future.cancel()
        while not all(future.done() for future in self.working):
            self.stop()  # again: a worker may only just have begun
            futures.wait(self.working, TICK_S)
        self.executor.shutdown(wait=True)
        self.merger.shutdown(wait=True)

    def _finish_run(self) -> State:
        state = self._require_ownership(self.store.require())
        state = self.store.update(lambda current: run_transitions.end(current, self.clock.now(), self.why))
        worktrees.remove(self.project.root, acquire.merge_worktree(state))
        self.display.event("ended", self.why)
        return state
