"""What the library interface does with state files, on plain states: read, write, change, remove.

    state = library.load(path, timeout_s)
    state = library.change(path, lambda state: scripted.progress(state, ...), timeout_s)
    state = library.save(path, given, timeout_s)        `given` as a script holds it, its `revision` the one it loaded
    library.remove(path, timeout_s)
    name, texts, batch_id = library.new_batch(...)      the arguments of `create_batch_state`, read and checked

A path is checked (`places`), the file is read and written by the store alone. An old file is taken over at the first
touch. Errors: PathRefused, Misuse, Refused (Stale, NotFound), StateUnusable and its kinds; nothing was changed then.
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
from . import assertions, path_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

    from ..core.batch_state import State


_STYLES = (
    "Use either create_batch_state(features_file, features) or create_batch_state(features=..., features_file=..., "
    "batch_id=..., issue_numbers=..., state_file=...)."
)
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_one_id_at_a_time = threading.Lock()


class NotFound(RefusedError):
    """There is no batch in that file."""


class Stale(RefusedError):
    """The file has changed since the state was loaded."""


def load(path: object, timeout_s: float) -> State:
    """The batch in a file. A damaged file is put right first, and StateUnusable says so once."""
    store = _store(path, timeout_s)
    state = _required(store)
    if store.restored_note:  # what was there is in quarantine; the next call finds the version in force
        raise StateError(f"{store.restored_note} Load it again.", "state-put-back")
    return state


def change(path: object, how: Callable[[State], State], timeout_s: float) -> State:
    """Replace the batch in a file by what `how` makes of it, under the lock, and return that."""
    store = _store(path, timeout_s)
    _required(store)

    def checked(before: State) -> State:
        after = how(before)
        _refuse(store, serialization.find_problems(after, before))
        return after

    return _updated(store, checked)


def progress(
    path: object,
    index: int,
    outcome: str,
    timeout_s: float,
    *,
    tokens: int = 0,
    error: Optional[str] = None,
    retry_count: Optional[int] = None,
) -> State:
    """A feature of the batch in a file ended as `outcome`."""
    assertions.check_outcome(outcome, tokens, retry_count)
    return change(
        path,
        lambda state: assertions.progress(
            state, index, outcome, timestamps.now(), tokens=tokens, error=error, retry_count=retry_count
        ),
        timeout_s,
    )


def save(path: object, given: State, timeout_s: float) -> State:
    """Write a script's state as the next version of the batch in the file, or as the first one of a new batch; the
    state as written. Stale when the file is not as it was when the script loaded it.
    """
    store = _store(path, timeout_s)
    place, now, revision = store.project.state, timestamps.now(), given["revision"]
    tidied = assertions.tidied(given, now)
    _refuse(store, [f"{wrong.pointer}: {wrong.message}" for wrong in serialization.published_schema().check(tidied)])
    current = _in_force(store)
    if current is None and revision and given["state_file"] == place:
        raise Stale(
            f"Failed to save {place}: batch {given['batch_id']} was removed since it was loaded.", "library-call"
        )
    same = current is not None and current["batch_id"] == given["batch_id"]
    if current is None or not same or not (batch_state.is_live(current) or revision):
        first = assertions.saved(None, tidied, now)
        _refuse(store, serialization.find_problems(first, None))
        path_policy.hide(store.project)
        return store.create(first)

    def next_version(before: State) -> State:
        if before["revision"] != revision:
            raise Stale(
                f"Failed to save {place}: stale revision {revision} of batch {given['batch_id']}. Another process "
                f"wrote revision {before['revision']} since. Load the state again and repeat the change.",
                "library-call",
            )
        after = assertions.saved(before, tidied, now)
        _refuse(store, serialization.find_problems(after, before))
        return after

    return _updated(store, next_version)


def again_while_stale(attempt: Callable[[], None]) -> None:
    """Make an attempt that loads, changes and saves until no other write comes in between."""
    while True:
        try:
            return attempt()
        except Exception as error:  # as the door raised it
            if not isinstance(error.__cause__, Stale):
                raise


def remove(path: object, timeout_s: float) -> None:
    """Put the batch in a file into the archive. A missing file is fine, any that is no batch state is refused, and so
    is an unfinished batch that asks for evidence.
    """
    store = _store(path, timeout_s)
    try:
        state = _in_force(store)
    except StateError as error:
        raise RefusedError(
            f"Not removed: {store.project.state} is no batch state. {error.message}", "state-damaged"
        ) from error
    if state is not None:
        store.archive_if_present("cleaned up by a script", _refuse_removal)


def _refuse_removal(state: State) -> None:
    if batch_state.is_live(state) and assertions.asks(state):
        raise RefusedError(
            f"Not removed: batch {state['batch_id']} is unfinished and asks for evidence. A person ends it with "
            "`batchctl abort`.",
            "library-call",
        )


def made_ready(path: object) -> str:
    """The path of a state file, checked, whose folder is there."""
    project = path_policy.project_of(path)
    os.close(project.open_state_folder(create=True))
    return project.state


def new_batch(positional: Sequence[Any], listed: Any, file: Any, batch_id: Optional[str]) -> Tuple[str, List[str], str]:
    """Features file, texts and id of a new batch. `positional` is a file and a list, or a list alone; `listed` and
    `file` are what was given by keyword. Misuse for anything else.
    """
    given = [value for value in (*positional, listed) if value is not None]
    lists = [value for value in given if isinstance(value, (list, tuple))]
    names = [os.fspath(value) for value in (*given, file) if isinstance(value, (str, os.PathLike))]
    if len(lists) > 1:
        raise UsageError(f"Ambiguous arguments: two lists of features. {_STYLES}", "library-call")
    if not lists or len(names) > 1 or len(names) - (file is not None) + len(lists) < len(given) or listed in names:
        raise UsageError(f"Invalid arguments. {_STYLES}", "library-call")
    if not lists[0]:
        raise UsageError("Cannot create a batch with no features.", "library-call")
    texts = [_cleaned(number, text) for number, text in enumerate(lists[0], 1)]
    name = names[0] if names else ""
    if ".." in name:
        raise UsageError(f"Invalid features file {name[:200]!r}: path traversal (`..`).", "library-call")
    if batch_id is None:
        with _one_id_at_a_time:
            return name, texts, timestamps.new_batch_id()
    if not batch_state.is_valid_batch_id(batch_id):
        raise UsageError(
            f"Invalid batch_id {str(batch_id)[:200]!r}: 1 to 100 of A-Z a-z 0-9 . _ -, without path traversal (`..`, "
            "`/`, `\\`).",
            "library-call",
        )
    return name, texts, batch_id


def _cleaned(number: int, text: object) -> str:
    if not isinstance(text, str):
        raise UsageError(f"Feature {number} is no text but {type(text).__name__}.", "library-call")
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


def plain(data: Callable[[], Dict[str, Any]], what: str) -> State:
    """What `data` gives, as JSON holds it: keys as texts, tuples as lists. StateUnusable for what JSON cannot hold."""
    from json import dumps

    try:
        state: State = serialization.parse(dumps(data(), allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(f"{what}: {error}. Nothing was changed.", "write-refused") from error
    return state


def _store(path: object, timeout_s: float) -> Store:
    return Store(path_policy.project_of(path), timeout_s=timeout_s)


def _in_force(store: Store) -> Optional[State]:
    """The version in force, None when there is no batch. A file that we never wrote is taken over."""
    try:
        state = store.read()
    except StateError as error:
        if type(error) is not StateError or store.project.state in error.message:
            raise
        raise StateError(f"{store.project.state} cannot be used: {error.message}", "state-damaged") from error
    if state is None:
        return None
    try:
        path_policy.hide(store.project)
        if sidecar.read_sidecar(store.project.private) is None:
            return store.reconcile()
    except StateError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _READ_ONLY:
            raise
    return state


def _required(store: Store) -> State:
    state = _in_force(store)
    if state is None:
        raise _not_found(store)
    return state


def _updated(store: Store, change: Callable[[State], State]) -> State:
    """What `store.update` returns; NotFound when the batch went away since it was looked at."""
    try:
        return store.update(change)
    except RefusedError as refused:
        if refused.topic != "no-batch":
            raise
        raise _not_found(store) from refused


def _not_found(store: Store) -> NotFound:
    return NotFound(" ".join([f"Batch state file not found: {store.project.state}.", *store.notes]), "no-batch")


def _refuse(store: Store, wrong: List[str]) -> None:
    if wrong:
        raise StateError(
            f"Failed to save {store.project.state}: {'; '.join(wrong[:5])}. Nothing was changed.", "write-refused"
        )
