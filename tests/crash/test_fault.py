"""Whatever call fails, a write ends with one clear error and the old version, or with the new one; never half way.

The one case between: the new version is in place and only its confirmation failed. That is an error of its own,
DurabilityError. Trouble with the audit log or with a copy is told once and fails nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import pytest
import traced
from scratch import laid, trouble_with
from traced import needs_strace
from walk import plain, stops, walk

OLD, NEW = frozenset(("old",)), frozenset(("new",))
ERRORS = ("ENOSPC", "EIO", "EACCES", "EROFS", "EDQUOT", "EMFILE", "EINTR")
WHAT_WAS_CHANGED = ("Nothing was changed.", "left as it", "The last version of the batch is in ", "was put in place.")
SIDE_FILES = ("audit.jsonl", "current.json", "in-force.bi", "implement.bi")


def judged(kind, ended, root, known, *, call=None, swept=False, tells=True):
    """What is wrong with how a write ended after a fault, and with what it left; "" for nothing."""
    notes = [note for note in ended.get("notes", []) if note.startswith("Note: ")]
    if "traceback" in ended or "signal" in ended:
        return str(ended)
    if "error" in ended:
        if not ended["message"].endswith((".", "repeat anything.")) or root not in ended["message"] + root:
            return f"not a clear error: {ended}"
        confirmed = ended["error"] == "DurabilityError"
        if not confirmed and not any(words in ended["message"] for words in WHAT_WAS_CHANGED):
            return f"does not say whether anything was changed: {ended}"
        allowed = NEW if confirmed else OLD
    else:
        allowed = NEW
    if call is not None and tells and call.name == "fsync" and "error" not in ended and not needless(kind, call):
        return "a sync that failed counts for nothing"
    if len(notes) != len(set(notes)):
        return f"told twice: {notes}"
    if call is not None and writes_side_file(call):
        if "error" in ended:
            return f"trouble with the audit log or a copy failed the write: {ended}"
        if tells and len(notes) != 1:
            return f"trouble with the audit log or a copy was told {len(notes)} times"
    swept = swept or kind == "finish"  # there the temporary file is the new version, from before
    return trouble_with(kind, root, known[kind], allowed, swept=swept)


def needless(kind, call):
    """Whether it does not matter that a sync failed (docs/durability.md): a batch is away once the sidecar says so, and
    the sidecar of a batch that is over is mended at the next look.
    """
    return (kind == "archive" and "/.claude>" in plain(call.arguments)) or (kind == "end" and call.n > 4)


def writes_side_file(call):
    """Whether a call writes the audit log or a copy."""
    arguments = plain(call.arguments)
    if call.name in ("write", "close"):
        return any(f"/{name}>" in arguments.partition(",")[0] for name in SIDE_FILES) and call.name == "write"
    names = any(f'{mark}{name}"' in arguments for name in SIDE_FILES for mark in '/"')
    return names and (call.name == "renameat" or "O_CREAT" in arguments)


def failed_everywhere(server, known, folder, at, what, when="{n}", **how):
    """The troubles found, a sentence each, and how many faults were injected."""
    troubles, faults = [], 0
    for step in walk(server, known, folder, at, what, when):
        faults += 1
        trouble = judged(step.kind, step.ended, step.root, known, call=step.call if when == "{n}" else None, **how)
        if trouble:
            troubles.append(f"{what}, {step}: {trouble}")
    return troubles, faults


@needs_strace
def test_a_call_that_fails_leaves_the_old_version_and_a_clear_error_or_the_new_version(server, known, folder, calls):
    troubles, faults = [], 0
    every_third = stops(calls)[::3]  # all of them, with each error, are the next test's
    for stop, error in zip(every_third, itertools.cycle(ERRORS)):
        some, count = failed_everywhere(server, known, folder, [stop], f"error={error}", tells=error != "EINTR")
        troubles += some
        faults += count
    print(f"{faults} faults")
    assert not troubles, "\n".join(troubles[:10])
    assert faults > 130


@needs_strace
@pytest.mark.prove
@pytest.mark.parametrize("error", ERRORS)
def test_any_call_that_fails_in_any_way_does_so_too(server, known, folder, calls, error):
    troubles, faults = failed_everywhere(server, known, folder, stops(calls), f"error={error}", tells=error != "EINTR")
    print(f"{faults} faults: {error}")
    assert not troubles, "\n".join(troubles[:10])


@needs_strace
@pytest.mark.prove
@pytest.mark.parametrize("error", [error for error in ERRORS if error != "EINTR"])
def test_a_call_that_fails_from_then_on_does_so_too(server, known, folder, calls, error):
    troubles, faults = failed_everywhere(server, known, folder, stops(calls), f"error={error}", "{n}+", swept=True)
    print(f"{faults} lasting faults: {error}")
    assert not troubles, "\n".join(troubles[:10])


@needs_strace
def test_a_system_that_takes_less_than_it_says_is_found_out(server, known, folder, calls):
    at = [stop for stop in stops(calls) if stop[0] == "write"]
    troubles, faults = failed_everywhere(server, known, folder, at, "retval=10", tells=False)
    print(f"{faults} writes of which only 10 bytes are said to be taken, and none is")
    assert not troubles, "\n".join(troubles[:10])


def ended_here(kind, root, limit):
    """How a write ends in a process of its own that may write no file longer than `limit` bytes."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sys.path.insert(0, sys.argv[2]); import writes; sys.path.insert(0, sys.argv[1]); writes.load_everything()\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})) if {limit} >= 0 else None\n"
        f"writes.perform({kind!r}, writes.store_of({kind!r}, {root!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-s", "-c", script, traced.LIB, str(traced.HERE)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("limit", [0, 1, 100, 300, 1000, 1300])
def test_a_file_that_may_not_grow_gives_short_writes_and_then_an_error(known, folder, limit):
    kind = "done"
    root = laid(known[kind].before, f"{folder}/short")
    trouble = judged(kind, ended_here(kind, root, limit), root, known)
    assert not trouble, trouble


@pytest.fixture
def small_disk(folder):
    """A tmpfs of 128 KB: `small_disk(free)` fills what lies on it up but for so many pages, and gives its path."""
    place = f"{folder}/small"
    os.makedirs(place, exist_ok=True)
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small tmpfs needs root on Linux")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", place], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {made.stderr.strip()}")

    def fill(free):
        left = os.statvfs(place).f_bavail - free
        with open(f"{place}/filler", "wb") as filler:
            filler.write(bytes(left * os.statvfs(place).f_bsize))
        return place

    yield fill
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("kind", ["create", "start", "quarantine", "archive"])
def test_on_a_disk_that_is_really_full_nothing_is_changed_and_nothing_is_lost(known, folder, small_disk, kind):
    for free in range(8):
        root = laid(known[kind].before, f"{folder}/small/project")
        place = small_disk(free)
        ended = ended_here(kind, root, -1)
        os.unlink(f"{place}/filler")
        trouble = judged(kind, ended, root, known)
        assert not trouble, f"{free} pages free: {trouble}"
        assert free or "disk space" in ended["message"].lower()
