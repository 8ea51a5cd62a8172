"""Read a list of features: text, a Markdown checklist, YAML, JSON, or standard input.

    listing = read_file("features.md")
    for feature in listing.features:
        print(feature.line, feature.text, feature.details)

Text (`.txt`, and any extension that is not in READERS): one feature per line; blank lines and lines that begin with `#`
are ignored. Checklist (`.md`, `.markdown`): the open boxes, `- [ ] text`, also with `*`, `+`, `1.` and indented; ticked
boxes, text outside of boxes and fenced code blocks are ignored. Both may end in notes: see `feature_list`. YAML and
JSON (`.yaml`, `.yml`, `.json`): see `yaml_and_json`. Standard input is JSON if it begins like a list in JSON,
a checklist if it has boxes and headings only, otherwise text.

A byte order mark, CRLF and CR are accepted. A feature keeps its whole text: control and bidi characters become spaces,
blanks at both ends are removed. Anything else that is odd is a FeatureListError: a feature is never dropped, cut or
guessed quietly. Only regular files are opened, and nothing waits, except for the end of standard input.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from functools import partial

from ..base.text import clean
from .feature_list import (
    MAX_BYTES,
    MAX_FEATURE_CHARS,
    Feature,
    FeatureListError,
    Listing,
    check_features,
    decode_text,
    parse_clean_feature,
    parse_feature,
    split_lines,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Callable, Dict, List

__all__ = ["MAX_FEATURE_CHARS", "Feature", "Listing", "parse_text", "read_file", "read_stdin"]

BOX = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+\[([ xX])\](?:\s+(.*))?$")
# What was surely meant as a box: brackets with nothing but blanks in them, and no link after them.
BROKEN_BOX = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s*\[\s*\](?![(\[])")
FENCE = re.compile(r"\s*(`{3,}|~{3,})(.*)$")
HEADING = re.compile(r"\s*#{1,6}(\s|$)")
ID_NOTE = re.compile(r"\(\s*id\s*:\s*([A-Za-z0-9._-]+)\s*\)", re.IGNORECASE)
JSON_START = re.compile(r"\s*(?:\{\s*\"|\[\s*(?:\{\s*)?\")")


def read_file(path: str) -> Listing:
    """Return what a file lists, in its order, at least one feature. Raises FeatureListError."""
    name = clean(path)
    read = READERS.get(os.path.splitext(path)[1].lower(), _read_lines)
    return read(read_bytes(path, name), name)


def read_stdin(stream: BinaryIO, name: str = "-") -> Listing:
    """Return what a stream lists, read up to its end. Raises FeatureListError."""
    label = "standard input" if name == "-" else clean(name)
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large_error(label)
    text = decode_text(data, label)
    if JSON_START.match(text):
        return parse_text(data, label, "json")
    filled = [line for line in split_lines(text, label) if line.strip()]
    boxes = [line for line in filled if BOX.match(line)]
    all_are_boxes = bool(boxes) and all(BOX.match(line) or HEADING.match(line) for line in filled)
    return parse_text(data, label, "md" if all_are_boxes else "txt")


def parse_text(data: bytes, name: str, kind: str) -> Listing:
    """Return what the bytes list. `kind` is `txt`, `md`, `yaml` or `json`; `name` is what messages call the source.

    Raises FeatureListError.
    """
    return READERS[f".{kind}"](data, name)


def read_bytes(path: str, name: str) -> bytes:
    """Return what a regular file holds. Raises FeatureListError; a FIFO or a device is never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            if not stat.S_ISREG(status.st_mode):
                raise _not_regular_error(name)
            if status.st_size > MAX_BYTES:
                raise _too_large_error(name)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise _unreadable_error(name, error) from error
    if len(data) > MAX_BYTES:
        raise _too_large_error(name)
    return data


def _unreadable_error(name: str, error: OSError | ValueError) -> FeatureListError:
    if isinstance(error, IsADirectoryError):
        reason = "this is a directory. Name the file in it that lists the features."
    elif isinstance(error, FileNotFoundError):
        reason = f"file not found. Check the path; a relative path starts at {clean(os.getcwd())}."
    elif isinstance(error, PermissionError):
        reason = "permission denied. Check the permissions of the file and its folder."
    elif isinstance(error, OSError) and error.errno == errno.ENXIO:  # a socket
        return _not_regular_error(name)
    else:
        reason = f"cannot be read: {error.strerror if isinstance(error, OSError) else error}. Check the path."
    return FeatureListError(reason, "features-file", name)


def _not_regular_error(name: str) -> FeatureListError:
    return FeatureListError(
        "not a regular file. To read features from a pipe, give `-` and pipe them in.", "features-file", name
    )


def _too_large_error(name: str) -> FeatureListError:
    return FeatureListError(
        "larger than 10 MB. Is it really a list of features? If so, split it.", "features-file", name
    )


def _read_lines(data: bytes, name: str) -> Listing:
    if not data.strip():
        raise FeatureListError("the file is empty. Write one feature per line.", "features-file", name)
    features = []
    for number, line in enumerate(split_lines(decode_text(data, name), name), start=1):
        text = clean(line).strip()
        if text and text[0] != "#":
            features.append(parse_clean_feature(text, name, number))
    if not features:
        raise FeatureListError(
            "no features: every line is blank or a comment (#). Write one feature per line.", "features-file", name
        )
    return Listing(check_features(features, name), {})


def _read_checklist(data: bytes, name: str) -> Listing:
    if not data.strip():
        raise FeatureListError("the file is empty. Write each feature as `- [ ] text`.", "features-file", name)
    features: List[Feature] = []
    ticked: List[str] = []
    fence, fence_line, boxes_in_fence = "", 0, 0
    for number, line in enumerate(split_lines(decode_text(data, name), name), start=1):
        mark = FENCE.match(line)
        box = BOX.match(line)
        if fence:
            boxes_in_fence += box is not None
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        elif mark and not (mark[1][0] == "`" and "`" in mark[2]):
            fence, fence_line, boxes_in_fence = mark[1], number, 0
        elif box and box[1] != " ":
            ticked.append(line)
        elif box:
            text = clean(box[2] or "").strip()
            if text:
                features.append(parse_feature(text, name, number))
        elif BROKEN_BOX.match(line):
            shown = clean(line).strip()[:60]
            raise FeatureListError(
                f"{shown!r} is probably meant as a check box. Write it as `- [ ] text`.",
                "features-line",
                name,
                number,
            )
    if fence and boxes_in_fence:
        raise FeatureListError(
            "this code block never ends; the check boxes in it would be lost. Close it.",
            "features-line",
            name,
            fence_line,
        )
    if not features and ticked:
        raise FeatureListError(
            f"no open features: all {len(ticked)} check boxes are ticked. Untick what is still to do.",
            "features-file",
            name,
        )
    if not features:
        raise FeatureListError(
            "no features: there is no check box. Write each feature as `- [ ] text`, or name the file .txt if each "
            "line is a feature.",
            "features-file",
            name,
        )
    return Listing(check_features(_drop_ticked_dependencies(features, ticked, name), name), {})


def _drop_ticked_dependencies(features: List[Feature], ticked: List[str], name: str) -> List[Feature]:
    """Return the open features without references to ids of ticked boxes, which are done.

    Raises FeatureListError for a number, which would mean another box after each tick.
    """
    if not ticked:
        return features
    done = {identifier.casefold() for line in ticked for identifier in ID_NOTE.findall(line)}
    done -= {feature.details["id"].casefold() for feature in features if "id" in feature.details}
    remaining = []
    for feature in features:
        details = dict(feature.details)
        references = details.pop("depends_on", [])
        for reference in references:
            if reference.isdigit():
                raise FeatureListError(
                    f"`(after: {reference})` counts open boxes, and each tick changes their numbers. Give the box that "
                    "is meant an id, `(id: NAME)`, and name that.",
                    "feature-order",
                    name,
                    feature.line,
                )
        needed = [reference for reference in references if reference.casefold() not in done]
        remaining.append(feature._replace(details={**details, "depends_on": needed} if needed else details))
    return remaining


def _read_document(data: bytes, name: str, kind: str) -> Listing:
    from . import yaml_and_json

    return yaml_and_json.read(data, name, kind)


def _refuse_format(data: bytes, name: str) -> Listing:
    raise FeatureListError(
        "this format is not supported. Give a text file (.txt) with one feature per line, a checklist (.md) with "
        "`- [ ] feature`, or .yaml or .json as `batchctl schema features` describes it.",
        "features-file",
        name,
    )


DOCUMENT_KINDS = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}
READERS: Dict[str, Callable[[bytes, str], Listing]] = {
    ".txt": _read_lines,
    ".md": _read_checklist,
    ".markdown": _read_checklist,
    **{extension: partial(_read_document, kind=kind) for extension, kind in DOCUMENT_KINDS.items()},
    **dict.fromkeys((".toml", ".csv"), _refuse_format),
}
