"""Killed at any system call, a write leaves the old version or the new one, and nobody has to clean up after it."""

from __future__ import annotations

import pytest
from scratch import laid, taken, trouble_with
from traced import needs_strace
from walk import stops, walk

pytestmark = needs_strace
EITHER = frozenset(("old", "new"))


def killed_everywhere(server, known, folder, at, *, written_on=False):
    """The troubles found, a sentence each, and how many writes were killed. With `written_on` the server's own code
    does the next write.
    """
    troubles, kills = [], 0
    for step in walk(server, known, folder, at, "signal=KILL"):
        assert step.ended.get("signal") == 9, f"{step}: not killed but {step.ended}"
        kills += 1
        trouble = ""
        if written_on:
            after = server.run([("record", step.root)], "fsync:delay_enter=1")["record"]
            trouble = "" if "revision" in after else f"the next write fails: {after}"
        elif step.kind == "quarantine":  # who looks next may be a person
            copy = laid(taken(step.root), f"{folder}/copy")
            trouble = trouble_with(step.kind, copy, known[step.kind], EITHER, trusted=True)
        trouble = trouble or trouble_with(step.kind, step.root, known[step.kind], EITHER) if not written_on else trouble
        if trouble:
            troubles.append(f"{step}: {trouble}")
    return troubles, kills


def test_a_write_that_is_killed_at_a_call_that_changes_something_leaves_the_old_version_or_the_new(
    server, known, folder, calls
):
    changing = stops({kind: [call for call in own if changes(call)] for kind, own in calls.items()})
    troubles, kills = killed_everywhere(server, known, folder, changing)
    print(f"{kills} writes killed")
    assert not troubles, "\n".join(troubles[:10])
    assert kills > 200


@pytest.mark.prove
def test_a_write_that_is_killed_at_any_call_leaves_the_old_version_or_the_new(server, known, folder, calls):
    calls = {kind: [call for call in own if call.name != "brk"] for kind, own in calls.items()}  # not in every run
    troubles, kills = killed_everywhere(server, known, folder, stops(calls, frozenset()))
    print(f"{kills} writes killed at every system call")
    assert not troubles, "\n".join(troubles[:10])
    assert kills == sum(len(own) for own in calls.values())


def changes(call):
    """Whether a call changes something on the disk, or would have."""
    names = ("write", "pwrite64", "fsync", "ftruncate", "renameat", "linkat", "unlinkat", "mkdirat", "flock")
    return call.name in names or "O_CREAT" in call.arguments
