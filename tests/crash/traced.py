"""One server of writes (writes.py) with strace attached for the length of a run.

    with Server(lib) as server:
        ended = server.run(jobs, "fsync:signal=KILL:when=3")     # how each kind ended, as writes.py says it
        calls = server.calls("start", root)                      # what one undisturbed write asks of the system

`when=N` counts per name and process. So a walk takes every name that a write calls and every N up to its number of
calls, all from one undisturbed run (walk.py).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
LIB = str(HERE.parents[1] / "lib")
STRACE = shutil.which("strace")


def lacking() -> str:
    """Why nothing can be traced here; "" when it can."""
    if sys.platform != "linux" or STRACE is None:
        return "strace, on Linux, is not here"
    tried = subprocess.run([STRACE, "-o", "/dev/null", "true"], capture_output=True, text=True)
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else ""


needs_strace = pytest.mark.skipif(bool(lacking()), reason=lacking())
LINE = re.compile(r"^(\w+)\((.*)\) += (-?\d+|\?)(.*)$")


class Call(NamedTuple):
    """One system call of a write: its number `n` among those of its name, and what strace says of it."""

    name: str
    n: int
    arguments: str
    result: int
    rest: str


class Server:
    """A process that waits for jobs with everything loaded. `lib` is the code that it runs."""

    def __init__(self, lib: str = LIB) -> None:
        self.lib = lib

    def __enter__(self) -> Server:
        words = [sys.executable, "-S", "-s", str(HERE / "writes.py"), self.lib]
        environment = {"PATH": os.defpath, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, bufsize=1
        )
        assert self._line() == "ready"
        return self

    def __exit__(self, *what: object) -> None:
        self.process.kill()
        self.process.communicate()

    def _line(self) -> Any:
        line = self.process.stdout.readline()
        assert line, "the server of writes died"
        return json.loads(line)

    def run(self, jobs: list[tuple[str, str]], inject: str) -> dict[str, dict[str, Any]]:
        """How each of the jobs (kind, root) ended with `inject` injected into it."""
        name = inject.partition(":")[0]
        return self._traced(
            jobs, "-e", f"trace={name}", "-e", f"inject={inject}", "-e", "signal=none", "-o", "/dev/null"
        )

    def calls(self, kind: str, root: str) -> list[Call]:
        """The system calls of one write, undisturbed, with all their data as strace writes it (`-xx`)."""
        with tempfile.TemporaryDirectory() as logs:
            options = ("-e", "signal=none", "-y", "-v", "-xx", "-s", "10000000", "-ff", "-o", f"{logs}/log")
            ended = self._traced([(kind, root)], *options)
            assert "revision" in ended[kind], ended
            (child,) = [log for log in Path(logs).iterdir() if log.suffix != f".{self.process.pid}"]
            return parsed(child)

    def _traced(self, jobs: list[tuple[str, str]], *options: str) -> dict[str, dict[str, Any]]:
        self.process.stdin.write(json.dumps(jobs) + "\n")
        assert self._line() == "loaded"
        strace = subprocess.Popen(
            [STRACE, "-f", "-qq", *options, "-p", str(self.process.pid)], stderr=subprocess.PIPE, text=True
        )
        while not self._is_traced():
            assert strace.poll() is None, f"strace cannot attach: {strace.stderr.read()}"
            time.sleep(0.0005)
        os.kill(self.process.pid, signal.SIGUSR1)
        ended = {}
        while (answer := self._line()) != "end":
            ended.setdefault(answer["kind"], answer)
        strace.terminate()
        strace.communicate()
        os.kill(self.process.pid, signal.SIGUSR2)
        return ended

    def _is_traced(self) -> bool:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii", errors="replace")
        return "TracerPid:\t0\n" not in status


def parsed(log: Path) -> list[Call]:
    """The calls of one process from a log of strace, in order, up to its answer."""
    calls: list[Call] = []
    count: Counter[str] = Counter()
    for line in log.read_text(encoding="ascii").splitlines():
        found = LINE.match(line)
        if not found:
            continue
        name, arguments, result, rest = found.groups()
        if name == "writev":
            break
        count[name] += 1
        calls.append(Call(name, count[name], arguments, -1 if result == "?" else int(result), rest))
    return calls
