"""Dependants of features that failed or were skipped, transitively. Pure.

update_blocked(state, now)                     skip and free dependants according to the outcomes
skip_dependants(state, indices, now)           skip the dependants, each as `blocked by N`
with_blocked_dependants(state, indices)        find the features to retry together
"""

from __future__ import annotations

from . import batch_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

    from .batch_state import State

BLOCKED_BY = "blocked by "


def dependants(state: State) -> Dict[int, List[int]]:
    """Return the indices that depend directly on each index."""
    needed_by: Dict[int, List[int]] = {}
    for name, needs in state["feature_dependencies"].items():
        for index in needs:
            needed_by.setdefault(index, []).append(int(name))
    return needed_by


def skip_dependants(state: State, stoppers: Sequence[int], now: str) -> State:
    """Skip the transitive dependants of `stoppers`, each as blocked by its direct dependency."""
    skipped = [
        {"feature_index": dependant, "reason": f"{BLOCKED_BY}{stopper}", "timestamp": now}
        for stopper, dependant in _follow(stoppers, dependants(state), set(batch_state.pending_indices(state)))
    ]
    return {**state, "skipped_features": [*state["skipped_features"], *skipped]} if skipped else state


def parse_blocker(reason: str) -> Optional[int]:
    """Return the index of the blocking feature in the reason of a skip, or None for another reason."""
    number = reason[len(BLOCKED_BY) :] if reason.startswith(BLOCKED_BY) else ""
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None


def describe_reason(reason: str) -> str:
    """Return the reason of a skip for a person: `blocked by 0` names an index, `blocked by feature 1` a number."""
    index = parse_blocker(reason)
    return reason if index is None else f"{BLOCKED_BY}feature {index + 1}"


def update_blocked(state: State, now: str) -> State:
    """Return `state` with its skipped features brought up to date: dependants of failed and skipped features are
    skipped, those that nothing blocks any more are pending again; `current_index` and `status` follow.
    """
    stoppers = batch_state.failed_indices(state) | batch_state.skipped_indices(state)
    if not stoppers:
        return batch_state.with_derived_fields(state)
    unblocked = _unblocked_indices(state["skipped_features"], stoppers)
    if unblocked:
        kept = [entry for entry in state["skipped_features"] if entry["feature_index"] not in unblocked]
        state = {**state, "skipped_features": kept}
    return batch_state.with_derived_fields(skip_dependants(state, sorted(stoppers - unblocked), now))


def _unblocked_indices(skipped: List[State], stoppers: Set[int]) -> Set[int]:
    """Return the indices that are skipped because of features that are no longer in `stoppers`, transitively."""
    blocked_by: Dict[int, List[int]] = {}
    for entry in skipped:
        stopper = parse_blocker(entry["reason"])
        if stopper is not None:
            blocked_by.setdefault(stopper, []).append(entry["feature_index"])
    freed = [stopper for stopper in blocked_by if stopper not in stoppers]
    blocked = {index for indices in blocked_by.values() for index in indices}
    return {index for _, index in _follow(freed, blocked_by, blocked)}


def with_blocked_dependants(state: State, indices: Sequence[int]) -> Set[int]:
    """Return `indices` and the features that are skipped because of them, transitively."""
    blocked = {
        entry["feature_index"] for entry in state["skipped_features"] if parse_blocker(entry["reason"]) is not None
    }
    return {*indices, *(index for _, index in _follow(indices, dependants(state), blocked.difference(indices)))}


def _follow(start: Sequence[int], edges: Dict[int, List[int]], allowed: Set[int]) -> Iterator[Tuple[int, int]]:
    """Yield each index of `allowed` that is reachable from `start`, after the index that leads to it."""
    front = list(start)
    for index in front:
        for following in sorted(edges.get(index, ())):
            if following in allowed:
                allowed.discard(following)
                front.append(following)
                yield index, following
