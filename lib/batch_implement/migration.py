"""Older state files as states of this version. Pure.

Version 0 is a file without `schema_version`, as batch scripts wrote before there was a schema. The rules, each of which is told in what
`migrate` returns and so lands in the audit log; what is dropped is quoted there, and the file itself stays as the previous version:

    missing fields          get the default of a new batch; the six required ones must be there
    status                  `running` is `in_progress`; any other unknown word too; finished only when nothing is left
    total_features          the number of `features`
    completed_features      each index once; a number in a text is that number; what is no index of a feature is dropped
    failed_features         one entry a feature, the last; a bare index gets the error "Unknown error"; one that is completed too is dropped
    current_index           worked out anew: features never done are not skipped because it ran ahead
    retry_attempts          whole numbers from 0; anything else is dropped
    auto_clear_events       `tokens_before` is `context_tokens_before_clear`
    policy                  asks for no evidence: the script that made the batch asserts what is done
"""

from __future__ import annotations

from . import model
from .errors import StateUnusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from .model import State

REQUIRED = ("batch_id", "features_file", "total_features", "features", "current_index", "status")


def migrate(data: Any) -> Tuple[State, List[str]]:
    """`data` (parsed JSON) as a state of this version, and what had to be mended, a sentence each.

    A state of this version comes back as it is. `StateUnusable` when it cannot be a state at all."""
    if not isinstance(data, dict):
        raise StateUnusable(f"Corrupted batch state file: a JSON object is expected, this is {type(data).__name__}.")
    version = data.get("schema_version", 0)
    if version == model.SCHEMA_VERSION and type(version) is int:
        return data, []
    if version != 0 or type(version) is bool:
        raise StateUnusable(
            f"The state has schema_version {version!r}; this batch-implement reads up to {model.SCHEMA_VERSION}. "
            "A newer one wrote it: update the plugin."
        )
    missing = [name for name in REQUIRED if name not in data]
    if missing:
        raise StateUnusable(f"Missing required fields: {missing}.")
    return _from_version_0(data)


def _from_version_0(data: State) -> Tuple[State, List[str]]:
    mended: List[str] = []
    features = data["features"]
    if not isinstance(features, list) or not features or not all(isinstance(text, str) and text for text in features):
        raise StateUnusable("Corrupted batch state file: features is not a list of texts.")
    total = len(features)
    fresh = model.new_state(
        str(data["batch_id"]), features, str(data.get("created_at") or ""), policy=model.policy(evidence=[])
    )
    state: State = {
        **fresh,
        **{name: value for name, value in data.items() if not _empty_but_typed(name, value, fresh)},
    }
    state.update(
        schema_version=model.SCHEMA_VERSION, revision=max(1, _count(data.get("revision")) or 0), total_features=total
    )
    if data["total_features"] != total:
        mended.append(f"total_features was {data['total_features']!r}, there are {total}")
    if not isinstance(state["features_file"], str):
        state["features_file"] = ""
    for name in ("context_token_estimate", "auto_clear_count"):
        state[name] = _count(data.get(name)) or 0

    completed = _indices(data.get("completed_features"), total, "completed_features", mended)
    state["completed_features"] = completed
    state["failed_features"] = _failed(data.get("failed_features"), total, completed, state["updated_at"], mended)
    state["retry_attempts"] = _counters(data.get("retry_attempts"), total, mended)
    state["feature_dependencies"] = _dependencies(data.get("feature_dependencies"), total, mended)
    order = data.get("feature_order") or []
    if order and sorted(map(str, order)) != sorted(map(str, range(total))):
        mended.append(f"feature_order {order!r} is not a permutation and was left out")
        order = []
    state["feature_order"] = [int(index) for index in order]
    state["auto_clear_events"] = _events(data.get("auto_clear_events"), total)
    state["git_operations"] = _by_index(data.get("git_operations"), total, "git_operations", mended)
    if state["status"] not in ("in_progress", "paused", "completed", "failed"):
        if state["status"] != "running":
            mended.append(f"status {state['status']!r} was read as in_progress")
        state["status"] = "in_progress"
    if state["status"] == "paused":
        state["pause"] = {"reason": "paused by an earlier version", "since": state["updated_at"], "resume_after": None}
    state["active"] = None
    settled = model.consistent(state)
    if settled["current_index"] != data["current_index"]:
        mended.append(f"current_index was {data['current_index']!r}, the next feature is {settled['current_index']}")
    return settled, mended


def _empty_but_typed(name: str, value: Any, fresh: State) -> bool:
    """Whether `value` is a null where a new batch has a list, an object or a text."""
    return value is None and name in fresh and fresh[name] is not None


def _count(value: Any) -> Optional[int]:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def _index(value: Any, total: int) -> Optional[int]:
    number = _count(value)
    return number if number is not None and number < total else None


def _indices(values: Any, total: int, place: str, mended: List[str]) -> List[int]:
    kept: List[int] = []
    for value in values if isinstance(values, list) else []:
        index = _index(value, total)
        if index is None or index in kept:
            mended.append(f"{place} held {value!r}, which was left out")
        else:
            kept.append(index)
    return kept


def _failed(values: Any, total: int, completed: List[int], updated: str, mended: List[str]) -> List[State]:
    kept: Dict[int, State] = {}
    for value in values if isinstance(values, list) else []:
        entry: State = dict(value) if isinstance(value, dict) else {"feature_index": value}
        index = _index(entry.get("feature_index"), total)
        if index is None or index in completed:
            why = "is completed too" if index is not None else "is no feature's"
            mended.append(f"failed_features held {value!r}, which {why} and was left out")
            continue
        if index in kept:
            mended.append(f"failed_features held feature index {index} twice; left out: {kept.pop(index)!r}")
        entry["feature_index"] = index
        entry["error_message"] = str(entry.get("error_message") or "Unknown error")
        entry["timestamp"] = str(entry.get("timestamp") or updated)
        for name, fits in (
            ("retry_count", _count(entry.get("retry_count"))),
            ("failure_class", entry.get("failure_class")),
        ):
            if name in entry and (fits is None or (name == "failure_class" and not isinstance(fits, str))):
                mended.append(f"failed_features: {name} {entry.pop(name)!r} of feature index {index} was left out")
        kept[index] = entry
    return list(kept.values())


def _by_index(values: Any, total: int, place: str, mended: List[str]) -> State:
    kept: State = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        index = _index(name, total)
        if index is None or not isinstance(value, dict):
            mended.append(f"{place} held {name!r}: {value!r}, which was left out")
        else:
            kept[model.key(index)] = value
    return kept


def _counters(values: Any, total: int, mended: List[str]) -> State:
    kept: State = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        index, number = _index(name, total), _count(value)
        if index is None or number is None:
            mended.append(f"retry_attempts held {name!r}: {value!r}, which was left out")
        else:
            kept[model.key(index)] = number
    return kept


def _dependencies(values: Any, total: int, mended: List[str]) -> State:
    kept: State = {}
    for name, needs in values.items() if isinstance(values, dict) else ():
        index = _index(name, total)
        if index is not None:
            kept[model.key(index)] = [
                need for need in _indices(needs, total, "feature_dependencies", mended) if need != index
            ]
    cycle = model.find_cycle(kept)
    if cycle:
        mended.append(f"feature_dependencies had a cycle ({cycle}) and were left out: {kept!r}")
        return {}
    return kept


def _events(values: Any, total: int) -> List[State]:
    kept: List[State] = []
    for value in values if isinstance(values, list) else []:
        if isinstance(value, dict):
            event = dict(value)
            before = (
                event.pop("tokens_before", 0)
                if "context_tokens_before_clear" not in event
                else event["context_tokens_before_clear"]
            )
            event["context_tokens_before_clear"] = _count(before) or 0
            event["feature_index"] = _index(event.get("feature_index"), total) or 0
            event["timestamp"] = str(event.get("timestamp") or "")
            kept.append(event)
    return kept
