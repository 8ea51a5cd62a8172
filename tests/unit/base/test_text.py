"""Texts are cleaned, put on one line and shortened in one place; durations get words there."""

from __future__ import annotations

import json

import pytest
from batch_implement.base import text


def test_control_and_bidi_characters_become_spaces_and_the_length_stays():
    assert text.clean("a\x1b[0m\u202eb\x85c\td") == "a [0m b c d"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert text.clean(f"{family} नमस्ते العربية") == f"{family} नमस्ते العربية"


def test_output_for_a_terminal_keeps_its_lines_and_tabs():
    assert text.clean_output("a\tb\n\x1b[2Jc\r\x85\u202ed\n") == "a\tb\n [2Jc   d\n"


def test_controls_in_json_become_escapes_of_the_same_value():
    written = json.dumps("a\x1b\x7f\x9b\u202eé", ensure_ascii=False)
    escaped = text.escape_controls(written)
    assert escaped == '"a\\u001b\\u007f\\u009b\\u202eé"'
    assert json.loads(escaped) == json.loads(written)


def test_a_block_keeps_its_lines():
    assert text.clean_block("a\u2028b") == "a\nb"
    assert text.clean_block("\na \r\n  \u202eb\x00\rc\n\n") == "a\n   b\nc"


def test_a_text_is_put_on_one_line():
    assert text.one_line("a\n b\t\u202ec\x1b[0m\u2028 d ") == "a b c [0m d"
    assert text.one_line("a\ud800") == "a?"


def test_a_line_is_shortened_and_shows_that_it_is():
    assert text.one_line("x" * 20, 20) == "x" * 20
    assert text.one_line("x" * 21, 20) == "x" * 17 + "..."
    assert text.one_line("a  b  " * 100, 10) == "a b a b..."
    assert text.one_line("a" + " " * 5000 + "b", 10) == "a..."


def test_a_text_is_shortened_to_its_limit():
    assert text.shorten("abcdef", 6) == "abcdef"
    assert text.shorten("abcdefg", 6) == "abc..."
    assert text.shorten("ab cdefg", 6) == "ab..."


def test_some_of_many_texts_are_quoted_and_the_others_counted():
    assert text.quote_all(["a\nb", "c"], 2) == "'a b', 'c'"
    assert text.quote_all(["x" * 100] + ["d"] * 1_200, 1) == f"'{'x' * 57}...' and 1,200 more"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "0 s"),
        (0.4, "under 1 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "1 h"),
        (3700, "1 h 2 min"),
        (172800, "2 d"),
        (180000, "2 d 2 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds, words):
    assert text.duration(seconds) == words
