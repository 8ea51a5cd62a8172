"""Manage the files behind a state: sidecar and backups in the private folder, one backup beside it.

`folder` (of the state file) and `private` are descriptors. Callers hold the lock, except for `read_state_file`,
`read_backup` and `has_backup`.
"""

from __future__ import annotations

import os

from ..base import project_paths
from ..core.errors import RefusedError, StateError
from . import atomic_files, sidecar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional

    from ..base.project_paths import Project
    from .sidecar import Fingerprint, Sidecar


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


# -- backups -----------------------------------------------------------------------------------------------------------
#
# Three copies of the version in force, none of them durable: what they hold is checked before it is used.
#
#     current.json    readable. An edit of many files at once (`grep -rl x . | xargs sed -i`) changes it with the state,
#                     an editor does not: that tells such an edit from a person's own
#     in-force.bi     packed, with the sidecar; written before the state is replaced
#     implement.bi    the same outside the private folder, written after: larger than 1 MB and of the year 2000, so
#                     that no pattern over names, sizes or times meets both
#
# A packed copy is compressed, with a checksum. In the first one each two bytes are one character from a plane of
# Unicode that no text uses: valid UTF-8 without any ASCII. No pattern of sed or perl matches in it, and a program that
# decodes and encodes all files leaves it as it is. The second one is base64: what takes out everything that is not
# ASCII leaves that. What is added before or after (a header, an end of line) is ignored.

_SECOND_BACKUP_BYTES = (1 << 20) + 4096
_ASCII = bytes(range(128))
_OTHER_CHARACTERS = "[^\U000f0000-\U000fffff]+"


def pack(sidecar_text: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Return the content of the two packed copies: of a sidecar and of the state that it names."""
    import _codecs  # of `encodings` UTF-32 would be one more file to load
    import binascii
    import zlib  # only what writes or restores needs them

    packer = zlib.compressobj(1)
    packed = packer.compress(b"%d " % len(sidecar_text) + sidecar_text) + packer.compress(data) + packer.flush()
    even = packed + b"\0" * (len(packed) % 2)
    units = bytearray(b"\0\x0f\0\0") * (len(even) // 2)  # UTF-32
    units[2::4], units[3::4] = even[0::2], even[1::2]
    # a NUL is what tools know a binary file by; without a last end of line some lose all of it
    return b"\0" + _codecs.utf_32_be_decode(units)[0].encode() + b"\n", b"\0\n" + binascii.b2a_base64(packed)


def unpack(content: bytes) -> Optional[tuple[bytes, bytes]]:
    """Return the sidecar and the state in a packed copy, or None when it is damaged."""
    import _codecs
    import binascii
    import re
    import zlib

    text = re.sub(_OTHER_CHARACTERS, "", content.translate(None, _ASCII).decode("utf-8", "ignore"))
    units = _codecs.utf_32_be_encode(text)[0]
    packed = bytearray(len(units) // 2)
    packed[0::2], packed[1::2] = units[2::4], units[3::4]
    try:
        if not packed:
            packed[:] = binascii.a2b_base64(max(content.replace(b"\0", b"").split(b"\n"), key=len))
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(packed, atomic_files.MAX_BYTES)
        length, _, rest = plain.partition(b" ")
        return (rest[: int(length)], rest[int(length) :]) if unpacker.eof else None
    except (zlib.error, ValueError):  # also of base64
        return None


def back_up(
    project: Project, private: int, packed: tuple[bytes, bytes], version: Fingerprint, notes: List[str]
) -> bool:
    """Write the first backup, of the next version, and return whether that worked. A failure is only noted: the version
    in force is then still in the other copies.
    """
    return _write_copy(project, private, sidecar.BACKUP, packed[0], version.mtime_ns, notes)


def back_up_again(
    project: Project, private: int, packed: tuple[bytes, bytes], data: bytes, version: Fingerprint, notes: List[str]
) -> bool:
    """Write the other copies, of the version that is now in place, and return whether that worked. The readable one is
    the last.
    """
    mtime_ns = sidecar.SECOND_BACKUP_MTIME_NS
    is_written = _write_copy(project, private, project.second_backup, packed[1], mtime_ns, notes, _SECOND_BACKUP_BYTES)
    return _write_copy(project, private, sidecar.READABLE_COPY, data, version.mtime_ns, notes) and is_written


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


def repair_copies(
    project: Project, private: int, text: bytes, data: bytes, version: Fingerprint, notes: List[str]
) -> bool:
    """Make all copies those of the version in place, `data` with the sidecar `text`. Return whether one that was
    damaged or missing is there again. A failure is only noted.
    """
    held = []
    for name in _copy_names(project):
        try:
            content = _read_copy(private, name)
        except StateError:  # an I/O error: what is in place must not be taken back for it
            content = None
        unpacked = unpack(content) if content and name != sidecar.READABLE_COPY else (b"", content)
        held.append(unpacked and unpacked[1])
    packed = pack(text, data)
    is_written = back_up(project, private, packed, version, notes)
    is_written &= back_up_again(project, private, packed, data, version, notes)
    return is_written and held != [data] * len(held)


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
