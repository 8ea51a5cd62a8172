"""A state as the bytes of its file, and back: parse, migrate, check, serialise. Reads no file but the published
schema.
"""

from __future__ import annotations

from ..base import fast_json, strict_json
from ..core import batch_state
from ..core.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Union

    Text = Union[bytes, memoryview]

    from ..base.strict_json import FieldSpans
    from ..core.batch_state import State
    from ..validation.schema import Schema

MAX_BYTES = strict_json.MAX_BYTES
MAX_FOREIGN_BYTES = 8 * 1024 * 1024  # of a file that others wrote: with the worst content it takes 200 MB to read


class Content:
    """What a version's file holds: its bytes, their SHA-256, their value, and each field as it stands there."""

    __slots__ = ("_places", "_text", "_value", "data", "sha256")

    def __init__(self, data: bytes, sha256: str, value: Any, text: str, places: FieldSpans) -> None:
        self.data, self.sha256, self._value, self._places = data, sha256, value, places
        # of ASCII a place in the text is one in the bytes, and nothing is copied
        self._text: Any = memoryview(data) if text.isascii() else text

    @property
    def value(self) -> Any:
        """The value; an object is a new one each time, with the same fields."""
        return dict(self._value) if isinstance(self._value, dict) else self._value

    def field_text(self, name: str, value: Any) -> Optional[Text]:
        """A field, its name included, as it stands there, if its value still is the very object that was read; None for
        any other.
        """
        if name not in self._places or self._value[name] is not value:
            return None
        start, end = self._places[name]
        line: Any = self._text[start:end]
        return line.encode() if type(line) is str else line


def serialize(state: State, read: Optional[Content] = None) -> bytes:
    """A state as its file has it: one top-level field a line, arrays of objects one element a line, UTF-8.

    Half of a surrogate pair, which UTF-8 has no place for, becomes `?`. StateUnusable for what is not JSON.

    Of a state that was made from what was `read`, a value that is the very object from there is not encoded again: its
    text is taken. (A state is never changed in place, see `model`.)
    """
    parts: List[Text] = []
    try:
        for name, value in state.items():
            line = read.field_text(name, value) if read is not None else None
            parts += (line or _render_field(name, value).encode("utf-8", "replace"), b",\n")
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(
            f"The field {name} cannot be written as JSON: {error}. Nothing was changed.", "write-refused"
        ) from error
    return b"".join((b"{\n", *parts[:-1], b"\n}\n"))


def _render_field(name: str, value: Any) -> str:
    dumps = fast_json.dumps
    if isinstance(value, list) and value and isinstance(value[0], dict):
        body = "[\n  " + ",\n  ".join([dumps(element) for element in value]) + "\n ]"
    else:
        body = dumps(value)
    return f" {dumps(name)}: {body}"


def parse_valid_state(data: bytes) -> tuple[State, List[str]]:
    """The state in a file's content, migrated, and what was mended. StateUnusable says what is wrong with it."""
    state, mended = migrate_parsed(parse(data))
    wrong = find_problems(state, None)
    if wrong:
        raise StateError(f"It is not a valid state: {'; '.join(wrong[:5])}.", "state-damaged")
    return state, mended


def parse_state_file(path: str, data: bytes) -> State:
    """The state in the content of the file at `path`, which is only looked at; StateUnusable as `unusable` has it."""
    try:
        return parse_valid_state(data)[0]
    except StateError as error:
        raise unusable_file_error(path, error) from error


def unusable_file_error(path: str, error: StateError) -> StateError:
    """The error for the file at `path`, which is no state because of `error` and is left as it is."""
    what = f"{path} cannot be used and was left as it is: {error.message.rstrip('.')}."
    if error.topic == "installation":
        return StateError(what, "installation")
    return StateError(f"{what} Mend it, or move it away; `batchctl validate` says more.", "state-damaged")


def migrate_parsed(data: Any) -> tuple[State, List[str]]:
    """Parsed JSON as a state of this version, and what was mended: `migration.migrate` with the published schema."""
    from . import migration

    published = published_schema()
    return migration.migrate(data, lambda name, value: not published.check_field(name, value))


def find_problems(state: State, before: Optional[State]) -> List[str]:
    """What is wrong with `state`: by the schema (where it differs from `before`, which was valid), by the invariants,
    and by what may not fall.
    """
    published = published_schema()
    if before is None:
        violations = published.check(state)
    else:
        changed = [name for name, value in state.items() if value is not before.get(name, _ABSENT)]
        violations = published.check_fields(state, changed)
    wrong = [f"{violation.pointer or 'state'}: {violation.message}" for violation in violations]
    if not wrong:
        wrong = batch_state.invariant_violations(state, before)
        if not wrong and before is not None:
            wrong = batch_state.monotonicity_violations(before, state)
    return wrong


def parse(data: bytes) -> Any:
    """The JSON in `data`, whoever wrote it. StateUnusable says what is wrong with it."""
    try:
        return strict_json.parse(data)
    except ValueError as error:
        raise _corrupted_file_error(error) from error


def parse_content(data: bytes, sha256: str) -> Content:
    """What `data` holds, which `serialise` wrote: the sidecar has its hash, `sha256`. StateUnusable as `parse`."""
    try:
        return Content(data, sha256, *strict_json.parse_by_field(data))
    except ValueError as error:
        raise _corrupted_file_error(error) from error


def _corrupted_file_error(error: ValueError) -> StateError:
    return StateError(f"Corrupted batch state file: {error}", "state-damaged")


_ABSENT = object()
_schema: Optional[Schema] = None


def published_schema() -> Schema:
    """The published schema of a state, compiled once a process, a field when it is first checked."""
    global _schema
    if _schema is None:
        from ..validation import schema

        _schema = schema.Schema(schema.load_published("batch_state"))
    return _schema
