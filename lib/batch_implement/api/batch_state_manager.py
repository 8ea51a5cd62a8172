"""The state of a batch, for scripts: the library interface (docs/library.md).

    from batch_state_manager import create_batch_state, load_batch_state, save_batch_state, update_batch_progress
    from batch_implement import api                             # from an installed package: api.load_batch_state

`state_files` reads and writes files; `script_changes` decides what follows from a call.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import operator
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, TypeVar

from ..base import timestamps
from ..core.errors import BatchError, DurabilityError, RefusedError, UsageError
from ..store import atomic_files
from . import allowed_paths, script_changes, state_files
from .script_state import BatchState, from_plain, to_plain

__all__ = [
    "CONTEXT_THRESHOLD", "DEFAULT_STATE_FILE", "LOCK_TIMEOUT", "BatchState", "BatchStateDurabilityError",
    "BatchStateError", "BatchStateManager", "BatchStateValueError", "audit_log_security_event",
    "cleanup_batch_state", "create_batch_state", "estimate_context_tokens", "get_clear_notification_message",
    "get_default_state_file", "get_feature_git_status", "get_next_pending_feature", "get_retry_count",
    "increment_retry_count", "load_batch_state", "mark_feature_status", "pause_batch_for_clear",
    "record_auto_clear_event", "record_git_operation", "save_batch_state", "should_auto_clear",
    "should_clear_context", "update_batch_progress",
]  # fmt: skip

DEFAULT_STATE_FILE: Path  # see __getattr__
CONTEXT_THRESHOLD = script_changes.CONTEXT_THRESHOLD
LOCK_TIMEOUT = 30  # seconds
Call = TypeVar("Call", bound=Callable[..., Any])


class BatchStateError(Exception):
    """The state of a batch cannot be read or changed as asked."""


class BatchStateDurabilityError(BatchStateError):
    """The change was made and is in the file, but the disk did not confirm it: do not repeat the call."""


class BatchStateValueError(BatchStateError, ValueError):
    """An argument is invalid: a path, a status, an index."""


def _translate_errors(call: Call) -> Call:
    """Decorate `call` to raise BatchStateError, BatchStateValueError for a UsageError, BatchStateDurabilityError for a
    DurabilityError, with the same message. A refusal is recorded in the audit log.
    """

    @functools.wraps(call)
    def translated(*args: Any, **options: Any) -> Any:
        try:
            return call(*args, **options)
        except BatchError as error:
            if isinstance(error, (RefusedError, allowed_paths.PathRefused)):
                allowed_paths.log_refusal(call.__name__, error)
            if isinstance(error, DurabilityError):
                raise BatchStateDurabilityError(error.message) from error
            kind = BatchStateValueError if isinstance(error, UsageError) else BatchStateError
            raise kind(error.message) from error
        except OSError as error:
            message = atomic_files.io_error("The batch state cannot be used", error).message
            raise BatchStateError(message) from error

    return translated  # type: ignore[return-value]


def _deprecated(call: Call) -> Call:
    """Decorate `call` to emit a DeprecationWarning that points at the caller."""

    @functools.wraps(call)
    def warning(*args: Any, **options: Any) -> Any:
        warnings.warn(
            f"{call.__name__} is deprecated and no longer needed: Claude Code does the automatic compression of its "
            "context by itself.",
            DeprecationWarning,
            stacklevel=2,
        )
        return call(*args, **options)

    return warning  # type: ignore[return-value]


def __getattr__(name: str) -> Path:
    if name == "DEFAULT_STATE_FILE":
        return get_default_state_file()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_default_state_file() -> Path:
    """Return the path of the project's state file; outside a project `.claude/batch_state.json`."""
    return Path(allowed_paths.default_state_file())


@_translate_errors
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
    """Create a new batch and write nothing: `create_batch_state("features.txt", ["a", "b"])` or all by keyword."""
    positional = (features_file_or_features, features_or_none)
    name, texts, new_id = state_files.parse_new_batch(positional, features, features_file, batch_id, issue_numbers)
    return BatchState(
        new_id, name, len(texts), texts,
        created_at=timestamps.now(), source_type=source_type, state_file=str(state_file or ""),
        issue_numbers=list(issue_numbers) if issue_numbers else None,
    )  # fmt: skip


@_translate_errors
def save_batch_state(state_file: Any, state: BatchState) -> None:
    """Write `state` and set its `revision` and `updated_at`. A relative path is taken from the project's root.

    Raises BatchStateError when another process wrote the file since `state` was loaded, or when another unfinished
    batch is in it. A finished one is archived.
    """
    written = state_files.save_state(state_file, to_plain(state), LOCK_TIMEOUT)
    for name in ("revision", "updated_at", "state_file"):
        setattr(state, name, written[name])


@_translate_errors
def load_batch_state(state_file: Any) -> BatchState:
    """Return the batch in a file. An old file is migrated, and the audit log says how."""
    return from_plain(state_files.load_state(state_file, LOCK_TIMEOUT))


@_translate_errors
def update_batch_progress(
    state_file: Any, feature_index: int, status: str, context_token_delta: int = 0,
    error_message: Optional[str] = None, token_delta: Optional[int] = None,
) -> None:  # fmt: skip
    """Mark a feature `completed` or `failed` and add the tokens.

    Raises BatchStateError for `completed` where the policy requires evidence.
    """
    tokens = context_token_delta if token_delta is None else token_delta
    _record_outcome(state_file, feature_index, status, tokens=tokens, error=error_message)


@_translate_errors
def mark_feature_status(
    state_file: Any, feature_index: int, status: str, error_message: Optional[str] = None,
    retry_count: Optional[int] = None,
) -> None:  # fmt: skip
    """Mark a feature `completed`, which takes it out of the failed ones, or `failed`, with `retry_count` if given."""
    _record_outcome(state_file, feature_index, status, error=error_message, retry_count=retry_count)


def _record_outcome(state_file: Any, index: int, outcome: str, **fields: Any) -> None:
    script_changes.require_outcome(outcome, fields.get("tokens", 0), fields.get("retry_count"))
    now = timestamps.now()
    state_files.update_state(
        state_file, lambda state: script_changes.record_outcome(state, index, outcome, now, **fields), LOCK_TIMEOUT
    )


@_translate_errors
def increment_retry_count(state_file: Any, feature_index: int) -> None:
    """Count one more attempt of a feature."""
    state_files.update_state(state_file, lambda state: script_changes.count_retry(state, feature_index), LOCK_TIMEOUT)


@_translate_errors
def record_auto_clear_event(state_file: Any, feature_index: int, context_tokens_before_clear: int) -> None:
    """Record that the context window was cleared at a feature; the token estimate becomes 0."""
    clear = (feature_index, context_tokens_before_clear, timestamps.now())
    state_files.update_state(state_file, lambda state: script_changes.record_context_clear(state, *clear), LOCK_TIMEOUT)


@_translate_errors
def cleanup_batch_state(state_file: Any) -> None:
    """Remove a batch's state file and no other file; its last version is archived. A missing file is fine."""
    state_files.archive_state(state_file, LOCK_TIMEOUT)


def should_auto_clear(state: BatchState) -> bool:
    """Return whether the token estimate has reached CONTEXT_THRESHOLD."""
    return state.context_token_estimate >= CONTEXT_THRESHOLD


def estimate_context_tokens(text: str) -> int:
    """Return a rough number of tokens of a text: one for four characters."""
    return len(text or "") // 4


@_translate_errors
def get_next_pending_feature(state: BatchState) -> Optional[str]:
    """Return the text of the feature to do next, or None when no feature is left or `current_index` is at the end.

    It is the feature at `current_index` if that is pending, else the first in order whose dependencies are completed.
    """
    index = script_changes.next_feature_index(to_plain(state), state.current_index)
    return None if index is None else state.features[index]


@_translate_errors
def get_retry_count(state: BatchState, feature_index: int) -> int:
    """Return the number of attempts that a feature has used."""
    script_changes.require_index(vars(state), feature_index)
    return state.retry_attempts.get(feature_index, 0)


@_translate_errors
def record_git_operation(
    state: BatchState, feature_index: int, operation: str, success: bool, commit_sha: Optional[str] = None,
    branch: Optional[str] = None, remote: Optional[str] = None, pr_number: Optional[int] = None,
    pr_url: Optional[str] = None, error_message: Optional[str] = None, **extra: Any,
) -> BatchState:  # fmt: skip
    """Return a new state in which a `commit`, `push` or `pr` of a feature is recorded; `state` is not changed."""
    script_changes.require_index(vars(state), feature_index, "feature_index")
    details = {"sha": commit_sha, "branch": branch, "remote": remote, "number": pr_number, "url": pr_url}
    record = script_changes.git_operation_record(
        operation, success, timestamps.now(), {**extra, **details, "error": error_message}
    )
    operations = {**copy.deepcopy(state.git_operations.get(feature_index, {})), operation: record}
    return dataclasses.replace(state, git_operations={**state.git_operations, feature_index: operations})


def get_feature_git_status(state: BatchState, feature_index: int) -> Optional[Dict[str, Any]]:
    """Return the recorded `commit`, `push` and `pr` of a feature, or None."""
    return state.git_operations.get(feature_index)


def audit_log_security_event(event_type: str, details: Any) -> None:
    """Append an event to the project's audit log."""
    allowed_paths.log_event(event_type, "security", details)


@_deprecated
def should_clear_context(state: BatchState) -> bool:
    """Return whether the token estimate has reached CONTEXT_THRESHOLD. Deprecated: use `should_auto_clear`."""
    return should_auto_clear(state)


@_deprecated
def get_clear_notification_message(
    batch_id_or_state: Any, feature_index: Optional[int] = None, tokens_before_clear: Optional[int] = None
) -> str:
    """Return a notification that the context window is full, for a state or a batch id (of 10 features). Deprecated."""
    state = BatchState(batch_id_or_state, "", 10, []) if isinstance(batch_id_or_state, str) else batch_id_or_state
    index = state.current_index if feature_index is None else feature_index
    tokens = state.context_token_estimate if tokens_before_clear is None else tokens_before_clear
    return script_changes.clear_notification(state.batch_id, index, state.total_features, tokens)


@_deprecated
@_translate_errors
def pause_batch_for_clear(state_file: Any, feature_index_or_state: Any, tokens_before_clear: int) -> None:
    """Pause a batch at a feature. A state that is given is changed in place, too. Deprecated."""

    def pause(state: BatchState, index: int) -> None:
        changes = script_changes.pause_for_clear(vars(state), index, tokens_before_clear, timestamps.now())
        paused = dataclasses.replace(state, **changes)
        save_batch_state(state_file, paused)
        vars(state).update(vars(paused))

    if isinstance(feature_index_or_state, int):
        index = feature_index_or_state
        state_files.retry_while_stale(lambda: pause(load_batch_state(state_file), index))
    else:
        state = feature_index_or_state
        pause(state, min(state.current_index, state.total_features))


def _method_of(name: str, get_first_argument: Callable[[Any], Any]) -> Any:
    """Return a method that calls the function `name` of this module, looked up at each call, as scripts patch it."""

    @functools.wraps(globals()[name])
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return globals()[name](get_first_argument(self), *args, **options)

    return method


_on_file = functools.partial(_method_of, get_first_argument=operator.attrgetter("state_file"))
_on_state = functools.partial(_method_of, get_first_argument=operator.methodcaller("load_batch_state"))


class BatchStateManager:
    """The functions above as methods on one file, by default the project's. The file's folder is created."""

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

    @_translate_errors
    def __init__(self, state_file: Any = None) -> None:
        path = get_default_state_file() if state_file is None else state_file
        self.state_file = Path(state_files.prepare_state_file(path))

    def create_batch_state(
        self, features: Any, batch_id: Any = None, issue_numbers: Any = None, features_file: Any = None
    ) -> BatchState:
        """Create a new batch for this file and write nothing. The arguments may be `(features_file, features)`."""
        if isinstance(batch_id, (list, tuple)):
            features_file, features, batch_id = features, batch_id, None
        return self.create_batch(features, features_file, batch_id, issue_numbers)

    @_translate_errors
    def create_batch(
        self, features: Any, features_file: Any = None, batch_id: Any = None, issue_numbers: Any = None
    ) -> BatchState:
        """Create a new batch for this file and write nothing. The arguments may be `(features_file, features)`.

        Raises BatchStateValueError for a path of `features_file` that is not allowed.
        """
        if isinstance(features_file, (list, tuple)) and not isinstance(features, (list, tuple)):
            features_file, features = features, features_file
        if features_file is not None:
            allowed_paths.validate_path(features_file, "features file")
        return create_batch_state(
            features=features, features_file=features_file, batch_id=batch_id, issue_numbers=issue_numbers,
            source_type="issues" if issue_numbers else "file", state_file=self.state_file,
        )  # fmt: skip

    def update_batch_progress(
        self, feature_index: int, status: str, tokens_consumed: int = 0, error_message: Optional[str] = None
    ) -> None:
        """Mark a feature `completed` or `failed` and add the tokens."""
        update_batch_progress(self.state_file, feature_index, status, tokens_consumed, error_message)

    @_translate_errors
    def record_git_operation(self, *args: Any, **options: Any) -> BatchState:
        """Record a `commit`, `push` or `pr` of a feature in the file and return the new state."""

        def change(plain: Dict[str, Any]) -> Dict[str, Any]:
            state = record_git_operation(from_plain(plain), *args, **options)
            return {**plain, "git_operations": to_plain(state)["git_operations"]}

        return from_plain(state_files.update_state(self.state_file, change, LOCK_TIMEOUT))
