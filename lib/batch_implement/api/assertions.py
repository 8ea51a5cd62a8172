"""What a script says of a batch through the library interface (lib/batch_state_manager.py): pure functions, as in
`transitions`.

    progress(state, index, "completed", now)    a feature's outcome, asserted
    tidied(given, now); saved(before, given, now)    a whole state, as a script holds it, as the next version

A script asserts; nobody checks it. So `completed` is Refused where the policy asks for evidence, and with it every
change by which such a batch would escape what a person set. On any other batch the evidence says `asserted`.
"""

from __future__ import annotations

from ..base.text import clean
from ..core import batch_state, blocking, policies
from ..core.batch_state import key
from ..core.errors import RefusedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set

    from ..core.batch_state import State

UNKNOWN_ERROR = "Unknown error"
OUTCOMES = ("completed", "failed")
CONTEXT_THRESHOLD = 150_000  # tokens
BY_INDEX = ("feature_dependencies", *batch_state.INDEXED_FIELDS)

# What a script may change in a saved state although the policy asks for evidence. What is derived is worked out anew.
_FREE = frozenset((
    "context_token_estimate", "auto_clear_count", "auto_clear_events", "context_tokens_before_clear",
    "paused_at_feature_index", "git_operations", "retry_attempts", "feature_order", "feature_dependencies",
    "analysis_metadata", "current_index", "revision", "updated_at", "state_file", "total_features",
))  # fmt: skip
# What has a rule of its own in `_refuse_escape`.
_RULED = ("completed_features", "failed_features", "skipped_features", "status", "pause")
_OURS = batch_state.new_state("-", ["-"], "")  # a field that a state lacks has this value


def asked_for(state: State, index: Optional[int] = None) -> List[str]:
    """The evidence that the policy asks for (feature `index`'s own included): none when it trusts the caller."""
    policy = state["policy"] if index is None else policies.feature_policy(state, index)
    asked: List[str] = list(policy["evidence"])
    return [*asked, "verify"] if policy["verify"] and "verify" not in asked else asked


def asks(state: State) -> bool:
    """Whether the policy of the batch, or of any feature, asks for evidence."""
    own = [int(name) for name, said in state.get("details", {}).items() if said.get("policy")]
    return bool(asked_for(state)) or any(asked_for(state, index) for index in own)


def int_keys(value: Any) -> Any:
    """A dict by index with ints for the indices that are texts; anything else as it is."""
    if not isinstance(value, dict):
        return value
    return {int(name) if isinstance(name, str) and name.isdecimal() else name: value[name] for name in value}


def check_index(state: State, index: object, what: str = "feature index") -> int:
    """`index` when it is that of a feature, else Misuse."""
    if type(index) is not int or not 0 <= index < state["total_features"]:
        raise UsageError(f"Invalid {what}: {index!r} (total: {state['total_features']}).", "library-call")
    return index


def check_outcome(outcome: object, tokens: object, retry_count: object) -> None:
    """Misuse unless these can be a feature's outcome, a number of tokens to add and a count of retries (or None)."""
    if outcome not in OUTCOMES:
        raise UsageError(f"Invalid status: {outcome!r} (must be 'completed' or 'failed').", "library-call")
    check_number("tokens", tokens, None)
    check_number("retry_count", 0 if retry_count is None else retry_count)


def check_number(name: str, value: object, least: Optional[int] = 0) -> None:
    """Misuse unless `value` is a whole number from `least` (None: any)."""
    if type(value) is not int or (least is not None and value < least):
        raise UsageError(
            f"Invalid {name}: {value!r} is no whole number{'' if least is None else f' from {least}'}.", "library-call"
        )


def progress(
    state: State,
    index: int,
    outcome: str,
    now: str,
    *,
    tokens: int = 0,
    error: Optional[str] = None,
    retry_count: Optional[int] = None,
) -> State:
    """Feature `index` ended as `outcome`, after `tokens` more in the window."""
    check_index(state, index)
    changed = {**state, "context_token_estimate": max(0, state.get("context_token_estimate", 0) + tokens)}
    if outcome == "failed":
        return _failed(changed, index, now, error or UNKNOWN_ERROR, retry_count)
    return changed if index in state["completed_features"] else _completed(changed, index, now)


def count_retry(state: State, index: int) -> State:
    """One more attempt of feature `index` is used up."""
    name = key(check_index(state, index))
    counts = state["retry_attempts"]
    return batch_state.with_derived_fields({**state, "retry_attempts": {**counts, name: counts.get(name, 0) + 1}})


def record_clear(state: State, index: int, tokens: int, now: str) -> State:
    """The window was cleared at feature `index` (the number of features, when none was left), with `tokens` in it."""
    if index != state["total_features"]:
        check_index(state, index)
    check_number("context_tokens_before_clear", tokens)
    event = {"feature_index": index, "context_tokens_before_clear": tokens, "timestamp": now}
    return {
        **state,
        "auto_clear_events": [*state.get("auto_clear_events", ()), event],
        "auto_clear_count": state.get("auto_clear_count", 0) + 1,
        "context_token_estimate": 0,
    }


def following(given: State, at: int) -> Optional[int]:
    """Index of the feature to do next in a script's state whose `current_index` is `at`; None when none is left.

    That is the one at `at` while it can be done; else the first in order that can.
    """
    check_number("current_index", at, None)
    state = tidied(given, "")
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


def git_record(operation: str, success: bool, now: str, said: State) -> State:
    """What is kept of a commit, a push or a pull request: what was said of it, without what was not."""
    if operation not in ("commit", "push", "pr"):
        raise UsageError(f"Invalid operation: {operation!r} (must be 'commit', 'push' or 'pr').", "library-call")
    known = {name: value for name, value in said.items() if value is not None}
    return {**known, "success": bool(success), "timestamp": now}


def paused_for_clear(state: State, index: int, tokens: int, now: str) -> State:
    """The fields that change when the batch is paused at a feature for a window that is full."""
    if next(batch_state.pending_indices(state), None) is None and not state["active"]:
        raise RefusedError(f"Batch {state['batch_id']} is over: there is nothing to pause.", "batch-over")
    noted = record_clear(state, index, tokens, now)
    return {
        "status": "paused",
        "paused_at_feature_index": index,
        "context_tokens_before_clear": tokens,
        "auto_clear_events": noted["auto_clear_events"],
        "auto_clear_count": noted["auto_clear_count"],
    }


def clear_notice(batch_id: str, index: int, total: int, tokens: int) -> str:
    """What older versions told a person to do when the window was full; under 1,000 characters."""
    done = 100 * index // total if total else 0
    return (
        f"Context: {tokens:,} tokens, the threshold is {CONTEXT_THRESHOLD:,}.\n"
        f"Progress: {index}/{total} features ({done}%)\n"
        f"Batch: {batch_id[:100]}\n\n"
        "To go on with a fresh window, by hand:\n"
        "  1. Run /clear\n"
        f"  2. Run /batch-implement --resume {batch_id[:100]}\n\n"
        "What is completed stays completed. Claude Code compacts its window by itself: mostly there is nothing to do.\n"
    )


def tidied(given: State, now: str) -> State:
    """A script's state with everything in it that is derived, or that has only one meaning, put right: the count of
    the features, words of old, one entry a feature and outcome. Takes any types but for the revision (Misuse); what is
    wrong stays wrong.
    """
    check_number("revision", given["revision"])
    state = {
        **given,
        "schema_version": batch_state.SCHEMA_VERSION,
        "current_index": 0,
        "revision": given["revision"] + 1,
    }
    texts = state["features"]
    if isinstance(texts, list):
        state["features"] = [clean(text) if isinstance(text, str) else text for text in texts]
        state["total_features"] = len(texts)
    done = state["completed_features"]
    if isinstance(done, list):
        whole = list(dict.fromkeys(value for value in done if type(value) is int))
        state["completed_features"] = whole + [value for value in done if type(value) is not int]
        state["failed_features"] = _one_each(state["failed_features"], set(whole), now)
        if isinstance(state["failed_features"], list):
            failed = [entry.get("feature_index") for entry in state["failed_features"] if isinstance(entry, dict)]
            whole += [index for index in failed if type(index) is int]
        state["skipped_features"] = _one_each(state["skipped_features"], set(whole), now)
    if state["status"] not in ("paused", "completed", "failed"):
        state["status"] = "in_progress" if state["status"] == "running" else state["status"]
    if state["status"] != "paused":
        state["pause"] = None
    elif not state["pause"]:
        state["pause"] = {"reason": "paused by a script", "since": now, "resume_after": None}
    state["created_at"] = state["created_at"] or now
    for name in ("analysis_metadata", "issue_numbers"):
        state[name] = state[name] or None
    return state


def saved(before: Optional[State], given: State, now: str) -> State:
    """The version that follows `before` (None for a first one) when a script saves `given`, which is tidied and fits
    the schema.
    """
    if before is not None:
        given = {**before, **{name: value for name, value in given.items() if before.get(name) != value}}
        if asks(before):
            _refuse_escape(before, given)
    known = before["completed_features"] if before else ()
    evidence = {name: proof for name, proof in given["evidence"].items() if not _retracted(given, name, proof)}
    for index in given["completed_features"]:
        if index not in known:
            _refuse_unproven(given, index)
            evidence[key(index)] = {**evidence.get(key(index), {}), "asserted": True, "timestamp": now}
    if evidence != given["evidence"]:
        given = {**given, "evidence": evidence}
    return settled(given, now)


def settled(state: State, now: str) -> State:
    """`state` with what follows from it: what needs a feature that failed or is skipped is skipped too, what is no
    longer blocked is pending again, `current_index` and `status` say so.
    """
    bars = batch_state.failed_indices(state) | batch_state.skipped_indices(state)
    if not bars:
        return batch_state.with_derived_fields(state)
    freed = _freed(state["skipped_features"], bars)
    kept = [entry for entry in state["skipped_features"] if entry["feature_index"] not in freed]
    if freed:
        state = {**state, "skipped_features": kept}
    return batch_state.with_derived_fields(blocking.skip_dependants(state, sorted(bars - freed), now))


def _freed(skipped: List[State], bars: Set[int]) -> Set[int]:
    """Indices of the features that are skipped as blocked by one that bars nothing any more, all the way down."""
    blocked_by: Dict[int, List[int]] = {}
    for entry in skipped:
        stopper = blocking.parse_blocker(entry["reason"])
        if stopper is not None:
            blocked_by.setdefault(stopper, []).append(entry["feature_index"])
    freed: Set[int] = set()
    front = [stopper for stopper in blocked_by if stopper not in bars]
    for stopper in front:
        new = [index for index in blocked_by.get(stopper, ()) if index not in freed]
        freed.update(new)
        front += new
    return freed


def _completed(state: State, index: int, now: str) -> State:
    _refuse_unproven(state, index)
    name = key(index)
    proof = {**state["evidence"].get(name, {}), "asserted": True, "timestamp": now}
    return settled(
        {
            **_without(state, index, now),
            "completed_features": [*state["completed_features"], index],
            "evidence": {**state["evidence"], name: proof},
            "failures_in_a_row": 0,
        },
        now,
    )


def _failed(state: State, index: int, now: str, error: str, retry_count: Optional[int]) -> State:
    if index in state["completed_features"]:
        raise RefusedError(
            f"Feature {index + 1} (index {index}) is completed and stays so: it cannot fail any more. Nothing was "
            "changed.",
            "library-call",
        )
    _refuse_open(state, index)
    words = str(error).encode("utf-8", "replace").decode()  # half of a character cannot be written
    entry: State = {"feature_index": index, "error_message": words, "timestamp": now}
    if retry_count is not None:
        entry["retry_count"] = retry_count
    changed = _without(state, index, now)
    return settled({**changed, "failed_features": [*changed["failed_features"], entry]}, now)


def _without(state: State, index: int, now: str) -> State:
    """`state` with feature `index` in none of the sets, ended now."""
    timings = state.get("timings", {})
    changed = {**state, "timings": {**timings, key(index): {**timings.get(key(index), {}), "ended_at": now}}}
    for place in ("failed_features", "skipped_features"):
        changed[place] = [entry for entry in state[place] if entry["feature_index"] != index]
    if batch_state.active_index(state) == index:
        changed["active"] = None
    return changed


def _refuse_unproven(state: State, index: int) -> None:
    asked = asked_for(state, index)
    if asked:
        raise RefusedError(
            f"Feature {index + 1} (index {index}) was not marked completed: batch {state['batch_id']} asks for "
            f"evidence ({', '.join(asked)}), and a script's word is none. Commit the work, then run `batchctl done`: "
            "it takes the evidence and marks the feature. Nothing was changed.",
            "library-call",
        )


def _refuse_open(state: State, index: int) -> None:
    if batch_state.active_index(state) == index and asked_for(state, index):
        raise RefusedError(
            f"Feature {index + 1} (index {index}) is open: end its attempt with `batchctl fail --reason TEXT`, which "
            "puts its leftovers into a stash. Nothing was changed.",
            "library-call",
        )


def _refuse_escape(before: State, given: State) -> None:
    """Refused when `given` changes what a person set, or what only evidence or a person may change."""
    for name, value in given.items():
        if name in _FREE or name in _RULED or name not in _OURS or value == before.get(name, _OURS[name]):
            continue
        raise RefusedError(
            f"{name} of batch {before['batch_id']} is not a script's to change: its policy asks for evidence. Nothing "
            "was changed. Load the state again and leave that field as it is.",
            "library-call",
        )
    done = before["completed_features"]
    for index in given["completed_features"]:
        if index not in done:
            _refuse_unproven(before, index)
    failed = batch_state.failed_indices(given)
    for index in failed:
        _refuse_open(before, index)
    undone = set(done).difference(given["completed_features"]) | (batch_state.failed_indices(before) - failed)
    if undone or given["skipped_features"] != before["skipped_features"]:
        raise RefusedError(
            f"What was completed, failed or skipped in batch {before['batch_id']} is not a script's to change. A "
            "person does it: `batchctl retry N`, `batchctl skip N`. Nothing was changed.",
            "library-call",
        )
    if before["status"] == "paused" and given["status"] != "paused":
        raise RefusedError(
            f"Batch {before['batch_id']} is paused: {before['pause']['reason']}. A person goes on with "
            "`/batch-implement --resume` in Claude Code. Nothing was changed.",
            "batch-waiting",
        )


def _retracted(state: State, name: str, proof: Any) -> bool:
    """Whether this is the bare assertion of a feature that is not completed any more."""
    return bool(proof.get("asserted")) and int(name) not in state["completed_features"]


def _one_each(entries: Any, elsewhere: Set[int], now: str) -> Any:
    """`entries` with the last one a feature, without those in `elsewhere`, and with a message and a time."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return entries
    kept: Dict[Any, State] = {}
    for place, entry in enumerate(entries):
        index = entry.get("feature_index")
        name = index if type(index) is int else f"odd {place}"
        if name in elsewhere:
            continue
        kept.pop(name, None)
        kept[name] = {**entry, "timestamp": entry.get("timestamp") or now}
        if "reason" not in entry:
            kept[name]["error_message"] = entry.get("error_message") or UNKNOWN_ERROR
    return list(kept.values())
