"""The library interface under several processes and threads at once, and its lock."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import batch_state_manager as library
import pytest
from batches import ROOT

CALLS = 15
PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
import batch_state_manager as library
which, file = int(sys.argv[2]), library.get_default_state_file()
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    {call}
"""


@pytest.fixture
def file(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state file of a batch of 100 features, saved."""
    monkeypatch.chdir(repository)
    path = library.get_default_state_file()
    library.save_batch_state(path, library.create_batch_state([f"feature {number}" for number in range(100)]))
    return path


def hammer(call: str, interpreter: str = sys.executable) -> None:
    """Let two processes make a call as often as they can at the same time."""
    words = [interpreter, "-c", PROCESS.format(call=call), str(ROOT / "lib")]
    processes = [
        subprocess.Popen([*words, str(which), str(CALLS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for which in (0, 1)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0


def test_two_processes_that_report_progress_lose_nothing(file):
    hammer("library.update_batch_progress(file, 2 * number + which, ['completed', 'failed'][which], 10)")
    state = library.load_batch_state(file)
    assert sorted(state.completed_features) == list(range(0, 2 * CALLS, 2))
    assert sorted(entry["feature_index"] for entry in state.failed_features) == list(range(1, 2 * CALLS, 2))
    assert (state.context_token_estimate, state.current_index) == (20 * CALLS, 2 * CALLS)
    assert state.revision == 1 + 2 * CALLS


def test_two_processes_that_count_retries_lose_nothing(file):
    hammer("library.increment_retry_count(file, number % 2)")
    assert sum(library.load_batch_state(file).retry_attempts.values()) == 2 * CALLS


def test_two_processes_that_record_clears_lose_nothing(file):
    hammer("library.record_auto_clear_event(file, which, 1000 + number)")
    state = library.load_batch_state(file)
    assert state.auto_clear_count == len(state.auto_clear_events) == 2 * CALLS
    for which in (0, 1):
        mine = [event for event in state.auto_clear_events if event["feature_index"] == which]
        assert [event["context_tokens_before_clear"] for event in mine] == [1000 + number for number in range(CALLS)]


def test_two_processes_that_mark_features_lose_nothing(file):
    hammer("library.mark_feature_status(file, 2 * number + which, 'failed', f'process {which}', retry_count=number)")
    failed = library.load_batch_state(file).failed_features
    assert sorted(entry["feature_index"] for entry in failed) == list(range(2 * CALLS))
    assert all(entry["error_message"] == f"process {entry['feature_index'] % 2}" for entry in failed)


def test_two_processes_that_load_change_and_save_lose_nothing_but_time(file):
    hammer(
        """
    while True:
        state = library.load_batch_state(file)
        state.completed_features.append(2 * number + which)
        try:
            library.save_batch_state(file, state)
            break
        except library.BatchStateError as error:
            assert "stale" in str(error)"""
    )
    assert sorted(library.load_batch_state(file).completed_features) == list(range(2 * CALLS))


def test_an_explicit_file_is_under_one_lock_for_all_processes_too(file):
    library.save_batch_state("work/state.json", library.create_batch_state(["a", "b"]))
    hammer("library.increment_retry_count('work/state.json', which)")
    assert library.load_batch_state("work/state.json").retry_attempts == {0: CALLS, 1: CALLS}


def at_once(*calls: Callable[[], object]) -> list[BaseException]:
    """Run calls in threads; what they raised."""
    errors: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_lose_nothing_and_readers_always_see_a_whole_state(file):
    def read() -> None:
        for _ in range(20):
            state = library.load_batch_state(file)
            assert state.current_index <= 10 and len(state.features) == 100

    writers = [lambda index=index: library.update_batch_progress(file, index, "completed", 1000) for index in range(10)]
    assert at_once(*writers, read, read) == []
    state = library.load_batch_state(file)
    assert sorted(state.completed_features) == list(range(10)) and state.context_token_estimate == 10_000


def test_threads_never_get_the_same_batch_id():
    ids: list[str] = []
    assert at_once(*[lambda: ids.extend(library.create_batch_state(["a"]).batch_id for _ in range(200))] * 4) == []
    assert len(set(ids)) == 800


def test_one_who_waits_longer_than_lock_timeout_is_told_who_holds_the_lock(file, monkeypatch):
    holder = subprocess.Popen(
        [
            sys.executable, "-c",
            "import fcntl, os, sys\n"
            "fd = os.open('.git/batch-implement/lock', os.O_RDWR)\n"
            "fcntl.flock(fd, fcntl.LOCK_EX); os.pwrite(fd, b'%d holder \\n' % os.getpid(), 0)\n"
            "print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    assert library.LOCK_TIMEOUT == 30
    monkeypatch.setattr(library, "LOCK_TIMEOUT", 0.2)
    with pytest.raises(library.BatchStateError, match=rf"not free within 0.2 s.*process {holder.pid}"):
        library.update_batch_progress(file, 0, "completed")
    holder.communicate("")
    library.update_batch_progress(file, 0, "completed")
