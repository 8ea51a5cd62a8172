"""Run a block of cases in a process of its own, with the system's limits on it.

    python run_block.py LIB FOLDER HOW CASES SEED [SURFACE]...     prints tallies as JSON

LIB is the code under test. HOW is `hypothesis` (it makes a failing case small) or `random` (eight times as fast), or,
without surfaces, a function of fixed_cases.py, as `corpus` (CASES is then the number of findings after which it stops,
0 for none). The same SEED plays the same cases. A failing case is printed as Python.
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
MAX_SHOWN_CHARS = 1500
MAX_FAILURES = 40


def main(how: str, folder: str, cases: int, seed: int, surfaces: list[str]) -> dict[str, Any]:
    """Play `cases` cases, distributed over the surfaces by their cost. Return the tallies."""
    if how not in ("hypothesis", "random"):
        return {
            **run_in_child(how, how, cases, seed, folder),
            "cpu_s": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]),
        }
    shares = {"states": 10, "features": 60, "payloads": 26, "arguments": 4}
    surfaces = surfaces or list(shares)
    whole = sum(shares[surface] for surface in surfaces)
    total: dict[str, Any] = {
        surface: {"cases": 0, "outcomes": Counter(), "slowest": [0.0, ""], "largest": [0.0, ""]} for surface in surfaces
    }
    failures: list[str] = []
    for surface in surfaces:
        left = max(1, cases * shares[surface] // whole)
        number = 0
        while left > 0:
            number += 1
            tally = run_in_child(how, surface, min(left, BLOCK), seed + 1000 * number, folder)
            left -= BLOCK
            into = total[surface]
            into["cases"] += tally["cases"]
            into["outcomes"].update(tally["outcomes"])
            for what in ("slowest", "largest"):
                into[what] = max(into[what], tally[what])
            failures += [f"{surface}, seed {seed + 1000 * number}: {failure}" for failure in tally["failures"]]
    return {"surfaces": total, "failures": failures, "cpu_s": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])}


def run_in_child(how: str, surface: str, count: int, seed: int, folder: str) -> dict[str, Any]:
    """Play `count` cases of a surface in a forked process. Return its tally."""
    case_folder = tempfile.mkdtemp(dir=folder)
    pid = os.fork()
    if pid == 0:
        try:
            play_cases(how, surface, count, seed, case_folder)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    try:
        return json.loads(Path(case_folder, "tally.json").read_text())
    except OSError:
        return {
            "cases": 0,
            "outcomes": {},
            "slowest": [0.0, ""],
            "largest": [0.0, ""],
            "failures": [f"the process died ({status})"],
        }
    finally:
        shutil.rmtree(case_folder, ignore_errors=True)


def make_player(case_folder: str) -> Any:
    """Return a player in a new scratch project. Its watch limits this process from now on."""
    import access_watch
    import case_player
    import cases
    import scratch_project
    from batch_implement.commands import claude_settings
    from batch_implement.store import serialization

    at = scratch_project.ScratchProject(f"{case_folder}/scratch")
    cases.STATE_BYTES.update({name: serialization.serialize(state) for name, state in at.batches_by_condition.items()})
    readable = (
        sys.prefix,
        sys.base_prefix,
        str(Path(case_player.batchctl.__file__).parents[3]),
        "/proc",
        "/usr/share/zoneinfo",
        claude_settings.MANAGED_SETTINGS,  # `doctor` asks what an administrator allows
        str(Path(__file__).parent),
        f"{at.folder}/home",
        f"{at.folder}/bin",
    )
    return case_player.CasePlayer(
        at, access_watch.AccessWatch(at.root, readable, ("git", os.path.basename(os.path.realpath(sys.executable))))
    )


def play_cases(how: str, surface: str, count: int, seed: int, case_folder: str) -> None:
    """Play the cases and write the tally into `case_folder`."""
    player = make_player(case_folder)
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

    def play_one(case: Any) -> str:
        """Play a case. Return the findings that are new."""
        result = player.case(case)
        tally["cases"] += 1
        tally["outcomes"][result.outcome] += 1
        for what, took in (("slowest", result.cpu_s), ("largest", result.rose_mb)):
            if took > tally[what][0]:
                tally[what] = [took, repr(case)[:300]]
        return "\n  ".join(finding for finding in result.findings if finding not in known)

    play_one.tally = tally

    def add_failure(findings: str, case: str) -> None:
        if how in ("hypothesis", "random"):
            known.update(findings.split("\n  "))
        if len(tally["failures"]) < MAX_FAILURES:
            tally["failures"].append(f"{findings}\n    {case[:MAX_SHOWN_CHARS]}")

    {"hypothesis": play_drawn, "random": play_random}.get(how, play_fixed)(surface, count, seed, play_one, add_failure)
    Path(case_folder, "tally.json").write_text(json.dumps(tally))


def play_random(surface: str, count: int, seed: int, play_one: Any, add_failure: Any) -> None:
    """Play `count` random cases."""
    import random

    from cases import SURFACES
    from hostile_input import RandomChoices

    dice = random.Random(seed)
    for _ in range(count):
        case = SURFACES[surface](RandomChoices(dice))
        findings = play_one(case)
        if findings:
            add_failure(findings, repr(case))


def play_fixed(which: str, enough: int, seed: int, play_one: Any, add_failure: Any) -> None:
    """Play all cases of the corpus, or the systematic ones, until `enough` have failed (0: all)."""
    import case_player
    import fixed_cases

    failure_count = 0
    for name, case in getattr(fixed_cases, which)():
        huge = (
            name.startswith("huge") or case_player.case_size(case) > case_player.HUGE
        )  # what the list itself takes counts for none
        findings = play_in_child(play_one, case) if huge else play_one(case)
        play_one.tally["cases"] += huge
        if findings:
            add_failure(f"{name}: {findings}", repr(case))
            failure_count += 1
            if failure_count == enough:
                return


def play_in_child(play_one: Any, case: Any) -> str:
    """Play a huge case in a process of its own, whose memory is measured from the present. Return the findings."""
    import access_watch

    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        access_watch.Limits.least = 0
        os.write(writes, (play_one(case) or "-").encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(writes)
    with open(reads, "rb") as said:
        findings = said.read().decode()
    os.waitpid(pid, 0)
    return "" if findings == "-" else findings or "the process died"


def play_drawn(surface: str, count: int, seed: int, play_one: Any, add_failure: Any) -> None:
    """Play `count` cases by hypothesis; after a failure play the rest and ignore what is known."""
    import hypothesis
    from cases import SURFACES
    from hostile_input import DrawnChoices
    from hypothesis import strategies as st

    last: list[Any] = []

    def trial(case: Any) -> None:
        findings = play_one(case)
        if findings:
            last[:] = [findings, repr(case)]
            raise AssertionError(findings)

    given = st.composite(lambda draw: SURFACES[surface](DrawnChoices(draw)))()
    for again in range(MAX_FAILURES):
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
            add_failure(*last)


if __name__ == "__main__":
    lib, folder, how, cases_wanted, seed_wanted, *surfaces_wanted = sys.argv[1:]
    sys.path[:0] = [lib, str(Path(__file__).parent), str(Path(__file__).parents[1])]
    print(json.dumps(main(how, folder, int(cases_wanted), int(seed_wanted), surfaces_wanted)))
