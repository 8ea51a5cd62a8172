"""`batchctl validate` and `batchctl schema`: published schemas, and files held against them. Reads only.

A state: our own compiled schema gives the verdict, with the invariants behind it; where jsonschema is installed it
reports every error. A features file: read as `create` reads it, every error with its line. Which of them a file is says
its name where that is enough (.yaml, .yml, .txt, .md, .markdown: features), for any other its content, a JSON array or
an object with `features` and without what makes a state; for what is neither the name once more (`features*.json`).
"""

from __future__ import annotations

import codecs
import errno
import os
import stat

from . import codec, schema, strictjson
from .errors import BatchError, Misuse
from .paths import STATE_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence, Tuple

PUBLISHED = ("batch_state", "features")
OF_FEATURES = (".yaml", ".yml", ".txt", ".md", ".markdown")
OF_STATE = ("batch_id", "schema_version", "total_features")


def published(name: str) -> Tuple[str, Dict[str, Any]]:
    """A published schema, as its file's text and as data."""
    if name not in PUBLISHED:
        raise Misuse(f"There is no schema {name!r}; the published ones are: {', '.join(PUBLISHED)}.")
    import json

    data = schema.load_published(name)
    return json.dumps(data, indent=2, ensure_ascii=False), data


def validate(files: Sequence[str]) -> Tuple[str, Dict[str, Any]]:
    """A line a file or error; as data `{valid, files: [{file, valid, errors: [{pointer, message}]}], exit_code}` (1
    when one is not).
    """
    results: List[Dict[str, Any]] = [{"file": name, "errors": errors(name)} for name in files]
    lines: List[str] = []
    for result in results:
        result["valid"] = not result["errors"]
        if result["valid"]:
            lines.append(f"{result['file']}: valid")
        lines += [
            f"{result['file']}: {error['pointer'] or '(whole file)'}: {error['message']}" for error in result["errors"]
        ]
    valid = all(result["valid"] for result in results)
    return "\n".join(lines), {"valid": valid, "files": results, "exit_code": 0 if valid else 1}


def errors(name: str) -> List[Dict[str, str]]:
    """What is wrong with one file: `{pointer, message}` each; empty when it is valid, a state also after migration."""
    return errors_of_features(name) if lists_features(name) else errors_of_state(name)


def lists_features(name: str) -> bool:
    """Whether a file is to be held against the schema of features files (see the module)."""
    if os.path.basename(name) == STATE_NAME:
        return False
    base, extension = os.path.splitext(os.path.basename(name).lower())
    if extension in OF_FEATURES:
        return True
    by_name = extension == ".json" and base.startswith("features")
    try:
        value = strictjson.parse(_content(name, 0).removeprefix(codecs.BOM_UTF8))
    except (OSError, ValueError):
        return by_name
    if isinstance(value, dict):
        return not any(field in value for field in OF_STATE) and (by_name or "features" in value)
    return by_name or isinstance(value, list)


def errors_of_features(name: str) -> List[Dict[str, str]]:
    """What is wrong with one features file, as `errors` says it."""
    from . import features

    try:
        found = features.problems(name)
        if not found:
            features.read_file(name)  # for what no schema can say
    except BatchError as error:
        return [_error("", error.message)]
    return [_error(problem.pointer, f"line {problem.line}: {problem.message}") for problem in found]


def errors_of_state(name: str) -> List[Dict[str, str]]:
    """What is wrong with one state file, as `errors` says it."""
    try:
        size = os.lstat(name).st_size
        if size > codec.MAX_BYTES:
            return [_error("", f"the file has {size} bytes; a state has at most {codec.MAX_BYTES}")]
        state, _ = codec.migrated(codec.parse(_content(name, os.O_NOFOLLOW)))
    except OSError as error:
        return [_error("", f"cannot be read: {error.strerror}")]
    except ValueError as error:  # a name with a zero byte
        return [_error("", f"cannot be read: {error}")]
    except BatchError as error:
        return [_error("", error.message)]
    found = _all_violations(state)
    return found or [_error("", text) for text in codec.problems(state, None)]


def _content(name: str, flags: int) -> bytes:
    """What a regular file holds, at most a byte more than a state has. OSError for anything else: a FIFO would be
    waited for, a device may never end.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | flags)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read(codec.MAX_BYTES + 1)


def _all_violations(state: Any) -> List[Dict[str, str]]:
    violations = codec.published_schema().check(state)
    if not violations:
        return []
    try:
        import jsonschema
    except ImportError:
        return [_error(violation.pointer, violation.message) for violation in violations]
    reference = jsonschema.Draft7Validator(schema.load_published("batch_state"))
    return [
        _error("".join(f"/{step}" for step in error.absolute_path), error.message[:300])
        for error in sorted(reference.iter_errors(state), key=lambda error: [str(step) for step in error.absolute_path])
    ]


def _error(pointer: str, message: str) -> Dict[str, str]:
    return {"pointer": pointer, "message": message}
