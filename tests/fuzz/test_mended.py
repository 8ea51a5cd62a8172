"""What fuzzing found, mended since: one test a defect, named for what went wrong."""

from __future__ import annotations

import io
import json
import time

import pytest
from batch_implement import arguments, document, features, strictjson
from batch_implement.errors import Misuse

MB = 1 << 20


def quick(call, *given):
    """What a call gives, or the text of its Misuse; it takes no longer than a case may."""
    began = time.process_time()
    try:
        found = call(*given)
    except (Misuse, ValueError) as error:
        found = str(error)
    assert time.process_time() - began < 2
    return found


# -- lists of features -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["txt", "md"])
def test_millions_of_lines_took_a_gigabyte_before_they_were_refused(kind):
    assert "has 3,145,729 lines" in quick(features.parse_text, b"- a\n" * (3 * MB), "f", kind)


def test_blanks_behind_a_bracket_on_standard_input_took_time_with_their_square():
    assert "characters" in quick(features.read_stdin, io.BytesIO(b"[" + b" " * 200_000 + b"x"))


@pytest.mark.parametrize(
    "text", ["[" + "[]," * 300_000 + "1]", "[{" + ",".join(f'"{n}":1' for n in range(300_000)) + "}]"]
)
def test_small_values_without_number_took_fifty_times_their_room(text):
    assert "holds more than the 200,000 values" in quick(features.parse_text, text.encode(), "f", "json")


def test_commas_within_texts_are_no_values():
    assert strictjson.parse(json.dumps([",[{" * 10, '"\\', "\\"] * 3).encode(), max_values=20)
    with pytest.raises(ValueError, match="more than the 3 values"):
        strictjson.parse(json.dumps([",[{", 1, 2, 3]).encode(), max_values=3)


def test_a_likely_name_was_looked_for_for_each_of_a_hundred_thousand_names():
    names = {str(number): 1 for number in range(90_000)}
    assert "is not known here" in quick(features.parse_text, json.dumps([names]).encode(), "f", "json")


def test_a_likely_name_was_looked_for_for_a_name_of_a_million_letters():
    assert "is not known here" in quick(features.parse_text, json.dumps([{"ab" * MB: 1}]).encode(), "f", "json")


def test_keys_in_yaml_were_taken_without_end(monkeypatch):
    monkeypatch.setattr(document, "MAX_EVENTS", 1000)
    text = "\n".join(f"{number}: 1" for number in range(600))
    assert "line 500: more than a list of features has" in quick(features.parse_text, text.encode(), "f", "yaml")


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_a_likely_verb_was_looked_for_for_a_word_of_a_million_letters():
    assert "There is no verb" in quick(arguments.read_verb, ["st" * MB])
