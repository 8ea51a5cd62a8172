"""Read JSON as strictly as the state needs it: what Python's parser lets pass quietly is an error here.

    state = strictjson.parse(data)

Refused, each with a ValueError of one sentence: more than `max_bytes`, deeper than `max_depth`, bytes that are not
UTF-8, a byte order mark, an empty or zero-filled file (that is damage, never a fresh start), NaN, Infinity and numbers
as large, an object with the same name twice, half of a surrogate pair, an integer of more than 4,300 digits, anything
after the value. The sentence begins in lower case, for use after "PATH: ", and names the line where that is known.
"""

from __future__ import annotations

import sys

from . import jsontext

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
MAX_DIGITS = 4300  # the time that int() takes grows with the square

_TOO_MANY_DIGITS = f"holds an integer of more than {MAX_DIGITS:,} digits"


class _Refusal(ValueError):
    """What the functions that the parser calls back raise: its message is for the caller as it is."""


def parse(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> object:
    """Return the value that the bytes hold: dict, list, str, int, float, bool or None. Raises ValueError only."""
    if len(data) > max_bytes:
        raise ValueError(f"larger than the {max_bytes:,} bytes that are allowed")
    text = _decoded(data)
    try:
        value: object = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(f"nested deeper than the {max_depth} levels that are allowed") from None
    except _Refusal:
        raise
    except ValueError as error:
        raise ValueError(_in_words(error)) from None
    if _deeper_than(max_depth, value):
        raise ValueError(f"nested deeper than the {max_depth} levels that are allowed")
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(value)
    return value


def _in_words(error: ValueError) -> str:
    """What the parser says, as a sentence of ours: the json package's error, else Python's own, from int()."""
    message = getattr(error, "msg", None)
    if message is None:
        return _TOO_MANY_DIGITS
    what = "something follows the end of the JSON value" if message == "Extra data" else f"not JSON: {message}"
    return f"{what}, at line {getattr(error, 'lineno', 0)}, column {getattr(error, 'colno', 0)}"


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("UTF-16 with a byte order mark (BOM), expected UTF-8")
    if data.startswith(b"\xef\xbb\xbf"):
        raise ValueError("begins with a byte order mark (BOM), which JSON does not allow")
    if not data.strip():
        raise ValueError("empty")
    if not data.strip(b"\0"):
        raise ValueError("filled with zero bytes, as a power cut leaves a file")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"not UTF-8: byte 0x{data[error.start]:02x} at line {line}") from None


def _deeper_than(levels: int, value: object) -> bool:
    """Tell whether arrays and objects stand in each other more than so many levels deep, without recursion."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return bool(level)


def _refuse_lone_surrogates(value: object) -> None:
    """Raise ValueError when any text in the value, names too, cannot be written as UTF-8."""
    try:
        jsontext.dumps(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"holds \\u{ord(error.object[error.start]):04x}, half of a surrogate pair") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        for name, _ in pairs:
            if value.pop(name, pairs) is pairs:  # taken out before
                raise _Refusal(f"holds the name {name[:60]!r} twice in one object")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _Refusal(f"holds the number {digits[:60]}, which is too large")
    return value


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise _Refusal(_TOO_MANY_DIGITS)
    return int(digits)


def _no_constant(name: str) -> None:
    raise _Refusal(f"holds {name}, which is not a JSON number")


# Since 3.9.14 Python stops at 4,300 digits by itself, unless told otherwise; its own int() saves a call an integer.
_stops_by_itself = getattr(sys, "get_int_max_str_digits", int)() == MAX_DIGITS
_HOOKS = {
    "object_pairs_hook": _object,
    "parse_float": _finite,
    "parse_int": int if _stops_by_itself else _integer,
    "parse_constant": _no_constant,
}


class _Decoder:
    """json.JSONDecoder with our hooks; the json package is imported only for the words of a refusal."""

    def __init__(self) -> None:
        self._scan = jsontext.scanner(**_HOOKS)

    def decode(self, text: str) -> object:
        found = jsontext.scanned(self._scan, text)
        if found is None:
            from json import JSONDecoder

            return JSONDecoder(**_HOOKS).decode(text)  # type: ignore[arg-type]
        return found[0]


_DECODER = _Decoder()
