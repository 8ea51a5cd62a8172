"""The state as somebody sees it who only looks, and looks often: a display, a status line.

    state = onlooker.read(project)      None when there is no batch

The store mends what it finds, and takes a change that nobody's tool call made for a person's edit. Read once a second,
it would find the model's own edits before the hooks do and adopt them. So an onlooker takes no lock and mends nothing:
of a file that the sidecar does not know it sees the version in force, in our own copy.
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
    """The version in force; None when there is no batch, or none that can be seen now. StateError when the sidecar or
    the file cannot be read, or what is there was never ours and is not valid.
    """
    for _ in range(READ_ATTEMPTS):
        found = _read_file_in_place(project)
        sealed = sidecar.read_sidecar(project.private)
        if sealed is None:
            return serialization.parse_state_file(project.state, found[1]) if found else None
        if sealed.new is None:
            return None
        if found and sealed.match(found[0]):
            return serialization.parse(found[1])  # type: ignore[no-any-return]  # JSON is Any
        copied = _read_from_backups(project, sealed)
        if copied is not None:
            return serialization.parse(copied) if sealed.live or found else None
        time.sleep(0.001)  # a write may have come between the reads
    return None


def _read_file_in_place(project: Project) -> Optional[tuple[os.stat_result, bytes]]:
    """Status and content of the state file; None when there is none, or something else in its place."""
    try:
        return backups.read_state_file(project)
    except atomic_files.UnexpectedFileType:
        return None


def _read_from_backups(project: Project, sealed: sidecar.Sidecar) -> Optional[bytes]:
    """The version in force from our own copies; None when there is none."""
    try:
        private = project_paths.open_folder(project.private_parent, project.private_name, create=False)
    except OSError:
        return None
    try:
        return backups.read_backup(private, sealed)
    finally:
        atomic_files.close_quietly(private)
