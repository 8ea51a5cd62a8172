"""One transaction on the state: its folders are open and its lock is held for the length of a `with`.

    with Transaction(project, notes, trusted=True, timeout_s=10.0) as at:
        current = at.reconcile()                        # the current version, or None when there is no batch
        at.write(transitions.x(current.state), current)

A version is replaced whole or not at all: temp file, fsync, sidecar, rename, fsync of the folder (docs/durability.md).
`reconcile` handles a file that the sidecar does not match:

    same content, another inode                 the sidecar is written again
    changed, not `trusted` (by the model)       quarantined; the current version is restored
    changed, `trusted` (by a person), valid     adopted as the next revision; the one before is archived
    changed, `trusted`, not valid               quarantined and restored; StateError without a backup
    missing, not `trusted`                      the current version is restored
    missing, `trusted`                          the batch is withdrawn: archived

What an edit of many files did (a copy is changed as well) is not a person's either: as if not `trusted`. A sidecar that
is damaged or missing is restored from a backup, then the copies are made those of the version in force. Nothing is
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
        self._changes: List[str] = []  # what this transaction did before a change that fails
        self._folder = -1
        self._read = read
        self._sidecar: Optional[tuple[Optional[bytes], Optional[Sidecar]]] = None

    def __enter__(self) -> Transaction:
        self._private = backups.open_private_folder(self.project, create=self._create)
        self._lock = lock.FileLock(self._private, self.project.private, self._timeout_s)
        try:
            self._lock.__enter__()
        except BaseException:
            atomic_files.close_quietly(self._private)
            raise
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if isinstance(error, StateError) and self._changes:
            error.mention_change(" ".join(self._changes))
        self._lock.__exit__(kind, error, trace)
        atomic_files.close_quietly(self._private)
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
        self._changes.append(text)
        audit_log.record(self.project.log_folder, event, text=text, **details)

    def reconcile(self) -> Optional[Version]:
        """Return the current version, or None when there is no batch, after handling what others changed."""
        try:
            is_sidecar_restored = self._restore_sidecar()
            version = self._reconcile_file()
            if is_sidecar_restored and not self.restored_note:
                text = f"{self.project.private}/sidecar was changed or removed; it was put back from its copy."
                self.note("sidecar put back", text)
            return version
        except OSError as error:
            raise atomic_files.unchanged_error(f"{self.project.state} cannot be reconciled", error) from error

    def _restore_sidecar(self) -> bool:
        """Restore a damaged or missing sidecar from a backup; return whether that was done."""
        if self._read_sidecar()[1] is not None:
            return False
        text = backups.read_backup_sidecar(self.project, self._private)
        value = sidecar.parse(text) if text else None
        if text is None or value is None or value.new is None or self._has_later_version(value.new.revision):
            return False
        backups.write_sidecar(self._private, text)
        self._sidecar = None
        return True

    def _has_later_version(self, revision: int) -> bool:
        """Return whether the state file has a later revision: the backup could not be written when it was put there."""
        try:
            file = self._read_state_file()
            state = serialization.parse(file[1]) if file else None
        except (atomic_files.UnexpectedFileType, StateError):
            return False
        in_place = state.get("revision") if isinstance(state, dict) else None
        return type(in_place) is int and in_place > revision

    def _reconcile_file(self) -> Optional[Version]:
        expected = self._read_sidecar()[1]
        try:
            file = self._read_state_file()
        except atomic_files.UnexpectedFileType as error:
            return self._restore_backup(expected, str(error))
        if file is None:
            return self._reconcile_missing_file(expected) if expected and expected.live and expected.new else None
        status, data = file
        content = self._read if self._read is not None and self._read.data == data else None
        digest = content.sha256 if content is not None else atomic_files.sha256(data)
        if expected is not None:
            known = expected.match(status)
            if known is not None and known.sha256 == digest:
                if expected.new is None:  # archived already; a crash came before the file was removed
                    os.unlink(self.project.state_name, dir_fd=self.folder())
                    return None
                if content is None:
                    content = serialization.parse_content(data, digest)
                return self._use_current_version(content, known, expected)
            if expected.new is not None and expected.new.sha256 == digest:
                state = serialization.parse(data)
                fingerprint = atomic_files.fingerprint_of(status, digest, state["revision"])
                self._repair_copies(self._write_sidecar(state, fingerprint, None), data, fingerprint)
                return Version(state, fingerprint)
        edited = atomic_files.fingerprint_of(status, digest, 0)
        if expected is not None:
            if expected.is_adopting(status):
                return self._finish_interrupted_write(expected) or self._adopt_edit(data, edited, expected)
            if expected.new is not None and self._is_undone(expected):
                return self._restore_backup(expected, "changed")
        return self._adopt_edit(data, edited, expected)

    def _reconcile_missing_file(self, expected: Sidecar) -> Optional[Version]:
        is_first = expected.old is None  # a first version that was never put in place: there was no batch
        if is_first and backups.read_interrupted_write(self.folder(), self.project.temp_name, expected) is not None:
            self._write_sidecar(None, None, None)
            atomic_files.unlink(self.folder(), self.project.temp_name)
            return None
        if expected.old is not None and expected.new is not None and expected.old.sha256 == expected.new.sha256:
            restored = self._finish_interrupted_write(expected)  # of a restore; other writes leave a file in place
            if restored is not None:
                return restored
        if self._is_undone(expected) and (expected.old is not None or self._read_backup(expected) is not None):
            return self._restore_backup(expected, "gone")
        self._withdraw_batch(expected)
        return None

    def _is_undone(self, expected: Sidecar) -> bool:
        """Return whether a change of the state is undone: by the model, or by an edit that hit a copy as well."""
        return not self.trusted or (
            self._read_backup(expected) is not None
            and backups.are_copies_changed(self.project, self._private, expected)
        )

    def _read_backup(self, expected: Optional[Sidecar]) -> Optional[bytes]:
        return backups.read_backup(self.project, self._private, expected)

    def _finish_interrupted_write(self, expected: Sidecar) -> Optional[Version]:
        """Put the version in place that a crash left in the temporary file, and return it; None when there is none."""
        folder = self.folder()
        data = backups.read_interrupted_write(folder, self.project.temp_name, expected)
        if data is None or expected.new is None:
            return None
        os.replace(self.project.temp_name, self.project.state_name, src_dir_fd=folder, dst_dir_fd=folder)
        self._changes.append(f"Revision {expected.new.revision}, whose write was interrupted, was put in place.")
        self._sync_state_folder(folder, expected.new.revision)
        return self._use_current_version(serialization.parse_content(data, expected.new.sha256), expected.new, expected)

    def _read_state_file(self) -> Optional[tuple[os.stat_result, bytes]]:
        try:
            if self._folder < 0:
                self._folder = self.project.open_state_folder(create=False)
        except FileNotFoundError:
            return None
        return atomic_files.read(self._folder, self.project.state_name)

    def _read_sidecar(self) -> tuple[Optional[bytes], Optional[Sidecar]]:
        """Return the sidecar's text and value, read once until this transaction writes it."""
        if self._sidecar is None:
            text = sidecar.read_text(self.project.private)
            self._sidecar = text, sidecar.parse(text) if text else None
        return self._sidecar

    def _use_current_version(self, content: Content, fingerprint: Fingerprint, expected: Sidecar) -> Version:
        state: State = content.value
        text = self._read_sidecar()[0]
        if expected.live != batch_state.needs_hooks(state):  # a crash came between a write and its second sidecar
            text = self._write_sidecar(state, fingerprint, None)
        if not sidecar.matches_copies((fingerprint,), self.project.private, self.project.second_backup):
            self._repair_copies(text or b"", content.data, fingerprint)
        return Version(state, fingerprint, content)

    def _repair_copies(self, text: bytes, data: bytes, fingerprint: Fingerprint) -> None:
        if backups.repair_copies(self.project, self._private, text, data, fingerprint):
            self.are_copies_repaired = True

    def _adopt_edit(self, data: bytes, fingerprint: Fingerprint, expected: Optional[Sidecar]) -> Optional[Version]:
        """Take the edited file over as the next revision; restore the current version when the edit is not valid."""
        current = self._read_backup(expected)
        try:
            before = serialization.parse(current) if current else None
            # the same revision again when a crash interrupted the adoption of this very file
            is_repeated = expected is not None and str(expected.old) == str(fingerprint)
            state, repairs = serialization.parse_edited_state(data, before, is_repeated)
        except StateError as error:
            if current is None:
                raise serialization.unusable_file_error(self.project.state, error) from error
            return self._restore_backup(expected, "made invalid", f" ({error.message.rstrip('.')})")
        is_sidecar_damaged = expected is None and os.path.lexists(f"{self.project.private}/sidecar")
        original = self._copy_to_archive(f"{state['batch_id']}.as-it-was", data) if repairs else None
        if original is None and before is not None and current is not None:
            original = self._copy_to_archive(f"{before['batch_id']}.before-edit", current)

        def log() -> None:
            if expected is not None:
                text = f"{self.project.state} was edited outside batchctl; the edit is valid and was taken over."
                self.note("adopted", text, revision=state["revision"] + 1, kept=original)
            elif is_sidecar_damaged:
                text = f"{self.project.private}/sidecar was damaged; it was rebuilt from the state as it is."
                self.note("sidecar rebuilt", text)
            if repairs or expected is None:
                for portion in audit_log.split_for_log(repairs) or [[]]:
                    audit_log.record(self.project.log_folder, "migrated", repairs=portion, kept=original)

        return self._write_version(self._next_version(state, state), Version(state, fingerprint), state, original, log)

    def _restore_backup(self, expected: Optional[Sidecar], what: str, why: str = "") -> Version:
        """Restore the current version from its backup; quarantine what is in its place."""
        data, file = self._read_backup(expected), self.project.state
        if data is None:
            raise StateError(
                f"{file} was {what}{why}, and no intact copy of the version in force is left. It was left as it is. "
                f"Older batches are in {self.project.private}/archive; `batchctl create --replace` starts anew and "
                "keeps what is there.",
                "state-damaged",
            )
        state = serialization.parse(data)
        place = backups.quarantine(self.project, self.folder())
        kept = f" What was there is now {place}." if place else ""
        text = f"{file} was {what} outside batchctl{why}. Revision {state['revision']} was put back.{kept}"
        try:
            fingerprint = self._replace_file(data, state, expected.new if expected else None)
        except DurabilityError:
            self.note("put back", text, quarantined=place)
            raise
        except StateError:
            backups.undo_quarantine(self.project, place)
            raise
        self.restored_note = text
        self.note("put back", text, quarantined=place)
        return Version(state, fingerprint)

    def _withdraw_batch(self, expected: Sidecar) -> None:
        data = self._read_backup(expected)
        place = self._copy_to_archive(serialization.parse(data)["batch_id"], data) if data else None
        if place:
            self._changes.append(f"The last version of the batch is in {place}.")
        self._write_sidecar(None, None, None)
        backups.remove_copies(self.project, self._private)
        text = f"{self.project.state} was removed: its batch counts as withdrawn."
        if place:
            text += f" Its last version is in {place}."
        elif expected.old is None:
            text = f"The first version of a batch was never put in place at {self.project.state}: there is none."
        self.note("withdrawn", text, kept=place)

    def quarantine_state(self) -> None:
        """Quarantine a state that cannot be used."""
        place = backups.quarantine(self.project, self.folder())
        self.note("quarantined", f"{self.project.state} could not be used; it is now {place}.", quarantined=place)

    def write(self, state: State, before: Optional[Version]) -> State:
        """Validate `state`, the successor of `before` (None for a first version), write it and return it as written."""
        old = before.state if before else None
        return self._write_version(self._next_version(state, old), before, old).state

    def replace_batch(self, state: State, current: Version, why: str) -> State:
        """Archive the current version, write the first version of another batch and return it as written.

        One rename puts it in place: at no moment is there no batch.
        """
        new = self._next_version(state, None)
        place = self._copy_to_archive(current.state["batch_id"], serialization.serialize(current.state))
        return self._write_version(new, current, None, place, lambda: self._log_archived(current, why, place)).state

    def archive(self, current: Version, why: str) -> None:
        """Move the current version to archive/. Once the sidecar says so durably, there is no batch."""
        place = self._copy_to_archive(current.state["batch_id"], serialization.serialize(current.state))
        text = self._read_sidecar()[0]
        try:
            self._write_sidecar(None, None, current.fingerprint)
            os.unlink(self.project.state_name, dir_fd=self.folder())
        except OSError as error:
            backups.restore_sidecar(self._private, text)
            if text != sidecar.read_text(self.project.private):
                raise atomic_files.unconfirmed_error(f"The batch was archived in {place}", error) from error
            backups.remove_from_archive(place)
            raise atomic_files.unchanged_error(f"{self.project.state} cannot be archived", error) from error
        backups.remove_copies(self.project, self._private)
        try:
            atomic_files.unlink(self.folder(), self.project.temp_name)
            atomic_files.sync(self.folder())
        except OSError:
            pass  # if the file comes back after a power cut, the sidecar says that it is archived
        self._log_archived(current, why, place)

    def _copy_to_archive(self, batch_id: str, data: bytes) -> str:
        return backups.write_to_archive(self.project, self._private, batch_id, data)

    def _next_version(self, state: State, old: Optional[State]) -> State:
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

    def _write_version(
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
            fingerprint = self._replace_file(data, new, over.fingerprint if over else None)
        except DurabilityError:
            self._log_events(old, new, log)
            raise
        except StateError:
            backups.remove_from_archive(archived)
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

    def _replace_file(self, data: bytes, state: State, old: Optional[Fingerprint]) -> Fingerprint:
        folder = self.folder()
        sidecar_text, expected = self._read_sidecar()
        was_live = expected is not None and expected.live
        is_restored = old is not None and old.sha256 == atomic_files.sha256(data)
        is_backed_up = False
        try:
            fingerprint = atomic_files.write_over_leftover(folder, self.project.temp_name, data, state["revision"])
            text = self._write_sidecar(state, fingerprint, old, live=was_live or batch_state.needs_hooks(state))
            # A backup comes before the rename: a crash after the rename must not leave only older ones.
            # Not when restoring: then the data comes from the backup, which nothing may endanger.
            if not is_restored:
                packed = backups.pack(text, data)
                is_backed_up = backups.back_up(self.project, self._private, packed, fingerprint, self.notes)
            os.replace(self.project.temp_name, self.project.state_name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            atomic_files.discard(folder, self.project.temp_name)
            if is_backed_up:
                atomic_files.discard(self._private, sidecar.BACKUP)  # the others hold the version in force
            backups.restore_sidecar(self._private, sidecar_text)
            raise atomic_files.unchanged_error(f"Failed to save {self.project.state}", error) from error
        if not is_restored:
            backups.back_up_again(self.project, self._private, packed, data, fingerprint, self.notes)
        self._sync_state_folder(folder, state["revision"])
        if is_restored:
            self._repair_copies(text, data, fingerprint)
        if was_live and not batch_state.needs_hooks(state):
            try:
                self._write_sidecar(state, fingerprint, old)
            except OSError:
                pass  # the version is in place; a sidecar that still says `live` is corrected at the next read
        return fingerprint

    def _sync_state_folder(self, folder: int, revision: int) -> None:
        try:
            atomic_files.sync(folder)
        except OSError as error:
            raise atomic_files.unconfirmed_error(
                f"{self.project.state} was written (revision {revision})", error
            ) from error

    def _write_sidecar(
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
        backups.write_sidecar(self._private, text)
        return text
