"""What `batchctl validate` found, as people and programs read it. Pure.

    verdicts.told(data, "github")       data is what `validation.validate` returns

`text` is a line a file or error, `FILE:LINE:COLUMN: POINTER: MESSAGE`, as compilers write them, so that editors jump
there. `json` is the data, a top-level field a line. `github` are workflow commands, which GitHub shows beside the line
(`::error file=...`), and a line with the count. `junit` is XML with a test case a file. Names, pointers and messages
come from files that nobody vouches for: each format escapes them in its own way.
"""

from __future__ import annotations

import html
import re

from ..base.text import clean
from ..core.prompts import pluralize
from ..store import serialization

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator

FORMATS = ("text", "json", "github", "junit")
TITLE = "not valid"
# What XML 1.0 has no place for, not even escaped.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def format_report(data: Dict[str, Any], form: str) -> str:
    """The verdicts in `form`, one of FORMATS, without a line end behind the last line."""
    if form == "json":
        return serialization.serialize(data).decode().rstrip("\n")
    return "\n".join({"text": _text, "github": _github, "junit": _junit}[form](data))


def _text(data: Dict[str, Any]) -> Iterator[str]:
    for result in data["files"]:
        if result["valid"]:
            yield f"{clean(result['file'])}: valid{_older(result)}"
        for error in result["errors"]:
            yield f"{clean(result['file'])}{_place(error)}: {_said(error)}"


def _older(result: Dict[str, Any]) -> str:
    """What is to be said of a valid state of an older version; empty for any other file."""
    if result["mended"] is None:
        return ""
    number = len(result["mended"])
    mends = f" and mends {pluralize(number, 'thing')} (`--json` says which)" if number else ""
    return f", of an older version: the first change takes it over{mends}"


def _place(error: Dict[str, Any]) -> str:
    """`:LINE:COLUMN`, as far as they are known."""
    return "".join(f":{error[part]}" for part in ("line", "column") if error[part] is not None)


def _said(error: Dict[str, Any]) -> str:
    """Where in the value, unless it is the whole, and what is wrong there; one line."""
    where = f"{error['pointer']}: " if error["pointer"] else ""
    return clean(f"{where}{error['message']}")


def _github(data: Dict[str, Any]) -> Iterator[str]:
    for result in data["files"]:
        for error in result["errors"]:
            given = {"file": result["file"], "line": error["line"], "col": error["column"], "title": TITLE}
            said = ",".join(f"{name}={_property(value)}" for name, value in given.items() if value is not None)
            yield f"::error {said}::{_data(_said(error))}"
        if result["mended"] is not None:
            yield f"::notice file={_property(result['file'])},title=valid::valid{_older(result)}"
    valid = sum(result["valid"] for result in data["files"])
    yield f"{valid} of {len(data['files'])} files valid."


def _data(text: str) -> str:
    """A text as the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: Any) -> str:
    """A value as a property of a workflow command."""
    return _data(str(value)).replace(":", "%3A").replace(",", "%2C")


def _junit(data: Dict[str, Any]) -> Iterator[str]:
    count = f'tests="{len(data["files"])}" failures="{sum(not each["valid"] for each in data["files"])}" errors="0"'
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites name="batchctl validate" {count}>'
    yield f'<testsuite name="batchctl validate" {count} skipped="0">'
    for result in data["files"]:
        name = _attribute(result["file"])
        case = f'<testcase classname="batchctl.validate" name={name} file={name}'
        if result["valid"]:
            yield f"{case}/>"
            continue
        said = [f"{_place(error).lstrip(':') or 'the file'}: {_said(error)}" for error in result["errors"]]
        more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
        yield f"{case}>"
        yield f'<failure type="{TITLE}" message={_attribute(said[0] + more)}>'
        yield html.escape(_xml("\n".join(said)))
        yield "</failure>"
        yield "</testcase>"
    yield "</testsuite>"
    yield "</testsuites>"


def _attribute(text: str) -> str:
    """A text as the value of an attribute, with its quotes; also line ends and tabs, which else are read as blanks."""
    escaped = html.escape(_xml(text))
    return '"' + re.sub("[\t\n\r]", lambda found: f"&#{ord(found[0])};", escaped) + '"'


def _xml(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
