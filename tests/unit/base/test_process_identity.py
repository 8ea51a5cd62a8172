"""Which process holds a batch, and whether it still runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from batch_implement.base import process_identity
from batches import NOW, owner


@pytest.fixture
def sleeper():
    """A process that waits to be ended."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()


@pytest.fixture
def dead_pid():
    """The id of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_what_tells_a_process_from_a_later_one_stays_the_same_while_it_runs(sleeper):
    assert process_identity.get_start_time(sleeper.pid) == process_identity.get_start_time(sleeper.pid)
    assert process_identity.get_start_time(sleeper.pid) != process_identity.get_start_time(os.getpid())


def test_a_process_that_has_ended_was_started_at_no_time(dead_pid):
    assert process_identity.get_start_time(dead_pid) is None


def test_a_process_runs_until_it_is_killed(sleeper):
    since = process_identity.get_start_time(sleeper.pid)
    assert process_identity.is_running(sleeper.pid, since)
    assert process_identity.is_running(sleeper.pid, None)
    sleeper.kill()
    sleeper.wait()
    assert not process_identity.is_running(sleeper.pid, since)
    assert not process_identity.is_running(sleeper.pid, None)


def test_a_stopped_process_still_runs(sleeper):
    os.kill(sleeper.pid, signal.SIGSTOP)
    assert process_identity.is_running(sleeper.pid, process_identity.get_start_time(sleeper.pid))


def test_a_zombie_does_not_run():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken note yet
    assert not process_identity.is_running(child.pid, None)
    child.wait()


def test_another_process_under_the_same_number_is_not_the_one_that_was_meant(sleeper):
    assert not process_identity.is_running(sleeper.pid, "another-boot:123")


def test_a_process_of_another_user_runs_too(monkeypatch):
    def not_allowed(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", not_allowed)
    assert process_identity.is_running(os.getpid(), None)


def test_the_ancestors_begin_with_the_parent():
    code = "import os; from batch_implement.base import process_identity as processes; "
    code += "print(*processes.iter_ancestors(os.getpid()))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=with_lib(), check=True)
    assert int(child.stdout.split()[0]) == os.getpid()


def test_the_ancestors_of_a_process_that_is_gone_are_none(dead_pid):
    assert list(process_identity.iter_ancestors(dead_pid)) == []


def with_lib():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("lib"))}


def test_the_client_says_its_own_process():
    assert process_identity.find_client_pid({"CLAUDE_PID": "4711"}) == 4711


@pytest.mark.parametrize("said", ["", "0", "-1", "x", "1.5", " 7"])
def test_outside_of_a_client_there_is_none_whatever_the_variable_says(said):
    assert process_identity.find_client_pid({"CLAUDE_PID": said}) is None


def test_a_client_that_does_not_say_it_is_found_among_the_ancestors(tmp_path):
    named = tmp_path / "claude"
    named.symlink_to("/bin/sh")
    code = "from batch_implement.base import process_identity; print(process_identity.find_client_pid({}), flush=True)"
    command = [str(named), "-c", '"$@"; true', "sh", sys.executable, "-c", code]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=with_lib())
    assert int(client.communicate()[0]) == client.pid


def test_a_lease_says_whose_it_is():
    lease = process_identity.new_owner("s1", os.getpid(), NOW)
    assert lease == {
        "session_id": "s1",
        "pid": os.getpid(),
        "pid_started": process_identity.get_start_time(os.getpid()),
        "host": process_identity.get_host_name(),
        "since": NOW,
    }
    assert process_identity.new_owner("s1", None, NOW)["pid_started"] is None


def test_a_lease_is_alive_as_long_as_its_process(dead_pid, sleeper):
    assert not process_identity.is_owner_alive(None)
    assert not process_identity.is_owner_alive(process_identity.new_owner("s", None, NOW))
    assert not process_identity.is_owner_alive(owner(pid=dead_pid))
    assert process_identity.is_owner_alive(owner(pid=sleeper.pid))
    assert not process_identity.is_owner_alive({**owner(pid=sleeper.pid), "pid_started": "another-boot:123"})


def test_a_lease_on_another_machine_counts_as_alive(dead_pid):
    assert process_identity.is_owner_alive({**owner(pid=dead_pid), "host": "elsewhere"})


def test_a_client_owns_a_batch_only_with_the_same_session_and_the_same_process(sleeper):
    lease = owner("s1", sleeper.pid)
    assert process_identity.classify_owner(lease, "s1", sleeper.pid) == "own"
    assert process_identity.classify_owner(lease, "s2", os.getpid()) == "other"
    assert (
        process_identity.classify_owner(lease, "s1", os.getpid()) == "other"
    )  # two clients on one resumed conversation
    assert process_identity.classify_owner(lease, "", None) == "other"


def test_a_client_that_has_moved_on_to_another_conversation_leaves_the_batch_free(sleeper):
    lease = owner("s1", sleeper.pid)
    assert process_identity.classify_owner(lease, "s2", sleeper.pid) == "free"
    assert process_identity.classify_owner({**lease, "host": "elsewhere"}, "s2", sleeper.pid) == "other"


def test_a_batch_whose_client_is_dead_or_was_never_there_is_free(dead_pid):
    assert process_identity.classify_owner(owner("s1", dead_pid), "s1", os.getpid()) == "free"
    assert process_identity.classify_owner(None, "s1", os.getpid()) == "free"
    assert process_identity.classify_owner(process_identity.new_owner("s1", None, NOW), "s1", os.getpid()) == "free"


def test_nobody_is_the_owner_without_a_session_or_a_process():
    ended = process_identity.new_owner("s1", None, NOW)
    assert process_identity.classify_owner(ended, "s1", None) == "free"
    assert process_identity.classify_owner({**ended, "session_id": "", "pid": 7}, "", 7) != "own"
