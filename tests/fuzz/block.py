"""Blocks of cases, each in a process of its own, with the limits of the system upon it. Run as a program:

    python block.py LIB FOLDER HOW CASES SEED [DOOR]...     tallies as JSON on standard output

LIB is the code that is tried. HOW is `drawn` (by hypothesis, which makes a case that fails small) or `thrown` (by dice:
fast, even), or, without doors, a function of listed.py, as `corpus` (CASES is then how many findings are enough, 0 for
all). The same SEED plays the same cases. A case that fails is told as Python that can be pasted.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

BLOCK = 2500
ADDRESS_SPACE = 1500 << 20  # above what is mapped already; what is really used is measured
SHOWN = 1500
MOST_FAILURES = 40


def main(how: str, folder: str, cases: int, seed: int, doors: list[str]) -> dict[str, Any]:
    """Play `cases` cases, shared among the doors as their costs allow; the tallies."""
    if how not in ("drawn", "thrown"):
        return {
            **in_a_child(how, how, cases, seed, folder),
            "cpu_s": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]),
        }
    shares = {"states": 10, "features": 60, "payloads": 26, "arguments": 4}
    doors = doors or list(shares)
    whole = sum(shares[door] for door in doors)
    total: dict[str, Any] = {
        door: {"cases": 0, "outcomes": Counter(), "slowest": [0.0, ""], "largest": [0.0, ""]} for door in doors
    }
    failures: list[str] = []
    for door in doors:
        left = max(1, cases * shares[door] // whole)
        number = 0
        while left > 0:
            number += 1
            tally = in_a_child(how, door, min(left, BLOCK), seed + 1000 * number, folder)
            left -= BLOCK
            into = total[door]
            into["cases"] += tally["cases"]
            into["outcomes"].update(tally["outcomes"])
            for what in ("slowest", "largest"):
                into[what] = max(into[what], tally[what])
            failures += [f"{door}, seed {seed + 1000 * number}: {failure}" for failure in tally["failures"]]
    return {"doors": total, "failures": failures, "cpu_s": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])}


def in_a_child(how: str, door: str, count: int, seed: int, folder: str) -> dict[str, Any]:
    """Play so many cases of a door in a forked process; its tally."""
    place = tempfile.mkdtemp(dir=folder)
    pid = os.fork()
    if pid == 0:
        try:
            played(how, door, count, seed, place)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    try:
        return json.loads(Path(place, "tally.json").read_text())
    except OSError:
        return {
            "cases": 0,
            "outcomes": {},
            "slowest": [0.0, ""],
            "largest": [0.0, ""],
            "failures": [f"the process died ({status})"],
        }
    finally:
        shutil.rmtree(place, ignore_errors=True)


def stage(place: str) -> Any:
    """A play on fresh ground, watched; this process can do nothing else from then on."""
    import acts
    import cases
    import ground
    import watch
    from batch_implement.commands import claude_settings
    from batch_implement.store import serialization

    at = ground.Ground(f"{place}/ground")
    cases.STATE_BYTES.update({name: serialization.serialize(state) for name, state in at.shapes.items()})
    readable = (
        sys.prefix,
        sys.base_prefix,
        str(Path(acts.batchctl.__file__).parents[3]),
        "/proc",
        "/usr/share/zoneinfo",
        claude_settings.MANAGED_SETTINGS,  # `doctor` asks what an administrator allows
        str(Path(__file__).parent),
        f"{at.folder}/home",
        f"{at.folder}/bin",
    )
    return acts.Play(at, watch.Watch(at.root, readable, ("git", os.path.basename(os.path.realpath(sys.executable)))))


def played(how: str, door: str, count: int, seed: int, place: str) -> None:
    """Play the cases and leave the tally in `place`."""
    play = stage(place)
    mapped = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        if os.path.exists("/proc/self/statm")
        else 0
    )
    if mapped:
        resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE, resource.RLIM_INFINITY))
    tally: dict[str, Any] = {
        "cases": 0,
        "outcomes": Counter(),
        "slowest": [0.0, ""],
        "largest": [0.0, ""],
        "failures": [],
    }
    known: set[str] = set()

    def one(case: Any) -> str:
        """Play it; what is wrong that is not known yet."""
        result = play.case(case)
        tally["cases"] += 1
        tally["outcomes"][result.outcome] += 1
        for what, took in (("slowest", result.cpu_s), ("largest", result.rose_mb)):
            if took > tally[what][0]:
                tally[what] = [took, repr(case)[:300]]
        return "\n  ".join(finding for finding in result.findings if finding not in known)

    one.tally = tally

    def failed(wrong: str, case: str) -> None:
        if how in ("drawn", "thrown"):
            known.update(wrong.split("\n  "))
        if len(tally["failures"]) < MOST_FAILURES:
            tally["failures"].append(f"{wrong}\n    {case[:SHOWN]}")

    {"drawn": drawn, "thrown": thrown}.get(how, listed)(door, count, seed, one, failed)
    Path(place, "tally.json").write_text(json.dumps(tally))


def thrown(door: str, count: int, seed: int, one: Any, failed: Any) -> None:
    """So many cases by dice."""
    import random

    from cases import DOORS
    from hostile import Thrown

    dice = random.Random(seed)
    for _ in range(count):
        case = DOORS[door](Thrown(dice))
        wrong = one(case)
        if wrong:
            failed(wrong, repr(case))


def listed(which: str, enough: int, seed: int, one: Any, failed: Any) -> None:
    """All cases of the corpus, or the systematic ones, until so many have failed (0: all of them)."""
    import acts
    import listed

    wrongs = 0
    for name, case in getattr(listed, which)():
        huge = name.startswith("huge") or acts.size_of(case) > acts.HUGE  # what the list itself takes counts for none
        wrong = alone(one, case) if huge else one(case)
        one.tally["cases"] += huge
        if wrong:
            failed(f"{name}: {wrong}", repr(case))
            wrongs += 1
            if wrongs == enough:
                return


def alone(one: Any, case: Any) -> str:
    """What is wrong with a huge case, played in a process of its own: its memory counts from what there is now."""
    import watch

    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        watch.Limits.least = 0
        os.write(writes, (one(case) or "-").encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(writes)
    with open(reads, "rb") as said:
        wrong = said.read().decode()
    os.waitpid(pid, 0)
    return "" if wrong == "-" else wrong or "the process died"


def drawn(door: str, count: int, seed: int, one: Any, failed: Any) -> None:
    """So many cases by hypothesis; after a failure the rest is played with what is known."""
    import hypothesis
    from cases import DOORS
    from hostile import Drawn
    from hypothesis import strategies as st

    last: list[Any] = []

    def trial(case: Any) -> None:
        wrong = one(case)
        if wrong:
            last[:] = [wrong, repr(case)]
            raise AssertionError(wrong)

    given = st.composite(lambda draw: DOORS[door](Drawn(draw)))()
    for again in range(MOST_FAILURES):
        settings = hypothesis.settings(
            max_examples=max(1, count // (1 + again)), database=None, deadline=None, report_multiple_bugs=False,
            print_blob=False,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        try:
            hypothesis.seed(seed + again)(settings(hypothesis.given(given)(trial)))()
            return
        except AssertionError:
            failed(*last)


if __name__ == "__main__":
    lib, folder, how, cases_wanted, seed_wanted, *doors_wanted = sys.argv[1:]
    sys.path[:0] = [lib, str(Path(__file__).parent), str(Path(__file__).parents[1])]
    print(json.dumps(main(how, folder, int(cases_wanted), int(seed_wanted), doors_wanted)))
