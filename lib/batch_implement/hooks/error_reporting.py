"""Report a hook's own errors, and remember the interpreter that runs the hooks. Neither ever stops the work."""

from __future__ import annotations

import os
import sys

from ..core.errors import BatchError
from ..store import audit_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional

    from ..base.project_paths import Project

REPORTED = "reported-errors"  # private file: one line for each kind of error that the user has seen


def report_error(event: str, project: Optional[Project], error: Exception) -> Optional[Dict[str, str]]:
    """Write the error to the audit log. Return a message for the user, None if they have seen this kind of error."""
    cause, advice, trace = f"{type(error).__name__}: {error}", "Run `batchctl doctor` to find the cause.", {}
    if isinstance(error, BatchError):
        cause = error.message
    else:
        import traceback

        trace = {"trace": "".join(traceback.format_exception(type(error), error, error.__traceback__))}
        if not isinstance(error, OSError):
            advice = "This is a bug of batch-implement: please report it with the traceback of `batchctl log --json`."
    private = project.private if project is not None else ""
    if os.path.isdir(private) and not os.path.islink(private):
        audit_log.record(private, "hook error", hook=event, what=cause, **trace)
        if not _is_first_report(private, f"{event} {type(error).__name__}"):
            return None
    cause = cause[:500].rstrip(" .")
    return {"systemMessage": f"batch-implement: the {event} hook failed; your work continues. {cause}. {advice}"}


def _is_first_report(private: str, kind: str) -> bool:
    """Note this kind of error in the private folder. Return False if it was noted before."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(os.path.join(private, REPORTED), flags, 0o600), "rb+", buffering=0) as file:
            if kind.encode() in file.read(65536).splitlines():
                return False
            file.write(kind.encode() + b"\n")
    except OSError:
        pass
    return True


def remember_interpreter(folder: str) -> None:
    """Write the path of the real interpreter into the plugin's data folder, from where hooks/run starts it."""
    if not os.path.isabs(folder) or not sys.executable:
        return
    temp = os.path.join(folder, f"python.{os.getpid()}")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(temp, "w", encoding="utf-8") as file:
            file.write(os.path.realpath(sys.executable) + "\n")
        os.replace(temp, os.path.join(folder, "python"))
    except OSError:
        return
