"""docs/performance.md names every row of the bench, and the bench runs. Nothing is timed here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import pairs  # noqa: E402 - found only now
from benchmarks.__main__ import BEGIN, END, HEAD, PAGE, insert_into_page  # noqa: E402
from benchmarks.rows import ROWS  # noqa: E402

QUICK = ["guard-bash", "post-100", "update-10-strict", "update-bytes"]


def test_the_page_has_a_line_for_every_row_and_no_other_with_its_target_as_it_is():
    figures = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    lines = dict(re.findall(r"^\| ([\w-]+) \| (.+) \|$", figures.split("###")[0], re.MULTILINE))
    lines = {name: rest for name, rest in lines.items() if name not in ("row", "---")}
    assert list(lines) == [row.name for row in ROWS], "stale: run make bench BENCH=--write"
    for row in ROWS:
        assert lines[row.name].startswith(f"{row.what} | {row.against} | {row.target:g} x | ")


def test_the_page_says_when_and_how_it_was_measured():
    text = PAGE.read_text(encoding="utf-8")
    assert re.search(r"Measured on \d{4}-\d\d-\d\d with `make bench[^`]*`: .* load \d", text)


def test_what_was_measured_goes_between_the_marks_and_nowhere_else():
    assert insert_into_page(f"a\n{BEGIN}\nold\n{END}\nb", ["new"]) == f"a\n{BEGIN}\nnew\n{END}\nb"


def test_the_bench_runs_and_prints_a_line_a_row():
    words = [sys.executable, "-m", "benchmarks", "--pairs", "2", "--no-facts", "--row", *QUICK]
    printed = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert HEAD in printed
    measured = re.findall(r"^\| ([\w-]+) \| .* \| \*\*[\d.]+ x\*\* \| ", printed, re.MULTILINE)
    assert set(QUICK) <= set(measured)


def test_an_unknown_row_is_refused_with_the_names_of_all():
    words = [sys.executable, "-m", "benchmarks", "--row", "nonsense"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert all(row.name in done.stdout for row in ROWS)


class Scripted:
    """A thing whose costs are given."""

    def __init__(self, *costs):
        self.costs = list(costs)

    def cost(self):
        return self.costs.pop(0)


def test_the_ratio_is_the_median_over_the_pairs_and_the_first_two_do_not_count():
    ours, floor = Scripted(100, 100, 2, 9, 4), Scripted(1, 1, 1, 1, 2)
    found = pairs.compare(ours, floor, 3)
    assert (found.ratio, found.ours_s, found.floor_s) == (2, 4, 1)


def test_what_is_to_happen_before_happens_before_each_run():
    done = []
    pairs.compare(Scripted(*[1] * 4), Scripted(*[1] * 4), 2, lambda: done.append(1))
    assert len(done) == 8


def test_a_program_that_fails_is_no_measurement():
    with pytest.raises(RuntimeError, match="status"):
        pairs.Program(["/bin/sh", "-c", "exit 3"], {}).cost()
