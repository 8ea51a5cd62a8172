"""What a client says while it works: recorded streams of the real client (2.1.330), cut to what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from batch_implement.runner.claude_stream import MAX_TOOL_LENGTH, ClientStream

RECORDED = Path(__file__).with_name("streams")


def read(*events: Any) -> ClientStream:
    """A stream that was fed these events, or raw lines."""
    stream = ClientStream()
    for event in events:
        stream.feed(event if isinstance(event, bytes) else json.dumps(event).encode())
    return stream


def recorded(name: str) -> ClientStream:
    """A stream that was fed a recording."""
    return read(*(RECORDED / f"{name}.jsonl").read_bytes().splitlines(keepends=True))


def answer(name: str = "msg_1", *blocks: dict[str, Any], inside: str | None = None, **usage: int) -> dict[str, Any]:
    """An event of the model's answer `name`, by a subagent when it is `inside` a tool call."""
    message = {"id": name, "content": list(blocks), "usage": usage}
    return {"type": "assistant", "message": message, "parent_tool_use_id": inside}


# subtype, turns, cost, tokens in and out, last words
ENDS = {
    "done": ("success", 3, 0.0126, 3000, 30, "Feature 1 is in."),
    "max_turns": ("error_max_turns", 3, 0.0084, 2000, 20, "Reached maximum number of turns (2)"),
    "max_budget": ("error_max_budget_usd", 1, 0.0042, 1000, 1, "Reached maximum budget ($0.001)"),
    "limit": ("success", 1, 0, 0, 0, "API Error: Request rejected (429) · Claude AI usage limit reached|1900000000"),
    "interrupted": ("error_during_execution", 5, 0.0622, 13000, 510, "[ede_diagnostic] result_type=user"),
}


@pytest.mark.parametrize("name", ENDS)
def test_of_a_recorded_client_its_end_its_words_and_what_it_used_are_known(name):
    subtype, turns, cost, tokens_in, tokens_out, words = ENDS[name]
    stream = recorded(name)
    spent = stream.spent()
    assert stream.result["subtype"] == subtype and stream.last_words().startswith(words)
    assert (spent["turns"], spent["input_tokens"], spent["output_tokens"]) == (turns, tokens_in, tokens_out)
    assert spent["cost_usd"] == pytest.approx(cost)


def test_of_a_client_that_was_killed_the_tokens_of_its_answers_are_known_and_no_result():
    stream = recorded("killed")
    assert stream.result == {}
    assert (stream.spent()["turns"], stream.spent()["input_tokens"], stream.spent()["cost_usd"]) == (3, 13000, 0)
    assert stream.tool == "Bash: touch at-work; sleep 60"


def test_an_answer_that_comes_in_several_events_is_one_turn_and_counted_once():
    text, tool = {"type": "text", "text": "I look."}, {"type": "tool_use", "name": "Read", "input": {"file_path": "a"}}
    stream = read(answer("msg_1", text, input_tokens=10), answer("msg_1", tool, input_tokens=10), answer("msg_2"))
    assert (stream.turns, stream.spent()["input_tokens"], stream.tool) == (2, 10, "Read: a")


def test_what_a_subagent_answers_is_no_turn_of_the_client_but_its_tokens_count():
    stream = read(answer("msg_1", input_tokens=1), answer("msg_2", inside="toolu_1", input_tokens=2))
    assert (stream.turns, stream.spent()["input_tokens"]) == (1, 3)


HOSTILE = [
    b"", b"\n", b"Warning: not JSON\n", b"[]", b"null", b"3", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"type": []}',
    b'{"type":"assistant"}', b'{"type":"assistant","message":[]}', b'{"type":"assistant","message":{"content":"x"}}',
    b'{"type":"assistant","message":{"id":{},"content":[1,{"type":"tool_use","name":[],"input":[]}],"usage":3}}',
    b'{"type":"result","usage":[],"result":5,"errors":{},"num_turns":"many"}',
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_line_that_is_no_event_changes_nothing_and_breaks_nothing(line):
    stream = read(answer("msg_1", {"type": "text", "text": "here"}, input_tokens=7), line)
    assert stream.last_words() == "here" and stream.spent()["input_tokens"] == 7


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "-5", "true", "null", '"3"', "[]", "9" * 400])
def test_a_number_that_no_state_may_hold_counts_as_nothing(number):
    usage = ", ".join(f'"{name}": {number}' for name in ("input_tokens", "output_tokens"))
    line = f'{{"type": "result", "total_cost_usd": {number}, "num_turns": {number}, "usage": {{{usage}}}}}'
    assert set(read(line.encode()).spent().values()) == {0}


def test_turns_and_tokens_are_whole_numbers_whatever_is_said():
    spent = read({"type": "result", "num_turns": 2.5, "total_cost_usd": 2.5, "usage": {"input_tokens": 1.5}}).spent()
    assert (spent["turns"], spent["cost_usd"], spent["input_tokens"]) == (2, 2.5, 1)
    assert type(spent["turns"]) is type(spent["input_tokens"]) is int


def test_a_tool_is_shown_on_one_short_line():
    stream = read(answer("m", {"type": "tool_use", "name": "Bash", "input": {"command": "a\n b" + "c" * 500}}))
    assert stream.tool.startswith("Bash: a bc") and len(stream.tool) == MAX_TOOL_LENGTH
    assert read(answer("m", {"type": "tool_use", "name": "Skill", "input": {"args": "x"}})).tool == "Skill"


def test_the_tool_calls_that_permissions_refused_are_those_of_the_result():
    denials = [
        {"tool_name": "Bash", "tool_use_id": "1", "tool_input": {"command": "make test"}},
        {"tool_name": "WebFetch", "tool_input": {"url": "https://x.invalid"}},
        {"tool_name": 7}, "x", {"tool_name": "Bash", "tool_input": None},
    ]  # fmt: skip
    result = {"type": "result", "permission_denials": denials}
    assert read(result).refused_calls() == [("Bash", "make test"), ("WebFetch", ""), ("Bash", "")]
    assert read({"type": "result", "permission_denials": {}}).refused_calls() == read().refused_calls() == []
