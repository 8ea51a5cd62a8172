"""The errors that batch-implement raises on purpose, split by who must act.

Everything expected to go wrong is a `BatchError`; anything else that escapes is a bug. The message is the whole story
for its reader: what happened, where, the likely cause, what to do next. `exit_code` is what `batchctl` exits with.
`topic` is the section of docs/troubleshooting.md about it, which `batchctl help TOPIC` prints: topics are grouped by
what the reader has to do, so that many messages share one. tests/docs/test_troubleshooting.py holds the two together.

    Refused            1   the request cannot be granted as things stand; the message names the next step
    Misuse             2   the request itself is wrong: arguments, a features file, a path
    StateUnusable      3   the state, its lock or its disk cannot be used; what was there still is
      LockTimeout      3     another process held the lock past the deadline; `holder` says which
    DurabilityError    3   written and visible, but the disk has not confirmed it; look before repeating

Beside these `verify_runner.StillRunning` (STILL_WORKING) tells that `done` has to be called again.
"""

from __future__ import annotations

EXIT_STILL_RUNNING = 4  # the exit status of what goes on and is asked for again
HELP_PREFIX = "More: "  # begins the line that follows a message, for a person


class BatchError(Exception):
    """Base of all expected errors. `message` is complete in itself, `topic` names the section with more about it;
    `exit_code` is the process's exit status.
    """

    exit_code = 1

    def __init__(self, message: str, topic: str) -> None:
        super().__init__(message)
        self.message, self.topic = message, topic

    def help_line(self, command: str = "batchctl") -> str:
        """The line for a person that names the topic. The model is never shown it: its messages are complete in
        themselves, and every token is paid for.
        """
        return f"{HELP_PREFIX}{command} help {self.topic}"


class RefusedError(BatchError):
    """The request is well formed but cannot be granted now."""

    exit_code = 1


class UsageError(BatchError):
    """The request is wrong: unknown option, unreadable features file, a path outside the project."""

    exit_code = 2


class StateError(BatchError):
    """The state cannot be read or written safely. Nothing was changed."""

    exit_code = 3


class LockTimeout(StateError):
    """The lock was not free before the deadline. `holder` describes the process that had it."""

    def __init__(self, message: str, topic: str, holder: str) -> None:
        super().__init__(message, topic)
        self.holder = holder


class DurabilityError(BatchError):
    """The new version is in place, but the last fsync failed: a power cut may still lose it.

    Not a StateError, which promises that nothing was changed.
    """

    exit_code = 3
