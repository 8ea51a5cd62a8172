"""Transitions of a batch's features: pure functions from a state and an event to a new state.

    pending --start--> active --complete--> completed
                         |----fail, retries left--------> pending   (attempt counted)
                         |----fail, no retry left-------> failed --> dependants skipped (`blocked by N`)
                         |----record_interruption-------> active    (the attempt continues)
    failed, skipped --retry--> pending, with the features they blocked; renews the allowance, never the counter

Every function takes a valid state and returns a new one that shares the unchanged parts; `now` is a time as in the
state. A RefusedError names the next step. `lease` has the transitions of the owner, `run_transitions` those of a run.
"""

from __future__ import annotations

from . import batch_policy, batch_state, blocked_features, lease
from .batch_state import key
from .errors import RefusedError

TYPE_CHECKING = False  # importing `typing` costs a hook more than its work
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence

    from .batch_state import State

EXITS_BEFORE_COUNTED = 2  # exits without done or failed that use up an attempt
INTERRUPTIONS_BEFORE_PAUSE = 5


def require_in_progress(state: State) -> None:
    """Raise RefusedError unless the batch is in progress."""
    if state["status"] == "paused":
        raise RefusedError(
            f"Batch {state['batch_id']} is paused: {state['pause']['reason'].rstrip(' .')}. The user resumes it "
            "with `/batch-implement --resume` in Claude Code.",
            "batch-waiting",
        )
    if not batch_state.is_live(state):
        raise RefusedError(
            f"Batch {state['batch_id']} is over ({state['status']}): no feature is left. Report that and stop.",
            "batch-over",
        )


def require_active(state: State) -> int:
    """Return the index of the open feature. Raise RefusedError if none is open."""
    index = batch_state.active_index(state)
    if index is None:
        require_in_progress(state)
        last = batch_state.last_closed_index(state)
        closed = ""
        if last is not None:
            closed = f"; the last one closed is feature {last + 1} ({batch_state.feature_status(state, last)})"
        if lease.is_worker_at_work(state):
            step = "Your part ends here: answer in at most three lines what was done."
        else:
            step = "Open the next one with `/auto-implement` (its first step runs `batchctl start`)."
        raise RefusedError(f"No feature is open{closed}. {step}", "no-feature-open")
    return index


def start(
    state: State, now: str, base_commit: Optional[str], branch: Optional[str] = None, uncommitted: Sequence[str] = ()
) -> State:
    """Open the next runnable feature at `base_commit` on `branch` (None: detached HEAD, or no git).

    `uncommitted` are the paths that are modified or untracked now. An open feature stays as it is, for the next worker.
    Raise RefusedError if no feature can run.
    """
    require_in_progress(state)
    if state["active"]:
        return lease.free_worker(state)
    index = batch_state.next_runnable(state)
    if index is None:
        raise RefusedError(
            "No feature can run: the rest waits for features that `batchctl run` works on. See `batchctl status`.",
            "no-feature-open",
        )
    active = {
        "feature_index": index,
        "attempt": batch_state.attempts_used(state, index) + 1,
        "phase": batch_state.PHASES[0],
        "base_commit": base_commit,
        "branch": branch,
        "started_at": now,
        "interruptions": 0,
        **({"uncommitted": list(uncommitted)} if uncommitted else {}),
    }
    return batch_state.with_derived_fields(with_start_time({**state, "active": active}, index, now))


def with_start_time(state: State, index: int, now: str) -> State:
    """Return `state` with the start time of feature `index`; a retry keeps that of the first attempt."""
    timing = {"started_at": now, **state["timings"].get(key(index), {})}
    return {**state, "timings": {**state["timings"], key(index): timing}}


def move_to_branch(state: State, branch: Optional[str], base_commit: Optional[str]) -> State:
    """Continue the batch on another branch, an open feature from `base_commit`. None, and the same branch, change
    nothing.
    """
    if branch is None or branch == state.get("branch"):
        return state
    active = state["active"] and {**state["active"], "branch": branch, "base_commit": base_commit}
    return {**state, "branch": branch, "active": active}


def move_base(state: State, commit: str) -> State:
    """Record that the open feature's commits are on top of `commit` now. Raise RefusedError when none is open."""
    require_active(state)
    return {**state, "active": {**state["active"], "base_commit": commit}}


def set_phase(state: State, phase: str) -> State:
    """Record the phase of the open feature, one of `batch_state.PHASES`. Raise RefusedError for another."""
    require_active(state)
    if phase not in batch_state.PHASES:
        raise RefusedError(f"Unknown phase {phase!r}. The phases are: {', '.join(batch_state.PHASES)}.", "usage")
    return {**state, "active": {**state["active"], "phase": phase}}


def is_later_phase(phase: str, than: str) -> bool:
    """Return whether `phase` comes after the phase `than` in an attempt."""
    return batch_state.PHASE_RANKS[phase] > batch_state.PHASE_RANKS.get(than, 0)


def advance_phase(state: State, phase: str) -> State:
    """Record that the open feature is in `phase`. Return the same state without one, or if a later phase has begun."""
    if not state["active"] or not is_later_phase(phase, state["active"]["phase"]):
        return state
    return set_phase(state, phase)


def complete(state: State, now: str, evidence: State) -> State:
    """Complete the open feature with `evidence`, which the caller collected."""
    index = require_active(state)
    changed = close_completed({**state, "active": None}, index, now, evidence)
    if evidence.get("commit") and "no_change" not in evidence:
        record = {"success": True, "timestamp": now, "sha": evidence["commit"], "branch": evidence.get("branch")}
        changed = record_git_operation(changed, index, "commit", {**record, "commits": evidence.get("commits", [])})
    return batch_state.with_derived_fields(changed)


def fail(
    state: State,
    now: str,
    error: str,
    failure_class: str,
    *,
    permanent: bool = False,
    snapshot: Optional[str] = None,
    retry_after: Optional[str] = None,
) -> State:
    """Count the open feature's attempt as failed with `error`.

    The feature becomes pending while it and the batch have retries left, unless `permanent`; else it is failed and its
    dependants are skipped. Another attempt makes little sense before `retry_after`. Too many failures in a row pause
    the batch.
    """
    index = require_active(state)
    name = key(index)
    used = state["active"]["attempt"]
    policy = batch_policy.feature_policy(state, index)
    in_a_row = state.get("failures_in_a_row", 0) + 1
    used_attempts = {**state["retry_attempts"], name: used}
    granted = state.get("retry_allowance", {})
    retries_in_all = sum(max(0, count - 1 - granted.get(at, 0)) for at, count in used_attempts.items())
    allowed = policy["max_retries"] + granted.get(name, 0)
    is_last = permanent or used > allowed or retries_in_all >= policy["max_retries_total"]
    changed = {
        **state,
        "active": None,
        "retry_attempts": used_attempts,
        "failures_in_a_row": in_a_row,
        **_with_attempt(
            state,
            now,
            error,
            failure_class,
            snapshot=snapshot,
            retry_after=None if is_last else retry_after,
            **({"permanent": True} if permanent else {}),
        ),
    }
    if is_last:
        changed = close_failed(changed, index, now, error, retry_count=used, failure_class=failure_class)
        changed = blocked_features.skip_dependants(changed, [index], now)
    changed = batch_state.with_derived_fields(changed)
    if changed["status"] == "in_progress" and in_a_row >= policy["max_failures_in_a_row"]:
        attempts = "attempt" if in_a_row == 1 else "attempts"
        reason = f"{in_a_row} {attempts} failed in a row; the last error: {error[:200]}"
        changed = {**pause(changed, now, reason), "failures_in_a_row": 0}
    return changed


def find_failed_attempt(state: State) -> Optional[int]:
    """Return the index of the feature that was worked on last, if its attempt failed and it was not given up on since;
    None while a feature is open.
    """
    index = None if state["active"] else lease.last_worked_index(state)
    attempts = state.get("attempts", {}).get(key(index), ()) if index is not None else ()
    if index is None or not attempts or attempts[-1].get("permanent"):
        return None
    is_last = attempts[-1]["attempt"] == batch_state.attempts_used(state, index)
    is_attempt = bool(state.get("attempt_of")) and index in batch_state.failed_indices(state)
    is_pending = index in set(batch_state.pending_indices(state))
    return index if is_last and (is_attempt or is_pending) else None


def give_up(state: State, now: str) -> State:
    """Fail the feature of `find_failed_attempt` for good: another attempt cannot help. Raise RefusedError without."""
    index = find_failed_attempt(state)
    if index is None:
        require_active(state)
        raise RefusedError("A feature is open: `batchctl fail` ends its attempt.", "no-feature-open")
    *before, last = state["attempts"][key(index)]
    attempts = {**state["attempts"], key(index): [*before, {**last, "permanent": True, "retry_after": None}]}
    changed = {**state, "attempts": attempts}
    if index not in batch_state.failed_indices(state):
        fields = {"retry_count": last["attempt"], "failure_class": last["failure_class"]}
        changed = close_failed(changed, index, now, last["error_message"], **fields)
        changed = blocked_features.skip_dependants(changed, [index], now)
    return batch_state.with_derived_fields(changed)


def close_completed(state: State, index: int, now: str, evidence: State) -> State:
    """Return `state` with feature `index` completed, without derived fields. `evidence` adds to the recorded."""
    known = state["evidence"].get(key(index), {})
    return {
        **state,
        "completed_features": [*state["completed_features"], index],
        "evidence": {**state["evidence"], key(index): {**known, **evidence, "timestamp": now}},
        "failures_in_a_row": 0,
        "timings": _with_end_time(state, index, now),
    }


def close_failed(state: State, index: int, now: str, error: str, **fields: Any) -> State:
    """Return `state` with feature `index` failed, without derived fields. `fields` add to the entry."""
    entry = {"feature_index": index, "error_message": error, "timestamp": now, **fields}
    return {
        **state,
        "failed_features": [*state["failed_features"], entry],
        "timings": _with_end_time(state, index, now),
    }


def record_interruption(state: State, now: str, words: str, *, counted: bool) -> State:
    """Record that a worker exited without reporting done or failed; `words` are its last output.

    `counted` is False when the worker is not to blame (an API error, a limit). The attempt continues with the next
    worker. Repeated exits fail the attempt (counted) or pause the batch (not counted), so that neither repeats for
    ever.
    """
    require_active(state)
    exits = state["active"].get("interruptions", 0) + 1
    if counted and exits >= EXITS_BEFORE_COUNTED:
        error = f"The worker exited {exits} times without `batchctl done` or `batchctl fail`. Its last output: {words}"
        return fail(state, now, error, "no_verdict")
    changed = {**state, "active": {**state["active"], "interruptions": exits}}
    if not counted and exits >= INTERRUPTIONS_BEFORE_PAUSE:
        reason = f"the worker was interrupted {exits} times in one attempt; the last time: {words[:200]}"
        return pause(changed, now, reason)
    return changed


def record_snapshot(state: State, index: int, snapshot: str) -> State:
    """Record the snapshot that has the leftovers of feature `index`'s last attempt."""
    *before, last = state["attempts"][key(index)]
    return {**state, "attempts": {**state["attempts"], key(index): [*before, {**last, "snapshot": snapshot}]}}


def decide(state: State, now: str, question: str, answer: str) -> State:
    """Record the default answer to a question, with the open feature."""
    entry = {"feature_index": batch_state.active_index(state), "question": question, "answer": answer, "timestamp": now}
    return {**state, "decisions": [*state.get("decisions", ()), entry]}


def skip(state: State, now: str, index: int, reason: str, *, snapshot: Optional[str] = None) -> State:
    """Skip feature `index` and its dependants. An open feature's attempt ends uncounted."""
    _require_index(state, index)
    if index in batch_state.running_indices(state):
        raise RefusedError(
            f"Feature {index + 1} is running in `batchctl run`. Run `batchctl pause`, which lets running features end, "
            "then skip it.",
            "skip-retry-add",
        )
    status = batch_state.feature_status(state, index)
    if status not in ("pending", "running"):
        raise RefusedError(f"Feature {index + 1} is {status} already: there is nothing to skip.", "skip-retry-add")
    entry = {"feature_index": index, "reason": reason, "timestamp": now}
    changed = {
        **state,
        "skipped_features": [*state["skipped_features"], entry],
        "timings": _with_end_time(state, index, now),
    }
    if status == "running":
        changed.update(active=None, **_with_attempt(state, now, f"skipped: {reason}", "skipped", snapshot=snapshot))
    return batch_state.with_derived_fields(blocked_features.skip_dependants(changed, [index], now))


def retry(state: State, indices: Sequence[int]) -> State:
    """Make failed, skipped or completed features pending again, with a full allowance, and the features they blocked.

    The counters stay. A batch that ended is in progress again. Raise RefusedError for other features.
    """
    requested: List[int] = list(dict.fromkeys(indices))
    for index in requested:
        _require_index(state, index)
        status = batch_state.feature_status(state, index)
        if status not in ("failed", "skipped", "done"):
            raise RefusedError(
                f"Feature {index + 1} is {status}: only one that is done, failed or skipped can be retried.",
                "skip-retry-add",
            )
    reopened: State = {
        name: [entry for entry in state[name] if entry["feature_index"] not in requested]
        for name in ("failed_features", "skipped_features")
    }
    completed = set(state["completed_features"]).intersection(requested)
    reopened["completed_features"] = [index for index in state["completed_features"] if index not in completed]
    reopened["evidence"] = {name: proof for name, proof in state["evidence"].items() if int(name) not in completed}
    changed = blocked_features.free_dependants(
        {**state, **reopened, "failures_in_a_row": 0}, requested, state["updated_at"]
    )
    still_closed = batch_state.failed_indices(changed) | batch_state.skipped_indices(changed)
    for index in sorted(still_closed.intersection(requested)):
        needs = still_closed.intersection(state["feature_dependencies"].get(key(index), ()))
        numbers = [str(blocker + 1) for blocker in sorted(needs)]
        raise RefusedError(
            f"Feature {index + 1} needs {', '.join(numbers)}, which did not succeed. Retry that too: `batchctl "
            f"retry {' '.join(numbers)} {index + 1}`.",
            "skip-retry-add",
        )
    allowance = dict(state.get("retry_allowance", {}))
    closed = batch_state.failed_indices(state) | batch_state.skipped_indices(state) | completed
    for index in closed - still_closed:
        allowance[key(index)] = max(allowance.get(key(index), 0), batch_state.attempts_used(state, index))
    return batch_state.with_derived_fields({**changed, "retry_allowance": allowance})


def add(
    state: State,
    now: str,
    features: Sequence[str],
    *,
    details: Optional[State] = None,
    needs: Optional[State] = None,
    order: Sequence[int] = (),
    issues: Sequence[Optional[int]] = (),
) -> State:
    """Append features to a batch, also to one that ended.

    `details` and `needs` are by the keys of the new features, `order` is the order of all (empty: the new ones come
    last), `issues` are the issue numbers in a batch of issues. Dependants of a failed or skipped feature are skipped.
    Raise RefusedError for a feature that is in the batch and not done (its text, section and description), and for
    another kind of source.
    """
    done = set(state["completed_features"])  # a feature that is done can be done anew
    known = {
        batch_state.identify_feature(text, state.get("details", {}).get(key(index), {})): index
        for index, text in enumerate(state["features"])
        if index not in done
    }
    for index, text in enumerate(features, state["total_features"]):
        twin = known.get(batch_state.identify_feature(text, (details or {}).get(key(index), {})))
        if twin is not None:
            raise RefusedError(
                f"Feature {twin + 1} of the batch says the same: {text[:80]!r}. Nothing was added.", "skip-retry-add"
            )
    numbers = state.get("issue_numbers")
    new_numbers = [number for number in issues if number is not None]
    if (numbers is not None) != bool(new_numbers) or len(new_numbers) not in (0, len(features)):
        kinds = ("issues", "a list") if numbers is not None else ("a list", "issues")
        raise RefusedError(
            f"The features of this batch come from {kinds[0]}; others from {kinds[1]} cannot be added to it. Start a "
            "new batch for them when this one is over.",
            "skip-retry-add",
        )
    total = state["total_features"] + len(features)
    old_order = state["feature_order"]
    new_order = list(order) or ([*old_order, *range(state["total_features"], total)] if old_order else [])
    changed = {
        **state,
        "features": [*state["features"], *features],
        "total_features": total,
        "feature_order": new_order,
        "feature_dependencies": {**state["feature_dependencies"], **(needs or {})},
        "details": {**state.get("details", {}), **(details or {})},
        "issue_numbers": [*numbers, *new_numbers] if numbers is not None else None,
    }
    blockers = sorted(batch_state.failed_indices(changed) | batch_state.skipped_indices(changed))
    return batch_state.with_derived_fields(blocked_features.skip_dependants(changed, blockers, now))


def pause(state: State, now: str, reason: str, resume_after: Optional[str] = None) -> State:
    """Pause the batch; an open feature stays open, and a pause keeps its first reason. Raise RefusedError if the batch
    ended.
    """
    if not batch_state.is_live(state):
        raise RefusedError(
            f"Batch {state['batch_id']} is over ({state['status']}): there is nothing to pause.", "batch-over"
        )
    if state["status"] == "paused":
        return state
    changed = {**state, "status": "paused", "pause": {"reason": reason, "since": now, "resume_after": resume_after}}
    changed["paused_at_feature_index"] = min(state["current_index"], state["total_features"] - 1)
    return changed


def pause_for_user(state: State, now: str, failure_class: Optional[str], message: str) -> State:
    """Pause the batch because an attempt failed in a way that only the user can fix."""
    return pause(state, now, f"user action required ({failure_class}): {message[:300]}")


def unpause(state: State) -> State:
    """Resume a paused batch; one in progress stays as it is. Raise RefusedError if the batch ended."""
    if not batch_state.is_live(state):
        raise RefusedError(
            f"Batch {state['batch_id']} is over ({state['status']}). `batchctl retry` brings failed features back, "
            "`batchctl add` adds new ones.",
            "batch-over",
        )
    if state["status"] == "in_progress":
        return state
    return batch_state.with_derived_fields({**state, "status": "in_progress", "pause": None, "failures_in_a_row": 0})


def record_git_operation(state: State, index: int, operation: str, record: State) -> State:
    """Record a `commit`, `push` or `pr` of feature `index`."""
    _require_index(state, index)
    known = state["git_operations"]
    operations = {**known.get(key(index), {}), operation: record}
    return {**state, "git_operations": {**known, key(index): operations}}


def _require_index(state: State, index: int) -> None:
    if not 0 <= index < state["total_features"]:
        raise RefusedError(
            f"There is no feature {index + 1}: the batch has {state['total_features']}. See `batchctl status`.",
            "skip-retry-add",
        )


def _with_attempt(state: State, now: str, error: str, failure_class: str, **fields: Any) -> State:
    """Return the attempts with that of the open feature, which ended. `fields` add to the entry."""
    name, attempt, known = key(state["active"]["feature_index"]), state["active"]["attempt"], state.get("attempts", {})
    entry = {
        "attempt": attempt, "error_message": error, "failure_class": failure_class, "timestamp": now, "snapshot": None,
        "retry_after": None, **fields,
    }  # fmt: skip
    return {"attempts": {**known, name: [*known.get(name, ()), entry][-batch_state.MAX_ATTEMPTS_KEPT :]}}


def _with_end_time(state: State, index: int, now: str) -> State:
    timings: State = state.get("timings", {})
    return {**timings, key(index): {**timings.get(key(index), {}), "ended_at": now}}
