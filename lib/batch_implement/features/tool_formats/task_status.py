"""Say whether a task is open, by what its file has as status and as flags. Pure.

    read_state({"passes": False, "status": "In Progress"})     TaskState("open", "In Progress")

A flag (`passes`, `done`, `completed`) decides where there is one, because tools that have it look at nothing else.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

OPEN, DONE, CANCELLED, DEFERRED = "open", "done", "cancelled", "deferred"

STATUS_FIELDS = ("status", "state")
FLAGS = (
    "passes", "passed", "passing", "done", "completed", "complete", "implemented", "finished", "closed", "checked",
    "isdone", "iscompleted", "iscomplete",
)  # fmt: skip

# Spelled without blanks, `-` and `_`, in lower case. What is DOUBTFUL may be as good as done, or waits for somebody.
NOT_BEGUN = (
    "", "pending", "open", "opened", "todo", "notstarted", "unstarted", "new", "planned", "backlog", "ready",
    "proposed", "queued", "next", "upcoming", "false", "no",
)  # fmt: skip
BEGUN = (
    "inprogress", "started", "active", "doing", "wip", "working", "ongoing", "underway", "current", "hooked", "claimed",
    "assigned", "failing", "failed", "error", "reopened", "partial", "partiallydone", "incomplete",
)  # fmt: skip
DOUBTFUL = (
    "review", "inreview", "needsreview", "blocked", "testing", "intesting", "qa", "draft", "specready", "approved",
    "selected", "triage", "waiting",
)  # fmt: skip
_WORDS = {
    OPEN: (*NOT_BEGUN, *BEGUN, *DOUBTFUL),
    DONE: (
        "done", "completed", "complete", "closed", "passing", "passed", "pass", "resolved", "finished", "fixed",
        "merged", "shipped", "implemented", "verified", "released", "deployed", "success", "true", "yes",
        "x",
    ),
    CANCELLED: (
        "cancelled", "canceled", "wontfix", "wontdo", "rejected", "duplicate", "abandoned", "obsolete", "tombstone",
        "deleted", "archived", "superseded", "dropped", "notplanned", "invalid", "removed", "descoped", "outofscope",
        "skipped", "declined", "deprecated",
    ),
    DEFERRED: ("deferred", "onhold", "hold", "postponed", "later", "someday", "icebox", "paused", "parked", "frozen"),
}  # fmt: skip
STATES = {word: state for state, words in _WORDS.items() for word in words}


class TaskState(NamedTuple):
    """The state of a task: OPEN, DONE, CANCELLED or DEFERRED; its status as written, on which it rests.

    `is_certain`: False for one that is taken as open although its status may mean something else. `conflict` says how a
    flag and the status contradict each other; empty if they do not.
    """

    state: str
    status: str
    is_certain: bool = True
    conflict: str = ""

    @property
    def has_begun(self) -> bool:
        """Whether an open task is said to be more than pending."""
        return self.state == OPEN and normalize_word(self.status) not in NOT_BEGUN


def normalize_word(text: str) -> str:
    """Return a status or the name of a field in lower case, letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def classify_status(status: str) -> Optional[str]:
    """Return the state that a status means; None for one that is in no table."""
    return STATES.get(normalize_word(status)) if status.isascii() else None


def state_of_status(status: str) -> TaskState:
    """Return the state of a task that has a status alone."""
    state = classify_status(status)
    return TaskState(state or OPEN, status, state is not None and normalize_word(status) not in DOUBTFUL)


def read_state(item: Dict[str, Any]) -> TaskState:
    """Return the state of a task by its fields; open if it has none that says so."""
    names = {normalize_word(name): name for name in item}
    status_name = next((names[name] for name in STATUS_FIELDS if is_status(item.get(names.get(name, "")))), "")
    status = str(item[status_name]).strip() if status_name else ""
    flag_name = next((names[name] for name in FLAGS if read_flag(item.get(names.get(name, ""))) is not None), "")
    state = classify_status(status)
    if not flag_name:
        return state_of_status(status)
    is_done = read_flag(item[flag_name])
    by_flag = DONE if is_done else OPEN
    if not status or state == by_flag:
        return TaskState(by_flag, status)
    if by_flag == OPEN and state in (CANCELLED, DEFERRED):  # it does not pass, and is not wanted either
        return TaskState(str(state), status)
    conflict = f"`{flag_name}: {'true' if is_done else 'false'}` and `{status_name}: {status}`"
    return TaskState(by_flag, status, conflict="" if state is None else conflict)


def is_status(value: Any) -> bool:
    """Return whether a value can be a status: a text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def read_flag(value: Any) -> Optional[bool]:
    """Return what a flag says: True, False, or None where it is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        return {"true": True, "yes": True, "false": False, "no": False}.get(value.strip().lower())
    return None
