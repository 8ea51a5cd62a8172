"""Real runs while everything is killed: all features are done once, no stop is counted, nothing is left.

    make prove                                              46 schedules
    .venv/bin/python tests/crash/storm.py 7                 prints and replays seed 7

The oracle of what is merged is in git_oracles.py; processes, worktrees, branches and locks are listed after the run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from behaviours import copy_of_code
from mutating import Patch
from storm import KILLED, Schedule, ride_out, ride_out_aloud

SEEDS = 46
WRONG: dict[str, tuple[Patch, Schedule, str]] = {
    "a stop of `done` counts": (
        ("runner/attempt.py", "if undecided < subprocesses.MAX_RUNS:", "if False:"),
        Schedule(0, 1, False, {150: ("done", 0)}),
        "a stop was counted",
    ),
    "a preflight that died is forgotten": (
        ("runner/acquire_batch.py", "    remove_preflights(", "    (lambda *_: None)("),
        Schedule(0, 1, False, {30: ("driver", 0)}),
        "is left",
    ),
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_features_are_done_once_whatever_is_killed(tmp_path: Path, code: Path, seed: int) -> None:
    schedule = Schedule.of(seed)
    print(schedule.describe())
    assert ride_out_aloud(schedule, tmp_path / "run", code) == []


@pytest.mark.prove
@pytest.mark.parametrize("name", WRONG)
def test_the_storm_notices(tmp_path: Path, name: str) -> None:
    patch, schedule, sign = WRONG[name]
    assert ride_out(schedule, tmp_path / "right", copy_of_code(tmp_path / "code")) == []
    troubles = ride_out(schedule, tmp_path / "wrong", copy_of_code(tmp_path / "mutant", patch))
    assert any(sign in trouble for trouble in troubles), troubles


def test_schedules_kill_everything_with_one_job_and_with_four() -> None:
    schedules = [Schedule.of(seed) for seed in range(SEEDS)]
    assert schedules == [Schedule.of(seed) for seed in range(SEEDS)]
    assert {(schedule.jobs, schedule.is_client) for schedule in schedules} == {
        (jobs, is_client) for jobs in (1, 4) for is_client in (True, False)
    }
    for jobs in (1, 4):
        killed = {who for schedule in schedules if schedule.jobs == jobs for who, _ in schedule.deaths.values()}
        assert killed == set(KILLED)
