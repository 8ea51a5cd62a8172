"""One line for the status line of Claude Code: how far the batch is, and what is being done.

    text = statusline.read(given, environ, cwd)     what `batchctl statusline` prints; empty without a batch

Claude Code runs it at every message, so it costs what `batchctl next` costs and changes nothing. It is never an error:
a status line that fails is not shown, and nobody would learn why.
"""

from __future__ import annotations

from ..base import fast_json, processes, project_paths
from ..base.text import one_line
from ..core import batch_state
from ..core.errors import BatchError
from ..store import snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Mapping

    from ..core.batch_state import State

MAX_REASON_CHARS = 60  # characters
MAX_INPUT_BYTES = 1024 * 1024  # bytes
MAX_NUMBERS = 6
UNUSABLE = "batch: its state cannot be read; see `batchctl status`"


def statusline_text(given: bytes, environ: Mapping[str, str], cwd: str) -> str:
    """The line for the project that `given`, the JSON that Claude Code passes on standard input, names; else for that
    of `cwd`. Empty when there is no batch.
    """
    try:
        state = snapshot.read_snapshot(project_paths.find_project(environ, session_folder(given) or cwd))
    except (BatchError, OSError):
        return UNUSABLE
    return "" if state is None else format_statusline(state, at_work=processes.is_owner_alive(state["owner"]))


def session_folder(given: bytes) -> str:
    """The folder that the session is in, by Claude Code's JSON; empty when that does not say."""
    try:
        told: Any = fast_json.loads(given)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(told, dict):
        return ""
    workspace = told.get("workspace")
    for place in (workspace.get("current_dir") if isinstance(workspace, dict) else None, told.get("cwd")):
        if isinstance(place, str) and place.startswith("/") and "\0" not in place:
            return place
    return ""


def format_statusline(state: State, *, at_work: bool) -> str:
    """The line, without a line break. `at_work`: the lease of the batch is alive."""
    number = batch_state.counts(state)
    head = f"batch {number['completed']}/{number['total']} done"
    head += "".join(f", {number[name]} {name}" for name in ("failed", "skipped") if number[name])
    return " · ".join([head, *_describe_activity(state, at_work=at_work)])


def _describe_activity(state: State, *, at_work: bool) -> List[str]:
    """What is being done, waited for or missing; nothing to be said of a batch that is over."""
    if not batch_state.is_live(state):
        return ["over"]
    if state["pause"]:
        until = state["pause"].get("resume_after")
        return [f"paused{_format_until_time(until)}: {one_line(state['pause']['reason'], MAX_REASON_CHARS)}"]
    run, active = state.get("run"), state["active"]
    doing: List[str] = []
    if run and run["running"]:
        doing = [_describe_running(run["running"])]
    elif active:
        doing = [f"feature {active['feature_index'] + 1}: {active['phase']}"]
    if run and run["waiting"]:
        waiting = run["waiting"]
        reason = one_line(waiting["reason"], MAX_REASON_CHARS)
        doing.append(f"waits{_format_until_time(waiting['until'])}: {reason}")
    if not at_work:
        return [*doing, "nobody is at work"]
    return doing or [f"feature {state['current_index'] + 1} is next"]


def _describe_running(running: State) -> str:
    numbers = sorted(int(name) + 1 for name in running)
    if len(numbers) == 1:
        return f"feature {numbers[0]}: {running[batch_state.key(numbers[0] - 1)]['step']}"
    more = f" and {len(numbers) - MAX_NUMBERS} more" if len(numbers) > MAX_NUMBERS else ""
    return f"features {', '.join(map(str, numbers[:MAX_NUMBERS]))}{more}"


def _format_until_time(moment: object) -> str:
    return f" until {str(moment)[11:16]} UTC" if moment else ""
