"""`batchctl validate` and `batchctl schema`: published schemas, and files held against them. Reads only.

A state: our own compiled schema gives the verdict, with the invariants behind it; `violations` finds every error. A
features file: read as `create` reads it. Each error has its place: the pointer (RFC 6901), the line and the column,
as far as there are any. Which of them a file is says its name where that is enough (.yaml, .yml, .txt, .md, .markdown:
features), for any other its content, a JSON array or an object with `features` and without what makes a state; for what
is neither the name once more (`features*.json`).
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat

from ..base import strict_json
from ..base.project_paths import STATE_NAME
from ..base.text import clean
from ..core.errors import BatchError, UsageError
from ..features import positions
from ..features.documents import JSON_CAUSES
from ..store import serialization
from . import predicates, reporters, schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Tuple

    from ..features.positions import Position, Positions, Steps

PUBLISHED = ("batch_state", "features")
OF_FEATURES = (".yaml", ".yml", ".txt", ".md", ".markdown")
OF_STATE = ("batch_id", "schema_version", "total_features")

# How other modules say a place in a message; here it stands before the message, once.
ON_LINE = re.compile(r", line (\d+)(?: \([^)]*\))?: ")
AT_LINE = re.compile(r",? at line (\d+)(?:, column (\d+))?")
OF_FEATURE = re.compile(r"(?:Feature|The dependencies form a circle:) (\d+)\b")
TWICE = re.compile(r"holds the name (.+) twice in one object")
# The field that an invariant is about: the last one that has a feature already, else the first word.
ABOUT = re.compile(r"(?:feature index \d+ is in .* again in |The state has )?([a-z_]+)")


def show_schema(name: str) -> Tuple[str, Dict[str, Any]]:
    """A published schema, as its file's text and as data."""
    if name not in PUBLISHED:
        raise UsageError(f"There is no schema {name!r}; the published ones are: {', '.join(PUBLISHED)}.", "usage")
    import json

    data = schema.load_published(name)
    return json.dumps(data, indent=2, ensure_ascii=False), data


def validate_files(files: Sequence[str], form: str = "text", cwd: str = "") -> Tuple[str, Dict[str, Any]]:
    """The verdicts in `form` (see `verdicts`); as data `{valid, files: [{file, valid, errors: [{pointer, line, column,
    message}], mended}], exit_code}` (1 when one is not valid). `mended` is what the migration of a valid state of an
    older version mends, a sentence each; None for any other file. Names count from `cwd` and are told as they were
    given.
    """
    results: List[Dict[str, Any]] = []
    for name in files:
        found, mended = _looked_at(os.path.join(cwd, name))
        results.append({"file": name, "errors": found, "valid": not found, "mended": mended})
    valid = all(result["valid"] for result in results)
    data = {"valid": valid, "files": results, "exit_code": 0 if valid else 1}
    return reporters.format_report(data, form), data


def check_file(name: str) -> List[Dict[str, Any]]:
    """What is wrong with one file: `{pointer, line, column, message}` each, line and column from 1, None where there is
    none; empty when it is valid, a state also after migration.
    """
    return _looked_at(name)[0]


def _looked_at(name: str) -> Tuple[List[Dict[str, Any]], Optional[List[str]]]:
    """What is wrong with one file, and what its migration mends, as `validate` has both."""
    return (check_features_file(name), None) if is_features_file(name) else _state_looked_at(name)


def is_features_file(name: str) -> bool:
    """Whether a file is to be held against the schema of features files (see the module)."""
    if os.path.basename(name) == STATE_NAME:
        return False
    base, extension = os.path.splitext(os.path.basename(name).lower())
    if extension in OF_FEATURES:
        return True
    by_name = extension == ".json" and base.startswith("features")
    try:
        value = strict_json.parse(_content(name, 0).removeprefix(codecs.BOM_UTF8))
    except (OSError, ValueError):
        return by_name
    if isinstance(value, dict):
        return not any(field in value for field in OF_STATE) and (by_name or "features" in value)
    return by_name or isinstance(value, list)


def check_features_file(name: str) -> List[Dict[str, Any]]:
    """What is wrong with one features file, as `errors` says it."""
    from ..features import planner, reader

    kind = reader.DOCUMENT_KINDS.get(os.path.splitext(name)[1].lower(), "")
    try:
        found = reader.problems(name)
        if not found:
            listing = reader.read_file(name)  # for what no schema can say
    except BatchError as error:
        return [_misuse(error.message, name, kind)]
    if not found:
        try:
            planner.check_order(listing)
        except UsageError as error:
            number = OF_FEATURE.match(error.message)
            line = listing.features[int(number[1]) - 1].line if number else 0
            return [_on_line(line, error.message, name, kind) if line else _error("", error.message, None)]
        return []
    places = positions.read(_lines(name), kind, name)
    return [_error(problem.pointer, problem.message, places.at(problem.place)) for problem in found]


def _misuse(message: str, name: str, kind: str) -> Dict[str, Any]:
    """The message of a Misuse about a features file as an error, its place found again in the file."""
    said = message[len(clean(name)) :] if message.startswith(clean(name)) else message
    on_line, at_line = ON_LINE.match(said), AT_LINE.search(said)
    if on_line:
        return _on_line(int(on_line[1]), said[on_line.end() :], name, kind)
    if at_line and at_line[2]:
        place = positions.Position(int(at_line[1]), int(at_line[2]))
        return _error("", AT_LINE.sub("", said, count=1).removeprefix(": "), place)
    return _error("", f"the file{said}" if said.startswith(" ") else said.removeprefix(": "), None)


def _on_line(line: int, message: str, name: str, kind: str) -> Dict[str, Any]:
    text = _lines(name)
    steps: Optional[Steps] = None
    place = None
    if kind:
        found = positions.read(text, kind, name)
        features = found.features_on(line)
        places = [each for each in found.repeated if each[1].line == line]
        if " is there twice" in message and places:
            steps, place = places[0]
        elif found.fault and found.fault.line == line:
            place = found.fault
        elif len(features) == 1:
            steps, place = features[0], found.at(features[0])
    if place is None:  # the line alone is known, as in a text: where it begins
        lines = text.split("\n")
        content = lines[line - 1] if line <= len(lines) else ""
        place = positions.Position(line, len(content) - len(content.lstrip()) + 1)
    return _error(_pointer(steps or ()), message, place)


def _state_looked_at(name: str) -> Tuple[List[Dict[str, Any]], Optional[List[str]]]:
    try:
        size = os.lstat(name).st_size
        if size > serialization.MAX_BYTES:
            return [_error("", f"the file has {size} bytes; a state has at most {serialization.MAX_BYTES}", None)], None
        data = _content(name, os.O_NOFOLLOW)
    except OSError as error:
        return [_error("", f"cannot be read: {error.strerror}", None)], None
    except ValueError as error:  # a name with a zero byte
        return [_error("", f"cannot be read: {error}", None)], None
    try:
        parsed = serialization.parse(data)
    except BatchError as error:
        return [_no_json(error.message, data)], None
    try:
        state, mended = serialization.migrate_parsed(parsed)
    except BatchError as error:
        return [_broken(error.message, parsed, positions.read(data.decode(), "json", name))], None
    wrong = serialization.find_problems(state, None)
    if not wrong:
        return [], (None if state is parsed else mended)
    places = positions.read(data.decode(), "json", name)
    found = _violations(state)
    if found:
        return [_error(pointer, message, places.at(steps)) for pointer, steps, message in found], None
    return [_broken(text, state, places) for text in wrong], None


def _no_json(message: str, data: bytes) -> Dict[str, Any]:
    """Why a state is no JSON, as an error; of a name that is there twice, with the place of the second."""
    twice, at_line = TWICE.search(message), AT_LINE.search(message)
    if twice:
        for steps, place in positions.read(data.decode(), "json", "").repeated:
            if repr(steps[-1][:60]) == twice[1]:
                return _error(_pointer(steps), message, place)
    if at_line and at_line[2]:
        place = positions.Position(int(at_line[1]), int(at_line[2]))
        causes = (cause for fragment, cause in JSON_CAUSES if fragment in message)
        return _error("", f"{AT_LINE.sub('', message, count=1)}. {next(causes, '')}".rstrip(), place)
    return _error("", message, None)


def _broken(message: str, state: Any, places: Positions) -> Dict[str, Any]:
    """A broken invariant as an error with the field that it is about."""
    about = ABOUT.match(message)
    field = about[1] if about else ""
    steps: Steps = (field,) if isinstance(state, dict) and field in state else ()
    return _error(_pointer(steps), message, places.at(steps))


def _violations(state: Any) -> List[Tuple[str, Steps, str]]:
    """What the schema says against a state: pointer, steps, message."""
    from . import schema_errors

    found = schema_errors.of_state(state)
    if found:
        return [(_pointer(steps), steps, message) for steps, message in found]
    # what jsonschema overlooks (see schema.py) is not overlooked here
    return [(each.pointer, (), each.message) for each in serialization.published_schema().check(state)]


def _lines(name: str) -> str:
    """What a features file holds, as its readers see it; for places in it, so anything odd is let pass."""
    try:
        text = _content(name, 0).removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _content(name: str, flags: int) -> bytes:
    """What a regular file holds, at most a byte more than a state has. OSError for anything else: a FIFO would be
    waited for, a device may never end.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | flags)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read(serialization.MAX_BYTES + 1)


def _pointer(steps: Steps) -> str:
    return predicates.pointer([*reversed(steps)])


def _error(pointer: str, message: str, place: Optional[Position]) -> Dict[str, Any]:
    line, column = place or (None, None)
    return {"pointer": pointer, "line": line, "column": column, "message": message}
