"""What a list of features is, whatever it was written in: features, their notes, and what no list may have.

    feature = listing.noted("Add a login page (after: 2, schema)", "features.txt", 3)
    feature.text, feature.details       'Add a login page', {'depends_on': ['2', 'schema']}
    listing.checked([feature], "features.txt")

Notes stand at the end of a text, in any order, each once: `(after: 2, schema, #12)` are the features it needs, by
number, id or issue; `(id: schema)` is the name by which others name it. A reference stays the text that it is: whom it
means is for others to find out. `(after:` anywhere else in a text is an error, `(id: ...)` in its middle is prose.

All that is odd is Misuse, naming file and line and what to do.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..base.text import clean
from ..core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

MAX_BYTES = 10 * 1024 * 1024
MAX_FEATURES = 10_000
MAX_LINES = 200_000
MAX_FEATURE_CHARS = 10_000

IDENTIFIER = re.compile(r"(?=.{1,64}\Z)[0-9]*[A-Za-z._-][A-Za-z0-9._-]*")
REFERENCE = re.compile(r"#[1-9][0-9]{0,8}|[A-Za-z0-9._-]{1,64}")
NOTE = re.compile(r"\s*(after|id)\s*:(.*)", re.IGNORECASE | re.DOTALL)
# What was surely meant as a note: one that is not at the end, is not closed, or holds brackets.
BROKEN_NOTE = re.compile(r"\(\s*(?:after\s*:|id\s*:[^()]*\Z)", re.IGNORECASE)


class Feature(NamedTuple):
    """One feature. `text` is as the state keeps it, `line` where it stands, from 1 (0 where there are no lines).

    `details` is what the source said beyond the text, never changed by anybody: `id`, `title`, `description`, `touches`
    (paths), `depends_on` (references, as they were written) and `policy`; what was not said is not there. `issue` is
    the number of the issue it came from.
    """

    text: str
    line: int
    details: Dict[str, Any] = {}  # noqa: RUF012  # one for all, as nobody changes it
    issue: Optional[int] = None


class Listing(NamedTuple):
    """The features of a list, in its order, at least one, and the policy that it sets for the whole batch."""

    features: List[Feature]
    defaults: Dict[str, Any]


def decode_text(data: bytes, name: str) -> str:
    """Return UTF-8 as text with `\\n` at the end of each line, without a byte order mark, or raise Misuse."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(
            f"{name} is UTF-16 (it begins with a UTF-16 byte order mark). Save it as UTF-8.", "features-file"
        )
    if b"\0" in data:
        line = _line_number_at(data, data.index(b"\0"))
        raise UsageError(
            f"{name}, line {line}: a zero byte. This looks like a binary file (or UTF-16); give a UTF-8 text file.",
            "features-file",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The decoder takes a byte order mark off before it counts.
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = _line_number_at(data, start)
        raise UsageError(
            f"{name}, line {line}: byte 0x{data[start]:02x} (offset {start}) is not UTF-8. "
            "The file is probably in an older encoding, such as Latin-1; save it as UTF-8.",
            "features-file",
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def split_lines(text: str, name: str) -> List[str]:
    """Return the lines of a text that `decoded` gave, or raise Misuse for more than any list has: each line that is
    looked at costs time, also one that lists nothing.
    """
    number = text.count("\n") + 1
    if number > MAX_LINES:
        raise UsageError(
            f"{name} has {number:,} lines; a list of features has at most {MAX_LINES:,}. If it is one, split it.",
            "features-file",
        )
    return text.split("\n")


def _line_number_at(data: bytes, offset: int) -> int:
    before = data[:offset].replace(b"\r\n", b"\n")
    return before.count(b"\n") + before.count(b"\r") + 1


def parse_feature(written: str, name: str, line: int) -> Feature:
    """Return the feature that a text of one line stands for, its notes taken off into `details`. Raises Misuse."""
    return parse_clean_feature(clean(written).strip(), name, line)


def parse_clean_feature(text: str, name: str, line: int) -> Feature:
    """Return what `noted` does for a text that is clean and stripped already."""
    if text and "(" not in text and text[-1] != ")":
        return Feature(text, line, {})
    details: Dict[str, Any] = {}
    while text.endswith(")"):
        head, _, inner = text[:-1].rpartition("(")
        note = NOTE.fullmatch(inner)
        if note is None:
            break
        kind = note[1].lower()
        key = {"after": "depends_on", "id": "id"}[kind]
        if key in details:
            raise UsageError(
                f"{name}, line {line}: the note `({kind}: ...)` is there twice. Make it one.", "features-line"
            )
        details[key] = (
            _parse_references(note[2], name, line) if kind == "after" else _parse_identifier(note[2], name, line)
        )
        text = head.rstrip()
    broken = BROKEN_NOTE.search(text) if "(" in text else None
    if broken:
        raise UsageError(
            f"{name}, line {line}: {text[broken.start() :][:60]!r} looks like a note, which stands closed at the end "
            "of the line: `Add a login page (after: 2, schema)`. If it is none, write it without the colon.",
            "features-line",
        )
    if not text:
        what = "a note without a feature" if details else "a text with nothing that can be seen"
        raise UsageError(f"{name}, line {line}: {what}. Write what is to be done.", "features-line")
    return Feature(text, line, details)


def _parse_references(inner: str, name: str, line: int) -> List[str]:
    references = [part.strip() for part in inner.split(",")]
    for reference in references:
        if not REFERENCE.fullmatch(reference):
            raise UsageError(
                f"{name}, line {line}: `(after: ...)` needs numbers, ids or issues with commas between them, and "
                f"{reference[:60]!r} is none: `(after: 2, schema, #12)`. If it is no note, write it without the colon.",
                "feature-order",
            )
    if len({reference.casefold() for reference in references}) < len(references):
        raise UsageError(f"{name}, line {line}: `(after: ...)` names a feature twice. Name each once.", "feature-order")
    return references


def _parse_identifier(inner: str, name: str, line: int) -> str:
    identifier = inner.strip()
    if not IDENTIFIER.fullmatch(identifier):
        raise UsageError(
            f"{name}, line {line}: `(id: ...)` needs 1 to 64 letters, digits, `.`, `_` or `-`, not digits alone, and "
            f"{identifier[:60]!r} is none: `(id: schema)`. If it is no note, write it without the colon.",
            "features-line",
        )
    return identifier


def check_features(features: List[Feature], name: str) -> List[Feature]:
    """Return the features as they are, or raise Misuse for too many, one too long, or a text or id that is there
    twice.
    """
    if len(features) > MAX_FEATURES:
        raise UsageError(
            f"{name} lists {len(features):,} features; one batch takes {MAX_FEATURES:,}. Split the list.",
            "features-file",
        )
    texts: Dict[str, int] = {}
    ids: Dict[str, int] = {}
    for index, (text, line, details, _) in enumerate(features):
        if len(text) > MAX_FEATURE_CHARS:
            raise UsageError(
                f"{name}, line {line}: {len(text):,} characters; a feature has at most {MAX_FEATURE_CHARS:,}. Are line "
                "breaks missing? If not, put the details into a file and name it in the feature.",
                "features-line",
            )
        plain = text.isascii() and "  " not in text  # it is clean: then its only blanks are single spaces
        words = text if plain else " ".join(text.split())
        first = texts.setdefault(words.casefold(), index)
        if first != index:
            raise UsageError(
                f"{name}, line {line}: the same feature as {_name_earlier_feature(features, first, index)}. Take one "
                "away, or say how they differ.",
                "features-line",
            )
        if "id" not in details:
            continue
        first = ids.setdefault(details["id"].casefold(), index)
        if first != index:
            raise UsageError(
                f"{name}, line {line}: the id {details['id']!r} is that of the feature "
                f"{_name_earlier_feature(features, first, index)} too. Give each its own.",
                "features-line",
            )
    return features


def _name_earlier_feature(features: List[Feature], first: int, index: int) -> str:
    """Name an earlier feature by its line; by its number where both stand on one line."""
    if features[first].line != features[index].line:
        return f"on line {features[first].line}"
    return f"number {first + 1}"
