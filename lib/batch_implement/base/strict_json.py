"""Read JSON as strictly as the state needs it: what Python's parser lets pass quietly is an error here.

    state = strictjson.parse(data)

Refused, each with a JSONError of one sentence: more than `max_bytes`, more than `max_values` (small ones take fifty
times their room in memory), deeper than `max_depth`, bytes that are not UTF-8, a byte order mark, an empty or
zero-filled file (that is damage, never a fresh start), NaN, Infinity and numbers as large, an object with the same name
twice, half of a surrogate pair, an integer of more than 4,300 digits, anything after the value. The sentence begins
in lower case, for use after "PATH: ", and names the line where that is known.
"""

from __future__ import annotations

import sys
from itertools import chain

from . import fast_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple

    FieldSpans = Dict[str, Tuple[int, int]]  # of each field: where it begins, where it ends

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
MAX_VALUES = 1_000_000
MAX_DIGITS = 4300  # the time that int() takes grows with the square

_CONTAINERS = frozenset((dict, list))
_TOO_MANY_DIGITS = f"holds an integer of more than {MAX_DIGITS:,} digits"


class JSONError(ValueError):
    """Raised for bytes that are not acceptable JSON: the reason, its line and column from 1 (0: not in one place).

    `repeated_name` is the name that is there twice in one object, if that is the reason.
    """

    def __init__(self, reason: str, line: int = 0, column: int = 0, *, repeated_name: Optional[str] = None) -> None:
        super().__init__(f"{reason}, at line {line}, column {column}" if line else reason)
        self.reason, self.line, self.column, self.repeated_name = reason, line, column, repeated_name


def parse(
    data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES
) -> object:
    """Return the value that the bytes hold: dict, list, str, int, float, bool or None. Raises JSONError only."""
    text = _decode_utf8(data, max_bytes)
    check_value_count(text, max_values)
    return _parse_text(text, max_depth)


def check_value_count(text: str, most: int = MAX_VALUES) -> None:
    """Raise JSONError when a text of JSON has more than so many values: its commas and opening brackets are counted
    before anything is made of them, those within texts only as long as that is enough.
    """
    if len(text) <= most or sum(map(text.count, ",[{")) <= most:
        return
    plain = text.replace("\\\\", "").replace('\\"', "")  # then each quote begins or ends a text
    values, within = 0, False
    for at in range(0, len(plain), 1 << 20):
        pieces = plain[at : at + (1 << 20)].split('"')
        values += sum(map("".join(pieces[within::2]).count, ",[{"))
        within ^= len(pieces) % 2 == 0
        if values > most:
            break
    if values > most:
        raise JSONError(f"holds more than the {most:,} values that are allowed")


def parse_by_field(data: bytes, *, max_bytes: int = MAX_BYTES) -> tuple[object, str, FieldSpans]:
    """Return what `parse` returns, the bytes as text, and where in that each field begins (with the blank before its
    name) and ends, when the bytes hold an object that is laid out as `codec.serialise` does it, one field a line; for
    any other layout no places.

    For bytes that are known, by their hash, to come from there: in such a layout, names that stand twice within a field
    and its depth are not looked at again.
    """
    text = _decode_utf8(data, max_bytes)
    found = _parse_fields(text)
    return (_parse_text(text, MAX_DEPTH), text, {}) if found is None else (found[0], text, found[1])


def _parse_text(text: str, max_depth: int) -> object:
    try:
        found = fast_json.scan_text(_SCAN, text)
        value: object = _decode_strictly(text) if found is None else found[0]
        names = _count_names(max_depth, value)
        if found is not None and names > 0 and not _has_exactly_names(names, text):
            value = _decode_strictly(text)
    except RecursionError:
        raise JSONError(f"nested deeper than the {max_depth} levels that are allowed") from None
    except JSONError:
        raise
    except ValueError as error:
        raise _to_json_error(error) from None
    if names < 0:
        raise JSONError(f"nested deeper than the {max_depth} levels that are allowed")
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(value)
    return value


def _parse_fields(text: str) -> Optional[tuple[dict[str, object], FieldSpans]]:
    """The object in the text, and the places of its fields; None when it is laid out otherwise, or when anything in it
    is not as it must be: `_whole` says what.
    """
    if _SCAN is None or not text.startswith('{\n "') or ("\\" in text and "\\u" in text):
        return None
    value: dict[str, object] = {}
    places: FieldSpans = {}
    at = end = 2
    more = True
    while more:
        colon = text.find('": ', at)
        name = text[at + 2 : colon]
        if name in places:
            return None
        try:
            value[name], end = _SCAN(text, colon + 3)
        except (StopIteration, ValueError, RecursionError, SystemError):  # as in jsontext.scanned
            return None
        places[name] = at, end
        at = end + 2
        more = text[end : end + 4] == ',\n "'
    return (value, places) if text[end:] == "\n}\n" and all(map(str.isidentifier, places)) else None


def _has_exactly_names(names: int, text: str) -> bool:
    """Whether a text has exactly so many names of objects, for certain: then, if its value has as many, none stands
    there twice. False is not certain.

    Where no blank stands before a colon, and no quote within a text does, `":` ends a name and nothing else. A tab or a
    line break cannot be within a text; a single character is looked for much faster than two.
    """
    if "\t" in text or "\r" in text or " :" in text or ("\n" in text and "\n:" in text):
        return False
    return not ("\\" in text and '\\":' in text) and text.count('":') == names


def _to_json_error(error: ValueError) -> JSONError:
    """Return the error for what the parser raised: the json package's error, else Python's own, from int()."""
    message = getattr(error, "msg", None)
    if message is None:
        return JSONError(_TOO_MANY_DIGITS)
    reason = "something follows the end of the JSON value" if message == "Extra data" else f"not JSON: {message}"
    return JSONError(reason, getattr(error, "lineno", 0), getattr(error, "colno", 0))


def _decode_utf8(data: bytes, max_bytes: int) -> str:
    if len(data) > max_bytes:
        raise JSONError(f"larger than the {max_bytes:,} bytes that are allowed")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise JSONError("UTF-16 with a byte order mark (BOM), expected UTF-8")
    if data.startswith(b"\xef\xbb\xbf"):
        raise JSONError("begins with a byte order mark (BOM), which JSON does not allow")
    if not data or data.isspace():  # `strip` would copy what is none
        raise JSONError("empty")
    if not data.strip(b"\0"):
        raise JSONError("filled with zero bytes, as a power cut leaves a file")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JSONError(f"not UTF-8: byte 0x{data[error.start]:02x} at line {line}") from None


def _count_names(levels: int, value: object) -> int:
    """Return how many names the objects in a value have together; -1 when arrays and objects stand in each other more
    than so many levels deep. Without recursion.
    """
    if type(value) not in _CONTAINERS:
        return 0
    level: list[Any] = [value]
    names = 0
    for _ in range(levels):
        objects = [node for node in level if type(node) is dict]
        names += sum(map(len, objects))
        arrays = level if not objects else [node for node in level if type(node) is list]
        children = list(chain(chain.from_iterable(map(dict.values, objects)), chain.from_iterable(arrays)))
        kinds = set(map(type, children))
        if kinds.isdisjoint(_CONTAINERS):
            return names
        level = children if kinds <= _CONTAINERS else [child for child in children if type(child) in _CONTAINERS]
    return -1


def _check_surrogates(value: object) -> None:
    """Raise JSONError when any text in the value, names too, cannot be written as UTF-8."""
    try:
        fast_json.dumps(value).encode()
    except UnicodeEncodeError as error:
        raise JSONError(f"holds \\u{ord(error.object[error.start]):04x}, half of a surrogate pair") from None


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        for name, _ in pairs:
            if value.pop(name, pairs) is pairs:  # taken out before
                raise JSONError(f"holds the name {name[:60]!r} twice in one object", repeated_name=name)
    return value


def _parse_finite_float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise JSONError(f"holds the number {digits[:60]}, which is too large")
    return value


def _parse_limited_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise JSONError(_TOO_MANY_DIGITS)
    return int(digits)


def _reject_constant(name: str) -> None:
    raise JSONError(f"holds {name}, which is not a JSON number")


# Since 3.9.14 Python stops at 4,300 digits by itself, unless told otherwise; its own int() saves a call an integer.
_stops_by_itself = getattr(sys, "get_int_max_str_digits", int)() == MAX_DIGITS
_HOOKS: Dict[str, Any] = {
    "object_pairs_hook": _object_without_duplicates,
    "parse_float": _parse_finite_float,
    "parse_int": int if _stops_by_itself else _parse_limited_int,
    "parse_constant": _reject_constant,
}
_SCAN_STRICTLY = fast_json.make_scan(**_HOOKS)
# Without the hook on objects, which costs more than all the rest: what it looks for is counted afterwards.
_SCAN = fast_json.make_scan(**{**_HOOKS, "object_pairs_hook": None})


def _decode_strictly(text: str) -> object:
    """What json.JSONDecoder with our hooks makes of a text; the json package is imported only for the words of a
    refusal.
    """
    found = fast_json.scan_text(_SCAN_STRICTLY, text)
    if found is None:
        from json import JSONDecoder

        return JSONDecoder(**_HOOKS).decode(text)
    return found[0]
