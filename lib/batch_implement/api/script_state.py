"""A state as scripts hold it: a dataclass whose dicts by feature have int keys."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from ..core import batch_policy, batch_state
from . import script_changes, state_files


@dataclass
class BatchState:
    """The fields of a state file. Dicts keyed by a feature index have int keys."""

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
    policy: Dict[str, Any] = field(default_factory=lambda: batch_policy.create_policy(evidence=[]))
    owner: Optional[Dict[str, Any]] = None
    pause: Optional[Dict[str, Any]] = None
    run: Optional[Dict[str, Any]] = None
    attempt_of: Optional[Dict[str, Any]] = None
    continuation: Dict[str, Any] = field(default_factory=dict)
    failures_in_a_row: int = 0
    branch: Optional[str] = None
    verify_environment: Optional[Dict[str, Any]] = None
    untracked_at_start: List[str] = field(default_factory=list)
    timings: Dict[int, Dict[str, Any]] = field(default_factory=dict)
    tick: Optional[Dict[str, Any]] = None
    unknown_fields: Dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in script_changes.BY_INDEX:
            setattr(self, name, script_changes.with_int_keys(getattr(self, name)))

    def to_dict(self) -> Dict[str, Any]:
        """Return a copy as plain data, as in the file except for the int keys."""
        return copy.deepcopy({**self.unknown_fields, **{name: getattr(self, name) for name in _FIELDS}})


_FIELDS = tuple(item.name for item in dataclasses.fields(BatchState) if item.name != "unknown_fields")


def to_plain(state: BatchState) -> Dict[str, Any]:
    """Return the state as the file has it. Raises StateError for values that JSON cannot hold."""
    return state_files.to_json_value(state.to_dict, f"Failed to save batch {state.batch_id}")


def from_plain(plain: Dict[str, Any]) -> BatchState:
    """Return a state from the file as scripts hold it."""
    known = {name: value for name, value in plain.items() if name in _FIELDS and value is not None}
    return BatchState(**known, unknown_fields={name: plain[name] for name in plain if name not in _FIELDS})
