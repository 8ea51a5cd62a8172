"""The table: what is measured, against which floor, and what is to be reached.

A row is built for a stage: the things to compare, and what is to happen before each run. Whole processes are
compared on CPU time, work within a process on its own, contention on wall time.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Callable, NamedTuple

from .pairs import Program, Thing, Worker
from .scenes import Scene, Stage

PROCESSES, UPDATES = 8, 200
MANY = 10_000


class Pair(NamedTuple):
    """The two things that a row compares."""

    ours: Thing
    floor: Thing
    before: Callable[[], object] | None = None


class Row(NamedTuple):
    """One line of the table; `target` is the largest ratio that is to be reached, `name` what `--row` takes."""

    name: str
    what: str
    against: str
    target: float
    build: Callable[[Stage], Pair]


class Crowd:
    """Several workers at once, `times` runs each; the cost is wall time until the last is done."""

    def __init__(self, workers: list[Worker], times: int) -> None:
        self.workers, self.times = workers, times

    def cost(self) -> float:
        """Run all of them and return the seconds until the last one is done."""
        begun = time.perf_counter()
        for worker in self.workers:
            worker.begin(self.times)
        for worker in self.workers:
            worker.end()
        return time.perf_counter() - begun


def _no_batch(event: str, tool: str, over: bool, stage: Stage) -> Pair:
    scene = stage.scene(3, over=True) if over else stage.scene(0)
    return Pair(scene.hook(event, tool, times=10), stage.shell(times=10))


def _hook(event: str, tool: str, count: int, stage: Stage) -> Pair:
    scene = stage.scene(count)
    before = scene.progress if event == "Stop" else None
    if before:
        before()
    return Pair(scene.hook(event, tool), stage.bare(), before)


def _shim(event: str, tool: str, stage: Stage) -> Pair:
    shimmed, plain = stage.scene(100, shim=True), stage.scene(100)

    def before() -> None:
        for scene in (shimmed, plain) if event == "Stop" else ():
            scene.progress()

    before()
    return Pair(shimmed.hook(event, tool), plain.hook(event, tool), before)


def _batchctl(words: tuple[str, ...], stage: Stage) -> Pair:
    return Pair(stage.scene(100).batchctl(*words), stage.bare())


def _inside(ours: str, floor: str, count: int, needs_batch: bool, stage: Stage) -> Pair:
    scene: Scene = stage.scene(count if needs_batch else 0)
    return Pair(stage.worker(ours, scene, count), stage.worker(floor, scene, count))


def _crowd(stage: Stage) -> Pair:
    scene = stage.scene(10)
    crowd = [stage.worker("phase", scene) for _ in range(PROCESSES)]
    return Pair(Crowd(crowd, UPDATES), Crowd([stage.worker("phase", scene)], PROCESSES * UPDATES))


def _rows() -> list[Row]:
    shell, python = "`sh -c :`", "`python3 -I -S -c pass`"
    rows = [
        Row(f"guard-{name}", f"{hook}, {where}", shell, 1.3, partial(_no_batch, event, tool, over))
        for name, hook, where, event, tool, over in (
            ("bash", "PreToolUse Bash", "no batch in the project", "PreToolUse", "Bash", False),
            ("stop", "Stop", "no batch in the project", "Stop", "", False),
            ("start", "SessionStart", "no batch in the project (it exports the root)", "SessionStart", "", False),
            ("over", "PostToolUse Bash", "its batch over", "PostToolUse", "Bash", True),
        )
    ]
    for count in (100, MANY):
        for event in ("PreToolUse", "PostToolUse"):
            name = f"{event[:-7].lower()}-{count}"
            what = f"{event} Bash, innocent command, batch of {count:,}"
            rows.append(Row(name, what, python, 1.25, partial(_hook, event, "Bash", count)))
    for event, name, what in (("Stop", "stop", "Stop"), ("SessionStart", "compact", "SessionStart compact")):
        for count, target in ((100, 2.5), (MANY, 5.0)):
            rows.append(
                Row(f"{name}-{count}", f"{what}, batch of {count:,}", python, target, partial(_hook, event, "", count))
            )
    for event, tool, name in (("PreToolUse", "Bash", "shim-pre"), ("Stop", "", "shim-stop")):
        what = f"{event} {tool}".strip() + ", `python3` is a version manager's shim"
        rows.append(Row(name, what, "the same without the shim", 1.2, partial(_shim, event, tool)))
    for count, target in ((10, 1.2), (1000, 0.7), (MANY, 0.6)):
        what = f"durable update, {count:,} features"
        for name, floor, against in (
            (f"update-{count}", "plain_same_fsyncs", "the plain way with the same four fsyncs"),
            (f"update-{count}-strict", "plain", "the plain way with two fsyncs"),
        ):
            rows.append(Row(name, what, against, target, partial(_inside, "phase", floor, count, True)))
    rows += [
        Row(
            "update-bytes",
            "durable update, 10 features",
            "the same bytes, fsync, rename, fsync of the folder",
            3.5,
            partial(_inside, "phase", "same_bytes", 10, True),
        ),
        Row(
            "validate",
            f"full validation, {MANY:,} features",
            "jsonschema",
            0.08,
            partial(_inside, "validate", "jsonschema", MANY, False),
        ),
        Row("next", "`batchctl next`, 100 features", python, 3.5, partial(_batchctl, ("next",))),
        Row("status", "`batchctl status --json`, 100 features", python, 3.5, partial(_batchctl, ("status", "--json"))),
        Row(
            "crowd",
            f"{PROCESSES} processes x {UPDATES} updates, 10 features, wall time",
            f"one process, {PROCESSES * UPDATES:,} updates",
            1.3,
            _crowd,
        ),
        Row(
            "order",
            f"order of {MANY:,} features with {5 * MANY:,} dependencies",
            "graphlib alone",
            1.5,
            partial(_inside, "order", "sort", MANY, False),
        ),
        Row(
            "read",
            f"features file of {MANY:,} lines",
            "reading and splitting it",
            10.0,
            partial(_inside, "read", "split", MANY, False),
        ),
    ]
    return rows


ROWS = _rows()
IDLE = (
    "PreToolUse Bash, no batch",
    "Stop, no batch",
    "SessionStart, no batch",
    "PostToolUse Bash, its batch over",
)
HOT = (
    "PreToolUse Bash, batch of 100",
    "PostToolUse Bash, batch of 100",
    "PreToolUse Bash, batch of 10,000",
    "PostToolUse Bash, batch of 10,000",
)


class Subject(NamedTuple):
    """A process to describe, and what has to happen before each of its runs."""

    program: Program
    before: Callable[[], object]


def programs(stage: Stage) -> dict[str, Subject]:
    """Return the processes whose memory, system calls and files are reported, by description."""
    found = {"python3 -I -S -c pass": stage.bare(), "sh -c :": stage.shell()}
    none, over = stage.scene(0), stage.scene(3, over=True)
    asked = (
        (none, "PreToolUse", "Bash"),
        (none, "Stop", ""),
        (none, "SessionStart", ""),
        (over, "PostToolUse", "Bash"),
    )
    found.update((name, scene.hook(event, tool)) for name, (scene, event, tool) in zip(IDLE, asked))
    for count in (100, MANY):
        scene, name = stage.scene(count), f"batch of {count:,}"
        found.update((f"{event} Bash, {name}", scene.hook(event, "Bash")) for event in ("PreToolUse", "PostToolUse"))
        scene.progress()
        found[f"Stop, {name}"] = scene.hook("Stop")
        found[f"SessionStart compact, {name}"] = scene.hook("SessionStart")
    found["batchctl next, 100 features"] = stage.scene(100).batchctl("next")
    moving = {f"Stop, batch of {count:,}": stage.scene(count).progress for count in (100, MANY)}
    return {name: Subject(program, moving.get(name, _nothing)) for name, program in found.items()}


def _nothing() -> None:
    pass
