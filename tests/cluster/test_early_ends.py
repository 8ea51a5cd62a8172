"""How a run on a cluster ends before its time: Ctrl-C, SIGTERM, a scheduler that is gone or frozen."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from batch_implement.core.errors import RefusedError
from batch_implement.runner.dask import connection
from cluster_user import ClusterUser
from local import WAIT_S, until

PATIENCE = {"DASK_BATCH_IMPLEMENT__PATIENCE": "6s"}


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path):
    """Clients of a test that has failed end, too."""
    yield
    (tmp_path / "go").touch()


class Held:
    """Features whose clients are at work until `go` is there; `pids` of those that are at it."""

    def __init__(self, user: ClusterUser, folder: Path, number: int) -> None:
        self.folder, self.go = folder / "going", folder / "go"
        self.folder.mkdir()
        user.write_features(
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


def conditions(user: ClusterUser) -> dict[str, list[str]]:
    """What became of each attempt: feature's index -> outcomes."""
    return {index: [each["outcome"] for each in told] for index, told in user.state()["run"]["clients"].items()}


def read_until(driver: subprocess.Popen[str], words: str) -> str:
    """What the driver prints up to the line that has these words; all of it when none has."""
    read = ""
    for line in driver.stdout:
        read += line
        if words in line:
            break
    return read


def stopped_and_taken_up(user: ClusterUser, held: Held, pids: list[int], driver: subprocess.Popen[str]) -> None:
    """A driver that was told to end at once has ended its clients, and `--resume` does what is left."""
    out, errors = driver.communicate(timeout=WAIT_S)
    assert driver.returncode == 1 and "Traceback" not in errors, out + errors
    assert "batchctl run --resume" in out
    until(lambda: not any(alive(pid) for pid in pids))
    assert conditions(user) == {"0": ["interrupted"], "1": ["interrupted"]}
    assert user.state()["run"]["ended_why"] == "stopped by the user" and user.state()["retry_attempts"] == {}
    held.go.touch()
    status, out, errors = user.run("--resume")
    assert status == 0, out + errors
    assert user.merged() == ["Add 1", "Add 2"]


@pytest.fixture
def two_at_work(cluster, repository, remote, tmp_path):
    """A user, two features that two workers are at, the pids of their clients, and the driver."""
    user = ClusterUser(repository, remote, cluster(workers=2), environ=PATIENCE)
    held = Held(user, tmp_path, 2)
    driver = user.start("features.txt")
    until(lambda: len(held.pids()) == 2 or driver.poll() is not None)
    return user, held, held.pids(), driver


@pytest.mark.prove
def test_a_driver_that_is_told_to_end_ends_its_clients_on_the_workers_and_resume_goes_on(two_at_work):
    two_at_work[3].send_signal(signal.SIGTERM)
    stopped_and_taken_up(*two_at_work)


@pytest.mark.prove
def test_the_first_ctrl_c_lets_the_clients_on_the_workers_go_on_and_the_second_ends_them(two_at_work):
    _, _, pids, driver = two_at_work
    driver.send_signal(signal.SIGINT)
    assert "Press Ctrl-C again to stop now" in read_until(driver, "Ctrl-C again")
    time.sleep(5)  # what would end them had the time for it
    assert all(alive(pid) for pid in pids) and driver.poll() is None
    driver.send_signal(signal.SIGINT)
    stopped_and_taken_up(*two_at_work)


def given_up(user: ClusterUser, driver: subprocess.Popen[str]) -> None:
    """The driver has ended for a scheduler that does not answer, says so, and nothing is counted."""
    out, errors = driver.communicate(timeout=WAIT_S)
    assert driver.returncode == 1 and "Traceback" not in errors, out + errors
    state = user.state()
    assert state["status"] == "paused" and "has not answered for 6 s" in state["pause"]["reason"], state["pause"]
    assert "batchctl run --resume" in out and user.where in out, out
    assert state["retry_attempts"] == {} and state["run"]["running"] == {}
    assert all(outcome == "interrupted" or outcome == "needs_user" for each in conditions(user).values()
               for outcome in each)  # fmt: skip


def is_refused(user: ClusterUser) -> None:
    """`--resume` says that the scheduler cannot be reached, and leaves the state as it was."""
    before = Path(user.repository, ".claude", "batch_state.json").read_bytes()
    typed = user.start("--resume")
    out, errors = typed.communicate(timeout=120)
    assert typed.returncode == 1 and "cannot be reached" in errors and "Traceback" not in errors, out + errors
    assert Path(user.repository, ".claude", "batch_state.json").read_bytes() == before


@pytest.mark.prove
def test_a_scheduler_that_is_gone_for_good_ends_the_run_and_resume_goes_on_with_another(
    cluster, repository, remote, tmp_path
):
    its = cluster()
    user = ClusterUser(repository, remote, its, environ=PATIENCE)
    held = Held(user, tmp_path, 2)  # one is submitted, one waits for a slot
    driver = user.start("features.txt", "--jobs", "2")
    until(lambda: held.pids() or driver.poll() is not None)
    its.scheduler.end()
    given_up(user, driver)
    is_refused(user)
    held.go.touch()
    user.where = cluster().address
    status, out, errors = user.run("--resume")
    assert status == 0, out + errors
    assert user.merged() == ["Add 1", "Add 2"] == user.merged(remote)


@pytest.mark.prove
def test_a_scheduler_that_is_frozen_ends_the_run_and_once_it_goes_on_each_is_merged_once(
    cluster, repository, remote, tmp_path
):
    its = cluster(workers=2)
    user = ClusterUser(repository, remote, its, environ=PATIENCE)
    held = Held(user, tmp_path, 3)
    driver = user.start("features.txt", "--jobs", "3")
    until(lambda: len(held.pids()) == 2 or driver.poll() is not None)
    its.scheduler.signal(signal.SIGSTOP)
    held.go.touch()  # what is done meanwhile is pushed, and nobody can be told
    given_up(user, driver)
    is_refused(user)
    its.scheduler.signal(signal.SIGCONT)
    status, out, errors = user.run("--resume")
    assert status == 0, out + errors
    assert user.merged() == ["Add 1", "Add 2", "Add 3"] == user.merged(remote)
    merges = [merge["feature_index"] for merge in user.state()["run"]["merges"]]
    assert sorted(merges) == [0, 1, 2] and user.state()["retry_attempts"] == {}


@pytest.mark.prove
def test_at_a_frozen_scheduler_too_the_second_ctrl_c_ends_the_run(cluster, repository, remote, tmp_path):
    its = cluster()
    user = ClusterUser(repository, remote, its)  # its patience would be a quarter of an hour
    held = Held(user, tmp_path, 1)
    driver = user.start("features.txt")
    until(lambda: held.pids() or driver.poll() is not None)
    its.scheduler.signal(signal.SIGSTOP)
    driver.send_signal(signal.SIGINT)
    read_until(driver, "Ctrl-C again")
    driver.send_signal(signal.SIGINT)
    out, errors = driver.communicate(timeout=WAIT_S)
    assert driver.returncode == 1 and "Traceback" not in errors and "stopped by the user" in out, out + errors
    assert conditions(user) == {"0": ["interrupted"]}
    its.scheduler.signal(signal.SIGCONT)
    held.go.touch()
    status, out, errors = user.run("--resume")
    assert status == 0, out + errors
    assert user.merged() == ["Add 1"]


@pytest.mark.prove
def test_a_scheduler_that_is_frozen_for_less_than_the_patience_costs_nothing(cluster, repository, remote, tmp_path):
    its = cluster(environ={"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "300s"})
    user = ClusterUser(repository, remote, its, environ={"DASK_BATCH_IMPLEMENT__PATIENCE": "120s"})
    held = Held(user, tmp_path, 1)
    driver = user.start("features.txt")
    until(lambda: held.pids() or driver.poll() is not None)
    its.scheduler.signal(signal.SIGSTOP)
    time.sleep(20)  # several times the driver asks, and gets no answer
    its.scheduler.signal(signal.SIGCONT)
    held.go.touch()
    out, errors = driver.communicate(timeout=WAIT_S)
    assert driver.returncode == 0, out + errors
    assert conditions(user) == {"0": ["completed"]}


def test_a_patience_that_is_no_time_is_refused():
    dask = pytest.importorskip("dask")
    with dask.config.set({"batch-implement.patience": "soon"}), pytest.raises(RefusedError, match="patience is 'soon'"):
        connection.get_patience_s()
    with dask.config.set({"batch-implement.patience": "90s"}):
        assert connection.get_patience_s() == 90.0
    assert connection.get_patience_s() == 900.0
