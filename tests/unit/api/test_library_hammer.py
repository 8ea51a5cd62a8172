"""The library interface under several processes and threads at once, and its lock: two processes hammer each call."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import batch_state_manager as library
import failure_classifier
import path_utils
import pytest
import security_utils
from batch_implement.store import audit_log
from batches import ROOT

CALLS = 15
PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
import batch_state_manager as library
import failure_classifier, path_utils, security_utils
which, file = int(sys.argv[2]), library.get_default_state_file()
manager = library.BatchStateManager()
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


def hammer(call: str) -> list[str]:
    """Let two processes make a call as often as they can at the same time; what each of them printed."""
    words = [sys.executable, "-W", "ignore", "-c", PROCESS.replace("{call}", call), str(ROOT / "lib")]
    processes = [
        subprocess.Popen([*words, str(which), str(CALLS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for which in (0, 1)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return printed


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


def test_two_processes_that_pause_by_index_lose_no_event(file):
    hammer("library.pause_batch_for_clear(file, which, 1000 + number)")
    state = library.load_batch_state(file)
    assert (state.status, state.auto_clear_count) == ("paused", 2 * CALLS)
    for which in (0, 1):
        mine = [event for event in state.auto_clear_events if event["feature_index"] == which]
        assert [event["context_tokens_before_clear"] for event in mine] == [1000 + number for number in range(CALLS)]
    assert state.paused_at_feature_index in (0, 1)


def test_two_processes_that_record_git_operations_in_a_state_lose_nothing_but_time(file):
    hammer(
        """
    while True:
        state = library.record_git_operation(library.load_batch_state(file), number, ["push", "pr"][which], True)
        try:
            library.save_batch_state(file, state)
            break
        except library.BatchStateError as error:
            assert "stale" in str(error)"""
    )
    state = library.load_batch_state(file)
    assert [set(library.get_feature_git_status(state, index)) for index in range(CALLS)] == [{"push", "pr"}] * CALLS


def test_two_processes_that_use_the_manager_lose_nothing(file):
    hammer(
        """
    manager.update_batch_progress(4 * number + which, "completed", 10)
    manager.mark_feature_status(4 * number + 2 + which, "failed", "no")
    manager.increment_retry_count(number)
    manager.record_git_operation(number, ["push", "commit"][which], True)
    manager.record_auto_clear_event(which, number)
    assert manager.get_retry_count(number) in (1, 2) and manager.get_feature_git_status(number)
    assert manager.get_next_pending_feature() and manager.should_auto_clear() is False
    while True:
        state = manager.load_state()
        state.analysis_metadata[f"{which}.{number}"] = True
        try:
            manager.save_state(state)
            break
        except library.BatchStateError as error:
            assert "stale" in str(error)"""
    )
    state = library.load_batch_state(file)
    assert len(state.completed_features) == len(state.failed_features) == 2 * CALLS
    assert state.retry_attempts == dict.fromkeys(range(CALLS), 2)
    assert [set(state.git_operations[index]) for index in range(CALLS)] == [{"commit", "push"}] * CALLS
    assert state.auto_clear_count == len(state.analysis_metadata) == 2 * CALLS


@pytest.mark.parametrize("through", ["library.{}(file", "manager.{}("])
def test_two_processes_that_make_and_remove_batches_lose_none(file, repository, through):
    library.cleanup_batch_state(file)
    save, report, load, remove = (
        through.format(name)
        for name in ("save_batch_state", "update_batch_progress", "load_batch_state", "cleanup_batch_state")
    )
    with_comma = ", " if "(file" in through else ""
    printed = hammer(
        f"""
    state = [library.create_batch_state, manager.create_batch_state, manager.create_batch][number % 3]([str(which)])
    try:
        {save}{with_comma}state)
        print(state.batch_id)
    except library.BatchStateError as error:
        assert "is not finished here" in str(error), error
    try:
        {report}{with_comma}0, "completed")
        {load})
    except library.BatchStateError as error:
        assert "not found" in str(error), error
    {remove})"""
    )
    assert not file.exists()
    saved = " ".join(printed).split()
    kept = [json.loads(path.read_text()) for path in (repository / ".git/batch-implement/archive").glob("*.json")]
    assert len(saved) > 1 and sorted(saved) == sorted(
        state["batch_id"] for state in kept if state["total_features"] == 1
    )


def test_two_processes_never_get_the_same_batch_id(file):
    first, second = (set(text.split()) for text in hammer(
        "[print(library.create_batch_state(['a']).batch_id) for _ in range(100)]"
    ))  # fmt: skip
    assert len(first) == len(second) == 100 * CALLS and not first & second


def test_what_only_reads_is_right_while_another_process_writes(file):
    hammer(
        """
    if which:
        library.update_batch_progress(file, number, "completed", 10_000)
        library.save_batch_state("other.json", library.create_batch_state([f"a {number}"]))
        library.cleanup_batch_state("other.json")
    for _ in range(1 if which else 10):
        state = library.load_batch_state(file)
        done = len(state.completed_features)
        assert state.completed_features == list(range(done)) and state.current_index == done
        assert library.get_next_pending_feature(state) == f"feature {done}"
        assert library.should_auto_clear(state) is library.should_clear_context(state) is (done >= 15)
        assert f"{done}/100" in library.get_clear_notification_message(state)
        assert library.get_retry_count(state, 0) == 0 and library.get_feature_git_status(state, 0) is None
        assert library.estimate_context_tokens("abcd") == 1
        assert library.get_default_state_file() == library.DEFAULT_STATE_FILE == file"""
    )


def test_two_processes_that_write_to_the_audit_log_lose_no_line(file, repository):
    hammer(
        """
    library.audit_log_security_event("first", {"which": which, "number": number})
    security_utils.audit_log("second", "status", {"which": which, "number": number})
    try:
        security_utils.validate_path("../x", "third")
    except ValueError:
        pass"""
    )
    entries = [
        entry
        for entry in audit_log.read_entries(str(repository / ".git/batch-implement"))
        if entry["event"] != "created"
    ]
    for name in ("first", "second"):
        mine = [(line["context"]["which"], line["context"]["number"]) for line in entries if line["event"] == name]
        assert sorted(mine) == [(which, number) for which in (0, 1) for number in range(CALLS)]
    assert [line["event"] for line in entries].count("refused") == 2 * CALLS


def test_the_calls_without_a_state_give_the_same_in_two_processes(file, repository):
    first, second = hammer(
        """
    path_utils.reset_project_root_cache()
    print(path_utils.get_project_root(), path_utils.find_project_root(), path_utils.get_batch_state_file())
    print(security_utils.validate_path("a.md", "notes", allow_missing=True))
    message = "Could not resolve host: github.com"
    print(failure_classifier.classify_failure(message), failure_classifier.is_transient_error(message))
    print(failure_classifier.is_permanent_error(message), failure_classifier.sanitize_error_message(message))
    print(failure_classifier.sanitize_feature_name("../x"))
    print(failure_classifier.extract_error_context(message, "x")["failure_type"])"""
    )
    assert first == second and first.count(f"{repository} {repository} {file}\n") == CALLS


@pytest.mark.parametrize("module", [library, path_utils, security_utils, failure_classifier])
def test_every_call_of_the_interface_is_hammered(module):
    hammered = Path(__file__).read_text(encoding="utf-8").partition("def hammer(")[2]
    calls = {name for name in module.__all__ if inspect.isroutine(getattr(module, name))}
    if module is library:
        calls |= {name for name in vars(library.BatchStateManager) if not name.startswith("_")}
    assert calls and [name for name in sorted(calls) if not re.search(rf"\b{name}\b", hammered)] == []


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
