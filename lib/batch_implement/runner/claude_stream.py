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

MAX_TOOL_LENGTH = 100
_TOKENS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_creation_tokens": "cache_creation_input_tokens",
}
_TOOL_FIELDS = ("command", "file_path", "notebook_path", "skill", "subagent_type", "pattern", "url")


class ClientStream:
    """What was read of one client's stream so far."""

    def __init__(self) -> None:
        self.tool = ""
        self.said = ""
        self.result: Dict[str, Any] = {}
        self._main_answers: Dict[
            str, None
        ] = {}  # ids of the main thread's answers, each of which comes in several events
        self._usage: Dict[str, Dict[str, Any]] = {}

    @property
    def turns(self) -> int:
        """The answers of the model in the client's main thread so far."""
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
                self.said = block["text"]

    def spent(self) -> Dict[str, Any]:
        """What the client used, by the names of `job.SPENT` but `seconds`; what it did not say is 0.

        Of tokens, the result or the answers may know more: a result that a limit cut short counts none.
        """
        result, answers = _as_object(self.result.get("usage")), list(self._usage.values())
        return {
            "turns": _as_count(self.result.get("num_turns")) or self.turns,
            "cost_usd": _as_amount(self.result.get("total_cost_usd")),
            **{
                name: max(_as_count(result.get(its)), sum(_as_count(usage.get(its)) for usage in answers))
                for name, its in _TOKENS.items()
            },
        }

    def last_words(self) -> str:
        """The client's last words: its result, else the last text that the model said; empty when it said nothing."""
        result = self.result.get("result")
        if not isinstance(result, str) or not result.strip():
            errors = self.result.get("errors")
            result = " ".join(str(error) for error in errors) if isinstance(errors, list) else ""
        return result.strip() or self.said.strip()


def _describe_tool(block: Dict[str, Any]) -> str:
    given = _as_object(block.get("input"))
    about = next((given[name] for name in _TOOL_FIELDS if isinstance(given.get(name), str)), "")
    return f"{block.get('name', '')}: {' '.join(about.split())}"[:MAX_TOOL_LENGTH].rstrip(": ")


def _as_object(value: Any) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_count(value: Any) -> int:
    return int(_as_amount(value))


def _as_amount(value: Any) -> Any:
    """A number as a state may hold it; 0 for anything else."""
    return value if type(value) in (int, float) and 0 <= value < 1e15 else 0
