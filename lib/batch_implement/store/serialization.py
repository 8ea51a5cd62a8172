"""Convert a state to the bytes of its file and back: parse, migrate, validate, serialize. Reads no file except the
published schema.
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
    """The content of a state file: its bytes, their SHA-256, the value, and the text of each field."""

    __slots__ = ("_places", "_text", "_value", "data", "sha256")

    def __init__(self, data: bytes, sha256: str, value: Any, text: str, places: FieldSpans) -> None:
        self.data, self.sha256, self._value, self._places = data, sha256, value, places
        # in ASCII, positions in the text are positions in the bytes: nothing is copied
        self._text: Any = memoryview(data) if text.isascii() else text

    @property
    def value(self) -> Any:
        """Return the value; an object as a new dict with the same fields."""
        return dict(self._value) if isinstance(self._value, dict) else self._value

    def field_text(self, name: str, value: Any) -> Optional[Text]:
        """Return the text of a field, with its name, or None unless `value` is the very object that was read."""
        if name not in self._places or self._value[name] is not value:
            return None
        start, end = self._places[name]
        line: Any = self._text[start:end]
        return line.encode() if type(line) is str else line


def serialize(state: State, read: Optional[Content] = None) -> bytes:
    """Return a state as its file has it: one top-level field a line, arrays of objects one element a line, UTF-8.

    Half of a surrogate pair becomes `?`. A value that is the very object from `read` is not encoded again: its text is
    copied (states are never changed in place). Raises StateError for values that JSON cannot hold.
    """
    parts: List[Text] = []
    try:
        for name, value in state.items():
            text = read.field_text(name, value) if read is not None else None
            parts += (text or _render_field(name, value).encode("utf-8", "replace"), b",\n")
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
    """Return the migrated state in `data` and the repairs of the migration. Raises StateError when it is not valid."""
    state, repairs = migrate_parsed(parse(data))
    problems = find_problems(state, None)
    if problems:
        raise StateError(f"It is not a valid state: {'; '.join(problems[:5])}.", "state-damaged")
    return state, repairs


def parse_edited_state(data: bytes, before: Optional[State], is_repeated: bool) -> tuple[State, List[str]]:
    """Return the state in `data`, which a person edited, as the successor of `before`, and the repairs.

    `is_repeated`: its adoption as the revision of `before` was begun. Raises StateError when the edit is not valid.
    """
    if len(data) > MAX_FOREIGN_BYTES:
        raise StateError(f"It is larger than the {MAX_FOREIGN_BYTES >> 20} MB that an edit may have.", "state-damaged")
    state, repairs = parse_valid_state(data)
    if before is not None and before["batch_id"] == state["batch_id"]:
        state = {**state, "revision": max(state["revision"], before["revision"] - is_repeated)}
        decreased = batch_state.monotonicity_violations(before, state)
        if decreased:
            raise StateError(f"What may only grow was made smaller: {'; '.join(decreased)}.", "write-refused")
    return state, repairs


def parse_state_file(path: str, data: bytes) -> State:
    """Return the state in the content of the file at `path`. Raises the error of `unusable_file_error`."""
    try:
        return parse_valid_state(data)[0]
    except StateError as error:
        raise unusable_file_error(path, error) from error


def unusable_file_error(path: str, error: StateError) -> StateError:
    """Return the error for the file at `path` that has no valid state because of `error` and stays as it is."""
    message = f"{path} cannot be used and was left as it is: {error.message.rstrip('.')}."
    if error.topic == "installation":
        return StateError(message, "installation")
    return StateError(f"{message} Mend it, or move it away; `batchctl validate` says more.", "state-damaged")


def migrate_parsed(data: Any) -> tuple[State, List[str]]:
    """Return parsed JSON as a state of this version, and the repairs: `migration.migrate` with the published schema."""
    from . import migration

    schema = published_schema()
    return migration.migrate(data, lambda name, value: not schema.check_field(name, value))


def find_problems(state: State, before: Optional[State]) -> List[str]:
    """Return a message for each violation of the schema, else of the invariants, else of monotonicity.

    The schema is checked where `state` differs from `before`, which is valid.
    """
    schema = published_schema()
    if before is None:
        violations = schema.check(state)
    else:
        changed = [name for name, value in state.items() if value is not before.get(name, _ABSENT)]
        violations = schema.check_fields(state, changed)
    problems = [f"{violation.pointer or 'state'}: {violation.message}" for violation in violations]
    problems = problems or batch_state.invariant_violations(state, before)
    if not problems and before is not None:
        problems = batch_state.monotonicity_violations(before, state)
    return problems


def parse(data: bytes) -> Any:
    """Return the JSON in `data`, whoever wrote it. Raises StateError when it is not JSON."""
    try:
        return strict_json.parse(data)
    except ValueError as error:
        raise _corrupted_file_error(error) from error


def parse_content(data: bytes, sha256: str) -> Content:
    """Return the content of `data`, which `serialize` wrote, as its hash in the sidecar shows. Errors as `parse`."""
    try:
        return Content(data, sha256, *strict_json.parse_by_field(data))
    except ValueError as error:
        raise _corrupted_file_error(error) from error


def _corrupted_file_error(error: ValueError) -> StateError:
    return StateError(f"Corrupted batch state file: {error}", "state-damaged")


_ABSENT = object()
_schema: Optional[Schema] = None


def published_schema() -> Schema:
    """Return the published schema of a state; a field is compiled when it is first checked."""
    global _schema
    if _schema is None:
        from ..validation import schema

        _schema = schema.Schema(schema.load_published("batch_state"))
    return _schema
