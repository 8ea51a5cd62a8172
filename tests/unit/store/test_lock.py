"""One lock between processes and threads, which goes when its holder does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from batch_implement.core.errors import LockTimeout, StateError
from batch_implement.store import lock

HOLDER = """
import os, sys
from batch_implement.store import lock
folder = os.open(sys.argv[1], os.O_RDONLY)
with lock.FileLock(folder, sys.argv[1], 10):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until it reads a line."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("lib"))}
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def take(folder, path, timeout_s=0.05):
    with lock.FileLock(folder, str(path), timeout_s):
        pass


def test_who_waits_too_long_for_another_process_is_told_which_and_what_to_do(folder, holder, tmp_path):
    with pytest.raises(LockTimeout) as caught:
        take(folder, tmp_path)
    assert f"process {holder.pid}" in caught.value.holder
    assert caught.value.holder in caught.value.message
    assert f"{tmp_path}/lock was not free within 0.05 s" in caught.value.message
    assert "Nothing was changed" in caught.value.message
    assert caught.value.exit_code == 3


def test_a_stopped_holder_holds_on_and_is_named(folder, holder, tmp_path):
    os.kill(holder.pid, signal.SIGSTOP)
    with pytest.raises(LockTimeout, match=f"process {holder.pid} .*If that process is stuck or stopped, end it"):
        take(folder, tmp_path)


def test_the_lock_is_free_as_soon_as_its_holder_lets_go(folder, holder, tmp_path):
    holder.stdin.write("\n")
    holder.stdin.flush()
    take(folder, tmp_path, 10)


def test_a_killed_holder_frees_it_at_once(folder, holder, tmp_path):
    os.kill(holder.pid, signal.SIGSTOP)
    holder.kill()
    holder.wait()
    take(folder, tmp_path, 0)


def test_a_holder_that_was_killed_is_not_blamed_for_another_that_is_unnamed(folder, holder, tmp_path):
    with open(tmp_path / "lock") as signed:
        assert signed.read().startswith(f"{holder.pid} ")
    (tmp_path / "lock").write_text("")
    with pytest.raises(LockTimeout, match="an unknown process"):
        take(folder, tmp_path)


def test_threads_exclude_each_other(folder, tmp_path):
    counter, most, inside = [0], [0], [0]

    def count():
        for _ in range(25):
            with lock.FileLock(folder, str(tmp_path), 30):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                value = counter[0]
                time.sleep(0)
                counter[0] = value + 1
                inside[0] -= 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counter[0], most[0]) == (100, 1)


def test_it_is_not_reentrant(folder, tmp_path):
    with lock.FileLock(folder, str(tmp_path), 1), pytest.raises(LockTimeout, match=f"process {os.getpid()}"):
        take(folder, tmp_path, 0)


def test_a_lock_that_was_replaced_while_it_was_waited_for_excludes_again(folder, holder, tmp_path, monkeypatch):
    """The waiter has the old file open when a new one takes its name: it must end up with the new one."""
    opened = []
    real = lock.FileLock._open

    def open_and_replace(self):
        descriptor = real(self)
        opened.append(os.fstat(descriptor).st_ino)
        if len(opened) == 1:
            os.rename(tmp_path / "lock", tmp_path / "old lock")
            (tmp_path / "lock").write_text("")
            holder.stdin.write("\n")
            holder.stdin.flush()
            holder.wait()  # the old file is free now
        return descriptor

    monkeypatch.setattr(lock.FileLock, "_open", open_and_replace)
    with lock.FileLock(folder, str(tmp_path), 10):
        assert len(opened) == 2
        assert opened[1] == (tmp_path / "lock").stat().st_ino
        monkeypatch.undo()
        with pytest.raises(LockTimeout):
            take(folder, tmp_path, 0)


def test_a_lock_file_that_was_removed_is_made_anew(folder, tmp_path, monkeypatch):
    take(folder, tmp_path)
    first = (tmp_path / "lock").stat().st_ino
    (tmp_path / "lock").rename(tmp_path / "kept")
    take(folder, tmp_path)
    assert (tmp_path / "lock").stat().st_ino != first


@pytest.mark.parametrize("make", [lambda place: place.symlink_to("elsewhere"), lambda place: place.mkdir()])
def test_a_link_or_a_folder_is_no_lock(folder, tmp_path, make):
    make(tmp_path / "lock")
    with pytest.raises(StateError, match="cannot be opened"):
        take(folder, tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_the_lock_file_stays_and_is_for_its_owner_alone(folder, tmp_path):
    take(folder, tmp_path)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()} ")


def test_it_is_free_again_after_an_error_inside(folder, tmp_path):
    with pytest.raises(ZeroDivisionError), lock.FileLock(folder, str(tmp_path), 1):
        raise ZeroDivisionError
    take(folder, tmp_path, 0)


def test_a_child_does_not_inherit_it(folder, tmp_path):
    with lock.FileLock(folder, str(tmp_path), 1):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    take(folder, tmp_path, 0)
    child.communicate()


def test_no_descriptor_stays_open(folder, tmp_path):
    before = len(os.listdir("/dev/fd"))
    with lock.FileLock(folder, str(tmp_path), 1), pytest.raises(LockTimeout):
        take(folder, tmp_path)
    assert len(os.listdir("/dev/fd")) == before


def test_a_full_disk_leaves_only_the_name_out(folder, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with lock.FileLock(folder, str(tmp_path), 1), pytest.raises(LockTimeout, match="held by an unknown process"):
        take(folder, tmp_path)


def test_a_lock_file_with_another_name_excludes_and_is_not_written_through(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("precious words")
    os.link(outside, tmp_path / lock.NAME)
    with lock.FileLock(folder, str(tmp_path), 0.05), pytest.raises(LockTimeout, match="an unknown process"):
        take(folder, tmp_path)
    assert outside.read_text() == "precious words"


def test_a_lock_file_that_was_replaced_while_it_was_waited_for_excludes_nobody(folder, tmp_path, monkeypatch):
    real, opened = lock.FileLock._open, []

    def replace_first(self):
        opened.append(real(self))
        if len(opened) == 1:
            os.rename(tmp_path / lock.NAME, tmp_path / "away")
        return opened[-1]

    monkeypatch.setattr(lock.FileLock, "_open", replace_first)
    with lock.FileLock(folder, str(tmp_path), 5):
        assert len(opened) == 2
        assert os.stat(tmp_path / lock.NAME).st_size > 0
