"""JSON by the C scanner and encoder of the standard library, without the `json` package.

    fast_json.loads(data)               as json.loads, for UTF-8
    fast_json.dumps(value)              as json.dumps(value, ensure_ascii=False, allow_nan=False)
    fast_json.dumps_ascii(value, str)   as json.dumps(value, default=str)
    fast_json.scan_text(scan, text)     the value of a whole text by a scanner of `make_scan`

`import json` loads `re` and `enum`, which costs a hook 6 ms, as much as Python itself. The package gets only what the
scanner refuses, for its error message, and everything on a Python without the C code. Results are the same.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    Scan = Callable[[str, int], "tuple[Any, int]"]

make_encoder: Any
make_scanner: Any
try:
    from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner
except ImportError:  # PyPy
    make_scanner = make_encoder = None

BLANKS = " \t\n\r"
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _ScannerContext:
    """The attributes that the C scanner reads: how to make objects, numbers and constants."""

    def __init__(self, **hooks: Any) -> None:
        self.strict, self.memo = True, {}  # type: ignore[var-annotated]  # as in json.JSONDecoder
        self.object_hook = None
        self.object_pairs_hook = hooks.get("object_pairs_hook")
        self.parse_float = hooks.get("parse_float", float)
        self.parse_int = hooks.get("parse_int", int)
        self.parse_constant = hooks.get("parse_constant", _CONSTANTS.__getitem__)


def make_scan(**hooks: Any) -> Optional[Scan]:
    """Return a scanner with the hooks of json.JSONDecoder, or None without the C code."""
    return make_scanner(_ScannerContext(**hooks)) if make_scanner is not None else None


def scan_text(scan: Optional[Scan], text: str) -> Optional[tuple[Any]]:
    """Return the value of the whole text, alone in a tuple; None if it is not JSON or there is no scanner.

    RecursionError and errors of the hooks pass through.
    """
    if scan is None:
        return None
    try:
        value, end = scan(text, len(text) - len(text.lstrip(BLANKS)))
    except (StopIteration, SystemError):  # SystemError: the package, whose error it would raise, is not loaded
        return None
    except ValueError as error:
        if hasattr(error, "lineno"):  # the package's JSONDecodeError
            return None
        raise
    return None if text[end:].strip(BLANKS) else (value,)


_scan = make_scan()


def loads(data: bytes) -> Any:
    """Return the value of JSON in UTF-8, or another encoding that json.loads takes. Raise ValueError otherwise."""
    try:
        value = scan_text(_scan, data.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        value = None
    if value is None:
        import json

        return json.loads(data)
    return value[0]


def _raise_not_serializable(value: object) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def dumps(value: Any) -> str:
    """Return a value as JSON on one line. Raise TypeError or ValueError for a value that JSON lacks."""
    if make_encoder is None:
        import json

        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "".join(
        make_encoder({}, _raise_not_serializable, encode_basestring, None, ": ", ", ", False, False, False)(value, 0)
    )


def dumps_ascii(value: Any, default: Callable[[Any], Any] = _raise_not_serializable) -> str:
    """Return a value as ASCII JSON on one line; `default` converts values that JSON lacks."""
    if make_encoder is None:
        import json

        return json.dumps(value, default=default)
    return "".join(make_encoder({}, default, encode_basestring_ascii, None, ": ", ", ", False, False, True)(value, 0))
