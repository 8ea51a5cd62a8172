"""What a client says of itself while it works: `claude -p --output-format stream-json`, a JSON object a line.

stream = Stream()
stream.feed(line)             for each line, in order; what is no event is passed over
stream.turns, stream.tool     so far;  stream.result  the last `result` event, empty before it came
"""

from __future__ import annotations

import json
from typing import Any, Dict

LONGEST_TOOL = 100
_SHOWN = ("command", "file_path", "notebook_path", "skill", "subagent_type", "pattern", "url")


class Stream:
    """What was read of one client's stream so far."""

    def __init__(self) -> None:
        self.turns = 0
        self.tool = ""
        self.said = ""
        self.result: Dict[str, Any] = {}

    def feed(self, line: bytes) -> None:
        """Read one line."""
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(event, dict):
            return
        if event.get("type") == "result":
            self.result = event
        elif event.get("type") == "assistant":
            self._answered(event)

    def _answered(self, event: Dict[str, Any]) -> None:
        message = event.get("message")
        blocks = message.get("content") if isinstance(message, dict) else None
        if not event.get("parent_tool_use_id"):
            self.turns += 1
        for block in blocks if isinstance(blocks, list) else ():
            if not isinstance(block, dict):
                continue
            if block.get("type") == "tool_use":
                self.tool = _tool(block)
            elif block.get("type") == "text" and isinstance(block.get("text"), str) and block["text"].strip():
                self.said = block["text"]

    def spent(self) -> Dict[str, Any]:
        """What the client used, by the names of `job.SPENT` but `seconds`; what it did not say is 0."""
        usage = self.result.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        return {
            "turns": _number(self.result.get("num_turns")) or self.turns,
            "cost_usd": _number(self.result.get("total_cost_usd")),
            "input_tokens": _number(usage.get("input_tokens")),
            "output_tokens": _number(usage.get("output_tokens")),
            "cache_read_tokens": _number(usage.get("cache_read_input_tokens")),
            "cache_creation_tokens": _number(usage.get("cache_creation_input_tokens")),
        }

    def words(self) -> str:
        """The client's last words: its result, else the last text that the model said; empty when it said nothing."""
        result = self.result.get("result")
        if not isinstance(result, str) or not result.strip():
            errors = self.result.get("errors")
            result = " ".join(str(error) for error in errors) if isinstance(errors, list) else ""
        return result.strip() or self.said.strip()


def _tool(block: Dict[str, Any]) -> str:
    given = block.get("input")
    given = given if isinstance(given, dict) else {}
    about = next((given[name] for name in _SHOWN if isinstance(given.get(name), str)), "")
    return f"{block.get('name', '')}: {' '.join(about.split())}"[:LONGEST_TOOL].rstrip(": ")


def _number(value: Any) -> Any:
    return value if type(value) in (int, float) and value >= 0 else 0
