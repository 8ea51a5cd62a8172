"""Simulate the merge queue: `make bench BENCH="--row queue"`. Times are in minutes, results in hours.

`jobs` slots work on features. An attempt takes a log-normal time (mean 15, sigma 0.6), then one run of the verify
command on its own base. On a head that has moved since, it conflicts with probability p, which git tells at once, and
is bad with probability p: each run that contains it is red. What is sent back begins anew on the new head, once; then
it is lost. A run is also red by chance (`flakes`). With `fresh`, `batchctl done` puts the work onto the present head
before its run: the share of p that is older than that run is met there, and fixed for 0.3 of the work and one more
run.

The rules are those of the driver (`core.merge_rules`). Beside them: one feature at a time, whose slot waits with it (as
it was before them), and the floor, at which merging takes no time.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
import sys
from collections import deque
from pathlib import Path
from typing import Iterator, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from batch_implement.core import merge_rules

MEAN, SIGMA = 15.0, 0.6
PUT_ONTO_HEAD = 0.0055  # 0.33 s a feature
FEATURES = {4: 60, 16: 240, 64: 960}
SEEDS = 15


class Attempt(NamedTuple):
    """An attempt at a feature: the number of merges in its base, and what is wrong with it on another head."""

    feature: int
    base: int
    is_bad: bool = False
    conflicts: bool = False


class Result(NamedTuple):
    """What a simulated run took: hours, hours of verify runs in the queue, features blamed for nothing and lost."""

    hours: float
    verify_hours: float
    wrongly_blamed: int
    lost: int


class Simulation:
    """One run of a batch. `serial` is the rule of before: one feature at a time, its slot is not free until it is
    merged.
    """

    def __init__(
        self, jobs: int, verify: float, p: float, seed: int, *, verify_jobs: int = 1, fresh: bool = False,
        flakes: float = 0.0, serial: bool = False,
    ) -> None:  # fmt: skip
        self.random = random.Random(seed)  # noqa: S311
        self.jobs, self.verify, self.p, self.fresh, self.flakes, self.serial = jobs, verify, p, fresh, flakes, serial
        self.total = FEATURES[jobs]
        self.pending = deque(range(self.total))
        self.sent_back: set[int] = set()
        self.done: dict[int, Attempt] = {}
        self.queue = merge_rules.Queue(verify_jobs, each_verified=serial)
        self.runs: dict[int, tuple[float, bool]] = {}
        self.free, self.now, self.merged, self.lost, self.wrongly_blamed, self.verify_minutes = jobs, 0.0, 0, 0, 0, 0.0
        self.events: list[tuple[float, int, str, object]] = []
        self.count = 0

    def run(self) -> Result:
        """Run to the end."""
        while True:
            self.start_features()
            self.plan()
            if self.merged + self.lost == self.total:
                return Result(self.now / 60, self.verify_minutes / 60, self.wrongly_blamed, self.lost)
            if self.free and self.pending:
                continue
            self.now, _, kind, subject = heapq.heappop(self.events)
            if kind == "worked":
                self.finish_work(*subject)  # type: ignore[misc]
            elif kind == "done":
                self.finish_attempt(subject)  # type: ignore[arg-type]
            elif subject in self.runs:
                self.finish_run(subject)  # type: ignore[arg-type]

    def schedule(self, minutes: float, kind: str, subject: object) -> None:
        """Have an event handled after that many minutes."""
        self.count += 1
        heapq.heappush(self.events, (self.now + minutes, self.count, kind, subject))

    def start_features(self) -> None:
        """Start features in the free slots."""
        while self.free and self.pending:
            self.free -= 1
            work = self.random.lognormvariate(math.log(MEAN) - SIGMA**2 / 2, SIGMA)
            self.schedule(work, "worked", (Attempt(self.pending.popleft(), self.merged), work))

    def finish_work(self, attempt: Attempt, work: float) -> None:
        """Verify an attempt; with `fresh` on the present head."""
        p, more = self.p, 0.0
        if self.fresh and self.merged != attempt.base:
            left = p * self.verify / (work + self.verify)
            if self.random.random() < 1 - (1 - (p - left)) ** 2:
                more = 0.3 * work + self.verify
            p, attempt = left, attempt._replace(base=self.merged)
        is_bad, conflicts = self.random.random() < p, self.random.random() < p
        self.schedule(more + self.verify, "done", attempt._replace(is_bad=is_bad, conflicts=conflicts))

    def finish_attempt(self, attempt: Attempt) -> None:
        """Give a verified attempt to the queue."""
        self.free += not self.serial
        self.done[attempt.feature] = attempt
        self.queue = merge_rules.add(self.queue, attempt.feature)

    def plan(self) -> None:
        """Begin what can begin until nothing changes."""
        while True:
            on_head = [feature for feature, attempt in self.done.items() if attempt.base == self.merged]
            self.queue, actions = merge_rules.plan(self.queue, on_head)
            if not actions:
                return
            self.apply(actions)

    def apply(self, actions: list[merge_rules.Action]) -> None:
        """Carry out what the rules say."""
        for kind, number, features, _ in actions:
            if kind == merge_rules.VERIFY:
                self.begin_run(number, features)
            elif kind == merge_rules.CANCEL:
                self.verify_minutes += self.now - self.runs.pop(number)[0]
            else:
                self.free += len(features) * self.serial
                for feature in features:
                    attempt = self.done.pop(feature)
                    if kind == merge_rules.MERGE:
                        self.merged += 1
                    else:
                        self.send_back(attempt)

    def begin_run(self, number: int, features: tuple[int, ...]) -> None:
        """Put features onto the head, leave out what conflicts, and verify the others."""
        for feature in features:
            if self.done[feature].conflicts:
                self.queue, actions = merge_rules.leave_out(self.queue, number, feature, with_head=True)
                self.apply(actions)
        place = next((place for place, group in enumerate(self.queue.groups) if group.number == number), None)
        if place is not None:
            contained = [feature for group in self.queue.groups[: place + 1] for feature in group.features]
            is_red = any(self.done[feature].is_bad for feature in contained) or self.random.random() < self.flakes
            self.runs[number] = self.now, is_red
            self.schedule(self.verify + PUT_ONTO_HEAD * len(features), "verified", number)

    def finish_run(self, number: int) -> None:
        """Tell the rules how a run ended."""
        began, is_red = self.runs.pop(number)
        self.verify_minutes += self.now - began
        self.queue, actions = (merge_rules.failed if is_red else merge_rules.passed)(self.queue, number)
        self.apply(actions)

    def send_back(self, attempt: Attempt) -> None:
        """Begin a feature anew, or give it up the second time."""
        self.wrongly_blamed += not (attempt.is_bad or attempt.conflicts)
        if attempt.feature in self.sent_back:
            self.lost += 1
        else:
            self.sent_back.add(attempt.feature)
            self.pending.appendleft(attempt.feature)


def floor_hours(jobs: int, verify: float, p: float, seed: int) -> float:
    """Return the hours of a run in which merging takes no time."""
    chance = random.Random(seed)  # noqa: S311
    slots = [0.0] * jobs
    pending = deque([False] * FEATURES[jobs])
    while pending:
        was_sent_back = pending.popleft()
        work = chance.lognormvariate(math.log(MEAN) - SIGMA**2 / 2, SIGMA)
        heapq.heappush(slots, heapq.heappop(slots) + work + verify)
        if chance.random() < 1 - (1 - p) ** 2 and not was_sent_back:
            pending.append(True)
    return max(slots) / 60


def median_result(jobs: int, verify: float, p: float, **options: object) -> Result:
    """Return the medians over all seeds."""
    results = [Simulation(jobs, verify, p, seed, **options).run() for seed in range(SEEDS)]  # type: ignore[arg-type]
    return Result(*(statistics.median(column) for column in zip(*results)))  # type: ignore[arg-type]


COLUMNS = (
    "jobs", "verify, min", "p", "floor, h", "before", "one verify job", "and fresh heads", "a verify job each",
    "verify hours of before", "good ones blamed at 2 % flakes",
)  # fmt: skip


def table() -> Iterator[str]:
    """Yield the lines of a table: hours by rule, as multiples of the floor, and hours of verify runs in the queue."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|" + " --- |" * len(COLUMNS)
    for jobs, verify, p in itertools.product(FEATURES, (1, 10, 30), (0.02, 0.05, 0.10)):
        floor = statistics.median(floor_hours(jobs, verify, p, seed) for seed in range(SEEDS))
        before = median_result(jobs, verify, p, serial=True)
        now = [
            median_result(jobs, verify, p),
            median_result(jobs, verify, p, fresh=True),
            median_result(jobs, verify, p, fresh=True, verify_jobs=jobs),
        ]
        flaky = median_result(jobs, verify, p, fresh=True, flakes=0.02)
        multiples = [f"{each.hours / floor:.2f} x" for each in [before, *now]]
        cells = [
            str(jobs), str(verify), f"{p:.0%}", f"{floor:.1f}", *multiples,
            f"{now[1].verify_hours / before.verify_hours:.2f}", f"{flaky.wrongly_blamed:.0f}",
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"
