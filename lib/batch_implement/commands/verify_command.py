"""Run a batch's verify command once for each commit, detached from the caller.

    exit_code, seconds = wait_for_result(project, state, policy, commit, wait_s)

The run has a session of its own, because Claude Code ends what outlasts a tool call: a caller that stops waiting leaves
it running, and the next one for the same commit joins it. Files in the folder of a run: `output`; `result`, the exit
status and seconds, once the run has ended; `lock`, held while the runner lives; `left`, the untracked paths that the
command created; `dropped`, the variables that it did not get, because they were not set when the batch was created.

In an attempt of a run the caller starts nothing: it writes the commit into `request`, and the process of the attempt
(`runner.attempt_verify`) runs the command in a worktree of its own. That process holds `runner` in the folder of all
runs; what kept it from running the command is in `error`.
"""

from __future__ import annotations

import fcntl
import os
import time

from ..base import process_identity, project_paths, subprocesses
from ..base.text import clean
from ..core.errors import EXIT_STILL_RUNNING, BatchError, StateError
from ..git import git_client
from . import authorization

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Dict, Iterable, List, NoReturn, Optional, Set, Tuple

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..git.tree_setup import Setup

    Result = Tuple[int, float]

TAIL_BYTES = 3000
TERMINATE_GRACE_S = 5.0
MAX_DESCRIPTOR = 1 << 16
SLOT_VARIABLE = "BATCH_SLOT"  # 0 to N-1 for attempts of a run, N for its merge queue: for ports and databases
# What every shell and Claude Code's Bash tool set: left out without a word.
_SHELL_VARIABLES = frozenset(("PWD", "OLDPWD", "SHLVL", "_", "GIT_EDITOR"))
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
        result = read_result(folder)
        if result is not None:
            return result
        if state.get("attempt_of"):
            _request_run(project, state, folder, commit)
        elif _start_if_idle(folder, project.root, policy, state.get("verify_environment")):
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


def _request_run(project: Project, state: State, folder: str, commit: Optional[str]) -> None:
    """Ask the process of the attempt to verify `commit`. Raises StateError when there is none, or it cannot."""
    try:
        with open(os.path.join(folder, "error"), encoding="utf-8") as file:
            message = file.read()
        raise StateError(message, "verify-running")
    except FileNotFoundError:
        pass
    if not is_running(runs_folder(project, state), "runner"):
        raise StateError(
            "The run that this worktree belongs to is not running, and only it runs the verify command here. `batchctl "
            f"run --resume` in the project resumes batch {state['attempt_of']['batch_id']}.",
            "verify-running",
        )
    path = os.path.join(folder, "request")
    if not os.path.exists(path):
        with open(f"{path}.tmp", "w", encoding="ascii") as file:
            file.write(commit or "")
        os.replace(f"{path}.tmp", path)


def is_running(folder: str, name: str = "lock") -> bool:
    """Return whether a run in this folder has not ended yet: a process holds the lock of that name."""
    try:
        os.close(open_locked(os.path.join(folder, name), create=False))
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def open_locked(path: str, *, create: bool = True) -> int:
    """Return the descriptor of a file that this process holds the lock of. Raise BlockingIOError if another does."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags | os.O_CREAT if create else flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


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


def _start_if_idle(folder: str, root: str, policy: State, recorded: Optional[State]) -> bool:
    """Start a run unless one is alive or has a result. Return whether one was started."""
    try:
        lock = open_locked(os.path.join(folder, "lock"))
    except BlockingIOError:
        return False
    try:
        if read_result(folder) is not None:
            return False
        child = os.fork()
        if child == 0:
            _detach_and_run(folder, root, policy, recorded, lock)
        os.waitpid(child, 0)
        return True
    finally:
        os.close(lock)


def _detach_and_run(folder: str, root: str, policy: State, recorded: Optional[State], lock: int) -> NoReturn:
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
        environment, dropped = restrict_environment(process_identity.command_environment(), recorded)
        with open(os.path.join(folder, "dropped"), "w", encoding="utf-8", errors="replace") as file_of_names:
            file_of_names.write("\n".join(dropped))
        environment.update(get_variables([root]))
        timeout_s = policy["verify_timeout_s"]
        with os.fdopen(output, "wb") as file:
            result = subprocesses.run_shell(
                policy["verify"], root, timeout_s, environment, output=file, grace_s=min(TERMINATE_GRACE_S, timeout_s)
            )
        exit_code = get_exit_code(result)
        _record_created_paths(folder, _list_untracked(root) - untracked_before)
        write_result(folder, exit_code, time.monotonic() - started_at)
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


def get_variables(roots: Iterable[str], slot: Optional[int] = None) -> Dict[str, str]:
    """Return the variables that a verify command gets: the projects whose batches it may not change, and its slot."""
    outer = os.environ.get(authorization.VERIFY_VARIABLE)
    variables = {authorization.VERIFY_VARIABLE: os.pathsep.join([*roots, *([outer] if outer else [])])}
    return variables if slot is None else {**variables, SLOT_VARIABLE: str(slot)}


def record_environment() -> State:
    """Return what the state keeps of this process's environment: the names of variables, and PATH."""
    path = _get_path()
    names = sorted(name for name in os.environ if name.isprintable())
    return {"names": names, "path": path if path.isprintable() else None}


def restrict_environment(environment: Dict[str, str], recorded: Optional[State]) -> Tuple[Dict[str, str], List[str]]:
    """Return an environment without the variables that were not there when it was recorded, with PATH as it was.

    Return the names of what was left out as well, and PATH if it was another.
    """
    if recorded is None:
        return environment, []
    kept = {name: value for name, value in environment.items() if name in recorded["names"] or name == "PATH"}
    dropped = sorted(environment.keys() - kept.keys() - _SHELL_VARIABLES)
    if recorded["path"] is not None:
        if _split_path(_get_path()) != _split_path(recorded["path"]):
            dropped.append("PATH")
        kept["PATH"] = recorded["path"]
    return kept, dropped


def _get_path() -> str:
    """Return PATH as it was when this program was started: the launcher passes it on."""
    return os.environ.get("BATCH_IMPLEMENT_PATH") or os.environ.get("PATH", "")


def _split_path(path: str) -> List[str]:
    """Return the folders of a PATH without that of `batchctl`, which Claude Code adds for its Bash tool."""
    own = os.path.join(project_paths.plugin_root(), "bin")
    return [folder for folder in path.split(os.pathsep) if os.path.realpath(folder) != own]


def list_dropped(folder: str) -> List[str]:
    """Return what `restrict_environment` left out for the run in this folder."""
    try:
        with open(os.path.join(folder, "dropped"), encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


def get_setup(
    policy: State, roots: Iterable[str], slot: int, stop: Optional[threading.Event] = None
) -> Optional[Setup]:
    """Return how a worktree of a run is set up, with the variables of a verify command; None when not at all."""
    from ..git import tree_setup

    command, keep = policy.get("setup"), policy.get("keep", ())
    if not command and not keep:
        return None
    return tree_setup.Setup(command, tuple(keep), get_variables(roots, slot), policy["verify_timeout_s"], stop)


def get_exit_code(result: subprocesses.Result) -> int:
    """Return the exit status as a shell has it: TIMED_OUT for a command that was ended, 128 and more for a signal."""
    code = TIMED_OUT if result.returncode is None else result.returncode
    return code if code >= 0 else 128 - code


def write_result(folder: str, exit_code: int, seconds: float) -> None:
    """Write the result of the run in this folder, which has ended."""
    temporary = os.path.join(folder, "result.tmp")
    with open(temporary, "w", encoding="ascii") as file:
        file.write(f"{exit_code} {seconds:.3f}\n")
    os.replace(temporary, os.path.join(folder, "result"))


def read_result(folder: str) -> Optional[Result]:
    """Return exit status and seconds of the run in this folder; None before its end."""
    try:
        with open(os.path.join(folder, "result"), encoding="ascii") as file:
            exit_code, seconds = file.read().split()
        return int(exit_code), float(seconds)
    except (OSError, ValueError):
        return None
