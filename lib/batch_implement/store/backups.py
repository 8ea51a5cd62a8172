"""What is kept of a state in the private folder: sidecar, copies, archive, quarantine. All of it under the lock.

    opened(project, create=False)          the private folder
    state_file(project)                    the state file beside it, without the lock
    keep(project, private, batch_id, data)  a durable copy in archive/
    quarantine(project, folder)            what lies at the state's place, kept in quarantine/
    copied(project, private, data, notes)  `current.json`, the version in force, and `previous.json`, the one before
    copy_of(private, sealed)               the version in force from those copies, checked against the sidecar
    put_seal(private, text)                the sidecar, durably

`folder` and `private` are descriptors. Nothing that is kept is ever overwritten.
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
    """A descriptor of the private folder, which is made when it is missing; without `create` it is not made where there
    is no batch: Refused then. StateUnusable when it cannot be used.
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
        raise atomic_files.io_error(f"{project.private} cannot be used", error) from error


def read_state_file(project: Project) -> Optional[tuple[os.stat_result, bytes]]:
    """Status and content of the state file, None when there is none; no lock is taken and no folder made. disk.Foreign
    for anything but a plain file, StateUnusable when it cannot be read.
    """
    try:
        folder = project.open_state_folder(create=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise atomic_files.io_error(f"{project.state} cannot be read", error) from error
    try:
        return atomic_files.read(folder, project.state_name)
    finally:
        atomic_files.close_quietly(folder)


def no_batch_error(project: Project) -> RefusedError:
    """The error for a project without a batch."""
    return RefusedError(
        f"There is no batch in {project.root}. A person starts one: `/batch-implement FILE` in Claude Code, or "
        "`batchctl create FILE` in a terminal.",
        "no-batch",
    )


# -- archive -----------------------------------------------------------------------------------------------------------


def write_to_archive(project: Project, private: int, batch_id: str, data: bytes) -> str:
    """Keep a durable copy in archive/, whole or not there at all; its path. StateUnusable when that fails."""
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
        raise atomic_files.io_error(f"{project.private}/archive cannot be written", error) from error
    finally:
        if folder >= 0:
            atomic_files.close_quietly(folder)


def remove_from_archive(place: Optional[str]) -> None:
    """Remove a copy from archive/ whose version is in force after all."""
    if place is not None:
        try:
            os.unlink(place)
        except OSError:
            pass  # one copy more of what really was a version


# -- quarantine --------------------------------------------------------------------------------------------------------


def quarantine(project: Project, folder: int) -> Optional[str]:
    """Keep what lies at the state's place, whatever it is, in quarantine; where, None when nothing is there.

    A file gets a second name there, durably, and loses the first when a version is put in its place: at no moment is
    there none. What has no second name, a folder say, is moved. StateUnusable when neither can be done.
    """
    stamp = f"{time.time_ns()}"
    kept = -1
    try:
        kept = project_paths.open_folder(project.private, "quarantine", create=True)
        try:
            _link_or_move(project, folder, kept, f"{stamp}.json")
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
        raise atomic_files.io_error(f"{project.state} cannot be kept in quarantine", error) from error
    finally:
        if kept >= 0:
            atomic_files.close_quietly(kept)


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
    """After a putting back that failed: what was there is there still, or again, and nowhere else. `place` is what
    `quarantine` gave, or a name in `folder`.
    """
    if place is None:
        return
    try:
        if os.path.lexists(project.state):
            os.unlink(place, dir_fd=folder)
        else:
            os.rename(place, project.state, src_dir_fd=folder)
    except OSError:
        pass  # then it is in quarantine, and nothing of it is lost


# -- copies ------------------------------------------------------------------------------------------------------------


def back_up(project: Project, private: int, data: bytes, notes: List[str]) -> bool:
    """Keep the version that comes into force as `current.json`, the one before it as `previous.json`; whether that
    worked. Trouble is only noted: then the one in force is `previous.json`, or still `current.json`.
    """
    try:
        atomic_files.unlink(private, PREVIOUS)  # renamed over it, ext4 would write the copy to the disk at once
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
    """After a write that failed behind its copy: the version before it, or none, is still the one in force."""
    try:
        os.replace(PREVIOUS, CURRENT, src_dir_fd=private, dst_dir_fd=private)
    except OSError:
        atomic_files.discard(private, CURRENT)


def read_backup(private: int, sealed: Optional[Sidecar]) -> Optional[bytes]:
    """The content of the version in force from our own copies, None when there is no intact one, or no batch."""
    for identity in (sealed.new, sealed.old) if sealed and sealed.new else ():
        for name in (CURRENT, PREVIOUS):
            try:
                found = atomic_files.read(private, name) if identity else None
            except atomic_files.UnexpectedFileType:
                continue
            if found and identity and atomic_files.sha256(found[1]) == identity.sha256:
                return found[1]
    return None


def read_interrupted_write(folder: int, name: str, sealed: Sidecar) -> Optional[bytes]:
    """The content of the sealed version that a crash before the rename left under the temporary name; None when there
    is none.
    """
    try:
        left = atomic_files.read(folder, name)
    except atomic_files.UnexpectedFileType:
        return None
    known = sealed.match(left[0]) if left else None
    return left[1] if left and known and known.sha256 == atomic_files.sha256(left[1]) else None


# -- sidecar ----------------------------------------------------------------------------------------------------------


def write_sidecar(private: int, text: bytes) -> None:
    """Put a sidecar with this text in place, durably. OSError when that fails: one of the two is in place then."""
    try:
        atomic_files.write_over_leftover(private, sidecar.TEMP_NAME, text, 0)
        os.replace(sidecar.TEMP_NAME, "sidecar", src_dir_fd=private, dst_dir_fd=private)
        atomic_files.sync(private)
    except OSError:
        atomic_files.discard(private, sidecar.TEMP_NAME)
        raise


def restore_sidecar(private: int, text: Optional[bytes]) -> None:
    """After trouble: the sidecar as it was (None: there was none), if that can be done."""
    try:
        if text is None:
            atomic_files.unlink(private, "sidecar")
        else:
            write_sidecar(private, text)
    except OSError:
        pass  # the one in place knows the version in force too
