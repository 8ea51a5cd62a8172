"""Measure and print the table: `python -m benchmarks [--row NAME ...] [--pairs N] [--write] [--no-facts]`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from . import pairs
from .rows import ROWS
from .scenes import Stage

REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--row", nargs="+", default=[])
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args()
    wanted = [row for row in ROWS if not options.row or any(row.name.startswith(name) for name in options.row)]
    with Stage(REPOSITORY) as stage:
        for row in wanted:
            pair = row.build(stage)
            result = pairs.compare(pair.ours, pair.floor, options.pairs, pair.before)
            stage.rest()
            print(
                f"{row.name:<20} {result.ratio:6.2f} x ({result.lower:.2f}-{result.upper:.2f}) target {row.target:5.2f}  {'reached' if result.ratio <= row.target else 'MISSED'}  {result.ours_s * 1e3:.3f} ms / {result.floor_s * 1e3:.3f} ms",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
