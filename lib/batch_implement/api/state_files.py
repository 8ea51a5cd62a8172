"""Read, write, change and remove state files for the library interface, on plain states.

Paths are checked by `allowed_paths`; only the store reads and writes files. An old file is migrated at first use.
Raises PathRefused, UsageError, RefusedError (StaleRevision, StateFileNotFound) or StateError; DurabilityError when the
change was made, but the disk did not confirm it.
"""

from __future__ import annotations

import errno
import os
import threading

from ..base import timestamps
from ..base.text import clean
from ..core import batch_state
from ..core.errors import RefusedError, StateError, UsageError
from ..store import serialization, sidecar
from ..store.store import Store
from . import allowed_paths, script_changes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

    from ..core.batch_state import State


_CALL_STYLES = (
    "Use either create_batch_state(features_file, features) or create_batch_state(features=..., features_file=..., "
    "batch_id=..., issue_numbers=..., state_file=...)."
)
_READ_ONLY_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS)
_id_lock = threading.Lock()


class StateFileNotFound(RefusedError):
    """The file has no batch."""


class StaleRevision(RefusedError):
    """Another process wrote the file since the state was loaded."""


def load_state(path: object, timeout_s: float) -> State:
    """Return the batch in a file.

    Raises StateError once when the file was damaged and the current version restored; the next call returns that.
    """
    store = _open_store(path, timeout_s)
    state = _require_current(store)
    if store.restored_note:
        raise StateError(f"{store.restored_note} Load it again.", "state-put-back")
    return state


def update_state(path: object, change: Callable[[State], State], timeout_s: float) -> State:
    """Replace the batch in a file by `change(state)` under the lock and return the state as written."""
    store = _open_store(path, timeout_s)
    _require_current(store)

    def checked(before: State) -> State:
        after = change(before)
        _require_valid(store, serialization.find_problems(after, before))
        return after

    return _update_store(store, checked)


def save_state(path: object, state: State, timeout_s: float) -> State:
    """Write a script's `state` as the next version of the batch in the file, or as the first of a new batch; return the
    state as written.

    Raises StaleRevision when the file is not as it was when the script loaded it.
    """
    store = _open_store(path, timeout_s)
    place, now, revision = store.project.state, timestamps.now(), state["revision"]
    normalized = script_changes.normalize_state(state, now)
    violations = serialization.published_schema().check(normalized)
    _require_valid(store, [f"{violation.pointer}: {violation.message}" for violation in violations])
    current = _read_current(store)
    if current is None and revision and state["state_file"] == place:
        raise StaleRevision(
            f"Failed to save {place}: batch {state['batch_id']} was removed since it was loaded.", "library-call"
        )
    is_same = current is not None and current["batch_id"] == state["batch_id"]
    if current is None or not is_same or not (batch_state.is_live(current) or revision):
        first = script_changes.next_saved_state(None, normalized, now)
        _require_valid(store, serialization.find_problems(first, None))
        allowed_paths.hide_from_git(store.project)
        return store.create(first)

    def next_version(before: State) -> State:
        if before["revision"] != revision:
            raise StaleRevision(
                f"Failed to save {place}: stale revision {revision} of batch {state['batch_id']}. Another process "
                f"wrote revision {before['revision']} since. Load the state again and repeat the change.",
                "library-call",
            )
        after = script_changes.next_saved_state(before, normalized, now)
        _require_valid(store, serialization.find_problems(after, before))
        return after

    return _update_store(store, next_version)


def retry_while_stale(attempt: Callable[[], None]) -> None:
    """Call `attempt`, which loads, changes and saves, until no other write comes in between."""
    while True:
        try:
            return attempt()
        except Exception as error:  # a BatchStateError that was raised from the StaleRevision
            if not isinstance(error.__cause__, StaleRevision):
                raise


def archive_state(path: object, timeout_s: float) -> None:
    """Archive the batch in a file. A missing file is fine.

    Raises RefusedError for a file that is no batch state and for an unfinished batch that requires evidence.
    """
    store = _open_store(path, timeout_s)
    try:
        state = _read_current(store)
    except StateError as error:
        raise RefusedError(
            f"Not removed: {store.project.state} is not a batch state. {error.message}", "state-damaged"
        ) from error
    if state is not None:
        store.archive_if_present("cleaned up by a script", _require_removable)


def _require_removable(state: State) -> None:
    if batch_state.is_live(state) and script_changes.requires_evidence(state):
        raise RefusedError(
            f"Not removed: batch {state['batch_id']} is unfinished and asks for evidence. A person ends it with "
            "`batchctl abort`.",
            "library-call",
        )


def prepare_state_file(path: object) -> str:
    """Return the checked path of a state file; create its folder."""
    project = allowed_paths.project_of_state_file(path)
    os.close(project.open_state_folder(create=True))
    return project.state


def parse_new_batch(
    positional: Sequence[Any], listed: Any, file: Any, batch_id: Optional[str], issue_numbers: Optional[Sequence[int]]
) -> Tuple[str, List[str], str]:
    """Return the features file, the texts and the id of a new batch.

    `positional` is a file and a list, or a list alone; `listed` and `file` are the keyword arguments. Raises UsageError
    for any other combination, and for `issue_numbers` that are not one for each feature.
    """
    values = [value for value in (*positional, listed) if value is not None]
    lists = [value for value in values if isinstance(value, (list, tuple))]
    names = [os.fspath(value) for value in (*values, file) if isinstance(value, (str, os.PathLike))]
    if len(lists) > 1:
        raise UsageError(f"Ambiguous arguments: two lists of features. {_CALL_STYLES}", "library-call")
    if not lists or len(names) > 1 or len(names) - (file is not None) + len(lists) < len(values) or listed in names:
        raise UsageError(f"Invalid arguments. {_CALL_STYLES}", "library-call")
    if not lists[0]:
        raise UsageError("Cannot create a batch with no features.", "library-call")
    texts = [_clean_feature_text(number, text) for number, text in enumerate(lists[0], 1)]
    if issue_numbers and len(issue_numbers) != len(texts):
        raise UsageError(
            f"Invalid arguments: {len(issue_numbers)} issue_numbers for {len(texts)} features. Give one for each.",
            "library-call",
        )
    name = names[0] if names else ""
    if ".." in name:
        raise UsageError(f"Invalid features file {name[:200]!r}: path traversal (`..`).", "library-call")
    if batch_id is None:
        with _id_lock:
            return name, texts, timestamps.new_batch_id()
    if not batch_state.is_valid_batch_id(batch_id):
        raise UsageError(
            f"Invalid batch_id {str(batch_id)[:200]!r}: 1 to 100 of A-Z a-z 0-9 . _ -, not starting with `-`, without "
            "path traversal (`..`, `/`, `\\`).",
            "library-call",
        )
    return name, texts, batch_id


def _clean_feature_text(number: int, text: object) -> str:
    if not isinstance(text, str):
        raise UsageError(f"Feature {number} is not a text but {type(text).__name__}.", "library-call")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"Feature {number} holds half of a character at {error.start}: it cannot be written.", "library-call"
        ) from error
    cleaned = clean(text)
    if not cleaned.strip():
        raise UsageError(f"Feature {number} is an empty text.", "library-call")
    return cleaned


def to_json_value(get_data: Callable[[], Dict[str, Any]], what: str) -> State:
    """Return `get_data()` as JSON holds it: keys as texts, tuples as lists.

    Raises StateError, whose message begins with `what`, for values that JSON cannot hold.
    """
    from json import dumps

    try:
        state: State = serialization.parse(dumps(get_data(), allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(f"{what}: {error}. Nothing was changed.", "write-refused") from error
    return state


def _open_store(path: object, timeout_s: float) -> Store:
    return Store(allowed_paths.project_of_state_file(path), timeout_s=timeout_s)


def _read_current(store: Store) -> Optional[State]:
    """Return the current version, or None when there is no batch. A file that the store never wrote is taken over."""
    try:
        state = store.read()
    except StateError as error:
        if type(error) is not StateError or store.project.state in error.message:
            raise
        raise StateError(f"{store.project.state} cannot be used: {error.message}", "state-damaged") from error
    if state is None:
        return None
    try:
        allowed_paths.hide_from_git(store.project)
        if sidecar.read_sidecar(store.project.private) is None:
            return store.reconcile()
    except StateError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _READ_ONLY_ERRORS:
            raise
    return state


def _require_current(store: Store) -> State:
    state = _read_current(store)
    if state is None:
        raise _missing_file_error(store)
    return state


def _update_store(store: Store, change: Callable[[State], State]) -> State:
    """Return `store.update(change)`; raise StateFileNotFound when another process removed the batch."""
    try:
        return store.update(change)
    except RefusedError as error:
        if error.topic != "no-batch":
            raise
        raise _missing_file_error(store) from error


def _missing_file_error(store: Store) -> StateFileNotFound:
    message = " ".join([f"Batch state file not found: {store.project.state}.", *store.notes])
    return StateFileNotFound(message, "no-batch")


def _require_valid(store: Store, problems: List[str]) -> None:
    if problems:
        raise StateError(
            f"Failed to save {store.project.state}: {'; '.join(problems[:5])}. Nothing was changed.", "write-refused"
        )
