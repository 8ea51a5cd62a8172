"""The run report as Markdown: what it says, and that no text in it is more than text."""

from __future__ import annotations

import dataclasses
import re

import pytest
from batch_implement.report import run_report, run_report_markdown
from batch_implement.report.run_report_markdown import code_span, fenced_block, render_markdown
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_report_hostile import FRAGMENTS, batches, rewritten
from run_report_samples import at, client_state, run_state

NOW = at(500)
FENCE = re.compile(r" *(`{3,})([^`]*)$")
TICKS = re.compile("`+")


def ours(document: str) -> list[str]:
    """A document without what stands in code spans and fenced blocks, as CommonMark reads those."""
    kept: list[str] = []
    closing = 0
    for line in document.split("\n"):
        match = FENCE.match(line)
        if closing:
            if match and len(match[1]) >= closing and not match[2].strip():
                closing = 0
        elif match:
            closing = len(match[1])
            kept.append("(block)")
        else:
            kept.append(without_spans(line))
    assert not closing, "a fenced block does not end"
    return kept


def without_spans(line: str) -> str:
    """A line with `()` for each code span."""
    kept, at_ = "", 0
    while True:
        begin = TICKS.search(line, at_)
        if begin is None:
            return kept + line[at_:]
        end = next((run for run in TICKS.finditer(line, begin.end()) if run[0] == begin[0]), None)
        assert end, f"a code span does not end: {line}"
        kept += line[at_ : begin.start()] + "()"
        at_ = end.end()


def render(state, now=NOW):
    return render_markdown(run_report.build_report(state, now))


def test_it_says_how_the_batch_ended_what_needs_a_person_and_how_to_go_on():
    lines = render(run_state()).splitlines()
    assert lines[0] == "# 17 of 20 features done (1 without a change)"
    headings = [line for line in lines if line.startswith("#")]
    assert headings[1:] == [
        f"## {words}" for words in ("Needs you", "Next steps", "Features", "Worth a look", "Waits", "This batch")
    ]
    assert "- **Feature 5 failed after 2 attempts; 6, 7 need it**" in lines
    assert "   batchctl retry && batchctl run --resume" in lines


def test_every_feature_has_a_line_with_its_proof():
    document = render(run_state())
    assert document.count("verify passed in 42 s") == 17
    (line,) = [line for line in document.splitlines() if line.startswith("- 8. ")]
    assert line.endswith("commit `0008000800`, verify passed in 42 s, no change needed, 7 min, $0.42")
    assert "  - `blocked by feature 5`" in document


def test_a_batch_without_a_run_is_told_too():
    document = render(client_state())
    assert "   /batch-implement --resume" in document
    assert "$" not in document.replace("attempt 1$", "")


def test_a_failed_attempt_is_told_on_one_line_with_what_came_after_its_first():
    line = (
        "  - attempt 1 failed (`feature`): `tests/test_tags.py::test_order failed AssertionError: ['b', 'a'] == ['a', "
    )
    assert line in render(run_state())


def test_what_is_not_known_is_left_out():
    data = run_report.build_report(run_state(), NOW)
    data = dataclasses.replace(data, source="", spent={**data.spent, "turns": 0})
    assert "- 21 clients\n" in render_markdown(data)
    assert "Features from" not in render_markdown(data)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a", "`a`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("a\n b", "`a b`"),
        ("``", "``` `` ```"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_text_stands_in_a_code_span(text, shown):
    assert code_span(text) == shown


def test_a_block_is_fenced_by_more_than_it_has():
    assert list(fenced_block("a\n````\nb", "  ")) == ["  `````text", "  a", "  ````", "  b", "  `````"]
    assert list(fenced_block("")) == []


def is_only_text(text: str, state, *, times: bool) -> None:
    """Fails unless a batch full of `text` is told in the very words of one that says `x y` everywhere."""
    document = render(rewritten(state, f"x {text}", times=times))
    assert ours(document) == ours(render(rewritten(state, "x y", times=times)))
    assert not any((char < " " and char != "\n") or char in "\u202e\u2066\u2028\x85" for char in document)


HOSTILE = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=5)), max_size=12).map("".join)
STATES = batches()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=HOSTILE, state=st.sampled_from(STATES), times=st.booleans())
def test_no_text_becomes_more_than_text(text, state, times):
    is_only_text(text, state, times=times)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_nor_does_any_of_the_known_tricks(fragment):
    is_only_text(fragment * 2, STATES[0], times=False)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("code_span", lambda text: text or ""),
        ("code_span", lambda text: f"`{text}`" if text else ""),
        ("fenced_block", lambda text, indent="": ["```text", *text.splitlines(), "```"] if text else []),
    ],
    ids=["bare", "one tick always", "three ticks always"],
)
def test_the_proof_notices_a_text_that_is_not_kept_in(monkeypatch, name, wrong):
    monkeypatch.setattr(run_report_markdown, name, wrong)
    with pytest.raises(AssertionError):
        is_only_text("a `b`\n```\n# c", STATES[0], times=False)
