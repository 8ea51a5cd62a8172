"""What is no ratio: memory, bytes, system calls, files, tokens. Each a table of its own, as lines of Markdown.

What the system does not tell (strace is missing, /proc is) is left out, and said.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from . import inside
from .pairs import INSIDE, Program
from .rows import HOT, IDLE, MANY, Subject, programs
from .scenes import PYTHON, Stage

MOST_OVER_BARE, MOST_KB = 1.2, 60 * 1024
RUNS = 5


def query_scene(stage: Stage, task: str, count: int) -> dict[str, Any]:
    """Return what a task of `inside.TOLD` reports for the scene with that many features."""
    words = [sys.executable, str(INSIDE), task, str(stage.scene(count).project), str(count)]
    environment = {**os.environ, "PYTHONPATH": str(stage.tree / "lib"), inside.OWNER_PID: str(os.getpid())}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# The largest memory that the system tells of a process is never less than that of the one which started it. So a bare
# Python starts it, which nothing here but the shell is smaller than.
STARTER = """import posix, sys
actions = [(posix.POSIX_SPAWN_OPEN, fd, name, posix.O_RDWR, 0) for fd, name in ((0, sys.argv[1]), (1, "/dev/null"))]
pid = posix.posix_spawn(sys.argv[2], sys.argv[2:], posix.environ, file_actions=actions)
print(posix.wait4(pid, 0)[2].ru_maxrss)
"""


def _kb(program: Program) -> int:
    words = [PYTHON, "-I", "-S", "-c", STARTER, program.stdin, *program.words]
    done = subprocess.run(words, env=program.env, capture_output=True, text=True, check=True)
    return int(done.stdout) >> (10 if sys.platform == "darwin" else 0)


def measure_memory(found: dict[str, Subject], runs: int = RUNS) -> list[str]:
    """Return the peak memory of each process, median of some runs, against a bare Python."""
    kb: dict[str, float] = {}
    for name, subject in found.items():
        sizes = []
        for _ in range(runs if name not in ("sh -c :", *IDLE) else 0):  # a shell is smaller than what starts it
            subject.before()
            sizes.append(_kb(subject.program))
        if sizes:
            kb[name] = median(sizes)
    bare = kb["python3 -I -S -c pass"]
    lines = ["| process | memory, MB | to bare Python | to reach | |", "| --- | --- | --- | --- | --- |"]
    for name, size in kb.items():
        aim, held = "", ""
        if name in HOT:
            aim, held = f"{MOST_OVER_BARE} x", target_verdict(size / bare <= MOST_OVER_BARE)
        elif f"{MANY:,}" in name:
            aim, held = f"{MOST_KB >> 10} MB", target_verdict(size <= MOST_KB)
        lines.append(f"| {name} | {size / 1024:.1f} | {size / bare:.2f} x | {aim} | {held} |")
    return lines


def target_verdict(good: bool) -> str:
    """Return the words of a target's cell."""
    return "reached" if good else "**missed**"


def measure_bytes_written(stage: Stage) -> list[str]:
    """Return how many bytes one update hands to write(2), with the size of the state."""
    if not os.path.exists("/proc/self/io"):
        return ["This system does not tell what a process writes."]
    lines = [
        "| features | state, bytes | an update with an event | one without | the event's line |",
        "| --- | --- | --- | --- | --- |",
    ]
    for count in (10, 1000, MANY):
        found = query_scene(stage, "written", count)
        logged, quiet = found["phase"], found["unlogged"]
        line = found["line"]
        lines.append(f"| {count:,} | {found['state']:,} | {logged:,} | {quiet:,} | {line:,} |")
    return lines


def count_system_calls(found: dict[str, Subject]) -> list[str]:
    """Return system calls by strace -c, files opened and programs started, of each process with its children."""
    strace = shutil.which("strace")
    if strace is None:
        return ["strace is not installed here: system calls and opened files were not counted."]
    lines = ["| process | system calls | files opened | programs | |", "| --- | --- | --- | --- | --- |"]
    for name, (program, before) in found.items():
        before()
        counted = _traced([strace, "-f", "-c"], program)
        before()
        calls = "trace=open,openat,openat2,execve"
        traced = _traced([strace, "-f", "-qq", "-e", calls, "-e", "status=successful"], program)
        total = re.search(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)(?:\s+\d+)? total", counted, re.MULTILINE)
        files = len(re.findall(r"open(?:at|at2)?\(", traced))
        started = [os.path.basename(path) for path in re.findall(r'execve\("([^"]+)"', traced)]
        held = f"no Python: {target_verdict(not any('python' in each for each in started))}" if name in IDLE else ""
        lines.append(f"| {name} | {total.group(1) if total else '?'} | {files} | {', '.join(started)} | {held} |")
    return lines


def _traced(strace: list[str], program: Program) -> str:
    with open(program.stdin, "rb") as stdin:
        done = subprocess.run(
            [*strace, *program.words], env=program.env, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            check=False,
        )  # fmt: skip
    return done.stderr.decode("utf-8", "replace")


def count_tokens(stage: Stage) -> list[str]:
    """Return the tokens (characters / 4) of each text that the plugin puts into a conversation."""
    tree: Path = stage.tree
    lines = ["| text | characters | tokens |", "| --- | --- | --- |"]
    sizes = {
        str(page.relative_to(tree)): len(page.read_text(encoding="utf-8"))
        for folder in ("commands", "agents")
        for page in sorted((tree / folder).glob("*.md"))
    }
    said = {name: len(text) for name, text in query_scene(stage, "texts", 100).items()}
    lines += [f"| {name} | {size:,} | {size // 4:,} |" for name, size in (*sizes.items(), *said.items())]
    worker = sizes["commands/auto-implement.md"] + sizes["agents/worker.md"] + _of(said, "brief of the worker")
    sums = {
        "**per feature**, in the coordinator's window": 2 * _of(said, "next step"),
        "**per feature**, in the worker's own window": worker,
        "**per compaction** of the coordinator": _of(said, "reminder of the coordinator") + _of(said, "for the summ"),
        "**per compaction** of a worker": _of(said, "reminder of the worker") + _of(said, "for the summ"),
    }
    return lines + [f"| {name} | {size:,} | {size // 4:,} |" for name, size in sums.items()]


def _of(said: dict[str, int], name: str) -> int:
    return next(size for text, size in said.items() if text.startswith(name))


def all_sections(stage: Stage) -> list[str]:
    """Return all sections with their headings."""
    said = count_tokens(stage)  # before any stop can pause the batch
    found = programs(stage)
    return [
        *("### Memory", "", *measure_memory(found), ""),
        *("### Bytes written per update", "", *measure_bytes_written(stage), ""),
        *("### System calls, files opened, programs started", "", *count_system_calls(found), ""),
        *("### Tokens", "", *said),
    ]
