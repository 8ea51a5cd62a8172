"""The state on disk: the only code that writes it.

    store = Store(project)
    state = store.read()                                        # None when there is no batch; no lock
    state = store.update(lambda state: transitions.start(...))  # read, check, change, replace: under one lock, durably
    store.create(state); store.archive("aborted")

What a transaction does, and what happens to a file that was changed behind our back, is in `transaction`.

Nothing is deleted. `notes` collects what a person or model should be told, a sentence each. Errors: Refused (no
batch), StateUnusable and its kinds; the version in force then still is.
"""

from __future__ import annotations

import time

from ..core import batch_state
from ..core.errors import RefusedError, StateError
from . import atomic_files, backups, serialization, sidecar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional, Tuple, TypeVar

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from .serialization import Content
    from .transaction import Transaction

    T = TypeVar("T")

LOCK_TIMEOUT_S = 10.0


class Store:
    """The state of one project. `by_model`: a change that we did not make is taken for the model's, not for a
    person's edit.
    """

    def __init__(self, project: Project, *, trusted: bool = True, timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.project, self.trusted, self.timeout_s = project, trusted, timeout_s
        self.notes: List[str] = []
        self.restored_note = (
            ""  # what was found damaged and replaced by the version in force, a sentence; mostly nothing
        )
        self._read: Optional[Content] = None  # what was read last: a transaction that finds the same need not parse it

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self) -> Optional[State]:
        """The version in force, None when there is no batch. Takes the lock only when the file is not what the sidecar
        says.
        """
        for _ in range(5):
            try:
                found = backups.read_state_file(self.project)
            except atomic_files.UnexpectedFileType:
                break
            sealed = sidecar.read_sidecar(self.project.private)
            if sealed is None:
                return None if found is None else serialization.parse_state_file(self.project.state, found[1])
            if found is None and (not sealed.live or sealed.new is None):
                return None
            known = sealed.match(found[0]) if found is not None else None
            if found is not None and known is not None:
                if sealed.new is None:
                    return None
                if atomic_files.sha256(found[1]) != known.sha256:
                    break  # changed in place, its time put back, or a disk that lies
                self._read = serialization.parse_content(found[1], known.sha256)
                state: State = self._read.value
                return state
            time.sleep(0.001)  # a write may have come between the two reads
        return self.reconcile()

    def require(self) -> State:
        """The version in force; Refused when there is no batch."""
        state = self.read()
        if state is None:
            raise backups.no_batch_error(self.project)
        return state

    def read_if_usable(self) -> Optional[State]:
        """The version in force, None also when what is there cannot be used."""
        try:
            return self.read()
        except StateError:
            return None

    def is_unmodified(self) -> bool:
        """Whether the file is one that the sidecar knows, by one stat and one small read."""
        sealed = sidecar.read_sidecar(self.project.private)
        return sealed is None or sealed.matches_path(self.project.state)

    # -- writing -------------------------------------------------------------------------------------------------

    def update(self, change: Callable[[State], State]) -> State:
        """Replace the state by `change(state)` under the lock and return the state as written.

        `change` may raise to refuse. If it returns the state it was given, nothing is written.
        """
        return self.update_with_result(lambda state: (change(state), None))[0]

    def update_with_result(self, change: Callable[[State], Tuple[State, T]]) -> Tuple[State, T]:
        """Do the same as `update` with a `change` that returns a state and a result; return the state as written and
        the result.
        """
        with self._transaction() as at:
            current = at.reconcile()
            if current is None:
                raise backups.no_batch_error(self.project)
            changed, result = change(current.state)
            return (current.state if changed is current.state else at.write(changed, current)), result

    def create(self, state: State, *, replace: bool = False) -> State:
        """Write the first version of a batch. Refused while another is unfinished, unless `replace`, which puts that
        one away, into quarantine if it cannot be used.
        """
        with self._transaction(create=True) as at:
            try:
                current = at.reconcile()
            except StateError as error:
                if not replace or isinstance(error.__cause__, OSError):  # of the disk's trouble the state knows nothing
                    raise
                at.quarantine_state()
                current = None
            if current is None:
                return at.write(state, None)
            if batch_state.is_live(current.state) and not replace:
                raise unfinished_batch_error(current.state)
            return at.replace_batch(
                state, current, "replaced" if batch_state.is_live(current.state) else "followed by another batch"
            )

    def archive(self, why: str) -> State:
        """Move the version in force into archive/ and return it; afterwards there is no batch here."""
        with self._transaction() as at:
            current = at.reconcile()
            if current is None:
                raise backups.no_batch_error(self.project)
            at.archive(current, why)
            return current.state

    def archive_if_present(self, why: str, refuse: Callable[[State], None]) -> Optional[State]:
        """The same, unless `refuse`, which sees the version in force under the lock, raises; None when there is no
        batch.
        """
        with self._transaction() as at:
            current = at.reconcile()
            if current is None:
                return None
            refuse(current.state)
            at.archive(current, why)
            return current.state

    def reconcile(self) -> Optional[State]:
        """Mend what was done to the file behind our back (see the module); the version in force, None when there is
        no batch.
        """
        with self._transaction() as at:
            current = at.reconcile()
            self.restored_note = at.restored_note
            return current.state if current else None

    def _transaction(self, *, create: bool = False) -> Transaction:
        from .transaction import Transaction  # reading does without

        read, self._read = self._read, None
        return Transaction(
            self.project, self.notes, trusted=self.trusted, timeout_s=self.timeout_s, create=create, read=read
        )


def unfinished_batch_error(state: State) -> RefusedError:
    """The error for a batch that stands in the way of another, with the three ways on."""
    number = batch_state.counts(state)
    on = "batchctl run --resume" if state.get("run") else "/batch-implement --resume"
    return RefusedError(
        f"Batch {state['batch_id']} is not finished here ({state['status']}, {number['completed']} of "
        f"{number['total']} done). Three ways on: resume it (`{on}`), abort it (`batchctl abort`), or "
        "add `--replace`, which puts it into the archive and starts yours.",
        "batch-unfinished",
    )
