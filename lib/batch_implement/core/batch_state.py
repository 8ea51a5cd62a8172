"""The state's shape, its invariants and what can be derived from it. Pure: no file, clock, process or environment.

A state is a plain dict with the fields of `schemas/batch_state.schema.json`; that file says what each field means.
Objects keyed by a feature index have the index as a decimal string (`key`), here as in the file. A state is never
changed in place: a new version is a shallow copy that shares what stayed the same, so that a write can tell what
changed.

    new_state(...)             a first version
    broken_invariants(state)   what the schema cannot say
    went_backwards(old, new)   what may never fall and did

A feature is *pending* when it is in none of completed, failed, skipped and active; *runnable* when its dependencies
are completed too.
"""

from __future__ import annotations

from . import policies

TYPE_CHECKING = False  # `typing` costs a hook more than the work it does
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Optional, Set

    State = Dict[str, Any]

SCHEMA_VERSION = 1
PHASES = ("understand", "plan", "test", "implement", "verify", "review", "document", "commit")
WORKFLOW_REMINDER = "Use /auto-implement for each feature. Do NOT implement directly."
UNFINISHED = ("in_progress", "paused")
MAX_ATTEMPTS_KEPT = 10
MAX_COMPACTIONS_KEPT = 100
INDEXED_FIELDS = (  # the fields, beside feature_dependencies, whose keys are feature indices
    "retry_attempts", "retry_allowance", "attempts", "evidence", "git_operations", "issue_updates", "details",
    "timings",
)  # fmt: skip

_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def key(index: int) -> str:
    """The key under which an object holds what belongs to feature `index`."""
    return str(index)


def is_valid_batch_id(text: object) -> bool:
    """Whether `text` may name a batch: 1 to 100 of `A-Z a-z 0-9 . _ -`, without `..`."""
    return isinstance(text, str) and 0 < len(text) <= 100 and ".." not in text and _ID_CHARACTERS.issuperset(text)


def new_state(
    batch_id: str,
    features: List[str],
    now: str,
    *,
    features_file: str = "",
    source_type: str = "file",
    issue_numbers: Optional[List[int]] = None,
    policy: State = policies.DEFAULT,
    workflow_mode: str = "auto-implement",
    untracked: Iterable[str] = (),
    details: Optional[State] = None,
    order: Iterable[int] = (),
    needs: Optional[State] = None,
    analysis: Optional[State] = None,
) -> State:
    """A first version (revision 0, which the first write makes 1) of a batch over `features`; `now` is its time of
    creation, `details` are by key, `order`, `needs` (by key) and `analysis` what ordering found.
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
        "untracked_at_start": list(untracked),
        "timings": {},
        "created_at": now,
        "updated_at": now,
        "state_file": "",
    }
    return with_derived_fields(state)


# -- what can be derived ----------------------------------------------------------------------------------------------


def is_live(state: State) -> bool:
    """Whether the batch still has something to do or to decide: it is in progress or paused."""
    return state["status"] in UNFINISHED


def needs_hooks(state: State) -> bool:
    """Whether the hooks have anything to do with it: it is unfinished, or the client that holds it has not heard of
    its end yet.
    """
    return is_live(state) or (state["owner"] is not None and state["owner"]["pid"] is not None)


def active_index(state: State) -> Optional[int]:
    """Index of the open feature, None when none is open."""
    active = state["active"]
    return active["feature_index"] if active else None


def running_indices(state: State) -> Set[int]:
    """Indices of the features that `batchctl run` has under way; they count as open."""
    run = state.get("run")
    return {int(name) for name in run["running"]} if run else set()


def failed_indices(state: State) -> Set[int]:
    """Indices of the features that were given up on."""
    return {entry["feature_index"] for entry in state["failed_features"]}


def skipped_indices(state: State) -> Set[int]:
    """Indices of the features that are not going to be tried."""
    return {entry["feature_index"] for entry in state["skipped_features"]}


def indices_in_order(state: State) -> Iterable[int]:
    """All indices in the order in which features are done."""
    return state["feature_order"] or range(state["total_features"])


def pending_indices(state: State) -> Iterator[int]:
    """Indices of the features that are in none of completed, failed, skipped and active, in order."""
    settled = failed_indices(state) | skipped_indices(state) | running_indices(state)
    settled.update(state["completed_features"])
    active = active_index(state)
    return (index for index in indices_in_order(state) if index not in settled and index != active)


def next_runnable(state: State) -> Optional[int]:
    """Index of the pending feature to do next. None when none can run.

    Features that have not failed yet come before those that are to be retried: a retry waits for the others.
    """
    needs = state["feature_dependencies"]
    done = set(state["completed_features"])
    tried = state["retry_attempts"]
    granted = state.get("retry_allowance", {})
    again: Optional[int] = None
    for index in pending_indices(state):
        name = key(index)
        if not done.issuperset(needs.get(name, ())):
            continue
        if tried.get(name, 0) <= granted.get(name, 0):
            return index
        if again is None or tried[name] < tried[key(again)]:
            again = index
    return again


def current_index(state: State) -> int:
    """What `current_index` must say: the open feature (the first of several), else the next runnable one, else
    `total_features`.
    """
    active = active_index(state)
    if active is not None:
        return active
    running = running_indices(state)
    following = min(running) if running else next_runnable(state)
    return state["total_features"] if following is None else following


def counts(state: State) -> Dict[str, int]:
    """How many features are in each condition; `total` is their sum."""
    done, failed, skipped = (len(state[f"{name}_features"]) for name in ("completed", "failed", "skipped"))
    active = (1 if state["active"] else 0) + len(running_indices(state))
    total = state["total_features"]
    return {
        "total": total,
        "completed": done,
        "failed": failed,
        "skipped": skipped,
        "pending": total - done - failed - skipped - active,
        "active": active,
    }


def feature_status(state: State, index: int) -> str:
    """What feature `index` is: `completed`, `failed`, `skipped`, `active` or `pending`."""
    if index == active_index(state) or index in running_indices(state):
        return "active"
    if index in state["completed_features"]:
        return "completed"
    if index in failed_indices(state):
        return "failed"
    return "skipped" if index in skipped_indices(state) else "pending"


def last_closed_index(state: State) -> Optional[int]:
    """Index of the feature that was completed, given up on or skipped last; None when none was. Of several completed
    within one second it is the last of `completed_features`.
    """
    place = {index: number for number, index in enumerate(state["completed_features"])}
    ended = [
        (timing["ended_at"], place.get(int(name), -1), int(name))
        for name, timing in state.get("timings", {}).items()
        if "ended_at" in timing
    ]
    return max(ended)[2] if ended else None


def attempts_used(state: State, index: int) -> int:
    """Attempts that feature `index` has used up."""
    used: int = state["retry_attempts"].get(key(index), 0)
    return used


def contexts_to_remind(state: State) -> List[str]:
    """Windows (`main` or a worker's agent id) that were compacted and have not had the reminder since, each once."""
    due = (
        event.get("context", "main") for event in state.get("auto_clear_events", ()) if event.get("reminded") is False
    )
    return list(dict.fromkeys(due))


# -- invariants -------------------------------------------------------------------------------------------------------


def invariant_violations(state: State, before: Optional[State] = None) -> List[str]:
    """What is wrong with a state that fits the schema, a sentence each; empty when nothing is.

    With the valid version `before` it, dependencies that are the very same object are not followed again.
    """
    wrong: List[str] = []
    total = state["total_features"]
    if not is_valid_batch_id(state["batch_id"]):
        wrong.append(f"batch_id {state['batch_id']!r} is not 1 to 100 of A-Z a-z 0-9 . _ - without `..`")
    if total != len(state["features"]):
        wrong.append(f"total_features is {total}, but features has {len(state['features'])}")
        return wrong
    failed = [entry["feature_index"] for entry in state["failed_features"]]
    skipped = [entry["feature_index"] for entry in state["skipped_features"]]
    active, running = active_index(state), sorted(running_indices(state))
    places = [
        ("completed_features", state["completed_features"]),
        ("failed_features", failed),
        ("skipped_features", skipped),
        ("active", [] if active is None else [active]),
        ("run.running", running),
    ]
    seen: Dict[int, str] = {}
    for place, indices in places:
        for index in indices:
            if index >= total:
                wrong.append(f"{place} names feature index {index}; the last one is {total - 1}")
            elif index in seen:
                wrong.append(f"feature index {index} is in {seen[index]} and again in {place}")
            seen[index] = place
    for place in INDEXED_FIELDS:
        for name in state.get(place, ()):
            if int(name) >= total:
                wrong.append(f"{place} names feature index {name}; the last one is {total - 1}")
    order = state["feature_order"]
    if order and (len(order) != total or max(order) != total - 1):
        wrong.append(f"feature_order is not a permutation of 0 to {total - 1}")
    needs = state["feature_dependencies"]
    if before is None or before["feature_dependencies"] is not needs or before["total_features"] > total:
        wrong.extend(_dependency_violations(needs, total))
    numbers = state.get("issue_numbers")
    if numbers is not None and len(numbers) != total:
        wrong.append(f"issue_numbers has {len(numbers)} entries for {total} features")
    if not wrong:
        wrong.extend(_status_violations(state, len(seen) < total or active is not None or bool(running)))
    return wrong


def _status_violations(state: State, left: bool) -> Iterator[str]:
    expected = current_index(state)
    if state["current_index"] != expected:
        yield f"current_index is {state['current_index']}; the feature that is open or next is {expected}"
    if state["status"] not in UNFINISHED:
        if left:
            yield f"status is {state['status']}, but features are left"
        elif state["status"] != final_status(state):
            done = len(state["completed_features"])
            yield f"status is {state['status']}; with {done} completed it is {final_status(state)}"
    elif not left:
        yield f"status is {state['status']}, but no feature is left"
    if (state["status"] == "paused") != (state["pause"] is not None):
        yield f"status is {state['status']}, but pause is {'empty' if state['pause'] is None else 'set'}"


def final_status(state: State) -> str:
    """The status of a batch with no feature left: `failed` when nothing was completed, else `completed`."""
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
    """A cycle in `needs` as indices, the first one repeated at the end; empty when there is none."""
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
    """What may never fall from one version to the next and did, a sentence each; empty when nothing did."""
    wrong: List[str] = []
    if old["batch_id"] != new["batch_id"]:
        return wrong
    if new["revision"] < old["revision"]:
        wrong.append(f"revision fell from {old['revision']} to {new['revision']}")
    for place in ("retry_attempts", "retry_allowance"):
        before, after = old.get(place, {}), new.get(place, {})
        if before is not after:
            fell = [name for name, count in before.items() if after.get(name, 0) < count]
            wrong.extend(
                f"{place} of feature index {name} fell from {before[name]} to {after.get(name, 0)}" for name in fell
            )
    if new.get("auto_clear_count", 0) < old.get("auto_clear_count", 0):
        wrong.append(f"auto_clear_count fell from {old['auto_clear_count']} to {new.get('auto_clear_count', 0)}")
    before, after = old.get("run"), new.get("run")
    if before and before is not after:
        spent = after["spent"] if after else {}
        wrong.extend(
            f"run.spent.{name} fell from {amount} to {spent.get(name, 0)}"
            for name, amount in before["spent"].items()
            if spent.get(name, 0) < amount
        )
    return wrong


def with_derived_fields(state: State) -> State:
    """`state` with `current_index` and `status` as the rest of it says: what every change ends with. A pause stays
    one while anything is left.
    """
    left = state["active"] is not None or running_indices(state) or next(pending_indices(state), None) is not None
    changed = {**state, "current_index": current_index(state)}
    if not left:
        changed["status"], changed["pause"] = final_status(state), None
    elif state["status"] not in UNFINISHED:
        changed["status"] = "in_progress"
    return changed
