"""Measure what a cluster costs beside its clients, on loopback: `python -m benchmarks.cluster`.

    --seconds N      how long to measure (120), besides the start, which takes some 15 s

The scheduler and 100 workers with 5 slots each are processes of their own (the workers in two: see `idlers`), the
remote is a bare repository, and this process is the driver. A line each, with median and quartiles:

    fetch, merge, push      what the driver does with a feature that a worker verified, one feature at a time. The
                            repository has 1,000 files; the branch is 500 commits ahead of where each attempt began
    scheduler               its processor time for a second without any task (heartbeats), and for a task by the size
                            of its answer, besides that

Each is done as often as fits into its share of the time. On a machine that does other work, too, look at processor time
rather than at the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent import futures
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median, quantiles
from typing import Callable

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "lib"))

import psutil  # noqa: E402 - Dask brings it
from batch_implement.base.project_paths import Project  # noqa: E402
from batch_implement.git import git_client, worktrees  # noqa: E402
from batch_implement.runner import merge_tips  # noqa: E402
from batch_implement.runner.dask import task  # noqa: E402
from batch_implement.runner.dask.executor import DaskExecutor  # noqa: E402
from batch_implement.runner.options import Options  # noqa: E402

from . import idlers  # noqa: E402

BATCH = "measured"
FILES, AHEAD, MOST = 1_000, 500, 400
PROCESSES, WORKERS, SLOTS, TASKS = 2, 50, 5, 200
# An attempt's logs are up to 200 kB each: a short client's, and a long one's with a long verify command's.
ANSWERS = {"10 kB": 10_000, "400 kB": 400_000}
WHO = "Bench <bench@example.invalid> 1700000000 +0000"


def main(arguments: list[str]) -> int:
    """Measure, print a line for each figure, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster", description="Measure what a cluster costs beside its clients."
    )
    parser.add_argument("--seconds", type=float, default=120, metavar="N", help="how long to measure")
    seconds = parser.parse_args(arguments).seconds
    print(f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        os.environ.update(HOME=folder, GIT_CONFIG_NOSYSTEM="1")
        os.environ.update({f"GIT_{who}_{what}": "bench@example.invalid" for who in ("AUTHOR", "COMMITTER")
                           for what in ("NAME", "EMAIL")})  # fmt: skip
        repository = make_repository(top)
        with start_cluster(top) as (address, scheduler):
            crew = DaskExecutor(Project(str(repository)), Options(cluster=address))
            try:
                crew.begin(BATCH)
                for line in chain(measure_merging(crew, seconds / 2), measure_tasks(crew, scheduler, seconds / 6)):
                    print(line, flush=True)
            finally:
                crew.close()
    print(f"load {os.getloadavg()[0]:.1f} when done")
    return 0


def format_figure(what: str, taken: list[float], unit: str) -> str:
    """Return one line with median and quartiles."""
    lower, middle, upper = quantiles(taken, n=4, method="inclusive")
    return f"{what:<38} median {middle:.2f} {unit}, quartiles {lower:.2f} to {upper:.2f} ({len(taken)} times)"


# -- the driver's side -------------------------------------------------------------------------------------------------


def make_repository(top: Path) -> Path:
    """Make a repository whose branch is ahead of its base, and a bare remote with a verified commit per feature."""
    bare, repository = top / "remote.git", top / "repository"
    branch = worktrees.get_batch_branch(BATCH)
    lines = ["commit refs/heads/main", f"committer {WHO}", "data 4", "base"]
    for number in range(FILES):
        text = f"{number}\n" * 200
        lines += [f"M 644 inline src/{number % 40}/{number}", f"data {len(text)}", text]
    for number in range(AHEAD):
        begins = ["from refs/heads/main"] if number == 0 else []
        lines += [f"commit refs/heads/{branch}", f"committer {WHO}", "data 6", "merged", *begins]
        lines += [f"M 644 inline merged/{number}", "data 2", "1", ""]
    for number in range(MOST):
        lines += [
            f"commit refs/heads/{attempt_branch(number)}",
            f"committer {WHO}",
            "data 7",
            "attempt",
            "from refs/heads/main",
        ]
        lines += [f"M 644 inline features/{number}", "data 2", "1", ""]
    text = "\n".join(lines) + "\n"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    subprocess.run(["git", "-C", str(bare), "fast-import", "--quiet"], input=text.encode(), check=True)
    subprocess.run(["git", "clone", "-q", "--single-branch", str(bare), str(repository)], check=True)
    subprocess.run(
        ["git", "-C", str(repository), "fetch", "-q", "origin", f"refs/heads/{branch}:refs/heads/{branch}"], check=True
    )
    return repository


def attempt_branch(number: int) -> str:
    """Return the branch of a feature's attempt."""
    return f"batch/{BATCH}/{number + 1}-feature"


def measure_merging(crew: DaskExecutor, seconds: float) -> Iterator[str]:
    """Let the driver merge features for that many seconds; return a line for each part of the work."""
    root, branch = crew.project.root, worktrees.get_batch_branch(BATCH)
    folder = str(Path(root).parent / "queue")
    taken: dict[str, list[float]] = {"fetch": [], "rebase and merge": [], "push": []}
    spent: dict[str, list[float]] = {name: [] for name in taken}
    for number in _for(seconds, MOST):
        commit = git_client.run_git(
            root, "ls-remote", crew.remote, f"refs/heads/{attempt_branch(number)}"
        ).stdout.split()[0]
        at = [_clocks()]
        crew._fetch(_Named(attempt_branch(number)), commit)  # type: ignore[arg-type]
        at.append(_clocks())
        head = str(git_client.get_branch_tip(root, branch))
        ready = merge_tips.build_tip(root, folder, head, head, [merge_tips.Work(number, commit)])
        merge_tips.fast_forward(root, branch, head, ready.commit)
        at.append(_clocks())
        crew._push(ready.commit)
        at.append(_clocks())
        if ready.commit == commit or len(ready.parts[0].commits) != 1:
            raise RuntimeError(f"feature {number + 1} was not rebased: it is no measure of that")
        for name, began, ended in zip(taken, at, at[1:]):
            taken[name].append(ended[0] - began[0])
            spent[name].append(ended[1] - began[1])
    for name, passed in taken.items():
        yield format_figure(name, passed, "s")
        yield format_figure(f"{name}, processor time", spent[name], "s")


def _clocks() -> tuple[float, float]:
    """Return wall time, and CPU time of this process and of the children that it waited for."""
    times = os.times()
    return time.perf_counter(), sum(times[:4])


def _for(seconds: float, most: int = 1_000) -> Iterator[int]:
    """Yield numbers from 0 for that many seconds, at least three: some callers leave the first out."""
    ends = time.monotonic() + seconds
    for number in range(most):
        if number >= 3 and time.monotonic() > ends:
            return
        yield number


class _Named:
    """Hold the fields of a job that fetching needs."""

    def __init__(self, branch: str) -> None:
        self.branch = branch


# -- the scheduler -----------------------------------------------------------------------------------------------------


def measure_tasks(crew: DaskExecutor, scheduler: psutil.Process, seconds: float) -> Iterator[str]:
    """Measure an idle scheduler, then tasks with answers of each size; return a line for each."""
    idle = []
    for _ in _for(seconds):
        idle.append(_taken(scheduler, lambda: time.sleep(2))[1] / 2)
    yield format_figure(
        f"scheduler, a second of {PROCESSES * WORKERS} idle workers", [each * 1000 for each in idle], "ms"
    )
    for words, size in ANSWERS.items():
        taken = []
        for number in _for(seconds):
            passed, spent = _taken(scheduler, partial(_all_done, crew, size, f"{words}-{number}"))
            if number:  # the first round of all has imports and connections in it
                taken.append((spent - passed * median(idle)) / TASKS * 1000)
        yield format_figure(f"scheduler, a task that answers {words}", taken, "ms")


def _all_done(crew: DaskExecutor, size: int, name: str) -> None:
    """Run that many tasks as `DaskExecutor` submits them, each awaited by a thread."""
    data = json.dumps({"text": "x" * 3_000}).encode()

    def done(number: int) -> int:
        asked = crew.client.submit(
            idlers.idle_task, data, size, BATCH, key=f"{name}-{number}", pure=False, retries=0,
            resources={task.RESOURCE: 1},
        )  # fmt: skip
        return len(asked.result())

    with futures.ThreadPoolExecutor(TASKS) as threads:
        if set(threads.map(done, range(TASKS))) != {size}:
            raise RuntimeError("an answer is not what was asked for")


def _taken(scheduler: psutil.Process, does: Callable[[], object]) -> tuple[float, float]:
    """Return wall seconds and the scheduler's CPU seconds for a call."""
    began = time.perf_counter(), _spent(scheduler)
    does()
    return time.perf_counter() - began[0], _spent(scheduler) - began[1]


def _spent(scheduler: psutil.Process) -> float:
    times = scheduler.cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def start_cluster(top: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start a scheduler with workers; yield its address and process."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'lib'}{os.pathsep}{REPOSITORY}"}
    file = top / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    begun = []

    def begin(*line: str) -> subprocess.Popen[bytes]:
        with open(top / "log", "ab") as log:
            begun.append(
                subprocess.Popen(
                    [sys.executable, "-m", *line], cwd=top, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log,
                )
            )  # fmt: skip
        return begun[-1]

    try:
        scheduler = begin("distributed.cli.dask_scheduler", *words)
        _until(file.exists, begun, top / "log")
        address = str(json.loads(file.read_text(encoding="utf-8"))["address"])
        for _ in range(PROCESSES):
            begin("benchmarks.idlers", address, str(WORKERS), str(SLOTS))
        log = top / "log"
        _until(lambda: log.read_bytes().count(b"Registered to") >= PROCESSES * WORKERS, begun, log)
        yield address, psutil.Process(scheduler.pid)
    finally:
        for each in reversed(begun):
            each.terminate()
        for each in begun:
            each.wait(60)


def _until(condition: Callable[[], object], begun: list[subprocess.Popen[bytes]], log: Path) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline or any(each.poll() is not None for each in begun):
            raise RuntimeError(f"the cluster does not begin: {log.read_text(encoding='utf-8')[-1000:]}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
