"""One transaction on the state: its folders are open and its lock is held for the length of a `with`.

    with Transaction(project, notes, trusted=True, timeout_s=10.0) as at:
        current = at.reconcile()                        # the current version, or None when there is no batch
        at.write(transitions.x(current.state), current)

A version is replaced whole or not at all: temp file, fsync, sidecar, rename, fsync of the folder (docs/durability.md).
`reconcile` also handles what others did to the file, the sidecar or the copies: see `reconciliation`. Nothing is
deleted. `notes` collects messages for the caller to show.
"""

from __future__ import annotations

import os

from ..base import timestamps
from ..core import batch_events, batch_state
from ..core.errors import NOTHING_CHANGED, DurabilityError, StateError
from . import atomic_files, audit_log, backups, lock, serialization, sidecar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Callable, List, Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from .serialization import Content
    from .sidecar import Fingerprint, Sidecar


class Version:
    """A version on disk. `content` is what was read, if its texts can be reused for the next write."""

    __slots__ = ("content", "fingerprint", "state")

    def __init__(self, state: State, fingerprint: Fingerprint, content: Optional[Content] = None) -> None:
        self.state, self.fingerprint, self.content = state, fingerprint, content


class Transaction:
    """The open folders of a store, under its lock. `read` is what the caller read before it took the lock: the same
    bytes are not hashed and parsed again.
    """

    def __init__(
        self,
        project: Project,
        notes: List[str],
        *,
        trusted: bool,
        timeout_s: float,
        create: bool = False,
        read: Optional[Content] = None,
    ) -> None:
        self.project, self.notes, self.trusted = project, notes, trusted
        self.restored_note = ""  # the note about a version that was restored, if one was
        self.are_copies_repaired = False  # copies that were damaged or missing
        self._timeout_s, self._create = timeout_s, create
        self.changes: List[str] = []  # what this transaction did before a change that fails
        self._folder = -1
        self._read = read
        self._sidecar: Optional[tuple[Optional[bytes], Optional[Sidecar]]] = None

    def __enter__(self) -> Transaction:
        self.private = backups.open_private_folder(self.project, create=self._create)
        self._lock = lock.FileLock(self.private, self.project.private, self._timeout_s)
        try:
            self._lock.__enter__()
        except BaseException:
            atomic_files.close_quietly(self.private)
            raise
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if isinstance(error, StateError) and self.changes:
            error.mention_change(" ".join(self.changes))
        self._lock.__exit__(kind, error, trace)
        atomic_files.close_quietly(self.private)
        if self._folder >= 0:
            atomic_files.close_quietly(self._folder)
        if audit_log.last_error:
            note = f"Note: {audit_log.last_error}. The batch itself is not affected."
            if note not in self.notes:
                self.notes.append(note)
            audit_log.last_error = ""

    def folder(self) -> int:
        """Return a descriptor of the state file's folder; create the folder if it is missing."""
        if self._folder < 0:
            try:
                self._folder = self.project.open_state_folder(create=True)
            except OSError as error:
                raise atomic_files.unchanged_error(
                    f"The folder of {self.project.state} cannot be used", error
                ) from error
        return self._folder

    def note(self, event: str, text: str, **details: Any) -> None:
        """Add `text` to the notes and to the audit log."""
        self.notes.append(text)
        self.changes.append(text)
        audit_log.record(self.project.log_folder, event, text=text, **details)

    def reconcile(self) -> Optional[Version]:
        """Return the current version, or None when there is no batch, after handling what others changed."""
        try:
            version = self.find_current_version()
            if version is not None:
                return version
            from . import reconciliation  # seldom needed

            return reconciliation.reconcile(self)
        except OSError as error:
            raise atomic_files.unchanged_error(f"{self.project.state} cannot be reconciled", error) from error

    def find_current_version(self) -> Optional[Version]:
        """Return the version in place if it is the one that the sidecar names, else None."""
        expected = self.read_sidecar()[1]
        if expected is None or expected.new is None:
            return None
        try:
            file = self.read_state_file()
        except atomic_files.UnexpectedFileType:
            return None
        known = expected.match(file[0]) if file else None
        if file is None or known is None:
            return None
        content = self._read if self._read is not None and self._read.data == file[1] else None
        digest = content.sha256 if content is not None else atomic_files.sha256(file[1])
        if digest != known.sha256:
            return None
        return self.use_version(content or serialization.parse_content(file[1], digest), known, expected)

    def read_state_file(self) -> Optional[tuple[os.stat_result, bytes]]:
        """Return the status and content of the state file, or None. Raises UnexpectedFileType."""
        try:
            if self._folder < 0:
                self._folder = self.project.open_state_folder(create=False)
        except FileNotFoundError:
            return None
        return atomic_files.read(self._folder, self.project.state_name)

    def read_sidecar(self) -> tuple[Optional[bytes], Optional[Sidecar]]:
        """Return the sidecar's text and value, read once until this transaction writes it."""
        if self._sidecar is None:
            text = sidecar.read_text(self.project.private)
            self._sidecar = text, sidecar.parse(text) if text else None
        return self._sidecar

    def forget_sidecar(self) -> None:
        """Make the next `read_sidecar` read the file."""
        self._sidecar = None

    def use_version(self, content: Content, fingerprint: Fingerprint, expected: Sidecar) -> Version:
        """Return the version in place, after making sidecar and copies agree with it."""
        state: State = content.value
        text = self.read_sidecar()[0]
        if expected.live != batch_state.needs_hooks(state):  # a crash came between a write and its second sidecar
            text = self.write_sidecar(state, fingerprint, None)
        if not sidecar.matches_copies((fingerprint,), self.project.private, self.project.second_backup):
            self.repair_copies(text or b"", content.data, fingerprint)
        return Version(state, fingerprint, content)

    def repair_copies(self, text: bytes, data: bytes, fingerprint: Fingerprint) -> None:
        """Make the copies those of the version in place."""
        if backups.repair_copies(self.project, self.private, text, data, fingerprint, self.notes):
            self.are_copies_repaired = True

    def quarantine_state(self) -> None:
        """Quarantine a state that cannot be used."""
        from . import archive

        place = archive.quarantine(self.project, self.folder())
        self.note("quarantined", f"{self.project.state} could not be used; it is now {place}.", quarantined=place)

    def write(self, state: State, before: Optional[Version]) -> State:
        """Validate `state`, the successor of `before` (None for a first version), write it and return it as written."""
        old = before.state if before else None
        return self.write_version(self.next_version(state, old), before, old).state

    def replace_batch(self, state: State, current: Version, why: str) -> State:
        """Archive the current version, write the first version of another batch and return it as written.

        One rename puts it in place: at no moment is there no batch.
        """
        new = self.next_version(state, None)
        place = self._archive_version(current)
        return self.write_version(new, current, None, place, lambda: self._log_archived(current, why, place)).state

    def archive(self, current: Version, why: str) -> None:
        """Move the current version to archive/. Once the sidecar says so durably, there is no batch."""
        from . import archive

        place = self._archive_version(current)
        text = self.read_sidecar()[0]
        try:
            self.write_sidecar(None, None, current.fingerprint)
            os.unlink(self.project.state_name, dir_fd=self.folder())
        except OSError as error:
            backups.restore_sidecar(self.private, text)
            if text != sidecar.read_text(self.project.private):
                raise atomic_files.unconfirmed_error(f"The batch was archived in {place}", error) from error
            archive.remove_from_archive(place)
            raise atomic_files.unchanged_error(f"{self.project.state} cannot be archived", error) from error
        backups.remove_copies(self.project, self.private)
        try:
            atomic_files.unlink(self.folder(), self.project.temp_name)
            atomic_files.sync(self.folder())
        except OSError:
            pass  # if the file comes back after a power cut, the sidecar says that it is archived
        self._log_archived(current, why, place)

    def _archive_version(self, version: Version) -> str:
        from . import archive

        data = serialization.serialize(version.state)
        return archive.write_to_archive(self.project, self.private, version.state["batch_id"], data)

    def next_version(self, state: State, old: Optional[State]) -> State:
        """Return `state` as the successor of `old`. Raises StateError when it is not valid."""
        new = {
            **state,
            "revision": (old["revision"] if old else 0) + 1,
            "updated_at": timestamps.now(),
            "state_file": self.project.state,
        }
        problems = serialization.find_problems(new, old)
        if problems:
            raise StateError(
                f"Refused to write a state that is not valid: {'; '.join(problems)}. This is a bug in "
                f"batch-implement. {NOTHING_CHANGED}",
                "write-refused",
            )
        return new

    def write_version(
        self,
        new: State,
        over: Optional[Version],
        old: Optional[State],
        archived: Optional[str] = None,
        log: Optional[Callable[[], None]] = None,
    ) -> Version:
        """Put `new` in place of the version `over`, then call `log` and log the events since `old`.

        When nothing was written, the copy `archived` of what stays in place is removed.
        """
        try:
            data = serialization.serialize(new, over.content if over else None)
            fingerprint = self.replace_file(data, new, over.fingerprint if over else None)
        except DurabilityError:
            self._log_events(old, new, log)
            raise
        except StateError:
            if archived is not None:
                from . import archive

                archive.remove_from_archive(archived)
            raise
        self._log_events(old, new, log)
        return Version(new, fingerprint)

    def _log_events(self, old: Optional[State], new: State, log: Optional[Callable[[], None]]) -> None:
        if log is not None:
            log()
        for event in batch_events.events_between(old, new):
            audit_log.record(self.project.log_folder, batch_id=new["batch_id"], **event)

    def _log_archived(self, current: Version, why: str, place: str) -> None:
        audit_log.record(self.project.log_folder, "archived", batch_id=current.state["batch_id"], why=why, kept=place)

    def replace_file(
        self, data: bytes, state: State, old: Optional[Fingerprint], *, is_restored: bool = False
    ) -> Fingerprint:
        """Put `data`, which holds `state`, in place of the version `old` and return its fingerprint.

        `is_restored`: it comes from a copy, so that the copies are left alone until it is in place.
        """
        folder = self.folder()
        sidecar_text, expected = self.read_sidecar()
        was_live = expected is not None and expected.live
        is_backed_up = False
        try:
            fingerprint = atomic_files.write_over_leftover(folder, self.project.temp_name, data, state["revision"])
            text = self.write_sidecar(state, fingerprint, old, live=was_live or batch_state.needs_hooks(state))
            # A backup comes before the rename: a crash after the rename must not leave only older ones.
            if not is_restored:
                packed = backups.pack(text, data)
                is_backed_up = backups.back_up(self.project, self.private, packed, fingerprint, self.notes)
            os.replace(self.project.temp_name, self.project.state_name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            atomic_files.discard(folder, self.project.temp_name)
            if is_backed_up:
                atomic_files.discard(self.private, sidecar.BACKUP)  # the others hold the version in force
            backups.restore_sidecar(self.private, sidecar_text)
            raise atomic_files.unchanged_error(f"Failed to save {self.project.state}", error) from error
        if not is_restored:
            backups.back_up_again(self.project, self.private, packed, data, fingerprint, self.notes)
        self.sync_state_folder(folder, state["revision"])
        if is_restored:
            self.repair_copies(text, data, fingerprint)
        if was_live and not batch_state.needs_hooks(state):
            try:
                self.write_sidecar(state, fingerprint, old)
            except OSError:
                pass  # the version is in place; a sidecar that still says `live` is corrected at the next read
        return fingerprint

    def sync_state_folder(self, folder: int, revision: int) -> None:
        """Make the name of a new version durable. Raises DurabilityError."""
        try:
            atomic_files.sync(folder)
        except OSError as error:
            raise atomic_files.unconfirmed_error(
                f"{self.project.state} was written (revision {revision})", error
            ) from error

    def write_sidecar(
        self,
        state: Optional[State],
        new: Optional[Fingerprint],
        old: Optional[Fingerprint],
        *,
        live: Optional[bool] = None,
    ) -> bytes:
        """Write the sidecar durably and return its text; `new` is None when the batch is archived."""
        is_live = live if live is not None else state is not None and batch_state.needs_hooks(state)
        contexts = batch_state.contexts_to_remind(state) if state else []
        self._sidecar = None
        text = sidecar.render(state, is_live, new, old, contexts)
        backups.write_sidecar(self.private, text)
        return text
