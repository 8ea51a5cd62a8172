"""Read and write the state on disk. Nothing else writes it.

    store = Store(project)
    state = store.read()                                        # None when there is no batch; takes no lock
    state = store.update(lambda state: transitions.start(...))  # read, check, change, replace: under one lock, durably
    store.create(state); store.archive("aborted")

`transaction` describes a write, and what happens to a file that something else changed. Nothing is deleted. `notes`
collects messages about repairs for the caller to show. Raises RefusedError without a batch, StateError when the state
cannot be used, DurabilityError when a change was made but the disk did not confirm it.
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
    """The state of one project. Not `trusted`: an edit of the file counts as the model's, not as a person's."""

    def __init__(self, project: Project, *, trusted: bool = True, timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.project, self.trusted, self.timeout_s = project, trusted, timeout_s
        self.notes: List[str] = []
        self.restored_note = ""  # the note about a version that `reconcile` restored, if it did
        self.are_copies_repaired = False  # by `reconcile`: copies that were damaged or missing
        self._read: Optional[Content] = None  # a transaction that finds the same bytes need not parse them

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self) -> Optional[State]:
        """Return the current version, or None when there is no batch. Takes the lock only to reconcile."""
        for _ in range(5):
            try:
                file = backups.read_state_file(self.project)
            except atomic_files.UnexpectedFileType:
                break
            expected = sidecar.read_sidecar(self.project.private)
            if expected is None and backups.has_backup(self.project):
                break  # the sidecar is gone
            if expected is None:
                return None if file is None else serialization.parse_state_file(self.project.state, file[1])
            if file is None and (expected.new is None or (not expected.live and self.is_unmodified())):
                return None
            known = expected.match(file[0]) if file is not None else None
            if file is not None and known is not None:
                if expected.new is None:
                    return None
                if atomic_files.sha256(file[1]) != known.sha256:
                    break  # changed in place with the time reset, or a bad disk
                self._read = serialization.parse_content(file[1], known.sha256)
                state: State = self._read.value
                return state
            time.sleep(0.001)  # a write may have come between the two reads
        return self.reconcile()

    def require(self) -> State:
        """Return the current version. Raises RefusedError when there is no batch."""
        state = self.read()
        if state is None:
            raise backups.no_batch_error(self.project)
        return state

    def read_if_usable(self) -> Optional[State]:
        """Return the current version, or None when there is no batch or its state cannot be used."""
        try:
            return self.read()
        except StateError:
            return None

    def is_unmodified(self) -> bool:
        """Return whether state and copies match the sidecar, by four stats and one small read."""
        expected = sidecar.read_sidecar(self.project.private)
        if expected is None:
            return not backups.has_backup(self.project)
        return expected.matches_disk(self.project.state, self.project.private, self.project.second_backup)

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
        """Write the first version of a batch and return it as written.

        Raises RefusedError while another batch is unfinished. With `replace` that one is archived, or quarantined if
        its state cannot be used.
        """
        with self._transaction(create=True) as at:
            try:
                current = at.reconcile()
            except StateError as error:
                if not replace or isinstance(error.__cause__, OSError):  # a disk error says nothing about the state
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
        """Archive the batch and return its last version. Raises RefusedError when there is none."""
        state = self.archive_if_present(why, lambda state: None)
        if state is None:
            raise backups.no_batch_error(self.project)
        return state

    def archive_if_present(self, why: str, check: Callable[[State], None]) -> Optional[State]:
        """Archive the batch and return its last version, or None when there is none.

        `check` is called with the current version under the lock and may raise to refuse.
        """
        with self._transaction() as at:
            current = at.reconcile()
            if current is None:
                return None
            check(current.state)
            at.archive(current, why)
            return current.state

    def reconcile(self) -> Optional[State]:
        """Handle changes made by others (see `transaction`); return the current version, or None without a batch."""
        with self._transaction() as at:
            current = at.reconcile()
            self.restored_note, self.are_copies_repaired = at.restored_note, at.are_copies_repaired
            return current.state if current else None

    def _transaction(self, *, create: bool = False) -> Transaction:
        from .transaction import Transaction  # reading does without

        read, self._read = self._read, None
        return Transaction(
            self.project, self.notes, trusted=self.trusted, timeout_s=self.timeout_s, create=create, read=read
        )


def unfinished_batch_error(state: State) -> RefusedError:
    """Return the error for a batch that must end before another begins."""
    number = batch_state.counts(state)
    resume = "batchctl run --resume" if state.get("run") else "/batch-implement --resume"
    return RefusedError(
        f"Batch {state['batch_id']} is not finished here ({state['status']}, {number['completed']} of "
        f"{number['total']} done). Resume it (`{resume}`), abort it (`batchctl abort`), or add "
        "`--replace` to archive it and start yours.",
        "batch-unfinished",
    )
