"""Validate files against the published schemas, for `batchctl validate` and `batchctl schema`. Reads only.

A state is held against its schema, then against the invariants that no schema can express. A features file is read as
`create` reads it. Which of the two a file is follows from its name where that is enough (.yaml, .yml, .txt, .md and
.markdown are features), otherwise from its content: a JSON array, or an object with `features` and without what makes
a state. For a file that is neither the name decides (`features*.json`).
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
from ..store import serialization
from . import reporters, schema
from .errors import SchemaError, find_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Tuple

    from ..features.data_formats.located_values import Document
    from ..features.feature_list import ListOptions

PUBLISHED = ("batch_state", "features")
FEATURES_EXTENSIONS = (".yaml", ".yml", ".txt", ".md", ".markdown", ".jsonl", ".ndjson", ".org", ".rst", ".adoc")
STATE_FIELDS = ("batch_id", "schema_version", "total_features")

# The field that an invariant is about: the last one that has a feature already, else the first word.
INVARIANT_FIELD = re.compile(r"(?:feature index \d+ is in .* again in |The state has )?([a-z_]+)")


def show_schema(name: str) -> Tuple[str, Dict[str, Any]]:
    """Return a published schema, as JSON text and as data. Raises UsageError for an unknown name."""
    if name not in PUBLISHED:
        raise UsageError(f"Unknown schema {name!r}. Published schemas: {', '.join(PUBLISHED)}.", "usage")
    import json

    data = schema.load_published(name)
    return json.dumps(data, indent=2, ensure_ascii=False), data


def validate_files(
    files: Sequence[str], form: str = "text", cwd: str = "", options: Optional[ListOptions] = None
) -> Tuple[str, Dict[str, Any]]:
    """Return the report in `form` (see `reporters`) and as data: `{valid, files: [{file, valid, errors: [{pointer,
    line, column, message}], mended}], exit_code}`. Relative names start at `cwd`; `options` are for features files.

    `mended` lists what the migration of a valid state of an older version changes; None for any other file.
    """
    results: List[Dict[str, Any]] = []
    for name in files:
        path = os.path.join(cwd, name)
        errors, migration_notes = (
            (check_features_file(path, options), None) if is_features_file(path) else _check_state_file(path)
        )
        entries = [
            {"pointer": error.pointer, "line": error.line, "column": error.column, "message": error.message}
            for error in errors
        ]
        results.append({"file": name, "errors": entries, "valid": not entries, "mended": migration_notes})
    valid = all(result["valid"] for result in results)
    data = {"valid": valid, "files": results, "exit_code": 0 if valid else 1}
    return reporters.format_report(data, form), data


def is_features_file(path: str) -> bool:
    """Return whether a file is to be held against the schema of features files (see the module)."""
    if os.path.basename(path) == STATE_NAME:
        return False
    base, extension = os.path.splitext(os.path.basename(path).lower())
    if extension in FEATURES_EXTENSIONS or os.path.isdir(path):
        return True
    by_name = extension == ".json" and base.startswith("features")
    try:
        value = strict_json.parse(_read_file(path, 0).removeprefix(codecs.BOM_UTF8))
    except OSError:
        return by_name
    except ValueError:
        return by_name or not extension  # such as TODO
    if isinstance(value, dict):
        if any(field in value for field in STATE_FIELDS):
            return False
        from ..features import tool_formats

        return by_name or "features" in value or tool_formats.find_reader(value) is not None
    return by_name or isinstance(value, list)


def check_features_file(path: str, options: Optional[ListOptions] = None) -> List[SchemaError]:
    """Return the errors of one features file; empty if `create` accepts it with these options."""
    from ..features import planner, source_files
    from ..features.data_formats import yaml_and_json
    from ..features.feature_list import FeatureListError, ListOptions
    from ..features.ordering import DependencyError

    name, document, listing = clean(path), None, None
    kind = source_files.DOCUMENT_KINDS.get(os.path.splitext(path)[1].lower())
    try:
        if kind:
            document = yaml_and_json.parse_document(source_files.read_bytes(path, name), name, kind)
            errors = yaml_and_json.find_errors(document)
            if errors:
                listing = yaml_and_json.read_tool_file(document, name, options or ListOptions())
                if listing is None:
                    return errors
                document = None  # its features are not where ours would be
            else:
                listing = yaml_and_json.list_features(document, name)
        else:
            listing = source_files.read_file(path, options or ListOptions())
        planner.check_order(listing)
    except FeatureListError as error:
        if document and error.index is not None:
            return [_feature_error(document, error.index, error.reason)]
        column = error.column or (_first_column(path, error.line) if error.line else 0)
        return [SchemaError(error.path, error.reason, error.line or None, column or None)]
    except DependencyError as error:
        if document:
            return [_feature_error(document, error.index, error.message)]
        line = listing.features[error.index].line if listing else 0
        return [SchemaError((), error.message, line or None, _first_column(path, line) if line else None)]
    return []


def _feature_error(document: Document, index: int, message: str) -> SchemaError:
    from ..features.data_formats import yaml_and_json

    path = yaml_and_json.feature_path(document, index)
    return SchemaError(path, message, *document.position(path))


def _first_column(path: str, line: int) -> int:
    """Return the column of the first character of a line that is not blank."""
    lines = _read_file(path, 0).removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    content = lines.replace("\r\n", "\n").replace("\r", "\n").split("\n")[line - 1]
    return len(content) - len(content.lstrip()) + 1


def _check_state_file(path: str) -> Tuple[List[SchemaError], Optional[List[str]]]:
    """Return the errors of one state, and what its migration changes (None if it is not migrated)."""
    try:
        size = os.lstat(path).st_size
        if size > serialization.MAX_BYTES:
            message = f"the file has {size} bytes; a state has at most {serialization.MAX_BYTES}"
            return [SchemaError((), message)], None
        data = _read_file(path, os.O_NOFOLLOW)
    except OSError as error:
        return [SchemaError((), f"cannot be read: {error.strerror}")], None
    except ValueError as error:  # a name with a zero byte
        return [SchemaError((), f"cannot be read: {error}")], None
    try:
        parsed = serialization.parse(data)
    except BatchError as error:
        return [_json_error(error, data)], None
    try:
        state, notes = serialization.migrate_parsed(parsed)
    except BatchError as error:
        return [_invariant_error(error.message, parsed, _locate(parsed, data))], None
    violations = serialization.find_problems(state, None)
    if not violations:
        return [], (None if state is parsed else notes)
    document = _locate(state, data)
    errors = find_errors(state, "batch_state", document.position)
    return errors or [_invariant_error(message, state, document) for message in violations], None


def _locate(state: Any, data: bytes) -> Document:
    """Return a state with the positions of its values in the file."""
    from ..features.data_formats import located_values

    return located_values.Document(state, located_values.locate_json_values(data.decode())[0])


def _json_error(error: BatchError, data: bytes) -> SchemaError:
    """Return the error of a state that is not JSON; of a name that is there twice, with the place of the second."""
    from ..features.data_formats import located_values

    cause = error.__cause__
    if not isinstance(cause, strict_json.JSONError):
        return SchemaError((), error.message)
    if cause.repeated_name is not None:
        repeated = located_values.locate_json_values(data.decode())[1]
        if repeated:
            return SchemaError(repeated[0], error.message, *repeated[1])
    message = located_values.explain_json_error(cause) if cause.line else error.message
    return SchemaError((), message, cause.line or None, cause.column or None)


def _invariant_error(message: str, state: Any, document: Document) -> SchemaError:
    """Return a broken invariant as an error at the field that it is about."""
    match = INVARIANT_FIELD.match(message)
    path = (match[1],) if match and isinstance(state, dict) and match[1] in state else ()
    return SchemaError(path, message, *document.position(path))


def _read_file(path: str, flags: int) -> bytes:
    """Return what a regular file holds, at most one byte more than a state has.

    Raises OSError for anything else: reading a FIFO would wait, a device may never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | flags)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(serialization.MAX_BYTES + 1)
