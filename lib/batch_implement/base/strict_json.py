"""Parse JSON strictly: what Python's parser accepts silently is an error here.

    state = strict_json.parse(data)

A JSONError refuses: more than `max_bytes`; more than `max_values` (small values take fifty times their size in
memory); nesting beyond `max_depth`; bytes that are not UTF-8; a byte order mark; an empty or zero-filled file, which
is damage and never a fresh start; NaN, Infinity and numbers as large; a repeated name in an object; half of a surrogate
pair; an integer of more than 4,300 digits; text after the value. Its message fits after "PATH: ".
"""

from __future__ import annotations

import sys
from itertools import chain

from . import fast_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple

    FieldSpans = Dict[str, Tuple[int, int]]  # the beginning and the end of each field

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
MAX_VALUES = 1_000_000
MAX_DIGITS = 4300  # the time of int() grows with the square

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
    """Return the value: dict, list, str, int, float, bool or None. Raise JSONError, and nothing else."""
    text = _decode_utf8(data, max_bytes)
    check_value_count(text, max_values)
    return _parse_text(text, max_depth)


def check_value_count(text: str, most: int = MAX_VALUES) -> None:
    """Raise JSONError if a text has more than `most` values, by its commas and opening brackets outside strings."""
    if len(text) <= most or sum(map(text.count, ",[{")) <= most:
        return
    plain = text.replace("\\\\", "").replace('\\"', "")  # now each quote begins or ends a string
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
    """Return the value, the text, and the span of each field (from the blank before its name) in it.

    The spans are empty unless the layout is that of `serialization`, one field a line. Only for bytes written there, as
    their hash shows: in this layout, depth and repeated names within a field are not checked again.
    """
    text = _decode_utf8(data, max_bytes)
    fields = _parse_fields(text)
    return (_parse_text(text, MAX_DEPTH), text, {}) if fields is None else (fields[0], text, fields[1])


def _parse_text(text: str, max_depth: int) -> object:
    try:
        scanned = fast_json.scan_text(_SCAN, text)
        value: object = _decode_strictly(text) if scanned is None else scanned[0]
        names = _count_names(max_depth, value)
        if scanned is not None and names > 0 and not _has_exactly_names(names, text):
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
    """Return the object in the text and the spans of its fields, or None for another layout or an error, which
    `_parse_text` then describes.
    """
    if _SCAN is None or not text.startswith('{\n "') or ("\\" in text and "\\u" in text):
        return None
    value: dict[str, object] = {}
    spans: FieldSpans = {}
    at = end = 2
    more = True
    while more:
        colon = text.find('": ', at)
        name = text[at + 2 : colon]
        if name in spans:
            return None
        try:
            value[name], end = _SCAN(text, colon + 3)
        except (StopIteration, ValueError, RecursionError, SystemError):  # as in fast_json.scan_text
            return None
        spans[name] = at, end
        at = end + 2
        more = text[end : end + 4] == ',\n "'
    return (value, spans) if text[end:] == "\n}\n" and all(map(str.isidentifier, spans)) else None


def _has_exactly_names(names: int, text: str) -> bool:
    """Return True if a text certainly has exactly `names` names of objects; then no name is repeated if its value has
    as many. False is not certain.
    """
    # Without a blank before a colon and a quote within a string, `":` only ends names. A string has no tab and no
    # line break. Finding one character is much faster than finding two.
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
    if not data or data.isspace():  # `strip` would copy other data
        raise JSONError("empty")
    if not data.strip(b"\0"):
        raise JSONError("filled with zero bytes, as a power cut leaves a file")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JSONError(f"not UTF-8: byte 0x{data[error.start]:02x} at line {line}") from None


def _count_names(levels: int, value: object) -> int:
    """Return the number of names in all objects of a value, or -1 if it is nested deeper than `levels`."""
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
    """Raise JSONError if a string in the value, or a name, cannot be encoded as UTF-8."""
    try:
        fast_json.dumps(value).encode()
    except UnicodeEncodeError as error:
        raise JSONError(f"holds \\u{ord(error.object[error.start]):04x}, half of a surrogate pair") from None


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        for name, _ in pairs:
            if value.pop(name, pairs) is pairs:  # popped before
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


# Since 3.9.14 int() has this limit by default; using it directly saves a call for each integer.
_int_is_limited = getattr(sys, "get_int_max_str_digits", int)() == MAX_DIGITS
_HOOKS: Dict[str, Any] = {
    "object_pairs_hook": _object_without_duplicates,
    "parse_float": _parse_finite_float,
    "parse_int": int if _int_is_limited else _parse_limited_int,
    "parse_constant": _reject_constant,
}
_SCAN_STRICTLY = fast_json.make_scan(**_HOOKS)
# Without the hook on objects, which costs more than all the rest: names are counted afterwards.
_SCAN = fast_json.make_scan(**{**_HOOKS, "object_pairs_hook": None})


def _decode_strictly(text: str) -> object:
    """Return the value of a text, as json.JSONDecoder with these hooks. Only an error imports the json package."""
    scanned = fast_json.scan_text(_SCAN_STRICTLY, text)
    if scanned is None:
        from json import JSONDecoder

        return JSONDecoder(**_HOOKS).decode(text)
    return scanned[0]
