"""What a client says of itself while it works: `claude -p --output-format stream-json`, a JSON object a line.

    stream = Stream()
    stream.feed(line)             for each line, in order; what is no event is passed over
    stream.turns, stream.tool     so far;  stream.result  the last `result` event, empty before it came

A client that is killed says no result. What its answers reported until then is all that is known of its tokens, and
nothing of its cost: one that is asked with SIGINT to end still says both.
"""

from __future__ import annotations

import json
from typing import Any, Dict

LONGEST_TOOL = 100
_TOKENS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_creation_tokens": "cache_creation_input_tokens",
}
_SHOWN = ("command", "file_path", "notebook_path", "skill", "subagent_type", "pattern", "url")


class Stream:
    """What was read of one client's stream so far."""

    def __init__(self) -> None:
        self.tool = ""
        self.said = ""
        self.result: Dict[str, Any] = {}
        self._own: Dict[str, None] = {}  # ids of the main thread's answers, each of which comes in several events
        self._usage: Dict[str, Dict[str, Any]] = {}

    @property
    def turns(self) -> int:
        """The answers of the model in the client's main thread so far."""
        return len(self._own)

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
        message = _object(event.get("message"))
        blocks = message.get("content")
        name = str(message.get("id"))
        self._usage[name] = _object(message.get("usage"))
        if not event.get("parent_tool_use_id"):
            self._own[name] = None
        for block in blocks if isinstance(blocks, list) else ():
            if not isinstance(block, dict):
                continue
            if block.get("type") == "tool_use":
                self.tool = _tool(block)
            elif block.get("type") == "text" and isinstance(block.get("text"), str) and block["text"].strip():
                self.said = block["text"]

    def spent(self) -> Dict[str, Any]:
        """What the client used, by the names of `job.SPENT` but `seconds`; what it did not say is 0.

        Of tokens, the result or the answers may know more: a result that a limit cut short counts none.
        """
        result, answers = _object(self.result.get("usage")), list(self._usage.values())
        return {
            "turns": _count(self.result.get("num_turns")) or self.turns,
            "cost_usd": _amount(self.result.get("total_cost_usd")),
            **{
                name: max(_count(result.get(its)), sum(_count(usage.get(its)) for usage in answers))
                for name, its in _TOKENS.items()
            },
        }

    def words(self) -> str:
        """The client's last words: its result, else the last text that the model said; empty when it said nothing."""
        result = self.result.get("result")
        if not isinstance(result, str) or not result.strip():
            errors = self.result.get("errors")
            result = " ".join(str(error) for error in errors) if isinstance(errors, list) else ""
        return result.strip() or self.said.strip()


def _tool(block: Dict[str, Any]) -> str:
    given = _object(block.get("input"))
    about = next((given[name] for name in _SHOWN if isinstance(given.get(name), str)), "")
    return f"{block.get('name', '')}: {' '.join(about.split())}"[:LONGEST_TOOL].rstrip(": ")


def _object(value: Any) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return int(_amount(value))


def _amount(value: Any) -> Any:
    """A number as a state may hold it; 0 for anything else."""
    return value if type(value) in (int, float) and 0 <= value < 1e15 else 0
