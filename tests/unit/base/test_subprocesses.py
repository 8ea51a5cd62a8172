"""The one way to run a process: time limit, stop signal, bounded output, end of the whole process group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from batch_implement.base import process_identity, project_paths, subprocesses

LIB = os.path.join(project_paths.plugin_root(), "lib")


def shell(command, **options):
    return subprocesses.run(["/bin/sh", "-c", command], **{"timeout_s": 60, **options})


def wait_for_text(path):
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path.read_text()


def test_exit_status_and_both_outputs_are_returned(tmp_path):
    result = shell("pwd; echo $NAME; echo bad >&2; exit 3", cwd=str(tmp_path), env={"NAME": "value"})
    assert (result.returncode, result.stdout, result.stderr) == (3, f"{tmp_path}\nvalue\n".encode(), b"bad\n")
    assert not result.timed_out and not result.truncated


def test_a_process_that_a_signal_ended_has_a_negative_exit_status():
    assert shell("kill -9 $$").returncode == -signal.SIGKILL


def test_standard_input_is_empty_or_what_was_given():
    assert shell("cat").stdout == b""
    assert shell("cat", input=b"").stdout == b""
    data = b"0123456789" * 100_000  # more than a pipe holds, in both directions
    assert shell("cat; echo end >&2", input=data).stdout == data


def test_input_that_nobody_reads_is_no_error():
    assert shell("exit 0", input=b"x" * 1_000_000).returncode == 0


def test_output_beyond_the_bound_is_dropped():
    result = shell("yes | head -c 1000000; echo done >&2", max_bytes=1000)
    assert (result.returncode, len(result.stdout), result.truncated, result.stderr) == (0, 1000, True, b"done\n")


def test_both_outputs_go_into_a_file(tmp_path):
    with open(tmp_path / "log", "wb") as file:
        result = shell("echo one; echo two >&2", output=file)
    assert (result.returncode, result.stdout, (tmp_path / "log").read_text()) == (0, b"", "one\ntwo\n")


def test_after_the_time_limit_the_whole_group_is_ended(tmp_path):
    started = time.monotonic()
    result = shell(f"sleep 300 & echo $! > '{tmp_path}/pid'; wait", timeout_s=0.5)
    assert (result.returncode, result.timed_out) == (None, True)
    assert time.monotonic() - started < 20
    assert not process_identity.is_running(int((tmp_path / "pid").read_text()), None)


def test_a_process_that_ignores_sigterm_is_killed():
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(300)"
    result = subprocesses.run([sys.executable, "-S", "-c", code], timeout_s=1, grace_s=0.3)
    assert result.timed_out and result.stdout == b"\n"


def test_what_a_process_prints_while_it_is_ended_is_read_to_its_end():
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    result = shell("trap 'sleep 0.3; yes | head -c 200000; exit' TERM; while :; do sleep 0.05; done", stop=stop)
    assert (result.returncode, len(result.stdout)) == (None, 200_000)


def test_input_that_is_held_ends_with_the_process_that_holds_it(tmp_path):
    code = "from batch_implement.base import subprocesses; subprocesses.run(['/bin/sh', '-c', {!r}], {}, {}, {})"
    script = f"read line; echo $line > '{tmp_path}/line'; cat; echo > '{tmp_path}/end'"
    code = code.format(script, "timeout_s=60", r"input=b'one\n'", "holds_input=True")
    holder = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": LIB})
    wait_for_text(tmp_path / "line")
    time.sleep(0.3)
    assert not (tmp_path / "end").exists()
    holder.kill()
    holder.wait()
    wait_for_text(tmp_path / "end")


def test_a_stop_signal_ends_the_process(tmp_path):
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    result = shell(f"echo $$ > '{tmp_path}/pid'; exec sleep 300", stop=stop)
    assert (result.returncode, result.timed_out) == (None, False)
    assert not process_identity.is_running(int(wait_for_text(tmp_path / "pid")), None)


def test_an_exception_ends_the_process(tmp_path, monkeypatch):
    def interrupt(*_):
        int(wait_for_text(tmp_path / "pid"))
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocesses, "_wait_for_pipes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        shell(f"echo $$ > '{tmp_path}/pid'; exec sleep 300")
    assert not process_identity.is_running(int(wait_for_text(tmp_path / "pid")), None)


def test_a_background_process_that_keeps_the_pipes_open_is_not_waited_for(tmp_path):
    started = time.monotonic()
    result = shell(f"sleep 300 & echo $! > '{tmp_path}/pid'; echo done")
    os.kill(int(wait_for_text(tmp_path / "pid")), signal.SIGKILL)
    assert (result.returncode, result.stdout) == (0, b"done\n")
    assert time.monotonic() - started < 30


def test_a_program_that_is_missing_is_an_oserror():
    with pytest.raises(FileNotFoundError):
        subprocesses.run(["/no/such/program"], timeout_s=1)


def test_a_command_in_a_worktree_leaves_nothing_running(tmp_path):
    with open(tmp_path / "log", "wb") as file:
        command = f"setsid sleep 300 & echo $! > '{tmp_path}/pid'; exit 4"
        assert subprocesses.run_in_worktree(command, str(tmp_path), 60, output=file).returncode == 4
    assert not process_identity.is_running(int(wait_for_text(tmp_path / "pid")), None)
