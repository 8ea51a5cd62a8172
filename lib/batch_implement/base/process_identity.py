"""Find out which process owns a batch, and whether it still runs.

Process ids are reused, so an owner also stores the start time of its process within the boot. Linux shows it in /proc;
elsewhere `ps` does.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional

    from ..core.batch_state import State

CLIENT_NAMES = ("claude", "claude.exe")
# They would lead git to another repository, or make it read pathspecs in another way.
REPOSITORY_VARIABLES = frozenset((
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
))  # fmt: skip
WORKTREE_VARIABLE = "BATCHCTL_WORKTREE"  # set for all that a run starts, to its worktree


def get_start_time(pid: int) -> Optional[str]:
    """Return the start time of a process, which no later process with this id has; None when it is unknown."""
    fields = _read_proc_stat(pid)
    if fields is not None:
        return f"{_read_boot_id()}:{fields[19]}"
    if os.path.isdir("/proc/self"):
        return None
    return " ".join(_run_ps("-o", "lstart=", "-p", str(pid)).split()) or None


def is_running(pid: int, since: Optional[str]) -> bool:
    """Return whether process `pid` runs and, unless `since` is None, was started then. A zombie does not run."""
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
    """Yield the ancestors of process `pid`, nearest first."""
    for _ in range(64):
        fields = _read_proc_stat(pid)
        if fields is not None:
            pid = int(fields[1])
        elif os.path.isdir("/proc/self"):
            return
        else:
            pid = int(_run_ps("-o", "ppid=", "-p", str(pid)).strip() or 0)
        if pid <= 1:
            return
        yield pid


def find_client_pid(environ: Mapping[str, str]) -> Optional[int]:
    """Return the process id of the client that this runs in: `CLAUDE_PID`, else the nearest ancestor, or None."""
    text = environ.get("CLAUDE_PID", "")
    if text.isdigit() and int(text) > 0:
        return int(text)
    for pid in iter_ancestors(os.getpid()):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:
                if name.read().strip() in CLIENT_NAMES:
                    return pid
        except OSError:
            return None
    return None


def get_host_name() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def new_owner(session_id: str, pid: Optional[int], now: str) -> State:
    """Return an owner for the state: session `session_id` in process `pid`."""
    return {
        "session_id": session_id,
        "pid": pid,
        "pid_started": get_start_time(pid) if pid is not None else None,
        "host": get_host_name(),
        "since": now,
    }


def is_owner_alive(owner: Optional[State]) -> bool:
    """Return whether the owner's process runs. On another machine it cannot be checked and counts as running."""
    if owner is None or owner["pid"] is None:
        return False
    return owner["host"] != get_host_name() or is_running(owner["pid"], owner["pid_started"])


def classify_owner(owner: Optional[State], session_id: str, pid: Optional[int]) -> str:
    """Return what the owner is to a client, which is its session and process.

    `own`: the client is the owner. `free`: there is none, or it is dead or continues with another session.
    `other`: another running client is, also one that resumed the same session.
    """
    if owner is not None and owner["pid"] == pid:
        if session_id and pid is not None and owner["session_id"] == session_id:
            return "own"
        if owner["host"] == get_host_name():
            return "free"
    return "other" if is_owner_alive(owner) else "free"


def find_marked(value: str) -> List[int]:
    """Return the processes with WORKTREE_VARIABLE set to `value` in their environment, without this one."""
    sign = f"{WORKTREE_VARIABLE}={value}"
    if os.path.isdir("/proc/self"):
        wanted = sign.encode("utf-8", "surrogateescape")
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in numbers if pid != os.getpid() and wanted in _read_environ(pid) and is_running(pid, None)]
    output = _run_ps("-axEww", "-o", "pid=,command=")
    lines = (line.split(None, 1) for line in output.splitlines() if f" {sign} " in f"{line} ")
    return [int(line[0]) for line in lines if int(line[0]) != os.getpid()]


def end_marked(value: str, grace_s: float = 5.0) -> None:
    """End the processes that `find_marked` returns, and wait: SIGTERM, after `grace_s` seconds SIGKILL."""
    import signal
    import time

    started_s, signalled = time.monotonic(), set()
    while True:
        pids = find_marked(value)
        if not pids:
            return
        is_late = time.monotonic() - started_s > grace_s
        for pid in pids:
            if is_late or pid not in signalled:
                signalled.add(pid)
                try:
                    os.kill(pid, signal.SIGKILL if is_late else signal.SIGTERM)
                except (ProcessLookupError, PermissionError):
                    continue
        if is_late and time.monotonic() - started_s > grace_s + 10:
            return  # not even SIGKILL ends a process in uninterruptible sleep
        time.sleep(0.05)


def command_environment() -> Dict[str, str]:
    """Return the environment for a user's command: without what names a client, batch or repository."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLAUDE", "BATCH_IMPLEMENT_")) and name not in REPOSITORY_VARIABLES
    }


def _run_ps(*options: str) -> str:
    import subprocess

    return subprocess.run(["ps", *options], capture_output=True, text=True, check=False).stdout


def _read_environ(pid: int) -> List[bytes]:
    """Return the environment that a process was started with; empty when it cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _read_proc_stat(pid: int) -> Optional[list[str]]:
    """Return the fields of /proc/PID/stat from the third (state) on; None when there is no such file."""
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
