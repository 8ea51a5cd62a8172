"""Many processes and threads on one batch at the same time: nothing is lost, and nobody waits for ever.

`contenders.py` lets them meet; each function here judges one of its jobs and returns the troubles found, a sentence
each, with the figures. `lib` is the code that they run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest
from batches import BATCHCTL
from traced import HERE, LIB

PATIENCE_S = 240.0
WRITERS = 8
ROTATING = 8  # more than the old logs that are kept
SAME, TWO = ("session-1", "session-1"), ("session-1", "session-2")  # one conversation that was resumed twice, or two
RACES = pytest.mark.parametrize(
    ("event", "sessions"),
    [("UserPromptExpansion", TWO), ("UserPromptExpansion", SAME), ("SessionStart", SAME)],
    ids=["two conversations", "one conversation, twice", "one conversation, twice, at its start"],
)


def contended(lib: str, folder: str, what: str, **arguments: Any) -> dict[str, Any]:
    """What came of a job of `contenders.py` in a fresh project."""
    root = f"{folder}/contended"
    shutil.rmtree(root, ignore_errors=True)
    job = json.dumps({"do": what, "root": root, "patience_s": PATIENCE_S, **arguments})
    words = [sys.executable, "-S", "-s", str(HERE / "contenders.py"), lib, job]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONUTF8": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def hammered(lib: str, folder: str, updates: int, **limits: float) -> tuple[list[str], str]:
    """Eight processes write `updates` marks each, while others read."""
    found = contended(lib, folder, "hammer", updates=updates, **{"timeout_s": 60.0, **limits})
    total = WRITERS * updates
    wanted = sorted([f"process {who}", number] for who in range(WRITERS) for number in range(updates))
    wrote = [answer for answer in found["wrote"] if "made" in answer]
    made = [mark for answer in wrote for mark in answer["made"]]
    troubles = [f"a writer did not come through: {answer}" for answer in found["wrote"] if "made" not in answer]
    if sorted(found["marks"]) != wanted:
        troubles.append(f"{len(found['marks'])} of {total} updates are in the state")
    if sorted(found["logged"]) != wanted:
        troubles.append(f"{len(found['logged'])} of {total} updates are in the audit log")
    if found["revision"] != 1 + total:
        troubles.append(f"the revision has risen by {found['revision'] - 1}")
    if sorted(mark[2] for mark in made) != list(range(2, 2 + total)):
        troubles.append("two writers were told the same revision")
    if any(found["marks"][revision - 2 : revision - 1] != [[who, number]] for who, number, revision in made):
        troubles.append("a mark is not the one that its revision made")
    readers = [answer for answer in found["read"] if "looks" in answer]
    troubles += [f"a reader did not come through: {answer}" for answer in found["read"] if "looks" not in answer]
    troubles += [f"a reader saw: {wrong}" for answer in readers for wrong in answer["wrong"][:3]]
    if len(readers) == 3 and not all(answer["looks"] > 5 for answer in readers):
        troubles.append("a reader has hardly looked")
    longest_s = max((answer["longest_s"] for answer in wrote), default=0.0)
    return troubles, (
        f"{len(found['marks'])} of {total} updates kept, revision risen by {found['revision'] - 1}, in "
        f"{found['took_s']:.1f} s; {sum(answer['looks'] for answer in readers)} looks by 3 readers; the longest wait "
        f"for an update {longest_s:.2f} s"
    )


def stopped(lib: str, folder: str, timeout_s: float, **limits: float) -> tuple[list[str], str]:
    """Five writers want the lock of a holder that is stopped."""
    found = contended(lib, folder, "stop", timeout_s=timeout_s, **limits)
    troubles = []
    for answer in found["waited"]:
        if answer.get("error") != "LockTimeout" or answer["exit_code"] != 3:
            troubles.append(f"a writer was not refused: {answer}")
        elif f"process {found['holder']} (" not in answer["message"]:
            troubles.append(f"the holder, process {found['holder']}, is not named: {answer['message']}")
    if found["seen"] != 1:
        troubles.append(f"a reader saw revision {found['seen']}")
    if (found["held"], found["marks"]) != ({"revision": 2}, [["holder", 0]]):
        troubles.append(f"the holder went on to {found['held']}, and the state has {found['marks']}")
    return troubles, f"{len(found['waited'])} writers told in {timeout_s:g} s which process has the lock"


def killed(lib: str, folder: str, rounds: int, **limits: float) -> tuple[list[str], str]:
    """Holders are killed, with nobody waiting and with two who do."""
    found = contended(lib, folder, "kill", rounds=rounds, **{"timeout_s": 60.0, **limits})
    wanted = rounds - rounds // 2 + 2 * (rounds // 2)
    troubles = [f"the lock stayed held: {answer}" for answer in found["wrong"]]
    if not troubles and (len(found["marks"]), found["revision"]) != (wanted, 1 + wanted):
        troubles.append(f"{len(found['marks'])} marks in revision {found['revision']}, not {wanted}")
    if any(who == "holder" for who, _ in found["marks"]):
        troubles.append("a killed holder has left its mark")
    longest_s = max(found["after_s"], default=0.0)
    return troubles, f"{rounds} holders killed, the lock had again after {longest_s * 1000:.0f} ms at most"


def taken_over(lib: str, folder: str, rounds: int, event: str, sessions: tuple[str, str]) -> tuple[list[str], str]:
    """Two clients want the batch of a dead one at the same moment."""
    found = contended(lib, folder, "take over", rounds=rounds, event=event, sessions=sessions)
    troubles, first = [], 0
    for number, seen in enumerate(found["rounds"], 1):
        owner = seen["owner"]
        said = [answer.get("answer", answer) for answer in seen["said"]]
        winner = found["clients"].index(owner["pid"]) if owner["pid"] in found["clients"] else None
        if winner is None or owner["session_id"] != sessions[winner]:
            troubles.append(f"round {number}: nobody has it: {owner}, {said}")
            continue
        first += winner == 0
        if "additionalContext" not in said[winner]:
            troubles.append(f"round {number}: who has it was told {said[winner]!r}")
        lost = said[1 - winner]
        if event == "SessionStart":
            if lost:
                troubles.append(f"round {number}: who lost was told to work: {lost}")
        elif f"session {owner['session_id']}, process {owner['pid']} on " not in lost or '"block"' not in lost:
            troubles.append(f"round {number}: who lost was not told of the winner: {lost}")
        refused = [] if event == "SessionStart" else ["refused"]
        if (seen["writes"], sorted(seen["events"])) != (1, ["acquired", *refused]):
            troubles.append(f"round {number}: {seen['writes']} writes, and the log tells {seen['events']}")
    return troubles, (
        f"{rounds} races of two clients ({event}, {len(set(sessions))} session ids): one winner each, {first} times "
        "the first"
    )


def rotated(lib: str, folder: str) -> tuple[list[str], str]:
    """Eight processes find the audit log full at the same moment."""
    found = contended(lib, folder, "rotate", writers=ROTATING)
    troubles = [f"a line could not be written: {said}" for said in found["said"] if said != {"trouble": ""}]
    if sorted(map(str, found["entries"])) != sorted(["old", *map(str, range(ROTATING))]):
        troubles.append(f"the log tells only {found['entries']}")
    if found["files"] != ["audit.jsonl", "audit.jsonl.1"]:
        troubles.append(f"rotated more than once: {found['files']}")
    return troubles, f"{ROTATING} processes rotated one full log once and lost no line"


def held(outcome: tuple[list[str], str]) -> None:
    """Print the figures; nothing may be wrong."""
    troubles, figures = outcome
    print(figures)
    assert not troubles, "\n".join(troubles[:10])


def test_eight_processes_lose_no_update_and_readers_see_valid_versions_alone(folder):
    held(hammered(LIB, folder, 15))


@pytest.mark.prove
def test_eight_processes_lose_none_of_2000_updates(folder):
    held(hammered(LIB, folder, 250))


def test_who_waits_for_a_stopped_process_is_told_which(folder):
    held(stopped(LIB, folder, 0.2))


@pytest.mark.prove
def test_the_command_too_says_which_process_is_stopped(repository, batch):
    """With its own deadline, which is shorter than a hook may take."""
    code = (
        f"import os, sys; sys.path[:0] = [{LIB!r}, {str(HERE)!r}]; import contenders\n"
        "child, release = contenders.holding(sys.argv[1]); print(child.pid, flush=True); sys.stdin.read()\n"
        "os.close(release); contenders.answers([child], 60)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code, str(repository)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        holder = int(program.stdout.readline())
        done = subprocess.run([BATCHCTL, "pause"], cwd=repository, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert f"was not free within 10 s; it is held by process {holder} (" in done.stderr
        print(done.stderr.strip())
    finally:
        program.communicate()
    done = subprocess.run([BATCHCTL, "pause"], cwd=repository, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_killed_process_frees_the_lock_at_once(folder):
    held(killed(LIB, folder, 4))


@pytest.mark.prove
def test_a_killed_process_frees_the_lock_at_once_every_time(folder):
    held(killed(LIB, folder, 200))


@RACES
def test_of_two_clients_that_want_the_batch_of_a_dead_one_one_gets_it_and_the_other_is_told(folder, event, sessions):
    held(taken_over(LIB, folder, 4, event, sessions))


@pytest.mark.prove
@RACES
def test_of_two_clients_that_want_the_batch_of_a_dead_one_one_gets_it_every_time(folder, event, sessions):
    held(taken_over(LIB, folder, 300, event, sessions))


def test_processes_that_find_the_log_full_at_once_rotate_it_once(folder):
    held(rotated(LIB, folder))
