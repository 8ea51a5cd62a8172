"""The status line of Claude Code: progress of the batch and the running features.

    text = statusline.statusline_text(payload, environ, cwd)     the output of `batchctl statusline`

Claude Code runs it after every message: it is fast and writes nothing. It never fails: Claude Code does not show the
status line of a command that fails, nor why.
"""

from __future__ import annotations

from ..base import fast_json, process_identity, project_paths
from ..base.text import one_line
from ..core import batch_state
from ..core.errors import BatchError
from ..store import snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Mapping

    from ..core.batch_state import State

MAX_REASON_CHARS = 60
MAX_INPUT_BYTES = 1024 * 1024
MAX_NUMBERS = 6
UNUSABLE = "batch: state cannot be read; see `batchctl status`"


def statusline_text(payload: bytes, environ: Mapping[str, str], cwd: str) -> str:
    """Return the status line for the project that Claude Code's JSON `payload` names, or that of `cwd`; empty without
    a batch.
    """
    try:
        state = snapshot.read_snapshot(project_paths.find_project(environ, session_folder(payload) or cwd))
    except (BatchError, OSError):
        return UNUSABLE
    return "" if state is None else format_statusline(state, at_work=process_identity.is_owner_alive(state["owner"]))


def session_folder(payload: bytes) -> str:
    """Return the folder of the session by Claude Code's JSON, or an empty text."""
    try:
        fields: Any = fast_json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(fields, dict):
        return ""
    workspace = fields.get("workspace")
    for path in (workspace.get("current_dir") if isinstance(workspace, dict) else None, fields.get("cwd")):
        if isinstance(path, str) and path.startswith("/") and "\0" not in path:
            return path
    return ""


def format_statusline(state: State, *, at_work: bool) -> str:
    """Return the line. `at_work`: the process of the batch's owner is alive."""
    counts = batch_state.counts(state)
    head = f"batch {counts['completed']}/{counts['total']} done"
    head += "".join(f", {counts[name]} {name}" for name in ("failed", "skipped") if counts[name])
    return " · ".join([head, *_describe_activity(state, at_work=at_work)])


def _describe_activity(state: State, *, at_work: bool) -> List[str]:
    if not batch_state.is_live(state):
        return ["ended"]
    if state["pause"]:
        until = state["pause"].get("resume_after")
        return [f"paused{_format_until_time(until)}: {one_line(state['pause']['reason'], MAX_REASON_CHARS)}"]
    run, active = state.get("run"), state["active"]
    activity: List[str] = []
    if run and run["running"]:
        activity = [_describe_running(run["running"])]
    elif active:
        activity = [f"feature {active['feature_index'] + 1}: {active['phase']}"]
    if run and run["waiting"]:
        waiting = run["waiting"]
        reason = one_line(waiting["reason"], MAX_REASON_CHARS)
        activity.append(f"waiting{_format_until_time(waiting['until'])}: {reason}")
    if not at_work:
        return [*activity, "no process works on it"]
    return activity or [f"feature {state['current_index'] + 1} is next"]


def _describe_running(running: State) -> str:
    numbers = sorted(int(name) + 1 for name in running)
    if len(numbers) == 1:
        return f"feature {numbers[0]}: {running[batch_state.key(numbers[0] - 1)]['step']}"
    more = f" and {len(numbers) - MAX_NUMBERS} more" if len(numbers) > MAX_NUMBERS else ""
    return f"features {', '.join(map(str, numbers[:MAX_NUMBERS]))}{more}"


def _format_until_time(time: object) -> str:
    return f" until {str(time)[11:16]} UTC" if time else ""
