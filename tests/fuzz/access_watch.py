"""What a case may touch, and how much it may take: a watch on files, processes and signals, and two alarms.

    watch = Watch(inside, readable)             once a process; an audit hook can never be taken off
    with watch.over(named): ...                 `watch.findings` has what was done that may not be
    with Limits() as limits: ...                TooLong when it takes too much; `cpu_s`, `rose_mb` afterwards

`inside` is the one folder in which anything may be written. Python tells its audit hooks only a relative name where a
folder's descriptor is given, so `os.open` is wrapped to know the folder. Before each call on files `swap` is called:
that is how a file is replaced between a check and what follows it.
"""

from __future__ import annotations

import os
import posix
import resource
import signal
import sys
import time
from typing import Any, Callable, Optional

CPU_S = 2.0
MEMORY_MB = 200
WALL_S = float(os.environ.get("FUZZ_WALL_S", "20"))  # the machine may be busy; what waits for ever waits longer
CHANGES = {
    "os.rename": 2, "os.link": 2, "os.symlink": 0, "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.chmod": 1,
    "os.chown": 1, "os.truncate": 1,
    "os.utime": 1, "shutil.rmtree": 1, "os.setxattr": 1, "os.removexattr": 1, "os.mkfifo": 1, "os.mknod": 1,
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DESCRIPTOR_AT = {
    "os.rename": (2, 3),
    "os.link": (2, 3),
    "os.remove": (1,),
    "os.rmdir": (1,),
    "os.mkdir": (2,),
    "os.chmod": (2,),
    "os.utime": (3,),
}


class CaseTimeout(BaseException):
    """A case took more time than it may; nothing in the code under test catches it."""


class Limits:
    """Alarms on the time that a case takes, and the figures of what it took."""

    cpu_s = rose_mb = 0.0
    least = highest = 0  # of the process: before the first case, and by now

    def __init__(self, *, memory: bool) -> None:
        self.memory = memory  # whether to ask, which takes longer than many a case
        if not Limits.least:
            Limits.least = Limits.highest = _peak_kb()

    def __enter__(self) -> Limits:
        def end(number: int, frame: Any) -> None:
            raise CaseTimeout(
                "2 s of processor time" if number == signal.SIGPROF else f"{WALL_S} s, waiting for something"
            )

        signal.signal(signal.SIGPROF, end)
        signal.signal(signal.SIGALRM, end)
        self.began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, CPU_S * 1.5)
        signal.setitimer(signal.ITIMER_REAL, WALL_S)
        return self

    def __exit__(self, *what: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.cpu_s = time.process_time() - self.began
        now = _peak_kb() if self.memory else 0
        if now > Limits.highest:  # else another case took more: the system keeps the highest only
            Limits.highest, self.rose_mb = now, (now - Limits.least) / 1024


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class AccessWatch:
    """See the module. `programs` are the names of programs that may be started."""

    def __init__(self, inside: str, readable: tuple[str, ...], programs: tuple[str, ...] = ("git",)) -> None:
        self.inside, self.readable, self.programs = (
            os.path.realpath(inside),
            tuple(map(os.path.realpath, readable)),
            programs,
        )
        self.findings: list[str] = []
        self.named: frozenset[str] = frozenset()
        self.on = self.started = False  # started: a program
        self.folder: Optional[int] = None
        self.swap: Optional[Callable[[], None]] = None
        self._wrap_os()
        sys.addaudithook(self._audit)

    def _wrap_os(self) -> None:
        """Learn the folder that a name is relative to, and call `swap` before each look at a file."""

        def opening(real: Callable[..., int]) -> Callable[..., int]:
            def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: Optional[int] = None) -> int:
                self._swap_file()
                self.folder = dir_fd
                try:
                    return real(path, flags, mode, dir_fd=dir_fd)
                finally:
                    self.folder = None

            return opened

        def looking(real: Callable[..., Any]) -> Callable[..., Any]:
            def looked(*arguments: Any, **named: Any) -> Any:
                self._swap_file()
                return real(*arguments, **named)

            return looked

        os.open = opening(os.open)
        posix.open = opening(posix.open)
        for name in ("lstat", "stat", "fstat", "rename", "replace", "link", "unlink", "read"):
            for module in (os, posix):
                setattr(module, name, looking(getattr(module, name)))

    def _swap_file(self) -> None:
        if self.on and self.swap is not None:
            swap, self.on = self.swap, False
            try:
                swap()
            finally:
                self.on = True

    def begin(self, named: frozenset[str] = frozenset()) -> None:
        """Watch from now on. `named` are the paths that the case itself names: they may be read."""
        self.findings, self.named, self.started, self.on = [], named, False, True

    def end(self) -> None:
        """Stop watching."""
        self.on, self.swap = False, None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or not (
            event == "open" or event.startswith(("os.", "subprocess.", "socket.", "shutil.", "ctypes."))
        ):
            return
        self.on = False
        try:
            self._check_event(event, arguments)
        finally:
            self.on = True

    def _check_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)):
                self._check_access(
                    event, self._resolve(path, self.folder), bool(flags & WRITES), follow=not flags & os.O_NOFOLLOW
                )
        elif event in CHANGES:
            folders = [arguments[at] for at in DESCRIPTOR_AT.get(event, ()) if at < len(arguments)]
            for number, path in enumerate(arguments[: CHANGES[event]]):
                folder = folders[number] if number < len(folders) else None
                if isinstance(path, (str, bytes)):
                    self._check_access(event, self._resolve(path, folder if folder != -1 else None), True, follow=False)
        elif event == "subprocess.Popen":
            self.started = True
            if os.path.basename(os.fsdecode(arguments[0])) not in self.programs:
                self._deny(f"started {arguments[0]!r} {arguments[1]!r}")
        elif event in ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty") or event.startswith(
            "socket."
        ):
            self._deny(f"{event} {arguments!r}"[:300])
        elif event in ("os.kill", "os.killpg") and arguments[1] != 0:
            self._deny(f"{event} {arguments!r}")

    def _resolve(self, path: Any, folder: Optional[int]) -> str:
        text = os.fsdecode(path)
        if text.startswith("/"):
            return text
        return os.path.join(os.readlink(f"/proc/self/fd/{folder}") if folder is not None else os.getcwd(), text)

    def _check_access(self, event: str, path: str, writes: bool, *, follow: bool) -> None:
        try:
            home, name = os.path.split(path)
            place = os.path.realpath(path) if follow else os.path.join(os.path.realpath(home), name)
        except (OSError, ValueError):
            return  # a name that the system does not take either
        if _is_within(place, self.inside) or place == os.devnull:
            return
        if writes or not (
            path in self.named or place in self.named or any(_is_within(place, folder) for folder in self.readable)
        ):
            self._deny(f"{event}{' to write' if writes else ''} of {place}")

    def _deny(self, what: str) -> None:
        self.findings.append(f"outside: {what}")
        raise PermissionError(f"the watch: {what}")


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
