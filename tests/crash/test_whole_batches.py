"""Whole batches through the real client, while the client, hooks and batchctl are killed, windows are compacted and
the API refuses: every feature is done exactly once, which git is asked, and nothing that may only grow ever fell.

    make prove                                                          60 features, of a new seed each time
    BATCH_SEED=7 pytest -m prove tests/crash/test_whole_batches.py      the batch of seed 7 again

A seed does the same again: everything is counted, nothing timed (mayhem.py).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mortal
import pytest
from client import ClientMissing, binary
from mayhem import Ordeal, Plan, Watcher
from mutations import BATCHES, mutated
from scripted_model import REPOSITORY

from scripts import copy_of_plugin

WITNESS = Plan(
    seed=0,
    features=3,
    requests={7: "kill", 13: "kill"},  # feature 2 is committed and not yet done; feature 3 is written and not committed
    processes={},
    gives_up=frozenset((1,)),  # so there is an attempt that could be forgotten
    again=("new",),
)
SEED = int(os.environ.get("BATCH_SEED") or random.SystemRandom().randrange(1_000_000))


@pytest.fixture
def claude() -> Path:
    """The client's binary. Without one, or where there is no /proc to find processes in, a batch is skipped."""
    if sys.platform != "linux":
        pytest.skip("Processes are found in /proc, which Linux alone has.")
    try:
        return binary()
    except ClientMissing as missing:
        pytest.skip(str(missing))


def troubles(plan: Plan, folder: Path, plugin: Path = REPOSITORY) -> list[str]:
    """What went wrong in a batch of this plan; printed with all that happened."""
    print(plan.told())
    begun = time.monotonic()
    ordeal = Ordeal(plan, folder, plugin)
    try:
        with ordeal:
            ordeal.go_on_until_it_is_over()
        ordeal.judge()
    finally:
        print(*ordeal.happened, sep="\n")
        print(f"{ordeal.figures()}; {time.monotonic() - begun:.0f} s")
    return ordeal.troubles


@pytest.mark.prove
@pytest.mark.usefixtures("claude")
def test_sixty_features_are_done_exactly_once_whatever_dies(tmp_path: Path) -> None:
    wrong = troubles(Plan.of(SEED, 60), tmp_path)
    assert not wrong, f"BATCH_SEED={SEED}:\n" + "\n".join(wrong)


@pytest.mark.prove
@pytest.mark.usefixtures("claude")
def test_a_batch_whose_client_dies_between_commit_and_done_is_done_exactly_once(tmp_path: Path) -> None:
    assert troubles(WITNESS, tmp_path) == []


@pytest.mark.prove
@pytest.mark.usefixtures("claude")
@pytest.mark.parametrize("name", BATCHES)
def test_a_whole_batch_notices(tmp_path: Path, name: str) -> None:
    plugin = copy_of_plugin(tmp_path / "plugin")
    shutil.rmtree(plugin / "lib")
    shutil.copytree(mutated(BATCHES[name], str(tmp_path)), plugin / "lib")
    wrong = troubles(WITNESS, tmp_path, plugin)
    print(*wrong, sep="\n")
    assert wrong


# -- what the proof itself is made of ---------------------------------------------------------------------------------


def test_a_seed_plans_the_same_again_and_another_one_something_else() -> None:
    assert Plan.of(7, 60) == Plan.of(7, 60) != Plan.of(8, 60)
    for seed in range(20):
        plan = Plan.of(seed, 6)
        assert {"kill", "compact", "hiccup"} < set(plan.requests.values())
        assert {kind for kind, _ in plan.processes} == {"batchctl", "tool", "turn", "late"}


SOUND = {"batch_id": "b", "revision": 5, "retry_attempts": {"0": 1}, "completed_features": [1]}


@pytest.mark.parametrize(
    "change", [{"batch_id": "c"}, {"revision": 4}, {"retry_attempts": {}}, {"completed_features": []}], ids=str
)
def test_the_reader_notices_what_falls(tmp_path: Path, change: dict[str, Any]) -> None:
    watcher = Watcher(tmp_path / "state")
    watcher.look(SOUND)
    watcher.look({**SOUND, "revision": 6})
    assert watcher.wrong == []
    watcher.look({**SOUND, "revision": 6, **change})
    assert len(watcher.wrong) == 1


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A batchctl of three calls that change something, after which it says so."""
    path = tmp_path / "batchctl.py"
    path.write_text(
        "import os, sys\nfor name in 'abc':\n    os.mkdir(name)\nprint('made')\nsys.stdout.flush()\nos._exit(0)\n"
    )
    return path


@pytest.mark.parametrize(
    "at, left, said", [(1, "", ""), (2, "a", ""), (3, "ab", ""), (9, "abc", "made\n")], ids=["1", "2", "3", "the end"]
)
def test_a_process_dies_before_the_call_that_was_planned_and_the_next_one_does_not(
    tmp_path: Path, program: Path, at: int, left: str, said: str
) -> None:
    python = mortal.installed(f"{tmp_path}/mortals", {("batchctl", 1): ("self", at)}, sys.executable)
    command = [python, "-I", "-S", "-X", "utf8", str(program)]
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, said)
    assert "".join(sorted(path.name for path in place.iterdir())) == left
    assert [line.split()[:3] for line in mortal.deaths(f"{tmp_path}/mortals")] == [["batchctl", "1", "self"]]
    shutil.rmtree(place)
    place.mkdir()
    assert subprocess.run(command, cwd=place, capture_output=True, check=True).stdout == b"made\n"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc to find the client in")
@pytest.mark.parametrize("known, above", [(True, True), (True, False), (False, True)])
def test_a_client_is_killed_only_when_the_test_started_it_and_it_is_above(
    tmp_path: Path, program: Path, known: bool, above: bool
) -> None:
    """The shell stands for the client; another process, which lives on, for one whose number was used again."""
    python = mortal.installed(f"{tmp_path}/mortals", {("batchctl", 1): ("client", 2)}, sys.executable)
    mortal.allow(f"{tmp_path}/mortals", 0)
    with subprocess.Popen(["sleep", "60"]) as other:
        script = f'CLAUDE_PID={"$$" if above else other.pid} "$1" -I "$2"; echo alive'
        with subprocess.Popen(
            ["sh", "-c", f"read go; {script}", "_", python, str(program)],
            cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as client:  # fmt: skip
            if known:
                mortal.allow(f"{tmp_path}/mortals", client.pid if above else other.pid)
            said, _ = client.communicate("go\n", timeout=60)
        assert ("alive" not in said) == (known and above)
        assert other.poll() is None
        other.kill()
    assert (tmp_path / "c").is_dir()
