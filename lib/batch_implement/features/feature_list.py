"""Features as any source lists them: their notes, their limits, and the errors about a list.

    feature = parse_feature("Add a login page (after: 2, schema)", "features.txt", 3)
    feature.text, feature.details       'Add a login page', {'depends_on': ['2', 'schema']}
    check_features([feature], "features.txt")

Notes are at the end of a text, in any order, each once: `(after: 2, schema, #12)` are the features it needs, by number,
id or issue; `(id: schema)` is the name by which others name it. References are kept as they are written: `ordering`
resolves them. `(after:` anywhere else in a text is an error, `(id: ...)` in its middle is prose.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..base.text import clean
from ..core.errors import UsageError
from .list_references import is_broken_near_miss, read_near_miss, split_references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

MAX_BYTES = 10 * 1024 * 1024
MAX_FEATURES = 10_000
MAX_LINES = 200_000
MAX_FEATURE_CHARS = MAX_SECTION_CHARS = 10_000
LINES_SHOWN = 10

IDENTIFIER = re.compile(r"(?=.{1,64}\Z)[0-9]*[A-Za-z._-][A-Za-z0-9._-]*")
REFERENCE = re.compile(r"#[1-9][0-9]{0,8}|[A-Za-z0-9._-]{1,64}")
NOTE = re.compile(r"\s*(after|id)\s*:(.*)", re.IGNORECASE | re.DOTALL)
# What was surely meant as a note: one that is not at the end, is not closed, or holds brackets.
BROKEN_NOTE = re.compile(r"\(\s*(?:after\s*:|id\s*:[^()]*\Z)", re.IGNORECASE)


class FeatureListError(UsageError):
    """A list of features that cannot be used: `<name>:<line>: <reason>`, the reason with what to do about it.

    `name` is what messages call the source. `line` and `column` count from 1, 0 where unknown. `path` leads to the
    value in a YAML or JSON document; `index` is that of the feature which is wrong, None where it is not one feature.
    """

    def __init__(
        self, reason: str, topic: str, name: str, line: int = 0, column: int = 0, *, path: Tuple[Any, ...] = ()
    ) -> None:
        super().__init__(f"{name}:{line}: {reason}" if line else f"{name}: {reason}", topic)
        self.name, self.reason, self.line, self.column, self.path = name, reason, line, column, path
        self.index: Optional[int] = None


class Feature(NamedTuple):
    """One feature: its text as the state keeps it, and its line in the source, from 1 (0 where there are no lines).

    `details` is what the source says beyond the text: `id`, `title`, `section` (the headings above it, ` > ` between
    them), `description`, `touches` (paths), `depends_on` (references as they are written), `policy`, and of an issue
    `url`; what is not said is not there. `issue` is the number of the issue that the feature comes from.
    """

    text: str
    line: int
    details: Dict[str, Any] = {}  # noqa: RUF012  # one for all, as nobody changes it
    issue: Optional[int] = None


class LeftOut(NamedTuple):
    """A line of a list that is in no feature: its number from 1, its text on one line, and why it is left out.

    `reason` is a short noun phrase that counts of lines are grouped by: `done`, `heading`, `code`, `optional`.
    """

    line: int
    text: str
    reason: str


class Listing(NamedTuple):
    """The features of a list, in its order, at least one, and the policy that it sets for the whole batch.

    `format` names what the list was read as and how much of it is open: `Task Master tasks.json, tag master: 12 open
    of 30`. `left_out` are the lines that are in no feature, `notes` are sentences for the user about how it was read.
    `resolved` has references that only the list as a whole explains: (index of a feature, reference as it is written in
    its `depends_on`) -> indices of the features that it means, none where it is met.
    """

    features: List[Feature]
    defaults: Dict[str, Any]
    format: str = ""
    left_out: Sequence[LeftOut] = ()
    notes: Sequence[str] = ()
    resolved: Mapping[Tuple[int, str], Sequence[int]] = {}  # one for all, as nobody changes it


class ListOptions(NamedTuple):
    """What the user decides about the reading of a list.

    `leaves`: each innermost open box is a feature. `bullets`: top-level bullets are features where there are no boxes.
    `optional`: optional tasks (`[ ]*`) are taken. `dash`: what `[-]` means, `open` or `cancelled`; empty where the user
    has not said. `without`: headings whose boxes are left out, in any case. `tag`: the tag of a Task Master file.
    """

    leaves: bool = False
    bullets: bool = False
    optional: bool = False
    dash: str = ""
    without: Sequence[str] = ()
    tag: str = ""


def decode_text(data: bytes, name: str) -> str:
    """Return UTF-8 as text with `\\n` at the end of each line, without a byte order mark. Raises FeatureListError."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FeatureListError(
            "UTF-16 (the file begins with a UTF-16 byte order mark). Save it as UTF-8.", "features-file", name
        )
    if b"\0" in data:
        raise FeatureListError(
            "a zero byte. This looks like a binary file (or UTF-16); give a UTF-8 text file.",
            "features-file",
            name,
            *_position_in(data, data.index(b"\0")),
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The decoder removes a byte order mark before it counts.
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        raise FeatureListError(
            f"byte 0x{data[start]:02x} (offset {start}) is not UTF-8. The file is probably in an older encoding, such "
            "as Latin-1; save it as UTF-8.",
            "features-file",
            name,
            *_position_in(data, start),
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _position_in(data: bytes, offset: int) -> Tuple[int, int]:
    before = data[:offset].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line_start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[line_start:].decode("utf-8-sig", "replace")) + 1


def split_lines(text: str, name: str) -> List[str]:
    """Return the lines of a decoded text. Raises FeatureListError for more than 200,000.

    Each line costs time, also one that lists nothing.
    """
    number = text.count("\n") + 1
    if number > MAX_LINES:
        raise FeatureListError(
            f"{number:,} lines; a list of features has at most {MAX_LINES:,}. If it is one, split it.",
            "features-file",
            name,
        )
    return text.split("\n")


def parse_feature(text: str, name: str, line: int, *, near_misses: bool = False) -> Feature:
    """Return the feature that a text of one line describes, its notes moved to `details`. Raises FeatureListError.

    With `near_misses` what is surely meant as a note is one too: `(after 1)`, `(needs: schema)`, `[depends on: 2]`.
    """
    return parse_clean_feature(clean(text).strip(), name, line, near_misses=near_misses)


def parse_clean_feature(text: str, name: str, line: int, *, near_misses: bool = False) -> Feature:
    """Return what `parse_feature` does for a text that is clean and stripped already."""
    if text and "(" not in text and text[-1] not in ")]":
        return Feature(text, line, {})
    details: Dict[str, Any] = {}
    while text.endswith((")", "]") if near_misses else ")"):
        is_round = text[-1] == ")"
        head, _, inner = text[:-1].rpartition("(" if is_round else "[")
        note = NOTE.fullmatch(inner) if is_round else None
        near_miss = None
        if near_misses and note is None and head.strip() and (is_round or ":" in inner):
            near_miss = read_near_miss(inner)
            if near_miss is None and is_round and is_broken_near_miss(inner):
                raise _note_error(name, line, text[len(head) :])
        if note is None and near_miss is None:
            break
        kind = note[1].lower() if note else "after"
        key = {"after": "depends_on", "id": "id"}[kind]
        if key in details:
            raise _line_error(name, line, f"the note `({kind}: ...)` is there twice. Make it one.")
        if near_miss is not None:
            details[key] = near_miss
        elif note:
            parse = _parse_references if kind == "after" else _parse_id
            details[key] = parse(note[2], name, line)
        text = head.rstrip()
    broken = BROKEN_NOTE.search(text) if "(" in text else None
    if broken:
        raise _note_error(name, line, text[broken.start() :])
    if not text:
        problem = "a note without a feature" if details else "a text without visible characters"
        raise _line_error(name, line, f"{problem}. Write what is to be done.")
    return Feature(text, line, details)


def _note_error(name: str, line: int, text: str) -> FeatureListError:
    return _line_error(
        name,
        line,
        f"{text[:60]!r} looks like a note, which must be closed and at the end of the line: `Add a login page (after: "
        "2, schema)`. If it is not a note, write it without the colon.",
    )


def _parse_references(inner: str, name: str, line: int) -> List[str]:
    references = [part.strip() for part in inner.split(",")]
    if not all(map(REFERENCE.fullmatch, references)):
        references = split_references(inner) or references
    for reference in references:
        if not REFERENCE.fullmatch(reference):
            raise FeatureListError(
                f"invalid reference {reference[:60]!r} in `(after: ...)`: give numbers, ids or issues with commas "
                "between them, as `(after: 2, schema, #12)`. If it is not a note, write it without the colon.",
                "feature-order",
                name,
                line,
            )
    if len({reference.casefold() for reference in references}) < len(references):
        raise FeatureListError("`(after: ...)` names a feature twice. Name each once.", "feature-order", name, line)
    return references


def _parse_id(inner: str, name: str, line: int) -> str:
    identifier = inner.strip()
    if not IDENTIFIER.fullmatch(identifier):
        raise _line_error(
            name,
            line,
            f"invalid id {identifier[:60]!r} in `(id: ...)`: give 1 to 64 letters, digits, `.`, `_` or `-`, not digits "
            "alone, as `(id: schema)`. If it is not a note, write it without the colon.",
        )
    return identifier


def _line_error(name: str, line: int, reason: str) -> FeatureListError:
    return FeatureListError(reason, "features-line", name, line)


def check_features(features: List[Feature], name: str) -> List[Feature]:
    """Return the features. Raises FeatureListError for too many, one too long, or a feature or id that is there twice.

    Features are the same if their texts, sections and descriptions are.
    """
    if len(features) > MAX_FEATURES:
        raise FeatureListError(
            f"{len(features):,} features; one batch takes at most {MAX_FEATURES:,}. Split the list.",
            "features-file",
            name,
        )
    known: Dict[Tuple[str, str, str], int] = {}
    ids: Dict[str, int] = {}
    twins: List[Tuple[int, int]] = []
    for index, (text, line, details, _) in enumerate(features):
        if len(text) > MAX_FEATURE_CHARS:
            raise _feature_error(
                name,
                features,
                index,
                f"{len(text):,} characters; a feature has at most {MAX_FEATURE_CHARS:,}. Are line breaks missing? If "
                "not, put the details into a file and name it in the feature.",
            )
        is_normal = text.isascii() and "  " not in text  # it is clean: then its only blanks are single spaces
        words = text if is_normal else " ".join(text.split())
        identity = (words.casefold(), details.get("section", ""), details.get("description", ""))
        first = known.setdefault(identity, index)
        if first != index:
            twins.append((index, first))
        if "id" not in details:
            continue
        first = ids.setdefault(details["id"].casefold(), index)
        if first != index:
            raise _feature_error(
                name,
                features,
                index,
                f"the feature {_name_earlier_feature(features, first, line)} has the id {details['id']!r} too. Give "
                "each its own.",
            )
    if twins:
        index, first = twins[0]
        others = [features[other].line for other, _ in twins[1:]]
        also = f" The same is true of {describe_lines(others)}." if all(others) and others else ""
        earlier = _name_earlier_feature(features, first, features[index].line)
        raise _feature_error(
            name, features, index, f"the same feature as {earlier}.{also} Remove one, or say how they differ."
        )
    return features


def check_section(section: str, name: str, line: int) -> str:
    """Return the section of a feature. Raises FeatureListError if it is too long to be kept."""
    if len(section) > MAX_SECTION_CHARS:
        raise _line_error(
            name,
            line,
            f"the headings and items above it have {len(section):,} characters; at most {MAX_SECTION_CHARS:,} can be "
            "kept. Shorten them.",
        )
    return section


def describe_lines(numbers: Sequence[int]) -> str:
    """Return line numbers for a message: `line 3`, `lines 3, 5 and 9`, at most ten of them."""
    shown = [str(number) for number in numbers[:LINES_SHOWN]]
    if len(numbers) == 1:
        return f"line {shown[0]}"
    if len(numbers) > LINES_SHOWN:
        return f"lines {', '.join(shown)} and {len(numbers) - LINES_SHOWN:,} more"
    return f"lines {', '.join(shown[:-1])} and {shown[-1]}"


def _feature_error(name: str, features: List[Feature], index: int, reason: str) -> FeatureListError:
    error = _line_error(name, features[index].line, reason)
    error.index = index
    return error


def _name_earlier_feature(features: List[Feature], first: int, line: int) -> str:
    """Name an earlier feature by its line; by its number if both are on one line."""
    return f"on line {features[first].line}" if features[first].line != line else f"number {first + 1}"
