"""Measure, and print one table of ratios: `make bench`, or `python -m benchmarks`.

    --row NAME ...   only the rows whose names begin so; `queue` prints the table of the simulated merge queue,
                     `run` the time that whole runs take
    --pairs N        pairs a row; the figures count from 30 on (default)
    --no-facts       leave out memory, bytes, system calls, files and tokens
    --list           the rows' names
    --write          put what was measured into docs/performance.md, between the marks

Exits with 0 also when a target is missed: the table says so. A figure of a busy machine is none to decide by; the
machine's load is printed with it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from itertools import chain
from pathlib import Path

from . import facts, merge_queue, pairs, whole_run
from .rows import ROWS, Row
from .scenes import Stage

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by `make bench BENCH=--write` -->", "<!-- figures: end -->"
HEAD = "| row | what | measured against | to reach | measured | quartiles | ours, ms | floor, ms | |"


def main(arguments: list[str]) -> int:
    """Measure the requested rows and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the plugin against its floors.")
    parser.add_argument("--row", nargs="+", default=[], metavar="NAME", help="only the rows whose names begin so")
    parser.add_argument("--pairs", type=int, default=30, metavar="N", help="pairs a row")
    parser.add_argument("--no-facts", action="store_true", help="leave out memory, bytes, system calls, tokens")
    parser.add_argument("--list", action="store_true", help="print the rows' names")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    options = parser.parse_args(arguments)
    others = {
        "queue": (f"medians of {merge_queue.SEEDS} seeds", merge_queue.table),
        "run": ("one run each", whole_run.report),
    }
    for name in set(options.row).intersection(others):
        what, lines_of = others[name]
        for line in chain(_describe_machine(what, arguments), [""], lines_of()):
            print(line, flush=True)
        return 0
    wanted = [row for row in ROWS if not options.row or row.name.startswith(tuple(options.row))]
    if options.list or not wanted or options.pairs < 1:
        print("\n".join(f"{row.name:<20} {row.what}; against {row.against}" for row in ROWS))
        return 0 if options.list else 2
    machine = _describe_machine(f"{options.pairs} pairs a row", arguments)
    lines = _run_details([*machine, "", HEAD, "|" + " --- |" * (HEAD.count("|") - 1)])
    with Stage(REPOSITORY) as stage:
        for row in wanted:
            lines += _run_details([measure_row(row, stage, options.pairs)])
        lines += _run_details([f"\nLoad when done: {_load()}."])
        if not options.no_facts and not options.row:
            lines += _run_details(["", *facts.all_sections(stage)])
    if options.write:
        PAGE.write_text(insert_into_page(PAGE.read_text(encoding="utf-8"), lines), encoding="utf-8")
    return 0


def measure_row(row: Row, stage: Stage, count: int) -> str:
    """Return one line of the table."""
    pair = row.build(stage)
    found = pairs.compare(pair.ours, pair.floor, count, pair.before)
    stage.rest()
    cells = (
        row.name,
        row.what,
        row.against,
        f"{row.target:g} x",
        f"**{found.ratio:.2f} x**",
        f"{found.lower:.2f} to {found.upper:.2f}",
        f"{found.ours_s * 1000:.2f}",
        f"{found.floor_s * 1000:.2f}",
        facts.target_verdict(found.ratio <= row.target),
    )
    return f"| {' | '.join(cells)} |"


def insert_into_page(text: str, lines: list[str]) -> str:
    """Return the page with these lines between its marks."""
    return text[: text.index(BEGIN)] + "\n".join([BEGIN, *lines]) + "\n" + text[text.index(END) :]


def _describe_machine(what: str, arguments: list[str]) -> list[str]:
    """Return when, on what and how `what` was measured."""
    command = "make bench" + (f' BENCH="{" ".join(arguments)}"' if arguments else "")
    return [
        f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())} with `{command}`: {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; {what}; "
        f"load {_load()} when it began."
    ]


def _load() -> str:
    return ", ".join(f"{load:.1f}" for load in os.getloadavg())


def _run_details(lines: list[str]) -> list[str]:
    print("\n".join(lines), flush=True)
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
