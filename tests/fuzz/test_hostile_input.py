"""Hostile input at four surfaces: state files, features files, hook payloads, argument lists.

Each case checks (see case_player.py): no traceback and no error but BatchError; a hook decides only what it decides for
a valid payload with the same fields; nothing outside of the project is read or written, nothing deleted; at most 2 s
and 200 MB. The short form plays the corpus and a few more cases, the full form 100,000, and some as real processes.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from batches import BATCHCTL, GUARD
from mutating import mutated

HERE = Path(__file__).parent
LIB = str(HERE.parents[1] / "lib")
CORPUS = sorted(str(path.relative_to(HERE / "corpus")) for path in (HERE / "corpus").rglob("*") if path.is_file())
CASES = int(os.environ.get("FUZZ_CASES", "100000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SHARES = 4  # each is played by a process of its own

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the watch on files reads /proc, which only Linux has")


def play(lib, place, how, cases, seed, *surfaces, wall_s=20):
    """Run run_block.py and return its tallies."""
    words = [sys.executable, str(HERE / "run_block.py"), lib, place, how, str(cases), str(seed), *surfaces]
    environment = {**os.environ, "FUZZ_WALL_S": str(wall_s), "PYTHONHASHSEED": "0"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=3600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def print_figures(tally):
    """Print a summary of a tally."""
    for surface, of in tally["surfaces"].items():
        outcomes = ", ".join(f"{number} {name}" for name, number in sorted(of["outcomes"].items()))
        print(f"{surface}: {of['cases']} cases: {outcomes}")
        print(f"    slowest {of['slowest'][0]:.2f} s: {of['slowest'][1]}")
        print(f"    largest {of['largest'][0]:.0f} MB: {of['largest'][1]}")
    print(f"{sum(of['cases'] for of in tally['surfaces'].values())} cases, {tally['cpu_s']:.0f} s of processor time")


# -- the short form ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(place):
    """What is wrong, by the file of the corpus."""
    tally = play(LIB, place, "corpus", 0, 0)
    assert tally["cases"] > len(CORPUS)
    return tally["failures"]


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_holds(corpus, name):
    wrong = [failure for failure in corpus if failure.startswith((f"{name}:", f"{name} "))]
    assert not wrong, "\n".join(wrong)


def test_a_few_cases_more_hold(place):
    tally = play(LIB, place, "hypothesis", 60, 7)
    assert not tally["failures"], "\n".join(tally["failures"])
    assert sum(of["cases"] for of in tally["surfaces"].values()) > 40


# -- the full form -----------------------------------------------------------------------------------------------------


@pytest.mark.prove
def test_all_things_in_all_places_hold(place):
    tally = play(LIB, place, "systematic", 0, 0)
    print_figures({"surfaces": {"systematic": tally}, "cpu_s": tally["cpu_s"]})
    assert not tally["failures"], "\n".join(tally["failures"])


@pytest.mark.prove
@pytest.mark.parametrize("share", range(SHARES))
def test_a_hundred_thousand_cases_hold(place, share):
    print(f"FUZZ_SEED={SEED} FUZZ_CASES={CASES} repeats this run")
    most, seed = CASES // SHARES, SEED * SHARES + share
    thrown = play(LIB, place, "random", most * 96 // 100, seed)
    print_figures(thrown)
    drawn = play(LIB, place, "hypothesis", most * 4 // 100, seed)
    print("drawn by hypothesis:")
    print_figures(drawn)
    failures = thrown["failures"] + drawn["failures"]
    assert not failures, "\n".join(failures)


@pytest.mark.prove
def test_real_processes_hold_too(place):
    import case_player
    import cases
    import scratch_project
    from batch_implement.store import serialization
    from hostile_input import RandomChoices

    at = scratch_project.ScratchProject(f"{place}/real")
    os.symlink(os.path.realpath(sys.executable), f"{at.folder}/bin/python3")
    os.symlink("/bin/sh", f"{at.folder}/bin/sh")
    cases.STATE_BYTES.update({name: serialization.serialize(state) for name, state in at.batches_by_condition.items()})
    dice, wrong, outcomes, slowest, largest = random.Random(SEED), [], {}, (0.0, ""), (0, "")
    for number in range(300):
        case = cases.SURFACES[("payloads", "states", "arguments")[number % 3]](RandomChoices(dice))._replace(
            swap=(0, "")
        )
        if case.action not in ("batchctl",) and not case.action.startswith("hook"):
            continue
        try:
            words = [os.fsencode(word) for word in case.words]
        except UnicodeEncodeError:
            continue  # no process can be given these
        at.set_up(case.shape, sealed=case.sealed, whole=True)
        for name, content in case.files:
            (at.put_special if isinstance(content, str) else at.put)(name, content)
        before = at.snapshot()
        command = [BATCHCTL, *words] if case.action == "batchctl" else [GUARD, *case.action.split()[1:]]
        client = (
            {"CLAUDE_CODE_SESSION_ID": scratch_project.SESSION, "CLAUDE_PID": str(os.getpid())} if case.client else {}
        )
        status, said, cpu_s, rss_mb = run_process(command, at, case.raw.replace(b"ROOT", at.root.encode()), client)
        hook = case.action != "batchctl"
        findings = at.find_problems(before, said if case.surface == "states" else None)
        if status not in ((0,) if hook else case_player.CODES):
            findings.append(f"exit status {status}")
        if "Traceback (most recent call last)" in said:
            findings.append("a traceback was shown")
        if cpu_s > 2 or rss_mb > 200:
            findings.append(f"{cpu_s:.1f} s, {rss_mb} MB")
        wrong += [f"{finding}: {case!r}\n{said[-300:]}" for finding in findings]
        outcomes[("hook" if hook else "batchctl", status)] = (
            outcomes.get(("hook" if hook else "batchctl", status), 0) + 1
        )
        slowest, largest = max(slowest, (cpu_s, repr(case)[:200])), max(largest, (rss_mb, repr(case)[:200]))
    print(f"{sum(outcomes.values())} real processes: {outcomes}; slowest {slowest[0]:.2f} s; largest {largest[0]} MB")
    assert not wrong, "\n".join(wrong[:10])
    assert sum(outcomes.values()) > 200


def run_process(command, at, raw, client):
    """Run a process. Return its exit status, its output, its CPU time in seconds and its peak memory in MB."""
    given = Path(at.folder, "stdin")
    given.write_bytes(raw)
    with given.open("rb") as stdin, open(f"{at.folder}/said", "w+b") as said:
        process = subprocess.Popen(
            command, cwd=at.root, env={**at.environment, **client}, stdin=stdin, stdout=said, stderr=said,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return (
            process.returncode,
            said.read().decode("utf-8", "replace"),
            used.ru_utime + used.ru_stime,
            used.ru_maxrss >> 10,
        )


# -- it notices --------------------------------------------------------------------------------------------------------

MUTATIONS = {  # the patch, and the cases that show it
    "an error of the parser's depth is not caught": (
        "wholes",
        "base/strict_json.py",
        "    except RecursionError:\n",
        "    except ZeroDivisionError:\n",
    ),
    "the size of a state is not looked at": (
        "things",
        "store/atomic_files.py",
        "        if status.st_size > MAX_BYTES:\n",
        "        if False:\n",
    ),
    "the number of values is not looked at": (
        "huge",
        "base/strict_json.py",
        "    if len(text) <= most or ",
        "    if True or ",
    ),
    "a link is followed": (
        "things",
        "store/atomic_files.py",
        "_READ = os.O_RDONLY | os.O_NOFOLLOW | ",
        "_READ = os.O_RDONLY | ",
    ),
    "a FIFO is waited for": (
        "things",
        "store/atomic_files.py",
        "_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | ",
        "_READ = os.O_RDONLY | os.O_NOFOLLOW | ",
    ),
    "a hook exits with 2 on a payload that is none": (
        "wholes",
        "hooks/dispatch.py",
        "        _print_output(error_reporting.report_error(name, project, error))\n",
        "        sys.exit(2)\n",
    ),
    "a payload that is none counts as an empty one": (
        "corpus",
        "hooks/dispatch.py",
        "    if not isinstance(data, dict):\n",
        "    data = data if isinstance(data, dict) else {}\n    if not isinstance(data, dict):\n",
    ),
    "what is quarantined is deleted": (
        "things",
        "store/archive.py",
        "        os.link(project.state_name, name, src_dir_fd=folder, dst_dir_fd=to, follow_symlinks=False)\n",
        "        os.unlink(project.state_name, dir_fd=folder)\n",
    ),
    "an error that is not ours gets through": (
        "corpus",
        "cli/batchctl.py",
        "    except BatchError as error:\n        if project is not None and error.exit_code",
        "    except ZeroDivisionError as error:\n        if project is not None and error.exit_code",
    ),
}


@pytest.mark.prove
@pytest.mark.parametrize("name", MUTATIONS)
def test_fuzzing_notices(place, name):
    which, *patch = MUTATIONS[name]
    tally = play(mutated(patch, place), place, which, 1, 0, wall_s=5)
    print(f"{name}: after {tally['cases']} cases: {tally['failures'][0][:200] if tally['failures'] else 'nothing'}")
    assert tally["failures"]
