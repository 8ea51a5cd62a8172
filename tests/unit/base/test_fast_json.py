"""JSON without the json package says what the package says."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from batch_implement.base import fast_json
from batches import ROOT

TEXTS = [
    "1",
    ' {"a": [1, 2.5, -3e7, null, true]} \n', '"\\u00e9\\ud83d\\ude00\\ud800"', '{"a": 1, "a": 2}', "[NaN, Infinity]",
    "", " ", "{", "[1,]", "{} {}", "nul", '"a\nb"', "\x00", "\ufeff{}", '{"é": "\\n"}', "[" * 100 + "]" * 100,
]  # fmt: skip
VALUES = [1, -2.5, "é\u2028\ud800\x7f\x00", None, {"a": [1, {"b": ()}], "ü": True}, [], {}, {1: 2}, math.pi, '\\"/']


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_it_reads_what_the_package_reads_and_refuses_the_rest_in_its_words(text, encoding):
    data = text.encode(encoding, "surrogatepass")
    try:
        expected = json.loads(data)
    except ValueError as error:
        with pytest.raises(ValueError) as refused:
            fast_json.loads(data)
        assert str(refused.value) == str(error)
    else:
        assert repr(fast_json.loads(data)) == repr(expected)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_it_writes_what_the_package_writes(value):
    assert fast_json.dumps(value) == json.dumps(value, ensure_ascii=False, allow_nan=False)
    assert fast_json.dumps_ascii(value) == json.dumps(value)
    assert fast_json.dumps_ascii([{1, 2}, value], str) == json.dumps([{1, 2}, value], default=str)


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}, math.nan, [math.inf]], ids=["object", "key", "nan", "inf"])
def test_what_is_no_json_is_refused_as_the_package_does(value):
    with pytest.raises((TypeError, ValueError)) as ours:
        fast_json.dumps(value)
    with pytest.raises(type(ours.value)) as theirs:
        json.dumps(value, ensure_ascii=False, allow_nan=False)
    assert str(ours.value) == str(theirs.value)


def test_a_circle_is_refused():
    circle = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        fast_json.dumps(circle)


def test_without_the_c_functions_the_package_does_it(monkeypatch):
    monkeypatch.setattr(fast_json, "make_encoder", None)
    monkeypatch.setattr(fast_json, "make_scanner", None)
    monkeypatch.setattr(fast_json, "_scan", fast_json.make_scan())
    assert fast_json.loads(b'{"a": [1]}') == {"a": [1]}
    assert (fast_json.dumps("é"), fast_json.dumps_ascii("é")) == ('"é"', '"\\u00e9"')


def test_a_state_is_read_and_written_without_the_package():
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r})\n"
        "from batch_implement.base import strict_json\nfrom batch_implement.store import serialization\n"
        "serialization.serialize(serialization.parse(b'{\"a\": [1.5, {}]}'))\n"
        "print(*sorted({'json', 're', 'enum'} & set(sys.modules)))"
    )
    words = [sys.executable, "-I", "-S", "-B", "-c", program]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "\n"
