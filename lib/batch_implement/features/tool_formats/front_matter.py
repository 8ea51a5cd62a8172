"""Read the front matter of a Markdown file: simple YAML between two lines `---`, without PyYAML. Pure.

    front = parse(text)         None where the text has none
    front.fields["labels"], front.body, front.body_line

A value is a text, a list of texts (`[a, b]` or lines with `- `) or a block (`>-`, `|`). Lines of any other form are in
`unread`.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

KEY = re.compile(r"([A-Za-z_][\w.-]*)[ \t]*:(?:[ \t]+(.*))?$")
ENTRY = re.compile(r"[ \t]*-(?:[ \t]+(.*))?$")
BLOCK = re.compile(r"[|>][+-]?[0-9]?[ \t]*$")
FLOW_ENTRY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,]*)\s*(?:,|$)""")


class FrontMatter(NamedTuple):
    """The fields of a front matter, what is below it, the line where that begins (from 1), and lines not understood."""

    fields: Dict[str, Any]
    body: str
    body_line: int
    unread: List[str]


def parse(text: str) -> Optional[FrontMatter]:
    """Return the front matter of a text whose lines end in `\\n`; None if it has none."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return None
    end = next((index for index, line in enumerate(lines[1:], start=1) if line.rstrip() in ("---", "...")), None)
    if end is None:
        return None
    fields, unread = _parse_fields(lines[1:end])
    return FrontMatter(fields, "\n".join(lines[end + 1 :]), end + 2, unread)


def _parse_fields(lines: List[str]) -> Tuple[Dict[str, Any], List[str]]:
    fields: Dict[str, Any] = {}
    unread: List[str] = []
    index = 0
    while index < len(lines):
        line = lines[index].rstrip()
        index += 1
        match = KEY.match(line)
        if not match:
            if line and not line.startswith("#"):
                unread.append(line)
            continue
        name, value = match[1], (match[2] or "").strip()
        below: List[str] = []
        while index < len(lines) and (not lines[index].strip() or lines[index][0] in " \t-"):
            below.append(lines[index].rstrip())
            index += 1
        fields[name], left = _parse_value(value, below)
        unread += left
    return fields, unread


def _parse_value(value: str, below: List[str]) -> Tuple[Any, List[str]]:
    """Return the value that begins behind a key and goes on in the lines below it, and the lines not understood."""
    filled = [line for line in below if line.strip()]
    if BLOCK.match(value):
        indent = min((len(line) - len(line.lstrip()) for line in filled), default=0)
        joined = "\n".join(line[indent:] for line in below).strip("\n")
        return (joined if value[0] == "|" else _fold(joined)), []
    if value and not value.startswith(("[", "#")):
        # A text in quotes or without goes on in lines that are indented.
        return _unquote(" ".join([value, *(line.strip() for line in filled)])), []
    if value.startswith("["):
        joined = " ".join([value, *(line.strip() for line in filled)])
        inner, closing, _ = joined[1:].rpartition("]")
        return ([_unquote(each) for each in _split_flow(inner)] if closing else joined), []
    entries: List[Any] = []
    unread = []
    for line in filled:
        match = ENTRY.match(line)
        if match:
            entries.append(_unquote((match[1] or "").strip()))
        elif entries and line.startswith((" ", "\t")):
            entries[-1] = f"{entries[-1]} {line.strip()}"
        else:
            unread.append(line)
    return (entries if entries else ""), unread


def _fold(text: str) -> str:
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def _split_flow(inner: str) -> List[str]:
    return [match[1].strip() for match in FLOW_ENTRY.finditer(inner) if match[1].strip()]


def _unquote(value: str) -> str:
    """Return a scalar without its quotes or its comment."""
    if value.startswith('"'):
        match = re.match(r'"(?:[^"\\]|\\.)*"', value)
        if match:
            try:
                return str(json.loads(match[0]))
            except ValueError:
                return match[0][1:-1]
    if value.startswith("'"):
        match = re.match(r"'((?:[^']|'')*)'", value)
        if match:
            return match[1].replace("''", "'")
    return re.split(r"[ \t]#", value, maxsplit=1)[0].strip()
