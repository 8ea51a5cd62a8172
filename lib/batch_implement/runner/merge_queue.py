"""The merge queue of a run: carries out for the driver what `core.merge_rules` decides.

    queue = MergeQueue(driver, verify_jobs=1)
    queue.step(state)               take up features that wait, begin what can begin
    queue.futures                   what it waits for; each that is done goes to
    queue.handle(future)
    queue.stop()                    have all runs end
    queue.shutdown()                also wait for its threads

One thread builds tips, in the order of their runs, since each is on top of the one before it; `verify_jobs` threads
verify them. The driver's thread alone decides, moves the branch and writes the state: first what is going to be merged,
then the branch moves, then the features are completed. A driver that dies in between leaves enough for the next one to
know.
"""

from __future__ import annotations

import itertools
import os
import threading
from concurrent import futures
from typing import Any, Dict, List, NamedTuple

from ..commands import verify_command
from ..core import batch_policy, merge_rules, run_transitions
from ..core.batch_state import key
from ..core.errors import RefusedError
from ..core.merge_rules import Action
from ..git import git_client, worktrees
from . import acquire_batch, merge_tips
from .merge_tips import Part, Tip, Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.batch_state import State
    from .driver import Driver

DELAYS_S = (0.0, 2.0, 10.0)  # before each try of a merge: what git or the disk refuses may pass
NO_RUN = 0  # stands for the wait before another try


class Run(NamedTuple):
    """A run of the verify command for a group of features: `base` is the number of the run whose tip it is on, 0 for
    the branch's head.
    """

    number: int
    features: List[int]
    base: int
    slot: int
    since: str
    cancelled: threading.Event


class MergeQueue:
    """Merges features that are done into the batch's branch. See `driver.Driver` for what it uses of the driver."""

    def __init__(self, driver: Driver, verify_jobs: int, *, each_verified: bool) -> None:
        self.driver, self.root = driver, driver.project.root
        self.rules = merge_rules.Queue(verify_jobs, each_verified)
        self.builder = futures.ThreadPoolExecutor(1, thread_name_prefix="merge")
        self.verifier = futures.ThreadPoolExecutor(verify_jobs, thread_name_prefix="verify")
        self.head = ""
        self.runs: Dict[int, Run] = {}
        self.tips: Dict[int, Tip] = {}
        self.parts: Dict[int, Part] = {}
        self.results: Dict[int, Dict[str, Dict[str, Any]]] = {}
        self.reasons: Dict[int, str] = {}  # why a feature is going to be sent back
        self.futures: Dict[futures.Future[Any], int] = {}
        self.stopped = threading.Event()
        self.errors = 0  # in a row, of git, the disk or the system
        self.merging: List[int] = []  # what the branch is moved for, until that is written

    # -- from the driver -------------------------------------------------------------------------------------------

    def step(self, state: State) -> State:
        """Take up the features that wait for their merge, and begin what can begin. Return the state."""
        if self.stopped.is_set() or self.errors >= len(DELAYS_S) or NO_RUN in self.futures.values():
            return state
        entries = state["run"]["running"]
        waiting = [index for index in map(int, entries) if entries[key(index)]["step"] == "merging"]
        waiting.sort(key=lambda index: entries[key(index)].get("verified_at", ""))
        if merge_rules.members(self.rules) - {*waiting}:  # a person took one away
            self._restart()
            self.rules = self.rules._replace(waiting=())
        for index in waiting:
            if index not in merge_rules.members(self.rules):
                self.rules = merge_rules.add(self.rules, index)
        if not waiting:
            return state
        try:
            self._follow_branch(state)
            return self._plan(state)
        except Exception as error:  # of git, the disk or the system
            return self._handle_error(error, self.merging or waiting[:1])

    def handle(self, future: futures.Future[Any]) -> None:
        """Take the tip that was built, or the result of a run."""
        run = self.runs.get(self.futures.pop(future))
        if run is None or run.cancelled.is_set():
            return
        state = self.driver.require_state()
        try:
            result = future.result()
            actions = (
                self._finish_build(state, run, result) if isinstance(result, Tip) else self._finish_run(run, result)
            )
        except merge_tips.VerifyFailed as error:
            self.reasons.update(dict.fromkeys(run.features, error.message))
            del self.runs[run.number]
            self.rules, actions = merge_rules.failed(self.rules, run.number)
        except Exception as error:
            self._handle_error(error, run.features)
            return
        try:
            self._apply(self.driver.require_state(), actions)
        except Exception as error:
            self._handle_error(error, self.merging or run.features)

    def stop(self) -> None:
        """Have all runs end, and begin no other."""
        self.stopped.set()
        self._cancel_runs()

    def _cancel_runs(self) -> None:
        for run in self.runs.values():
            run.cancelled.set()

    def shutdown(self) -> None:
        """Wait for the threads."""
        self.stop()
        self.builder.shutdown(wait=True)
        self.verifier.shutdown(wait=True)

    # -- what the rules decide -------------------------------------------------------------------------------------

    def _plan(self, state: State) -> State:
        while True:
            on_head = set() if self.rules.groups else {
                index for index in self.rules.waiting
                if git_client.has_commit(self.root, self.head, _verified_commit(state, index))
            }  # fmt: skip
            self.rules, actions = merge_rules.plan(self.rules, on_head)
            if not actions:
                return self._record(state)
            state = self._apply(state, actions)

    def _apply(self, state: State, actions: List[Action]) -> State:
        """Carry out actions, in their order."""
        for action in actions:
            if action.kind == merge_rules.VERIFY:
                self._begin(state, action)
            elif action.kind == merge_rules.CANCEL:
                self.runs.pop(action.number).cancelled.set()
            elif action.kind == merge_rules.MERGE:
                state = self._merge(state, action)
            else:
                state = self._send_back(action.features[0])
        return state

    def _begin(self, state: State, action: Action) -> None:
        """Have the tip of a group built: on top of the group before it, which was built or is being built."""
        numbers = [group.number for group in self.rules.groups]
        place = numbers.index(action.number)
        taken = {run.slot for run in self.runs.values()}
        slot = next(slot for slot in itertools.count(state["run"]["jobs"]) if slot not in taken)
        run = Run(
            action.number, list(action.features), numbers[place - 1] if place else 0, slot, self.driver.now(),
            threading.Event(),
        )  # fmt: skip
        self.runs[run.number] = run
        works = [
            Work(index, _verified_commit(state, index), "no_change" in state["run"]["running"][key(index)]["evidence"])
            for index in run.features
        ]
        folder = worktrees.get_merge_folder(state["run"]["worktrees"])
        self.futures[self.builder.submit(self._build, run, works, folder, self.head)] = run.number

    def _build(self, run: Run, works: List[Work], folder: str, head: str) -> Tip:
        """Build the tip of a run. In the builder's thread, which alone writes `tips`."""
        if run.cancelled.is_set() or (run.base and run.base not in self.tips):
            raise merge_tips.NotMerged("A group was cancelled before its tip was built.", "run-stopped")
        base = self.tips[run.base].commit if run.base else head
        self.tips[run.number] = tip = merge_tips.build_tip(self.root, folder, head, base, works)
        return tip

    def _finish_build(self, state: State, run: Run, tip: Tip) -> List[Action]:
        """Leave out what conflicts, and verify the rest."""
        self.parts.update({part.feature: part for part in tip.parts})
        actions: List[Action] = []
        for index, reason, with_head in tip.left_out:
            self.reasons[index] = reason
            run.features.remove(index)
            self.rules, more = merge_rules.leave_out(self.rules, run.number, index, with_head=with_head)
            actions += more
        if not run.features:
            del self.runs[run.number]
            return actions
        commands = self._collect_commands(state, run)
        if not commands or tip.commit == tip.base:
            return [*actions, *self._finish_run(run, {})]
        log = os.path.join(self.driver.log_folder, f"merge-{run.features[0] + 1}-{run.number}")
        folder = worktrees.get_verify_folder(state["run"]["worktrees"], run.slot)
        policy = batch_policy.feature_policy(state, run.features[0])
        future = self.verifier.submit(
            merge_tips.verify_tip, self.root, folder, self.head, tip.commit, commands, log=log, stopped=run.cancelled,
            slot=run.slot, setup=verify_command.get_setup(policy, (self.root, folder), run.slot, run.cancelled),
        )  # fmt: skip
        self.futures[future] = run.number
        return actions

    def _collect_commands(self, state: State, run: Run) -> Dict[str, int]:
        """Return the verify commands of all features that the tip of a run contains, with their limits in seconds."""
        commands: Dict[str, int] = {}
        for group in self.rules.groups:
            for index in group.features:
                policy = batch_policy.feature_policy(state, index)
                if policy["verify"] is not None:
                    limits = (commands.get(policy["verify"], 0), policy["verify_timeout_s"])
                    commands[policy["verify"]] = max(limits)
            if group.number == run.number:
                break
        return commands

    def _finish_run(self, run: Run, results: Dict[str, Dict[str, Any]]) -> List[Action]:
        """Tell the rules of a green run."""
        self.results[run.number] = results
        self.rules, actions = merge_rules.passed(self.rules, run.number)
        return actions

    def _merge(self, state: State, action: Action) -> State:
        """Move the branch to the tip of a run and complete the features in it. Raise NotMerged if it has moved."""
        run, branch = state["run"], state["run"]["branch"]
        if action.number == 0:  # its own commit, on top of the head, was verified
            (index,) = action.features
            commit = _verified_commit(state, index)
            self.parts[index] = Part(index, commit, [])
        else:
            commit = self.tips[action.number].commit
        self.merging = list(action.features)
        results = self.results.get(action.number, {})
        merged = {index: self._describe_merge(state, index, action, results) for index in action.features}
        store, now = self.driver.store, self.driver.now()
        store.update(lambda current: run_transitions.prepare_merges(current, merged))
        merge_tips.fast_forward(self.root, branch, self.head, commit)
        self.head = commit
        self.errors, self.merging = 0, []
        entries = run["running"]
        self.runs.pop(action.number, None)
        queue = self._describe_queue()

        def complete_features(current: State) -> State:
            for index in action.features:
                current = run_transitions.complete_feature(current, now, index)
            return run_transitions.record_queue(current, queue)

        state = store.update(complete_features)
        for index in action.features:
            self.driver.finish_merge(state, index, entries[key(index)], self.parts.pop(index).commit)
        return state

    def _describe_merge(
        self, state: State, index: int, action: Action, results: Dict[str, Dict[str, Any]]
    ) -> Dict[str, Any]:
        """Return what becomes of a feature: its `evidence`, and its `merge`, the entry of `run.merges`."""
        entry, part = state["run"]["running"][key(index)], self.parts[index]
        evidence = {**entry["evidence"], "commit": part.commit, "branch": state["run"]["branch"]}
        is_rebased = part.commit != entry["evidence"]["commit"]
        if is_rebased:
            evidence["commits"] = part.commits
        verify = results.get(str(batch_policy.feature_policy(state, index)["verify"]))
        if verify:
            evidence["verify"] = verify
        others = [other for other in action.features if other != index]
        if others and results:
            evidence["verified_with"] = others
        merge = {
            "commit": part.commit, "from": entry["evidence"]["commit"], "rebased": is_rebased,
            "verify_seconds": verify["seconds"] if verify else None, "flaky": index in action.flaky,
        }  # fmt: skip
        return {"evidence": evidence, "merge": merge}

    def _send_back(self, index: int) -> State:
        """Repeat a feature that could not be merged, or fail it the second time."""
        reason, now = self.reasons.pop(index), self.driver.now()
        state = self.driver.store.update(lambda current: run_transitions.send_back(current, now, index, reason))
        self.driver.report_sent_back(state, index, reason)
        return state

    # -- the branch and errors -------------------------------------------------------------------------------------

    def _follow_branch(self, state: State) -> None:
        """Build anew on top of the branch's head if somebody has moved it; restore the branch if it is gone."""
        branch = state["run"]["branch"]
        head = git_client.get_branch_tip(self.root, branch)
        if head is None:
            head = self.head or acquire_batch.last_merged_commit(state)
            merge_tips.restore_branch(self.root, branch, head)
            self.driver.display.event("note", f"The branch {branch} was gone; it is at {head[:12]} again.")
        if head != self.head:
            self._restart()
            self.head = head

    def _restart(self) -> None:
        """Let everything wait again."""
        self._cancel_runs()
        self.runs.clear()
        self.rules, _ = merge_rules.restart(self.rules)

    def _handle_error(self, error: Exception, features: List[int]) -> State:
        """Have these features tried again; pause the batch if that is useless or was tried often enough."""
        self._restart()
        self.merging = []
        if isinstance(error, merge_tips.NotMerged):  # the next step follows the branch
            return self.driver.store.require()
        self.errors = len(DELAYS_S) if isinstance(error, RefusedError) else self.errors + 1
        state = self.driver.store.require()
        numbers = ", ".join(str(index + 1) for index in features)
        reason = f"merging feature {numbers} failed: {str(error) or type(error).__name__}"
        if self.errors >= len(DELAYS_S):
            return self.driver.pause_batch(reason)
        self.driver.display.event("note", f"{reason} The merge is tried again.")
        self.futures[self.builder.submit(self.stopped.wait, DELAYS_S[self.errors])] = NO_RUN
        return state

    def _describe_queue(self) -> State:
        """Return what the state has of the queue."""
        groups = [
            {"features": list(group.features), "since": self.runs[group.number].since, "splits": group.splits}
            for group in self.rules.groups
            if group.number in self.runs
        ]
        return {"groups": groups, "judged": self.rules.judged, "blamed": self.rules.blamed}

    def _record(self, state: State) -> State:
        """Write what the queue does into the state, for displays, if it has changed."""
        queue = self._describe_queue()
        if state["run"].get("queue") == queue:
            return state
        return self.driver.store.update(lambda current: run_transitions.record_queue(current, queue))


def _verified_commit(state: State, index: int) -> str:
    return str(state["run"]["running"][key(index)]["evidence"]["commit"])
