"""The proofs of contention are tried on code with one thing wrong, each, and have to notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import HAMMERED, KEPT, ROTATED, STOPPED, TAKEN_OVER, TWO_WRITERS, mutated
from test_contention import SAME, TWO, hammered, killed, rotated, stopped, taken_over

TESTS = Path(__file__).resolve().parents[1]
MACHINE = """
import sys
sys.path[:0] = sys.argv[1:]
import test_two_writers as two
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
once = settings(two.SHORT, max_examples=3000, phases=[Phase.generate])
run_state_machine_as_test(two.TwoWriters, settings=once)
"""
FEW_S = 5.0  # patience with code that may wait for ever


def noticed(name, outcome):
    """Print the first trouble that a proof found; there must be one."""
    troubles, figures = outcome
    assert troubles, figures
    print(f"{name}: {len(troubles)} troubles; {troubles[0]}"[:300])


def first_and_the_rest(table):
    """One mutation is tried in the short form, the others in the full one."""
    return [name if not at else pytest.param(name, marks=pytest.mark.prove) for at, name in enumerate(table)]


@pytest.mark.parametrize("name", first_and_the_rest(HAMMERED))
def test_writing_at_the_same_time_notices(folder, name):
    updates = 60 if name == "written in place" else 5  # it shows only to who looks at the right moment
    noticed(name, hammered(mutated(HAMMERED[name], folder), folder, updates, timeout_s=FEW_S, patience_s=60))


@pytest.mark.prove
@pytest.mark.parametrize("name", STOPPED)
def test_waiting_for_a_stopped_process_notices(folder, name):
    noticed(name, stopped(mutated(STOPPED[name], folder), folder, 0.2, patience_s=FEW_S))


@pytest.mark.prove
def test_killing_a_holder_notices(folder):
    noticed("the lock is a folder, which stays", killed(mutated(KEPT, folder), folder, 2, timeout_s=0.5))


@pytest.mark.prove
@pytest.mark.parametrize("name", TAKEN_OVER)
def test_two_clients_that_want_a_batch_notice(folder, name):
    event, sessions = ("UserPromptExpansion", TWO) if "lock" in name else ("SessionStart", SAME)
    noticed(name, taken_over(mutated(TAKEN_OVER[name], folder), folder, 20, event, sessions))


@pytest.mark.prove
def test_a_full_log_notices(folder):
    noticed("whoever comes rotates the log", rotated(mutated(ROTATED, folder), folder))


@pytest.mark.prove
@pytest.mark.parametrize("name", first_and_the_rest(TWO_WRITERS))
def test_two_writers_notice(folder, name):
    pytest.importorskip("hypothesis")
    words = [sys.executable, "-W", "ignore", "-c", MACHINE]
    places = [mutated(TWO_WRITERS[name], folder), str(TESTS), str(TESTS / "property")]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONUTF8": "1"}
    done = subprocess.run([*words, *places], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, "not noticed"
    assert "Failing test case:" in done.stderr, done.stderr
    print(f"{name}: noticed: {done.stderr.partition('Failing test case:')[0].splitlines()[-1]}")
