"""One transaction on the state: its folders open, under the lock, for the length of a `with`.

    with Transaction(project, notes, trusted=True, timeout_s=10.0) as at:
        current = at.reconcile()                       # the version in force; None when there is no batch
        at.write(transitions.x(current.state), current)

A version is replaced whole or not at all: temp file, fsync, sidecar, rename, fsync of the folder (docs/durability.md).
What happens to a file that is not the one the sidecar knows (`settle`):

    same content elsewhere (copied, restored)   sealed again
    changed by the model (`by_model`)           to quarantine/, the version in force comes back
    changed by anybody else, valid              adopted: one revision more
    changed by anybody else, not valid          to quarantine/, the version in force comes back; with none to come back
                                                it stays, StateUnusable
    gone, by the model                          the version in force comes back
    gone, by anybody else                       the batch is withdrawn: put away into archive/

Nothing is deleted. `notes` collects what a person or model should be told, a sentence each.
"""

from __future__ import annotations

import os

from ..base import timestamps
from ..core import batch_events, batch_state
from ..core.errors import DurabilityError, StateError
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
    """One version read from the disk; `content` is what was read, where its texts can be used again."""

    __slots__ = ("content", "fingerprint", "state")

    def __init__(self, state: State, fingerprint: Fingerprint, content: Optional[Content] = None) -> None:
        self.state, self.fingerprint, self.content = state, fingerprint, content


class Transaction:
    """The folders of a store, open, under its lock, for the length of a `with`. `read` is what the caller read before
    it had the lock: when the version in force has the same bytes, these are not hashed and parsed again.
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
        self.restored_note = (
            ""  # what was found damaged and replaced by the version in force, a sentence; mostly nothing
        )
        self._timeout_s, self._create = timeout_s, create
        self._folder = -1
        self._read = read
        self._sealed: Optional[tuple[Optional[bytes], Optional[Sidecar]]] = None

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
        self._lock.__exit__(kind, error, trace)
        atomic_files.close_quietly(self._private)
        if self._folder >= 0:
            atomic_files.close_quietly(self._folder)
        if audit_log.last_error:
            trouble = f"Note: {audit_log.last_error}. The batch itself is not affected."
            if trouble not in self.notes:
                self.notes.append(trouble)
            audit_log.last_error = ""

    def folder(self) -> int:
        """A descriptor of the folder that holds the state file; it is made when it is missing."""
        if self._folder < 0:
            try:
                self._folder = self.project.open_state_folder(create=True)
            except OSError as error:
                raise atomic_files.io_error(f"The folder of {self.project.state} cannot be used", error) from error
        return self._folder

    def note(self, event: str, text: str, **details: Any) -> None:
        """Tell whoever called, and the audit log."""
        self.notes.append(text)
        audit_log.record(self.project.log_folder, event, text=text, **details)

    # -- what is there -------------------------------------------------------------------------------------------

    def reconcile(self) -> Optional[Version]:
        """The version in force, once everything foreign was dealt with."""
        try:
            return self._reconcile_file()
        except OSError as error:
            raise atomic_files.io_error(f"What was done to {self.project.state} cannot be mended", error) from error

    def _reconcile_file(self) -> Optional[Version]:
        sealed = self._read_sidecar()[1]
        try:
            found = self._read_state_file()
        except atomic_files.UnexpectedFileType as thing:
            return self._restore_backup(sealed, str(thing))
        if found is None:
            return self._reconcile_missing_file(sealed) if sealed and sealed.live and sealed.new else None
        status, data = found
        read = self._read if self._read is not None and self._read.data == data else None
        digest = read.sha256 if read is not None else atomic_files.sha256(data)
        if sealed is not None:
            known = sealed.match(status)
            if known is not None and known.sha256 == digest:
                if sealed.new is None:  # put away already; only its removal was cut short
                    os.unlink(self.project.state_name, dir_fd=self.folder())
                    return None
                return self._use_current_version(
                    read if read is not None else serialization.parse_content(data, digest), known, sealed
                )
            if sealed.new is not None and sealed.new.sha256 == digest:
                state = serialization.parse(data)
                identity = atomic_files.fingerprint_of(status, digest, state["revision"])
                self._write_sidecar(state, identity, None)
                return Version(state, identity)
            if sealed.is_adopting(status):
                return self._finish_interrupted_write(sealed) or self._adopt_edit(
                    data, atomic_files.fingerprint_of(status, digest, 0), sealed
                )
            if not self.trusted and sealed.new is not None:
                return self._restore_backup(sealed, "changed")
        return self._adopt_edit(data, atomic_files.fingerprint_of(status, digest, 0), sealed)

    def _reconcile_missing_file(self, sealed: Sidecar) -> Optional[Version]:
        first = sealed.old is None  # of a version that was never put in place: there was no batch
        if first and backups.read_interrupted_write(self.folder(), self.project.temp_name, sealed) is not None:
            self._write_sidecar(None, None, None)
            atomic_files.unlink(self.folder(), self.project.temp_name)
            return None
        if sealed.old is not None and sealed.new is not None and sealed.old.sha256 == sealed.new.sha256:
            finished = self._finish_interrupted_write(sealed)  # of putting back; any other write leaves a file in place
            if finished is not None:
                return finished
        if not self.trusted and (sealed.old is not None or backups.read_backup(self._private, sealed) is not None):
            return self._restore_backup(sealed, "gone")
        self._withdraw_batch(sealed)
        return None

    def _finish_interrupted_write(self, sealed: Sidecar) -> Optional[Version]:
        """The version whose putting in place was cut short, in place; None when that is not what happened."""
        folder = self.folder()
        data = backups.read_interrupted_write(folder, self.project.temp_name, sealed)
        if data is None or sealed.new is None:
            return None
        os.replace(self.project.temp_name, self.project.state_name, src_dir_fd=folder, dst_dir_fd=folder)
        self._sync_state_folder(folder, sealed.new.revision)
        return self._use_current_version(serialization.parse_content(data, sealed.new.sha256), sealed.new, sealed)

    def _read_state_file(self) -> Optional[tuple[os.stat_result, bytes]]:
        try:
            if self._folder < 0:
                self._folder = self.project.open_state_folder(create=False)
        except FileNotFoundError:
            return None
        return atomic_files.read(self._folder, self.project.state_name)

    def _read_sidecar(self) -> tuple[Optional[bytes], Optional[Sidecar]]:
        """The sidecar's text and what it says. Under the lock it is read once, and again when it was written here."""
        if self._sealed is None:
            text = sidecar.read_text(self.project.private)
            self._sealed = text, sidecar.parse(text) if text else None
        return self._sealed

    def _use_current_version(self, content: Content, identity: Fingerprint, sealed: Sidecar) -> Version:
        state: State = content.value
        if sealed.live != batch_state.needs_hooks(state):  # a crash came between a write and its last sidecar
            self._write_sidecar(state, identity, None)
        return Version(state, identity, content)

    def _adopt_edit(self, data: bytes, identity: Fingerprint, sealed: Optional[Sidecar]) -> Optional[Version]:
        in_force = backups.read_backup(self._private, sealed)
        try:
            if len(data) > serialization.MAX_FOREIGN_BYTES:
                raise StateError(
                    f"It is larger than the {serialization.MAX_FOREIGN_BYTES >> 20} MB that an edit may have.",
                    "state-damaged",
                )
            state, mended = serialization.parse_valid_state(data)
            before = serialization.parse(in_force) if in_force else None
            if before is not None and before["batch_id"] == state["batch_id"]:
                again = sealed is not None and str(sealed.old) == str(identity)  # a crash cut its adoption short
                state = {**state, "revision": max(state["revision"], before["revision"] - again)}
                wrong = batch_state.monotonicity_violations(before, state)
                if wrong:
                    raise StateError(f"What may only grow was made smaller: {'; '.join(wrong)}.", "write-refused")
        except StateError as error:
            if in_force is None:
                raise serialization.unusable_file_error(self.project.state, error) from error
            return self._restore_backup(sealed, "made invalid", f" ({error.message.rstrip('.')})")
        seal_damaged = sealed is None and os.path.lexists(f"{self.project.private}/sidecar")
        kept = (
            backups.write_to_archive(self.project, self._private, f"{state['batch_id']}.as-it-was", data)
            if mended
            else None
        )

        def tell() -> None:
            if sealed is not None:
                text = f"{self.project.state} was edited outside batchctl; the edit is valid and was taken over."
                self.note("adopted", text, revision=state["revision"] + 1)
            elif seal_damaged:
                text = f"{self.project.private}/sidecar was damaged; it was rebuilt from the state as it is."
                self.note("sidecar rebuilt", text)
            if mended or sealed is None:
                for some in audit_log.split_for_log(mended) or [[]]:
                    audit_log.record(self.project.log_folder, "migrated", repairs=some, kept=kept)

        return self._write_version(self._next_version(state, state), Version(state, identity), state, kept, tell)

    def _restore_backup(self, sealed: Optional[Sidecar], what: str, why: str = "") -> Version:
        """Put the version in force back in place of what is there, which goes to quarantine."""
        data, file = backups.read_backup(self._private, sealed), self.project.state
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
            written = self._replace_file(data, state, sealed.new if sealed else None)
        except DurabilityError:
            self.note("put back", text, quarantined=place)
            raise
        except StateError:
            backups.undo_quarantine(self.project, place)
            raise
        self.restored_note = text
        self.note("put back", text, quarantined=place)
        return Version(state, written)

    def _withdraw_batch(self, sealed: Sidecar) -> None:
        data = backups.read_backup(self._private, sealed)
        place = (
            backups.write_to_archive(self.project, self._private, serialization.parse(data)["batch_id"], data)
            if data
            else None
        )
        self._write_sidecar(None, None, None)
        text = f"{self.project.state} was removed: its batch counts as withdrawn."
        if place:
            text += f" Its last version is in {place}."
        elif sealed.old is None:
            text = f"The first version of a batch was never put in place at {self.project.state}: there is none."
        self.note("withdrawn", text, kept=place)

    def quarantine_state(self) -> None:
        """Move what cannot be used away, for another batch to take its place."""
        place = backups.quarantine(self.project, self.folder())
        self.note("given up", f"{self.project.state} could not be used; it is now {place}.", quarantined=place)

    # -- putting a version in place ------------------------------------------------------------------------------

    def write(self, state: State, before: Optional[Version]) -> State:
        """Check `state`, the successor of `before` (None for a first version), and put it in place; the state as
        written.
        """
        old = before.state if before else None
        return self._write_version(self._next_version(state, old), before, old).state

    def replace_batch(self, state: State, current: Version, why: str) -> State:
        """Put the first version of another batch in the place of the one in force, which is kept in archive/; the
        state as written. One rename does it: at no moment is there none.
        """
        new = self._next_version(state, None)
        place = backups.write_to_archive(
            self.project, self._private, current.state["batch_id"], serialization.serialize(current.state)
        )
        return self._write_version(new, current, None, place, lambda: self._log_archived(current, why, place)).state

    def _next_version(self, state: State, old: Optional[State]) -> State:
        new = {
            **state,
            "revision": (old["revision"] if old else 0) + 1,
            "updated_at": timestamps.now(),
            "state_file": self.project.state,
        }
        wrong = serialization.find_problems(new, old)
        if wrong:
            raise StateError(
                f"Refused to write a state that is not valid: {'; '.join(wrong)}. Nothing was changed; this is a bug "
                "in batch-implement.",
                "write-refused",
            )
        return new

    def _write_version(
        self,
        new: State,
        over: Optional[Version],
        old: Optional[State],
        kept: Optional[str] = None,
        tell: Optional[Callable[[], None]] = None,
    ) -> Version:
        """Put `new` in place of the version `over`. Only then the log has `tell`'s lines and what happened since `old`;
        a copy `kept` of what was there goes again when it stays there.
        """
        try:
            data = serialization.serialize(new, over.content if over else None)
            identity = self._replace_file(data, new, over.fingerprint if over else None)
        except DurabilityError:
            self._log_events(old, new, tell)
            raise
        except StateError:
            backups.remove_from_archive(kept)
            raise
        self._log_events(old, new, tell)
        return Version(new, identity)

    def _log_events(self, old: Optional[State], new: State, tell: Optional[Callable[[], None]]) -> None:
        if tell is not None:
            tell()
        for event in batch_events.events_between(old, new):
            audit_log.record(self.project.log_folder, batch_id=new["batch_id"], **event)

    def _log_archived(self, current: Version, why: str, place: str) -> None:
        audit_log.record(self.project.log_folder, "archived", batch_id=current.state["batch_id"], why=why, kept=place)

    def _replace_file(self, data: bytes, state: State, old: Optional[Fingerprint]) -> Fingerprint:
        folder = self.folder()
        sealed, was = self._read_sidecar()
        was_live = was is not None and was.live
        copied = False
        try:
            identity = atomic_files.write_over_leftover(folder, self.project.temp_name, data, state["revision"])
            self._write_sidecar(state, identity, old, live=was_live or batch_state.needs_hooks(state))
            # before the rename: a crash behind it must not leave an older copy
            if old is None or old.sha256 != identity.sha256:  # else it comes from the copy, which nothing may endanger
                copied = backups.back_up(self.project, self._private, data, self.notes)
            os.replace(self.project.temp_name, self.project.state_name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            atomic_files.discard(folder, self.project.temp_name)
            if copied:
                backups.undo_back_up(self._private)
            backups.restore_sidecar(self._private, sealed)
            raise atomic_files.io_error(f"Failed to save {self.project.state}", error) from error
        self._sync_state_folder(folder, state["revision"])
        if was_live and not batch_state.needs_hooks(state):
            try:
                self._write_sidecar(state, identity, old)
            except OSError:
                pass  # the version is in place; a sidecar that still says `live` is mended at the next look
        return identity

    def _sync_state_folder(self, folder: int, revision: int) -> None:
        try:
            atomic_files.sync(folder)
        except OSError as error:
            raise DurabilityError(
                f"{self.project.state} was written (revision {revision}), but the disk did not confirm it: "
                f"{error.strerror}. Check the disk, then `batchctl status`, before you repeat anything.",
                "not-confirmed",
            ) from error

    def _write_sidecar(
        self,
        state: Optional[State],
        new: Optional[Fingerprint],
        old: Optional[Fingerprint],
        *,
        live: Optional[bool] = None,
    ) -> None:
        """Write the sidecar, durably; `new` is None for a batch that is put away."""
        alive = live if live is not None else state is not None and batch_state.needs_hooks(state)
        remind = batch_state.contexts_to_remind(state) if state else []
        self._sealed = None
        backups.write_sidecar(self._private, sidecar.render(state, alive, new, old, remind))

    def archive(self, current: Version, why: str) -> None:
        """Move the version in force into archive/. The sidecar decides: once it says so, durably, the batch is away."""
        place = backups.write_to_archive(
            self.project, self._private, current.state["batch_id"], serialization.serialize(current.state)
        )
        sealed = self._read_sidecar()[0]
        try:
            self._write_sidecar(None, None, current.fingerprint)
            os.unlink(self.project.state_name, dir_fd=self.folder())
        except OSError as error:
            backups.restore_sidecar(self._private, sealed)
            if sealed != sidecar.read_text(self.project.private):
                raise DurabilityError(
                    f"The batch was put away into {place}, but the disk did not confirm it: {error.strerror}. Check "
                    "the disk, then `batchctl status`, before you repeat anything.",
                    "not-confirmed",
                ) from error
            backups.remove_from_archive(place)
            raise atomic_files.io_error(f"{self.project.state} cannot be put away", error) from error
        try:
            atomic_files.unlink(self.folder(), self.project.temp_name)
            atomic_files.sync(self.folder())
        except OSError:
            pass  # what comes back after a power cut is known to the sidecar, which says that it is away
        self._log_archived(current, why, place)
