"""One line for each thing that happens in a batch, read off the client's stream and the batch's audit log.

    narrator = Narrator(project)
    for line in stream: narrator.hear(json.loads(line))

Prints; decides nothing. What it does not know it leaves out.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "client"))

from scripted_model import texts

QUIET = (
    "created", "migrated", "acquired", "started", "phase", "compacted", "reviewed", "completed", "ended", "released",
)  # fmt: skip
"""Entries of the audit log that the stream tells of already."""


class Narrator:
    """Print what happens in one run. `final` is the client's last `result` event, empty before."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.final: dict[str, Any] = {}
        self._began = time.monotonic()
        self._calls: dict[str, tuple[str, dict[str, Any]]] = {}
        self._last = ""
        self._audited = 0

    def say(self, what: str, text: str, *, indent: int = 2) -> None:
        """Print a line with the time since the start, unless it repeats the last one."""
        seconds = int(time.monotonic() - self._began)
        words = " ".join(text.split())
        line = f"{' ' * indent}{what:<{16 - indent}}{words if len(words) <= 96 else words[:93] + '...'}".rstrip()
        if line != self._last:
            print(f"{seconds // 60:02}:{seconds % 60:02}  {line}", flush=True)
        self._last = line

    def hear(self, event: dict[str, Any]) -> None:
        """Print one stream-json event, and what is new in the audit log."""
        kind, subtype = event.get("type"), event.get("subtype")
        if kind == "result":
            self.final = event
            print(flush=True)
            self.say("ended", event.get("result") or "", indent=0)
        elif subtype == "init":
            version, mode = event.get("claude_code_version"), event.get("permissionMode")
            self.say("client", f"Claude Code {version}, permission mode {mode}", indent=0)
        elif subtype == "hook_response":
            self._hook(event)
        elif kind in ("assistant", "user") and isinstance(event.get("message"), dict):
            for block in event["message"].get("content") or []:
                if isinstance(block, dict):
                    self._block(block)
        self._audit()

    def _hook(self, event: dict[str, Any]) -> None:
        said = event.get("stdout") or ""
        told = re.search(r"Now: (.*?)\\n", said)
        if event.get("hook_name") == "SessionStart:compact" and told:
            self.say("compaction", "a window was full and begins anew")
            self.say("reminder", told.group(1).rstrip("."))
        elif event.get("hook_event") == "UserPromptExpansion":
            begun = re.search(r"You run batch (\S+: .*?)\.\\n", said)
            self.say("batch", begun.group(1) if begun else said or "no answer", indent=0)

    def _block(self, block: dict[str, Any]) -> None:
        if block.get("type") == "tool_use":
            self._calls[block["id"]] = (block["name"], block.get("input") or {})
        elif block.get("type") == "text":
            self._opened(block.get("text") or "")
        elif block.get("type") == "tool_result":
            name, given = self._calls.get(block.get("tool_use_id", ""), ("", {}))
            text, error = "\n".join(texts(block.get("content"))), bool(block.get("is_error"))
            if name in ("Write", "Edit"):
                path = os.path.relpath(os.path.join(self.project, given.get("file_path", "")), self.project)
                self.say("edit", text if error else f"{'wrote' if name == 'Write' else 'changed'} {path}")
            elif name == "Agent":
                verdict = re.search(r"VERDICT: .*", text)
                self.say("review", verdict.group() if verdict else text)
            elif name == "Bash":
                self._command(given.get("command", ""), text, error)

    def _opened(self, text: str) -> None:
        found = re.search(r"Feature (\d+ of \d+), attempt (\d+)\. .*\n> (.*)", text)
        if found:
            again = "" if found.group(2) == "1" else f" (attempt {found.group(2)})"
            print(flush=True)
            self.say(f"feature {found.group(1)}", f"{found.group(3)}{again}", indent=0)

    def _command(self, command: str, text: str, error: bool) -> None:
        done = re.match(r"Feature \d+ of \d+ is done \((.*?)\)", text)
        if done:
            self.say("done", done.group(1))
        elif "unittest" in command and "batchctl" not in command:
            self.say("test", text.strip().splitlines()[-1] if text.strip() else "no output")
        elif "git commit" in command and not error:
            self.say("commit", re.sub(r".*?-m '?([^']*?)'?( -m .*)?$", r"\1", command, flags=re.DOTALL))
        elif error or command.startswith("batchctl fail"):
            self.say("command", f"`{command}`: {text}")

    def _audit(self) -> None:
        log = self.project / ".git" / "batch-implement" / "audit.jsonl"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()  # of the last one half may be there
        for entry in map(json.loads, filter(None, lines[self._audited :])):
            if entry["event"] not in QUIET:
                self.say(entry["event"], str(entry.get("reason") or entry.get("text") or entry.get("what") or ""))
        self._audited = len(lines)
