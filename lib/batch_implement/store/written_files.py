"""Remember which files the model wrote by Write or Edit since a batch began, for `batchctl done`.

    begin(private, ignored)         when a batch is created: forget those before
    record(private, path)           by the hook of each such call; the path is absolute
    since_ns, paths = read(private)
    ignored = read_ignored(private)     the ignored files that were there when the batch began

The list is a hint beside the state: it is bounded, and a call that cannot write it is not stopped.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Tuple

NAME, IGNORED_NAME = "written", "ignored"
MAX_BYTES = 256 * 1024  # then the list moves to `written.old`, over the one before


def begin(private: str, ignored: Iterable[str] = ()) -> None:
    """Begin a new list. Its first entry is the time, by the clock of the file system, which is not that of Python.

    `ignored` are the ignored files of the user's, relative to the top of the working tree. Raises StateError when the
    folder `private` is a link or a file.
    """
    from ..base import project_paths

    parent, name = os.path.split(private)
    os.close(project_paths.open_folder(parent, name, create=True))  # refuses a link
    with open(os.path.join(private, IGNORED_NAME), "wb") as listed:
        listed.writelines(os.fsencode(name) + b"\0" for name in ignored)
    path = os.path.join(private, NAME)
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write(f"{os.fstat(file.fileno()).st_ctime_ns}\0")
    os.replace(f"{path}.new", path)
    try:
        os.unlink(f"{path}.old")
    except FileNotFoundError:
        pass


def record(private: str, path: str) -> None:
    """Append a path to the list."""
    name = os.path.join(private, NAME)
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # a batch of an older version
    try:
        if os.fstat(descriptor).st_size > MAX_BYTES:
            first = read(private)[0]
            with open(f"{name}.new", "w", encoding="ascii") as file:
                file.write(f"{first}\0")
            os.replace(name, f"{name}.old")
            os.replace(f"{name}.new", name)
        os.write(descriptor, os.fsencode(path) + b"\0")
    except OSError:
        pass  # a full disk is shown by what needs it
    finally:
        os.close(descriptor)


def read(private: str) -> Tuple[int, List[str]]:
    """Return when the list began, in ns since the epoch, and the recorded paths; (0, []) without a list."""
    since_ns, paths = 0, {}
    for name in (f"{NAME}.old", NAME):
        try:
            with open(os.path.join(private, name), "rb") as file:
                first, *entries = file.read().split(b"\0")[:-1]
            since_ns = int(first)
        except (OSError, ValueError):
            continue
        paths.update(dict.fromkeys(map(os.fsdecode, entries)))
    return since_ns, list(paths)


def read_ignored(private: str) -> List[str]:
    """Return the ignored files that were there when the batch began; none without a list."""
    try:
        with open(os.path.join(private, IGNORED_NAME), "rb") as file:
            return [os.fsdecode(name) for name in file.read().split(b"\0")[:-1]]
    except OSError:
        return []
