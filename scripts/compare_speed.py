"""Show what got slower from one commit to another.

python3 scripts/compare_speed.py OLD [NEW] [--row NAME ...] [--pairs N]

The files of both commits are put into a temporary folder and measured by turns with the bench of this work tree, row by
row: the ratio is NEW to OLD, by the same method as `make bench` (docs/performance.md). NEW is this work tree, as it is,
when it is not given. A row got slower when its ratio is above 1.05 and its lower quartile above 1, and a second
measurement says the same: a busy machine makes a row look slower once, seldom twice.

Exits with 0 when nothing got slower, 1 when something did, 2 for a commit or a row that is not known. A row that one of
the commits cannot run, because it is older than what the bench asks of it, is named and left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import pairs  # noqa: E402 - found only now
from benchmarks.rows import ROWS, Row  # noqa: E402
from benchmarks.scenes import Stage  # noqa: E402

NOISE = 1.05
HEAD = f"{'row':<20} {'new to old':>10}  {'quartiles':<12}  {'old, ms':>9} {'new, ms':>9}"


def resolve_commit(name: str) -> str:
    """Return the full hash of the commit with this name. Raise ValueError if there is none."""
    git = ["git", "-C", str(REPOSITORY), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    if found.returncode:
        raise ValueError(f"git knows no commit {name!r} here")
    return found.stdout.strip()


def export_commit(folder: Path, commit: str) -> Path:
    """Write the files of a commit into a new folder and return it."""
    folder.mkdir()
    files = subprocess.run(["git", "-C", str(REPOSITORY), "archive", commit], stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x", "-f", "-", "-C", str(folder)], input=files.stdout, check=True)
    return folder


def compare_row(row: Row, old: Stage, new: Stage, count: int) -> pairs.Result:
    """Compare a row of the new tree with the same row of the old one."""
    try:
        after, before = row.build(new), row.build(old)
        ahead = [each.before for each in (after, before) if each.before is not None]
        return pairs.compare(after.ours, before.ours, count, lambda: [call() for call in ahead])
    finally:
        old.rest()
        new.rest()


def verdict(found: pairs.Result) -> str:
    """Return `SLOWER`, `faster`, or an empty text for what may be noise."""
    if found.ratio > NOISE and found.lower > 1:
        return "SLOWER"
    return "faster" if found.ratio < 1 / NOISE and found.upper < 1 else ""


def format_row(row: Row, found: pairs.Result, word: str) -> str:
    """Return the printed line of a row."""
    quartiles = f"{found.lower:.2f} to {found.upper:.2f}"
    costs = f"{found.floor_s * 1000:>9.2f} {found.ours_s * 1000:>9.2f}"
    return f"{row.name:<20} {found.ratio:>8.2f} x  {quartiles:<12}  {costs}  {word}".rstrip()


def main(arguments: list[str]) -> int:
    """Compare the commits and return the exit status."""
    parser = argparse.ArgumentParser(description="What got slower from one commit to another.")
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW", nargs="?", help="this work tree when it is not given")
    parser.add_argument("--row", nargs="+", default=[], metavar="NAME", help="only the rows whose names begin so")
    parser.add_argument("--pairs", type=int, default=30, metavar="N", help="pairs a row")
    options = parser.parse_args(arguments)
    wanted = [row for row in ROWS if not options.row or row.name.startswith(tuple(options.row))]
    if not wanted or options.pairs < 1:
        parser.error("no such row; `make bench BENCH=--list` names them" if not wanted else "--pairs is at least 1")
    try:
        commits = [resolve_commit(name) for name in (options.old, options.new) if name is not None]
    except ValueError as error:
        parser.error(str(error))
    names = [commit[:12] for commit in commits] + ["this work tree"] * (options.new is None)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(
        f"{names[1]} against {names[0]}, {options.pairs} pairs a row; load {load} when it began.\n\n{HEAD}", flush=True
    )
    slower, failed = [], []
    with tempfile.TemporaryDirectory(prefix="batch-implement-compare-") as name:
        places = [export_commit(Path(name, side), commit) for side, commit in zip(("old", "new"), commits)]
        places += [REPOSITORY] * (options.new is None)
        with Stage(places[0]) as old, Stage(places[1]) as new:
            for row in wanted:
                try:
                    found = compare_row(row, old, new, options.pairs)
                    word = verdict(found)
                    if word == "SLOWER":
                        print(format_row(row, found, "slower; once more:"), flush=True)
                        found = compare_row(row, old, new, options.pairs)
                        word = verdict(found)
                except (RuntimeError, OSError) as error:
                    failed.append(row.name)
                    print(f"{row.name:<20} cannot be measured: {error}", flush=True)
                    continue
                slower += [row.name] if word == "SLOWER" else []
                print(format_row(row, found, word), flush=True)
    print(f"\nSlower: {', '.join(slower)}." if slower else "\nNothing got slower.")
    if failed:
        print(f"Not measured: {', '.join(failed)}.")
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
