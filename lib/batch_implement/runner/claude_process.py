"""One client, from its start to its end: `claude -p`, or a person's command in its place.

    ended = run(arguments, folder=..., brief=..., environment=..., time_s=..., stopped=event, watched=...)

The brief is its standard input. Its output goes to files of the attempt; what its stream says is handed on while it
works. It ends by itself, at its time limit, or when `stopped` is set; whatever it started ends with it: what carries
the mark of the work tree, and what is left of its process group. Claude Code that has to end is asked with SIGINT
first: only so it still says what it has cost.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from typing import IO, Callable, Dict, List, Mapping, NamedTuple, Optional

from ..base import processes
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
# What tells a client of another one that it would be part of, or of another project.
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
    """How a client ended: its exit code (negative: killed by that signal), whether its time was up or it was stopped,
    what its stream said, and the seconds it had.
    """

    exit_code: int
    overdue: bool
    stopped: bool
    stream: ClientStream
    seconds: float


def command_line(job: Job, plugin: str) -> List[str]:
    """The command line of the client for a job; `plugin` is the folder of this plugin."""
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
    """A person's environment for a client in the work tree `folder`, marked so that whatever it starts is found."""
    kept = {
        name: value
        for name, value in environ.items()
        if name.startswith(_INHERITED_GIT_PREFIXES)
        or not (name in _NOT_INHERITED or name.startswith(_NOT_INHERITED_PREFIXES))
    }  # fmt: skip
    return {**kept, processes.WORKTREE_VARIABLE: folder}


def run_client(
    line: List[str],
    *,
    folder: str,
    logs: str,
    brief: str,
    environ: Dict[str, str],
    time_s: Optional[float],
    stopped: threading.Event,
    watched: Callable[[ClientStream], None],
    asked: Optional[int] = None,
) -> ClientExit:
    """Run the command line in `folder` with the brief on its standard input, until it ends or has to; what it printed
    is in `logs` as `stream.jsonl` and `stderr`. `watched` is called with the stream now and then. `asked` is the signal
    that its process group gets some seconds before it is ended (None: none). FileNotFoundError and PermissionError
    when it cannot be started.
    """
    os.makedirs(logs, mode=0o700, exist_ok=True)
    names = {name: os.path.join(logs, name) for name in ("brief", "stream.jsonl", "stderr")}
    with open(names["brief"], "w", encoding="utf-8", errors="replace") as file:
        file.write(brief)
    began, stream, overdue = time.monotonic(), ClientStream(), False
    kept = open(names["stream.jsonl"], "wb")  # noqa: SIM115 -- the reader closes it, which may outlive this call
    with open(names["brief"], "rb") as given, open(names["stderr"], "ab") as errors:
        client = subprocess.Popen(
            line, cwd=folder, env=environ, stdin=given, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    reader = threading.Thread(target=_read_stream, args=(client.stdout, kept, stream), daemon=True)
    reader.start()
    try:
        while client.poll() is None and not stopped.is_set() and not overdue:
            stopped.wait(POLL_S)
            watched(stream)
            _truncate_if_large(names["stderr"])
            overdue = time_s is not None and time.monotonic() - began > time_s
        ended_by_itself = client.poll() is not None
    finally:
        _end_client(client, folder, asked)
    reader.join(5)
    seconds = time.monotonic() - began
    cut = not ended_by_itself
    return ClientExit(client.returncode, cut and overdue, cut and stopped.is_set(), stream, round(seconds, 3))


def _end_client(client: subprocess.Popen[bytes], folder: str, asked: Optional[int]) -> None:
    """End the client, if it still runs, and all that it has started."""
    if asked is not None and client.poll() is None:
        try:
            os.killpg(client.pid, asked)  # as a terminal does: a script around the client passes nothing on
            client.wait(GRACE_S)
        except (ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
            pass
    processes.end_marked(folder)
    try:
        os.killpg(client.pid, signal.SIGKILL)  # what has cleared its environment, the mark with it
    except (ProcessLookupError, PermissionError):
        pass
    client.wait()


def _truncate_if_large(path: str) -> None:
    """Begin a log anew that has grown too large; whoever writes it appends to it."""
    if os.path.getsize(path) > MAX_STREAM_BYTES:
        os.truncate(path, 0)


def _read_stream(source: IO[bytes], file: IO[bytes], stream: ClientStream) -> None:
    """Read the client's output to its end, and keep the first 50 MB of it and every result in the file. Nothing may end
    this earlier: a client whose output nobody reads stands still.
    """
    written, whole = 0, True
    with file:
        for piece in iter(lambda: source.readline(MAX_LINE_BYTES), b""):
            ends = piece.endswith(b"\n") or len(piece) < MAX_LINE_BYTES
            if whole and ends:
                stream.feed(piece)
            whole = ends
            if written >= MAX_STREAM_BYTES and b'"type":"result"' not in piece[:200]:
                continue
            written += len(piece)
            try:
                file.write(piece)
                file.flush()
            except OSError:  # a full disk: the attempt will meet it
                continue
