"""Run a batch's verify command once for each commit, detached from the caller.

    exit_code, seconds = wait_for_result(project, state, policy, commit, wait_s)

The run has a session of its own, because Claude Code ends what outlasts a tool call: a caller that stops waiting leaves
it running, and the next one for the same commit joins it. Files in the folder of a run: `output`; `result`, the exit
status and seconds, once the run has ended; `lock`, held while the runner lives; `left`, the untracked paths that the
command created.
"""

from __future__ import annotations

import fcntl
import os
import time

from ..base import process_identity, subprocesses
from ..base.text import clean
from ..core.errors import EXIT_STILL_RUNNING, BatchError, StateError
from ..git import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional, Set, Tuple

    from ..base.project_paths import Project
    from ..core.batch_state import State

    Result = Tuple[int, float]

TAIL_BYTES = 3000
TERMINATE_GRACE_S = 5.0
MAX_DESCRIPTOR = 1 << 16
TIMED_OUT = 124  # the exit status that timeout(1) uses


class StillRunning(BatchError):
    """The verify command has not ended yet. Another call waits for the same run."""

    exit_code = EXIT_STILL_RUNNING


def runs_folder(project: Project, state: State) -> str:
    """Return the folder that holds the verify runs of a batch."""
    return os.path.join(project.private, "logs", "verify", state["batch_id"])


def run_folder(project: Project, state: State, commit: Optional[str]) -> str:
    """Return the folder of the run on `commit` for the attempt that is active."""
    active = state["active"]
    name = f"{active['feature_index']}-{active['attempt']}-{(commit or 'no-commit')[:16]}"
    return os.path.join(runs_folder(project, state), name)


def list_created_paths(folder: str) -> Set[str]:
    """Return the untracked paths that the verify runs in `folder` (see `runs_folder`) created."""
    paths: Set[str] = set()
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        try:
            with open(os.path.join(folder, name, "left"), encoding="utf-8", errors="surrogateescape") as file:
                paths.update(path for path in file.read().split("\0") if path)
        except OSError:
            continue
    return paths


def wait_for_result(project: Project, state: State, policy: State, commit: Optional[str], wait_s: float) -> Result:
    """Start the verify command on `commit`, or join its run, and return the exit status and seconds.

    Raises StillRunning when it has not ended after `wait_s` seconds, StateError when its runner was killed.
    """
    command, folder = policy["verify"], run_folder(project, state, commit)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    deadline = time.monotonic() + wait_s
    is_started = False
    while True:
        result = _read_result(folder)
        if result is not None:
            return result
        if _start_if_idle(folder, project.root, command, policy["verify_timeout_s"]):
            if is_started:
                raise StateError(
                    f"The verify command ended without a result: it was killed, or {folder}/output says why. Run "
                    "`batchctl done` again.",
                    "verify-running",
                )
            is_started = True
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            on_commit = f" on {commit[:12]}" if commit else ""
            raise StillRunning(
                f"The verify command still runs{on_commit} (`{command[:80]}`). Change nothing; run `batchctl done` "
                "again: it waits for the same run.",
                "verify-running",
            )
        time.sleep(min(remaining_s, 0.1))


def is_running(folder: str) -> bool:
    """Return whether a run in this folder has not ended yet."""
    try:
        lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(lock)


def forget_result(folder: str) -> None:
    """Make the next call run the command again. The output stays until then."""
    try:
        os.replace(os.path.join(folder, "result"), os.path.join(folder, "result.told"))
    except FileNotFoundError:
        pass  # another call reported the same failure


def quote_log_end(log: str) -> str:
    """Return the last lines of a log, each after `> `; in brackets the error when it cannot be read."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError as error:
        return f"(cannot be read: {error.strerror})"
    return "\n".join("> " + clean(line) for line in text.splitlines())


def _start_if_idle(folder: str, root: str, command: str, timeout_s: int) -> bool:
    """Start a run unless one is alive or has a result. Return whether one was started."""
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _read_result(folder) is not None:
            return False
        child = os.fork()
        if child == 0:
            _detach_and_run(folder, root, command, timeout_s, lock)
        os.waitpid(child, 0)
        return True
    finally:
        os.close(lock)


def _detach_and_run(folder: str, root: str, command: str, timeout_s: int, lock: int) -> NoReturn:
    """Leave the caller's session in a forked child, run the command and write its result."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        # Keep only the lock: nobody may wait for this process by a pipe that it inherited.
        os.closerange(3, lock)
        os.closerange(lock + 1, MAX_DESCRIPTOR)
        output = os.open(os.path.join(folder, "output"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        devnull = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, devnull), (1, output), (2, output)):
            os.dup2(source, target)
        started_at = time.monotonic()
        untracked_before = _list_untracked(root)
        result = subprocesses.run(
            ["/bin/sh", "-c", command], cwd=root, env=process_identity.command_environment(), timeout_s=timeout_s,
            output=os.fdopen(output, "wb"), grace_s=min(TERMINATE_GRACE_S, timeout_s),
        )  # fmt: skip
        code = TIMED_OUT if result.returncode is None else result.returncode
        exit_code = code if code >= 0 else 128 - code
        _record_created_paths(folder, _list_untracked(root) - untracked_before)
        _write_result(folder, exit_code, time.monotonic() - started_at)
        os._exit(0)
    except BaseException as error:
        os.write(2, f"\nbatch-implement: the verify command could not be run: {error}\n".encode())
        os._exit(1)


def _list_untracked(root: str) -> Set[str]:
    try:
        return set(git_client.list_changes(root)[1])
    except StateError:
        return set()


def _record_created_paths(folder: str, paths: Set[str]) -> None:
    """Append paths to the list in `left`, which keeps those of earlier runs."""
    if paths:
        with open(os.path.join(folder, "left"), "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(f"{path}\0" for path in sorted(paths)))


def _write_result(folder: str, exit_code: int, seconds: float) -> None:
    temporary = os.path.join(folder, "result.tmp")
    with open(temporary, "w", encoding="ascii") as file:
        file.write(f"{exit_code} {seconds:.3f}\n")
    os.replace(temporary, os.path.join(folder, "result"))


def _read_result(folder: str) -> Optional[Result]:
    try:
        with open(os.path.join(folder, "result"), encoding="ascii") as file:
            exit_code, seconds = file.read().split()
        return int(exit_code), float(seconds)
    except (OSError, ValueError):
        return None
