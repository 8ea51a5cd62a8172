"""What measures the constants of docs/cluster.md still does."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from local import LIB

pytest.importorskip("distributed")


@pytest.mark.prove
def test_every_constant_is_measured_and_is_more_than_nothing():
    line = [sys.executable, "-m", "benchmarks.cluster", "--seconds", "6"]
    told = subprocess.run(line, cwd=LIB.parent, capture_output=True, text=True, timeout=550, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    found = dict(re.findall(r"^(.*?) +median ([\d.]+) ", told.stdout, re.M))
    assert {"fetch", "rebase and merge", "push", "scheduler, a task that answers 10 kB"} <= set(found)
    assert len(found) == 9 and all(float(median) > 0 for median in found.values()), found
