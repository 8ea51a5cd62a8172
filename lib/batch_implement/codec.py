"""A state as the bytes of its file, and back: parse, migrate, check, serialise. Reads no file but the published
schema.
"""

from __future__ import annotations

from . import jsontext, model, strictjson
from .errors import StateUnusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from .model import State
    from .schema import Schema

MAX_BYTES = 64 * 1024 * 1024


def serialise(state: State) -> bytes:
    """A state as its file has it: one top-level field a line, arrays of objects one element a line, UTF-8.

    Half of a surrogate pair, which UTF-8 has no place for, becomes `?`. StateUnusable for what is not JSON.

    A value that is the very object that `parse` made last is not encoded again: its text is taken from what was parsed.
    (A state is never changed in place, see `model`.)
    """
    global _read
    read, texts = _read
    _read = _NOTHING
    dumps = jsontext.dumps
    lines = []
    try:
        for name, value in state.items():
            if name in texts and read[name] is value:
                body = texts[name]
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                elements = [dumps(element) for element in value]
                body = "[\n  " + ",\n  ".join(elements) + "\n ]"
            else:
                body = dumps(value)
            lines.append(f" {dumps(name)}: {body}")
    except (TypeError, ValueError, RecursionError) as error:
        raise StateUnusable(f"The field {name} cannot be written as JSON: {error}. Nothing was changed.") from error
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8", "replace")


def valid_state(data: bytes) -> tuple[State, List[str]]:
    """The state in a file's content, migrated, and what was mended. StateUnusable says what is wrong with it."""
    state, mended = migrated(parse(data))
    wrong = problems(state, None)
    if wrong:
        raise StateUnusable(f"It is not a valid state: {'; '.join(wrong[:5])}.")
    return state, mended


def migrated(data: Any) -> tuple[State, List[str]]:
    """Parsed JSON as a state of this version, and what was mended: `migration.migrate` with the published schema."""
    global _read
    from . import migration

    _read = _NOTHING  # it may be changed in place now
    published = published_schema()
    return migration.migrate(data, lambda name, value: not published.check_field(name, value))


def problems(state: State, before: Optional[State]) -> List[str]:
    """What is wrong with `state`: by the schema (where it differs from `before`), by the invariants, and by what may
    not fall.
    """
    published = published_schema()
    if before is None:
        violations = published.check(state)
    else:
        changed = [name for name, value in state.items() if value is not before.get(name, _ABSENT)]
        violations = published.check_fields(state, changed)
    wrong = [f"{violation.pointer or 'state'}: {violation.message}" for violation in violations]
    if not wrong:
        wrong = model.broken_invariants(state)
        if not wrong and before is not None:
            wrong = model.went_backwards(before, state)
    return wrong


def parse(data: bytes) -> Any:
    """The JSON in `data`. StateUnusable says what is wrong with it."""
    global _read
    try:
        value, texts = strictjson.parse_by_field(data, max_bytes=MAX_BYTES)
        _read = (dict(value), texts) if isinstance(value, dict) else _NOTHING
        return value
    except ValueError as error:
        raise StateUnusable(f"Corrupted batch state file: {error}") from error


_ABSENT = object()
_NOTHING: tuple[State, Dict[str, str]] = ({}, {})
_read = _NOTHING  # what was parsed last: the fields, the texts of their values
_schema: Optional[Schema] = None


def published_schema() -> Schema:
    """The published schema of a state, compiled once a process, a field when it is first checked."""
    global _schema
    if _schema is None:
        from . import schema

        _schema = schema.compile_by_field(schema.load_published("batch_state"))
    return _schema
