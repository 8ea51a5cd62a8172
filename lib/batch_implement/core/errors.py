"""Expected errors, split by who must act. Anything else that escapes is a bug.

    RefusedError       exit 1   the request cannot be granted now; the message names the next step
    UsageError         exit 2   the request is wrong: arguments, a features file, a path
    StateError         exit 3   the state, its lock or its disk cannot be used
      LockTimeout      exit 3   another process held the lock past the deadline
    DurabilityError    exit 3   the new version is in place, but the disk did not confirm it

`verify_command.StillRunning` and `reviews.ReviewRunning` (exit 4) ask for another call of `done`. `topic` is a section
of docs/troubleshooting.md, which `batchctl help TOPIC` prints; tests/docs/test_troubleshooting.py compares the two.
"""

from __future__ import annotations

EXIT_STILL_RUNNING = 4
HELP_PREFIX = "More: "
NOTHING_CHANGED = "Nothing was changed."  # only in messages of errors that know it


class BatchError(Exception):
    """An expected error. `message` says what failed, the cause and what to do; `topic` names the section with more."""

    exit_code = 1

    def __init__(self, message: str, topic: str) -> None:
        super().__init__(message)
        self.message, self.topic = message, topic

    def __str__(self) -> str:
        return self.message

    def mention_change(self, text: str) -> None:
        """Add to the message what was changed before the error, in place of the claim that nothing was."""
        if NOTHING_CHANGED in self.message:
            self.message = self.message.replace(NOTHING_CHANGED, text)
        else:
            self.message = f"{self.message} {text}"

    def help_line(self, command: str = "batchctl") -> str:
        """Return the line for a user that names the topic. The model never gets it: it pays for each token."""
        return f"{HELP_PREFIX}{command} help {self.topic}"


class RefusedError(BatchError):
    """The request is valid but cannot be granted now."""


class UsageError(BatchError):
    """The request is wrong: an unknown option, an unreadable features file, a path outside the project."""

    exit_code = 2


class StateError(BatchError):
    """The state cannot be read or written safely; the version in force is the same as before."""

    exit_code = 3


class LockTimeout(StateError):
    """The lock was not free before the deadline. `holder` describes the process that held it."""

    def __init__(self, message: str, topic: str, holder: str) -> None:
        super().__init__(message, topic)
        self.holder = holder


class DurabilityError(BatchError):
    """The new version is in place, but the last fsync failed: a power cut may still lose it.

    Not a StateError, after which a change can be repeated: this change was made.
    """

    exit_code = 3
