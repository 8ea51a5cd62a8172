"""From an event to its answer. Everything here is on the way of each tool call: nothing is imported before it is
needed.

Most calls never come here: `glance` settles them. What goes wrong in a hook never stops the work: it is noted in the
audit log and said once.
"""

from __future__ import annotations

import os
import sys

from ..base import project_paths
from ..store import sidecar
from . import fast_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..store.sidecar import Sidecar

    Payload = Dict[str, Any]

LARGE_PAYLOAD_BYTES = 1 << 20  # bytes; a larger payload is looked at before it is parsed
MAX_PAYLOAD_MB = 16  # of a payload that is parsed at all


class HookEvent:
    """One event: what it brings and where it happens. The payload is parsed when it is first asked for."""

    __slots__ = ("_payload", "name", "project", "raw", "sidecar", "tool")

    def __init__(self, name: str, tool: str, raw: bytes, project: Project, sidecar: Optional[Sidecar]) -> None:
        self.name, self.tool, self.raw, self.project, self.sidecar = name, tool, raw, project, sidecar
        self._payload: Optional[Payload] = None

    @property
    def payload(self) -> Payload:
        """The event's JSON object; Misuse when it is not one: nothing is done on a guess."""
        if self._payload is None:
            from ..base import fast_json

            try:
                data = (
                    fast_json.loads(self.raw) if len(self.raw) < LARGE_PAYLOAD_BYTES or _is_parsable(self.raw) else None
                )
            except (ValueError, RecursionError):
                data = None
            if not isinstance(data, dict):
                from ..core.errors import UsageError

                told = f"What Claude Code told it about this event ({len(self.raw):,} bytes)"
                if len(self.raw) > MAX_PAYLOAD_MB << 20:
                    raise UsageError(f"{told} is more than the {MAX_PAYLOAD_MB} MB that are read.", "installation")
                raise UsageError(
                    f"{told} is not a JSON object, or one of too many values. If it comes again, Claude Code and this "
                    "plugin do not fit together: update both.",
                    "installation",
                )
            self._payload = data
        return self._payload

    @property
    def session_id(self) -> str:
        """The client's session."""
        return os.environ.get("CLAUDE_CODE_SESSION_ID") or self.get_text("session_id")

    @property
    def owns_batch(self) -> bool:
        """Whether this client holds the batch."""
        if self.sidecar is None or not self.sidecar.session:
            return False
        return self.sidecar.is_owner(self.session_id, os.environ.get("CLAUDE_PID") or _find_client_pid())

    @property
    def context(self) -> str:
        """Whose window this is: `main`, or the agent's id."""
        return self.get_text("agent_id") or "main"

    @property
    def cwd(self) -> str:
        """The folder that the client is in; the project's root when it does not say."""
        return self.get_text("cwd") or self.project.root

    def get_text(self, name: str) -> str:
        """A text of the payload; empty when it has none of this name."""
        value = self.payload.get(name)
        return value if isinstance(value, str) else ""

    def get_object(self, name: str) -> Dict[str, Any]:
        """An object of the payload, as `tool_input`; empty when it has none of this name."""
        value = self.payload.get(name)
        return value if isinstance(value, dict) else {}

    def if_still_owner(self, change: Callable[[State], State]) -> Callable[[State], State]:
        """The change, as it is for a batch that still is this client's: by the time it has the lock, another may have
        taken it, and then nothing changes.
        """
        return lambda state: change(state) if self.is_still_owner(state) else state

    def is_still_owner(self, state: State) -> bool:
        """Return whether the owner in `state` is the one that the sidecar named when the event arrived."""
        owner = state["owner"] or {"session_id": "", "pid": None}
        sidecar = self.sidecar
        return sidecar is not None and (sidecar.session, sidecar.owner_pid) == (owner["session_id"], owner["pid"])

    def make_context_output(self, lines: List[str]) -> Optional[Dict[str, Any]]:
        """The answer that puts these lines before the model; None without any."""
        if not lines:
            return None
        return {"hookSpecificOutput": {"hookEventName": self.name, "additionalContext": "\n".join(lines)}}


def _is_parsable(raw: bytes) -> bool:
    """Whether a large payload is not larger than what is read. ValueError when its values would take much memory."""
    if len(raw) > MAX_PAYLOAD_MB << 20:
        return False
    from ..base import strict_json

    strict_json.check_value_count(raw.decode("utf-8", "surrogatepass"))
    return True


def _find_client_pid() -> str:
    """The client's process id, for one that does not say it."""
    from ..base import processes

    return str(processes.find_client_pid(os.environ) or "")


def main(name: str, tool: str, raw: Optional[bytes] = None) -> None:
    """Answer one event on standard output. `raw` is what came on standard input, when that was read already."""
    project = None
    try:
        raw = fast_path.read_payload() if raw is None else raw
        project = project_paths.find_project(os.environ, os.getcwd())
        event = HookEvent(name, tool, raw, project, sidecar.read_sidecar(project.private))
        if not _is_irrelevant(event):
            _print_output(_handle(event))
    except Exception as error:
        from . import error_reporting

        _print_output(error_reporting.report_error(name, project, error))
    if os.environ.get("BATCH_IMPLEMENT_REMEMBER"):
        from . import error_reporting

        error_reporting.remember_interpreter(os.environ["BATCH_IMPLEMENT_REMEMBER"])


def _is_irrelevant(event: HookEvent) -> bool:
    """Whether this is a tool call that needs nothing, now that everything about it is known."""
    if event.sidecar is None or not fast_path.is_skippable_event(event.name, event.tool):
        return False
    return fast_path.is_irrelevant_call(
        event.name, event.tool, event.raw, event.sidecar, event.project.state, event.owns_batch
    )


def _handle(event: HookEvent) -> Any:
    if event.name == "UserPromptExpansion":
        from . import slash_commands

        return slash_commands.handle_prompt_expansion(event)
    if event.name in ("PreToolUse", "PostToolUse", "PostToolUseFailure"):
        from . import tool_use

        return tool_use.handle(event)
    if event.name in ("Stop", "SubagentStop", "StopFailure", "SessionEnd", "UserPromptSubmit"):
        from . import stop

        return stop.handle(event)
    from . import compaction

    return compaction.handle(event)


def _print_output(answer: Any) -> None:
    """Print an answer: a text as it is, an object as JSON, nothing for None."""
    if answer is None:
        return
    if not isinstance(answer, str):
        from ..base import fast_json

        answer = fast_json.dumps_ascii(answer)
    sys.stdout.write(answer + "\n")
    sys.stdout.flush()
