"""What a command takes and what it returns.

    with CommandContext(project, caller) as context:
        result = batch_commands.pause(context, "lunch")
    print(*context.notes, result.text, sep="\\n")

A command decides on the state that the context read, and decides again on the state that it finds under the lock.
"""

from __future__ import annotations

from ..core.errors import BatchError
from ..store.backups import no_batch_error
from ..store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from .authorization import Caller

    Json = Dict[str, Any]


class CommandContext:
    """The project, the caller and the store of a command. As a context manager it adds the notes to an error."""

    __slots__ = ("_is_read", "_state", "caller", "project", "store")

    def __init__(self, project: Project, caller: Caller) -> None:
        self.project, self.caller = project, caller
        self.store = Store(project, trusted=caller.is_user)
        self._state: Optional[State] = None
        self._is_read = False

    def __enter__(self) -> CommandContext:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, BatchError):
            notes = [note for note in self.notes if note not in error.message]
            error.message = "\n".join([*notes, error.message])

    @property
    def notes(self) -> List[str]:
        """The messages about repairs of the state and input that was left out, to print with the result."""
        return self.store.notes

    def read_state_if_usable(self) -> Optional[State]:
        """Return the state as it was read first; None when there is no batch, or none that can be used."""
        if not self._is_read:
            self._state, self._is_read = self.store.read_if_usable(), True
        return self._state

    def read_state(self) -> Optional[State]:
        """Return the state as it was read first; None when there is no batch. Raises StateError if it is unusable."""
        return self.read_state_if_usable() or self.store.read()

    def require_state(self) -> State:
        """Return the state as it was read first. Raises RefusedError without a batch, StateError if it is unusable."""
        state = self.read_state()
        if state is None:
            raise no_batch_error(self.project)
        return state


class CommandResult:
    """What a command did: a message, the next step at a terminal, the data for `--json`, the state to work on now."""

    __slots__ = ("data", "message", "next_step", "state")

    def __init__(
        self, message: str, next_step: str = "", *, data: Optional[Json] = None, state: Optional[State] = None
    ) -> None:
        self.message, self.next_step, self.state = message, next_step, state
        self.data = {"message": self.text} if data is None else data

    @property
    def text(self) -> str:
        """The message with the next step."""
        return f"{self.message} {self.next_step}" if self.next_step else self.message
