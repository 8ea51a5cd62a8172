"""How a run on a cluster ends before its time: Ctrl-C, SIGTERM; how long a scheduler is waited for."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from batch_implement.errors import Refused
from batch_implement.runner import cluster
from local import until
from team import Team


class Held:
    """Features whose clients are at work until `go` is there; `pids` of those that are at it."""

    def __init__(self, team: Team, folder: Path, number: int) -> None:
        self.folder, self.go = folder / "going", folder / "go"
        self.folder.mkdir()
        team.lists(
            *(f"feature {n}" for n in range(1, number + 1)),
            steps=f'echo $$ > {self.folder}/$n; while ! test -e {self.go}; do sleep 0.2; done; echo "$n" > "f-$n"',
        )

    def pids(self) -> list[int]:
        texts = [path.read_text().strip() for path in self.folder.iterdir()]
        return [int(text) for text in texts if text and alive(int(text))]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def conditions(team: Team) -> dict[str, list[str]]:
    """What became of each attempt: feature's index -> outcomes."""
    return {index: [each["outcome"] for each in told] for index, told in team.state()["run"]["clients"].items()}


@pytest.mark.prove
@pytest.mark.parametrize("signals", [[signal.SIGTERM]])
def test_a_driver_that_is_told_to_end_ends_its_clients_on_the_workers_and_resume_goes_on(
    cluster, repository, remote, tmp_path, signals
):
    team = Team(repository, remote, cluster(workers=2))
    held = Held(team, tmp_path, 2)
    driver = team.starts("features.txt")
    until(lambda: len(held.pids()) == 2 or driver.poll() is not None)
    pids = held.pids()
    for number in signals:
        driver.send_signal(number)
    out, errors = driver.communicate(timeout=300)
    assert driver.returncode == 1 and "Traceback" not in errors, out + errors
    assert "batchctl run --resume" in out
    until(lambda: not any(alive(pid) for pid in pids))
    assert conditions(team) == {"0": ["interrupted"], "1": ["interrupted"]}
    assert team.state()["run"]["ended_why"] == "it was stopped" and team.state()["retry_attempts"] == {}
    held.go.touch()
    status, out, errors = team.types("--resume")
    assert status == 0, out + errors
    assert team.merged() == ["Add 1", "Add 2"]


def test_a_patience_that_is_no_time_is_refused():
    dask = pytest.importorskip("dask")
    with dask.config.set({"batch-implement.patience": "soon"}), pytest.raises(Refused, match="patience is 'soon'"):
        cluster._patience_s()
    with dask.config.set({"batch-implement.patience": "90s"}):
        assert cluster._patience_s() == 90.0
    assert cluster._patience_s() == 900.0
