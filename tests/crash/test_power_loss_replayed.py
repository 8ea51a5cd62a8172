"""Whatever a power cut leaves of a write, the project has the old version or the new; after the write, the new."""

from __future__ import annotations

import pytest
import writes
from replay import crash_states, recorded
from scratch import TOLD_OF_NOTHING, laid, taken, trouble_with
from traced import needs_strace

pytestmark = needs_strace
EITHER, NEW = frozenset(("old", "new")), frozenset(("new",))
# As a cut may take the temporary file's name and leave the sidecar that knows it, two notes may then say a little less
# than happened: that the first version was removed, that an old file was edited.
QUIET = TOLD_OF_NOTHING - {"create", "migrate"}
JUDGED_AS_BOTH = ("create", "start", "done", "fail", "record", "archive", "replace", "quarantine", "end")
SHORT = ("start", "migrate", "quarantine")
CHANGING = [kind for kind in writes.KINDS if kind != "read"]


def recovered(server, known, folder, kind):
    """The troubles found after each cut that one write can meet, a sentence each, and how many cuts there were."""
    root = laid(known.before, f"{folder}/{kind}-recorded")
    before = taken(root)
    record = recorded(before, root, server.calls(kind, root))
    troubles, cuts = [], 0
    for tree, done in crash_states(record):
        for trusted in (True, False) if kind in JUDGED_AS_BOTH else (None,):
            cuts += 1
            place = laid(tree, f"{folder}/cut")
            trouble = trouble_with(kind, place, known, NEW if done else EITHER, trusted=trusted, quiet=QUIET)
            if trouble:
                files = {path: file and file.data[:40] for path, file in tree.items()}
                troubles.append(f"{kind}, {'after' if done else 'during'} the write: {trouble}\n{files}")
    return troubles, cuts


@pytest.mark.parametrize(
    "kind", [kind if kind in SHORT else pytest.param(kind, marks=pytest.mark.prove) for kind in CHANGING]
)
def test_every_state_that_a_cut_can_leave_is_the_old_version_or_the_new(server, known, folder, kind):
    troubles, cuts = recovered(server, known[kind], folder, kind)
    print(f"{cuts} cuts of {kind}")
    assert not troubles, "\n".join(troubles[:5])
    assert cuts > 3
