"""Archive old batches and versions, and quarantine what is in the state's place and cannot be used.

`folder` (of the state file) and `private` are descriptors. Callers hold the lock. Nothing in the archive or in
quarantine is ever overwritten.
"""

from __future__ import annotations

import errno
import os
import time

from ..base import project_paths
from ..core.errors import StateError
from . import atomic_files, sidecar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State

_LINK_UNSUPPORTED = frozenset((errno.EPERM, errno.EISDIR, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS))


def write_to_archive(project: Project, private: int, batch_id: str, data: bytes) -> str:
    """Write a copy to archive/ durably, whole or not at all, and return its path. Raises StateError when that fails."""
    folder = -1
    try:
        folder = project_paths.open_folder(project.private, "archive", create=True)
        names = set(os.listdir(folder))
        name, number = f"{batch_id}.json", 1
        while name in names:
            number += 1
            name = f"{batch_id}.{number}.json"
        atomic_files.write_over_leftover(private, sidecar.TEMP_NAME, data, 0)  # the name that the next write sweeps
        try:
            os.rename(sidecar.TEMP_NAME, name, src_dir_fd=private, dst_dir_fd=folder)
            atomic_files.sync(folder)
        except OSError:
            atomic_files.discard(private, sidecar.TEMP_NAME)
            atomic_files.discard(folder, name)
            raise
        return f"{project.private}/archive/{name}"
    except OSError as error:
        raise atomic_files.unchanged_error(f"{project.private}/archive cannot be written", error) from error
    finally:
        if folder >= 0:
            atomic_files.close_quietly(folder)


def read_newest(project: Project, max_bytes: int, skipped: List[str]) -> Iterator[State]:
    """Yield the archived states, the newest first, as they are written: neither migrated nor checked.

    Files that cannot be read as JSON objects are skipped, and those beyond `max_bytes` in all; their names are appended
    to `skipped`.
    """
    from . import serialization

    try:
        folder = project_paths.open_folder(project.private_parent, f"{project.private_name}/archive", create=False)
    except OSError:
        return
    try:
        files = []
        for name in os.listdir(folder):
            if name.endswith(".json") and not name.endswith(".as-it-was.json"):
                about = os.stat(name, dir_fd=folder, follow_symlinks=False)
                files.append((about.st_mtime_ns, name, about.st_size))
        for _, name, size in sorted(files, reverse=True):
            max_bytes -= size
            try:
                file = atomic_files.read(folder, name) if max_bytes >= 0 else None
                state = serialization.parse(file[1]) if file else None
            except (OSError, StateError, atomic_files.UnexpectedFileType):
                state = None
            if isinstance(state, dict):
                yield state
            else:
                skipped.append(name)
    finally:
        atomic_files.close_quietly(folder)


def remove_from_archive(path: Optional[str]) -> None:
    """Remove a copy whose version was not replaced after all."""
    if path is not None:
        try:
            os.unlink(path)
        except OSError:
            pass  # one copy too many


# -- quarantine --------------------------------------------------------------------------------------------------------


def quarantine(project: Project, folder: int) -> Optional[str]:
    """Quarantine what is in the state's place, of any type, and return its new path, or None when nothing is there.

    A file gets a second name, durably, and loses the first when a version is put in its place: at no moment is there
    no file. What cannot have a second name, such as a folder, is moved. Raises StateError when both fail.
    """
    stamp = f"{time.time_ns()}"
    quarantine_fd = -1
    try:
        quarantine_fd = project_paths.open_folder(project.private, "quarantine", create=True)
        try:
            _link_or_move(project, folder, quarantine_fd, f"{stamp}.json")
            return f"{project.private}/quarantine/{stamp}.json"
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        name = f"{project.state_name}.quarantined-{stamp}"  # the git folder is on another file system
        _link_or_move(project, folder, folder, name)
        return f"{os.path.dirname(project.state)}/{name}"
    except FileNotFoundError:
        return None
    except OSError as error:
        raise atomic_files.unchanged_error(f"{project.state} cannot be kept in quarantine", error) from error
    finally:
        if quarantine_fd >= 0:
            atomic_files.close_quietly(quarantine_fd)


def _link_or_move(project: Project, folder: int, to: int, name: str) -> None:
    try:
        os.link(project.state_name, name, src_dir_fd=folder, dst_dir_fd=to, follow_symlinks=False)
    except NotImplementedError:
        os.rename(project.state_name, name, src_dir_fd=folder, dst_dir_fd=to)
    except OSError as error:
        if error.errno not in _LINK_UNSUPPORTED:
            raise
        os.rename(project.state_name, name, src_dir_fd=folder, dst_dir_fd=to)
    try:
        atomic_files.sync(to)
    except OSError:
        undo_quarantine(project, name, to)
        raise


def undo_quarantine(project: Project, place: Optional[str], folder: Optional[int] = None) -> None:
    """After a restore that failed, make sure that what was in the state's place is there and nowhere else.

    `place` is the result of `quarantine`, or a name in `folder`.
    """
    if place is None:
        return
    try:
        if os.path.lexists(project.state):
            os.unlink(place, dir_fd=folder)
        else:
            os.rename(place, project.state, src_dir_fd=folder)
    except OSError:
        pass  # it stays in quarantine
