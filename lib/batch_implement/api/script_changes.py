"""Changes that scripts assert through the library interface. Pure functions, as in `core.transitions`.

    record_outcome(state, index, "completed", now)              the asserted outcome of a feature
    next_saved_state(before, normalize_state(state, now), now)  a whole state of a script as the next version

Nobody checks what a script asserts. So `completed` is refused where the policy requires evidence, and with it every
change by which a batch would escape its policy. Elsewhere the evidence says `asserted`.
"""

from __future__ import annotations

from ..base.text import clean
from ..core import batch_policy, batch_state, blocked_features, transitions
from ..core.batch_state import UNKNOWN_ERROR, key
from ..core.errors import RefusedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set

    from ..core.batch_state import State

OUTCOMES = ("completed", "failed")
CONTEXT_THRESHOLD = 150_000  # tokens
BY_INDEX = ("feature_dependencies", *batch_state.INDEXED_FIELDS)

# A script may change these in a saved state although the policy requires evidence. Derived fields are computed anew.
_SCRIPT_FIELDS = frozenset((
    "context_token_estimate", "auto_clear_count", "auto_clear_events", "context_tokens_before_clear",
    "paused_at_feature_index", "git_operations", "retry_attempts", "feature_order", "feature_dependencies",
    "analysis_metadata", "current_index", "revision", "updated_at", "state_file", "total_features",
))  # fmt: skip
_CHECKED_FIELDS = (
    "completed_features",
    "failed_features",
    "skipped_features",
    "status",
    "pause",
)  # by a rule of its own
_FIELD_DEFAULTS = batch_state.new_state("-", ["-"], "")


def required_evidence(state: State, index: Optional[int] = None) -> List[str]:
    """Return the evidence that the policy of the batch, or of feature `index`, requires."""
    policy = state["policy"] if index is None else batch_policy.feature_policy(state, index)
    required: List[str] = list(policy["evidence"])
    return [*required, "verify"] if policy["verify"] and "verify" not in required else required


def requires_evidence(state: State) -> bool:
    """Return whether the policy of the batch or of any feature requires evidence."""
    own = [int(name) for name, details in state.get("details", {}).items() if details.get("policy")]
    return bool(required_evidence(state)) or any(required_evidence(state, index) for index in own)


def with_int_keys(value: Any) -> Any:
    """Return a dict keyed by index with int keys; any other value as it is."""
    if not isinstance(value, dict):
        return value
    return {int(name) if isinstance(name, str) and name.isdecimal() else name: value[name] for name in value}


def require_index(state: State, index: object, what: str = "feature index") -> int:
    """Return `index`. Raises UsageError when no feature has it."""
    if type(index) is not int or not 0 <= index < state["total_features"]:
        raise UsageError(f"Invalid {what}: {index!r} (total: {state['total_features']}).", "library-call")
    return index


def require_outcome(outcome: object, tokens: object, retry_count: object) -> None:
    """Raise UsageError unless the arguments are an outcome, a number of tokens and a count of retries (or None)."""
    if outcome not in OUTCOMES:
        raise UsageError(f"Invalid status: {outcome!r} (must be 'completed' or 'failed').", "library-call")
    require_integer("tokens", tokens, None)
    require_integer("retry_count", 0 if retry_count is None else retry_count)


def require_integer(name: str, value: object, least: Optional[int] = 0) -> None:
    """Raise UsageError unless `value` is an integer of at least `least` (None: any integer)."""
    if type(value) is not int or (least is not None and value < least):
        raise UsageError(
            f"Invalid {name}: {value!r} is not an integer{'' if least is None else f' from {least}'}.", "library-call"
        )


def record_outcome(
    state: State,
    index: int,
    outcome: str,
    now: str,
    *,
    tokens: int = 0,
    error: Optional[str] = None,
    retry_count: Optional[int] = None,
) -> State:
    """Record `outcome` of feature `index` and add `tokens` to the estimate."""
    require_index(state, index)
    changed = {**state, "context_token_estimate": max(0, state.get("context_token_estimate", 0) + tokens)}
    if outcome == "failed":
        return _assert_failed(changed, index, now, error or UNKNOWN_ERROR, retry_count)
    return changed if index in state["completed_features"] else _assert_completed(changed, index, now)


def count_retry(state: State, index: int) -> State:
    """Count one more attempt of feature `index`."""
    name = key(require_index(state, index))
    counts = state["retry_attempts"]
    return batch_state.with_derived_fields({**state, "retry_attempts": {**counts, name: counts.get(name, 0) + 1}})


def record_context_clear(state: State, index: int, tokens: int, now: str) -> State:
    """Record that the context window, with `tokens` in it, was cleared at feature `index` or at the end of the list."""
    if index != state["total_features"]:
        require_index(state, index)
    require_integer("context_tokens_before_clear", tokens)
    event = {"feature_index": index, "context_tokens_before_clear": tokens, "timestamp": now}
    return {
        **state,
        "auto_clear_events": [*state.get("auto_clear_events", ()), event],
        "auto_clear_count": state.get("auto_clear_count", 0) + 1,
        "context_token_estimate": 0,
    }


def next_feature_index(script_state: State, at: int) -> Optional[int]:
    """Return the index of the feature to do next in a script's state whose `current_index` is `at`, or None.

    It is `at` when that feature can be done, else the first one in order that can.
    """
    require_integer("current_index", at, None)
    state = normalize_state(script_state, "")
    if at >= state["total_features"]:
        return None
    done = set(state["completed_features"])
    if (
        at >= 0
        and batch_state.feature_status(state, at) in ("pending", "running", "merging")
        and done.issuperset(state["feature_dependencies"].get(key(at), ()))
    ):
        return at
    return batch_state.next_runnable(state)


def git_operation_record(operation: str, success: bool, now: str, details: State) -> State:
    """Return the record of a commit, a push or a pull request, without the details that are None."""
    if operation not in ("commit", "push", "pr"):
        raise UsageError(f"Invalid operation: {operation!r} (must be 'commit', 'push' or 'pr').", "library-call")
    known = {name: value for name, value in details.items() if value is not None}
    return {**known, "success": bool(success), "timestamp": now}


def pause_for_clear(state: State, index: int, tokens: int, now: str) -> State:
    """Return the fields that change when the batch is paused at a feature because the context window is full."""
    if next(batch_state.pending_indices(state), None) is None and not state["active"]:
        raise RefusedError(f"Batch {state['batch_id']} is over: there is nothing to pause.", "batch-over")
    cleared = record_context_clear(state, index, tokens, now)
    names = ("auto_clear_events", "auto_clear_count", "context_token_estimate")
    return {
        "status": "paused",
        "paused_at_feature_index": index,
        "context_tokens_before_clear": tokens,
        **{name: cleared[name] for name in names},
    }


def clear_notification(batch_id: str, index: int, total: int, tokens: int) -> str:
    """Return the notification of older versions that the context window is full; under 1,000 characters."""
    done = 100 * index // total if total else 0
    return (
        f"Context: {tokens:,} tokens, the threshold is {CONTEXT_THRESHOLD:,}.\n"
        f"Progress: {index}/{total} features ({done}%)\n"
        f"Batch: {batch_id[:100]}\n\n"
        "To resume with an empty context window by hand:\n"
        "  1. Run /clear\n"
        f"  2. Run /batch-implement --resume {batch_id[:100]}\n\n"
        "Completed features stay completed. Claude Code compacts its context by itself: usually you need do nothing.\n"
    )


def normalize_state(script_state: State, now: str) -> State:
    """Return a script's state with derived fields computed and old spellings replaced, with revision + 1.

    Values of the wrong type stay as they are, for the schema to report. Raises UsageError for an invalid revision.
    """
    require_integer("revision", script_state["revision"])
    state = {
        **script_state,
        "schema_version": batch_state.SCHEMA_VERSION,
        "current_index": 0,
        "revision": script_state["revision"] + 1,
    }
    texts = state["features"]
    if isinstance(texts, list):
        state["features"] = [clean(text) if isinstance(text, str) else text for text in texts]
        state["total_features"] = len(texts)
    completed = state["completed_features"]
    if isinstance(completed, list):
        completed = [batch_state.unwrap_index(value) for value in completed]
        indices = list(dict.fromkeys(value for value in completed if type(value) is int))
        state["completed_features"] = indices + [value for value in completed if type(value) is not int]
        state["failed_features"] = _deduplicate_entries(state["failed_features"], set(indices), now)
        if isinstance(state["failed_features"], list):
            failed = [entry.get("feature_index") for entry in state["failed_features"] if isinstance(entry, dict)]
            indices += [index for index in failed if type(index) is int]
        state["skipped_features"] = _deduplicate_entries(state["skipped_features"], set(indices), now)
    if state["status"] == "running":
        state["status"] = "in_progress"
    if state["status"] != "paused":
        state["pause"] = None
    elif not state["pause"]:
        state["pause"] = {"reason": "paused by a script", "since": now, "resume_after": None}
    state["created_at"] = state["created_at"] or now
    for name in ("analysis_metadata", "issue_numbers"):
        state[name] = state[name] or None
    return state


def next_saved_state(before: Optional[State], script_state: State, now: str) -> State:
    """Return the version that follows `before` (None for a first one) when a script saves `script_state`, which is
    normalized and fits the schema.
    """
    state = script_state
    if before is not None:
        state = {**before, **{name: value for name, value in state.items() if before.get(name) != value}}
        if requires_evidence(before):
            _require_policy_kept(before, state)
    known = before["completed_features"] if before else ()
    evidence = {
        name: record for name, record in state["evidence"].items() if not _is_retracted_assertion(state, name, record)
    }
    for index in state["completed_features"]:
        if index not in known:
            _require_no_evidence_needed(state, index)
            evidence[key(index)] = {**evidence.get(key(index), {}), "asserted": True, "timestamp": now}
    if evidence != state["evidence"]:
        state = {**state, "evidence": evidence}
    return blocked_features.update_blocked(state, now)


def _assert_completed(state: State, index: int, now: str) -> State:
    _require_no_evidence_needed(state, index)
    changed = transitions.close_completed(_without_outcome(state, index), index, now, {"asserted": True})
    return blocked_features.update_blocked(changed, now)


def _assert_failed(state: State, index: int, now: str, error: str, retry_count: Optional[int]) -> State:
    if index in state["completed_features"]:
        raise RefusedError(
            f"Feature {index + 1} (index {index}) is completed and stays so: it cannot fail any more. Nothing was "
            "changed.",
            "library-call",
        )
    _require_not_open(state, index)
    message = str(error).encode("utf-8", "replace").decode()  # half of a surrogate pair cannot be written
    fields = {} if retry_count is None else {"retry_count": retry_count}
    changed = transitions.close_failed(_without_outcome(state, index), index, now, message, **fields)
    return blocked_features.update_blocked(changed, now)


def _without_outcome(state: State, index: int) -> State:
    """Return `state` with feature `index` neither failed, skipped nor open."""
    changed = {**state, "timings": state.get("timings", {})}
    for name in ("failed_features", "skipped_features"):
        changed[name] = [entry for entry in state[name] if entry["feature_index"] != index]
    if batch_state.active_index(state) == index:
        changed["active"] = None
    return changed


def _require_no_evidence_needed(state: State, index: int) -> None:
    required = required_evidence(state, index)
    if required:
        raise RefusedError(
            f"Feature {index + 1} (index {index}) was not marked completed: batch {state['batch_id']} asks for "
            f"evidence ({', '.join(required)}), and a script's word is none. Commit the work, then run `batchctl "
            "done`: it takes the evidence and marks the feature. Nothing was changed.",
            "library-call",
        )


def _require_not_open(state: State, index: int) -> None:
    if batch_state.active_index(state) == index and required_evidence(state, index):
        raise RefusedError(
            f"Feature {index + 1} (index {index}) is open: end its attempt with `batchctl fail --reason TEXT`, which "
            "keeps its leftovers in a snapshot. Nothing was changed.",
            "library-call",
        )


def _require_policy_kept(before: State, state: State) -> None:
    """Raise RefusedError when `state` changes what a person set, or what only evidence or a person may change."""
    for name, value in state.items():
        if name in _SCRIPT_FIELDS or name in _CHECKED_FIELDS or name not in _FIELD_DEFAULTS:
            continue
        if value != before.get(name, _FIELD_DEFAULTS[name]):
            raise RefusedError(
                f"{name} of batch {before['batch_id']} is not a script's to change: its policy asks for evidence. "
                "Nothing was changed. Load the state again and leave that field as it is.",
                "library-call",
            )
    completed = before["completed_features"]
    for index in state["completed_features"]:
        if index not in completed:
            _require_no_evidence_needed(before, index)
    failed = batch_state.failed_indices(state)
    for index in failed:
        _require_not_open(before, index)
    undone = set(completed).difference(state["completed_features"]) | (batch_state.failed_indices(before) - failed)
    if undone or state["skipped_features"] != before["skipped_features"]:
        raise RefusedError(
            f"What was completed, failed or skipped in batch {before['batch_id']} is not a script's to change. A "
            "person does it: `batchctl retry N`, `batchctl skip N`. Nothing was changed.",
            "library-call",
        )
    if before["status"] == "paused" and state["status"] != "paused":
        raise RefusedError(
            f"Batch {before['batch_id']} is paused: {before['pause']['reason']}. A person goes on with "
            "`/batch-implement --resume` in Claude Code. Nothing was changed.",
            "batch-waiting",
        )


def _is_retracted_assertion(state: State, name: str, record: State) -> bool:
    """Return whether `record` is the bare assertion of a feature that is not completed any more."""
    return bool(record.get("asserted")) and int(name) not in state["completed_features"]


def _deduplicate_entries(entries: Any, excluded: Set[int], now: str) -> Any:
    """Return the last entry of each feature that is not in `excluded`, each with a message and a time."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return entries
    kept: Dict[Any, State] = {}
    for position, entry in enumerate(entries):
        index = entry.get("feature_index")
        name = index if type(index) is int else f"odd {position}"
        if name in excluded:
            continue
        kept.pop(name, None)
        kept[name] = {**entry, "timestamp": entry.get("timestamp") or now}
        if "reason" not in entry:
            kept[name]["error_message"] = entry.get("error_message") or UNKNOWN_ERROR
    return list(kept.values())
