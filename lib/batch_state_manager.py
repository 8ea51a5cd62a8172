"""The state of a batch, for scripts: the interface that batch scripts import (docs/library.md).

    from batch_state_manager import create_batch_state, load_batch_state, save_batch_state, update_batch_progress

Each call is thin: `api.state_files` reads and writes, `api.assertions` says what follows from an assertion.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import operator
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from batch_implement.api import assertions, deprecation, path_policy, state_files
from batch_implement.base import timestamps
from batch_implement.core import batch_state, policies

del sys.path[0]

__all__ = [
    "CONTEXT_THRESHOLD", "DEFAULT_STATE_FILE", "LOCK_TIMEOUT", "BatchState", "BatchStateError", "BatchStateManager",
    "BatchStateValueError", "audit_log_security_event", "cleanup_batch_state", "create_batch_state",
    "estimate_context_tokens", "get_clear_notification_message", "get_default_state_file", "get_feature_git_status",
    "get_next_pending_feature", "get_retry_count", "increment_retry_count", "load_batch_state", "mark_feature_status",
    "pause_batch_for_clear", "record_auto_clear_event", "record_git_operation", "save_batch_state",
    "should_auto_clear", "should_clear_context", "update_batch_progress",
]  # fmt: skip

DEFAULT_STATE_FILE: Path  # see __getattr__
CONTEXT_THRESHOLD = assertions.CONTEXT_THRESHOLD
LOCK_TIMEOUT = 30  # seconds


class BatchStateError(Exception):
    """What went wrong with a batch's state; nothing was changed."""


class BatchStateValueError(BatchStateError, ValueError):
    """An argument that cannot be right: a path that is refused, a status, an index."""


_door = deprecation.raises(BatchStateError, BatchStateValueError)


@dataclass
class BatchState:
    """A batch: the fields of its file. Dicts keyed by a feature's index have int keys."""

    batch_id: str
    features_file: str
    total_features: int
    features: List[str]
    current_index: int = 0
    completed_features: List[int] = field(default_factory=list)
    failed_features: List[Dict[str, Any]] = field(default_factory=list)
    context_token_estimate: int = 0
    auto_clear_count: int = 0
    auto_clear_events: List[Dict[str, Any]] = field(default_factory=list)
    created_at: str = ""
    updated_at: str = ""
    status: str = "in_progress"
    issue_numbers: Optional[List[int]] = None
    source_type: str = "file"
    state_file: str = ""
    context_tokens_before_clear: Optional[int] = None
    paused_at_feature_index: Optional[int] = None
    retry_attempts: Dict[int, int] = field(default_factory=dict)
    git_operations: Dict[int, Dict[str, Any]] = field(default_factory=dict)
    feature_order: List[int] = field(default_factory=list)
    feature_dependencies: Dict[int, List[int]] = field(default_factory=dict)
    analysis_metadata: Dict[str, Any] = field(default_factory=dict)
    workflow_mode: str = "auto-implement"
    workflow_reminder: str = batch_state.WORKFLOW_REMINDER
    schema_version: int = batch_state.SCHEMA_VERSION
    revision: int = 0
    skipped_features: List[Dict[str, Any]] = field(default_factory=list)
    retry_allowance: Dict[int, int] = field(default_factory=dict)
    attempts: Dict[int, List[Dict[str, Any]]] = field(default_factory=dict)
    active: Optional[Dict[str, Any]] = None
    evidence: Dict[int, Dict[str, Any]] = field(default_factory=dict)
    issue_updates: Dict[int, Dict[str, Any]] = field(default_factory=dict)
    details: Dict[int, Dict[str, Any]] = field(default_factory=dict)
    decisions: List[Dict[str, Any]] = field(default_factory=list)
    policy: Dict[str, Any] = field(default_factory=lambda: policies.create_policy(evidence=[]))
    owner: Optional[Dict[str, Any]] = None
    pause: Optional[Dict[str, Any]] = None
    continuation: Dict[str, Any] = field(default_factory=dict)
    failures_in_a_row: int = 0
    untracked_at_start: List[str] = field(default_factory=list)
    timings: Dict[int, Dict[str, Any]] = field(default_factory=dict)
    unknown_fields: Dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in assertions.BY_INDEX:
            setattr(self, name, assertions.int_keys(getattr(self, name)))

    def to_dict(self) -> Dict[str, Any]:
        """Plain data of its own, as the file has it but for the int keys."""
        return copy.deepcopy({**self.unknown_fields, **{name: getattr(self, name) for name in _FIELDS}})


_FIELDS = tuple(item.name for item in dataclasses.fields(BatchState) if item.name != "unknown_fields")


def __getattr__(name: str) -> Path:
    if name == "DEFAULT_STATE_FILE":
        return get_default_state_file()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_default_state_file() -> Path:
    """Path of the project's state file, worked out now; outside a project `.claude/batch_state.json`."""
    return Path(path_policy.default_state_file())


@_door
def create_batch_state(
    features_file_or_features: Any = None,
    features_or_none: Any = None,
    issue_numbers: Optional[List[int]] = None,
    source_type: str = "file",
    state_file: Any = None,
    *,
    features: Any = None,
    features_file: Any = None,
    batch_id: Optional[str] = None,
) -> BatchState:
    """A new batch, nothing written: `create_batch_state("features.txt", ["a", "b"])` or all by keyword."""
    given = (features_file_or_features, features_or_none)
    name, texts, chosen = state_files.new_batch(given, features, features_file, batch_id)
    return BatchState(
        chosen, name, len(texts), texts,
        created_at=timestamps.now(), source_type=source_type, state_file=str(state_file or ""),
        issue_numbers=list(issue_numbers) if issue_numbers else None,
    )  # fmt: skip


@_door
def save_batch_state(state_file: Any, state: BatchState) -> None:
    """Write `state`, and set its `revision` and `updated_at`. A relative path counts from the project's root.

    An error when another process wrote the file since `state` was loaded, or when another unfinished batch is in it. A
    finished one goes to the archive.
    """
    written = state_files.save(state_file, _plain(state), LOCK_TIMEOUT)
    for name in ("revision", "updated_at", "state_file"):
        setattr(state, name, written[name])


@_door
def load_batch_state(state_file: Any) -> BatchState:
    """The batch in a file. An old file is mended, and the audit log says how."""
    return _from_plain(state_files.load(state_file, LOCK_TIMEOUT))


@_door
def update_batch_progress(
    state_file: Any, feature_index: int, status: str, context_token_delta: int = 0,
    error_message: Optional[str] = None, token_delta: Optional[int] = None,
) -> None:  # fmt: skip
    """A feature is `completed` or `failed`; adds the tokens. `completed` is refused where evidence is asked for."""
    added = context_token_delta if token_delta is None else token_delta
    state_files.progress(state_file, feature_index, status, LOCK_TIMEOUT, tokens=added, error=error_message)


@_door
def mark_feature_status(
    state_file: Any, feature_index: int, status: str, error_message: Optional[str] = None,
    retry_count: Optional[int] = None,
) -> None:  # fmt: skip
    """A feature is `completed` (then it is no failed one any more) or `failed`, with `retry_count` when given."""
    state_files.progress(state_file, feature_index, status, LOCK_TIMEOUT, error=error_message, retry_count=retry_count)


@_door
def increment_retry_count(state_file: Any, feature_index: int) -> None:
    """One more attempt of a feature is used up."""
    state_files.change(state_file, lambda state: assertions.count_retry(state, feature_index), LOCK_TIMEOUT)


@_door
def record_auto_clear_event(state_file: Any, feature_index: int, context_tokens_before_clear: int) -> None:
    """The window was cleared at a feature: the event is kept and counted, the token estimate is 0."""
    clear = (feature_index, context_tokens_before_clear, timestamps.now())
    state_files.change(state_file, lambda state: assertions.record_clear(state, *clear), LOCK_TIMEOUT)


@_door
def cleanup_batch_state(state_file: Any) -> None:
    """Remove a batch's state file, and no other file; its last version stays in the archive. A missing one is fine."""
    state_files.remove(state_file, LOCK_TIMEOUT)


def should_auto_clear(state: BatchState) -> bool:
    """Whether the token estimate has reached CONTEXT_THRESHOLD."""
    return state.context_token_estimate >= CONTEXT_THRESHOLD


def estimate_context_tokens(text: str) -> int:
    """Tokens of a text, roughly: one for four characters."""
    return len(text or "") // 4


@_door
def get_next_pending_feature(state: BatchState) -> Optional[str]:
    """Text of the feature to do next, None when none is left. `current_index` at or past the end: None.

    The feature at `current_index`, if it is still to do; else the first in order whose dependencies are completed.
    """
    index = assertions.following(_plain(state), state.current_index)
    return None if index is None else state.features[index]


@_door
def get_retry_count(state: BatchState, feature_index: int) -> int:
    """Attempts that a feature has used up."""
    assertions.check_index(vars(state), feature_index)
    return state.retry_attempts.get(feature_index, 0)


@_door
def record_git_operation(
    state: BatchState, feature_index: int, operation: str, success: bool, commit_sha: Optional[str] = None,
    branch: Optional[str] = None, remote: Optional[str] = None, pr_number: Optional[int] = None,
    pr_url: Optional[str] = None, error_message: Optional[str] = None, **extra: Any,
) -> BatchState:  # fmt: skip
    """A new state in which `commit`, `push` or `pr` of a feature is recorded. The one given is not changed."""
    assertions.check_index(vars(state), feature_index, "feature_index")
    said = {"sha": commit_sha, "branch": branch, "remote": remote, "number": pr_number, "url": pr_url}
    record = assertions.git_record(operation, success, timestamps.now(), {**extra, **said, "error": error_message})
    changed = {**copy.deepcopy(state.git_operations.get(feature_index, {})), operation: record}
    return dataclasses.replace(state, git_operations={**state.git_operations, feature_index: changed})


def get_feature_git_status(state: BatchState, feature_index: int) -> Optional[Dict[str, Any]]:
    """What was recorded of a feature's `commit`, `push` and `pr`; None for nothing."""
    return state.git_operations.get(feature_index)


def audit_log_security_event(event_type: str, details: Any) -> None:
    """Append an event to the project's audit log."""
    path_policy.tell(event_type, "security", details)


@deprecation.deprecated
def should_clear_context(state: BatchState) -> bool:
    """Whether the token estimate has reached CONTEXT_THRESHOLD. Deprecated: `should_auto_clear` says the same."""
    return should_auto_clear(state)


@deprecation.deprecated
def get_clear_notification_message(
    batch_id_or_state: Any, feature_index: Optional[int] = None, tokens_before_clear: Optional[int] = None
) -> str:
    """What to tell a person when the window is full, for a state or a batch id (of 10 features, then). Deprecated."""
    given = batch_id_or_state
    state = BatchState(given, "", 10, []) if isinstance(given, str) else given
    index = state.current_index if feature_index is None else feature_index
    tokens = state.context_token_estimate if tokens_before_clear is None else tokens_before_clear
    return assertions.clear_notice(state.batch_id, index, state.total_features, tokens)


@deprecation.deprecated
@_door
def pause_batch_for_clear(state_file: Any, feature_index_or_state: Any, tokens_before_clear: int) -> None:
    """Pause a batch at a feature; a state that is given is changed in place, too. Deprecated."""
    given = feature_index_or_state

    def pause(state: BatchState, index: int) -> None:
        changes = assertions.paused_for_clear(vars(state), index, tokens_before_clear, timestamps.now())
        paused = dataclasses.replace(state, **changes)
        save_batch_state(state_file, paused)
        vars(state).update(vars(paused))

    if isinstance(given, int):
        state_files.again_while_stale(lambda: pause(load_batch_state(state_file), given))
    else:
        pause(given, min(given.current_index, given.total_features))


_on_file = functools.partial(deprecation.method, globals(), on=operator.attrgetter("state_file"))
_on_state = functools.partial(deprecation.method, globals(), on=operator.methodcaller("load_batch_state"))


class BatchStateManager:
    """The calls above as methods on one file, by default the project's. Its folder is made."""

    load_batch_state = load_state = _on_file("load_batch_state")
    save_batch_state = save_state = _on_file("save_batch_state")
    record_auto_clear_event = _on_file("record_auto_clear_event")
    mark_feature_status = _on_file("mark_feature_status")
    increment_retry_count = _on_file("increment_retry_count")
    cleanup_batch_state = _on_file("cleanup_batch_state")
    should_auto_clear = _on_state("should_auto_clear")
    get_next_pending_feature = _on_state("get_next_pending_feature")
    get_retry_count = _on_state("get_retry_count")
    get_feature_git_status = _on_state("get_feature_git_status")

    @_door
    def __init__(self, state_file: Any = None) -> None:
        self.state_file = Path(state_files.made_ready(get_default_state_file() if state_file is None else state_file))

    def create_batch_state(
        self, features: Any, batch_id: Any = None, issue_numbers: Any = None, features_file: Any = None
    ) -> BatchState:
        """A new batch for this file, nothing written; `(features_file, features)` is understood as in the call."""
        if isinstance(batch_id, (list, tuple)):
            features_file, features, batch_id = features, batch_id, None
        return self.create_batch(features, features_file, batch_id, issue_numbers)

    @_door
    def create_batch(
        self, features: Any, features_file: Any = None, batch_id: Any = None, issue_numbers: Any = None
    ) -> BatchState:
        """A new batch for this file, nothing written; ValueError for a features file that may not be."""
        if features_file is not None:
            path_policy.checked(features_file, "features file")
        return create_batch_state(
            features=features, features_file=features_file, batch_id=batch_id, issue_numbers=issue_numbers,
            source_type="issues" if issue_numbers else "file", state_file=self.state_file,
        )  # fmt: skip

    def update_batch_progress(self, feature_index: int, status: str, tokens_consumed: int = 0) -> None:
        """A feature is `completed` or `failed`."""
        update_batch_progress(self.state_file, feature_index, status, tokens_consumed)

    @_door
    def record_git_operation(self, *operation: Any, **said: Any) -> BatchState:
        """Record `commit`, `push` or `pr` of a feature in the file; the state then."""

        def recorded(plain: Dict[str, Any]) -> Dict[str, Any]:
            state = record_git_operation(_from_plain(plain), *operation, **said)
            return {**plain, "git_operations": _plain(state)["git_operations"]}

        return _from_plain(state_files.change(self.state_file, recorded, LOCK_TIMEOUT))


def _plain(state: BatchState) -> Dict[str, Any]:
    return state_files.plain(state.to_dict, f"Failed to save batch {state.batch_id}")


def _from_plain(plain: Dict[str, Any]) -> BatchState:
    known = {name: value for name, value in plain.items() if name in _FIELDS and value is not None}
    return BatchState(**known, unknown_fields={name: plain[name] for name in plain if name not in _FIELDS})
