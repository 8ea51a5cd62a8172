"""Infer the phase of the open feature from what its worker does: nobody has to name it.

A phase begins with the first edit, test run, commit, review and `batchctl done`; none begins again in the same attempt,
so that an attempt costs five writes at most.
"""

from __future__ import annotations

from ..core import transitions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .dispatch import HookEvent


def begin(event: HookEvent, phase: str) -> None:
    """Record that the worker of the open feature is in `phase`, unless a later one has begun."""
    if event.sidecar is None or not event.sidecar.open or not event.is_batch_context:
        return
    if not event.sidecar.phase or transitions.is_later_phase(phase, event.sidecar.phase):
        event.update_state(lambda state: transitions.advance_phase(state, phase))


def infer_from_command(command: object, *, has_succeeded: bool) -> Optional[str]:
    """Return the phase that a shell command which has run belongs to, or None."""
    words = command.split() if isinstance(command, str) else []
    if has_succeeded and "commit" in words and any(word.rpartition("/")[2] == "git" for word in words):
        return "commit"
    return "test" if any("test" in word for word in words) else None
