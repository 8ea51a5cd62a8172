"""Manage the files behind a state in the private folder: sidecar, backups, archive, quarantine.

`folder` (of the state file) and `private` are descriptors. Callers hold the lock, except for `read_state_file`. Nothing
in the archive or in quarantine is ever overwritten.
"""

from __future__ import annotations

import errno
import os
import time

from ..base import project_paths
from ..core.errors import RefusedError
from . import atomic_files, sidecar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from ..base.project_paths import Project
    from .sidecar import Sidecar

CURRENT, PREVIOUS = "current.json", "previous.json"
_LINK_UNSUPPORTED = frozenset((errno.EPERM, errno.EISDIR, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS))


def open_private_folder(project: Project, *, create: bool) -> int:
    """Return a descriptor of the private folder; create the folder if it is missing.

    Raises RefusedError without `create` when there is no batch, StateError when the folder cannot be used.
    """
    parent, name = project.private_parent, project.private_name
    try:
        if not project.git_dir:
            atomic_files.close_quietly(project.open_state_folder(create=create))
        try:
            return project_paths.open_folder(parent, name, create=False)
        except FileNotFoundError:
            if not create:
                os.lstat(project.state)
            return project_paths.open_folder(parent, name, create=True)
    except FileNotFoundError as error:
        raise no_batch_error(project) from error
    except OSError as error:
        raise atomic_files.unchanged_error(f"{project.private} cannot be used", error) from error


def read_state_file(project: Project) -> Optional[tuple[os.stat_result, bytes]]:
    """Return the status and content of the state file, or None. Takes no lock and creates no folder.

    Raises UnexpectedFileType for anything except a regular file, StateError when it cannot be read.
    """
    try:
        folder = project.open_state_folder(create=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise atomic_files.unchanged_error(f"{project.state} cannot be read", error) from error
    try:
        return atomic_files.read(folder, project.state_name)
    finally:
        atomic_files.close_quietly(folder)


def no_batch_error(project: Project) -> RefusedError:
    """Return the error for a project without a batch."""
    return RefusedError(
        f"There is no batch in {project.root}. A person starts one: `/batch-implement FILE` in Claude Code, or "
        "`batchctl create FILE` in a terminal.",
        "no-batch",
    )


# -- archive -----------------------------------------------------------------------------------------------------------


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


# -- backups -----------------------------------------------------------------------------------------------------------


def back_up(project: Project, private: int, data: bytes, notes: List[str]) -> bool:
    """Write `data`, the next version, as `current.json`, keep the last one as `previous.json` and return whether that
    worked. A failure is only noted: the current version is then in one of the two files still.
    """
    try:
        atomic_files.unlink(private, PREVIOUS)  # ext4 writes a file that is renamed over another to the disk at once
        try:
            os.replace(CURRENT, PREVIOUS, src_dir_fd=private, dst_dir_fd=private)
        except FileNotFoundError:
            pass
        atomic_files.create(private, CURRENT, data)
    except OSError as error:
        notes.append(
            f"Note: the copy {project.private}/{CURRENT} could not be written: {error.strerror}. The batch itself is "
            "not affected."
        )
        return False
    return True


def undo_back_up(private: int) -> None:
    """Undo `back_up` after a write that failed: the version before is still the current one."""
    try:
        os.replace(PREVIOUS, CURRENT, src_dir_fd=private, dst_dir_fd=private)
    except OSError:
        atomic_files.discard(private, CURRENT)


def read_backup(private: int, expected: Optional[Sidecar]) -> Optional[bytes]:
    """Return the current version from the backups, or None when no backup matches the sidecar or there is no batch."""
    for fingerprint in (expected.new, expected.old) if expected and expected.new else ():
        for name in (CURRENT, PREVIOUS):
            try:
                file = atomic_files.read(private, name) if fingerprint else None
            except atomic_files.UnexpectedFileType:
                continue
            if file and fingerprint and atomic_files.sha256(file[1]) == fingerprint.sha256:
                return file[1]
    return None


def read_interrupted_write(folder: int, name: str, expected: Sidecar) -> Optional[bytes]:
    """Return the version that a crash before the rename left in the temporary file `name`, or None."""
    try:
        file = atomic_files.read(folder, name)
    except atomic_files.UnexpectedFileType:
        return None
    known = expected.match(file[0]) if file else None
    return file[1] if file and known and known.sha256 == atomic_files.sha256(file[1]) else None


# -- sidecar ----------------------------------------------------------------------------------------------------------


def write_sidecar(private: int, text: bytes) -> None:
    """Write the sidecar durably. Raises OSError when that fails; then the old or the new one is in place."""
    try:
        atomic_files.write_over_leftover(private, sidecar.TEMP_NAME, text, 0)
        os.replace(sidecar.TEMP_NAME, "sidecar", src_dir_fd=private, dst_dir_fd=private)
        atomic_files.sync(private)
    except OSError:
        atomic_files.discard(private, sidecar.TEMP_NAME)
        raise


def restore_sidecar(private: int, text: Optional[bytes]) -> None:
    """Write the sidecar as it was before a failed write (None: there was none), if possible."""
    try:
        if text is None:
            atomic_files.unlink(private, "sidecar")
        else:
            write_sidecar(private, text)
    except OSError:
        pass  # the new sidecar names the current version, too
