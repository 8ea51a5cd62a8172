"""JSON by the standard library's C scanner and encoder, without the package around them: `import json` brings `re` and
`enum`, which costs a hook 6 ms, as much as Python itself.

    jsontext.loads(data)                    as json.loads, for UTF-8
    jsontext.dumps(value)                   as json.dumps(value, ensure_ascii=False, allow_nan=False)
    jsontext.dumps_ascii(value, str)        as json.dumps(value, default=str)
    jsontext.scanned(scanner, text)         value of a whole text by `scanner(...)`; None: let the package say why not

Results are those of the package, to the last character. What the scanner does not take, and a Python without it, goes
to the package, for its verdict and its words.
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
    """What the C scanner asks for: how objects, numbers and constants are made."""

    def __init__(self, **hooks: Any) -> None:
        self.strict, self.memo = True, {}  # type: ignore[var-annotated]  # the package's own decoder has it too
        self.object_hook = None
        self.object_pairs_hook = hooks.get("object_pairs_hook")
        self.parse_float = hooks.get("parse_float", float)
        self.parse_int = hooks.get("parse_int", int)
        self.parse_constant = hooks.get("parse_constant", _CONSTANTS.__getitem__)


def make_scan(**hooks: Any) -> Optional[Scan]:
    """A scanner with the hooks of json.JSONDecoder; None where there is none in C."""
    return make_scanner(_ScannerContext(**hooks)) if make_scanner is not None else None


def scan_text(scan: Optional[Scan], text: str) -> Optional[tuple[Any]]:
    """The value that the whole text is, alone in a tuple; None when the text is not JSON, or there is no scanner.

    RecursionError, and what the hooks raise, come through.
    """
    if scan is None:
        return None
    try:
        value, end = scan(text, len(text) - len(text.lstrip(BLANKS)))
    except (StopIteration, SystemError):  # the latter: the package, whose error it would raise, is not loaded
        return None
    except ValueError as error:
        if hasattr(error, "lineno"):  # the package's JSONDecodeError
            return None
        raise
    return None if text[end:].strip(BLANKS) else (value,)


_scan = make_scan()


def loads(data: bytes) -> Any:
    """The value of JSON in UTF-8 (or what else json.loads takes). ValueError for what is none."""
    try:
        found = scan_text(_scan, data.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        found = None
    if found is None:
        import json

        return json.loads(data)
    return found[0]


def _raise_not_serializable(value: object) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def dumps(value: Any) -> str:
    """JSON of a value, on one line. TypeError or ValueError for what is none."""
    if make_encoder is None:
        import json

        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "".join(
        make_encoder({}, _raise_not_serializable, encode_basestring, None, ": ", ", ", False, False, False)(value, 0)
    )


def dumps_ascii(value: Any, default: Callable[[Any], Any] = _raise_not_serializable) -> str:
    """JSON of a value, on one line, in ASCII; `default` makes something else of what is no JSON."""
    if make_encoder is None:
        import json

        return json.dumps(value, default=default)
    return "".join(make_encoder({}, default, encode_basestring_ascii, None, ": ", ", ", False, False, True)(value, 0))
