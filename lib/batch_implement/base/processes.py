"""Which process a lease belongs to, and whether it still runs.

A process id alone proves nothing: ids are used again. So a lease also keeps when the process was started (`started`),
within which boot. Linux tells both in /proc; elsewhere `ps` tells the start time.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional

    from ..core.batch_state import State

CLIENT_NAMES = ("claude", "claude.exe")
WORKTREE_VARIABLE = "BATCHCTL_WORKTREE"  # in the environment of everything that an unattended run starts, its work tree


def get_start_time(pid: int) -> Optional[str]:
    """What tells process `pid` from a later one of the same number; None when it does not run or cannot be told."""
    fields = _read_proc_stat(pid)
    if fields is not None:
        return f"{_read_boot_id()}:{fields[19]}"
    if os.path.isdir("/proc/self"):
        return None
    import subprocess

    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return " ".join(answer.stdout.split()) or None


def is_running(pid: int, since: Optional[str]) -> bool:
    """Whether process `pid` runs and, when `since` is known, is the one that was started then. A zombie does not
    run.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    fields = _read_proc_stat(pid)
    if fields is not None and fields[0] in ("Z", "X"):
        return False
    return since is None or get_start_time(pid) in (since, None)


def iter_ancestors(pid: int) -> Iterator[int]:
    """The parents of process `pid`, nearest first, where the system tells them."""
    for _ in range(64):
        fields = _read_proc_stat(pid)
        if fields is not None:
            pid = int(fields[1])
        elif os.path.isdir("/proc/self"):
            return
        else:
            import subprocess

            answer = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=False)
            pid = int(answer.stdout.strip() or 0)
        if pid <= 1:
            return
        yield pid


def find_client_pid(environ: Mapping[str, str]) -> Optional[int]:
    """Process id of the client we run under: `CLAUDE_PID`, else the nearest ancestor that is one, where /proc tells
    their names; None outside a client.
    """
    given = environ.get("CLAUDE_PID", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    for pid in iter_ancestors(os.getpid()):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:
                if name.read().strip() in CLIENT_NAMES:
                    return pid
        except OSError:
            return None
    return None


def get_host_name() -> str:
    """Name of this machine."""
    return os.uname().nodename


def new_owner(session_id: str, pid: Optional[int], now: str) -> State:
    """A lease for session `session_id` in process `pid`, in the form of the state's `owner`."""
    return {
        "session_id": session_id,
        "pid": pid,
        "pid_started": get_start_time(pid) if pid is not None else None,
        "host": get_host_name(),
        "since": now,
    }


def is_owner_alive(owner: Optional[State]) -> bool:
    """Whether the lease is alive: it has a process, and that runs. On another machine nobody can tell: it counts as
    alive.
    """
    if owner is None or owner["pid"] is None:
        return False
    return owner["host"] != get_host_name() or is_running(owner["pid"], owner["pid_started"])


def classify_owner(owner: Optional[State], session_id: str, pid: Optional[int]) -> str:
    """What a client (its session and process) is to the lease.

    `own`: it holds it. `free`: nobody does, or its holder is dead or has moved on to another conversation.
    `other`: another living client does, also one that resumed the same conversation.
    """
    if owner is not None and owner["pid"] == pid:
        if session_id and pid is not None and owner["session_id"] == session_id:
            return "own"
        if owner["host"] == get_host_name():
            return "free"
    return "other" if is_owner_alive(owner) else "free"


def find_marked(value: str) -> List[int]:
    """The processes that were started with `MARK` set to `value`, and what they started; never this one. One that
    cleared its environment is not found.
    """
    sign = f"{WORKTREE_VARIABLE}={value}"
    if os.path.isdir("/proc/self"):
        wanted = sign.encode("utf-8", "surrogateescape")
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in numbers if pid != os.getpid() and wanted in _read_environ(pid) and is_running(pid, None)]
    import subprocess

    answer = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, text=True, check=False)
    lines = (line.split(None, 1) for line in answer.stdout.splitlines() if f" {sign} " in f"{line} ")
    return [int(line[0]) for line in lines if int(line[0]) != os.getpid()]


def end_marked(value: str, grace_s: float = 5.0) -> None:
    """End what `marked(value)` finds, and wait for it: asked to (SIGTERM), after `grace_s` seconds killed."""
    import signal
    import time

    began, asked = time.monotonic(), set()
    while True:
        left = find_marked(value)
        if not left:
            return
        late = time.monotonic() - began > grace_s
        for pid in left:
            if late or pid not in asked:
                asked.add(pid)
                try:
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                except (ProcessLookupError, PermissionError):
                    continue
        if late and time.monotonic() - began > grace_s + 10:
            return  # what even SIGKILL does not end hangs in the system
        time.sleep(0.05)


def command_environment() -> Dict[str, str]:
    """Return the environment for a user's command: this process's own, without what names a client or a batch."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CLAUDE", "BATCH_IMPLEMENT_"))}


def _read_environ(pid: int) -> List[bytes]:
    """The environment a process was started with; empty when it cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _read_proc_stat(pid: int) -> Optional[list[str]]:
    """The fields of /proc/PID/stat from the third (state) on; None when there is no such file."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return None


def _read_boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            return boot.read(8)
    except OSError:
        return ""
