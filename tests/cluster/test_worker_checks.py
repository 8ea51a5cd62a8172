"""What a worker is asked before the night: room and memory for all slots of its machine, not for one attempt."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from types import SimpleNamespace

import pytest
from batch_implement import __version__
from batch_implement.base.project_paths import Project
from batch_implement.commands.doctor import ERROR, OK, WARNING
from batch_implement.runner.dask import executor, task
from batch_implement.runner.options import Options
from batch_implement.runner.preflight import environment_checks
from local import has_remote

VERSIONS = [__version__, ".".join(map(str, sys.version_info[:2]))]
ADDRESS = "tcp://192.0.2.1:1"


@pytest.fixture
def looked(repository, tmp_path, monkeypatch):
    """What a worker finds with so many slots, so much of the disk and memory free, as name -> (verdict, text)."""
    remote = has_remote(repository, tmp_path / "remote.git")
    monkeypatch.setenv("BATCHCTL_CACHE", str(tmp_path / "cache"))

    def look(slots, *, disk_gb=100.0, memory_mb=100_000.0, worker=None):
        monkeypatch.setattr(environment_checks, "read_available_mb", lambda: memory_mb)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, int(disk_gb * 1e9)))
        asked = {"client": "no such client", "worker": worker, "remote": str(remote), "tree_mb": 1000,
                 "slots": {ADDRESS: slots}}  # fmt: skip
        found = task.check_worker(json.dumps(asked), VERSIONS, SimpleNamespace(address=ADDRESS))
        return {name: (verdict, text) for name, verdict, text in found}

    return look


def test_room_is_asked_for_by_the_slots_and_what_is_said_helps_there(looked):
    assert "disk" not in looked(2, disk_gb=9.1)  # a worker's and one for verify in each slot
    verdict, text = looked(3, disk_gb=9.1)["disk"]
    assert verdict == ERROR and "fewer --slots" in text and "BATCHCTL_CACHE" in text and "--jobs" not in text


def test_memory_is_asked_for_by_the_slots_but_for_a_command_of_the_persons_own(looked):
    assert "memory" not in looked(4, memory_mb=2500.0)
    verdict, text = looked(5, memory_mb=2500.0)["memory"]
    assert verdict == WARNING and "fewer --slots (4 would fit)" in text
    assert looked(1, memory_mb=500.0)["memory"][0] == ERROR
    assert "memory" not in looked(5, memory_mb=2500.0, worker="true")


def test_a_worker_that_has_all_it_needs_says_so(looked):
    assert looked(2, worker="true")["all"][0] == OK
    assert "all" not in looked(200, worker="true")


def test_a_worker_that_does_not_answer_is_not_told_to_be_of_another_version(repository):
    """It was: install the same version there."""
    dask_executor = executor.DaskExecutor.__new__(executor.DaskExecutor)
    dask_executor.project, dask_executor.options, dask_executor.address, dask_executor.remote = (
        Project(str(repository)),
        Options(),
        "tcp://x:1",
        "r",
    )
    dask_executor.slots, dask_executor.machine_slots = 2, {"frozen": 1, "bare": 1}
    answers = {"frozen": OSError("Address removed."), "bare": ModuleNotFoundError("No module named 'batch_implement'")}
    dask_executor.client = SimpleNamespace(run=lambda *_, **__: answers)
    texts = {each["check"]: (each["verdict"], each["text"]) for each in dask_executor.check()}
    verdict, text = texts["worker frozen: connection"]
    assert verdict == ERROR and "does not answer (Address removed.)" in text and "version" not in text
    assert "Install the same version" in texts["worker bare: package"][1]


@pytest.mark.parametrize(
    ("jobs", "told"), [(None, {"a": 4, "b": 4, "c": 1, "d": 0}), (2, {"a": 2, "b": 2, "c": 1, "d": 0})]
)
def test_the_workers_of_one_machine_share_it(repository, jobs, told):
    workers = {"a": ("one", 2, 3), "b": ("one", 3, 2), "c": ("two", 1, 9), "d": ("three", 4, 0)}
    info = {name: {"host": host, "nthreads": threads, "resources": {"claude": slots} if slots else {}}
            for name, (host, threads, slots) in workers.items()}  # fmt: skip
    dask_executor = executor.DaskExecutor.__new__(executor.DaskExecutor)
    dask_executor.project, dask_executor.options, dask_executor.address, dask_executor.remote = (
        Project(str(repository)),
        Options(jobs=jobs),
        "tcp://x:1",
        "r",
    )
    dask_executor.lock, dask_executor.machine_slots = threading.Lock(), {}
    asked = []
    dask_executor.client = SimpleNamespace(
        scheduler_info=lambda n_workers: {"workers": info},
        run=lambda function, words, mine, on_error: asked.append((function, json.loads(words))) or {},
    )
    dask_executor.slots = dask_executor._count_slots()
    dask_executor.check()
    assert dask_executor.slots == 5
    ((function, words),) = asked
    assert function is task.check_worker and words["slots"] == told
    assert words["tree_mb"] == len("# scratch\n") / 1e6
