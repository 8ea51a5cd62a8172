"""`batchctl status --watch`, as a person has it: on a real pseudo-terminal, read by an emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pyte
import pytest
from batch_implement.cli import batchctl
from batch_implement.core import transitions
from batch_implement.core.errors import StateError
from batch_implement.runner.display import live_display, watch
from batch_implement.store import snapshot
from batch_implement.store.store import Store
from batches import ROOT, all_completed
from run_states import dispatched, merged, run_state

PROGRAM = str(ROOT / "lib" / "batchctl.py")
PATIENCE_S = 60
TEXT = "[red]a very long feature that surely needs more than what forty columns hold[/red]"


class Terminal:
    """A program on a pseudo-terminal, and what its screen shows."""

    def __init__(self, columns: int, lines: int, words: list[str], cwd: str) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.master, slave = pty.openpty()
        self._tell_size(columns, lines)
        self.before = termios.tcgetattr(slave)
        environment = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            words, cwd=cwd, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.slave = slave

    def _tell_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Another size. As most terminals do, this one wraps what it shows to the new width."""
        shown = self.text()[: self.screen.cursor.y + 1]
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.stream.feed("\r\n".join(shown).encode())
        self._tell_size(columns, lines)

    def read(self, seconds: float) -> None:
        """Take in what is printed within that time."""
        if select.select([self.master], [], [], seconds)[0]:
            self.stream.feed(os.read(self.master, 65536))

    def text(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    def until(self, *expected: str) -> list[str]:
        """The screen, once it shows all of that."""
        until = time.monotonic() + PATIENCE_S
        while not all(any(text in line for line in self.text()) for text in expected):
            assert time.monotonic() < until, f"{expected} is not on the screen:\n" + "\n".join(self.text())
            self.read(0.1)
        return self.text()

    def ended(self) -> int:
        """The exit status, with all that was printed taken in."""
        until = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < until:
            self.read(0.1)
        status = self.process.wait(1)
        while select.select([self.master], [], [], 0.2)[0]:
            self.read(0)
        return status


@pytest.fixture
def terminal(store: Store) -> Iterator:
    """Opens a terminal of that size in the repository, with `batchctl status --watch` in it."""
    opened: list[Terminal] = []

    def open_one(columns: int, lines: int) -> Terminal:
        words = [sys.executable, "-X", "utf8", PROGRAM, "status", "--watch"]
        opened.append(Terminal(columns, lines, words, store.project.root))
        return opened[-1]

    yield open_one
    for each in opened:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        os.close(each.master)
        os.close(each.slave)


def test_it_shows_what_happens_at_any_width_and_ctrl_c_leaves_the_terminal_as_it_was(store, terminal):
    state = store.create(dispatched(run_state([TEXT] * 20), 3))
    shown = terminal(80, 24)
    lines = shown.until("0 of 20 done, 1 running", "running", "and 15 more pending", "Used:")
    assert lines[0] == "Batch batch-1: in progress, " + lines[0].split(", ")[1]
    assert [line for line in lines if line.startswith("    4 [red]a very long")]

    store.update(lambda current: merged(current, 0))
    lines = shown.until("done; commit c0ffee", "1 of 20 done, 1 running")
    assert lines.index(next(line for line in lines if "done; commit" in line)) < lines.index(
        next(line for line in lines if line.startswith("Batch batch-1"))
    ), "an event stands above the drawing"

    for columns, rows in ((40, 20), (132, 30), (80, 10)):
        shown.resize(columns, rows)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:  # the old drawing says the same: look at the bar
            shown.read(0.2)
            bars = [line for line in shown.text() if line.startswith("█")]
            if [len(bar) for bar in bars] == [columns]:
                break
        lines = shown.text()
        assert [len(line) for line in lines if line.startswith("█")] == [columns]
        assert sum(line.startswith("Batch batch-1:") for line in lines) == 1, "nothing of the old drawing is left"
        assert any(line.startswith("    4 [red]") for line in lines)

    os.write(shown.master, b"\x03")  # as the terminal does it: SIGINT for the process group
    assert shown.ended() == 0
    assert not shown.screen.cursor.hidden
    assert termios.tcgetattr(shown.slave) == shown.before
    lines = [line for line in shown.text() if line]
    assert lines[-1].startswith("Used:")
    assert shown.screen.cursor.x == 0
    assert "Traceback" not in "\n".join(shown.text())
    assert store.read()["revision"] == state["revision"] + 1, "who watches changes nothing"


def test_it_ends_when_the_batch_is_over(store, terminal):
    store.create(run_state(1))
    shown = terminal(80, 24)
    shown.until("0 of 1 done")
    store.update(lambda current: merged(current, 0))
    assert shown.ended() == 0
    lines = [line for line in shown.text() if line]
    assert lines[-1] == "Batch batch-1 is over (completed): 1 of 1 done, 0 failed, 0 skipped."
    assert any(set(line) == {"█"} and len(line) == 80 for line in lines)


# -- without a terminal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_there_are_lines_and_a_signal_ends_them(store, number):
    store.create(dispatched(run_state(3), 1))
    process = subprocess.Popen(
        [sys.executable, PROGRAM, "status", "--watch"], cwd=store.project.root, stdout=subprocess.PIPE, text=True
    )
    first = process.stdout.readline()
    store.update(lambda current: merged(current, 0))
    second = process.stdout.readline()
    process.send_signal(number)
    rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert first[20:].startswith(" running      0 of 3 done, 1 running; feature 2 (running, ")
    assert second[20:].startswith(" feature 1    ")
    assert "\x1b" not in first + second + rest


class Recorder(live_display.Display):
    """Keeps what is said; at each look the next of the `steps` happens."""

    def __init__(self, steps) -> None:
        super().__init__(sys.stdout)
        self.lines, self.steps, self.closed = [], list(steps), False

    def say(self, line, style=""):
        self.lines.append(line[21:])

    def refresh(self, state):
        if self.steps:
            self.steps.pop(0)()
        else:
            self.gone = True

    def close(self):
        self.closed = True


@pytest.fixture
def followed(monkeypatch, store):
    """Follows the batch of the repository while these steps happen: what it answers, and the recorder."""
    monkeypatch.setattr(watch, "POLL_S", 0)

    def follow(*steps):
        recorder = Recorder(steps)
        monkeypatch.setattr(live_display, "open_display", lambda stream, environ: recorder)
        return watch.follow(store.project, sys.stdout, {}), recorder

    return follow


def test_what_happens_is_told_in_the_words_of_the_log(followed, store, batch):
    _, recorder = followed(
        lambda: store.update(lambda state: transitions.start(state, "2026-02-01T00:00:00Z", "base")),
        lambda: store.update(lambda state: transitions.set_phase(state, "test")),
        lambda: None,
    )
    assert recorder.lines == ["feature 1    attempt 1 started", "feature 1    test"]
    assert recorder.closed


@pytest.mark.parametrize("why", ["aborted", "replaced"])
def test_it_ends_when_the_batch_is_not_there_any_more(followed, store, batch, why):
    def step():
        if why == "aborted":
            store.archive("aborted")
        else:
            store.create({**all_completed(run_state(1)), "batch_id": "batch-2", "run": None}, replace=True)

    text, recorder = followed(step)
    assert text == "Batch batch-1 was archived; `batchctl log` shows why."
    assert recorder.closed


def test_it_ends_when_nobody_can_see_it_any_more(followed, batch):
    text, recorder = followed()
    assert (text, recorder.closed) == ("", True)


def test_a_state_that_cannot_be_read_for_a_while_is_told_once_and_does_not_end_it(followed, store, batch, monkeypatch):
    readable = snapshot.read_snapshot

    def hide():
        monkeypatch.setattr(snapshot, "read_snapshot", unreadable)

    def unreadable(project):
        recorder_sees.append(1)
        if len(recorder_sees) == 3:
            store.update(lambda state: transitions.start(state, "2026-02-01T00:00:00Z", "base"))
            monkeypatch.setattr(snapshot, "read_snapshot", readable)
        raise StateError("the disk is away", "disk-trouble")

    recorder_sees: list[int] = []
    _, recorder = followed(hide, lambda: None)
    assert recorder.lines == ["unreadable   the disk is away", "feature 1    attempt 1 started"]


@pytest.fixture
def typed(store, monkeypatch, capsys):
    """Runs batchctl in the repository with that environment: exit status and errors."""
    monkeypatch.chdir(store.project.root)

    def run(*words, **environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return batchctl.main(words), capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("environ", "words", "message"),
    [
        ({"CLAUDECODE": "1"}, [], "needs a terminal of its own, outside of Claude Code"),
        ({"CLAUDE_CODE_SESSION_ID": "session"}, [], "needs a terminal of its own, outside of Claude Code"),
        ({}, ["--json"], "--watch and --json exclude each other."),
    ],
)
def test_it_is_refused_where_it_would_not_end_or_show_nothing(batch, typed, monkeypatch, environ, words, message):
    monkeypatch.setattr(watch, "follow", lambda *arguments: "it was not refused")
    status, errors = typed("status", "--watch", *words, **environ)
    assert status == (2 if words else 1)
    assert message in errors


def test_without_a_batch_it_says_so(typed):
    status, errors = typed("status", "--watch")
    assert status == 1
    assert "no batch" in errors
