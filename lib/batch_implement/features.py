"""Read the list of features that a person gives: a text file, a Markdown checklist, or standard input.

    for feature in read_file("features.md"):
        print(feature.line, feature.text)

Text (any extension but those in READERS): a feature a line; blank lines and lines that begin with `#` are left out.
Checklist (`.md`, `.markdown`): the open boxes, `- [ ] text`, also with `*`, `+`, `1.` and indented; ticked ones, text
outside of boxes and fenced code blocks are left out. Standard input is text, unless it has boxes and headings only.

A byte order mark, CRLF and CR are accepted. A feature keeps its whole text: control and bidi characters become spaces,
blanks at both ends go. All else that is odd is Misuse, naming file and line and what to do: a feature is never dropped,
cut or guessed quietly. Only regular files are opened, and nothing here waits, except for the end of standard input.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import BinaryIO, Callable, NamedTuple

from .errors import Misuse

MAX_BYTES = 10 * 1024 * 1024
MAX_FEATURES = 10_000
MAX_FEATURE_CHARS = 10_000

BIDI_CONTROLS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
TO_SPACE = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), *BIDI_CONTROLS), " ")

BOX = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+\[([ xX])\](?:\s+(.*))?$")
# What was surely meant as a box: brackets with nothing but blanks in them, and no link behind them.
BROKEN_BOX = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s*\[\s*\](?![(\[])")
FENCE = re.compile(r"\s*(`{3,}|~{3,})(.*)$")
HEADING = re.compile(r"\s*#{1,6}(\s|$)")


class Feature(NamedTuple):
    """One feature: its text as it is kept in the state, and the line it stands on, counted from 1."""

    text: str
    line: int


def read_file(path: str) -> list[Feature]:
    """Return the features that a file lists, in its order, at least one. Raises Misuse for any other outcome."""
    name = clean(path)
    data = _contents(path, name)
    read = READERS.get(os.path.splitext(path)[1].lower(), _read_lines)
    return read(data, name)


def read_stdin(stream: BinaryIO, name: str = "-") -> list[Feature]:
    """Return the features that a stream lists, read up to its end. Raises Misuse as `read_file` does."""
    label = "standard input" if name == "-" else clean(name)
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large(label)
    lines = [line for line in _lines(data, label) if line.strip()]
    boxes = [line for line in lines if BOX.match(line)]
    all_are_boxes = bool(boxes) and all(BOX.match(line) or HEADING.match(line) for line in lines)
    return parse_text(data, label, "md" if all_are_boxes else "txt")


def parse_text(data: bytes, name: str, kind: str) -> list[Feature]:
    """Return the features in the bytes, as a checklist when the kind is `md`, as lines when it is `txt`.

    `name` is what messages call the source. Raises Misuse.
    """
    return {"md": _read_checklist, "txt": _read_lines}[kind](data, name)


def clean(text: str) -> str:
    """Return the text with each control and each bidi control character made a space; its length stays.

    These could hide or reorder what a person sees. Joiners of zero width stay: scripts and emoji need them.
    """
    return text.translate(TO_SPACE)


def _contents(path: str, name: str) -> bytes:
    """Return what a regular file holds, or raise Misuse. A FIFO or a device is never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise Misuse(f"{name} is a directory. Name the file in it that lists the features.")
            if not stat.S_ISREG(found.st_mode):
                raise Misuse(f"{name} is no regular file. To read features from a pipe, give `-` and pipe them in.")
            if found.st_size > MAX_BYTES:
                raise _too_large(name)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error
    if len(data) > MAX_BYTES:
        raise _too_large(name)
    return data


def _unreadable(name: str, error: OSError | ValueError) -> Misuse:
    if isinstance(error, FileNotFoundError):
        return Misuse(f"{name} does not exist. Check the path; a relative one counts from {clean(os.getcwd())}.")
    if isinstance(error, PermissionError):
        return Misuse(f"{name} may not be read: permission denied. Check its permissions and its folder's.")
    if isinstance(error, OSError) and error.errno == errno.ENXIO:
        return Misuse(f"{name} is no regular file. To read features from a pipe, give `-` and pipe them in.")
    reason = error.strerror if isinstance(error, OSError) else error
    return Misuse(f"{name} cannot be read: {reason}. Check the path.")


def _too_large(name: str) -> Misuse:
    return Misuse(f"{name} is larger than 10 MB. Is it really a list of features? If so, split it.")


def _lines(data: bytes, name: str) -> list[str]:
    """Return the lines of UTF-8 text, as editors count them, or raise Misuse."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Misuse(f"{name} is UTF-16 (it begins with a UTF-16 byte order mark). Save it as UTF-8.")
    if b"\0" in data:
        line = _line_of(data, data.index(b"\0"))
        raise Misuse(
            f"{name}, line {line}: a zero byte. This looks like a binary file (or UTF-16); give a UTF-8 text file."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The decoder takes a byte order mark off before it counts.
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = _line_of(data, start)
        raise Misuse(
            f"{name}, line {line}: byte 0x{data[start]:02x} (offset {start}) is not UTF-8. "
            "The file is probably in an older encoding, such as Latin-1; save it as UTF-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _line_of(data: bytes, offset: int) -> int:
    before = data[:offset].replace(b"\r\n", b"\n")
    return before.count(b"\n") + before.count(b"\r") + 1


def _read_lines(data: bytes, name: str) -> list[Feature]:
    if not data.strip():
        raise Misuse(f"{name} is empty. Write one feature a line.")
    features = []
    for number, line in enumerate(_lines(data, name), start=1):
        text = clean(line).strip()
        if text and not text.startswith("#"):
            features.append(Feature(text, number))
    if not features:
        raise Misuse(f"{name} lists no feature: every line is blank or a comment (#). Write one feature a line.")
    return _checked(features, name)


def _read_checklist(data: bytes, name: str) -> list[Feature]:
    if not data.strip():
        raise Misuse(f"{name} is empty. Write each feature as `- [ ] text`.")
    features = []
    ticked = 0
    fence, fence_line, boxes_in_fence = "", 0, 0
    for number, line in enumerate(_lines(data, name), start=1):
        mark = FENCE.match(line)
        box = BOX.match(line)
        if fence:
            boxes_in_fence += box is not None
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        elif mark and not (mark[1][0] == "`" and "`" in mark[2]):
            fence, fence_line, boxes_in_fence = mark[1], number, 0
        elif box and box[1] != " ":
            ticked += 1
        elif box:
            text = clean(box[2] or "").strip()
            if text:
                features.append(Feature(text, number))
        elif BROKEN_BOX.match(line):
            shown = clean(line).strip()[:60]
            raise Misuse(
                f"{name}, line {number}: {shown!r} is probably meant as a check box. Write it as `- [ ] text`."
            )
    if fence and boxes_in_fence:
        raise Misuse(f"{name}, line {fence_line}: this code block never ends; the check boxes in it would be lost.")
    if not features and ticked:
        raise Misuse(f"{name} lists no open feature: all {ticked} check boxes are ticked. Untick what is still to do.")
    if not features:
        raise Misuse(
            f"{name} lists no feature: there is no check box in it. Write each feature as `- [ ] text`, "
            "or name the file .txt if each line is a feature."
        )
    return _checked(features, name)


def _checked(features: list[Feature], name: str) -> list[Feature]:
    """Return the features as they are, or raise Misuse for too many, one too long, or one that is there twice."""
    if len(features) > MAX_FEATURES:
        raise Misuse(f"{name} lists {len(features):,} features; one batch takes {MAX_FEATURES:,}. Split the list.")
    seen: dict[str, int] = {}
    for text, line in features:
        if len(text) > MAX_FEATURE_CHARS:
            raise Misuse(
                f"{name}, line {line}: {len(text):,} characters; a feature has at most {MAX_FEATURE_CHARS:,}. "
                "Are line breaks missing? If not, put the details into a file and name it in the feature."
            )
        first = seen.setdefault(" ".join(text.split()).casefold(), line)
        if first != line:
            raise Misuse(
                f"{name}, line {line}: the same feature as on line {first}. Take one away, or say how they differ."
            )
    return features


def _refuse_format(data: bytes, name: str) -> list[Feature]:
    raise Misuse(
        f"{name} is not a list of one feature a line: its lines would be taken for features one by one. Give a text "
        "file (.txt) with a feature a line, or a checklist (.md) with `- [ ] feature`."
    )


READERS: dict[str, Callable[[bytes, str], list[Feature]]] = {
    ".md": _read_checklist,
    ".markdown": _read_checklist,
    **dict.fromkeys((".yaml", ".yml", ".json", ".toml", ".csv"), _refuse_format),
}
