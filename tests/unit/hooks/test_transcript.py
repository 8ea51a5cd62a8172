"""What the end of a client's transcript shows."""

from __future__ import annotations

import json

import pytest
from batch_implement.hooks import transcript

MARK = "[batch-implement reminder]"


def answer(tokens, **more):
    usage = {
        "input_tokens": tokens,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 300,
        "output_tokens": 4,
    }
    return {"type": "assistant", "message": {"role": "assistant", "usage": usage}, **more}


def boundary(after=1000):
    return {"type": "system", "subtype": "compact_boundary", "compactMetadata": {"preTokens": 9, "postTokens": after}}


def context(text, kind="hook_additional_context"):
    return {"type": "attachment", "attachment": {"type": kind, "content": [text]}}


@pytest.fixture
def file(tmp_path):
    """Writes entries as a transcript: `file(entry, ...)`; its path."""

    def write(*entries, end="\n"):
        path = tmp_path / "transcript.jsonl"
        lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
        path.write_text("\n".join(lines) + end, encoding="utf-8")
        return str(path)

    return write


NOISE = [
    {"type": "last-prompt"},
    {"type": "tools-used"},
    {"type": "user", "message": {"content": '"usage" "assistant"'}},
]


def test_the_window_is_the_usage_of_the_last_answer(file):
    assert transcript.read_context_tokens(file(answer(1), answer(5), *NOISE)) == 329


def test_an_answer_that_was_an_error_does_not_count(file):
    assert transcript.read_context_tokens(file(answer(5), answer(0, isApiErrorMessage=True))) == 329


def test_after_a_compaction_it_is_what_that_left(file):
    assert transcript.read_context_tokens(file(answer(5), boundary(1000), *NOISE)) == 1000
    assert transcript.read_context_tokens(file(answer(5), boundary(1000), answer(6))) == 330
    assert transcript.read_context_tokens(file(boundary(None))) == 0


def test_lines_that_are_damaged_or_only_look_alike_are_passed_over(file):
    torn = json.dumps(answer(9))[:-5]
    alike = {"type": "user", "message": {"content": [json.dumps(answer(8)), '"compact_boundary"']}}
    odd = {"type": "assistant", "message": {"usage": {"input_tokens": "many", "output_tokens": True}}, "x": '"usage"'}
    assert transcript.read_context_tokens(file(answer(5), alike, torn, '["usage", "assistant"]', "[" * 100_000)) == 329
    assert transcript.read_context_tokens(file(answer(5), odd)) == 0


@pytest.mark.parametrize("path", ["", "/nowhere/at/all", "/", "\0"])
def test_without_a_transcript_nothing_is_known(path):
    assert transcript.read_context_tokens(path) == 0
    assert transcript.has_context_since_compaction(path, MARK) is False


def test_an_empty_one_says_nothing(file):
    assert transcript.read_context_tokens(file(end="")) == 0


def test_only_its_end_is_read(file, monkeypatch):
    monkeypatch.setattr(transcript, "TAIL_BYTES", 1000)
    assert transcript.read_context_tokens(file(answer(5), "x" * 2000)) == 0
    assert transcript.read_context_tokens(file("x" * 2000, answer(5))) == 329


def test_a_text_that_arrived_since_the_compaction_is_seen(file):
    assert transcript.has_context_since_compaction(file(boundary(), context(f"{MARK} Batch b")), MARK)


def test_one_from_before_it_is_not(file):
    assert not transcript.has_context_since_compaction(file(context(MARK), boundary(), answer(1)), MARK)


def test_without_a_compaction_any_counts_and_none_does_not(file):
    assert transcript.has_context_since_compaction(file(context(MARK), answer(1)), MARK)
    assert not transcript.has_context_since_compaction(file(answer(1)), MARK)


@pytest.mark.parametrize(
    "alike",
    [
        context(MARK, kind="hook_success"),
        {"type": "api-request-blob", "text": f'"hook_additional_context" {MARK}'},
        {"type": "attachment", "attachment": f"hook_additional_context {MARK}", "x": '"hook_additional_context"'},
    ],
)
def test_what_only_mentions_the_text_has_not_brought_it(file, alike):
    assert not transcript.has_context_since_compaction(file(boundary(), alike), MARK)


def test_it_reaches_a_tool_call_once_the_answer_that_made_it_is_written(file):
    call = {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": "toolu_1"}]}}
    result = {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]}}
    assert transcript.has_tool_call(file(answer(1), call, *NOISE), "toolu_1")
    assert not transcript.has_tool_call(file(answer(1), result), "toolu_1")
    assert not transcript.has_tool_call("/nowhere/at/all", "toolu_1")
