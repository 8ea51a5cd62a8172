"""Dependants of features that failed or were skipped, transitively. Pure.

update_blocked(state, now)                     skip and free dependants according to the outcomes
free_dependants(state, indices, now)           free what is skipped because of these features
skip_dependants(state, indices, now)           skip the dependants, each as `blocked by N`
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
    blockers = map(parse_blocker, (entry["reason"] for entry in state["skipped_features"]))
    freed = [index for index in dict.fromkeys(blockers) if index is not None and index not in stoppers]
    return free_dependants(state, freed, now)


def free_dependants(state: State, freed: Sequence[int], now: str) -> State:
    """Return `state` with the features pending again that are skipped because of those in `freed`, transitively, unless
    others block them; what others block is skipped. `current_index` and `status` follow.
    """
    blocked_by: Dict[int, List[int]] = {}
    for entry in state["skipped_features"]:
        blocker = parse_blocker(entry["reason"])
        if blocker is not None:
            blocked_by.setdefault(blocker, []).append(entry["feature_index"])
    blocked = {index for indices in blocked_by.values() for index in indices}
    reopened = {index for _, index in _follow(freed, blocked_by, blocked)}
    kept = [entry for entry in state["skipped_features"] if entry["feature_index"] not in reopened]
    state = {**state, "skipped_features": kept} if reopened else state
    stoppers = batch_state.failed_indices(state) | batch_state.skipped_indices(state)
    return batch_state.with_derived_fields(skip_dependants(state, sorted(stoppers), now))


def _follow(start: Sequence[int], edges: Dict[int, List[int]], allowed: Set[int]) -> Iterator[Tuple[int, int]]:
    """Yield each index of `allowed` that is reachable from `start`, after the index that leads to it."""
    front = list(start)
    for index in front:
        for following in sorted(edges.get(index, ())):
            if following in allowed:
                allowed.discard(following)
                front.append(following)
                yield index, following
