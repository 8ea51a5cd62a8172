"""One client, from its start to its end: `claude -p`, or a person's command in its place.

    ended = run(arguments, folder=..., brief=..., environment=..., time_s=..., stopped=event, watched=...)

The brief is its standard input. Its output goes to files of the attempt; what its stream says is handed on while it
works. It ends by itself, at its time limit, or when `stopped` is set; whatever it started ends with it.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional

from .. import process
from .job import Job
from .stream import Stream

MOST_STREAM_BYTES = 50_000_000
LOOK_S = 0.1
TOOLS = (
    "Bash(batchctl:*)", "Bash(git add:*)", "Bash(git commit:*)", "Bash(git status:*)", "Bash(git diff:*)",
    "Bash(git log:*)", "Edit", "Write", "Agent(batch-implement:reviewer)",
)  # fmt: skip
# What tells a client of another one that it would be part of, or of another project.
_NOT_INHERITED = ("CLAUDECODE", "CLAUDE_PID", "CLAUDE_PROJECT_DIR", "CLAUDE_ENV_FILE")
_NOT_INHERITED_BEGINNINGS = (
    "BATCH_IMPLEMENT_", "CLAUDE_PLUGIN_", "CLAUDE_CODE_SESSION", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT",
    "GIT_",
)  # fmt: skip
_OF_GIT = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_SSH", "GIT_CONFIG", "GIT_ASKPASS", "GIT_TERMINAL_PROMPT", "GIT_SSL_")


class Ended(NamedTuple):
    """How a client ended: its exit code (negative: killed by that signal), whether its time was up or it was stopped,
    what its stream said, and the seconds it had.
    """

    exit_code: int
    overdue: bool
    stopped: bool
    stream: Stream
    seconds: float


def arguments(job: Job, plugin: str) -> List[str]:
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


def environment(environ: Mapping[str, str], folder: str) -> Dict[str, str]:
    """A person's environment for a client in the work tree `folder`, marked so that whatever it starts is found."""
    kept = {
        name: value
        for name, value in environ.items()
        if name.startswith(_OF_GIT)
        or not (name in _NOT_INHERITED or name.startswith(_NOT_INHERITED_BEGINNINGS))
    }  # fmt: skip
    return {**kept, process.MARK: folder}


def run(
    line: List[str],
    *,
    folder: str,
    logs: str,
    brief: str,
    environ: Dict[str, str],
    time_s: Optional[float],
    stopped: threading.Event,
    watched: Callable[[Stream], None],
) -> Ended:
    """Run the command line in `folder` with the brief on its standard input, until it ends or has to; what it printed
    is in `logs` as `stream.jsonl` and `stderr`. `watched` is called with the stream now and then. FileNotFoundError and
    PermissionError when it cannot be started.
    """
    os.makedirs(logs, mode=0o700, exist_ok=True)
    names = {name: os.path.join(logs, name) for name in ("brief", "stream.jsonl", "stderr")}
    with open(names["brief"], "w", encoding="utf-8", errors="replace") as file:
        file.write(brief)
    began, stream, overdue = time.monotonic(), Stream(), False
    with open(names["brief"], "rb") as given, open(names["stderr"], "wb") as errors:
        client = subprocess.Popen(
            line, cwd=folder, env=environ, stdin=given, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    reader = threading.Thread(target=_read, args=(client.stdout, names["stream.jsonl"], stream), daemon=True)
    reader.start()
    try:
        while client.poll() is None and not stopped.is_set() and not overdue:
            stopped.wait(LOOK_S)
            watched(stream)
            overdue = time_s is not None and time.monotonic() - began > time_s
        ended_by_itself = client.poll() is not None
    finally:
        process.end_marked(folder)
        client.wait()
    reader.join(5)
    seconds = time.monotonic() - began
    cut = not ended_by_itself
    return Ended(client.returncode, cut and overdue, cut and stopped.is_set(), stream, round(seconds, 3))


def _read(source: object, path: str, stream: Stream) -> None:
    """Keep the client's output in a file, the first 50 MB of it and every result; and read it."""
    written = 0
    with open(path, "wb") as file:
        for line in source:  # type: ignore[attr-defined]
            stream.feed(line)
            if written < MOST_STREAM_BYTES or b'"type":"result"' in line[:200]:
                file.write(line)
                file.flush()
                written += len(line)
