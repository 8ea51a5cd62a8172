"""Migrate older state files to this version. Pure functions.

Version 0 is a file without `schema_version`, as batch scripts wrote before there was a schema. `migrate` returns a
message for each change; they go to the audit log and quote what is left out. The original file goes to archive/. Rules:

    missing fields          get the default of a new batch; the six required ones must be there
    unknown fields          stay as they are
    batch_id                what cannot stand in one becomes `-`
    status                  `running` is `in_progress`, any other unknown word too; finished only when nothing is left
    features                control and bidi characters become spaces; what is no text becomes its JSON
    total_features          the number of `features`
    completed_features      each index once; a number in a text and `{"index": n}` are that number; any
                            other value is left out
    failed_features         one entry a feature, the last; a bare index gets the error "Unknown error"; one that is
                            completed too is left out
    skipped_features        the same; one that is completed or failed too is left out; what needs a feature that failed
                            or is skipped is skipped, too
    current_index           worked out anew: features never done are not skipped because it ran ahead
    retry_attempts          whole numbers from 0; anything else is left out
    feature_order           only a permutation of all indices; any other is left out
    feature_dependencies    without unknown indices and without a feature's need of itself; with a cycle none at all
    auto_clear_events       `tokens_before` is `context_tokens_before_clear`; the count is at least their number
    git_operations          `commit`, `push` and `pr`; any other goes to `details`, under `other_git_operations`
    issue_numbers           one a feature, numbers from 1, else none at all
    policy                  asks for no evidence: the script that made the batch asserts what is done
    active, pause           left out, as is all that this version keeps by feature (attempts, evidence ...): no script
                            wrote them
    any other field         what does not fit the published schema gets the default of a new batch
"""

from __future__ import annotations

from ..base.text import clean, shorten
from ..core import batch_policy, batch_state, blocked_features
from ..core.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from ..core.batch_state import State

REQUIRED = ("batch_id", "features_file", "total_features", "features", "current_index", "status")


def migrate(data: Any, fits: Callable[[str, Any], bool]) -> Tuple[State, List[str]]:
    """Return `data` (parsed JSON) as a state of this version, and a message for each change. A state of this version is
    returned as it is.

    `fits(name, value)` tells whether a value fits the schema of a top-level field. Raises StateError when `data` cannot
    be a state.
    """
    if not isinstance(data, dict):
        raise StateError(
            f"Corrupted batch state file: a JSON object is expected, this is {type(data).__name__}.", "state-damaged"
        )
    version = data.get("schema_version", 0)
    if version == batch_state.SCHEMA_VERSION and type(version) is int:
        return data, []
    if version != 0 or type(version) is bool:
        raise StateError(
            f"The state has schema_version {version!r}; this batch-implement reads up to {batch_state.SCHEMA_VERSION}. "
            "A newer one wrote it: update the plugin.",
            "installation",
        )
    missing = [name for name in REQUIRED if name not in data]
    if missing:
        raise StateError(f"Missing required fields: {missing}.", "state-damaged")
    if not isinstance(data["features"], list) or not data["features"]:
        raise StateError(
            "Corrupted batch state file: features is not a list with at least one feature.", "state-damaged"
        )
    return _Migration(data, fits).run()


class _Migration:
    """The migration of one file of version 0. `changes` says what was changed."""

    def __init__(self, data: State, fits: Callable[[str, Any], bool]) -> None:
        self.data, self.fits = data, fits
        self.total = len(data["features"])
        self.changes: List[str] = []

    def run(self) -> Tuple[State, List[str]]:
        data = self.data
        fresh = batch_state.new_state(
            self._batch_id(), self._features(), "", policy=batch_policy.create_policy(evidence=[])
        )
        updated_at = data["updated_at"] if isinstance(data.get("updated_at"), str) else ""
        completed = self._indices(data.get("completed_features"), "completed_features")
        failed = self._outcomes("failed_features", completed, "error_message", batch_state.UNKNOWN_ERROR, updated_at)
        closed = [*completed, *(entry["feature_index"] for entry in failed)]
        skipped = self._outcomes("skipped_features", closed, "reason", "skipped by an earlier version", updated_at)
        state: State = {
            **fresh,
            "schema_version": batch_state.SCHEMA_VERSION,
            "revision": max(1, _whole_number(data.get("revision")) or 0),
            "status": self._status(),
            "completed_features": completed,
            "failed_features": failed,
            "skipped_features": skipped,
            "retry_attempts": self._by_index("retry_attempts", _whole_number),
            "feature_order": self._feature_order(),
            "feature_dependencies": self._dependencies(),
            "auto_clear_events": self._clear_events(),
            "issue_numbers": self._issue_numbers(),
        }
        state["git_operations"], other_operations = self._git_operations()
        state["details"] = {name: {"other_git_operations": operations} for name, operations in other_operations.items()}
        state["auto_clear_count"] = max(
            _whole_number(data.get("auto_clear_count")) or 0, len(state["auto_clear_events"])
        )
        state["context_token_estimate"] = _whole_number(data.get("context_token_estimate")) or 0
        self._copy_other_fields(state, fresh)
        if data["total_features"] != self.total:
            self.changes.append(f"total_features was {_as_json(data['total_features'])}, there are {self.total}")
        if state["status"] == "paused":
            state["pause"] = {"reason": "paused by an earlier version", "since": updated_at, "resume_after": None}
        return self._with_derived_fields(state, updated_at), self.changes

    def _with_derived_fields(self, state: State, updated_at: str) -> State:
        derived = blocked_features.update_blocked(state, updated_at)
        for entry in derived["skipped_features"][len(state["skipped_features"]) :]:
            self.changes.append(f"feature index {entry['feature_index']} is skipped now: {entry['reason']}")
        before, now = self.data["current_index"], derived["current_index"]
        if now != before:
            self.changes.append(f"current_index was {_as_json(before)}, the next feature is {now}")
        return derived

    def _copy_other_fields(self, state: State, fresh: State) -> None:
        """Copy the fields that have no rule of their own, and unknown ones."""
        for name, value in self.data.items():
            if name in _FIELDS_WITH_RULES or (value is None and fresh.get(name) is not None):
                continue
            if name in _NEW_FIELDS:
                if value:
                    self._omit(name, value, "means nothing without schema_version")
            elif name not in fresh or self.fits(name, value):
                state[name] = value
            else:
                self.changes.append(
                    f"{name} was {_as_json(value)}, which does not fit, and is {_as_json(fresh[name])} now"
                )

    def _omit(self, place: str, value: Any, why: str) -> None:
        self.changes.append(f"{place} held {_as_json(value)}, which {why} and was left out")

    def _batch_id(self) -> str:
        original = self.data["batch_id"]
        text = original if isinstance(original, str) else _as_json(original)
        characters = (char if batch_state.is_valid_batch_id(char) else "-" for char in text)
        batch_id = "".join(characters)[:100].replace("..", "--") or "batch"
        if batch_id.startswith("-"):
            batch_id = f"batch{batch_id}"[:100]
        if batch_id != original:
            self.changes.append(f"batch_id was {_as_json(original)}, it is {batch_id} now")
        return batch_id

    def _features(self) -> List[str]:
        texts = []
        for index, original in enumerate(self.data["features"]):
            text = clean(original if isinstance(original, str) else _as_json(original)) or "(no text)"
            if text != original:
                self.changes.append(
                    f"the text of feature index {index} was {_as_json(original)}, it is {_as_json(text)} now"
                )
            texts.append(text)
        return texts

    def _status(self) -> str:
        status = self.data["status"]
        if status in ("in_progress", "paused", "completed", "failed"):
            return str(status)
        if status != "running":
            self.changes.append(f"status {_as_json(status)} was read as in_progress")
        return "in_progress"

    def _index(self, value: Any) -> Optional[int]:
        number = _whole_number(batch_state.unwrap_index(value))
        return number if number is not None and number < self.total else None

    def _list(self, place: str) -> List[Any]:
        values = self.data.get(place)
        if values is not None and not isinstance(values, list):
            self._omit(place, values, "is not a list")
        return values if isinstance(values, list) else []

    def _indices(self, values: Any, place: str) -> List[int]:
        kept: List[int] = []
        for value in values if isinstance(values, list) else [] if values is None else [values]:
            index = self._index(value)
            if index is None or index in kept:
                self._omit(place, value, _NOT_AN_INDEX if index is None else "is a duplicate")
            else:
                kept.append(index)
        return kept

    def _outcomes(self, place: str, excluded: List[int], text: str, default: str, updated_at: str) -> List[State]:
        """Return the last entry of each feature that is not in `excluded`; `text` names the field with its reason."""
        kept: Dict[int, State] = {}
        for value in self._list(place):
            entry: State = dict(value) if isinstance(value, dict) else {"feature_index": value}
            index = self._index(entry.get("feature_index"))
            if index is None or index in excluded:
                self._omit(place, value, _NOT_AN_INDEX if index is None else "has another outcome")
                continue
            if index in kept:
                self._omit(place, kept.pop(index), "is a duplicate")
            entry.update(
                feature_index=index,
                timestamp=entry["timestamp"] if isinstance(entry.get("timestamp"), str) else updated_at,
                **{text: _as_text(entry.get(text)) or default},
            )
            if _whole_number(entry.get("retry_count")) is not None:
                entry["retry_count"] = _whole_number(entry["retry_count"])
            for name in ("retry_count", "failure_class"):
                alone = {part: entry[part] for part in ("feature_index", "timestamp", text, name) if part in entry}
                if name in entry and not self.fits(place, [alone]):
                    self._omit(f"{place}, {name} of feature index {index}", entry.pop(name), "does not fit")
            kept[index] = entry
        return list(kept.values())

    def _by_index(self, place: str, convert: Callable[[Any], Any]) -> State:
        """Return an object keyed by feature index with the values that `convert` does not turn into None."""
        kept: State = {}
        values = self.data.get(place)
        if values is not None and not isinstance(values, dict):
            self._omit(place, values, "is not an object")
        for name, value in values.items() if isinstance(values, dict) else ():
            index, converted = self._index(name), convert(value)
            if index is None or converted is None:
                self._omit(place, {name: value}, _NOT_AN_INDEX if index is None else "does not fit")
            else:
                kept[batch_state.key(index)] = converted
        return kept

    def _feature_order(self) -> List[int]:
        values = self._list("feature_order")
        order = [index for index in map(self._index, values) if index is not None]
        if values and sorted(order) != list(range(self.total)):
            self._omit("feature_order", values, "is not a permutation of all indices")
            return []
        return order

    def _dependencies(self) -> Dict[str, List[int]]:
        name = "feature_dependencies"
        kept: Dict[str, List[int]] = {}
        for at, values in self._by_index(name, lambda value: value if isinstance(value, list) else None).items():
            needs = self._indices(values, name)
            if int(at) in needs:
                self._omit(name, {at: int(at)}, "needs itself")
            kept[at] = [index for index in needs if index != int(at)]
        cycle = batch_state.find_cycle(kept)
        if cycle:
            self._omit(name, kept, f"has a cycle ({' needs '.join(map(str, cycle))})")
            return {}
        return kept

    def _clear_events(self) -> List[State]:
        kept: List[State] = []
        for value in self._list("auto_clear_events"):
            if not isinstance(value, dict):
                self._omit("auto_clear_events", value, "is not an event")
                continue
            event = dict(value)
            tokens = event.get("context_tokens_before_clear", event.pop("tokens_before", 0))
            event["context_tokens_before_clear"] = _whole_number(tokens) or 0
            event["feature_index"] = _whole_number(event.get("feature_index")) or 0
            event["timestamp"] = event["timestamp"] if isinstance(event.get("timestamp"), str) else ""
            kept.append({name: part for name, part in event.items() if name not in ("context", "reminded")})
        return kept

    def _git_operations(self) -> Tuple[State, State]:
        """Return the operations that the schema knows and the others, both keyed by feature index."""
        kept: State = {}
        others: State = {}
        by_feature = self._by_index("git_operations", lambda value: value if isinstance(value, dict) else None)
        for name, operations in by_feature.items():
            for operation, record in operations.items():
                if isinstance(record, dict) and "timestamp" not in record:
                    record = {**record, "timestamp": ""}
                is_known = self.fits("git_operations", {name: {operation: record}})
                (kept if is_known else others).setdefault(name, {})[operation] = record
        for name, operations in others.items():
            self.changes.append(f"git_operations of feature index {name}: {', '.join(operations)} went to its details")
        return kept, others

    def _issue_numbers(self) -> Optional[List[int]]:
        values = self.data.get("issue_numbers")
        if values is None or values == []:
            return None
        numbers = [_whole_number(value) for value in values] if isinstance(values, list) else []
        if len(numbers) != self.total or not all(numbers):
            self._omit("issue_numbers", values, "is not one number for each feature")
            return None
        return [number for number in numbers if number]


_NOT_AN_INDEX = "is not a feature's index"
_FIELDS_WITH_RULES = frozenset((
    "schema_version", "revision", "batch_id", "status", "features", "total_features", "current_index",
    "completed_features", "failed_features", "skipped_features", "retry_attempts", "feature_order",
    "feature_dependencies", "issue_numbers", "git_operations", "auto_clear_events", "auto_clear_count",
    "context_token_estimate",
))  # fmt: skip
_NEW_FIELDS = frozenset((
    "active", "pause", "retry_allowance", "attempts", "evidence", "issue_updates", "details", "timings",
))  # fmt: skip
_MAX_JSON_CHARS = 2000


def _whole_number(value: Any) -> Optional[int]:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else _as_json(value)


def _as_json(value: Any) -> str:
    """Return a value as JSON, shortened for a message."""
    from json import dumps

    return shorten(dumps(value, ensure_ascii=False), _MAX_JSON_CHARS)
