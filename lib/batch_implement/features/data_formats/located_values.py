"""Read YAML or JSON into plain values, and know the line and column of each value.

    document = parse(text, "features.yaml", "yaml")
    document.value                              dicts, lists, str, int, bool, None (and float, from JSON)
    document.position(("features", 2, "title"))     Position(line=7, column=3)

JSON is read by `strict_json`. YAML is read event by event, in the subset that means what it looks like: `null`, `~` and
nothing are null, `true` and `false` are booleans, whole numbers as JSON writes them are integers, and all else is text:
`yes`, `2024-01-01`, `1e3`, `007`. Refused are a key that is there twice, tags, anchors and aliases, a second document,
more than 64 levels, and a `#` that would quietly cut off text. Each error names its place and the likely cause.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from ...base import strict_json
from ...base.text import clean
from ..feature_list import MAX_BYTES, MAX_FEATURES, FeatureListError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, NoReturn, Optional, Tuple

    Path = Tuple[Any, ...]

MAX_DEPTH = 64
MAX_VALUES = 20 * MAX_FEATURES
MAX_EVENTS = 30 * MAX_FEATURES  # of a YAML parser: a value, a key, or where a list or mapping begins or ends

NULLS = ("null", "Null", "NULL", "~", "")
# Longer ones stay text: nothing in a list of features is a number as large.
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
# A comment that may be meant as text: after a text without quotes, an opening bracket, a comma.
CUT_OFF = re.compile(r"(?:[ \t]+|[ \t]*,[ \t]*)(#[^\s#][^\n]*)")
CUT_OFF_NOTHING = re.compile(r"[-:?,\[{][ \t]+(#[^\s#][^\n]*)")
CUT_OFF_BY_BRACKET = re.compile(r"[ \t]*(#[^\s#][^\n]*)")
CUT_OFF_BY_COMMA = re.compile(r"[ \t]*,[ \t]*(#[^\s#][^\n]*)")
# Besides control characters: a byte order mark in the middle is a column or none, and the line ends of YAML 1.1 that
# nobody sees end a comment or not, as the parser likes.
NOT_PRINTABLE = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

# A fragment of a message of either of PyYAML's parsers, and the likely cause. The first that fits counts.
YAML_CAUSES = (
    ("chomping", "After `|` or `>` only a comment may follow, with a blank before it; tabs are not read."),
    ("'?'", "A text with a question mark in brackets needs quotes."),
    ("unexpected ':'", "In brackets a colon needs a blank after it, or the text needs quotes."),
    ("escape", "In double quotes a backslash begins an escape; in single quotes it is a backslash."),
    ("quoted scalar", "A quote is not closed. Put a text that begins with a quote into quotes of the other kind."),
    ("mapping values", "A text with a colon and a blank needs quotes; otherwise check the indentation."),
    ("start any token", "A text that begins with `@`, `%` or a backtick needs quotes, and tabs do not indent."),
    ("tab character", "Tabs do not indent in YAML, only blanks."),
    ("alias", "A text that begins with `*` needs quotes."),
    ("anchor", "A text that begins with `&` needs quotes."),
    ("tag", "A text that begins with `!` needs quotes."),
    ("incompatible", "Remove the `%YAML` line."),
    ("directive", "A text that begins with `%` needs quotes."),
    ("flow", "A `[` or `{` is not closed, or a text in it needs quotes."),
    (
        "block",
        "The indentation is off, or something follows a closing quote or bracket. Check boxes belong in a .md.",
    ),
    ("expected ':'", "A line is indented unlike its neighbours, or a key lost its colon."),
)
UNKNOWN_CAUSE = "Check the indentation and the quotes there."


class Position(NamedTuple):
    """A place in a text: line and column, counted from 1, columns in code points."""

    line: int
    column: int


class Document(NamedTuple):
    """A value, and the position of each value in it by its path: names and indices, () for the whole.

    A value in an object is where its name begins.
    """

    value: Any
    positions: Dict[Path, Position]

    def position(self, path: Path) -> Position:
        """Return the position of a value, or of the nearest value around it if it has none of its own."""
        while path not in self.positions and path:
            path = path[:-1]
        return self.positions.get(path, Position(1, 1))


def parse(text: str, name: str, kind: str) -> Document:
    """Return what a text holds. `kind` is `yaml` or `json`, lines end in `\\n`. Raises FeatureListError."""
    return {"yaml": _parse_yaml, "json": _parse_json}[kind](text, name)


def _raise_repeated_name(name: str, path: Path, position: Position, first: Position) -> NoReturn:
    raise FeatureListError(
        f"{clean(path[-1])[:60]!r} is there twice; the first is on line {first.line}. Remove one, or begin a new entry "
        "between them.",
        "features-yaml",
        name,
        *position,
        path=path,
    )


# -- JSON --------------------------------------------------------------------------------------------------------------

JSON_CAUSES = (
    ("trailing comma", "Remove that comma."),
    ("property name", "A comma follows the last entry, or a name has no double quotes."),
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
    except strict_json.JSONError as error:
        if error.repeated_name is not None:  # only then: it takes 200 MB for ten million values
            positions, repeated = locate_json_values(text)
            if repeated is not None:
                _raise_repeated_name(name, *repeated, positions[repeated[0]])
        raise FeatureListError(explain_json_error(error), "features-yaml", name, error.line, error.column) from None
    return Document(value, locate_json_values(text)[0])


def explain_json_error(error: strict_json.JSONError) -> str:
    """Return what is wrong with a text that is not JSON, without its place, and the likely cause if there is one."""
    cause = next((cause for fragment, cause in JSON_CAUSES if fragment in error.reason), "")
    return f"{clean(error.reason)}. {cause}".rstrip()


def locate_json_values(text: str) -> Tuple[Dict[Path, Position], Optional[Tuple[Path, Position]]]:
    """Return the position of each value in JSON by its path; and path and position of a name that is there twice.

    Stops at such a name, and quietly where the text is not JSON or is nested too deeply.
    """
    positions: Dict[Path, Position] = {}
    line, line_start, seen = 1, 0, 0
    for path, offset in _json_values(text):
        breaks = text.count("\n", seen, offset)
        if breaks:
            line += breaks
            line_start = text.rindex("\n", seen, offset) + 1
        seen = offset
        position = Position(line, offset - line_start + 1)
        if path in positions:
            return positions, (path, position)
        positions[path] = position
    return positions, None


def _json_values(text: str) -> Iterator[Tuple[Path, int]]:
    """Yield the path and the offset of each value in a text, in order, as far as it is JSON of at most 64 levels."""
    path: List[Any] = []  # for each open array the index of its next value, for each object the name in it
    opened: List[str] = []
    is_name = False
    # Without escapes, because a pattern that knows them takes 100 bytes for each.
    for token in TOKEN.finditer(text.replace("\\\\", "__").replace('\\"', "__")):
        mark = text[token.start() : token.end()]
        if not opened and mark in "]},:":
            return
        if mark in "]}":
            if opened.pop() + mark not in ("[]", "{}"):
                return
            path.pop()
            is_name = False
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


# -- YAML --------------------------------------------------------------------------------------------------------------


def _parse_yaml(text: str, name: str) -> Document:
    from . import yaml_subset, yaml_support

    odd = NOT_PRINTABLE.search(text)
    if odd:
        position = _position_at(text, odd.start())
        raise FeatureListError(
            f"control character U+{ord(odd[0]):04X}, which is not read in YAML. Remove it.",
            "features-yaml",
            name,
            *position,
        )
    try:
        return _read_yaml(yaml_support.load(name), text, name)
    except yaml_subset.Difference as difference:
        position = _position_at(text, difference.offset)
        raise FeatureListError(difference.reason, "features-yaml", name, *position) from None


def _read_yaml(yaml: Any, text: str, name: str) -> Document:
    from . import yaml_subset

    yaml_subset.refuse_directives(text)
    # Both read alike what `yaml_subset` lets pass. The one in C, which a PyYAML without libyaml lacks, is 20 times as
    # fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _YamlReader(yaml, text, name, yaml.parse(text, Loader=loader)).read()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, name) from None
    except yaml.YAMLError as error:
        raise FeatureListError(f"not YAML: {clean(str(error))[:200]}. {UNKNOWN_CAUSE}", "features-yaml", name) from None


def _syntax_error(error: Any, name: str) -> FeatureListError:
    problem = clean(error.problem or "it ends too early")
    if error.context:
        start = f" that begins on line {error.context_mark.line + 1}" if error.context_mark else ""
        problem = f"{problem}, {clean(error.context)}{start}"
    cause = next((cause for fragment, cause in YAML_CAUSES if fragment in problem), UNKNOWN_CAUSE)
    mark = error.problem_mark or error.context_mark
    position = _position_of(mark) if mark else Position(1, 1)
    return FeatureListError(f"not YAML: {problem}. {cause}", "features-yaml", name, *position)


def _position_at(text: str, offset: int) -> Position:
    return Position(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def _position_of(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


class _YamlReader:
    """Makes a document of PyYAML's events."""

    def __init__(self, yaml: Any, text: str, name: str, events: Iterator[Any]) -> None:
        self.yaml = yaml
        self.text = text
        self.name = name
        self.events = self._checked_events(events)
        self.positions: Dict[Path, Position] = {}

    def _checked_events(self, events: Iterator[Any]) -> Iterator[Any]:
        """Yield the events. Raises FeatureListError at a comment that is probably meant as text, and Difference."""
        from .yaml_subset import DifferenceCheck

        check = DifferenceCheck(self.yaml, self.text)
        starts, scalar_end = (self.yaml.SequenceStartEvent, self.yaml.MappingStartEvent), 0
        for number, event in enumerate(events):
            if number > MAX_EVENTS:
                self._refuse(event, "more values than a list of features can have. Split the list.")
            cut_off, end = None, event.end_mark.index
            if isinstance(event, self.yaml.ScalarEvent):
                if event.value or event.style:
                    cut_off = (CUT_OFF_BY_COMMA if event.style else CUT_OFF).match(self.text, end)
                else:  # one parser ends nothing where it could begin, the other before what follows
                    cut_off = CUT_OFF.match(self.text, end) or CUT_OFF_NOTHING.search(self.text, scalar_end, end)
                scalar_end = end
            elif isinstance(event, starts) and event.flow_style:
                cut_off = CUT_OFF_BY_BRACKET.match(self.text, end)
            if cut_off:
                raise FeatureListError(
                    f"{cut_off[1][:60]!r} is a comment in YAML and would be lost. If it is text, put the whole text in "
                    "quotes; if it is a comment, write a blank after the `#`.",
                    "features-yaml",
                    self.name,
                    *_position_at(self.text, cut_off.start(1)),
                )
            check.refuse(event)
            yield event
        check.refuse_tabs()

    def read(self) -> Document:
        next(self.events)  # the stream begins
        if isinstance(next(self.events), self.yaml.StreamEndEvent):
            raise FeatureListError(
                "no features: the file is empty or has comments only. Write each feature as `- text`.", "features-yaml",
                self.name,
            )  # fmt: skip
        first = next(self.events)
        self.positions[()] = _position_of(first.start_mark)
        value = self._read_value(first, ())
        next(self.events)  # the document ends
        for event in self.events:  # to the end: a difference is found there, too
            if not isinstance(event, self.yaml.StreamEndEvent):
                self._refuse(event, "a second document begins with `---`. One file is one list: remove the line.")
        return Document(value, self.positions)

    def _read_value(self, event: Any, path: Path) -> Any:
        """Return the value that begins with an event, and take its events off. The caller notes its position."""
        self._refuse_references(event)
        if len(path) > MAX_DEPTH:
            self._refuse(event, f"nested deeper than the {MAX_DEPTH} levels that are allowed. Write it flatter.")
        if isinstance(event, self.yaml.ScalarEvent):
            return self._read_scalar(event)
        if isinstance(event, self.yaml.SequenceStartEvent):
            return self._read_sequence(path)
        return self._read_mapping(path)

    def _refuse_references(self, event: Any) -> None:
        if isinstance(event, self.yaml.AliasEvent):
            problem, sign = f"`*{event.anchor[:60]}` is an alias", "*"
        elif event.anchor is not None:
            problem, sign = f"`&{event.anchor[:60]}` is an anchor", "&"
        elif event.tag is not None:
            problem, sign = f"{event.tag[:60]!r} is a tag", "!"
        else:
            return
        self._refuse(
            event,
            f"{problem}, which is not read here. A text that begins with `{sign}` needs quotes; otherwise write out "
            "what is meant.",
        )

    def _read_sequence(self, path: Path) -> List[Any]:
        values: List[Any] = []
        for event in self.events:
            if isinstance(event, self.yaml.SequenceEndEvent):
                break
            if len(values) >= MAX_FEATURES:  # now, because the rest may take PyYAML minutes
                self._refuse(
                    event, f"a list of more than {MAX_FEATURES:,} entries, and one batch takes as many. Split it."
                )
            item_path = (*path, len(values))
            self.positions[item_path] = _position_of(event.start_mark)
            values.append(self._read_value(event, item_path))
        return values

    def _read_mapping(self, path: Path) -> Dict[str, Any]:
        values: Dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, self.yaml.MappingEndEvent):
                break
            self._refuse_references(event)
            if not isinstance(event, self.yaml.ScalarEvent):
                self._refuse(event, "a list or mapping as a key. A text that begins with `[` or `{` needs quotes.")
            if not event.value and not event.style:
                self._refuse(event, "a key is missing before `:` or after `?`. Write it, or remove the line.")
            item_path = (*path, event.value)
            position = _position_of(event.start_mark)
            if event.value in values:
                _raise_repeated_name(self.name, item_path, position, self.positions[item_path])
            self.positions[item_path] = position
            values[event.value] = self._read_value(next(self.events), item_path)
        return values

    def _read_scalar(self, event: Any) -> Any:
        value: str = event.value
        if event.style:  # quoted, or a block
            if any("\ud800" <= character <= "\udfff" for character in value):
                self._refuse(event, "half of a surrogate pair, as `\\ud83d`. Write the character itself.")
            return value
        if value in ("true", "false"):
            return value == "true"
        if INTEGER.fullmatch(value):
            return int(value)
        return None if value in NULLS else value

    def _refuse(self, event: Any, reason: str) -> NoReturn:
        raise FeatureListError(reason, "features-yaml", self.name, *_position_of(event.start_mark))
