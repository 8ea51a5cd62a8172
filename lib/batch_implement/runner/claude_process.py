"""Run one client to its end: `claude -p`, or a user's command in its place.

    client_exit = run_client(line, folder=..., brief=..., environ=..., time_s=..., stopped=event, on_progress=...)

The brief is the client's standard input; its output goes to log files, and its stream to `on_progress` while it runs.
It exits by itself, or is ended at its time limit or when `stopped` is set. All that it started ends with it: processes
with the mark of the worktree, and the rest of its process group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from typing import IO, Callable, Dict, List, Mapping, NamedTuple, Optional

from ..base import process_identity
from .claude_stream import ClientStream
from .job import Job

MAX_STREAM_BYTES = 50_000_000
MAX_LINE_BYTES = 16_000_000
POLL_S = 0.1
GRACE_S = 5.0
TOOLS = (
    "Bash(batchctl:*)", "Bash(git add:*)", "Bash(git commit:*)", "Bash(git status:*)", "Bash(git diff:*)",
    "Bash(git log:*)", "Edit", "Write", "Agent(batch-implement:reviewer)",
)  # fmt: skip
# Variables that would make the client part of another client or project.
_NOT_INHERITED = ("CLAUDECODE", "CLAUDE_PID", "CLAUDE_PROJECT_DIR", "CLAUDE_ENV_FILE")
_NOT_INHERITED_PREFIXES = (
    "BATCH_IMPLEMENT_", "CLAUDE_PLUGIN_", "CLAUDE_CODE_SESSION", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT",
    "GIT_",
)  # fmt: skip
_INHERITED_GIT_PREFIXES = (
    "GIT_AUTHOR_",
    "GIT_COMMITTER_",
    "GIT_SSH",
    "GIT_CONFIG",
    "GIT_ASKPASS",
    "GIT_TERMINAL_PROMPT",
    "GIT_SSL_",
)


class ClientExit(NamedTuple):
    """How a client ended: its exit code (negative: killed by that signal), whether it was ended at its time limit or
    because the run stopped, its stream, and how long it ran.
    """

    exit_code: int
    overdue: bool
    stopped: bool
    stream: ClientStream
    seconds: float


def command_line(job: Job, plugin: str) -> List[str]:
    """Return the command line of the client for a job. `plugin` is the folder of this plugin."""
    client, limits = job.client, job.limits
    budgets = [limits[name] for name in ("cost_usd", "left_usd") if limits.get(name) is not None]
    line = [
        client.get("path") or "claude", "-p", "--output-format", "stream-json", "--verbose",
        "--session-id", job.session_id, "--plugin-dir", plugin,
        "--permission-mode", client.get("permission_mode") or "acceptEdits",
    ]  # fmt: skip
    for option, value in (
        ("--model", client.get("model")),
        ("--settings", client.get("settings")),
        ("--max-turns", limits.get("turns")),
        ("--max-budget-usd", min(budgets) if budgets else None),
    ):
        if value is not None:
            line += [option, str(value)]
    with open(os.path.join(plugin, "agents", "worker.md"), encoding="utf-8") as file:
        steps = file.read().split("\n---\n", 1)[-1].strip()
    return [*line, "--append-system-prompt", steps, "--allowedTools", *TOOLS, *client.get("allow", ())]


def client_environment(environ: Mapping[str, str], folder: str) -> Dict[str, str]:
    """Return the environment of a client in the worktree `folder`, with the mark by which its processes are found."""
    kept = {
        name: value
        for name, value in environ.items()
        if name.startswith(_INHERITED_GIT_PREFIXES)
        or not (name in _NOT_INHERITED or name.startswith(_NOT_INHERITED_PREFIXES))
    }  # fmt: skip
    return {**kept, process_identity.WORKTREE_VARIABLE: folder}


def run_client(
    line: List[str],
    *,
    folder: str,
    logs: str,
    brief: str,
    environ: Dict[str, str],
    time_s: Optional[float],
    stopped: threading.Event,
    on_progress: Callable[[ClientStream], None],
    stop_signal: Optional[int] = None,
) -> ClientExit:
    """Run the command line in `folder` with the brief as its standard input, until it exits or has to be ended.

    Its output goes to the folder `logs` as `stream.jsonl` and `stderr`. `on_progress` is called every POLL_S seconds.
    A client that has to be ended gets `stop_signal` first, unless None, and GRACE_S seconds. Raises FileNotFoundError
    or PermissionError if it cannot be started.
    """
    os.makedirs(logs, mode=0o700, exist_ok=True)
    paths = {name: os.path.join(logs, name) for name in ("brief", "stream.jsonl", "stderr")}
    with open(paths["brief"], "w", encoding="utf-8", errors="replace") as file:
        file.write(brief)
    start_s, stream, overdue = time.monotonic(), ClientStream(), False
    # Not buffered: what a full disk refused is not written again by `close`. The reader may outlive this call.
    stream_file = open(paths["stream.jsonl"], "wb", buffering=0)  # noqa: SIM115
    with open(paths["brief"], "rb") as stdin, open(paths["stderr"], "ab") as stderr:
        client = subprocess.Popen(
            line, cwd=folder, env=environ, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )
    reader = threading.Thread(target=_read_stream, args=(client.stdout, stream_file, stream), daemon=True)
    reader.start()
    try:
        while client.poll() is None and not stopped.is_set() and not overdue:
            stopped.wait(POLL_S)
            on_progress(stream)
            _truncate_if_large(paths["stderr"])
            overdue = time_s is not None and time.monotonic() - start_s > time_s
        was_ended = client.poll() is None
    finally:
        _end_client(client, folder, stop_signal)
    reader.join(5)
    return ClientExit(
        exit_code=client.returncode,
        overdue=was_ended and overdue,
        stopped=was_ended and stopped.is_set(),
        stream=stream,
        seconds=round(time.monotonic() - start_s, 3),
    )


def _end_client(client: subprocess.Popen[bytes], folder: str, stop_signal: Optional[int]) -> None:
    """End the client, if it is still running, and all that it has started."""
    if stop_signal is not None and client.poll() is None:
        try:
            # To the group, as a terminal does: a wrapper script does not pass signals on. Claude Code reports its cost
            # after SIGINT, and only then.
            os.killpg(client.pid, stop_signal)
            client.wait(GRACE_S)
        except (ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
            pass
    process_identity.end_marked(folder)
    try:
        os.killpg(client.pid, signal.SIGKILL)  # processes that cleared their environment have no mark
    except (ProcessLookupError, PermissionError):
        pass
    client.wait()


def _truncate_if_large(path: str) -> None:
    """Empty a log of more than MAX_STREAM_BYTES; its writer appends."""
    with contextlib.suppress(OSError):  # the client may have removed it
        if os.path.getsize(path) > MAX_STREAM_BYTES:
            os.truncate(path, 0)


def _read_stream(source: IO[bytes], file: IO[bytes], stream: ClientStream) -> None:
    """Feed the client's output to `stream`, and write the first 50 MB of it and every result to the file.

    Must not return before the end of the output: a client blocks when nobody reads it.
    """
    written, at_line_start = 0, True
    with file:
        for piece in iter(lambda: source.readline(MAX_LINE_BYTES), b""):
            at_line_end = piece.endswith(b"\n") or len(piece) < MAX_LINE_BYTES
            if at_line_start and at_line_end:
                stream.feed(piece)
            at_line_start = at_line_end
            if written >= MAX_STREAM_BYTES and b'"type":"result"' not in piece[:200]:
                continue
            written += len(piece)
            with contextlib.suppress(OSError):  # a full disk: the attempt will meet it
                file.write(piece)
