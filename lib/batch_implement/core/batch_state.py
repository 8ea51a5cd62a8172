"""The shape of a batch's state, its invariants and what is derived from it. Pure: no file, clock, process, environment.

A state is a plain dict with the fields of `schemas/batch_state.schema.json`. Objects keyed by a feature index use the
index as a decimal string (`key`). No function changes a state in place: a new version is a shallow copy that shares
the unchanged parts, so that a write can tell what changed.

    new_state(...)                        create a first version
    feature_status(state, index)          pending, running, waiting, merging, done, failed or skipped
    invariant_violations(state)           check what the schema cannot express
    monotonicity_violations(old, new)     check what may never decrease

A feature is *pending* when it is in none of completed, failed, skipped, active and running; *runnable* when its
dependencies are completed too.
"""

from __future__ import annotations

from . import batch_policy
from .errors import UsageError

TYPE_CHECKING = False  # importing `typing` costs a hook more than its work
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Optional, Set

    State = Dict[str, Any]

SCHEMA_VERSION = 1
PHASES = ("understand", "plan", "test", "implement", "verify", "document", "commit", "review")
# In the order in which an attempt shows them; `plan` and `document` show only when a worker names them.
PHASE_RANKS = {
    "understand": 0,
    "plan": 0,
    "implement": 1,
    "document": 1,
    "test": 2,
    "commit": 3,
    "review": 4,
    "verify": 5,
}
WORKFLOW_REMINDER = "Use /auto-implement for each feature. Do NOT implement directly."
UNFINISHED = ("in_progress", "paused")
MAX_ATTEMPTS_KEPT = 10
MAX_COMPACTIONS_KEPT = 100
UNKNOWN_ERROR = "Unknown error"  # the message of a failure that came without one
INDEXED_FIELDS = (  # fields keyed by feature index, besides feature_dependencies
    "retry_attempts", "retry_allowance", "attempts", "evidence", "git_operations", "issue_updates", "details",
    "timings",
)  # fmt: skip

_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def key(index: int) -> str:
    """Return the key for feature `index` in objects keyed by feature."""
    return str(index)


def identify_feature(text: str, details: State) -> tuple[str, str, str]:
    """Return what makes a feature the same as another one: text, section and description."""
    return " ".join(text.split()).casefold(), details.get("section", ""), details.get("description", "")


def unwrap_index(value: object) -> object:
    """Return n for `{"index": n}`, as some scripts write it, and any other value as it is."""
    return value["index"] if isinstance(value, dict) and value.keys() == {"index"} else value


def is_valid_batch_id(text: object) -> bool:
    """Return whether `text` is 1 to 100 of `A-Z a-z 0-9 . _ -`, without `..` and not starting with `-`."""
    if not isinstance(text, str) or not 0 < len(text) <= 100 or ".." in text:
        return False
    return not text.startswith("-") and _ID_CHARACTERS.issuperset(text)  # `--resume -x` would be an option


def require_valid_batch_id(text: object) -> None:
    """Raise UsageError unless `text` can be a batch id."""
    if not is_valid_batch_id(text):
        raise UsageError(
            f"{str(text)[:100]!r} is not a batch id: 1 to 100 of A-Z a-z 0-9 . _ - without `..`.", "unknown-batch"
        )


def new_state(
    batch_id: str,
    features: List[str],
    now: str,
    *,
    features_file: str = "",
    source_type: str = "file",
    issue_numbers: Optional[List[int]] = None,
    policy: State = batch_policy.DEFAULT,
    workflow_mode: str = "auto-implement",
    untracked: Iterable[str] = (),
    details: Optional[State] = None,
    order: Iterable[int] = (),
    needs: Optional[State] = None,
    analysis: Optional[State] = None,
) -> State:
    """Create a first version of a batch at time `now`, with revision 0, which the first write makes 1.

    `details` and `needs` are by key; `order`, `needs` and `analysis` come from the ordering of the features.
    """
    state: State = {
        "schema_version": SCHEMA_VERSION,
        "batch_id": batch_id,
        "revision": 0,
        "status": "in_progress",
        "features_file": features_file,
        "source_type": source_type,
        "issue_numbers": issue_numbers,
        "features": list(features),
        "total_features": len(features),
        "feature_order": list(order),
        "feature_dependencies": dict(needs or {}),
        "current_index": 0,
        "completed_features": [],
        "failed_features": [],
        "skipped_features": [],
        "retry_attempts": {},
        "retry_allowance": {},
        "attempts": {},
        "active": None,
        "evidence": {},
        "git_operations": {},
        "issue_updates": {},
        "details": dict(details or {}),
        "decisions": [],
        "policy": dict(policy),
        "owner": None,
        "pause": None,
        "run": None,
        "attempt_of": None,
        "continuation": {},
        "failures_in_a_row": 0,
        "context_token_estimate": 0,
        "auto_clear_count": 0,
        "auto_clear_events": [],
        "context_tokens_before_clear": None,
        "paused_at_feature_index": None,
        "workflow_mode": workflow_mode,
        "workflow_reminder": WORKFLOW_REMINDER,
        "analysis_metadata": analysis,
        "branch": None,
        "verify_environment": None,
        "untracked_at_start": list(untracked),
        "timings": {},
        "created_at": now,
        "updated_at": now,
        "state_file": "",
    }
    return with_derived_fields(state)


# -- what can be derived ----------------------------------------------------------------------------------------------


def is_live(state: State) -> bool:
    """Return whether the batch is in progress or paused."""
    return state["status"] in UNFINISHED


def needs_hooks(state: State) -> bool:
    """Return whether hooks have work to do: the batch is unfinished, or its owner does not know yet that it ended."""
    return is_live(state) or (state["owner"] is not None and state["owner"]["pid"] is not None)


def active_index(state: State) -> Optional[int]:
    """Return the index of the open feature, or None."""
    active = state["active"]
    return active["feature_index"] if active else None


def running_indices(state: State) -> Set[int]:
    """Return the indices of the features that `batchctl run` works on."""
    run = state.get("run")
    return {int(name) for name in run["running"]} if run else set()


def failed_indices(state: State) -> Set[int]:
    """Return the indices of the failed features."""
    return {entry["feature_index"] for entry in state["failed_features"]}


def skipped_indices(state: State) -> Set[int]:
    """Return the indices of the skipped features."""
    return {entry["feature_index"] for entry in state["skipped_features"]}


def indices_in_order(state: State) -> Iterable[int]:
    """Return all indices in the order in which features are done."""
    return state["feature_order"] or range(state["total_features"])


def pending_indices(state: State) -> Iterator[int]:
    """Return the indices of the pending features, in order."""
    excluded = failed_indices(state) | skipped_indices(state) | running_indices(state)
    excluded.update(state["completed_features"])
    active = active_index(state)
    return (index for index in indices_in_order(state) if index not in excluded and index != active)


def next_runnable(state: State) -> Optional[int]:
    """Return the index of the pending feature to do next, or None when no feature can run.

    Features that have not failed yet come before retries.
    """
    needs = state["feature_dependencies"]
    done = set(state["completed_features"])
    tried = state["retry_attempts"]
    granted = state.get("retry_allowance", {})
    retry: Optional[int] = None
    for index in pending_indices(state):
        name = key(index)
        if not done.issuperset(needs.get(name, ())):
            continue
        if tried.get(name, 0) <= granted.get(name, 0):
            return index
        if retry is None or tried[name] < tried[key(retry)]:
            retry = index
    return retry


def current_index(state: State) -> int:
    """Return the index of the open feature, else the first running, else the next runnable, else `total_features`."""
    active = active_index(state)
    if active is not None:
        return active
    running = running_indices(state)
    index = min(running) if running else next_runnable(state)
    return state["total_features"] if index is None else index


def feature_position(state: State, index: int) -> str:
    """Return the number of feature `index` of how many: `2 of 5`, in an attempt of a run those of the run's batch."""
    run_batch = state.get("attempt_of") or {}
    number = run_batch.get("feature_number", index + 1)
    return f"{number} of {run_batch.get('total_features', max(number, state['total_features']))}"


def count_unchanged(state: State) -> int:
    """Return how many features were completed without a change (`done --no-change`)."""
    return sum("no_change" in state["evidence"].get(key(index), {}) for index in state["completed_features"])


def counts(state: State) -> Dict[str, int]:
    """Return the number of features that are `completed`, `failed`, `skipped`, `pending` and `active`, and `total`."""
    numbers = {name: len(state[f"{name}_features"]) for name in ("completed", "failed", "skipped")}
    numbers["active"] = (1 if state["active"] else 0) + len(running_indices(state))
    total = state["total_features"]
    return {"total": total, "pending": total - sum(numbers.values()), **numbers}


def feature_statuses(state: State, now: str = "") -> Dict[int, str]:
    """Return the status of each feature by index: `pending`, `running`, `waiting`, `merging`, `done`, `failed` or
    `skipped`. `waiting` (pending, but not before a later time than `now`) needs `now`.
    """
    statuses = dict.fromkeys(range(state["total_features"]), "pending")
    if now:
        statuses.update({index: "waiting" for index in statuses if (earliest_start(state, index) or "") > now})
    statuses.update(dict.fromkeys(skipped_indices(state), "skipped"))
    statuses.update(dict.fromkeys(failed_indices(state), "failed"))
    statuses.update(dict.fromkeys(state["completed_features"], "done"))
    for name, entry in (state.get("run") or {"running": {}})["running"].items():
        statuses[int(name)] = "merging" if entry["step"] == "merging" else "running"
    if state["active"]:
        statuses[state["active"]["feature_index"]] = "running"
    return statuses


def feature_status(state: State, index: int, now: str = "") -> str:
    """Return the status of feature `index`, as `feature_statuses` does for all."""
    return feature_statuses(state, now)[index]


def earliest_start(state: State, index: int) -> Optional[str]:
    """Return the time before which another attempt at feature `index` makes little sense, or None."""
    if state.get("retry_allowance", {}).get(key(index)) == attempts_used(state, index):
        return None  # the user retried it after the last attempt
    attempts = state.get("attempts", {}).get(key(index), ())
    return attempts[-1].get("retry_after") if attempts else None


def last_closed_index(state: State) -> Optional[int]:
    """Return the index of the feature that was completed, failed or skipped last, or None."""
    rank = {index: number for number, index in enumerate(state["completed_features"])}  # for those of one second
    ended = [
        (timing["ended_at"], rank.get(int(name), -1), int(name))
        for name, timing in state.get("timings", {}).items()
        if "ended_at" in timing
    ]
    return max(ended)[2] if ended else None


def attempts_used(state: State, index: int) -> int:
    """Return the number of attempts that feature `index` has used."""
    used: int = state["retry_attempts"].get(key(index), 0)
    return used


def contexts_to_remind(state: State) -> List[str]:
    """Return the context windows (`main` or a worker's agent id) that were compacted and not reminded since."""
    events = [event for event in state.get("auto_clear_events", ()) if event.get("reminded") is False]
    return list(dict.fromkeys(event.get("context", "main") for event in events))


# -- invariants -------------------------------------------------------------------------------------------------------


def invariant_violations(state: State, before: Optional[State] = None) -> List[str]:
    """Return a message for each invariant that a state which fits the schema violates.

    Dependencies that are the same object in the valid version `before` are not checked again.
    """
    total = state["total_features"]
    messages: List[str] = []
    if not is_valid_batch_id(state["batch_id"]):
        messages.append(
            f"batch_id {state['batch_id']!r} is not 1 to 100 of A-Z a-z 0-9 . _ - without `..`, not starting with `-`"
        )
    if total != len(state["features"]):
        return [*messages, f"total_features is {total}, but features has {len(state['features'])}"]
    active, running = active_index(state), sorted(running_indices(state))
    places = [
        ("completed_features", state["completed_features"]),
        ("failed_features", [entry["feature_index"] for entry in state["failed_features"]]),
        ("skipped_features", [entry["feature_index"] for entry in state["skipped_features"]]),
        ("active", [] if active is None else [active]),
        ("run.running", running),
    ]
    seen: Dict[int, str] = {}
    for place, indices in places:
        for index in indices:
            if index >= total:
                messages.append(f"{place} names feature index {index}; the last one is {total - 1}")
            elif index in seen:
                messages.append(f"feature index {index} is in {seen[index]} and again in {place}")
            seen[index] = place
    for place in INDEXED_FIELDS:
        for name in state.get(place, ()):
            if int(name) >= total:
                messages.append(f"{place} names feature index {name}; the last one is {total - 1}")
    order = state["feature_order"]
    if order and (len(order) != total or max(order) != total - 1):
        messages.append(f"feature_order is not a permutation of 0 to {total - 1}")
    needs = state["feature_dependencies"]
    if before is None or before["feature_dependencies"] is not needs or before["total_features"] > total:
        messages.extend(_dependency_violations(needs, total))
    numbers = state.get("issue_numbers")
    if numbers is not None and len(numbers) != total:
        messages.append(f"issue_numbers has {len(numbers)} entries for {total} features")
    if not messages:
        messages.extend(_status_violations(state, len(seen) < total or active is not None or bool(running)))
    return messages


def _status_violations(state: State, has_features_left: bool) -> Iterator[str]:
    expected = current_index(state)
    if state["current_index"] != expected:
        yield f"current_index is {state['current_index']}; the feature that is open or next is {expected}"
    if state["status"] not in UNFINISHED:
        if has_features_left:
            yield f"status is {state['status']}, but features are left"
        elif state["status"] != final_status(state):
            done = len(state["completed_features"])
            yield f"status is {state['status']}; with {done} completed it is {final_status(state)}"
    elif not has_features_left:
        yield f"status is {state['status']}, but no feature is left"
    if (state["status"] == "paused") != (state["pause"] is not None):
        yield f"status is {state['status']}, but pause is {'empty' if state['pause'] is None else 'set'}"


def final_status(state: State) -> str:
    """Return the status of a batch with no feature left: `failed` when nothing was completed, else `completed`."""
    return "completed" if state["completed_features"] else "failed"


def _dependency_violations(needs: Dict[str, List[int]], total: int) -> Iterator[str]:
    for name, indices in needs.items():
        for index in (int(name), *indices):
            if index >= total:
                yield f"feature_dependencies names feature index {index}; the last one is {total - 1}"
                return
    cycle = find_cycle(needs)
    if cycle:
        yield "feature_dependencies has a cycle: " + " needs ".join(map(str, cycle))


def find_cycle(needs: Dict[str, List[int]]) -> List[int]:
    """Return a cycle in `needs` as indices, the first repeated at the end; empty without a cycle."""
    finished: Set[int] = set()
    for start in needs:
        path: List[int] = [int(start)]
        on_path = {int(start)}
        branches = [iter(needs.get(start, ()))]
        while branches:
            index = next(branches[-1], None)
            if index is None:
                branches.pop()
                on_path.discard(path[-1])
                finished.add(path.pop())
            elif index in on_path:
                return [*path[path.index(index) :], index]
            elif index not in finished:
                path.append(index)
                on_path.add(index)
                branches.append(iter(needs.get(key(index), ())))
    return []


def monotonicity_violations(old: State, new: State) -> List[str]:
    """Return a message for each monotonic counter that decreased."""
    if old["batch_id"] != new["batch_id"]:
        return []
    counters = [(name, old.get(name, 0), new.get(name, 0)) for name in ("revision", "auto_clear_count")]
    for field in ("retry_attempts", "retry_allowance"):
        before, after = old.get(field, {}), new.get(field, {})
        if before is not after:
            counters += [(f"{field} of feature index {name}", before[name], after.get(name, 0)) for name in before]
    before, after = ((state.get("run") or {}).get("spent", {}) for state in (old, new))
    if before is not after:
        counters += [(f"run.spent.{name}", before[name], after.get(name, 0)) for name in before]
    return [f"{name} fell from {before} to {after}" for name, before, after in counters if after < before]


def with_derived_fields(state: State) -> State:
    """Return `state` with `current_index` and `status` derived anew; a pause stays while a feature is left."""
    left = state["active"] is not None or running_indices(state) or next(pending_indices(state), None) is not None
    changed = {**state, "current_index": current_index(state)}
    if not left:
        changed["status"], changed["pause"] = final_status(state), None
    elif state["status"] not in UNFINISHED:
        changed["status"] = "in_progress"
    return changed
