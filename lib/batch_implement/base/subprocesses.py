"""Run a process to its end, with a time limit, a stop signal and bounded output.

    result = run(["git", "status"], cwd=root, env=environment, timeout_s=60)
    result.returncode       None when it had to be ended: `result.timed_out`, or the event `stop` was set
    result.stdout           bytes, as result.stderr; at most `max_bytes` of each, `result.truncated` if there was more
    result = run_in_worktree("make test", folder, 1800, output=file, stop=event, variables={"BATCH_SLOT": "0"})

A process that has to be ended gets SIGTERM, and SIGKILL after a grace, with its whole process group. What it prints
until then belongs to its output.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import time

from . import bounded_output, process_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import IO, Callable, List, Mapping, Optional, Sequence, Tuple

POLL_S = 0.02
GRACE_S = 5.0
MAX_BYTES = 256 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
MAX_RUNS = 3  # of a command that is killed each time
STOP_DELAY_S = 1.0
_KILLS = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM))


class Result:
    """How a process ended, and what it printed."""

    __slots__ = ("returncode", "stderr", "stdout", "timed_out", "truncated")

    def __init__(self) -> None:
        self.returncode: Optional[int] = None
        self.stdout, self.stderr = b"", b""
        self.timed_out = self.truncated = False


def run(
    arguments: Sequence[str],
    *,
    timeout_s: float,
    cwd: Optional[str] = None,
    env: Optional[Mapping[str, str]] = None,
    input: Optional[bytes] = None,
    output: Optional[IO[bytes]] = None,
    errors: IO[bytes] | int | None = None,
    on_output: Optional[Callable[[bytes], object]] = None,
    on_poll: Optional[Callable[[], object]] = None,
    stop: Optional[threading.Event] = None,
    stop_signal: int = signal.SIGTERM,
    max_bytes: int = MAX_BYTES,
    grace_s: float = GRACE_S,
    holds_input: bool = False,
    ends_group: bool = False,
) -> Result:
    """Run the program in a session of its own, and wait until it ends or has to be ended.

    `input` goes to its standard input, which is empty without; it stays open with `holds_input`, so that the program
    sees its end when this process dies. Both its output streams go to the file `output`, its standard error to the file
    `errors` (`subprocess.STDOUT`: to its standard output), its standard output in pieces to `on_output`, if given.
    `on_poll` is called every POLL_S seconds.

    A process that has to be ended gets `stop_signal`, and after `grace_s` seconds SIGKILL. What it leaves running when
    it ends by itself is not waited for; with `ends_group` the rest of its process group is killed. Raises OSError when
    it cannot be started.
    """
    pipe_or_file = subprocess.PIPE if output is None else output
    process = subprocess.Popen(
        arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=pipe_or_file, stderr=errors or pipe_or_file, start_new_session=True,
    )  # fmt: skip
    result, kill_at_s = Result(), math.inf
    try:
        kill_at_s = _communicate(
            process, result, input or b"", time.monotonic() + timeout_s, stop=stop, stop_signal=stop_signal,
            max_bytes=max_bytes, grace_s=grace_s, holds_input=holds_input, ends_group=ends_group, on_output=on_output,
            on_poll=on_poll,
        )  # fmt: skip
    finally:
        if result.returncode is None:  # too late, stopped, or an exception such as KeyboardInterrupt
            end_group(process, max(0.0, min(grace_s, kill_at_s - time.monotonic())))
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return result


def run_in_worktree(
    command: str,
    folder: str,
    timeout_s: float,
    *,
    output: Optional[IO[bytes]] = None,
    stop: Optional[threading.Event] = None,
    variables: Optional[Mapping[str, str]] = None,
) -> Result:
    """Run a user's shell command in a worktree; nothing that it started is left running, in the background neither.

    A command that was killed from outside has decided nothing: it runs again, at most MAX_RUNS times. Its output goes
    to the file `output`, bounded, or into the result without one. `variables` are added to its environment.
    """
    environment = {**process_identity.command_environment(), **(variables or {})}
    environment[process_identity.WORKTREE_VARIABLE] = folder
    for number in range(1, MAX_RUNS + 1):
        try:
            result = run_shell(command, folder, timeout_s, environment, output=output, stop=stop, ends_group=True)
        finally:
            process_identity.end_marked(folder)
        # When the machine goes down, `stop` is set a moment after the kill.
        if not was_killed(result.returncode) or number == MAX_RUNS or (stop and stop.wait(STOP_DELAY_S)):
            break
    return result


def was_killed(returncode: Optional[int]) -> bool:
    """Return whether a process, or the shell that ran it, ended by a signal that others send: a person, the system."""
    return returncode is not None and (-returncode in _KILLS or returncode - 128 in _KILLS)


def describe_end(returncode: Optional[int]) -> str:
    """Return how a process ended, as the rest of a sentence: `was killed by signal 9 (SIGKILL)`."""
    if returncode is None:
        return "did not end"
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    name = signal.Signals(-returncode).name if -returncode in set(signal.Signals) else "unknown"
    return f"was killed by signal {-returncode} ({name})"


def run_shell(
    command: str,
    folder: str,
    timeout_s: float,
    environment: Mapping[str, str],
    *,
    output: Optional[IO[bytes]] = None,
    stop: Optional[threading.Event] = None,
    ends_group: bool = False,
    grace_s: float = GRACE_S,
) -> Result:
    """Run a user's shell command in a folder. Its output goes to the file `output`, bounded, or into the result."""
    line = ["/bin/sh", "-c", command]
    if output is None:
        return run(line, timeout_s=timeout_s, cwd=folder, env=environment, stop=stop, ends_group=ends_group)
    with bounded_output.BoundedOutput(output) as bounded:
        return run(
            line, timeout_s=timeout_s, cwd=folder, env=environment, on_output=bounded.write, errors=subprocess.STDOUT,
            stop=stop, ends_group=ends_group, grace_s=grace_s,
        )  # fmt: skip


def end_group(process: subprocess.Popen[bytes], grace_s: float = GRACE_S) -> None:
    """End a process that leads its process group, and that group: SIGTERM, after `grace_s` seconds SIGKILL."""
    deadline = time.monotonic() + grace_s
    _signal_group(process.pid, signal.SIGTERM)
    while time.monotonic() < deadline:
        # A process that is not reaped yet counts as a member of its group.
        if process.poll() is not None and not _signal_group(process.pid, 0):
            return
        time.sleep(POLL_S)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group. Return whether it has members that this user may signal."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _communicate(
    process: subprocess.Popen[bytes],
    result: Result,
    to_write: bytes,
    deadline: float,
    *,
    stop: Optional[threading.Event],
    stop_signal: int,
    max_bytes: int,
    grace_s: float,
    holds_input: bool,
    ends_group: bool,
    on_output: Optional[Callable[[bytes], object]],
    on_poll: Optional[Callable[[], object]],
) -> float:
    """Write the input and read the output until the process has ended; see `run`.

    Return the time of the monotonic clock at which what is left of it is killed, if it had to be ended.
    """
    stdout, stderr = bytearray(), bytearray()
    is_ended, was_alive = False, True  # is_ended: by `stop_signal`
    with selectors.DefaultSelector() as selector:
        for pipe, events, data in (
            (process.stdin, selectors.EVENT_WRITE, None),
            (process.stdout, selectors.EVENT_READ, stdout),
            (process.stderr, selectors.EVENT_READ, stderr),
        ):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, events, data)
        while True:
            has_ended = process.poll() is not None
            if has_ended and was_alive:
                was_alive, deadline = False, min(deadline, time.monotonic() + grace_s)
                if ends_group:
                    _signal_group(process.pid, signal.SIGKILL)
            left_s = deadline - time.monotonic()
            if not has_ended and not is_ended and (left_s <= 0 or (stop is not None and stop.is_set())):
                result.timed_out, is_ended = left_s <= 0, True
                _signal_group(process.pid, stop_signal)
                left_s, deadline = grace_s, time.monotonic() + grace_s
            if not has_ended and left_s <= 0:
                break
            ready = _wait_for_pipes(selector, process, 0 if has_ended else min(POLL_S, left_s))
            if on_poll is not None:
                on_poll()
            if has_ended and (not ready or left_s <= 0):  # a pipe that is still open belongs to a background process
                result.returncode = None if is_ended else process.returncode
                break
            for key, _ in ready:
                if key.data is None:
                    to_write = _write_some(key.fd, to_write)
                    is_over = not to_write
                    if is_over and holds_input:
                        selector.unregister(key.fileobj)
                        continue
                else:
                    chunk, room = os.read(key.fd, CHUNK_BYTES), max_bytes - len(key.data)
                    if on_output is not None and key.data is stdout:
                        on_output(chunk)
                    else:
                        key.data.extend(chunk[:room])
                        result.truncated |= len(chunk) > room
                    is_over = not chunk
                if is_over:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
    result.stdout, result.stderr = bytes(stdout), bytes(stderr)
    return deadline


def _wait_for_pipes(
    selector: selectors.BaseSelector, process: subprocess.Popen[bytes], timeout_s: float
) -> List[Tuple[selectors.SelectorKey, int]]:
    """Return the pipes that can be read or written. Wait at most `timeout_s`, for the process if all are closed."""
    if selector.get_map():
        return selector.select(timeout_s)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        pass
    return []


def _write_some(descriptor: int, data: bytes) -> bytes:
    """Write what the pipe takes now. Return the rest; nothing when nobody reads it any more."""
    try:
        return data[os.write(descriptor, data[:CHUNK_BYTES]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return b""
