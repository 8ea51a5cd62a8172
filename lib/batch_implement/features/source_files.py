"""Read a list of features from a file or from standard input.

    listing = read_file("features.md", ListOptions())
    for feature in listing.features:
        print(feature.line, feature.text, feature.details)

READERS has the reader of each extension: a function of the bytes, the name that messages call the source, and what the
user decides. Any extension that is not in READERS is plain text. Standard input is JSON if it begins like a list in
JSON, a checklist if it has boxes and headings only, otherwise text.

A byte order mark, CRLF and CR are accepted. A feature keeps its whole text: control and bidi characters become spaces,
blanks at both ends are removed. Anything else that is odd is a FeatureListError: a feature is never dropped, cut or
guessed quietly. Only regular files are opened, and nothing waits, except for the end of standard input.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat
from functools import partial

from ..base.text import clean
from . import markdown_list, plain_text
from .feature_list import MAX_BYTES, FeatureListError, Listing, ListOptions, decode_text, split_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Callable, Dict

    Reader = Callable[[bytes, str, ListOptions], Listing]

HEADING = re.compile(r"\s*#{1,6}(\s|$)")
JSON_START = re.compile(r"\s*(?:\{\s*\"|\[\s*(?:\{\s*)?\")")


def read_file(path: str, options: ListOptions = ListOptions()) -> Listing:  # noqa: B008  # it cannot change
    """Return what a file lists, in its order, at least one feature. Raises FeatureListError."""
    name = clean(path)
    if os.path.isdir(path):
        return _read_folder(path, name, options)
    read = READERS.get(os.path.splitext(path)[1].lower(), plain_text.read)
    return read(read_bytes(path, name), name, options)


def read_stdin(stream: BinaryIO, options: ListOptions = ListOptions(), name: str = "-") -> Listing:  # noqa: B008
    """Return what a stream lists, read up to its end. Raises FeatureListError."""
    label = "standard input" if name == "-" else clean(name)
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large_error(label)
    text = decode_text(data, label)
    if JSON_START.match(text):
        return parse_text(data, label, "json", options)
    filled = [line for line in split_lines(text, label) if line.strip()]
    boxes = [line for line in filled if markdown_list.BOX.match(line)]
    all_are_boxes = bool(boxes) and all(markdown_list.BOX.match(line) or HEADING.match(line) for line in filled)
    return parse_text(data, label, "md" if all_are_boxes else "txt", options)


def parse_text(data: bytes, name: str, kind: str, options: ListOptions = ListOptions()) -> Listing:  # noqa: B008
    """Return what the bytes list. `kind` is `txt`, `md`, `yaml` or `json`; `name` is what messages call the source.

    Raises FeatureListError.
    """
    return READERS[f".{kind}"](data, name, options)


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


def _read_folder(path: str, name: str, options: ListOptions) -> Listing:
    from .tool_formats import backlog_md

    listing = backlog_md.read_folder(path, name, options, read_bytes)
    if listing is None:
        raise _unreadable_error(name, IsADirectoryError())
    return listing


def _read_markdown(data: bytes, name: str, options: ListOptions) -> Listing:
    if data.lstrip(codecs.BOM_UTF8).startswith(b"---"):
        from .tool_formats import backlog_md

        text = decode_text(data, name)
        if backlog_md.is_task_text(text):
            return backlog_md.read_task_text(text, name, options)
    return markdown_list.read(data, name, options)


def _read_document(data: bytes, name: str, options: ListOptions, kind: str) -> Listing:
    from . import yaml_and_json

    return yaml_and_json.read(data, name, kind, options)


def _refuse_format(data: bytes, name: str, options: ListOptions) -> Listing:
    raise FeatureListError(
        "this format is not supported. Give a text file (.txt) with one feature per line, a checklist (.md) with "
        "`- [ ] feature`, or .yaml or .json as `batchctl schema features` describes it.",
        "features-file",
        name,
    )


DOCUMENT_KINDS = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
READERS: Dict[str, Reader] = {
    ".txt": plain_text.read,
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    **{extension: partial(_read_document, kind=kind) for extension, kind in DOCUMENT_KINDS.items()},
    **dict.fromkeys((".toml", ".csv"), _refuse_format),
}
