"""Every project that a power cut could leave in the middle of a write, built from a log of its system calls.

    record = recorded(before, calls)          the operations on the disk, in order
    for tree, done in crash_states(record):   each tree that a cut may leave; `done`: the write had returned

The rules are those of a journalling file system that promises as little as POSIX does ("All File Systems Are Not
Created Equal", Pillai and others, OSDI 2014):

- What was written to a file is durable once that file is synced, and a change of a folder (a name made, moved or taken
  away) once that folder is. Until then any part of it may be there and any other part not, whatever the order.
- One change of a folder is there or not; a rename is one change, also from one folder to another, which only a sync
  of the folder that it leads to makes durable.
- A write that is not durable may be there, be missing, be cut in half, or be as long as it should and all zero.
- A file's name is no more durable by a sync of the file than by anything else that is not a sync of the folder.

Only the content of the lock and of the audit log is left out of the combinations (nothing is decided from either):
they are as they were written. The copies that are written last (`LATE`) share one fate, as there are too many
combinations otherwise: not touched, removed, missing content, whole.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from typing import NamedTuple, Optional

from scratch import File, Tree
from traced import Call
from walk import plain

UNDECIDING = ("lock", "audit.jsonl")
LATE = ("current.json", "implement.bi")
FATES_TOGETHER = ("none", "taken", "half", "zero", "whole")
STATUS = re.compile(r"st_ino=(\d+).*st_mtime=(\d+).*st_mtime_nsec=(\d+)")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
PLACE = re.compile(r"<((?:\\x[0-9a-f]{2}|[^>])*)>")
FIRST_FREE_INODE = 10**12


class Operation(NamedTuple):
    """One change on the disk. `what` is `make`, `move`, `name`, `take`, `folder`, `write`, `cut` or `sync`.

    `subject` is the inode, for a sync of a folder its path. Names are (folder, name); paths are below the root.
    """

    what: str
    subject: object
    source: Optional[tuple[str, str]] = None
    target: Optional[tuple[str, str]] = None
    offset: int = 0
    data: bytes = b""


class Record(NamedTuple):
    """The project before a write, the operations of the write, and the status that the disk gave new files."""

    before: Tree
    operations: list[Operation]
    status: dict[int, tuple[int, int]]  # inode here -> (inode, mtime_ns) there


def recorded(before: Tree, root: str, calls: list[Call]) -> Record:
    """The operations in these calls; `before` is what lay at `root`, with its inodes, when they began."""
    at = {path: file.inode for path, file in before.items() if file is not None}
    length = {file.inode: len(file.data) for file in before.values() if file is not None}
    operations: list[Operation] = []
    status: dict[int, tuple[int, int]] = {}
    fresh = itertools.count(FIRST_FREE_INODE)
    for call in calls:
        if call.result < 0:
            continue
        places = [plain(place) for place in PLACE.findall(call.arguments)]
        strings = [bytes.fromhex(text.replace("\\x", "")) for text in STRING.findall(call.arguments)]
        opened = os.path.relpath(places[0], root) if places and places[0].startswith(root) else None
        if call.name == "openat" and "O_CREAT" in call.arguments:
            path = below(root, places, os.fsdecode(strings[0]))
            if path not in at:
                at[path] = next(fresh)
                length[at[path]] = 0
                operations.append(Operation("make", at[path], target=os.path.split(path)))
        elif call.name in ("write", "pwrite64") and opened in at:
            inode = at[opened]
            offset = int(call.arguments.rsplit(",", 1)[1]) if call.name == "pwrite64" else length[inode]
            operations.append(Operation("write", inode, offset=offset, data=strings[-1][: call.result]))
            length[inode] = max(length[inode], offset + call.result)
        elif call.name == "ftruncate" and opened in at:
            length[at[opened]] = int(call.arguments.rsplit(",", 1)[1])
            operations.append(Operation("cut", at[opened], offset=length[at[opened]]))
        elif call.name in ("fsync", "fdatasync"):
            operations.append(Operation("sync", at.get(opened, opened)))
        elif call.name in ("renameat", "rename", "renameat2", "linkat", "link"):
            names = [os.fsdecode(string) for string in strings]
            source = below(root, places[:1], names[0])
            target = below(root, places[-1:], names[1])
            at[target] = at[source]
            operations.append(
                Operation(
                    "name" if "link" in call.name else "move", at[source], os.path.split(source), os.path.split(target)
                )
            )
            if "link" not in call.name:
                del at[source]
        elif call.name in ("unlinkat", "unlink"):
            path = below(root, places[:1], os.fsdecode(strings[0]))
            operations.append(Operation("take", at.pop(path), source=os.path.split(path)))
        elif call.name in ("mkdirat", "mkdir"):
            path = below(root, places[:1], os.fsdecode(strings[0]))
            operations.append(Operation("folder", path, target=os.path.split(path)))
        elif call.name in ("newfstatat", "fstat") and opened in at:
            found = STATUS.search(call.arguments)
            if found:
                status[at[opened]] = (int(found[1]), int(found[2]) * 10**9 + int(found[3]))
    return Record(before, operations, status)


def below(root: str, places: list[str], name: str) -> str:
    """A path below the root, from the folder that strace names and the name given."""
    return os.path.relpath(os.path.join(places[0] if places else "/", name), root)


def crash_states(record: Record) -> Iterator[tuple[Tree, bool]]:
    """Each tree that a cut may leave, once; True with those that a cut after the last call may leave."""
    seen: set[object] = set()
    for end in range(len(record.operations) + 1):
        done = end == len(record.operations)
        sure, open_ones = settled_and_open(record.before, record.operations[:end])
        late = [operation for operation in open_ones if (operation.target or operation.source or ("", ""))[1] in LATE]
        late += [
            change for change in open_ones if change.subject in {each.subject for each in late} and change not in late
        ]
        single = [operation for operation in open_ones if operation not in late]
        together = FATES_TOGETHER if late else ("whole",)
        for *fate, shared in itertools.product(*[fates(operation) for operation in single], together):
            happened = dict(zip((id(operation) for operation in single), fate))
            happened |= {id(operation): fate_of(operation, shared) for operation in late}
            tree = tree_of(record, [(operation, happened.get(id(operation), "whole")) for operation in sure])
            key = (done, frozenset((path, file and (file.data, file.inode)) for path, file in tree.items()))
            if key not in seen:
                seen.add(key)
                yield tree, done


def fate_of(operation: Operation, shared: str) -> str:
    """What becomes of an operation on a late copy when this becomes of all of them."""
    if shared == "taken":
        return "whole" if operation.what == "take" else "none"
    return shared if shared == "none" or operation.what == "write" else "whole"


def settled_and_open(before: Tree, operations: list[Operation]) -> tuple[list[Operation], list[Operation]]:
    """All operations but the syncs, and those among them that no sync has made durable."""
    changes: list[Operation] = []
    durable: set[int] = set()
    inodes_left_out = {
        operation.subject for operation in operations if operation.target and operation.target[1] in UNDECIDING
    } | {file.inode for path, file in before.items() if file is not None and os.path.basename(path) in UNDECIDING}
    for operation in operations:
        if operation.what != "sync":
            changes.append(operation)
            continue
        for earlier in changes:
            if earlier.what in ("write", "cut"):
                held = earlier.subject == operation.subject
            else:
                end = earlier.target or earlier.source
                held = end is not None and operation.subject == os.path.normpath(end[0] or ".")
            if held:
                durable.add(id(earlier))
    open_ones = [change for change in changes if id(change) not in durable and change.subject not in inodes_left_out]
    return changes, open_ones


def fates(operation: Operation) -> tuple[str, ...]:
    """What may have become of an operation that no sync made durable."""
    return ("none", "half", "zero", "whole") if operation.what == "write" and operation.data else ("none", "whole")


def tree_of(record: Record, happened: list[tuple[Operation, str]]) -> Tree:
    """The tree when each of these operations came to this."""
    names: dict[str, int] = {path: file.inode for path, file in record.before.items() if file is not None}
    folders = {path for path, file in record.before.items() if file is None} | {""}
    content: dict[int, bytes] = {file.inode: file.data for file in record.before.values() if file is not None}
    times = {file.inode: file.mtime_ns for file in record.before.values() if file is not None}
    for operation, fate in happened:
        if operation.what == "make":
            content.setdefault(operation.subject, b"")
        if fate == "none":
            continue
        if operation.what == "folder":
            folders.add(operation.subject)
        elif operation.what == "write":
            data = operation.data[: len(operation.data) // 2] if fate == "half" else operation.data
            data = bytes(len(data)) if fate == "zero" else data
            old = content.get(operation.subject, b"").ljust(operation.offset, b"\0")
            content[operation.subject] = old[: operation.offset] + data + old[operation.offset + len(data) :]
        elif operation.what == "cut":
            whole = content.get(operation.subject, b"")
            content[operation.subject] = whole[: operation.offset].ljust(operation.offset, b"\0")
        else:
            if operation.what in ("move", "take") and names.get(os.path.join(*operation.source)) == operation.subject:
                del names[os.path.join(*operation.source)]
            if operation.target:
                names[os.path.join(*operation.target)] = operation.subject
    tree: Tree = {path: None for path in folders if path and all(parent in folders for parent in parents(path))}
    for path, inode in names.items():
        if os.path.dirname(path) == "" or os.path.dirname(path) in tree:
            there, mtime_ns = record.status.get(inode, (inode, times.get(inode, 10**18)))
            tree[path] = File(content[inode], times.get(inode, mtime_ns), there)
    return tree


def parents(path: str) -> list[str]:
    """The folders above a path, below the root."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
