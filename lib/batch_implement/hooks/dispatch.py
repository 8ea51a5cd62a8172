"""Route a hook event to its handler and print the output.

Most calls never come here: `fast_path` ends them. Nothing is imported before it is needed. A hook that fails never
stops the work: the error goes to the audit log and is shown once.
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
    from ..store.store import Store

    Payload = Dict[str, Any]

WORKER = "batch-implement:worker"
REVIEWER = "batch-implement:reviewer"
LARGE_PAYLOAD_BYTES = 1 << 20  # the values of a larger payload are counted before it is parsed
MAX_PAYLOAD_MB = 16


class HookEvent:
    """One hook event: its name, tool, payload and project. The payload is parsed on first use."""

    __slots__ = ("_payload", "name", "notes", "project", "raw", "sidecar", "tool")

    def __init__(self, name: str, tool: str, raw: bytes, project: Project, sidecar: Optional[Sidecar]) -> None:
        self.name, self.tool, self.raw, self.project, self.sidecar = name, tool, raw, project, sidecar
        self.notes: List[str] = []  # about what was restored
        self._payload: Optional[Payload] = None

    @property
    def payload(self) -> Payload:
        """The event's JSON object. Raise UsageError if it is not one."""
        if self._payload is None:
            self._payload = _parse_payload(self.raw)
        return self._payload

    @property
    def session_id(self) -> str:
        """The client's session id."""
        return os.environ.get("CLAUDE_CODE_SESSION_ID") or self.get_text("session_id")

    @property
    def owns_batch(self) -> bool:
        """Whether this client holds the lease of the batch."""
        if self.sidecar is None or not self.sidecar.session:
            return False
        return self.sidecar.is_owner(self.session_id, os.environ.get("CLAUDE_PID") or _find_client_pid())

    @property
    def is_in_agent(self) -> bool:
        """Whether the event comes from a subagent or a fork."""
        return bool(self.get_text("agent_id"))

    @property
    def is_batch_context(self) -> bool:
        """Whether this context window works on the batch: the owner's own, or that of one of its workers."""
        return self.owns_batch and (not self.is_in_agent or self.get_text("agent_type") == WORKER)

    @property
    def context(self) -> str:
        """The name of this context window: the agent's id, else `main`."""
        return self.get_text("agent_id") or "main"

    @property
    def is_reminder_due(self) -> bool:
        """Whether this context window is owed a reminder."""
        return self.sidecar is not None and self.context in self.sidecar.remind

    @property
    def cwd(self) -> str:
        """The client's working directory, else the project's root."""
        return self.get_text("cwd") or self.project.root

    def get_text(self, name: str) -> str:
        """Return a string field of the payload; empty if there is none."""
        value = self.payload.get(name)
        return value if isinstance(value, str) else ""

    def get_object(self, name: str) -> Dict[str, Any]:
        """Return an object field of the payload, as `tool_input`; empty if there is none."""
        value = self.payload.get(name)
        return value if isinstance(value, dict) else {}

    def open_store(self, *, trusted: bool = False) -> Store:
        """Return the store of the project, after changes of the state that batchctl did not make were undone."""
        from ..store.store import Store

        store = Store(self.project, trusted=trusted)
        store.notes += self.notes
        if not store.is_unmodified():
            store.reconcile()
            if store.are_copies_repaired and not store.notes:
                store.notes.append(f"Backups in {self.project.private} were changed or missing; they were put back.")
        return store

    def if_still_owner(self, change: Callable[[State], State]) -> Callable[[State], State]:
        """Return `change` for `Store.update`, without effect if another client took the lease before the lock."""
        return lambda state: change(state) if self.is_still_owner(state) else state

    def update_state(self, change: Callable[[State], State], *, trusted: bool = False) -> State:
        """Update the state with `if_still_owner(change)` and return it, where nobody is shown the store's notes."""
        from ..store.store import Store

        return Store(self.project, trusted=trusted).update(self.if_still_owner(change))

    def is_still_owner(self, state: State) -> bool:
        """Return whether the owner in `state` is the one that the sidecar named when the event arrived."""
        owner = state["owner"] or {"session_id": "", "pid": None}
        sidecar = self.sidecar
        return sidecar is not None and (sidecar.session, sidecar.owner_pid) == (owner["session_id"], owner["pid"])

    def make_context_output(self, lines: List[str]) -> Optional[Dict[str, Any]]:
        """Return the output that adds `lines` to the model's context; None without lines."""
        if not lines:
            return None
        return {"hookSpecificOutput": {"hookEventName": self.name, "additionalContext": "\n".join(lines)}}


def _parse_payload(raw: bytes) -> Payload:
    from ..base import fast_json
    from ..core.errors import UsageError

    if len(raw) > MAX_PAYLOAD_MB << 20:
        raise UsageError(f"The hook payload ({len(raw):,} bytes) is larger than {MAX_PAYLOAD_MB} MB.", "installation")
    try:
        if len(raw) >= LARGE_PAYLOAD_BYTES:
            from ..base import strict_json

            strict_json.check_value_count(raw.decode("utf-8", "surrogatepass"))
        data = fast_json.loads(raw)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise UsageError(
            f"The hook payload ({len(raw):,} bytes) is not a JSON object or has too many values. If this repeats, "
            "update Claude Code and this plugin.",
            "installation",
        )
    return data


def _find_client_pid() -> str:
    """Return the process id of a client that does not set CLAUDE_PID; empty if it is not found."""
    from ..base import process_identity

    return str(process_identity.find_client_pid(os.environ) or "")


def main(name: str, tool: str, raw: Optional[bytes] = None) -> None:
    """Handle one event and print its output. `raw` is the payload if it was read from standard input already."""
    project = None
    try:
        raw = fast_path.read_payload() if raw is None else raw
        project = project_paths.find_project(os.environ, os.getcwd())
        event = HookEvent(name, tool, raw, project, sidecar.read_sidecar(project.private))
        if event.sidecar is None:
            _restore_sidecar(event)
        if event.notes or not _is_irrelevant(event):
            _print_output(_handle(event))
    except Exception as error:
        from . import error_reporting

        _print_output(error_reporting.report_error(name, project, error))
    if os.environ.get("BATCH_IMPLEMENT_REMEMBER"):
        from . import error_reporting

        error_reporting.remember_interpreter(os.environ["BATCH_IMPLEMENT_REMEMBER"])


def _restore_sidecar(event: HookEvent) -> None:
    """Restore a damaged or missing sidecar, and what else was changed with it."""
    from ..store import backups

    if backups.has_backup(event.project) or os.path.lexists(f"{event.project.private}/sidecar"):
        from ..store.store import Store

        store = Store(event.project, trusted=False)
        store.reconcile()
        event.notes += store.notes
        event.sidecar = sidecar.read_sidecar(event.project.private)


def _is_irrelevant(event: HookEvent) -> bool:
    """Return whether this is a tool call that needs nothing, for a client that hooks/run knew too little about."""
    if event.sidecar is None or not fast_path.is_skippable_event(event.name, event.tool):
        return False
    project = event.project
    is_intact = event.sidecar.matches_disk(project.state, project.private, project.second_backup)
    return fast_path.is_irrelevant_call(event.name, event.tool, event.raw, event.sidecar, is_intact, event.owns_batch)


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
    if event.name == "SubagentStart":
        from . import reviewer

        return reviewer.handle_start(event)
    from . import compaction

    return compaction.handle(event)


def _print_output(output: Any) -> None:
    """Print a string as it is, an object as JSON, nothing for None."""
    if output is None:
        return
    if not isinstance(output, str):
        from ..base import fast_json

        output = fast_json.dumps_ascii(output)
    sys.stdout.write(output + "\n")
    sys.stdout.flush()
