"""What can happen to the features of a batch: pure functions from a state and an event to a new state, or an error.

    pending --start--> active --complete--> completed
                         |----fail, allowance left--> pending   (attempt counted)
                         |----fail, none left-------> failed --> dependants skipped (`blocked by N`)
                         |----leave (limit, crash)--> active    (the attempt goes on, nothing counted)
    failed, skipped --retry--> pending (and what they had blocked); it renews the allowance, never the counter

Every function takes a valid state, leaves it untouched and returns another that shares what stayed the same. `now` is
a time as the state holds it. What cannot be granted is a `Refused` whose message names the next step. Who works on
the batch is in `sessions`.
"""

from __future__ import annotations

from . import batch_state, blocking, policies
from .batch_state import key
from .errors import RefusedError

TYPE_CHECKING = False  # `typing` costs a hook more than the work it does
if TYPE_CHECKING:
    from typing import List, Optional, Sequence

    from .batch_state import State

EXITS_BEFORE_COUNTED = 2  # a worker that leaves without a verdict this often in one attempt has used it up
INTERRUPTIONS_BEFORE_PAUSE = 5


def require_in_progress(state: State) -> None:
    """Raise `Refused` unless features can be worked on: the batch is in progress."""
    if state["status"] == "paused":
        raise RefusedError(
            f"Batch {state['batch_id']} is paused: {state['pause']['reason'].rstrip(' .')}. A person goes on with "
            "`/batch-implement --resume` in Claude Code.",
            "batch-waiting",
        )
    if not batch_state.is_live(state):
        raise RefusedError(
            f"Batch {state['batch_id']} is over ({state['status']}): no feature is left. Report that and stop.",
            "batch-over",
        )


def require_active(state: State) -> int:
    """Index of the open feature; `Refused` when none is open."""
    index = batch_state.active_index(state)
    if index is None:
        require_in_progress(state)
        last = batch_state.last_closed_index(state)
        closed = "" if last is None else f"; feature {last + 1}, the last one that was, {describe_status(state, last)}"
        raise RefusedError(
            f"No feature is open{closed}. Open the next one with `/auto-implement` (its first step runs `batchctl "
            "start`).",
            "no-feature-open",
        )
    return index


def describe_status(state: State, index: int) -> str:
    """What feature `index` is, as the rest of a sentence that begins with it: `is open`, `has failed`."""
    said = {"pending": "is still to be done", "active": "is open", "completed": "is done", "failed": "has failed",
            "skipped": "is skipped"}  # fmt: skip
    return said[batch_state.feature_status(state, index)]


def start(state: State, now: str, base_commit: Optional[str], branch: Optional[str] = None) -> State:
    """Open the next runnable feature at `base_commit` (HEAD, or None) on `branch` (None: detached, or no git). A
    feature that is open already stays as it is.
    """
    require_in_progress(state)
    if state["active"]:
        return state
    index = batch_state.next_runnable(state)
    if index is None:
        raise RefusedError(
            "No feature can run: what is left waits for what `batchctl run` has under way. See `batchctl status`.",
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
    }
    timing = {"started_at": now, **state["timings"].get(key(index), {})}
    return batch_state.with_derived_fields(
        {**state, "active": active, "timings": {**state["timings"], key(index): timing}}
    )


def set_phase(state: State, phase: str) -> State:
    """Note what the worker is doing now: one of `model.PHASES`."""
    require_active(state)
    if phase not in batch_state.PHASES:
        raise RefusedError(f"Unknown phase {phase!r}. The phases are: {', '.join(batch_state.PHASES)}.", "usage")
    return {**state, "active": {**state["active"], "phase": phase}}


def complete(state: State, now: str, evidence: State) -> State:
    """Close the open feature as completed with `evidence`, which the caller has taken and which replaces none of its
    review.
    """
    index = require_active(state)
    known = state["evidence"].get(key(index), {})
    changed = {
        **state,
        "active": None,
        "completed_features": [*state["completed_features"], index],
        "evidence": {**state["evidence"], key(index): {**known, **evidence, "timestamp": now}},
        "failures_in_a_row": 0,
        "timings": _with_end_time(state, index, now),
    }
    sha = evidence.get("commit")
    if sha and "no_change" not in evidence:
        branch = evidence.get("branch")
        changed = record_git_operation(
            changed, index, "commit",
            {"success": True, "timestamp": now, "sha": sha, "branch": branch, "commits": evidence.get("commits", [])},
        )  # fmt: skip
    return batch_state.with_derived_fields(changed)


def fail(
    state: State,
    now: str,
    error: str,
    failure_class: str,
    *,
    permanent: bool = False,
    stash: Optional[str] = None,
    retry_after: Optional[str] = None,
) -> State:
    """End the open feature's attempt as failed with `error`.

    The attempt is counted. The feature goes back to pending while its allowance and the batch's last, unless
    `permanent`; else it is failed and everything that needs it is skipped. `retry_after` is the time before which
    another attempt makes little sense. Too many failures in a row pause the batch.
    """
    index = require_active(state)
    name = key(index)
    used = state["active"]["attempt"]
    policy = policies.feature_policy(state, index)
    in_a_row = state.get("failures_in_a_row", 0) + 1
    changed = {
        **state,
        "active": None,
        "retry_attempts": {**state["retry_attempts"], name: used},
        "failures_in_a_row": in_a_row,
        **_with_attempt(state, now, error, failure_class, stash, retry_after, permanent=permanent),
    }
    granted = state.get("retry_allowance", {})
    retries_in_all = sum(max(0, count - 1 - granted.get(at, 0)) for at, count in changed["retry_attempts"].items())
    allowed = policy["max_retries"] + granted.get(name, 0)
    if permanent or used > allowed or retries_in_all >= policy["max_retries_total"]:
        entry = {
            "feature_index": index,
            "error_message": error,
            "timestamp": now,
            "retry_count": used,
            "failure_class": failure_class,
        }
        changed["failed_features"] = [*state["failed_features"], entry]
        changed["timings"] = _with_end_time(state, index, now)
        changed = blocking.skip_dependants(changed, [index], now)
    changed = batch_state.with_derived_fields(changed)
    if changed["status"] == "in_progress" and in_a_row >= policy["max_failures_in_a_row"]:
        reason = f"{in_a_row} attempt{'s' if in_a_row > 1 else ''} failed in a row; the last one said: {error[:200]}"
        changed = {**pause(changed, now, reason), "failures_in_a_row": 0}
    return changed


def record_interruption(state: State, now: str, words: str, *, counted: bool) -> State:
    """Note that a worker ended without a verdict; `words` are its last ones.

    `counted` is False when that was not its fault (an API error, a limit). The attempt goes on with the next worker,
    which finds what lies there. Left too often it is a failed attempt (counted) or a pause (not counted): neither can
    go on for ever.
    """
    require_active(state)
    left = state["active"].get("interruptions", 0) + 1
    if counted and left >= EXITS_BEFORE_COUNTED:
        return fail(
            state,
            now,
            f"The worker ended {left} times without `batchctl done` or `batchctl fail`. It said: {words}",
            "no_verdict",
        )
    changed = {**state, "active": {**state["active"], "interruptions": left}}
    if not counted and left >= INTERRUPTIONS_BEFORE_PAUSE:
        return pause(
            changed, now, f"the worker was interrupted {left} times in one attempt; the last time: {words[:200]}"
        )
    return changed


def record_stash(state: State, index: int, stash: str) -> State:
    """Note in which stash the leftovers of feature `index`'s last attempt are."""
    *before, last = state["attempts"][key(index)]
    return {**state, "attempts": {**state["attempts"], key(index): [*before, {**last, "stash": stash}]}}


def decide(state: State, now: str, question: str, answer: str) -> State:
    """Record a question that was answered by a default, with the feature that was open."""
    entry = {"feature_index": batch_state.active_index(state), "question": question, "answer": answer, "timestamp": now}
    return {**state, "decisions": [*state.get("decisions", ()), entry]}


def skip(state: State, now: str, index: int, reason: str, *, stash: Optional[str] = None) -> State:
    """Leave feature `index` out, and with it everything that needs it. An open feature's attempt ends uncounted."""
    _require_index(state, index)
    condition = batch_state.feature_status(state, index)
    if condition not in ("pending", "active"):
        raise RefusedError(
            f"Feature {index + 1} {describe_status(state, index)} already: there is nothing to skip.", "skip-retry-add"
        )
    if index in batch_state.running_indices(state):
        raise RefusedError(
            f"Feature {index + 1} is under way in `batchctl run`. `batchctl pause` lets what is under way end, and "
            "then skips are taken.",
            "skip-retry-add",
        )
    entry = {"feature_index": index, "reason": reason, "timestamp": now}
    changed = {
        **state,
        "skipped_features": [*state["skipped_features"], entry],
        "timings": _with_end_time(state, index, now),
    }
    if condition == "active":
        changed.update(active=None, **_with_attempt(state, now, f"skipped: {reason}", "skipped", stash))
    return batch_state.with_derived_fields(blocking.skip_dependants(changed, [index], now))


def retry(state: State, indices: Sequence[int]) -> State:
    """Bring failed or skipped features back to pending, with a full allowance, and what they had blocked.

    Other features are refused. The counters stay. A batch that was over is in progress again.
    """
    wanted: List[int] = list(dict.fromkeys(indices))
    for index in wanted:
        _require_index(state, index)
        if batch_state.feature_status(state, index) not in ("failed", "skipped"):
            raise RefusedError(
                f"Feature {index + 1} {describe_status(state, index)}: only a failed or skipped one can be retried.",
                "skip-retry-add",
            )
    back = blocking.with_blocked_dependants(state, wanted)
    settled = batch_state.failed_indices(state) | batch_state.skipped_indices(state)
    while True:  # what stays out keeps out what needs it, all the way down
        bars = settled - back
        barred = {index for index in back if bars.intersection(state["feature_dependencies"].get(key(index), ()))}
        for index in sorted(barred.intersection(wanted)):
            blockers = bars.intersection(state["feature_dependencies"][key(index)])
            numbers = [str(blocker + 1) for blocker in sorted(blockers)]
            raise RefusedError(
                f"Feature {index + 1} needs {', '.join(numbers)}, which did not succeed. Retry that too: `batchctl "
                f"retry {' '.join(numbers)} {index + 1}`.",
                "skip-retry-add",
            )
        if not barred:
            break
        back -= barred
    allowance = dict(state.get("retry_allowance", {}))
    for index in back:
        allowance[key(index)] = max(allowance.get(key(index), 0), batch_state.attempts_used(state, index))
    changed = {
        **state,
        "failed_features": [entry for entry in state["failed_features"] if entry["feature_index"] not in back],
        "skipped_features": [entry for entry in state["skipped_features"] if entry["feature_index"] not in back],
        "retry_allowance": allowance,
        "failures_in_a_row": 0,
    }
    return batch_state.with_derived_fields(changed)


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
    """Append features to a batch, also to one that was over. A text that is in it already is refused.

    `details` and `needs` are by the new features' keys, `order` is that of all (empty: the new ones come last),
    `issues` their issue numbers where the batch is made of issues. What needs a feature that failed or was skipped is
    skipped.
    """
    known = {" ".join(text.split()).casefold(): index for index, text in enumerate(state["features"])}
    for text in features:
        twin = known.get(" ".join(text.split()).casefold())
        if twin is not None:
            raise RefusedError(
                f"Feature {twin + 1} of the batch says the same: {text[:80]!r}. Nothing was added.", "skip-retry-add"
            )
    numbers = state.get("issue_numbers")
    given = [number for number in issues if number is not None]
    if (numbers is not None) != bool(given) or len(given) not in (0, len(features)):
        kinds = ("issues", "a list") if numbers is not None else ("a list", "issues")
        raise RefusedError(
            f"The features of this batch come from {kinds[0]}; others from {kinds[1]} cannot be added to it. Start a "
            "new batch for them when this one is over.",
            "skip-retry-add",
        )
    total = state["total_features"] + len(features)
    known_order = state["feature_order"]
    following = [*known_order, *range(state["total_features"], total)] if known_order else []
    changed = {
        **state,
        "features": [*state["features"], *features],
        "total_features": total,
        "feature_order": list(order) or following,
        "feature_dependencies": {**state["feature_dependencies"], **(needs or {})},
        "details": {**state.get("details", {}), **(details or {})},
        "issue_numbers": [*numbers, *given] if numbers is not None else None,
    }
    stoppers = sorted(batch_state.failed_indices(changed) | batch_state.skipped_indices(changed))
    return batch_state.with_derived_fields(blocking.skip_dependants(changed, stoppers, now))


def pause(state: State, now: str, reason: str, resume_after: Optional[str] = None) -> State:
    """Let the batch wait, for `reason`. The open feature stays open. A batch that is over is refused; a pause keeps
    its first reason.
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


def unpause(state: State) -> State:
    """Go on after a pause; a batch in progress stays as it is, one that is over is refused."""
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
    """Note what git or the code host was asked to do for feature `index`: `commit`, `push` or `pr`."""
    _require_index(state, index)
    known = state["git_operations"]
    operations = {**known.get(key(index), {}), operation: record}
    return {**state, "git_operations": {**known, key(index): operations}}


def record_review(state: State, words: str) -> State:
    """Keep what the reviewer said of the open feature's diff."""
    name, known = key(require_active(state)), state["evidence"]
    return {**state, "evidence": {**known, name: {**known.get(name, {}), "review": words[:2000]}}}


def _require_index(state: State, index: int) -> None:
    if not 0 <= index < state["total_features"]:
        raise RefusedError(
            f"There is no feature {index + 1}: the batch has {state['total_features']}. See `batchctl status`.",
            "skip-retry-add",
        )


def _with_attempt(
    state: State,
    now: str,
    error: str,
    failure_class: str,
    stash: Optional[str],
    retry_after: Optional[str] = None,
    *,
    permanent: bool = False,
) -> State:
    active = state["active"]
    name = key(active["feature_index"])
    entry = {
        "attempt": active["attempt"],
        "error_message": error,
        "failure_class": failure_class,
        "timestamp": now,
        "stash": stash,
        "retry_after": retry_after,
    }
    if permanent:
        entry["permanent"] = True
    known = state.get("attempts", {})
    return {"attempts": {**known, name: [*known.get(name, ()), entry][-batch_state.MAX_ATTEMPTS_KEPT :]}}


def _with_end_time(state: State, index: int, now: str) -> State:
    timings: State = state["timings"]
    return {**timings, key(index): {**timings.get(key(index), {}), "ended_at": now}}
