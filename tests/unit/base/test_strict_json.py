"""What strict JSON lets pass, and what it refuses and how it says so."""

from __future__ import annotations

import json

import pytest
from batch_implement.base import strict_json
from batch_implement.base.strict_json import parse


def refusal(data, **bounds):
    with pytest.raises(ValueError) as caught:
        parse(data, **bounds)
    assert not isinstance(caught.value, (json.JSONDecodeError, UnicodeError))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 200
    return message


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", "1", "-0.5e-3", '"a"', "null", "1e308", "1e-999"),
        " [1, 2.5, true, false, null] \r\n\t",
        '{"a": {"a": ["é", "\\u00e9"]}}',
        '"\\ud83d\\ude00 \\uD83D\\uDE00 \\\\ud800 😀 \\u2028"',
        '{"\\ud83d\\ude00": "\\ud7ff\\ue000"}',
    ],
)
def test_ordinary_json_is_read_as_the_json_module_reads_it(text):
    assert parse(text.encode()) == json.loads(text)


def test_a_file_that_is_too_large_is_refused_before_it_is_decoded():
    assert parse(b"[1, 2]", max_bytes=6) == [1, 2]
    assert refusal(b"[1, 2] ", max_bytes=6) == "larger than the 6 bytes that are allowed"
    assert "larger" in refusal(b"\xff" * 7, max_bytes=6)


@pytest.mark.parametrize("data", [b"", b" ", b"\n\r\t \n"])
def test_an_empty_file_is_called_empty(data):
    assert refusal(data) == "empty"


@pytest.mark.parametrize("size", [1, 2, 4096])
def test_a_file_of_zero_bytes_is_called_that(size):
    assert refusal(b"\0" * size) == "filled with zero bytes, as a power cut leaves a file"


def test_a_tail_of_zero_bytes_is_refused():
    assert refusal(b"{}\n" + b"\0" * 100) == "something follows the end of the JSON value, at line 2, column 1"


def test_bytes_that_are_not_utf8_are_named_with_their_line():
    assert refusal(b'{"a":\n"\xe4"}') == "not UTF-8: byte 0xe4 at line 2"
    assert refusal(b'"\xed\xa0\x80"') == "not UTF-8: byte 0xed at line 1"  # a surrogate, as CESU-8 would write it


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_named(codec):
    assert "BOM" in refusal("{}".encode(codec))
    assert "BOM" in refusal("\ufeff{}".encode("utf-16-be"))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_number_is_refused(number):
    assert refusal(b'{"a": [%s]}' % number.encode()) == f"holds {number}, which is not a JSON number"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 400 + ".0"])
def test_a_number_that_would_become_infinite_is_refused(number):
    assert refusal(number.encode()) == f"holds the number {number[:60]}, which is too large"


def test_a_name_that_is_there_twice_is_refused_and_named():
    assert refusal(b'[{"a": 1, "b": {"x": 1, "y": 2, "x": 1}}]') == "holds the name 'x' twice in one object"
    assert refusal(b'{"a": 1, "\\u0061": 2}') == "holds the name 'a' twice in one object"
    assert parse(b'[{"a": 1}, {"a": {"a": 1}}]') == [{"a": 1}, {"a": {"a": 1}}]
    many = b"{" + b",".join(b'"%d":0' % index for index in [*range(100_000), 99_999]) + b"}"
    # a quadratic search for the name would take most of a minute here
    assert refusal(many) == "holds the name '99999' twice in one object"


@pytest.mark.parametrize(
    "text",
    [
        '"\\ud800"',
        '["a", "\\udfff"]',
        '{"a": {"\\uDBFF": 1}}',
        '"\\ude00\\ud83d"',
        '"\\\\\\ud800"',
        '"\\ud83d\\ud83d\\ude00"',
    ],
)
def test_half_of_a_surrogate_pair_is_refused_in_texts_and_names(text):
    assert refusal(text.encode()).endswith(", half of a surrogate pair")
    assert "\\ud800" in refusal(b'"\\uD800"')


@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_is_bounded_and_is_never_a_recursion_error(pair):
    for levels in (1_000, 100_000):
        for text in (pair[0] * levels + "1" + pair[1] * levels, pair[0] * levels):
            message = refusal(text.encode())
            assert message == "nested deeper than the 64 levels that are allowed" or message.startswith("not JSON: ")
    whole = (pair[0] * 100_000 + "1" + pair[1] * 100_000).encode()
    assert refusal(whole) == "nested deeper than the 64 levels that are allowed"


def test_the_deepest_value_that_is_allowed_is_allowed():
    assert parse(b"[" * 64 + b"]" * 64) is not None
    assert parse(b"1", max_depth=0) == 1
    assert "deeper than the 64 levels" in refusal(b"[" * 65 + b"]" * 65)
    assert "deeper than the 2 levels" in refusal(b'{"a": [[]]}', max_depth=2)
    assert parse(b'{"a": ["[[[{{{"], "b": [1, {}]}', max_depth=3) == {"a": ["[[[{{{"], "b": [1, {}]}


@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_of_too_many_digits_is_refused(sign, monkeypatch):
    longest = sign + "1" * 4300
    assert parse(longest.encode()) == int(longest)
    assert refusal(f"[{longest}1]".encode()) == "holds an integer of more than 4,300 digits"
    # As on a Python that knows no such limit:
    decoder = json.JSONDecoder(parse_int=strict_json._parse_limited_int)
    monkeypatch.setattr(strict_json, "_decode_strictly", decoder.decode)
    assert parse(longest.encode()) == int(longest)
    assert refusal(f"[{longest}1]".encode()) == "holds an integer of more than 4,300 digits"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{}\n{}", "something follows the end of the JSON value, at line 2, column 1"),
        (b'{"a": 1,\n}', "not JSON: "),
        (b'{"a": 1', "not JSON: "),
        (b'"a\nb"', "not JSON: "),
        (b"{'a': 1}", "not JSON: "),
        (b"\x00{}", "not JSON: "),
        (b"[01]", "not JSON: "),
        (b"nul", "not JSON: "),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(data, message):
    assert refusal(data).startswith(message)
    assert ", at line " in refusal(data)
