"""What an attempt writes down, in its work tree's private folder under `logs/run`.

    progress.json            what its client does now, for whoever looks: written anew at most once a second
    SESSION/brief            what the client was told
    SESSION/stream.jsonl     what it printed, and SESSION/stderr
    SESSION/reported         there once the driver was told what that client used

So what a client used is not lost with the driver that it worked for: the next attempt in the work tree reports it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any, Dict, Iterable, List, Optional

from ..base import timestamps
from ..base.project_paths import Project
from .claude_stream import ClientStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job import Outcome

MAX_LOG_BYTES = 2_000_000  # of each log that is brought away
MAX_END_BYTES = 4000
REPORTED = "reported"


def logs_folder(project: Project) -> str:
    """The folder of all clients of a work tree."""
    return os.path.join(project.private, "logs", "run")


class Progress:
    """Notes what the client of a session does, at most once a second."""

    def __init__(self, project: Project, session_id: str) -> None:
        self.path = os.path.join(logs_folder(project), "progress.json")
        self.session_id, self.last_s = session_id, 0.0
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)

    def note(self, stream: ClientStream, *, last: bool = False) -> None:
        """Write what there is, if it is time."""
        if not last and time.monotonic() - self.last_s < 1.0:
            return
        self.last_s = time.monotonic()
        spent = stream.spent()
        data = {
            "session_id": self.session_id, "turns": spent["turns"], "cost_usd": spent["cost_usd"] or None,
            "tool": stream.tool, "updated_at": timestamps.now(),
        }  # fmt: skip
        with open(f"{self.path}.tmp", "w", encoding="utf-8") as file:
            json.dump(data, file)
        os.replace(f"{self.path}.tmp", self.path)


def read_end(folder: str, names: Iterable[str] = ("stderr", "stream.jsonl")) -> str:
    """The end of the first of these logs that holds anything, as text of at most 4,000 characters; empty when none
    does.
    """
    for name in names:
        path = os.path.join(folder, name) if folder else ""
        if path and os.path.exists(path) and os.path.getsize(path):
            with open(path, "rb") as file:
                file.seek(max(0, os.path.getsize(path) - MAX_END_BYTES))
                return file.read(MAX_END_BYTES).decode("utf-8", "replace").strip()
    return ""


def copy_logs(folder: str, to: str, verify_log: Optional[str]) -> Optional[str]:
    """Copy the ends of a client's logs to where they outlive its work tree, that of the verify command too: where that
    is then. What cannot be copied is left out.
    """
    files: List[str] = [os.path.join(folder, name) for name in ("brief", "stream.jsonl", "stderr")]
    moved = verify_log
    for path in [*files, *([verify_log] if verify_log else [])]:
        target = os.path.join(to, os.path.basename(path))
        try:
            os.makedirs(to, mode=0o700, exist_ok=True)
            with open(path, "rb") as source, open(target, "wb") as copy:
                source.seek(max(0, os.path.getsize(path) - MAX_LOG_BYTES))
                shutil.copyfileobj(source, copy)
        except OSError:
            continue
        if path == verify_log:
            moved = target
    return moved


def save_received_logs(outcome: Outcome, folder: str) -> Outcome:
    """Write the logs that came with an outcome from another machine into the folder: the outcome that names them there.
    One without any is as it was.
    """
    if not outcome.log_texts:
        return outcome
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for each, text in outcome.log_texts.items():
        with open(os.path.join(folder, os.path.basename(each) or "log"), "w", encoding="utf-8") as file:
            file.write(text)
    evidence = outcome.evidence
    if (evidence.get("verify") or {}).get("log"):
        here = os.path.join(folder, os.path.basename(evidence["verify"]["log"]))
        evidence = {**evidence, "verify": {**evidence["verify"], "log": here}}
    return outcome._replace(log=folder, log_texts={}, evidence=evidence)


def unreported_usage(project: Project) -> Dict[str, Any]:
    """What earlier clients of the work tree used that no driver was told of, by the names of `Stream.spent`; empty when
    there is nothing.
    """
    found: Dict[str, Any] = {}
    for folder in _unreported_sessions(project):
        stream = ClientStream()
        try:
            with open(os.path.join(folder, "stream.jsonl"), "rb") as file:
                for line in file:
                    stream.feed(line)
        except OSError:
            continue
        for name, number in stream.spent().items():
            found[name] = found.get(name, 0) + number
    return found


def mark_reported(project: Project) -> None:
    """Note that the driver was told of every client so far."""
    for folder in _unreported_sessions(project):
        try:
            with open(os.path.join(folder, REPORTED), "w", encoding="utf-8"):
                pass
        except OSError:
            continue


def _unreported_sessions(project: Project) -> List[str]:
    """The folders of the clients that were not reported."""
    try:
        folders = [entry.path for entry in os.scandir(logs_folder(project)) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(folder for folder in folders if not os.path.exists(os.path.join(folder, REPORTED)))
