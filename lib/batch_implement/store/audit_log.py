"""Append to and read the audit log: one JSON object a line in the private folder's `audit.jsonl`, oldest first.

    {"at": TIME, "event": NAME, "pid": N, ...details}

Nothing is decided from the log, and an error of writing it fails nothing: it is kept in `last_error` for the caller to
show once. At 10 MB the log is rotated; five old ones are kept (`audit.jsonl.1` is the newest). Each line is one write
to a file opened for appending, so that lines of several processes never mix.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time

from ..base import fast_json, timestamps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List

    from ..base.project_paths import Project
    from ..core.errors import BatchError

NAME = "audit.jsonl"
ROTATE_AT_BYTES = 10 * 1024 * 1024
ROTATED_LOGS = 5
MAX_LINE_CHARS = 16384
PARTIAL_LINE_WAITS_S = (0.001, 0.004, 0.016)  # for the end of a line that is being written
MAX_READ_CHARS = 1 << 20  # a longer line was not written here

last_error = ""


def record(private: str, event: str, **details: Any) -> None:
    """Append one line to the log in the private folder `private`. A value that is not JSON is written as its text."""
    global last_error
    entry = {"at": timestamps.now(), "event": event, "pid": os.getpid(), **details}
    line = fast_json.dumps_ascii(entry, str)
    for max_chars in (500, 50, 0):  # what JSON escapes takes up to 12 times as much
        if len(line) <= MAX_LINE_CHARS:
            break
        entry.update({name: _shorten(value, max_chars) for name, value in details.items()})
        line = fast_json.dumps_ascii(entry, str)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if os.path.islink(private):
            raise OSError(errno.ELOOP, "its folder is a symbolic link")
        descriptor = os.open(f"{private}/{NAME}", flags, 0o600)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a file")
            if status.st_nlink > 1:
                raise OSError(errno.EMLINK, "it is linked to from elsewhere")
            size = status.st_size
            if size >= ROTATE_AT_BYTES:
                descriptor = _rotate_logs(private, descriptor, flags)
            elif size and _ends_in_partial_line(descriptor, size):
                line = "\n" + line
            if os.write(descriptor, line.encode("ascii") + b"\n") <= len(line):
                raise OSError(errno.ENOSPC, "only part of a line was taken")
        finally:
            os.close(descriptor)
    except OSError as error:
        last_error = f"the audit log {private}/{NAME} could not be written: {error.strerror}"


def _shorten(value: Any, max_chars: int) -> Any:
    """Return a value of an entry with at most `max_chars` characters, or a list with eight times as many."""
    if isinstance(value, list):
        kept: List[Any] = []
        room = 8 * max_chars
        for element in value:
            room -= len(str(element)[:max_chars])
            if room <= 0:
                return [*kept, f"...[{len(value) - len(kept)} more truncated]"]
            kept.append(_shorten(element, max_chars))
        return kept
    return value if len(str(value)) <= max_chars else str(value)[:max_chars] + "...[truncated]"


def _ends_in_partial_line(descriptor: int, size: int) -> bool:
    """Return whether the last line of the log, which has `size` bytes, is partial (after a full disk or a crash).

    The system shows a line that is being written page by page: one that ends a moment later is complete.
    """
    for pause_s in (0.0, *PARTIAL_LINE_WAITS_S):
        if pause_s:
            time.sleep(pause_s)
            size = os.fstat(descriptor).st_size
        if os.pread(descriptor, 1, size - 1) == b"\n":
            return False
    return True


def split_for_log(messages: List[str]) -> List[List[str]]:
    """Return `messages` in portions that each fit into a line of the log."""
    portions: List[List[str]] = []
    room = 0
    for message in messages:
        length = len(fast_json.dumps_ascii(message))
        room -= length
        if room < 0:
            portions.append([])
            room = MAX_LINE_CHARS // 2 - length
        portions[-1].append(message)
    return portions


def record_refusal(project: Project, asked: str, error: BatchError) -> None:
    """Record that the request `asked` was refused, unless the project has no log folder yet."""
    if os.path.isdir(project.log_folder):
        fields = {"asked": asked[:200], "message": error.message, "exit_code": error.exit_code}
        record(project.log_folder, "refused", **fields, **_identify_open_feature(project))


def _identify_open_feature(project: Project) -> Dict[str, int]:
    """Return the number of the feature that is open, as the field `feature`; nothing without one."""
    from ..core.errors import BatchError
    from . import sidecar

    try:
        current = sidecar.read_sidecar(project.private)
    except BatchError:
        return {}
    return {} if current is None or current.open_index is None else {"feature": current.open_index + 1}


def record_script_event(project: Project, event: str, status: str, context: object) -> None:
    """Record an event of a script. Never raises, takes any value, and creates the log folder."""
    global last_error
    try:
        os.makedirs(project.log_folder, mode=0o700, exist_ok=True)
        details = {"status": _as_json_value(status, 0), "context": _as_json_value(context, 0)}
        record(project.log_folder, str(_as_json_value(event, 0))[:200], **details)
    except Exception as error:
        last_error = f"the audit log could not be written: {type(error).__name__}"


def _as_json_value(value: object, depth: int) -> Any:
    """Return a value that JSON can hold: at most six levels, anything unknown as text of at most 2,000 characters."""
    if value is None or type(value) is bool or (type(value) in (int, float) and -(2**63) < value < 2**63):  # type: ignore[operator]
        return value
    if depth < 6 and isinstance(value, dict):
        return {str(name)[:200]: _as_json_value(content, depth + 1) for name, content in value.items()}
    if depth < 6 and isinstance(value, (list, tuple, set, frozenset)):
        return [_as_json_value(content, depth + 1) for content in value]
    try:
        text = str(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 2000 else text[:2000] + "...[truncated]"


def read_entries(private: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of the log and of its rotated files, oldest first, without lines that a crash has cut."""
    import json

    if os.path.islink(private):
        return
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for name in (*(f"{NAME}.{number}" for number in range(ROTATED_LOGS, 0, -1)), NAME):
        try:
            with open(os.open(f"{private}/{name}", flags), encoding="utf-8", errors="replace") as log:
                if not stat.S_ISREG(os.fstat(log.fileno()).st_mode):
                    continue
                while True:
                    line = log.readline(MAX_READ_CHARS)
                    if not line:
                        break
                    try:
                        entry = json.loads(line)
                    except (ValueError, RecursionError):
                        continue
                    if isinstance(entry, dict) and isinstance(entry.get("event"), str):
                        yield entry
        except OSError:
            continue


def _rotate_logs(private: str, descriptor: int, flags: int) -> int:
    """Move the full log behind `descriptor` away, once whoever is first, and return a descriptor of the current one."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    path = f"{private}/{NAME}"
    if os.path.exists(path) and os.stat(path).st_ino == os.fstat(descriptor).st_ino:
        for number in range(ROTATED_LOGS, 0, -1):
            source = f"{path}.{number - 1}" if number > 1 else path
            if os.path.exists(source):
                os.replace(source, f"{path}.{number}")
    fresh = os.open(path, flags, 0o600)
    os.close(descriptor)
    return fresh
