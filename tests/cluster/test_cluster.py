"""`batchctl run --cluster` on a scheduler and workers in processes and folders of their own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from pathlib import Path

import pytest
from batch_implement.base import timestamps
from batch_implement.core.errors import BatchError
from batches import conditions
from cluster_user import ClusterUser
from local import has_remote, until


def test_two_features_are_done_on_a_worker_that_shares_nothing_but_the_remote(cluster, repository, remote):
    user = ClusterUser(repository, remote, cluster())
    user.write_features("feature 1", "feature 2 (after: 1)")
    status, out, errors = user.run("features.txt", "--verify", "ls")
    assert status == 0, out + errors
    state = user.state()
    assert user.merged() == ["Add 1", "Add 2"] == user.merged(remote)
    clients = [client for each in state["run"]["clients"].values() for client in each]
    assert all("(worker-1)" in client["place"] for client in clients)
    assert all("f-1" in Path(proof["verify"]["log"]).read_text() for proof in state["evidence"].values())
    left = user.git("for-each-ref", "--format=%(refname)", "refs/heads/batch", folder=remote).split()
    assert left == [f"refs/heads/{state['run']['branch']}"]  # the attempts' branches are gone
    home = user.its.folder / "worker-1" / "home" / ".cache" / "batch-implement"
    assert [path for path in home.glob("*/worktrees/*/*")] == []


@pytest.mark.prove
def test_the_setup_command_prepares_the_worktrees_of_workers_and_of_the_merge_queue(cluster, repository, remote):
    user = ClusterUser(repository, remote, cluster())
    (repository / ".gitignore").write_text("/deps/\n")
    user.write_features("feature 1", "feature 2", steps='test -e deps/x && echo "$n" > "f-$n"')
    status, out, errors = user.run(
        "features.txt", "--verify", "test -e deps/x", "--setup", "mkdir deps; echo x > deps/x"
    )
    assert status == 0, out + errors
    assert sorted(user.merged()) == ["Add 1", "Add 2"]


# -- the full proofs: `make prove` ------------------------------------------------------------------------------------

NEEDS = {number: [need for need in (number - 7, number - 11) if need > 0] for number in range(1, 41)}


def forty() -> list[str]:
    """Forty features, most of which need one or two others."""
    told = []
    for number, needs in NEEDS.items():
        told.append(f"feature {number}" + (f" (after: {', '.join(map(str, needs))})" if needs else ""))
    return told


def merged_exactly_once(user: ClusterUser) -> None:
    """All forty are merged, each once, after what it needs, and the remote has it."""
    state = user.state()
    assert state["status"] == "completed", conditions(state)
    assert user.merged() == [f"Add {n}" for n in range(1, 41)] == user.merged(user.remote)
    order = [merge["feature_index"] + 1 for merge in state["run"]["merges"]]
    assert sorted(order) == list(range(1, 41))
    assert all(order.index(need) < order.index(number) for number, needs in NEEDS.items() for need in needs)
    assert state["retry_attempts"] == {} or not any(state["retry_attempts"].values())


@pytest.mark.prove
def test_forty_features_are_all_merged_by_three_workers(cluster, repository, remote):
    user = ClusterUser(repository, remote, cluster(workers=3))
    user.write_features(*forty())
    status, out, errors = user.run("features.txt", "--verify", "ls")
    assert status == 0, out[-3000:] + errors[-3000:]
    merged_exactly_once(user)


@pytest.mark.prove
@pytest.mark.parametrize("seed", [1, 2])
def test_through_dying_workers_a_frozen_one_a_new_scheduler_and_a_killed_driver_each_is_merged_once(
    cluster, repository, remote, seed
):
    chance = random.Random(seed)
    user = ClusterUser(repository, remote, cluster(workers=3))
    user.write_features(*forty(), steps='sleep 1; echo "$n" > "f-$n"')
    driver = user.start("features.txt", "--verify", "ls")
    acts = ["worker killed", "worker frozen", "scheduler restarted", "driver killed"]
    chance.shuffle(acts)
    at = sorted(chance.sample(range(3, 34), len(acts)))

    def done() -> int:
        try:
            return len(user.state()["completed_features"])
        except BatchError:
            return 0

    for number, act in zip(at, acts):
        until(lambda number=number, driver=driver: done() >= number or driver.poll() is not None, 900)
        assert driver.poll() is None, driver.communicate()
        print(f"{act} after {done()} were merged")
        victim = chance.choice(user.its.workers)
        if act == "worker killed":
            victim.signal(signal.SIGKILL)
        elif act == "worker frozen":
            victim.signal(signal.SIGSTOP)
            threading.Timer(25, victim.signal, [signal.SIGCONT]).start()
        elif act == "scheduler restarted":
            user.its.scheduler.signal(signal.SIGKILL)
        else:
            driver.kill()
            driver.communicate()
            driver = user.start("--resume")
    out, errors = driver.communicate(timeout=1500)
    assert driver.returncode == 0, out[-3000:] + errors[-3000:]
    merged_exactly_once(user)


# A client waits for minutes and costs this machine a second or so: the sleep is long enough that this stays little.
SLEEP_S = os.environ.get("CLUSTER_TEST_SLEEP_S", "8")


@pytest.mark.prove
def test_more_slots_take_less_time_almost_in_proportion(cluster, tmp_path, pristine_repository):
    took = {}
    for slots in (1, 2, 4):
        repository, remote = tmp_path / f"repository-{slots}", tmp_path / f"remote-{slots}.git"
        shutil.copytree(pristine_repository, repository, symlinks=True)
        has_remote(repository, remote)
        user = ClusterUser(repository, remote, cluster(slots=slots))
        user.write_features(*(f"feature {n}" for n in range(1, 25)), steps=f'sleep {SLEEP_S}; echo "$n" > "f-$n"')
        status, out, errors = user.run("features.txt")
        assert status == 0, out[-3000:] + errors[-3000:]
        run = user.state()["run"]
        took[slots] = timestamps.seconds_between(run["started_at"], run["ended_at"])
        user.its.end()
        share = took[1] / slots / took[slots]
        print(f"{slots} slots: {took[slots]:.1f} s, {share:.2f} of ideal")
        assert share >= 0.85
