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
    from typing import Iterator, List, Optional

    from ..base.project_paths import Project
    from .sidecar import Fingerprint, Sidecar

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
            if not create and not os.path.lexists(project.second_backup):
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
#
# Three copies of the version in force, none of them durable: what they hold is checked before it is used.
#
#     current.json     readable. An edit of many files at once (`grep -rl x . | xargs sed -i`) changes it with the state,
#                      an editor does not: that tells such an edit from a person's own
#     in-force.bi      packed, with the sidecar; written before the state is replaced
#     implement.bi     the same, outside the private folder, written after: larger than 1 MB and of the year 2000, so that
#                      no pattern over names, sizes or times meets both
#
# A packed copy is compressed, and each two bytes are one character from a plane of Unicode that no text uses: valid
# UTF-8 without any ASCII. So no pattern of sed or perl matches in it, a program that decodes and encodes all files
# leaves it as it is, and what is added before or after it (a header, an end of line) is ignored.

_SECOND_BACKUP_BYTES = (1 << 20) + 4096
_ASCII = bytes(range(128))
_OTHER_CHARACTERS = "[^\U000f0000-\U000fffff]+"


def pack(sidecar_text: bytes, data: bytes) -> bytes:
    """Return the content of a packed copy: of a sidecar and of the state that it names."""
    import _codecs  # of `encodings` UTF-32 would be one more file to load
    import zlib  # only what writes or restores needs it

    packed = zlib.compress(b"%d " % len(sidecar_text) + sidecar_text + data, 1)
    packed += b"\0" * (len(packed) % 2)
    units = bytearray(b"\0\x0f\0\0") * (len(packed) // 2)  # UTF-32
    units[2::4], units[3::4] = packed[0::2], packed[1::2]
    # a NUL is what tools know a binary file by; without a last end of line some lose all of it
    return b"\0" + _codecs.utf_32_be_decode(units)[0].encode() + b"\n"


def unpack(content: bytes) -> Optional[tuple[bytes, bytes]]:
    """Return the sidecar and the state in a packed copy, or None when it is damaged."""
    import re
    import zlib

    text = content.translate(None, _ASCII).decode("utf-8", "ignore")
    units = re.sub(_OTHER_CHARACTERS, "", text).encode("utf-32-be")
    packed = bytearray(len(units) // 2)
    packed[0::2], packed[1::2] = units[2::4], units[3::4]
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(packed, atomic_files.MAX_BYTES)
        length, _, rest = plain.partition(b" ")
        return (rest[: int(length)], rest[int(length) :]) if unpacker.eof else None  # with its checksum
    except (zlib.error, ValueError):
        return None


def back_up(project: Project, private: int, packed: bytes, version: Fingerprint, notes: List[str]) -> bool:
    """Write the first backup, of the next version, and return whether that worked. A failure is only noted: the version
    in force is then still in the other copies.
    """
    return _write_copy(project, private, sidecar.BACKUP, packed, version.mtime_ns, notes)


def back_up_again(
    project: Project, private: int, packed: bytes, data: bytes, version: Fingerprint, notes: List[str]
) -> None:
    """Write the other copies, of the version that is now in place. The readable one is the last."""
    mtime_ns = sidecar.SECOND_BACKUP_MTIME_NS
    _write_copy(project, private, project.second_backup, packed, mtime_ns, notes, _SECOND_BACKUP_BYTES)
    _write_copy(project, private, sidecar.READABLE_COPY, data, version.mtime_ns, notes)


def _write_copy(
    project: Project, private: int, name: str, data: bytes, mtime_ns: int, notes: List[str], size: int = 0
) -> bool:
    try:
        atomic_files.unlink(private, name)  # ext4 writes a file that is renamed over another to the disk at once
        atomic_files.create(private, name, data, mtime_ns, size)
    except OSError as error:
        note = (
            f"Note: a backup of {project.state} could not be written: {error.strerror}. The batch itself is not "
            "affected."
        )
        if note not in notes:
            notes.append(note)
        return False
    return True


def repair_copies(project: Project, private: int, text: bytes, data: bytes, version: Fingerprint) -> bool:
    """Make all copies those of the version in place, `data` with the sidecar `text`. Return whether one that was damaged
    or missing is there again.
    """
    notes: List[str] = []
    packed = pack(text, data)
    is_damaged = False
    for name in _copy_names(project):
        content = _read_copy(private, name)
        held = content and (content if name == sidecar.READABLE_COPY else (unpack(content) or (b"", b""))[1])
        is_damaged |= held != data
        if name == sidecar.BACKUP:
            back_up(project, private, packed, version, notes)
    back_up_again(project, private, packed, data, version, notes)
    return is_damaged and not notes


def _copy_names(project: Project) -> tuple[str, str, str]:
    return (sidecar.READABLE_COPY, sidecar.BACKUP, project.second_backup)


def _read_copy(private: int, name: str) -> Optional[bytes]:
    """Return the content of a copy, empty for anything except a file, or None when it is missing."""
    try:
        file = atomic_files.read(private, name)
    except atomic_files.UnexpectedFileType:
        return b""
    return file[1] if file else None


def _read_packed_copies(project: Project, private: int) -> Iterator[tuple[bytes, bytes]]:
    for name in (sidecar.BACKUP, project.second_backup):
        content = _read_copy(private, name)
        unpacked = unpack(content) if content else None
        if unpacked:
            yield unpacked


def read_backup(project: Project, private: int, expected: Optional[Sidecar]) -> Optional[bytes]:
    """Return the current version from a copy, or None when no copy matches the sidecar or there is no batch."""
    if expected is None or expected.new is None:
        return None
    copies = [_read_copy(private, sidecar.READABLE_COPY), *(data for _, data in _read_packed_copies(project, private))]
    by_digest = {atomic_files.sha256(data): data for data in copies if data}
    for version in (expected.new, expected.old):
        if version and version.sha256 in by_digest:
            return by_digest[version.sha256]
    return None


def read_backup_sidecar(project: Project, private: int) -> Optional[bytes]:
    """Return the text of the newest sidecar in a packed copy, or None."""
    found = []
    for text, _ in _read_packed_copies(project, private):
        value = sidecar.parse(text)
        if value and value.new:
            found.append((value.new.revision, text))
    return max(found)[1] if found else None


def are_copies_changed(project: Project, private: int, expected: Sidecar) -> bool:
    """Return whether a copy holds neither the current version nor the one before, or the readable one is missing."""
    known = [version.sha256 for version in (expected.new, expected.old) if version]
    readable = _read_copy(private, sidecar.READABLE_COPY)
    if readable is None or atomic_files.sha256(readable) not in known:
        return True
    for name in (sidecar.BACKUP, project.second_backup):
        content = _read_copy(private, name)
        unpacked = unpack(content) if content is not None else None
        if content is not None and (unpacked is None or atomic_files.sha256(unpacked[1]) not in known):
            return True
    return False


def has_backup(project: Project) -> bool:
    """Return whether there is a packed copy, by two stats."""
    return os.path.lexists(f"{project.private}/{sidecar.BACKUP}") or os.path.lexists(project.second_backup)


def remove_copies(project: Project, private: int) -> None:
    """Remove the copies of a batch that is archived: they must not bring it back."""
    for name in _copy_names(project):
        atomic_files.discard(private, name)


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
