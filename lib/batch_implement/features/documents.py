"""Read a YAML or JSON text into plain values, and know of each on which line it stands.

    parsed = document.parse(text, "features.yaml", "yaml")
    parsed.value                                dicts, lists, str, int, bool, None (and float, from JSON)
    parsed.line(("features", 2, "title"))       7

JSON is read by `strictjson`. YAML is read event by event, in the subset that means what it looks like: `null`, `~` and
nothing are null, `true` and `false` are booleans, whole numbers as JSON writes them are integers, and all else is text:
`yes`, `2024-01-01`, `1e3`, `007`. Refused are a key that is there twice, tags, anchors and aliases, a second document,
more than 64 levels, and a `#` that would quietly cut off what is meant as text. Anything else that is wrong is Misuse
as well, naming the line and what is probably meant.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from ..base import strict_json
from ..base.text import clean
from ..core.errors import UsageError
from .feature_list import MAX_BYTES, MAX_FEATURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Tuple

    Steps = Tuple[Any, ...]

MAX_DEPTH = 64
MAX_VALUES = 20 * MAX_FEATURES
MAX_EVENTS = 30 * MAX_FEATURES  # of a YAML parser: a value, a key, or where a list or mapping begins or ends

NULLS = ("null", "Null", "NULL", "~", "")
# Longer ones stay text: nothing in a list of features is a number as large.
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
# A comment that may be meant as text: behind a text without quotes, an opening bracket, a comma.
CUT_OFF = re.compile(r"(?:[ \t]+|[ \t]*,[ \t]*)(#[^\s#][^\n]*)")
CUT_OFF_BY_BRACKET = re.compile(r"[ \t]*(#[^\s#][^\n]*)")
CUT_OFF_BY_COMMA = re.compile(r"[ \t]*,[ \t]*(#[^\s#][^\n]*)")
NOT_PRINTABLE = re.compile("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# What stands in the message of either of PyYAML's parsers, and the likely cause. The first that fits counts.
CAUSES = (
    ("escape", "In double quotes a backslash begins an escape; in single quotes it is a backslash."),
    ("quoted scalar", "A quote is opened and not closed. A text that begins with a quote is put into the other kind."),
    ("mapping values", "A text with a colon and a blank in it needs quotes. Else the indentation is off."),
    ("start any token", "A text that begins with `@`, `%` or a backtick needs quotes, and tabs do not indent."),
    ("tab character", "Tabs do not indent in YAML, only blanks."),
    ("alias", "A text that begins with `*` needs quotes."),
    ("anchor", "A text that begins with `&` needs quotes."),
    ("tag", "A text that begins with `!` needs quotes."),
    ("incompatible", "Take the `%YAML` line out."),
    ("directive", "A text that begins with `%` needs quotes."),
    ("flow", "A `[` or `{` is not closed, or a text in it needs quotes."),
    (
        "block",
        "The indentation is off, or something follows a closing quote or bracket. Check boxes belong in a .md.",
    ),
    ("expected ':'", "A line is indented unlike its neighbours, or a key lost its colon."),
)
LIKELY = "Check the indentation and the quotes there."


class Document(NamedTuple):
    """A value, and the line of each value in it by the steps that lead there: names and indices, () for the whole."""

    value: Any
    lines: Dict[Steps, int]

    def line(self, steps: Steps) -> int:
        """Return the line of a value, counted from 1; of the nearest one around it where it has none of its own."""
        while steps not in self.lines and steps:
            steps = steps[:-1]
        return self.lines.get(steps, 1)


def parse(text: str, name: str, kind: str) -> Document:
    """Return what a text holds: its kind is `yaml` or `json`, its lines end in `\\n`. Raises Misuse."""
    return {"yaml": _parse_yaml, "json": _parse_json}[kind](text, name)


# -- JSON --------------------------------------------------------------------------------------------------------------

JSON_CAUSES = (
    ("trailing comma", "Take that comma away."),
    ("property name", "A comma stands behind the last entry, or a name has no double quotes."),
    ("delimiter", "A comma, a colon or a double quote is missing before it."),
    ("Expecting value", "A comma too many, a text without double quotes, or a comment: JSON has none."),
    ("Unterminated", 'A text is not closed; a double quote in it is written `\\"`.'),
    ("control character", "A line break in a text is written `\\n`, a tab `\\t`."),
    ("escape", "A backslash in a text is written twice."),
    ("NaN", "Write a number."),
    ("values that are allowed", "Split the list."),
)
TOKEN = re.compile(r'"[^"]*"|[\[\]{},:]|[^\s\[\]{},:"]+')


def _parse_json(text: str, name: str) -> Document:
    try:
        value = strict_json.parse(text.encode(), max_bytes=MAX_BYTES, max_depth=MAX_DEPTH, max_values=MAX_VALUES)
    except ValueError as error:
        if "twice" in str(error):
            _lines_of_json(text, name)
        cause = next((cause for fragment, cause in JSON_CAUSES if fragment in str(error)), "Mend it there.")
        raise UsageError(f"{name}: {clean(str(error))}. {cause}", "features-yaml") from None
    return Document(value, _lines_of_json(text, name))


def json_values(text: str) -> Iterator[Tuple[Steps, int]]:
    """Yield the steps and the offset of each value in a text, in order, up to where it is no JSON or nested too deeply.

    A value in an object stands where its name begins; a name that is there twice comes twice.
    """
    path: list[Any] = []  # for each open array the index of its next value, for each object the name of it
    opened: list[str] = []
    is_name = False
    plain = text.replace("\\\\", "__").replace('\\"', "__")  # a pattern that knows escapes takes 100 bytes for each
    for token in TOKEN.finditer(plain):
        mark = text[token.start() : token.end()]
        if not opened and mark in "]},:":
            return
        if mark in "]}":
            opened.pop()
            path.pop()
        elif mark == ",":
            is_name = opened[-1] == "{"
            if not is_name:
                path[-1] += 1
        elif mark == ":":
            is_name = False
        elif is_name:
            try:
                path[-1] = json.loads(mark)
            except ValueError:
                return
            yield tuple(path), token.start()
        else:
            if not opened or opened[-1] == "[":
                yield tuple(path), token.start()
            if mark in "[{":
                opened.append(mark)
                path.append(0 if mark == "[" else "")
                is_name = mark == "{"
        if not opened or len(path) > MAX_DEPTH:
            return


def _lines_of_json(text: str, name: str) -> Dict[Steps, int]:
    """Return the line of each value in a text that is JSON, at least up to a name that is there twice: Misuse."""
    lines: Dict[Steps, int] = {}
    line, seen = 1, 0
    for steps, offset in json_values(text):
        line += text.count("\n", seen, offset)
        seen = offset
        if steps in lines:
            raise _twice(name, line, steps[-1], lines[steps])
        lines[steps] = line
    return lines


def _twice(name: str, line: int, key: str, first: int) -> UsageError:
    return UsageError(
        f"{name}, line {line}: {clean(key)[:60]!r} is there twice; the first is on line {first}. Take one away, or "
        "begin a new entry between them.",
        "features-yaml",
    )


# -- YAML --------------------------------------------------------------------------------------------------------------


def _parse_yaml(text: str, name: str) -> Document:
    from . import yaml_support

    odd = NOT_PRINTABLE.search(text)
    if odd:
        raise UsageError(
            f"{name}, line {text.count(chr(10), 0, odd.start()) + 1}: a control character (U+{ord(odd[0]):04X}), which "
            "YAML does not allow. Take it out.",
            "features-yaml",
        )
    yaml = yaml_support.load(name)
    # Both read alike; the one in C, which a PyYAML without libyaml lacks, is twenty times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Reader(yaml, text, name, yaml.parse(text, Loader=loader)).document()
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, name) from None
    except yaml.YAMLError as error:
        raise UsageError(f"{name} is not YAML: {clean(str(error))[:200]}. {LIKELY}", "features-yaml") from None


def _not_yaml(error: Any, name: str) -> UsageError:
    found = clean(error.problem or "it ends too early")
    if error.context:
        begun = f" that begins on line {error.context_mark.line + 1}" if error.context_mark else ""
        found = f"{found}, {clean(error.context)}{begun}"
    cause = next((cause for fragment, cause in CAUSES if fragment in found), LIKELY)
    mark = error.problem_mark or error.context_mark
    return UsageError(f"{name}, line {mark.line + 1 if mark else 1}: not YAML: {found}. {cause}", "features-yaml")


class _Reader:
    """Makes a document of PyYAML's events."""

    def __init__(self, yaml: Any, text: str, name: str, events: Iterator[Any]) -> None:
        self.yaml = yaml
        self.text = text
        self.name = name
        self.events = self.without_lost_text(events)
        self.lines: Dict[Steps, int] = {}

    def without_lost_text(self, events: Iterator[Any]) -> Iterator[Any]:
        """Hand the events on; Misuse for a comment that is probably not meant as one."""
        starts = (self.yaml.SequenceStartEvent, self.yaml.MappingStartEvent)
        for number, event in enumerate(events):
            if number > MAX_EVENTS:
                raise self.misuse(event, "more than a list of features has in all. Split it.")
            cut_off = None
            if isinstance(event, self.yaml.ScalarEvent):
                cut_off = (CUT_OFF_BY_COMMA if event.style else CUT_OFF).match(self.text, event.end_mark.index)
            elif isinstance(event, starts) and event.flow_style:
                cut_off = CUT_OFF_BY_BRACKET.match(self.text, event.end_mark.index)
            if cut_off:
                raise UsageError(
                    f"{self.name}, line {event.end_mark.line + 1}: {cut_off[1][:60]!r} is a comment to YAML and would "
                    "be lost. If it is text, put the whole text in quotes; if it is a comment, write a blank behind "
                    "the `#`.",
                    "features-yaml",
                )
            yield event

    def document(self) -> Document:
        next(self.events)  # the stream begins
        if isinstance(next(self.events), self.yaml.StreamEndEvent):
            raise UsageError(
                f"{self.name} is empty, or has comments only. Write each feature as `- text`.", "features-yaml"
            )
        first = next(self.events)
        self.lines[()] = first.start_mark.line + 1
        value = self.value(first, ())
        next(self.events)  # the document ends
        event = next(self.events)
        if not isinstance(event, self.yaml.StreamEndEvent):
            raise self.misuse(event, "a second document begins with `---`. One file is one list: take the line out.")
        return Document(value, self.lines)

    def value(self, event: Any, path: Steps) -> Any:
        """Return the value that begins with an event, and take its events off. Its line is the caller's to note."""
        self.refuse_references(event)
        if len(path) > MAX_DEPTH:
            raise self.misuse(event, f"nested deeper than the {MAX_DEPTH} levels that are allowed.")
        if isinstance(event, self.yaml.ScalarEvent):
            return self.scalar(event)
        if isinstance(event, self.yaml.SequenceStartEvent):
            return self.sequence(path)
        return self.mapping(path)

    def refuse_references(self, event: Any) -> None:
        if isinstance(event, self.yaml.AliasEvent):
            what = f"`*{event.anchor[:60]}` is an alias, which is not read here. A text that begins with `*`"
        elif event.anchor is not None:
            what = f"`&{event.anchor[:60]}` is an anchor, which is not read here. A text that begins with `&`"
        elif event.tag is not None:
            what = f"{event.tag[:60]!r} is a tag, which is not read here. A text that begins with `!`"
        else:
            return
        raise self.misuse(event, f"{what} needs quotes; else write out what is meant.")

    def sequence(self, path: Steps) -> list[Any]:
        values: list[Any] = []
        for event in self.events:
            if isinstance(event, self.yaml.SequenceEndEvent):
                break
            if len(values) >= MAX_FEATURES:  # now, because the rest may take PyYAML minutes
                raise self.misuse(
                    event, f"a list of more than {MAX_FEATURES:,} entries, and one batch takes as many. Split it."
                )
            steps = (*path, len(values))
            self.lines[steps] = event.start_mark.line + 1
            values.append(self.value(event, steps))
        return values

    def mapping(self, path: Steps) -> Dict[str, Any]:
        values: Dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, self.yaml.MappingEndEvent):
                break
            self.refuse_references(event)
            if not isinstance(event, self.yaml.ScalarEvent):
                raise self.misuse(event, "a list or mapping as a key. A text that begins with `[` or `{` needs quotes.")
            steps = (*path, event.value)
            line = event.start_mark.line + 1
            if event.value in values:
                raise _twice(self.name, line, event.value, self.lines[steps])
            self.lines[steps] = line
            values[event.value] = self.value(next(self.events), steps)
        return values

    def scalar(self, event: Any) -> Any:
        value: str = event.value
        if event.style:  # quoted, or a block
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise self.misuse(event, "half of a surrogate pair, as `\\ud83d`. Write the character itself.")
            return value
        if value in ("true", "false"):
            return value == "true"
        if INTEGER.fullmatch(value):
            return int(value)
        return None if value in NULLS else value

    def misuse(self, event: Any, what: str) -> UsageError:
        return UsageError(f"{self.name}, line {event.start_mark.line + 1}: {what}", "features-yaml")
