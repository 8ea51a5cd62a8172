"""A hook's own troubles, and the interpreter it remembers. Neither ever stops the work."""

from __future__ import annotations

import os
import sys

from ..core.errors import BatchError
from ..store import audit_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional

    from ..base.project_paths import Project


def report_error(event: str, project: Optional[Project], error: Exception) -> Optional[Dict[str, str]]:
    """The answer of a hook that could not do its work: a message for the person, once for each kind of trouble; then
    None.
    """
    what, then = f"{type(error).__name__}: {error}", "`batchctl doctor` looks for the cause."
    if isinstance(error, BatchError):
        what = error.message
    elif not isinstance(error, OSError):
        then = "This is a bug of batch-implement: `batchctl log --json` has its traceback; please report it."
    private = project.private if project is not None and os.path.isdir(project.private) else None
    if private is not None and not os.path.islink(private):
        if not isinstance(error, BatchError):
            import traceback

            trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            audit_log.record(private, "hook trouble", hook=event, what=what, trace=trace)
        else:
            audit_log.record(private, "hook trouble", hook=event, what=what)
        if not _is_first_report(private, f"{event} {type(error).__name__}"):
            return None
    return {
        "systemMessage": f"batch-implement: its {event} hook could not do its work; yours goes on. "
        f"{what[:500].rstrip(' .')}. {then}"
    }


def _is_first_report(private: str, kind: str) -> bool:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(os.path.join(private, "told"), flags, 0o600), "rb+", buffering=0) as file:
            if kind.encode() in file.read(65536).splitlines():
                return False
            file.write(kind.encode() + b"\n")
    except OSError:
        pass
    return True


def remember_interpreter(folder: str) -> None:
    """Leave the path of the real interpreter in the plugin's data folder, for hooks/run to start at once from now
    on.
    """
    if not os.path.isabs(folder) or not sys.executable:
        return
    real = os.path.realpath(sys.executable)
    temp = os.path.join(folder, f"python.{os.getpid()}")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(temp, "w", encoding="utf-8") as file:
            file.write(real + "\n")
        os.replace(temp, os.path.join(folder, "python"))
    except OSError:
        return
