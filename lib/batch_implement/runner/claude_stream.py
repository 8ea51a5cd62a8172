"""Read the events of a client: `claude -p --output-format stream-json` prints a JSON object per line.

    stream = ClientStream()
    stream.feed(line)             for each line, in order; lines that are no events are ignored
    stream.turns, stream.tool     so far;  stream.result  the last `result` event, {} before it

A client that is killed prints no result: its tokens are known from its answers, its cost is not. After SIGINT it prints
both.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

MAX_TOOL_LENGTH = 100
_TOKENS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_creation_tokens": "cache_creation_input_tokens",
}
_TOOL_FIELDS = ("command", "file_path", "notebook_path", "skill", "subagent_type", "pattern", "url")


class ClientStream:
    """The events of one client so far."""

    def __init__(self) -> None:
        self.tool = ""
        self.last_text = ""
        self.result: Dict[str, Any] = {}
        self._main_answers: Dict[str, None] = {}  # message ids of the main thread; one answer comes in several events
        self._usage: Dict[str, Dict[str, Any]] = {}

    @property
    def turns(self) -> int:
        """The number of answers of the model in the client's main thread so far."""
        return len(self._main_answers)

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
            self._read_answer(event)

    def _read_answer(self, event: Dict[str, Any]) -> None:
        message = _as_object(event.get("message"))
        blocks = message.get("content")
        name = str(message.get("id"))
        self._usage[name] = _as_object(message.get("usage"))
        if not event.get("parent_tool_use_id"):
            self._main_answers[name] = None
        for block in blocks if isinstance(blocks, list) else ():
            if not isinstance(block, dict):
                continue
            if block.get("type") == "tool_use":
                self.tool = _describe_tool(block)
            elif block.get("type") == "text" and isinstance(block.get("text"), str) and block["text"].strip():
                self.last_text = block["text"]

    def spent(self) -> Dict[str, Any]:
        """Return what the client used, by the names of `job.SPENT` except `seconds`; 0 for what is unknown."""
        result, answers = _as_object(self.result.get("usage")), list(self._usage.values())
        # the larger number of tokens counts: the result of a client that reached a limit has none
        return {
            "turns": _as_count(self.result.get("num_turns")) or self.turns,
            "cost_usd": _as_amount(self.result.get("total_cost_usd")),
            **{
                name: max(_as_count(result.get(field)), sum(_as_count(usage.get(field)) for usage in answers))
                for name, field in _TOKENS.items()
            },
        }

    def refused_calls(self) -> List[Tuple[str, str]]:
        """Return the tool calls that permissions refused, as (tool, command): the command is empty except for Bash."""
        denials = self.result.get("permission_denials")
        entries = [_as_object(denial) for denial in (denials if isinstance(denials, list) else ())]
        return [
            (entry["tool_name"], str(_as_object(entry.get("tool_input")).get("command") or ""))
            for entry in entries
            if isinstance(entry.get("tool_name"), str)
        ]

    def last_words(self) -> str:
        """Return the text of the client's result, else the last text of the model; "" for none."""
        result = self.result.get("result")
        if not isinstance(result, str) or not result.strip():
            errors = self.result.get("errors")
            result = " ".join(str(error) for error in errors) if isinstance(errors, list) else ""
        return result.strip() or self.last_text.strip()


def _describe_tool(block: Dict[str, Any]) -> str:
    arguments = _as_object(block.get("input"))
    subject = next((arguments[name] for name in _TOOL_FIELDS if isinstance(arguments.get(name), str)), "")
    return f"{block.get('name', '')}: {' '.join(subject.split())}"[:MAX_TOOL_LENGTH].rstrip(": ")


def _as_object(value: Any) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_count(value: Any) -> int:
    return int(_as_amount(value))


def _as_amount(value: Any) -> Any:
    """Return a number that a state can hold; 0 for any other value."""
    return value if type(value) in (int, float) and 0 <= value < 1e15 else 0
