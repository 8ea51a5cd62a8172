"""A proof that cannot fail proves nothing: each is tried on code with one thing wrong, and has to notice."""

from __future__ import annotations

import pytest
from mutations import FAILED, KILLED, NEEDLESS, SYNCS, WITNESS, mutated
from scratch import laid
from test_fault import failed_everywhere
from test_kill import changes, killed_everywhere
from test_power_loss_replayed import recovered
from traced import Server, needs_strace
from walk import stops

pytestmark = needs_strace


def first_and_the_rest(table, short):
    """A mutation a proof is tried in the short form, the others in the full one."""
    return [name if name in short else pytest.param(name, marks=pytest.mark.prove) for name in table]


@pytest.fixture
def wrong(folder):
    """A server with one thing wrong: `wrong(patch)`."""
    running = []

    def start(patch):
        running.append(Server(mutated(patch, folder)))
        return running[-1].__enter__()

    yield start
    for server in running:
        server.__exit__()


def watched(server, known, folder, kinds):
    """The stops of these kinds with that server's code."""
    calls = {kind: server.calls(kind, laid(known[kind].before, f"{folder}/{kind}-mutated")) for kind in kinds}
    return stops({kind: [call for call in own if changes(call)] for kind, own in calls.items()})


@pytest.mark.prove
@pytest.mark.parametrize("name", SYNCS)
def test_the_replayer_notices(wrong, known, folder, name):
    kind = WITNESS.get(name, "start")
    troubles, cuts = recovered(wrong(SYNCS[name]), known[kind], folder, kind)
    print(f"{name}: {len(troubles)} of {cuts} cuts")
    assert troubles


def test_one_sync_is_needless_because_the_seal_says_that_a_batch_is_away(wrong, known, folder):
    troubles, cuts = recovered(wrong(NEEDLESS), known["archive"], folder, "archive")
    assert not troubles, "\n".join(troubles[:5])
    assert cuts > 10


@pytest.mark.parametrize("name", first_and_the_rest(KILLED, ("written in place",)))
def test_killing_notices(wrong, known, folder, name):
    server = wrong(KILLED[name])
    troubles, kills = killed_everywhere(
        server, known, folder, watched(server, known, folder, kinds_for(name)), written_on=name in NEXT
    )
    print(f"{name}: {len(troubles)} of {kills} kills")
    assert troubles


@pytest.mark.parametrize("name", first_and_the_rest(FAILED, ("a temporary file stays after an error",)))
def test_failing_notices(wrong, known, folder, name):
    server = wrong(FAILED[name])
    if name == "a copy that cannot be read takes what was quarantined back":
        calls = server.calls("quarantine", laid(known["quarantine"].before, f"{folder}/quarantine-mutated"))
        at = [stop for stop in stops({"quarantine": calls}) if stop[0] == "openat"]
    else:
        at = watched(server, known, folder, ["start"])
    what = "retval=10" if "too short" in name else "error=EIO"
    at = [stop for stop in at if stop[0] == "write"] if "too short" in name else at
    troubles, faults = failed_everywhere(server, known, folder, at, what, tells="too short" not in name)
    print(f"{name}: {len(troubles)} of {faults} faults")
    assert troubles


NEXT = ("a temporary file that is left over is in the way", "the lock outlives its holder")


def kinds_for(name):
    """The kinds of write that show it."""
    return {"an archived copy is written under its name": ["archive"]}.get(
        name, ["quarantine"] if "moved away" in name else ["start"]
    )
