"""One lock between processes and threads: `flock` on a permanent file.

    with lock.FileLock(folder_fd, path, timeout_s):
        ...

The kernel releases it when its holder dies. The file is never removed; its one line names the last holder, for the
error of whoever waits too long. It does not exclude across NFS clients.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from ..core.errors import LockTimeout, StateError
from . import atomic_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Optional

NAME = "lock"
MIN_WAIT_S = 0.001
MAX_WAIT_S = 0.01  # a process that polls less often is overtaken by those that write without a break
FAST_RETRY_AFTER_S = 0.5  # then it polls as often as at first: else a few are overtaken until their deadline


class FileLock:
    """Hold the lock in the folder `folder_fd`, whose path is `folder`, for the length of a `with`.

    Raises LockTimeout, which names the holder, after `timeout_s` seconds. Not reentrant: a second `FileLock` in the
    same process waits, too.
    """

    def __init__(self, folder_fd: int, folder: str, timeout_s: float) -> None:
        self._folder_fd, self._folder, self._timeout_s = folder_fd, folder, timeout_s
        self._fd = -1

    def __enter__(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        wait = MIN_WAIT_S
        while True:
            self._fd = self._open()
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current_file():
                    self._write_holder()
                    return
            except BlockingIOError:
                pass
            except OSError as error:
                atomic_files.close_quietly(self._fd)
                raise StateError(
                    f"The lock {self._folder}/{NAME} cannot be taken: {error.strerror}. Nothing was changed. "
                    "Check the disk.",
                    "disk-trouble",
                ) from error
            except BaseException:
                atomic_files.close_quietly(self._fd)
                raise
            left = deadline - time.monotonic()
            if left <= 0:
                holder = self._describe_holder()
                atomic_files.close_quietly(self._fd)
                raise LockTimeout(
                    f"The lock {self._folder}/{NAME} was not free within {self._timeout_s:g} s; it is held by "
                    f"{holder}. Nothing was changed. If that process is stuck or stopped, end it: the lock goes with "
                    "it.",
                    "lock-held",
                    holder,
                )
            atomic_files.close_quietly(self._fd)
            time.sleep(min(wait, left))
            wait = min(wait * 2, MAX_WAIT_S) if self._timeout_s - left < FAST_RETRY_AFTER_S else MIN_WAIT_S

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        atomic_files.close_quietly(self._fd)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(NAME, flags, 0o600, dir_fd=self._folder_fd)
        except OSError as error:
            raise StateError(
                f"The lock {self._folder}/{NAME} cannot be opened: {error.strerror}. Nothing was changed. Check "
                "who owns it, and the disk.",
                "disk-trouble",
            ) from error

    def _is_current_file(self) -> bool:
        """Return whether the locked file still has the name; a replaced file would exclude nobody."""
        locked = os.fstat(self._fd)
        try:
            named = os.stat(NAME, dir_fd=self._folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return locked.st_ino == named.st_ino

    def _write_holder(self) -> None:
        if os.fstat(self._fd).st_nlink != 1:
            return  # another name of the file is somebody else's: it still excludes, but is not written through
        program = os.path.basename(sys.argv[0] if sys.argv and sys.argv[0] else "python")
        line = f"{os.getpid()} {program} {' '.join(sys.argv[1:2])}".encode("utf-8", "replace")[:200] + b"\n"
        try:
            os.pwrite(self._fd, line, 0)
            os.ftruncate(self._fd, len(line))
        except OSError:
            pass  # on a full disk the lock still excludes, without the name of its holder

    def _describe_holder(self) -> str:
        from ..base import process_identity

        try:
            line = os.pread(self._fd, 200, 0)
        except OSError:
            line = b""
        pid, _, program = line.decode("utf-8", "replace").strip().partition(" ")
        if pid.isdigit() and process_identity.is_running(int(pid), None):
            return f"process {pid} ({program.strip()})"
        return "an unknown process"
