"""What got slower from one commit to another.

python3 scripts/compare_speed.py OLD [NEW] [--row NAME ...] [--pairs N]

Both commits are checked out into a temporary folder and measured by turns with the bench of this work tree, row by row:
the ratio is NEW to OLD, by the same method as `make bench` (docs/performance.md). NEW is this work tree when it is not
given. A row got slower when its ratio is above 1.05 and its lower quartile above 1. Exits with 1 when one did.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import pairs  # noqa: E402 - found only now
from benchmarks.rows import ROWS  # noqa: E402
from benchmarks.scenes import Stage  # noqa: E402

NOISE = 1.05


def tree(stack: contextlib.ExitStack, folder: Path, commit: str | None) -> Path:
    """The files of a commit, for as long as the stack is open; the work tree when there is none."""
    if commit is None:
        return REPOSITORY
    place = folder / commit.replace("/", "-")
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
    stack.callback(subprocess.run, [*git, "remove", "--force", str(place)], check=True)
    return place


def main(arguments: list[str]) -> int:
    """Compare; the exit status."""
    parser = argparse.ArgumentParser(description="What got slower from one commit to another.")
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW", nargs="?", help="this work tree when it is not given")
    parser.add_argument("--row", nargs="+", default=[], metavar="NAME", help="only the rows whose names begin so")
    parser.add_argument("--pairs", type=int, default=30, metavar="N", help="pairs a row")
    options = parser.parse_args(arguments)
    slower = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batch-implement-compare-")))
        old = stack.enter_context(Stage(tree(stack, folder, options.old)))
        new = stack.enter_context(Stage(tree(stack, folder, options.new)))
        for row in ROWS:
            if options.row and not row.name.startswith(tuple(options.row)):
                continue
            after, before = row.build(new), row.build(old)

            def ahead(both: tuple[object, ...] = (after.before, before.before)) -> None:
                for each in both:
                    if callable(each):
                        each()

            found = pairs.compare(after.ours, before.ours, options.pairs, ahead)
            old.rest()
            new.rest()
            worse = found.ratio > NOISE and found.lower > 1
            slower += [row.name] if worse else []
            word = "SLOWER" if worse else "faster" if found.ratio < 1 / NOISE and found.upper < 1 else ""
            print(f"{row.name:<20} {found.ratio:5.2f} x ({found.lower:.2f} to {found.upper:.2f})  {word}", flush=True)
    print(f"Slower: {', '.join(slower)}." if slower else "Nothing got slower.")
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
