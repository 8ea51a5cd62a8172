"""Whole small files, read and written relative to an open folder, so that no link on the way is followed.

    status, data = disk.read(folder, name)          None when there is none
    identity = disk.write(folder, name, data, 0)    durable but for its name: sync(folder) confirms that

Anything but a plain file where one belongs is `Foreign`: a link, a FIFO (never waited for), a file that is linked
from elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys

from ..core.errors import StateError
from .sidecar import Fingerprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

MAX_BYTES = 64 * 1024 * 1024
OPENSSL_THRESHOLD_BYTES = (
    512 * 1024
)  # bytes hashed by one process: from here on OpenSSL's hash is worth the 2 ms that it takes to load
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnexpectedFileType(Exception):
    """Something else than a readable regular file lies where a state belongs; the text says what."""


def read(folder: int, name: str) -> Optional[tuple[os.stat_result, bytes]]:
    """Status and content of a regular file; None when there is none. `Foreign` for anything that is not a plain file
    of ours.
    """
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise UnexpectedFileType("replaced by a symbolic link") from error
        if error.errno == errno.ENXIO:
            raise UnexpectedFileType("replaced by a socket or device") from error
        raise io_error(f"{name} cannot be read", error) from error
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
        raise io_error(f"{name} cannot be read", error) from error
    finally:
        close_quietly(descriptor)


def write(folder: int, name: str, data: bytes, revision: int) -> Fingerprint:
    """Write a new file, durably but for its name; its identity. A file that is half written is taken away again."""
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
    """The same under a name of ours where a crash may have left a file, which is removed then. Mostly there is none."""
    try:
        return write(folder, name, data, revision)
    except FileExistsError:
        unlink(folder, name)
        return write(folder, name, data, revision)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, in several goes where the system takes less at once."""
    view = memoryview(data)
    while view:
        taken = os.write(descriptor, view)
        if not taken:
            raise OSError(errno.EIO, "nothing more is taken")
        view = view[taken:]


def create(folder: int, name: str, data: bytes) -> None:
    """Write a new file without making it durable: for copies that are checked before they are used. One that is half
    written is taken away again.
    """
    descriptor = os.open(name, _WRITE, 0o600, dir_fd=folder)
    try:
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError:
        discard(folder, name)
        raise


def unlink(folder: int, name: str) -> None:
    """Remove a file of ours; a missing one is fine."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


def discard(folder: int, name: str) -> None:
    """Remove a file of ours after trouble, if that can be done: the trouble itself is what to tell."""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass  # the next write begins with removing it


def close_quietly(descriptor: int) -> None:
    """Close a descriptor through which nothing was written: then no error says anything about a file."""
    try:
        os.close(descriptor)
    except OSError:
        pass


def fingerprint_of(status: os.stat_result, digest: str, revision: int) -> Fingerprint:
    """The identity of the version with this status and content."""
    return Fingerprint(status.st_ino, status.st_size, status.st_mtime_ns, digest, revision)


def io_error(what: str, error: OSError) -> StateError:
    """The error for `what` the system would not do; nothing was changed by it."""
    hints = {
        errno.ENOSPC: "Disk space is used up: free some and try again",
        errno.EDQUOT: "Disk space: the quota is used up; free some and try again",
        errno.EACCES: "Permission denied: check who owns it",
        errno.EPERM: "Permission denied: check who owns it",
        errno.EROFS: "The file system is mounted read-only",
    }
    hint = hints.get(error.errno or 0, error.strerror or str(error))
    return StateError(f"{what}: {hint}. Nothing was changed.", "disk-trouble")


def sync(descriptor: int) -> None:
    """Make what was written through `descriptor` durable, past the disk's own cache where the system can."""
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sha256(data: bytes) -> str:
    """The SHA-256 of `data` in hexadecimal."""
    global _hashed
    _hashed += len(data)
    digest: str = _hash_function(_hashed >= OPENSSL_THRESHOLD_BYTES)(data).hexdigest()
    return digest


_hashed = 0  # bytes, by this process
_functions: Dict[bool, Any] = {}


def _hash_function(much: bool) -> Any:
    """The function, looked for once a process: a module that is missing is looked for on the disk every time."""
    if much not in _functions:
        _functions[much] = _openssl_sha256() if much else _builtin_sha256()
    return _functions[much]


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
