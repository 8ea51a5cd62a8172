"""What is measured within a process: `inside.py TASK FOLDER COUNT`, with the library to measure on PYTHONPATH.

For each number on standard input the task is run as often; the answer is a line with the CPU seconds of one run (user
and system, this process). Each task is a function of the folder and of the count of features; it prepares, and returns
what is to be run.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
from typing import Any, Callable

Run = Callable[[], object]
OWNER_PID = "BENCH_CLIENT_PID"
SESSION, PROMPT = "session-of-the-bench", "prompt-1"
NOW = "2026-01-31T23:59:59Z"


def seconds() -> float:
    """Return the CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


# -- states -----------------------------------------------------------------------------------------------------------


def feature_text(index: int) -> str:
    """Return a feature as people write them: about 90 characters."""
    return f"Add the command number {index + 1} to the reporting tool, with its option --since DATE, tests and a page"


def half_done_state(count: int) -> dict[str, Any]:
    """Return a batch with half completed, one feature open, and every tenth of the rest needing the one before."""
    from batch_implement.base import process_identity
    from batch_implement.core import batch_policy, batch_state, transitions

    needs = {str(index): [index - 1] for index in range(count // 2 + 10, count, 10)}
    policy = batch_policy.create_policy(verify="python3 -m pytest -q")
    state = batch_state.new_state(
        "batch-bench", [feature_text(index) for index in range(count)], NOW, policy=policy, needs=needs
    )
    done = transitions.complete(transitions.start(state, NOW, "0" * 40), NOW, {"commit": "c0ffee" * 6, "verify": None})
    proof, timing = done["evidence"]["0"], done["timings"]["0"]
    half = range(count // 2)
    state = {
        **done,
        "completed_features": list(half),
        "evidence": {str(index): dict(proof) for index in half},
        "timings": {str(index): dict(timing) for index in half},
        "owner": process_identity.new_owner(SESSION, int(os.environ.get(OWNER_PID) or os.getppid()), NOW),
        "continuation": {"prompt": PROMPT},
    }
    return transitions.start({**batch_state.with_derived_fields(state), "revision": 1}, NOW, "0" * 40)


def open_store(folder: str) -> Any:
    """Return the store of the project in this folder, with a longer wait for the lock than a program has."""
    from batch_implement.base.project_paths import Project
    from batch_implement.store.store import Store

    return Store(Project(folder), timeout_s=120.0)


def make(folder: str, count: int) -> Run:
    """Create the batch."""
    return lambda: open_store(folder).create(half_done_state(count))


def finish(folder: str, count: int) -> Run:
    """Create a batch that is over and has no owner."""
    from batch_implement.core import batch_state

    over = {**half_done_state(count), "active": None, "completed_features": list(range(count)), "owner": None}
    return lambda: open_store(folder).create(batch_state.with_derived_fields(over))


# -- updates ----------------------------------------------------------------------------------------------------------


def phase(folder: str, count: int) -> Run:
    """Do a durable update: the open feature's phase changes, which adds one line to the audit log."""
    from batch_implement.core import transitions

    at = open_store(folder)

    def further(state: dict[str, Any]) -> dict[str, Any]:
        return transitions.set_phase(state, "plan" if state["active"]["phase"] == "implement" else "implement")

    return lambda: at.update(further)


def unlogged(folder: str, count: int) -> Run:
    """Do a durable update that adds no line to the audit log."""
    from batch_implement.core import lease

    at = open_store(folder)
    numbers = itertools.count()
    return lambda: at.update(lambda state: lease.record_context_tokens(state, next(numbers)))


def _replaced(place: str, data: bytes) -> None:
    """Write a file in the common way that survives a power cut."""
    with open(place + ".new", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(place + ".new", place)
    folder = os.open(os.path.dirname(place), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _plain(folder: str) -> Run:
    place = os.path.join(folder, "plain.json")
    with open(os.path.join(folder, ".claude", "batch_state.json"), encoding="utf-8") as file:
        state = json.load(file)
    with open(place, "w", encoding="utf-8") as file:
        json.dump(state, file, indent=2)
    phases = itertools.cycle(["plan", "implement"])

    def run() -> None:
        with open(place, encoding="utf-8") as file:
            state = json.load(file)
        state["active"]["phase"] = next(phases)
        state["revision"] += 1
        _replaced(place, json.dumps(state, indent=2).encode())

    return run


def plain(folder: str, count: int) -> Run:
    """Update in the plain way with two fsyncs, of the file and its folder: no lock, no check, no sidecar."""
    return _plain(folder)


def plain_same_fsyncs(folder: str, count: int) -> Run:
    """Update in the plain way with our four fsyncs: of the state, of a second small file, of both folders."""
    run, second = _plain(folder), os.path.join(folder, ".claude", "second")

    def both() -> None:
        _replaced(second, b"x" * 400)
        run()

    return both


def same_bytes(folder: str, count: int) -> Run:
    """Write the state's bytes with fsync, rename and fsync of the folder, and nothing else."""
    place = os.path.join(folder, "bytes.json")
    with open(os.path.join(folder, ".claude", "batch_state.json"), "rb") as file:
        data = file.read()
    return lambda: _replaced(place, data)


# -- pure work --------------------------------------------------------------------------------------------------------


def validate(folder: str, count: int) -> Run:
    """Validate schema and invariants of a state."""
    from batch_implement.store import serialization

    state = half_done_state(count)
    serialization.find_problems(state, None)

    def run() -> None:
        if serialization.find_problems(state, None):
            raise RuntimeError("the state of the bench is not valid")

    return run


def jsonschema(folder: str, count: int) -> Run:
    """Validate the state against the published schema with jsonschema."""
    import jsonschema as reference
    from batch_implement.validation import schema

    state, validator = half_done_state(count), reference.Draft7Validator(schema.load_published("batch_state"))
    return lambda: validator.validate(state)


def _needs(count: int) -> dict[int, list[int]]:
    import random

    chance = random.Random(5)  # noqa: S311 - the same graph each time, no secret
    needs = {index: sorted(chance.sample(range(index), min(5, index))) for index in range(1, count)}
    missing = 5 * count - sum(map(len, needs.values()))
    for index in range(count - missing, count):
        needs[index] = sorted({*needs[index], *chance.sample(range(index), 6)})[: len(needs[index]) + 1]
    return needs


def order(folder: str, count: int) -> Run:
    """Order that many features with five times as many dependencies."""
    from batch_implement.features import ordering

    needs = _needs(count)
    return lambda: ordering.sort_features(count, needs)


def sort(folder: str, count: int) -> Run:
    """Order them with graphlib alone, which has no order among those that are ready."""
    import graphlib

    needs = _needs(count)

    def run() -> None:
        if len(list(graphlib.TopologicalSorter(needs).static_order())) != count:
            raise RuntimeError("graphlib lost a feature")

    return run


def _features_file(folder: str, count: int) -> str:
    place = os.path.join(folder, f"features-{count}.txt")
    with open(place, "w", encoding="utf-8") as file:
        file.writelines(
            feature_text(index) + (f" (after: {index})\n" if index % 10 == 9 else "\n") for index in range(count)
        )
    return place


def read(folder: str, count: int) -> Run:
    """Read a features file as `create` does."""
    from batch_implement.features import source_files

    place = _features_file(folder, count)
    return lambda: source_files.read_file(place)


def split(folder: str, count: int) -> Run:
    """Read the same file and split it into lines."""
    place = _features_file(folder, count)

    def run() -> list[str]:
        with open(place, encoding="utf-8") as file:
            return file.read().splitlines()

    return run


# -- what is no ratio -------------------------------------------------------------------------------------------------


def written(folder: str, count: int) -> dict[str, float]:
    """Return the bytes that one update hands to write(2), with and without an event, and the size of the state."""

    def total() -> int:
        with open("/proc/self/io", encoding="ascii") as io:
            return next(int(line.split()[1]) for line in io if line.startswith("wchar"))

    found: dict[str, float] = {"state": os.stat(os.path.join(folder, ".claude", "batch_state.json")).st_size}
    log = open_store(folder).project.log_folder + "/audit.jsonl"
    for name, task in (("phase", phase), ("unlogged", unlogged)):
        run = task(folder, count)
        run()
        before = total()
        run()
        found[name] = total() - before
        if name == "phase":
            with open(log, "rb") as lines:
                found["line"] = len(lines.readlines()[-1])
    return found


def texts(folder: str, count: int) -> dict[str, str]:
    """Return every text that the plugin puts into a conversation, by occasion, for the batch in this folder."""
    from batch_implement.core import prompts

    state = open_store(folder).read()
    closed = {**state, "active": None}
    return {
        "brief of the coordinator, once a batch": prompts.coordinator_brief(closed),
        "next step, once a feature and once a stop": prompts.next_step(closed),
        "brief of the worker, once an attempt": prompts.worker_brief(state),
        "reminder of the coordinator, once a compaction": prompts.reminder(state, worker=False),
        "reminder of the worker, once a compaction": prompts.reminder(state, worker=True),
        "for the summariser, once a compaction": prompts.summary_instructions(state, worker=False),
    }


TASKS: dict[str, Callable[[str, int], Run]] = {
    task.__name__: task
    for task in (
        make, finish, phase, unlogged, plain, plain_same_fsyncs, same_bytes, validate, jsonschema, order, sort, read,
        split,
    )
}  # fmt: skip
TOLD: dict[str, Callable[[str, int], dict[str, Any]]] = {"written": written, "texts": texts}


def main(task: str, folder: str, count: int) -> None:
    """Run the task as often as each line of standard input says."""
    if task in TOLD:
        print(json.dumps(TOLD[task](folder, count)), flush=True)
        return
    run = TASKS[task](folder, count)
    for line in sys.stdin:
        times = int(line)
        before = seconds()
        for _ in range(times):
            run()
        print((seconds() - before) / times, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
