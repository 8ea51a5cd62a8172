"""Scratch projects: taken in, laid out again at another place, and judged.

    tree = taken(root)                a project's files, as the disk has them
    laid(tree, root)                  the same again: the sidecar names files by inode, so it is written anew
    trouble_with(kind, root, ...)     what is wrong with a project after a crash or fault; "" for nothing

Identities matter: a copied state file is another file to the sidecar. `laid` keeps every time of change, gives one name
the same file as another where it was so, and puts the new inodes into the sidecar.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Optional

import writes
from batch_implement.core.errors import BatchError, RefusedError
from batch_implement.store import serialization, sidecar

STATE = ".claude/batch_state.json"
PRIVATE = ".git/batch-implement"
IDENTITY = re.compile(rb"^(new|old) (\d+) ", re.MULTILINE)
PASSING = frozenset(("updated_at", "created_at", "started_at", "state_file", "timings", "since"))


class File(NamedTuple):
    """A file: its content, its time of change in nanoseconds and what tells it from others (an inode)."""

    data: bytes
    mtime_ns: int
    inode: int


Tree = dict[str, Optional[File]]  # path below the root -> file, None for a folder


def fast_folder() -> str:
    """A fresh folder, in memory where that can be had: durability is not what is tried there."""
    return tempfile.mkdtemp(prefix="crash-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def taken(root: str) -> Tree:
    """All that lies below a folder."""
    tree: Tree = {}
    for folder, folders, files in os.walk(root):
        within = os.path.relpath(folder, root)
        for name in folders:
            tree[os.path.normpath(f"{within}/{name}")] = None
        for name in files:
            status = os.lstat(f"{folder}/{name}")
            data = Path(f"{folder}/{name}").read_bytes()
            tree[os.path.normpath(f"{within}/{name}")] = File(data, status.st_mtime_ns, status.st_ino)
    return tree


def laid(tree: Tree, root: str) -> str:
    """The tree laid out at `root`, which is returned; what lay there is gone."""
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    for path in sorted(path for path, file in tree.items() if file is None):
        os.makedirs(f"{root}/{path}", mode=0o700, exist_ok=True)
    at: dict[int, str] = {}
    files = [(path, file) for path, file in tree.items() if file is not None]
    for path, file in files:
        place = f"{root}/{path}"
        if file.inode in at:
            os.link(at[file.inode], place)
            continue
        at[file.inode] = place
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, file.data.rstrip(b"\0"))
        os.ftruncate(descriptor, len(file.data))  # a backup ends in a million zeros
        os.utime(descriptor, ns=(file.mtime_ns, file.mtime_ns))
        os.close(descriptor)
    now = {inode: os.stat(place).st_ino for inode, place in at.items()}
    highest = max(now.values(), default=0)
    for path, file in files:
        if os.path.basename(path) in ("sidecar", "sidecar.tmp"):
            data = IDENTITY.sub(
                lambda found: b"%s %d " % (found[1], now.get(int(found[2]), highest + int(found[2]))), file.data
            )
            if sidecar.parse(file.data) is not None:
                data = sidecar.add_check(data[: data.rindex(b"check ")])
            descriptor = os.open(f"{root}/{path}", os.O_WRONLY | os.O_TRUNC)
            os.write(descriptor, data)
            os.close(descriptor)
    return root


def gist(state: Optional[dict[str, Any]]) -> str:
    """A state without what differs between two runs of one write: times and places."""
    return json.dumps(_lasting(state), sort_keys=True)


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(content) for name, content in value.items() if name not in PASSING}
    return [_lasting(content) for content in value] if isinstance(value, list) else value


class Versions(NamedTuple):
    """What a kind of write makes of what: the project before, the project after, the gists of both states."""

    before: Tree
    after: Tree
    old: str
    new: str
    settled: str  # what a fresh look makes of the project before, where that is more than reading


def versions(kind: str, folder: str) -> Versions:
    """A kind of write done once without trouble."""
    root = f"{folder}/{kind}-untroubled"
    writes.prepare(kind, root)
    before = taken(root)
    old = gist(writes.store_of(kind, laid(before, root)).read())
    settled = gist(settle(kind, laid(before, root)))
    writes.KINDS[kind][1](writes.store_of(kind, laid(before, root)))
    after = taken(root)
    new = gist(writes.store_of(kind, root).read())
    shutil.rmtree(root)
    return Versions(before, after, old, new, settled)


def settle(kind: str, root: str, trusted: Optional[bool] = None) -> Optional[dict[str, Any]]:
    """What a fresh store settles on, None also where there never was a batch."""
    try:
        return writes.store_of(kind, root, trusted).reconcile()
    except RefusedError:
        return None


TOLD_OF_NOTHING = frozenset(
    ("create", "start", "done", "fail", "record", "migrate", "archive", "replace", "read", "end", "finish")
)


def trouble_with(
    kind: str,
    root: str,
    known: Versions,
    allowed: frozenset[str],
    *,
    swept: bool = True,
    trusted: Optional[bool] = None,
    quiet: frozenset[str] = TOLD_OF_NOTHING,
) -> str:
    """What is wrong with a project after a crash in that kind of write, "" for nothing.

    `allowed` is what may be in force: `old`, `new` or both. It is read, settled by a fresh store, and written once
    more; after that (or before, when not `swept`) no temporary file may lie there and no lock be held.
    """
    may = {known.new} if "new" in allowed else set()
    if "old" in allowed:
        may |= {known.old, known.settled}
    kept = evidence_kept(kind, root)
    if not swept and left_over(root):
        return f"temporary files stay: {left_over(root)}"
    if lock_is_held(root):
        return "the lock is still held"
    try:
        store = writes.store_of(kind, root, trusted)
        read = gist(store.read())
        if read not in may:
            return f"reads as neither of {sorted(allowed)}: {read[:300]}"
        settled = gist(settle(kind, root, trusted))
        if settled != read and (read, settled) != (known.old, known.settled):
            return f"settles as something else than it reads: {settled[:300]}"
        if kind in quiet and store.notes:
            return f"says what is not so: {store.notes}"
        if not kept:
            return "what was there is kept nowhere"
        after = one_more_write(kind, root, settled, trusted)
    except BatchError as error:
        return f"cannot be used: {type(error).__name__}: {error.message}"
    if left_over(root):
        return f"temporary files stay: {left_over(root)}"
    return after


def one_more_write(kind: str, root: str, read: str, trusted: Optional[bool]) -> str:
    """Write once more; what is wrong with the outcome."""
    store = writes.store_of(kind, root, trusted)
    before = json.loads(read)
    if before is None:
        state = store.create(writes.new_batch("batch-9"))
        return "" if state["revision"] == 1 else "a new batch does not begin at revision 1"
    state = store.update(lambda state: {**state, "context_token_estimate": state["context_token_estimate"] + 1})
    if state["revision"] != before["revision"] + 1:
        return f"revision {before['revision']} was followed by {state['revision']}"
    if gist(store.read()) != gist(state) or store.notes:
        return f"the write after it does not stand: {store.notes}"
    return ""


def evidence_kept(kind: str, root: str) -> bool:
    """Whether nothing is lost that a kind of write moves: what lay there is in place or kept, whole."""
    for path in Path(root, PRIVATE, "archive").glob("*.json"):
        try:
            serialization.parse(path.read_bytes())
        except BatchError:
            return False
    state = Path(root, STATE)
    if kind in ("archive", "replace"):
        in_place = state.exists() and b'"batch-1"' in state.read_bytes()
        return in_place or any(b'"batch-1"' in path.read_bytes() for path in Path(root, PRIVATE, "archive").glob("*"))
    if kind == "quarantine":
        places = [state, *Path(root, PRIVATE, "quarantine").glob("*")]
        return any(place.exists() and place.read_bytes() == b"precious words" for place in places)
    return True


def left_over(root: str) -> list[str]:
    """Temporary files below a folder."""
    return [path for path, file in taken(root).items() if file is not None and path.endswith(".tmp")]


def lock_is_held(root: str) -> bool:
    """Whether somebody still holds the lock of a project."""
    try:
        descriptor = os.open(f"{root}/{PRIVATE}/lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
