"""Drive a batch: start features, record outcomes, merge, wait, and end when nothing is left to do.

    state = acquire_batch.acquire_run(store, now, ...)      the batch belongs to this run
    state = Driver(store, state, workers, ...).run()        until all features are processed, or the run is stopped

The driver is the only writer of the batch's state while it runs. Attempts are calls of `workers.run_job(job)` in
threads; `job` has what goes in and comes back. Time comes from `now` and `sleep` alone. The first Ctrl-C lets
running features finish, the second stops them: the next run resumes them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from concurrent import futures
from typing import Any, Callable, Dict, List

from ..base import process_identity, signals, timestamps
from ..base.text import one_line
from ..commands import issue_sync
from ..core import batch_state, failure_classification, prompts, run_transitions, transitions
from ..core.batch_state import key
from ..core.errors import BatchError, RefusedError
from ..git import worktrees
from ..store.store import Store
from . import acquire_batch, logs, merge_queue
from . import job as jobs
from .job import Job, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.batch_state import State

TICK_S = 1.0


class Driver:
    """One run of a batch that `acquire_run` returned.

    `workers` is `local_executor` or a `DaskExecutor`: `run_job(job)` makes an attempt, `stop_all()` stops all of them,
    `place` names where they are made unless on this machine, `places` maps session ids to places as they become known.
    `display` has `event(kind, text)` and `refresh(state)`; the caller closes it. `notify("failure", state)` is called
    when a feature has failed.
    """

    def __init__(
        self,
        store: Store,
        state: State,
        workers: Any,
        *,
        display: Any,
        notify: Callable[[str, State], object],
        now: Callable[[], str] = timestamps.now,
        sleep: Callable[[float, Callable[[], object]], None] = signals.wait_until,
    ) -> None:
        self.store, self.project, self.workers = store, store.project, workers
        self.display, self.notify, self.now, self.sleep = display, notify, now, sleep
        self.executor = futures.ThreadPoolExecutor(state["run"]["jobs"], thread_name_prefix="worker")
        self.last_state, self.batch_id, self.session_id = state, state["batch_id"], state["owner"]["session_id"]
        self.log_folder = os.path.join(logs.logs_folder(self.project), self.batch_id)  # FEATURE-ATTEMPT-CLIENT in it
        self.working: Dict[futures.Future[Outcome], Job] = {}
        self.stopping = self.announced_stopping = ""  # empty, `soon` or `now`
        self.consecutive_waits = 0
        self.end_reason = ""
        options = state["run"]["options"]
        self.merge_queue = merge_queue.MergeQueue(
            self, options.get("verify_jobs") or 1, each_verified=bool(options.get("each_verified"))
        )

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> State:
        """Recover what a dead run left, drive the batch until nothing can continue, and return its last state.

        However it ends, no process of a worker is left, the lease is released and `ended_at` is set. An error that ends
        the run is raised after that.
        """

        stop_now = functools.partial(self.interrupt, now=True)
        handlers: Dict[int, Callable[[], object]] = dict.fromkeys((signal.SIGTERM, signal.SIGHUP), stop_now)
        handlers[signal.SIGINT] = self.interrupt
        try:
            with signals.handle_signals(handlers):
                try:
                    acquire_batch.recover_dead_run(self.store, self.now())
                    while self._step():
                        pass
                finally:
                    self._stop_workers()
        except Exception as error:
            self.end_reason = self.end_reason or f"an error: {one_line(str(error) or type(error).__name__, 300)}"
            with contextlib.suppress(BatchError, OSError):  # the first error counts
                for future in [future for future in self.working if not future.cancelled()]:
                    self._handle_future(future)
                self._end()
            raise
        return self._end()

    def _end(self) -> State:
        """End the run in the state: it owns the batch no longer."""
        self.require_state()
        state = self.store.update(lambda current: run_transitions.end(current, self.now(), self.end_reason))
        self.last_state = state
        for folder in worktrees.list_generated_folders(state["run"]["worktrees"]):
            remove = functools.partial(worktrees.remove_generated, self.project.root, folder)
            try_step(self.display, f"Removing {folder}", remove)
        remove_rest = functools.partial(acquire_batch.remove_leftovers, self.store, state)
        try_step(self.display, "Removing worktrees", remove_rest)
        for note in self.store.notes:
            self.display.event("note", note)
        self.display.event("ended", self.end_reason)
        return state

    def _remove_worktree(self, folder: str) -> None:
        """Remove the worktree of an attempt. Say where what is unique in it was kept, or why the worktree stays."""

        def remove() -> None:
            ref = worktrees.remove(self.project.root, folder)
            if ref:
                text = f"kept what {folder} had left: `git show --stat {ref}`"
                self.display.event("note", text)

        try_step(self.display, f"Removing {folder}", remove)

    def interrupt(self, *, now: bool = False) -> None:
        """Handle Ctrl-C: the first lets running features finish, the second (or `now`) stops them."""
        self.stopping = "now" if self.stopping or now else "soon"

    def _step(self) -> bool:
        """Start what can start, then wait for a result at most TICK_S. Return False when the run is over."""
        self._apply_stopping()
        state = self.require_state()
        while self.store.notes:
            self.display.event("note", self.store.notes.pop(0))
        state = self._end_wait(state)
        places = self.workers.places
        if run_transitions.update_places(state, places):
            state = self.store.update(lambda current: run_transitions.update_places(current, places) or current)
        # First what is merged without a run: the next feature starts on it.
        state = self._start_features(self.merge_queue.step(state))
        self.display.refresh(state)
        outstanding: List[futures.Future[Any]] = [*self.working, *self.merge_queue.futures]
        if not outstanding:
            return not self._is_over(state)
        done, _ = futures.wait(outstanding, TICK_S, futures.FIRST_COMPLETED)
        for future in done:
            self._handle_future(future)
        return True

    def _apply_stopping(self) -> None:
        if self.stopping != self.announced_stopping:
            self.announced_stopping = self.stopping
            running = prompts.pluralize(len(self.working), "running feature")
            text = f"Finishing {running}; no new ones. Press Ctrl-C again to stop now."
            if self.stopping == "now":
                text = f"Stopping {running}. `batchctl run --resume` resumes the run."
            self.display.event("stopping", text)
        if self.stopping == "now":
            self.merge_queue.stop()
            self.workers.stop_all()  # at every step: a worker may have started since the last one

    def require_state(self) -> State:
        """Return the state. Raise RefusedError if the batch no longer belongs to this run."""
        state = self.store.require()
        if state["batch_id"] != self.batch_id or (state["owner"] or {}).get("session_id") != self.session_id:
            self.end_reason = "another client or run took over the batch"
            raise RefusedError(
                f"Batch {self.batch_id} in {self.project.root} no longer belongs to this run: it was taken over or "
                "replaced. Running features are stopped. `batchctl status` shows its owner.",
                "run-stopped",
            )
        self.last_state = state
        return state

    def _can_start(self, state: State) -> bool:
        is_running = state["status"] == "in_progress" and not state["run"]["waiting"]
        return is_running and not self.stopping and not self.end_reason

    def _start_features(self, state: State) -> State:
        """Submit the features that can start now."""
        if self._can_start(state) and next(batch_state.pending_indices(state), None) is not None:
            state = self._pause_at_limits(state)
        if not self._can_start(state):
            return state
        now = self.now()
        ready = run_transitions.ready_indices(state, now)[: max(0, state["run"]["jobs"] - len(self.working))]
        for number, index in enumerate(ready):
            reserved_usd = sum(map(jobs.max_cost_usd, self.working.values()))
            budget_usd = run_transitions.client_budget_usd(state, reserved_usd, len(ready) - number)
            if not budget_usd:
                break
            slot = jobs.lowest_free_slot(self.working.values())
            job = jobs.create_job(self.project, state, index, budget_usd, slot)
            state = self.store.update(
                lambda current, job=job: run_transitions.dispatch(  # type: ignore[misc]
                    current, now, job.feature_index, base=job.base, branch=job.branch, worktree=job.worktree,
                    session_id=job.session_id, slot=job.slot,
                    place=self.workers.place or process_identity.get_host_name(),
                )
            )  # fmt: skip
            self.working[self.executor.submit(self.workers.run_job, job)] = job
            self._show_event("started", state, index, f"attempt {job.attempt}")
        return state

    def _is_over(self, state: State) -> bool:
        """Return whether the run is over. If it only waits for a time, sleep up to 60 s."""
        if not batch_state.is_live(state):
            self.end_reason = self.end_reason or "all features processed"
            return True
        if state["status"] == "paused" and not self.stopping and not self.end_reason:
            self.end_reason = "the batch is paused"
            self.display.event("paused", state["pause"]["reason"])
        if self.stopping or self.end_reason:
            self.end_reason = self.end_reason or "stopped by the user"
            return True
        now, waiting = self.now(), state["run"]["waiting"]
        until = waiting["until"] if waiting else run_transitions.next_start(state, now)
        if until is None:
            if run_transitions.ready_indices(state, now):
                return False
            self.end_reason = "the remaining features cannot start"
            return True
        self.sleep(min(max(0.0, timestamps.seconds_between(now, until)), 60.0), lambda: self.stopping)
        return False

    def _show_event(self, kind: str, state: State, index: int, text: str) -> None:
        feature = f"feature {index + 1} of {state['total_features']} ({one_line(state['features'][index], 60)})"
        self.display.event(kind, f"{feature}: {one_line(text, 200)}")

    # -- limits and waits ------------------------------------------------------------------------------------------

    def _pause_at_limits(self, state: State) -> State:
        """Pause the batch if a limit on cost or time is reached."""
        run, limits = state["run"], state["policy"]["budgets"]
        if "cost_usd" in limits and run["spent"]["cost_usd"] >= limits["cost_usd"]:
            cost = f"${run['spent']['cost_usd']:.2f} of ${limits['cost_usd']:.2f}"
            return self.pause_batch(f"a limit is reached: the cost has reached {cost}")
        elapsed_s = timestamps.seconds_between(run["started_at"], self.now())
        if "time_s" in limits and elapsed_s >= limits["time_s"]:
            return self.pause_batch(f"a limit is reached: the run has taken {limits['time_s']} s")
        return state

    def pause_batch(self, reason: str) -> State:
        """Pause the batch, and end the run when nothing is running."""
        self.display.event("paused", reason)
        self.end_reason = self.end_reason or reason
        return self.store.update(
            lambda current: transitions.pause(current, self.now(), reason) if batch_state.is_live(current) else current
        )

    def _end_wait(self, state: State) -> State:
        """End a wait whose time has come. Pause the batch if all waits together have reached their limit."""
        waiting, now = state["run"]["waiting"], self.now()
        if waiting is None:
            return state
        limits = state["policy"]["budgets"]
        waited_s = timestamps.seconds_between(waiting["since"], now)
        if now < waiting["until"] and not self.stopping:
            if "wait_s" not in limits or state["run"]["spent"]["waited_s"] + waited_s < limits["wait_s"]:
                return state
            self.pause_batch(
                f"a limit is reached: the run has waited {limits['wait_s']} s in total; {waiting['reason']}"
            )
        return self.store.update(lambda current: run_transitions.end_wait(current, now, waited_s))

    # -- outcomes --------------------------------------------------------------------------------------------------

    def _handle_future(self, future: futures.Future[Any]) -> None:
        if future in self.merge_queue.futures:
            self.merge_queue.handle(future)
            return
        job = self.working.pop(future)
        try:
            outcome = future.result()
        except Exception as error:  # whatever kept the executor from making the attempt
            outcome = jobs.interrupted_outcome(job, str(error) or type(error).__name__)
        self._record_outcome(job, outcome)

    def _record_outcome(self, job: Job, outcome: Outcome) -> None:
        """Write the outcome of an attempt into the state, and show it."""
        index, now = job.feature_index, self.now()
        state = self.require_state()
        entry = state["run"]["running"].get(key(index))
        if entry is None or entry["session_id"] != outcome.session_id:
            return  # of an attempt that was abandoned meanwhile
        name = f"{index + 1}-{job.attempt}-{state['run']['spent']['clients'] + 1}"
        outcome = logs.save_logs(outcome, os.path.join(self.log_folder, name))
        for note in outcome.notes:
            self._show_event("note", state, index, note)
        if self.stopping == "now" and outcome.kind == jobs.INTERRUPTED:
            outcome = outcome._replace(failure_class="stopped")  # what stops the run ends clients and attempts, too
        state = self.store.update(lambda current: self._apply_outcome(current, now, job, outcome))
        if outcome.kind in (jobs.COMPLETED, jobs.FAILED):
            self.consecutive_waits = 0
        if outcome.kind == jobs.COMPLETED:
            self._show_event("done", state, index, "verified")
            self._remove_worktree(job.worktree)
        elif batch_state.feature_status(state, index) != "pending":
            self._report_failure(state, index, outcome.message)
        elif state["retry_attempts"].get(key(index), 0) >= job.attempt:  # counted
            self._show_event("failed", state, index, outcome.message)
            self._remove_worktree(job.worktree)  # commits stay on the branch, changes in a snapshot
        else:
            self._show_event("interrupted", state, index, outcome.message)
        waiting = state["run"]["waiting"]
        if waiting:
            self.display.event("waiting", f"until {waiting['until']}: {waiting['reason']}")

    def _apply_outcome(self, state: State, now: str, job: Job, outcome: Outcome) -> State:
        """Return the state after the attempt: the feature waits for its merge, has failed, or is pending again."""
        index = job.feature_index
        state = run_transitions.record_client(state, index, jobs.client_record(job, outcome))
        if outcome.kind == jobs.COMPLETED:
            return run_transitions.await_merge(state, now, index, outcome.evidence, outcome.decisions)
        crashes = run_transitions.consecutive_crashes(state, index)
        if outcome.kind == jobs.FAILED or crashes >= run_transitions.CRASHES_BEFORE_COUNTED:
            return run_transitions.fail_attempt(
                state, now, index, outcome.message, outcome.failure_class, permanent=outcome.permanent,
                changed=outcome.changed, snapshot=outcome.snapshot,
                retry_after=outcome.retry_after or _add_backoff(now, job.attempt),
            )  # fmt: skip
        state = run_transitions.return_to_pending(state, index)
        message, failure_class = outcome.message[:300], outcome.failure_class
        if outcome.kind == jobs.NEEDS_USER:
            return transitions.pause_for_user(state, now, failure_class, message)
        if failure_classification.TREATMENT.get(failure_class) == "wait" and not self.stopping:
            self.consecutive_waits += 1
            until = outcome.retry_after or _add_backoff(now, self.consecutive_waits)
            until = max(until, timestamps.add_seconds(now, 1))
            return run_transitions.begin_wait(state, now, until, message, failure_class)
        return state

    def _report_failure(self, state: State, index: int, reason: str) -> None:
        """Report a feature that gets no further attempt: on the display, at its issue, to `notify`."""
        attempts = state.get("attempts", {}).get(key(index)) or [{}]
        end = "given up on" if attempts[-1].get("permanent") else "no attempt left"
        self._show_event("failed", state, index, f"{end}: {reason}")
        self._comment_on_issue(state, index)
        self.notify("failure", state)

    def _comment_on_issue(self, state: State, index: int) -> None:
        note = issue_sync.publish_after_outcome(self.store, state, index)
        if note:
            self.display.event("note", note.strip())

    # -- merging ---------------------------------------------------------------------------------------------------

    def finish_merge(self, state: State, index: int, entry: State, commit: str) -> None:
        """Show that a feature is merged, at its issue as well, and delete the branch of its attempt (`entry`)."""
        root = self.project.root
        self._show_event("merged", state, index, commit[:12])
        keep = state["run"]["options"].get("pr") == "feature"
        finish = functools.partial(worktrees.finish_branch, root, entry["branch"], commit, keep=keep)
        try_step(self.display, f"Deleting the branch {entry['branch']}", finish)
        self._comment_on_issue(state, index)

    def report_sent_back(self, state: State, index: int, reason: str) -> None:
        """Report a feature whose merge has failed."""
        if batch_state.feature_status(state, index) == "pending":
            self._show_event("sent back", state, index, reason)
        else:
            self._report_failure(state, index, reason)

    def _stop_workers(self) -> None:
        """Stop all attempts and wait for them and for the merge queue."""
        self.merge_queue.stop()
        for future in self.working:
            future.cancel()
        while not all(future.done() for future in self.working):
            self.workers.stop_all()  # repeatedly: a worker may have started since the last call
            futures.wait(self.working, TICK_S)
        self.executor.shutdown(wait=True)
        self.merge_queue.shutdown()


def try_step(display: Any, what: str, action: Callable[[], object]) -> None:
    """Do something that the run can do without. Show an error as a note."""
    try:
        action()
    except (BatchError, OSError) as error:
        display.event("note", f"{what} failed: {error}")


def _add_backoff(now: str, failures: int) -> str:
    """Return the time `now` plus the backoff after that many failures."""
    return timestamps.add_seconds(now, failure_classification.backoff_s(failures, os.urandom(1)[0] / 256))
