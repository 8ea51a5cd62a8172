"""A hook's first look: whether a tool call needs anything at all. It is on the way of each tool call of a live batch.

    raw = glance.payload()
    if not glance.settles(event, tool, root, private, raw): ...      # `hooks.entry` does the rest

One small read (the sidecar), one stat (the state file), a look at the payload's bytes. `settles` says True only when
nothing is to be done; whatever it cannot tell it leaves to `entry`, which asks `nothing_to_do` again with all it knows.

Neither this module nor what it imports may import `os` or use `from __future__`: the first costs a hook 1.5 ms, more
than all that it does, the second 0.2 ms (docs/performance.md). `posix` is built in wherever this plugin runs.
"""

import posix
import sys

from . import prefilter

MAX_PAYLOAD_BYTES = 32 * 1024 * 1024  # what a look at it takes is a few times as much

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..store.sidecar import Sidecar


def read_payload() -> bytes:
    """What Claude Code tells on standard input, at most LONGEST_PAYLOAD bytes."""
    parts, left = [], MAX_PAYLOAD_BYTES
    while left > 0:  # a piece at a time: Python would make room for the longest at once
        part = sys.stdin.buffer.read(min(left, 65536))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def can_skip(event: str, tool: str, root: str, private: str, raw: bytes) -> bool:
    """Whether this tool call needs nothing. `root` and `private` are the project's places as hooks/run found them,
    both empty when it did not say.
    """
    session, pid = posix.environ.get(b"CLAUDE_CODE_SESSION_ID"), posix.environ.get(b"CLAUDE_PID")
    if not (private and session and pid) or posix.environ.get(b"BATCH_IMPLEMENT_REMEMBER"):
        return False
    if not is_skippable_event(event, tool):
        return False
    from ..store import sidecar

    batch = sidecar.read_sidecar(private)
    if batch is None:
        return False
    owns_batch = batch.is_owner(session.decode("utf-8", "surrogateescape"), pid.decode("utf-8", "surrogateescape"))
    return is_irrelevant_call(event, tool, raw, batch, f"{root}/.claude/batch_state.json", owns_batch)


def is_skippable_event(event: str, tool: str) -> bool:
    """Whether it is a kind of call that may need nothing."""
    if event == "PreToolUse":
        return tool == "Bash"
    return event in ("PostToolUse", "PostToolUseFailure") and tool != "Skill"


def is_irrelevant_call(event: str, tool: str, raw: bytes, batch: "Sidecar", state: str, owns_batch: bool) -> bool:
    """Whether a call that `concerns` lets through needs nothing, by the sidecar, one stat of the file `state` and the
    payload's bytes. `owns_batch`: this client holds the batch.
    """
    if owns_batch and not batch.matches_path(state):
        return False
    if event == "PreToolUse":
        return not prefilter.needs_analysis(raw)
    publishes = tool == "Bash" and prefilter.may_publish(raw)
    return not owns_batch or not (batch.remind or publishes)
