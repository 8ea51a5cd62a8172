"""What goes wrong on a cluster, one thing at a time and briefly; test_cluster.py has all of it in one run."""

from __future__ import annotations

import signal
import threading
from types import SimpleNamespace

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.runner import job
from batch_implement.runner.dask import executor
from batch_implement.runner.driver import Driver
from batch_implement.store.store import Store
from batches import new_batch
from cluster_user import ClusterUser
from local import until
from run_states import dispatched, run_state
from test_early_ends import Held, alive


def test_an_answer_of_an_attempt_that_was_given_up_is_ignored(store):
    store.create(new_batch(1))
    state = store.update(lambda _: dispatched(run_state(1), 0))
    project = Project(store.project.root)
    shown = SimpleNamespace(event=lambda *_: None)
    driver = Driver(Store(project), state, None, display=shown, notify=None)
    asked = job.create_job(project, state, 0)._replace(attempt=1, session_id="session-0")
    done = job.interrupted_outcome(asked, "")._replace(
        kind=job.COMPLETED, commit="c0ffee", evidence={"commit": "c0ffee", "verify": None}
    )
    driver._record_outcome(asked, done._replace(session_id="given-up"))
    assert store.require()["run"] == state["run"]
    driver._record_outcome(asked, done)
    assert store.require()["run"]["running"]["0"]["step"] == "merging"


def test_a_scheduler_that_is_gone_is_waited_for_as_long_as_the_patience_and_no_longer():
    dask_executor = executor.DaskExecutor.__new__(executor.DaskExecutor)
    dask_executor.patience_s, dask_executor.stopping, dask_executor.lock = 0.5, threading.Event(), threading.Lock()
    dask_executor.client = SimpleNamespace(status="connecting")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(dask_executor._wait_for_connection()), daemon=True)
    waiting.start()
    waiting.join(20)
    dask_executor.stopping.set()
    assert answers == [None]


@pytest.mark.prove
def test_the_slots_of_all_workers_count(cluster, repository, remote):
    user = ClusterUser(repository, remote, cluster(workers=2))
    user.write_features("feature 1", "feature 2")
    status, out, errors = user.run("features.txt", "--dry-run")
    assert status == 0 and "up to 2 at a time" in out, out + errors


@pytest.mark.prove
def test_a_worker_that_begins_when_the_run_is_connected_already_is_waited_for(cluster, repository, remote):
    its = cluster(workers=0)
    user = ClusterUser(repository, remote, its)
    user.write_features("feature 1")
    until(its.file.exists)
    driver = user.start("features.txt", "--dry-run")
    log = its.scheduler.folder / "log"
    until(lambda: b"Receive client connection" in log.read_bytes() or driver.poll() is not None)
    its.workers.append(
        its._start_process(
            "worker-1", "worker", its.address, "--nthreads", "1", "--resources", "claude=1", "--no-nanny"
        )
    )
    out, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0 and "has 1 slot" in out, out + errors


def each_is_merged_once(user: ClusterUser) -> None:
    """Both features are merged, each once, here and on the remote, and no attempt was counted."""
    state = user.state()
    assert state["status"] == "completed"
    assert user.merged() == ["Add 1", "Add 2"] == user.merged(user.remote)
    assert sorted(merge["feature_index"] for merge in state["run"]["merges"]) == [0, 1]
    assert not any(state["retry_attempts"].values())


@pytest.fixture
def two_at_work(cluster, repository, remote, tmp_path):
    """A user, two features that two workers are at, and the driver."""
    user = ClusterUser(repository, remote, cluster(workers=2))
    held = Held(user, tmp_path, 2)
    driver = user.start("features.txt")
    until(lambda: len(held.pids()) == 2 or driver.poll() is not None)
    yield user, held, driver
    held.go.touch()
    driver.kill()
    driver.communicate()


@pytest.mark.prove
def test_the_clients_of_a_driver_that_was_killed_end_by_themselves_and_the_next_merges_each_once(two_at_work):
    user, held, driver = two_at_work
    pids = held.pids()
    driver.kill()
    driver.communicate()
    until(lambda: not any(alive(pid) for pid in pids), 40)
    held.go.touch()
    status, out, errors = user.run("--resume")
    assert status == 0, out + errors
    each_is_merged_once(user)


@pytest.mark.prove
def test_what_a_scheduler_lost_that_was_started_again_is_given_out_again_and_not_counted(two_at_work):
    user, held, driver = two_at_work
    user.its.scheduler.signal(signal.SIGKILL)
    held.go.touch()
    out, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, out + errors
    each_is_merged_once(user)
