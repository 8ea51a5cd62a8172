"""Read a list of features from a file or from standard input.

    listing = read_file("features.md", ListOptions())
    for feature in listing.features:
        print(feature.line, feature.text, feature.details)

READERS has the reader of each suffix: a function of the bytes, the name that messages call the source, and what the
user decides. A file without a suffix is plain text, one with another suffix is refused, as is what is no list by its
name or by what is in it (`file_kinds`). Standard input is JSON if it begins like a list in JSON, otherwise text.

A byte order mark, CRLF and CR are accepted. A feature keeps its whole text: control and bidi characters become spaces,
blanks at both ends are removed. Anything else that is odd is a FeatureListError: a feature is never dropped, cut or
guessed quietly. Only regular files are opened, and nothing waits, except for the end of standard input.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import shlex
import stat
from functools import partial

from ..base.text import clean
from . import file_kinds
from .feature_list import MAX_BYTES, FeatureListError, Listing, ListOptions, decode_text
from .markdown import checklist
from .text_formats import plain_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Callable, Dict

    Reader = Callable[[bytes, str, ListOptions], Listing]

SUFFIX = re.compile(r"\.[a-z][a-z0-9_]{0,15}")
JSON_START = re.compile(r"\s*(?:\{\s*\"|\[\s*(?:\{\s*)?\")")


def read_file(path: str, options: ListOptions = ListOptions()) -> Listing:  # noqa: B008  # it cannot change
    """Return what a file lists, in its order, at least one feature. Raises FeatureListError."""
    name = clean(path)
    if os.path.isdir(path):
        return _read_folder(path, name, options)
    suffix = find_suffix(path)
    file_kinds.refuse_name(path, name)
    data = read_bytes(path, name)
    file_kinds.refuse_bytes(data, name)
    read = READERS.get(suffix)
    if read is None:
        raise _unknown_suffix_error(path, name, suffix)
    return read(data, name, options)


def find_suffix(path: str) -> str:
    """Return the suffix of a path by which its reader is chosen, in small letters; empty where it has none.

    What is behind the last point of `TODO.1`, `list.2024-05`, or `v1.2 ideas` is none.
    """
    suffix = os.path.splitext(path)[1].lower()
    return suffix if SUFFIX.fullmatch(suffix) else ""


def read_stdin(stream: BinaryIO, options: ListOptions = ListOptions(), name: str = "-") -> Listing:  # noqa: B008
    """Return what a stream lists, read up to its end. Raises FeatureListError."""
    label = "standard input" if name == "-" else clean(name)
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large_error(label)
    text = decode_text(data, label)
    if JSON_START.match(text):
        return parse_text(data, label, "json", options)
    return parse_text(data, label, "txt", options)


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
    return checklist.read(data, name, options)


def _read_document(data: bytes, name: str, options: ListOptions, kind: str) -> Listing:
    from .data_formats import yaml_and_json

    return yaml_and_json.read(data, name, kind, options)


def _read_org(data: bytes, name: str, options: ListOptions) -> Listing:
    from .text_formats import org_list

    return org_list.read(data, name, options)


def _unknown_suffix_error(path: str, name: str, suffix: str) -> FeatureListError:
    return FeatureListError(
        f"lists of features do not end in {suffix}. If this is plain text or Markdown, rename it to .txt or .md, or "
        f"pipe it in: `batchctl create - < {shlex.quote(clean(os.path.basename(path)))}`.",
        "features-file",
        name,
    )


DOCUMENT_KINDS = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
READERS: Dict[str, Reader] = {
    **dict.fromkeys(("", ".txt", ".text", ".list", ".lst", ".todo", ".tasks"), plain_text.read),
    ".taskpaper": plain_text.read_taskpaper,
    **dict.fromkeys((".rst", ".rest"), plain_text.read_rst),
    **dict.fromkeys((".adoc", ".asciidoc", ".asc"), plain_text.read_adoc),
    ".org": _read_org,
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    **{extension: partial(_read_document, kind=kind) for extension, kind in DOCUMENT_KINDS.items()},
}
