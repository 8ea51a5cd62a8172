"""Format the results of `batchctl validate`, for people and programs. Pure.

    format_report(data, "github")       data is what `file_validation.validate_files` returns

`text` is a line for each file or error, `FILE:LINE:COLUMN: POINTER: MESSAGE`, as compilers write them, so that editors
jump there. `json` is the data, one top-level field per line. `github` are workflow commands (`::error file=...`), which
GitHub shows beside the line, and a line with the count. `junit` is XML with a test case for each file. Names, pointers
and messages come from untrusted files: each format escapes them in its own way.
"""

from __future__ import annotations

import html
import re

from ..base.text import clean, escape_controls
from ..core.prompts import pluralize
from ..store import serialization

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator

FORMATS = ("text", "json", "github", "junit")
TITLE = "not valid"
XML_ESCAPE = "&#{};"
# What XML 1.0 does not allow, not even escaped.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def format_report(data: Dict[str, Any], form: str) -> str:
    """Return the results in `form`, one of FORMATS, without a line end after the last line."""
    if form == "json":
        return escape_controls(serialization.serialize(data).decode()).rstrip("\n")
    return "\n".join({"text": _text_lines, "github": _github_lines, "junit": _junit_lines}[form](data))


def _text_lines(data: Dict[str, Any]) -> Iterator[str]:
    for result in data["files"]:
        if result["valid"]:
            yield f"{_format_name(result)}: valid{_migration_note(result)}"
        for error in result["errors"]:
            yield f"{_format_name(result)}{_format_place(error)}: {_format_message(error)}"


def _format_name(result: Dict[str, Any]) -> str:
    name = clean(result["file"])
    # A line that begins so is a workflow command when this runs in a workflow.
    return f"./{name}" if name.lstrip().startswith(("::", "##[")) else name


def _migration_note(result: Dict[str, Any]) -> str:
    """Return what to add about a valid state of an older version; empty for any other file."""
    if result["mended"] is None:
        return ""
    number = len(result["mended"])
    repairs = f" with {pluralize(number, 'repair')} (`--json` lists them)" if number else ""
    return f", of an older version: the next change migrates it{repairs}"


def _format_place(error: Dict[str, Any]) -> str:
    """Return `:LINE:COLUMN`, as far as they are known."""
    return "".join(f":{error[part]}" for part in ("line", "column") if error[part] is not None)


def _format_message(error: Dict[str, Any]) -> str:
    """Return the pointer, unless it is to the whole, and the message, on one line."""
    pointer = f"{error['pointer']}: " if error["pointer"] else ""
    return clean(f"{pointer}{error['message']}")


def _github_lines(data: Dict[str, Any]) -> Iterator[str]:
    for result in data["files"]:
        for error in result["errors"]:
            properties = {"file": result["file"], "line": error["line"], "col": error["column"], "title": TITLE}
            pairs = ",".join(
                f"{name}={_escape_property(value)}" for name, value in properties.items() if value is not None
            )
            yield f"::error {pairs}::{_escape_data(_format_message(error))}"
        if result["mended"] is not None:
            yield f"::notice file={_escape_property(result['file'])},title=valid::valid{_migration_note(result)}"
    valid = sum(result["valid"] for result in data["files"])
    yield f"{valid} of {len(data['files'])} files valid."


def _escape_data(text: str) -> str:
    """Escape text as the message of a workflow command; other control characters become spaces."""
    return clean(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _escape_property(value: Any) -> str:
    """Escape a value as a property of a workflow command."""
    return _escape_data(str(value)).replace(":", "%3A").replace(",", "%2C")


def _junit_lines(data: Dict[str, Any]) -> Iterator[str]:
    failed = sum(not result["valid"] for result in data["files"])
    count = f'tests="{len(data["files"])}" failures="{failed}" errors="0"'
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites name="batchctl validate" {count}>'
    yield f'<testsuite name="batchctl validate" {count} skipped="0">'
    for result in data["files"]:
        name = _quote_attribute(result["file"])
        case = f'<testcase classname="batchctl.validate" name={name} file={name}'
        if result["valid"]:
            yield f"{case}/>"
            continue
        lines = [
            f"{_format_place(error).lstrip(':') or 'the file'}: {_format_message(error)}" for error in result["errors"]
        ]
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        yield f"{case}>"
        yield f'<failure type="{TITLE}" message={_quote_attribute(lines[0] + more)}>'
        yield escape_controls(html.escape(_to_xml("\n".join(lines))), XML_ESCAPE)
        yield "</failure>"
        yield "</testcase>"
    yield "</testsuite>"
    yield "</testsuites>"


def _quote_attribute(text: str) -> str:
    """Return text as an attribute's value in quotes; line ends and tabs are escaped, or parsers read them as blanks."""
    escaped = escape_controls(html.escape(_to_xml(text)), XML_ESCAPE)
    return '"' + re.sub("[\t\n\r]", lambda match: f"&#{ord(match[0])};", escaped) + '"'


def _to_xml(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
