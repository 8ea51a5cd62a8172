"""The logs of an attempt, in the private folder of its worktree under `logs/run`, and copies that outlive it.

    progress.json            what the client does now, for displays: written at most once a second
    SESSION/brief            the client's input
    SESSION/stream.jsonl     its output, and SESSION/stderr
    SESSION/reported         exists once the driver knows that client's usage

The usage of a client whose driver died is not lost: the next attempt in the worktree reports it.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Dict, Iterable, List, Mapping, Optional

from ..base import timestamps
from ..base.project_paths import Project
from .claude_stream import ClientStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job import Outcome

MAX_LOG_BYTES = 2_000_000  # kept of each log
MAX_SENT_BYTES = 200_000  # of each log from another machine
MAX_END_BYTES = 4000
REPORTED = "reported"


def logs_folder(project: Project) -> str:
    """Return the folder of the logs of all clients in a worktree."""
    return os.path.join(project.private, "logs", "run")


def write_progress(project: Project, session_id: str, stream: ClientStream) -> None:
    """Write `progress.json` for the client of a session, if that is possible: only displays read it."""
    path, spent = os.path.join(logs_folder(project), "progress.json"), stream.spent()
    data = {
        "session_id": session_id, "turns": spent["turns"], "cost_usd": spent["cost_usd"] or None, "tool": stream.tool,
        "updated_at": timestamps.now(),
    }  # fmt: skip
    with contextlib.suppress(OSError):
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            json.dump(data, file)
        os.replace(f"{path}.tmp", path)


def read_end(folder: str, names: Iterable[str] = ("stderr", "stream.jsonl")) -> str:
    """Return the end of the first of these logs that is not empty, at most 4,000 characters; "" if all are."""
    for name in names if folder else ():
        try:
            end = _read_last_bytes(os.path.join(folder, name), MAX_END_BYTES)
        except OSError:
            continue
        if end:
            return end.decode("utf-8", "replace").strip()
    return ""


def read_logs(folder: str, evidence: Optional[Mapping[str, Any]], limit: int) -> Dict[str, str]:
    """Return the ends of a client's logs, and of the verify command's, by name; skip what is unreadable."""
    texts: Dict[str, str] = {}
    for path in [*(os.path.join(folder, name) for name in ("brief", "stream.jsonl", "stderr")), _verify_log(evidence)]:
        with contextlib.suppress(OSError):
            if path:
                texts[os.path.basename(path)] = _read_last_bytes(path, limit).decode("utf-8", "replace")
    return texts


def save_logs(outcome: Outcome, folder: str) -> Outcome:
    """Write the logs that came with an outcome into the folder. Return the outcome with their place instead.

    A disk that does not take them does not fail the attempt: its outcome stays as it is.
    """
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for name, text in outcome.log_texts.items():
            with open(os.path.join(folder, os.path.basename(name) or "log"), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError:
        return outcome
    evidence, log = outcome.evidence, _verify_log(outcome.evidence)
    if log:
        evidence = {**evidence, "verify": {**evidence["verify"], "log": os.path.join(folder, os.path.basename(log))}}
    return outcome._replace(log=folder, log_texts={}, evidence=evidence)


def _verify_log(evidence: Optional[Mapping[str, Any]]) -> Optional[str]:
    log: Optional[str] = ((evidence or {}).get("verify") or {}).get("log")
    return log


def _read_last_bytes(path: str, limit: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - limit))
        return file.read(limit)


def unreported_usage(project: Project) -> Dict[str, Any]:
    """Return what earlier clients in the worktree used that no driver knows of, by the names of `ClientStream.spent`;
    {} for nothing.
    """
    usage: Dict[str, Any] = {}
    for folder in _unreported_sessions(project):
        stream = ClientStream()
        try:
            with open(os.path.join(folder, "stream.jsonl"), "rb") as file:
                for line in file:
                    stream.feed(line)
        except OSError:
            continue
        for name, number in stream.spent().items():
            usage[name] = usage.get(name, 0) + number
    return usage


def mark_reported(project: Project) -> None:
    """Mark the usage of every client so far as known to the driver."""
    for folder in _unreported_sessions(project):
        try:
            with open(os.path.join(folder, REPORTED), "w", encoding="utf-8"):
                pass
        except OSError:
            continue


def _unreported_sessions(project: Project) -> List[str]:
    """Return the log folders of the clients whose usage the driver does not know."""
    try:
        folders = [entry.path for entry in os.scandir(logs_folder(project)) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(folder for folder in folders if not os.path.exists(os.path.join(folder, REPORTED)))
