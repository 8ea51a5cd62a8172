"""The tests that a schema is compiled into: closures that are fast for valid values.

A Test is `value -> None | Failure`. None means valid, and nothing was built on the way. A Failure is the path to what
is wrong, innermost step first, and a message; each container appends its step as it returns the failure.

`schema` combines these. `otherwise` is the test for values of another type than the one that a test is about, so that
one closure does for `type` and for the keywords of that type.
"""

from __future__ import annotations

TYPE_CHECKING = False  # mypy takes this name for true; importing typing costs more than compiling a schema
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

    Failure = tuple[list[object], str]
    Test = Callable[[Any], Optional[Failure]]

MAX_SHOWN_CHARS = 60
MAX_SHOWN_BITS = 256

# Type -> its name in a message, the Python types that are always of it, and the Python types that may be.
TYPES: dict[str, tuple[str, tuple[type, ...], tuple[type, ...]]] = {
    "object": ("an object", (dict,), (dict,)),
    "array": ("an array", (list,), (list,)),
    "string": ("a string", (str,), (str,)),
    "integer": ("an integer", (int,), (int, float)),
    "number": ("a number", (int, float), (int, float)),
    "boolean": ("true or false", (bool,), ()),
    "null": ("null", (type(None),), ()),
}


def anything(value: object) -> None:
    """Pass every value."""
    return None


def type_test(names: list[str]) -> Test:
    """Return the test of `type`: one of the named types fits; 1.0 is an integer, true is not a number."""
    certain = frozenset(kind for name in names for kind in TYPES[name][1])
    possible = tuple(kind for name in names for kind in TYPES[name][2])
    expected = " or ".join(TYPES[name][0] for name in names)

    def test(value: Any) -> Failure | None:
        if type(value) in certain:
            return None
        fits = isinstance(value, possible) and not isinstance(value, bool)
        if fits and (not isinstance(value, float) or value.is_integer()):  # other floats are in `certain` if they fit
            return None
        return [], f"found {format_value(value)}, expected {expected}"

    return test


def string_test(schema: dict[str, Any], otherwise: Test) -> Test:
    """Return the test of `minLength`, `maxLength` (in code points) and `pattern`."""
    has_length = bounds_test(schema, "minLength", "maxLength", "characters")
    pattern = Pattern(schema["pattern"]) if "pattern" in schema else None

    def test(value: Any) -> Failure | None:
        if not isinstance(value, str):
            return otherwise(value)
        if pattern is not None and not pattern.search(value):
            return [], f"found {format_value(value)}, expected text that matches {pattern.source}"
        return has_length(value)

    return test


def number_test(schema: dict[str, Any], otherwise: Test) -> Test:
    """Return the test of `minimum` and `maximum`."""
    has_bounds = bounds_test(schema, "minimum", "maximum")

    def test(value: Any) -> Failure | None:
        if type(value) is not int:
            failure = otherwise(value)
            if failure is not None or isinstance(value, bool) or not isinstance(value, (int, float)):
                return failure
        return has_bounds(value)

    return test


def bounds_test(schema: dict[str, Any], low_keyword: str, high_keyword: str, unit: str = "") -> Test:
    """Return a test of a number, or of the length of a value that is counted in `unit`."""
    low, high = schema.get(low_keyword), schema.get(high_keyword)

    def test(value: Any) -> Failure | None:
        size = len(value) if unit else value
        if low is not None and size < low:
            expected = f"at least {low}"
        elif high is not None and size > high:
            expected = f"at most {high}"
        else:
            return None
        count = f", {size} {unit}" if unit else ""
        return [], f"found {format_value(value)}{count}, expected {expected}"

    return test


def object_test(
    required: list[str],
    tests: dict[str, Test],
    additional: Test | None,
    test_name: Test | None,
    otherwise: Test,
) -> Test:
    """Return a test of objects. `additional` is for properties without a test of their own; None forbids them."""

    def test(value: Any) -> Failure | None:
        if not isinstance(value, dict):
            return otherwise(value)
        for name in required:
            if name not in value:
                return missing_property(name)
        if test_name is not None:
            for name in value:
                failure = test_name(name)
                if failure is not None:
                    return [], f"the name {format_value(name)} is not allowed: {failure[1]}"
        for name, item in value.items():
            failure = property_failure(tests, additional, name, item)
            if failure is not None:
                return failure
        return None

    return test


def property_failure(tests: dict[str, Test], additional: Test | None, name: str, value: object) -> Failure | None:
    """Return the failure of one property of an object, with its name already in the path."""
    test = tests.get(name, additional)
    if test is None:
        return [], f"found the unknown property {format_value(name)}, expected only published ones"
    failure = test(value)
    if failure is not None:
        failure[0].append(name)
    return failure


def missing_property(name: str) -> Failure:
    """Return the failure of an object without a required property."""
    return [], f"found no {format_value(name)}, which is required"


def array_test(test_item: Test, has_length: Test, unique: bool, otherwise: Test) -> Test:
    """Return a test of arrays: their length, each item, and, if `unique`, that no two items are equal."""

    def test(value: Any) -> Failure | None:
        if not isinstance(value, list):
            return otherwise(value)
        failure = has_length(value)
        if failure is not None:
            return failure
        for index, item in enumerate(value):
            failure = test_item(item)
            if failure is not None:
                failure[0].append(index)
                return failure
        return _find_duplicate(value) if unique else None

    return test


def _find_duplicate(items: list[Any]) -> Failure | None:
    """Return the failure of `uniqueItems` when two items are equal."""
    plain = {*map(type, items)} <= {str, int}
    if len(set(items if plain else map(_to_hashable, items))) == len(items):
        return None
    seen = set()
    for item in items:
        frozen = _to_hashable(item)
        if frozen in seen:
            return [], f"found {format_value(item)} twice, expected each item once"
        seen.add(frozen)
    return None


def _to_hashable(value: Any) -> Any:
    """Return a hashable stand-in: two are equal exactly when JSON Schema calls their values equal (true is not 1)."""
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, list):
        return (list, *map(_to_hashable, value))
    if isinstance(value, dict):
        return dict, frozenset((name, _to_hashable(item)) for name, item in value.items())
    return value


class Pattern:
    """A regular expression that is compiled, and `re` imported, when its `search` is first used."""

    search: Callable[[str], object]

    def __init__(self, source: str) -> None:
        self.source = source

    def __getattr__(self, name: str) -> Any:
        if name != "search":
            raise AttributeError(name)
        import re  # costs 6 ms that a process without patterns need not spend

        self.search = re.compile(self.source).search
        return self.search


def enum_test(members: list[Any]) -> Test:
    """Return the test of `enum`: the value equals a member."""
    allowed = frozenset(map(_to_hashable, members))
    expected = " or ".join(map(format_value, members))

    def test(value: Any) -> Failure | None:
        return None if _to_hashable(value) in allowed else ([], f"found {format_value(value)}, expected {expected}")

    return test


def all_of(tests: list[Test]) -> Test:
    """Return a test that returns the first failure of several."""
    if not tests:
        return anything
    if len(tests) == 1:
        return tests[0]

    def test(value: Any) -> Failure | None:
        for each in tests:
            failure = each(value)
            if failure is not None:
                return failure
        return None

    return test


def format_value(value: Any) -> str:
    """Return a value as a message shows it: at most 60 characters, none of them control ones; cheap for huge values."""
    if isinstance(value, list):
        return f"an array of {len(value)} items"
    if isinstance(value, dict):
        return f"an object with {len(value)} properties"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > MAX_SHOWN_BITS:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value[:MAX_SHOWN_CHARS] if isinstance(value, str) else value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"
