"""A cluster on this machine: a scheduler and workers as processes of their own, each with its own home and cache.

    its = Cluster(folder, home, workers=3, slots=1)         its.address; its.scheduler, its.workers

Each process is started anew when it ends, as a service manager would. Nothing is shared between them but the bare
repository that is the remote.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

import batch_implement

LIB = Path(batch_implement.__file__).resolve().parents[1]  # a copy with something wrong in it, in the mutations
WAIT_S = float(os.environ.get("CLUSTER_TEST_WAIT_S", "240"))
CONFIG = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "6s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "60s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "60s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


class Kept:
    """A process that is started again whenever it ends, until the cluster does."""

    def __init__(self, line: list[str], environ: dict[str, str], folder: Path) -> None:
        self.line, self.environ, self.folder, self.over = line, environ, folder, threading.Event()
        self.pid, self.starts = 0, 0
        (folder / "log").touch()
        self.thread = threading.Thread(target=self._keep, daemon=True)
        self.thread.start()

    def _keep(self) -> None:
        while not self.over.is_set():
            with open(self.folder / "log", "ab") as log:
                self.process = subprocess.Popen(
                    self.line, cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            self.pid, self.starts = self.process.pid, self.starts + 1
            self.process.wait()
            self.over.wait(0.5)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> None:
        self.over.set()
        for number in (signal.SIGCONT, signal.SIGTERM):
            self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.thread.join(30)


class Cluster:
    """A scheduler and its workers, which listen at `host`. `environ` has what their environment is to have besides."""

    def __init__(
        self, folder: Path, home: Path, workers: int, slots: int, *, way: str = "tcp",
        environ: dict[str, str] | None = None, host: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        self.folder, self.home, self.environ = folder, home, environ or {}
        with socket.socket() as free:
            free.bind((host, 0))
            self.address = f"{way}://{host}:{free.getsockname()[1]}"
        self.file = folder / "scheduler.json"
        self.scheduler = self._start_process(
            "scheduler", "scheduler", "--host", host, "--port", self.address.rpartition(":")[2],
            "--protocol", way, "--scheduler-file", str(self.file), "--no-dashboard",
        )  # fmt: skip
        self.workers = [
            self._start_process(
                f"worker-{n}", "worker", self.address, "--name", f"worker-{n}", "--nthreads", str(slots), "--no-nanny",
                "--resources", f"claude={slots}", "--no-dashboard", "--host", host, "--memory-limit", "0",
            )
            for n in range(1, workers + 1)
        ]  # fmt: skip

        until(lambda: all(b"Registered to" in (each.folder / "log").read_bytes() for each in self.workers))

    def _start_process(self, name: str, kind: str, *words: str) -> Kept:
        folder = self.folder / name
        shutil.copytree(self.home, folder / "home")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        its_own = {"HOME": str(folder / "home"), "PYTHONPATH": str(LIB), "GIT_CONFIG_NOSYSTEM": "1"}
        environ.update({**CONFIG, **self.environ, **its_own})
        line = [sys.executable, "-m", "distributed.cli.dask_" + kind, *words]
        return Kept(line, environ, folder)

    def end(self) -> None:
        for each in [*self.workers, self.scheduler]:
            each.end()


def has_remote(repository: Path, bare: Path) -> Path:
    """Give the repository a remote, a bare one that has what it has; its path."""
    for words in (
        ["init", "-q", "--bare", str(bare)], ["remote", "add", "origin", str(bare)], ["push", "-q", "origin", "main"]
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(repository), *words], check=True, capture_output=True)
    return bare


def until(condition: Callable[[], Any], seconds: float = WAIT_S) -> None:
    """Wait until that holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
