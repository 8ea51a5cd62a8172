"""Read and write whole small files relative to an open folder, so that no link on the way is followed.

    status, data = atomic_files.read(folder, name)          # None when there is no file
    fingerprint = atomic_files.write(folder, name, data, 0) # durable except for its name, which sync(folder) confirms

Anything except a regular file with one link raises UnexpectedFileType; a FIFO is never waited for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys

from ..core.errors import NOTHING_CHANGED, DurabilityError, StateError
from .sidecar import Fingerprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

MAX_BYTES = 64 * 1024 * 1024
OPENSSL_THRESHOLD_BYTES = 512 * 1024  # for a process that hashes more, OpenSSL is worth the 2 ms to load it
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnexpectedFileType(Exception):
    """Something that is not a regular file with one link is in the place of a state. The text says what."""


def read(folder: int, name: str) -> Optional[tuple[os.stat_result, bytes]]:
    """Return the status and content of a regular file, or None. Raises UnexpectedFileType."""
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise UnexpectedFileType("replaced by a symbolic link") from error
        if error.errno == errno.ENXIO:
            raise UnexpectedFileType("replaced by a socket or device") from error
        raise unchanged_error(f"{name} cannot be read", error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnexpectedFileType("replaced by something that is not a file")
        if status.st_nlink != 1:
            raise UnexpectedFileType("linked to from elsewhere")
        if status.st_size > MAX_BYTES:
            raise UnexpectedFileType(f"larger than {MAX_BYTES >> 20} MB")
        parts = []
        left = status.st_size + 1
        while left > 0:
            part = os.read(descriptor, left)
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return os.fstat(descriptor), b"".join(parts)
    except OSError as error:
        raise unchanged_error(f"{name} cannot be read", error) from error
    finally:
        close_quietly(descriptor)


def write(folder: int, name: str, data: bytes, revision: int) -> Fingerprint:
    """Write a new file, durable except for its name, and return its fingerprint. Removes a partial file."""
    descriptor = os.open(name, _WRITE, 0o600, dir_fd=folder)
    try:
        try:
            write_all(descriptor, data)
            sync(descriptor)
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)  # an error counts here: network file systems and quotas report at close
        if status.st_size != len(data):
            raise OSError(errno.EIO, f"{status.st_size} of {len(data)} bytes arrived")
    except OSError:
        discard(folder, name)
        raise
    return fingerprint_of(status, sha256(data), revision)


def write_over_leftover(folder: int, name: str, data: bytes, revision: int) -> Fingerprint:
    """Do the same as `write`, but remove a file that a crash left under the name."""
    try:
        return write(folder, name, data, revision)
    except FileExistsError:
        unlink(folder, name)
        return write(folder, name, data, revision)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, also when the system accepts it in parts."""
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view)
        if not written:
            raise OSError(errno.EIO, "nothing more is written")
        view = view[written:]


def create(folder: int, name: str, data: bytes, mtime_ns: int, size: int = 0) -> None:
    """Write a file that is not durable, for backups that are checked before use. Removes a partial file.

    One shorter than `size` bytes is filled up with zeros, which take no space on the disk.
    """
    descriptor = os.open(name, _WRITE, 0o600, dir_fd=folder)
    try:
        try:
            write_all(descriptor, data)
            if size > len(data):
                os.ftruncate(descriptor, size)
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(descriptor)
    except OSError:
        discard(folder, name)
        raise


def unlink(folder: int, name: str) -> None:
    """Remove a file. A missing one is fine."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


def discard(folder: int, name: str) -> None:
    """Remove a file after an error, if possible; the caller reports the first error."""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass  # the next write begins with removing it


def close_quietly(descriptor: int) -> None:
    """Close a descriptor and ignore errors. Only where nothing was written through it."""
    try:
        os.close(descriptor)
    except OSError:
        pass


def fingerprint_of(status: os.stat_result, digest: str, revision: int) -> Fingerprint:
    """Return the fingerprint of the version with this status and SHA-256."""
    return Fingerprint(status.st_ino, status.st_size, status.st_mtime_ns, digest, revision)


def io_error(what: str, error: OSError) -> StateError:
    """Return the error for an operation, named by `what`, that failed. It is unknown how much was done before."""
    hints = {
        errno.ENOSPC: "Disk space is used up: free some and try again",
        errno.EDQUOT: "Disk space: the quota is used up; free some and try again",
        errno.EACCES: "Permission denied: check who owns it",
        errno.EPERM: "Permission denied: check who owns it",
        errno.EROFS: "The file system is mounted read-only",
    }
    hint = hints.get(error.errno or 0, error.strerror or str(error))
    return StateError(f"{what}: {hint}.", "disk-trouble")


def unchanged_error(what: str, error: OSError) -> StateError:
    """Return the error for an operation, named by `what`, that failed and changed nothing."""
    failed = io_error(what, error)
    failed.mention_change(NOTHING_CHANGED)
    return failed


def unconfirmed_error(what: str, error: OSError) -> DurabilityError:
    """Return the error for a change that is in place but whose last fsync failed; `what` says what changed."""
    return DurabilityError(
        f"{what}, but the disk did not confirm it: {error.strerror}. Check the disk, then `batchctl status`, before "
        "you repeat anything.",
        "not-confirmed",
    )


def sync(descriptor: int) -> None:
    """Make what was written through `descriptor` durable, past the disk's cache if the system can."""
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    global _hashed_bytes
    _hashed_bytes += len(data)
    digest: str = _hash_function(_hashed_bytes >= OPENSSL_THRESHOLD_BYTES)(data).hexdigest()
    return digest


_hashed_bytes = 0  # by this process
_functions: Dict[bool, Any] = {}


def _hash_function(use_openssl: bool) -> Any:
    """Return the hash function, cached: Python searches the disk for a missing module every time."""
    if use_openssl not in _functions:
        _functions[use_openssl] = _openssl_sha256() if use_openssl else _builtin_sha256()
    return _functions[use_openssl]


def _openssl_sha256() -> Any:
    try:
        from _hashlib import openssl_sha256
    except ImportError:
        return _builtin_sha256()
    return openssl_sha256


def _builtin_sha256() -> Any:
    # hashlib costs a hook more than the hash does.
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256
    except ImportError:
        from hashlib import sha256
    return sha256
