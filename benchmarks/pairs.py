"""Two things measured by turns, so that a busy machine slows both: only the ratio of a pair counts.

    result = compare(ours, floor, pairs=30)      Result.ratio is the median over the pairs

A thing is anything with `cost()`: seconds that one run took. `Program` is a whole process on the CPU time of it and of
its children; `Worker` answers from within a process that stays, by the clock that its task uses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import IO, Callable, NamedTuple, Protocol, Sequence, cast

INSIDE = Path(__file__).with_name("inside.py")


class Thing(Protocol):
    """Anything that can be measured."""

    def cost(self) -> float:
        """Run once and return the seconds that it took."""
        ...


class Result(NamedTuple):
    """Medians over the pairs: the ratio, with its quartiles, and both costs in seconds."""

    ratio: float
    lower: float
    upper: float
    ours_s: float
    floor_s: float


def compare(ours: Thing, floor: Thing, pairs: int, before: Callable[[], object] | None = None) -> Result:
    """Measure both `pairs` times, one directly after the other, every second time in the other order.

    `before` is called ahead of each run of either, unmeasured. Two pairs ahead are thrown away: they warm caches.
    """
    ratios: list[float] = []
    costs: list[tuple[float, float]] = []
    for number in range(-min(2, pairs), pairs):
        taken = {}
        for thing in (ours, floor) if number % 2 else (floor, ours):
            if before is not None:
                before()
            taken[thing is ours] = thing.cost()
        if number >= 0:
            ratios.append(taken[True] / max(taken[False], 1e-9))
            costs.append((taken[True], taken[False]))
    ordered = sorted(ratios)
    return Result(
        median(ratios),
        ordered[len(ordered) // 4],
        ordered[(len(ordered) * 3) // 4],
        median(cost[0] for cost in costs),
        median(cost[1] for cost in costs),
    )


class Program:
    """A program run to its end, `times` in a row; its cost is the CPU time of one run, children that it waited for
    included.
    """

    def __init__(
        self, words: Sequence[str], env: dict[str, str], stdin: Path | str = os.devnull, times: int = 1
    ) -> None:
        self.words, self.env, self.stdin, self.times = list(words), env, str(stdin), times

    def cost(self) -> float:
        """Run it and return the CPU seconds of one run. Raise RuntimeError if it fails."""
        total = 0.0
        for _ in range(self.times):
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, self.stdin, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            ]
            pid = os.posix_spawn(self.words[0], self.words, self.env, file_actions=actions)
            _, status, usage = os.wait4(pid, 0)
            if status:
                raise RuntimeError(f"{' '.join(self.words)} ended with the status {status}")
            total += usage.ru_utime + usage.ru_stime
        return total / self.times


class Worker:
    """A task of the `inside.py` of `tree`, in a process with that tree's library. It reports its own cost."""

    def __init__(self, tree: Path, task: str, folder: Path, count: int) -> None:
        own = tree / "benchmarks" / "inside.py"  # an older tree's own tasks know its modules by their names there
        words = [sys.executable, str(own if own.exists() else INSIDE), task, str(folder), str(count)]
        environment = {**os.environ, "PYTHONPATH": str(tree / "lib"), "PYTHONDONTWRITEBYTECODE": "1"}
        self.what = f"{task} {count}"
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
        self._ask = cast("IO[bytes]", self.process.stdin)
        self._answers = cast("IO[bytes]", self.process.stdout)
        self._trouble = cast("IO[bytes]", self.process.stderr)

    def begin(self, times: int = 1) -> None:
        """Start it; `end` waits for it."""
        self._ask.write(b"%d\n" % times)
        self._ask.flush()

    def end(self) -> str:
        """Return its answer to `begin`, a line. Raise RuntimeError if it has died."""
        line = self._answers.readline()
        if not line:
            said = self._trouble.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"The worker for {self.what} ended with {self.process.wait()}: {said}")
        return line.decode()

    def cost(self) -> float:
        """Run it once and return the seconds that it reports."""
        self.begin()
        return float(self.end())

    def close(self) -> None:
        """End it."""
        for pipe in (self._ask, self._answers, self._trouble):
            pipe.close()
        self.process.wait()
