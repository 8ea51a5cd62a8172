"""Older state files as states of this version. Pure.

Version 0 is a file without `schema_version`, as batch scripts wrote before there was a schema. The rules, each of
which is told in what `migrate` returns and so lands in the audit log; what is left out is quoted there, and the file as
it was is kept in archive/:

    missing fields          get the default of a new batch; the six required ones must be there
    unknown fields          stay as they are
    batch_id                what cannot stand in one becomes `-`
    status                  `running` is `in_progress`, any other unknown word too; finished only when nothing is left
    features                control and bidi characters become spaces; what is no text becomes its JSON
    total_features          the number of `features`
    completed_features      each index once; a number in a text is that number; what is no feature's index is left out
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
    any other field         what does not fit the published schema gets the default of a new batch
"""

from __future__ import annotations

from ..base.text import clean
from ..core import batch_state, policies
from ..core.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

    from ..core.batch_state import State

REQUIRED = ("batch_id", "features_file", "total_features", "features", "current_index", "status")


def migrate(data: Any, fits: Callable[[str, Any], bool]) -> Tuple[State, List[str]]:
    """`data` (parsed JSON) as a state of this version, and what had to be mended, a sentence each.

    `fits` tells whether a value fits the schema of a top-level field. A state of this version comes back as it is.
    `StateUnusable` when it cannot be a state at all.
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
    return _Mending(data, fits).state()


class _Mending:
    """One file of version 0 on its way to a state; `mended` says what was done to it."""

    def __init__(self, data: State, fits: Callable[[str, Any], bool]) -> None:
        self.data, self.fits = data, fits
        self.total = len(data["features"])
        self.mended: List[str] = []

    def state(self) -> Tuple[State, List[str]]:
        from ..api import assertions

        data = self.data
        fresh = batch_state.new_state(self.batch_id(), self.features(), "", policy=policies.create_policy(evidence=[]))
        given = data.get("updated_at")
        updated = given if isinstance(given, str) else ""
        completed = self.indices(data.get("completed_features"), "completed_features")
        failed = self.entries("failed_features", set(completed), "error_message", assertions.UNKNOWN_ERROR, updated)
        settled = {*completed, *(entry["feature_index"] for entry in failed)}
        state: State = {
            **fresh,
            "schema_version": batch_state.SCHEMA_VERSION,
            "revision": max(1, _count(data.get("revision")) or 0),
            "status": self.status(),
            "completed_features": completed,
            "failed_features": failed,
            "skipped_features": self.entries(
                "skipped_features", settled, "reason", "skipped by an earlier version", updated
            ),
            "retry_attempts": self.by_index("retry_attempts", _count),
            "feature_order": self.order(),
            "feature_dependencies": self.dependencies(),
            "auto_clear_events": self.events(),
            "issue_numbers": self.issue_numbers(),
        }
        state["git_operations"], others = self.git_operations()
        state["details"] = self.by_index("details", _object)
        for name, operations in others.items():
            state["details"][name] = {**state["details"].get(name, {}), "other_git_operations": operations}
        for name in ("retry_allowance", "attempts", "evidence", "issue_updates", "timings"):
            state[name] = self.by_index(name, self.fitting(name))
        state["auto_clear_count"] = max(_count(data.get("auto_clear_count")) or 0, len(state["auto_clear_events"]))
        state["context_token_estimate"] = _count(data.get("context_token_estimate")) or 0
        self.others(state, fresh)
        if data["total_features"] != self.total:
            self.mended.append(f"total_features was {_shown(data['total_features'])}, there are {self.total}")
        if state["status"] == "paused":
            state["pause"] = {"reason": "paused by an earlier version", "since": updated, "resume_after": None}
        consistent = assertions.settled(state, updated)
        for entry in consistent["skipped_features"][len(state["skipped_features"]) :]:
            self.mended.append(f"feature index {entry['feature_index']} is skipped now: {entry['reason']}")
        if consistent["current_index"] != data["current_index"]:
            self.mended.append(
                f"current_index was {_shown(data['current_index'])}, the next feature is {consistent['current_index']}"
            )
        return consistent, self.mended

    def others(self, state: State, fresh: State) -> None:
        """Take over the fields that have no rule of their own, and unknown ones."""
        for name, value in self.data.items():
            if name in _RULED or (value is None and fresh.get(name) is not None):
                continue
            if name in ("active", "pause"):
                if value is not None:
                    self.left_out(name, value, "means nothing without schema_version")
            elif name not in fresh or self.fits(name, value):
                state[name] = value
            else:
                self.mended.append(f"{name} was {_shown(value)}, which does not fit, and is {_shown(fresh[name])} now")

    def left_out(self, place: str, value: Any, why: str = "is no feature's") -> None:
        self.mended.append(f"{place} held {_shown(value)}, which {why} and was left out")

    def batch_id(self) -> str:
        given = self.data["batch_id"]
        text = given if isinstance(given, str) else _shown(given)
        kept = (
            "".join(char if batch_state.is_valid_batch_id(char) else "-" for char in text)[:100].replace("..", "--")
            or "batch"
        )
        if kept != given:
            self.mended.append(f"batch_id was {_shown(given)}, it is {kept} now")
        return kept

    def features(self) -> List[str]:

        texts = []
        for index, given in enumerate(self.data["features"]):
            text = clean(given if isinstance(given, str) else _shown(given)) or "(no text)"
            if text != given:
                self.mended.append(f"the text of feature index {index} was {_shown(given)}, it is {_shown(text)} now")
            texts.append(text)
        return texts

    def status(self) -> str:
        given = self.data["status"]
        if given in ("in_progress", "paused", "completed", "failed"):
            return str(given)
        if given != "running":
            self.mended.append(f"status {_shown(given)} was read as in_progress")
        return "in_progress"

    def index(self, value: Any) -> Optional[int]:
        number = _count(value)
        return number if number is not None and number < self.total else None

    def listed(self, place: str) -> List[Any]:
        """The elements of a field that should be a list."""
        values = self.data.get(place)
        if values is not None and not isinstance(values, list):
            self.left_out(place, values, "is no list")
        return values if isinstance(values, list) else []

    def indices(self, values: Any, place: str) -> List[int]:
        kept: List[int] = []
        for value in values if isinstance(values, list) else [] if values is None else [values]:
            index = self.index(value)
            if index is None or index in kept:
                self.left_out(place, value, "is no feature's" if index is None else "is there twice")
            else:
                kept.append(index)
        return kept

    def entries(self, place: str, elsewhere: Iterable[int], says: str, default: str, updated: Any) -> List[State]:
        kept: Dict[int, State] = {}
        for value in self.listed(place):
            entry: State = dict(value) if isinstance(value, dict) else {"feature_index": value}
            index = self.index(entry.get("feature_index"))
            if index is None or index in elsewhere:
                self.left_out(place, value, "is no feature's" if index is None else "has another outcome")
                continue
            if index in kept:
                self.left_out(place, kept.pop(index), "is there twice")
            entry.update(
                feature_index=index,
                timestamp=entry["timestamp"] if isinstance(entry.get("timestamp"), str) else updated,
                **{says: _text(entry.get(says)) or default},
            )
            if _count(entry.get("retry_count")) is not None:
                entry["retry_count"] = _count(entry["retry_count"])
            for name in ("retry_count", "failure_class"):
                alone = {part: entry[part] for part in ("feature_index", "timestamp", says, name) if part in entry}
                if name in entry and not self.fits(place, [alone]):
                    self.left_out(f"{place}, {name} of feature index {index}", entry.pop(name), "does not fit")
            kept[index] = entry
        return list(kept.values())

    def fitting(self, place: str) -> Callable[[Any], Any]:
        """A reader for `by_index`: a value that fits, or None."""
        return lambda value: value if self.fits(place, {"0": value}) else None

    def by_index(self, place: str, read: Callable[[Any], Any]) -> State:
        kept: State = {}
        values = self.data.get(place)
        if values is not None and not isinstance(values, dict):
            self.left_out(place, values, "is no object")
        for name, value in values.items() if isinstance(values, dict) else ():
            index, content = self.index(name), read(value)
            if index is None or content is None:
                self.left_out(place, {name: value}, "is no feature's" if index is None else "does not fit")
            else:
                kept[batch_state.key(index)] = content
        return kept

    def order(self) -> List[int]:
        given = self.listed("feature_order")
        order = [index for index in map(self.index, given) if index is not None]
        if given and sorted(order) != list(range(self.total)):
            self.left_out("feature_order", given, "is no permutation of all indices")
            return []
        return order

    def dependencies(self) -> Dict[str, List[int]]:
        given = self.by_index("feature_dependencies", lambda value: value if isinstance(value, list) else None)
        kept: Dict[str, List[int]] = {}
        for name, needs in given.items():
            needed = self.indices(needs, "feature_dependencies")
            if int(name) in needed:
                self.left_out("feature_dependencies", {name: int(name)}, "needs itself")
            kept[name] = [index for index in needed if index != int(name)]
        cycle = batch_state.find_cycle(kept)
        if cycle:
            self.left_out("feature_dependencies", kept, f"has a cycle ({' needs '.join(map(str, cycle))})")
            return {}
        return kept

    def events(self) -> List[State]:
        kept: List[State] = []
        for value in self.listed("auto_clear_events"):
            if not isinstance(value, dict):
                self.left_out("auto_clear_events", value, "is no event")
                continue
            event = dict(value)
            before = event.pop("tokens_before", 0)
            event["context_tokens_before_clear"] = _count(event.get("context_tokens_before_clear", before)) or 0
            event["feature_index"] = _count(event.get("feature_index")) or 0
            event["timestamp"] = event["timestamp"] if isinstance(event.get("timestamp"), str) else ""
            for name in ("context", "reminded"):
                if name in event and not self.fits("auto_clear_events", [event]):
                    self.left_out(f"auto_clear_events, {name}", event.pop(name), "does not fit")
            kept.append(event)
        return kept

    def git_operations(self) -> Tuple[State, State]:
        kept: State = {}
        others: State = {}
        for name, operations in self.by_index("git_operations", _object).items():
            kept[name] = {}
            for operation, record in operations.items():
                if isinstance(record, dict) and "timestamp" not in record:
                    record = {**record, "timestamp": ""}
                fits = self.fits("git_operations", {name: {operation: record}})
                (kept if fits else others).setdefault(name, {})[operation] = record
        for name, operations in others.items():
            self.mended.append(f"git_operations of feature index {name}: {', '.join(operations)} went to its details")
        return {name: operations for name, operations in kept.items() if operations}, others

    def issue_numbers(self) -> Optional[List[int]]:
        given = self.data.get("issue_numbers")
        if given is None or given == []:
            return None
        numbers = [_count(value) for value in given] if isinstance(given, list) else []
        if len(numbers) != self.total or not all(numbers):
            self.left_out("issue_numbers", given, "is not one number a feature")
            return None
        return [number for number in numbers if number]


_RULED = frozenset((
    "schema_version", "revision", "batch_id", "status", "features", "total_features", "current_index",
    "completed_features", "failed_features", "skipped_features", "retry_attempts", "retry_allowance", "attempts",
    "feature_order", "feature_dependencies", "issue_numbers", "git_operations", "issue_updates", "details", "evidence",
    "timings", "auto_clear_events", "auto_clear_count", "context_token_estimate",
))  # fmt: skip
_SHOWN = 2000


def _count(value: Any) -> Optional[int]:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def _object(value: Any) -> Optional[State]:
    return value if isinstance(value, dict) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else _shown(value)


def _shown(value: Any) -> str:
    """A value as JSON, for a message."""
    from json import dumps

    text = dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...[truncated]"
