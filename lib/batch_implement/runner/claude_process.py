"""Run one client to its end: `claude -p`, or a user's command in its place.

    ended = run_client(line, stream, folder=..., brief=..., environ=..., time_s=..., stopped=event, on_progress=...)

The brief is the client's standard input; its output goes to log files, and to the `ClientStream` while it runs.
It exits by itself, or is ended at its time limit or when `stopped` is set. All that it started ends with it: processes
with the mark of the worktree, and the rest of its process group.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from typing import IO, Callable, Dict, List, Mapping, Optional

from ..base import process_identity, subprocesses
from ..commands import claude_settings
from .claude_stream import ClientStream
from .job import Job, max_cost_usd

MAX_STREAM_BYTES = 50_000_000
MAX_LINE_BYTES = 16_000_000
PROGRESS_S = 1.0
# From this version on (measured) the system prompt can leave out paths and git's status, so that it has the same bytes
# in each worktree and the workers share its cache: tools and system prompt, about 9,700 tokens; without, the tools.
SHARED_PROMPT_VERSION = (2, 1, 330)
TOOLS = (
    "Bash(batchctl:*)", "Bash(git add:*)", "Bash(git commit:*)", "Bash(git status:*)", "Bash(git diff:*)",
    "Bash(git log:*)", "Bash(git cherry-pick:*)", "Edit", "Write", "Agent(batch-implement:reviewer)",
)  # fmt: skip
# Variables that would make the client part of another client or project.
_NOT_INHERITED = ("CLAUDECODE", "CLAUDE_PID", "CLAUDE_PROJECT_DIR", "CLAUDE_ENV_FILE")
_NOT_INHERITED_PREFIXES = (
    "BATCH_IMPLEMENT_", "CLAUDE_PLUGIN_", "CLAUDE_CODE_SESSION", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT",
    "GIT_",
)  # fmt: skip
_INHERITED_GIT_PREFIXES = (
    "GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_SSH", "GIT_CONFIG", "GIT_ASKPASS", "GIT_TERMINAL_PROMPT", "GIT_SSL_",
)  # fmt: skip


def command_line(job: Job, plugin: str) -> List[str]:
    """Return the command line of the client for a job. `plugin` is the folder of this plugin."""
    client, limits = job.client, job.limits
    cost_usd = max_cost_usd(job)
    line = [
        client.get("path") or "claude", "-p", "--output-format", "stream-json", "--verbose",
        "--session-id", job.session_id, "--plugin-dir", plugin,
        "--permission-mode", client.get("permission_mode") or "acceptEdits",
    ]  # fmt: skip
    for option, value in (
        ("--model", client.get("model")),
        ("--settings", client.get("settings")),
        ("--max-turns", limits.get("turns")),
        ("--max-budget-usd", cost_usd if cost_usd < math.inf else None),
    ):
        if value is not None:
            line += [option, str(value)]
    if tuple(client.get("version") or ()) >= SHARED_PROMPT_VERSION:
        line.append("--exclude-dynamic-system-prompt-sections")
    with open(os.path.join(plugin, "agents", "worker.md"), encoding="utf-8") as file:
        steps = file.read().split("\n---\n", 1)[-1].strip()
    return [*line, "--append-system-prompt", steps, "--allowedTools", *list_allowed_rules(job)]


def list_allowed_rules(job: Job) -> List[str]:
    """Return the permission rules of the client: of this plugin, for the verify command, and those of `--allow`."""
    # Nothing that `batchctl done` would not run anyway. A rule that denies it goes before.
    verify_rules = claude_settings.derive_rules(job.policy.get("verify") or "")
    return [*TOOLS, *verify_rules, *job.client.get("allow", ())]


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
    stream: ClientStream,
    *,
    folder: str,
    logs: str,
    brief: str,
    environ: Dict[str, str],
    time_s: Optional[float],
    stopped: threading.Event,
    on_progress: Callable[[ClientStream], None],
    stop_signal: int = signal.SIGTERM,
) -> subprocesses.Result:
    """Run the command line in `folder` with the brief as its standard input, until it exits or has to be ended.

    Its output goes to the folder `logs` as `stream.jsonl` and `stderr`. `on_progress` is called every second. A client
    that has to be ended gets `stop_signal` first. Raises FileNotFoundError or PermissionError if it cannot be started.
    """
    os.makedirs(logs, mode=0o700, exist_ok=True)
    paths = {name: os.path.join(logs, name) for name in ("brief", "stream.jsonl", "stderr")}
    text = brief.encode("utf-8", "replace")
    with open(paths["brief"], "wb") as file:
        file.write(text)
    next_s = 0.0

    def follow(*, now: bool = False) -> None:
        nonlocal next_s
        if not now and time.monotonic() < next_s:
            return
        next_s = time.monotonic() + PROGRESS_S
        on_progress(stream)
        with contextlib.suppress(OSError):  # the client may have removed it
            if os.path.getsize(paths["stderr"]) > MAX_STREAM_BYTES:
                os.truncate(paths["stderr"], 0)

    # Not buffered: what a full disk refused is not written again by `close`.
    with open(paths["stream.jsonl"], "wb", buffering=0) as stream_file, open(paths["stderr"], "ab") as stderr:
        reader = StreamReader(stream_file, stream)
        try:
            return subprocesses.run(
                line, cwd=folder, env=environ, timeout_s=math.inf if time_s is None else time_s, input=text,
                on_output=reader.read, on_poll=follow, errors=stderr, stop=stopped, stop_signal=stop_signal,
                ends_group=True,
            )  # fmt: skip
        finally:
            process_identity.end_marked(folder)  # a process that cleared its environment has no mark, but the group
            follow(now=True)


class StreamReader:
    """Feeds a client's output to a `ClientStream`, and writes the first 50 MB of it and every result to a file."""

    def __init__(self, file: IO[bytes], stream: ClientStream) -> None:
        self.file, self.stream = file, stream
        self.rest, self.written, self.at_line_start = b"", 0, True

    def read(self, data: bytes) -> None:
        """Read the next piece of the output; an empty one is its end."""
        *lines, self.rest = (self.rest + data).splitlines(keepends=True) or [b""]
        if not data or self.rest.endswith(b"\n") or len(self.rest) >= MAX_LINE_BYTES:
            lines, self.rest = [*lines, self.rest], b""
        for line in lines:
            self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        at_line_end = line.endswith(b"\n") or len(line) < MAX_LINE_BYTES
        if self.at_line_start and at_line_end:
            self.stream.feed(line)
        self.at_line_start = at_line_end
        if self.written < MAX_STREAM_BYTES or b'"type":"result"' in line[:200]:
            self.written += len(line)
            with contextlib.suppress(OSError):  # a full disk: the attempt will meet it
                self.file.write(line)
