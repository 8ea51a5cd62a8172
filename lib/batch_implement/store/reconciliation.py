"""Handle what others did to the state, its sidecar or its copies, in an open transaction.

    version = reconciliation.reconcile(at)          # None when there is no batch

    same content, another inode                 the sidecar is written again
    changed, not `trusted` (by the model)       quarantined; the current version is restored
    changed, `trusted` (by a person), valid     adopted as the next revision; the one before is archived
    changed, `trusted`, not valid               quarantined and restored; StateError without a backup
    missing, not `trusted` or a feature open    the current version is restored
    missing, `trusted`, no feature open         the batch is withdrawn: archived

What an edit of many files did (a copy is changed as well) is not a person's either: as if not `trusted`. A sidecar that
is damaged or missing is restored from a backup, then the copies are made those of the version in force. Nothing is
deleted.
"""

from __future__ import annotations

import os

from ..core.errors import DurabilityError, StateError
from . import archive, atomic_files, audit_log, backups, serialization, sidecar
from .transaction import Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .sidecar import Fingerprint, Sidecar
    from .transaction import Transaction


def reconcile(at: Transaction) -> Optional[Version]:
    """Return the current version, or None when there is no batch, where the file is not the one that the sidecar names.

    Raises StateError when the state cannot be used and no backup is left.
    """
    is_sidecar_restored = _restore_sidecar(at)
    version = (at.find_current_version() if is_sidecar_restored else None) or _reconcile_file(at)
    if is_sidecar_restored and not at.restored_note:
        at.note(
            "sidecar put back", f"{at.project.private}/sidecar was changed or removed; it was put back from its copy."
        )
    return version


def _restore_sidecar(at: Transaction) -> bool:
    """Restore a damaged or missing sidecar from a backup; return whether that was done."""
    if at.read_sidecar()[1] is not None:
        return False
    text = backups.read_backup_sidecar(at.project, at.private)
    value = sidecar.parse(text) if text else None
    if text is None or value is None or value.new is None or _has_later_version(at, value.new.revision):
        return False
    backups.write_sidecar(at.private, text)
    at.forget_sidecar()
    return True


def _has_later_version(at: Transaction, revision: int) -> bool:
    """Return whether the state file has a later revision: the backup could not be written when it was put there."""
    try:
        file = at.read_state_file()
        state = serialization.parse(file[1]) if file else None
    except (atomic_files.UnexpectedFileType, StateError):
        return False
    in_place = state.get("revision") if isinstance(state, dict) else None
    return type(in_place) is int and in_place > revision


def _reconcile_file(at: Transaction) -> Optional[Version]:
    expected = at.read_sidecar()[1]
    try:
        file = at.read_state_file()
    except atomic_files.UnexpectedFileType as error:
        return _restore_backup(at, expected, str(error))
    if file is None:
        return _reconcile_missing_file(at, expected) if expected and expected.new else None
    status, data = file
    digest = atomic_files.sha256(data)
    if expected is not None and expected.new is None:
        known = expected.match(status)
        if known is not None and known.sha256 == digest:  # archived already; a crash came before the file was removed
            os.unlink(at.project.state_name, dir_fd=at.folder())
            return None
    elif expected is not None and expected.new is not None and expected.new.sha256 == digest:
        state = serialization.parse(data)
        fingerprint = atomic_files.fingerprint_of(status, digest, state["revision"])
        at.repair_copies(at.write_sidecar(state, fingerprint, None), data, fingerprint)
        return Version(state, fingerprint)
    edited = atomic_files.fingerprint_of(status, digest, 0)
    if expected is not None:
        if expected.is_adopting(status):
            return _finish_interrupted_write(at, expected) or _adopt_edit(at, data, edited, expected)
        if expected.new is not None and (not at.trusted or _are_copies_changed(at, expected)):
            return _restore_backup(at, expected, "changed")
    return _adopt_edit(at, data, edited, expected)


def _reconcile_missing_file(at: Transaction, expected: Sidecar) -> Optional[Version]:
    is_first = expected.old is None  # a first version that was never put in place: there was no batch
    if is_first and backups.read_interrupted_write(at.folder(), at.project.temp_name, expected) is not None:
        at.write_sidecar(None, None, None)
        atomic_files.unlink(at.folder(), at.project.temp_name)
        return None
    if expected.old is not None and expected.new is not None and expected.old.sha256 == expected.new.sha256:
        restored = _finish_interrupted_write(at, expected)  # of a restore; other writes leave a file in place
        if restored is not None:
            return restored
    was_in_place = expected.old is not None or _read_backup(at, expected) is not None
    # While a feature is open, `git clean -fdx` of a worker or of a verify command is likelier than a user's `rm`.
    is_removed_by_others = not at.trusted or expected.open
    if (is_removed_by_others and expected.live and was_in_place) or _are_copies_changed(at, expected):
        return _restore_backup(at, expected, "gone")
    if expected.live:
        _withdraw_batch(at, expected)
    return None


def _are_copies_changed(at: Transaction, expected: Sidecar) -> bool:
    """Return whether what changed the state changed a copy as well, and another copy is left."""
    return _read_backup(at, expected) is not None and backups.are_copies_changed(at.project, at.private, expected)


def _read_backup(at: Transaction, expected: Optional[Sidecar]) -> Optional[bytes]:
    return backups.read_backup(at.project, at.private, expected)


def _finish_interrupted_write(at: Transaction, expected: Sidecar) -> Optional[Version]:
    """Put the version in place that a crash left in the temporary file, and return it; None when there is none."""
    folder = at.folder()
    data = backups.read_interrupted_write(folder, at.project.temp_name, expected)
    if data is None or expected.new is None:
        return None
    os.replace(at.project.temp_name, at.project.state_name, src_dir_fd=folder, dst_dir_fd=folder)
    at.changes.append(f"Revision {expected.new.revision}, whose write was interrupted, was put in place.")
    at.sync_state_folder(folder, expected.new.revision)
    return at.use_version(serialization.parse_content(data, expected.new.sha256), expected.new, expected)


def _adopt_edit(
    at: Transaction, data: bytes, fingerprint: Fingerprint, expected: Optional[Sidecar]
) -> Optional[Version]:
    """Take the edited file over as the next revision; restore the current version when the edit is not valid."""
    current = _read_backup(at, expected)
    try:
        before = serialization.parse(current) if current else None
        # the same revision again when a crash interrupted the adoption of this very file
        is_repeated = expected is not None and str(expected.old) == str(fingerprint)
        state, repairs = serialization.parse_edited_state(data, before, is_repeated)
    except StateError as error:
        if current is None:
            raise serialization.unusable_file_error(at.project.state, error) from error
        return _restore_backup(at, expected, "made invalid", f" ({error.message.rstrip('.')})")
    is_sidecar_damaged = expected is None and os.path.lexists(f"{at.project.private}/sidecar")
    original = (
        archive.write_to_archive(at.project, at.private, f"{state['batch_id']}.as-it-was", data) if repairs else None
    )
    if original is None and before is not None and current is not None:
        original = archive.write_to_archive(at.project, at.private, f"{before['batch_id']}.before-edit", current)

    def log() -> None:
        if expected is not None:
            text = f"{at.project.state} was edited outside batchctl; the edit is valid and was taken over."
            at.note("adopted", text, revision=state["revision"] + 1, kept=original)
        elif is_sidecar_damaged:
            text = f"{at.project.private}/sidecar was damaged; it was rebuilt from the state as it is."
            at.note("sidecar rebuilt", text)
        if repairs or expected is None:
            for portion in audit_log.split_for_log(repairs) or [[]]:
                audit_log.record(at.project.log_folder, "migrated", repairs=portion, kept=original)

    return at.write_version(at.next_version(state, state), Version(state, fingerprint), state, original, log)


def _restore_backup(at: Transaction, expected: Optional[Sidecar], what: str, why: str = "") -> Version:
    """Restore the current version from its backup; quarantine what is in its place."""
    data, file = _read_backup(at, expected), at.project.state
    if data is None:
        raise StateError(
            f"{file} was {what}{why}, and no intact copy of the version in force is left. It was left as it is. "
            f"Older batches are in {at.project.private}/archive; `batchctl create --replace` starts anew and "
            "keeps what is there.",
            "state-damaged",
        )
    state = serialization.parse(data)
    place = archive.quarantine(at.project, at.folder())
    kept = f" What was there is now {place}." if place else ""
    text = f"{file} was {what} outside batchctl{why}. Revision {state['revision']} was put back.{kept}"
    try:
        fingerprint = at.replace_file(data, state, expected.new if expected else None, is_restored=True)
    except DurabilityError:
        at.note("put back", text, quarantined=place)
        raise
    except StateError:
        archive.undo_quarantine(at.project, place)
        raise
    at.restored_note = text
    at.note("put back", text, quarantined=place)
    return Version(state, fingerprint)


def _withdraw_batch(at: Transaction, expected: Sidecar) -> None:
    data = _read_backup(at, expected)
    place = (
        archive.write_to_archive(at.project, at.private, serialization.parse(data)["batch_id"], data) if data else None
    )
    if place:
        at.changes.append(f"The last version of the batch is in {place}.")
    at.write_sidecar(None, None, None)
    backups.remove_copies(at.project, at.private)
    text = f"{at.project.state} was removed: its batch counts as withdrawn."
    if place:
        text += f" Its last version is in {place}."
    elif expected.old is None:
        text = f"The first version of a batch was never put in place at {at.project.state}: there is none."
    at.note("withdrawn", text, kept=place)
