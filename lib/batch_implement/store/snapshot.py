"""Read-only snapshots of the state for displays and status lines that poll. Takes no lock, repairs nothing.

    state = snapshot.read_snapshot(project)      # None when there is no batch

The store takes an edit that no tool call made for a person's. Polled every second, it would find the model's own edits
before the hooks do and adopt them. A snapshot of a file that the sidecar does not match is the current version, from a
backup.
"""

from __future__ import annotations

import time

from ..base import project_paths
from . import atomic_files, backups, serialization, sidecar

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State

READ_ATTEMPTS = 3


def read_snapshot(project: Project) -> Optional[State]:
    """Return the current version, or None when there is no batch or it cannot be seen now.

    Raises StateError when the sidecar or the file cannot be read, or the file was never written by the store and is not
    valid.
    """
    for _ in range(READ_ATTEMPTS):
        file = _read_file_in_place(project)
        expected = sidecar.read_sidecar(project.private)
        if expected is None:
            backup = _read_from_backups(project, None) if backups.has_backup(project) else None
            if backup is not None:
                return serialization.parse(backup)  # type: ignore[no-any-return]  # JSON is Any
            return serialization.parse_state_file(project.state, file[1]) if file else None
        if expected.new is None:
            return None
        if file and expected.match(file[0]):
            return serialization.parse(file[1])  # type: ignore[no-any-return]  # JSON is Any
        backup = _read_from_backups(project, expected)
        if backup is not None:
            return serialization.parse(backup) if expected.live or file else None
        time.sleep(0.001)  # a write may have come between the reads
    return None


def _read_file_in_place(project: Project) -> Optional[tuple[os.stat_result, bytes]]:
    try:
        return backups.read_state_file(project)
    except atomic_files.UnexpectedFileType:
        return None


def _read_from_backups(project: Project, expected: Optional[sidecar.Sidecar]) -> Optional[bytes]:
    """Return the version that the sidecar calls current, or that its copy in the backups does, from the backups."""
    try:
        private = project_paths.open_folder(project.private_parent, project.private_name, create=False)
    except OSError:
        return None
    try:
        text = backups.read_backup_sidecar(project, private) if expected is None else None
        return backups.read_backup(project, private, sidecar.parse(text) if text else expected)
    finally:
        atomic_files.close_quietly(private)
