"""The largest lists that are allowed, 10 MB: what reading one costs, in a process of its own.

The limits are seconds of the processor on a machine that counts to ten million in 0.4 s, and more on a slower one.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[3] / "lib"
MB = 1024 * 1024
DETAIL = "    a line of what is to be known about it " + "x" * 15 + "\n"
READ = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from batch_implement.features import source_files
if sys.argv[3] == "python":
    import yaml
    if hasattr(yaml, "CSafeLoader"):
        del yaml.CSafeLoader
count = len(source_files.read_file(sys.argv[2]).features)
usage = resource.getrusage(resource.RUSAGE_SELF)
kilobytes = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
try:
    with open("/proc/self/status") as status:  # `ru_maxrss` begins with what the parent of the fork had
        kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
except OSError:
    pass
print(count, usage.ru_utime + usage.ru_stime, kilobytes)
"""


def lists(kind):
    if kind == "md":
        return "".join(f"- [ ] Add number {index}\n{DETAIL * 16}" for index in range(10_000))
    if kind.startswith("steps"):
        steps = "".join(f"  - [ ] step {index} of it, which says what there is to do\n" for index in range(18))
        return "".join(f"- [ ] Add number {index}\n{steps}" for index in range(10_000))
    if kind == "txt":
        return "".join(f"Backend {index}:\n- Add number {index}\n{DETAIL * 16}" for index in range(10_000))
    if kind == "org":
        return "".join(f"* TODO Add number {index}\n{DETAIL * 16}" for index in range(10_000))
    if kind == "json":
        return json.dumps([{"title": f"Add number {index}", "description": "word " * 190} for index in range(10_000)])
    return "".join(f"- title: Add number {index}\n  description: |\n{DETAIL * 16}" for index in range(10_000))


def count_to_ten_million():
    begin = time.process_time()
    for _ in range(10_000_000):
        pass
    return time.process_time() - begin


@pytest.mark.prove
@pytest.mark.parametrize(
    ("kind", "parser", "seconds"),
    [
        *(("md", "", 2), ("txt", "", 2), ("org", "", 2), ("json", "", 2), ("yaml", "c", 5), ("yaml", "python", 30)),
        *(("steps.md", "", 4), ("steps.txt", "", 5)),  # 190,000 check boxes take longer than as many other lines
    ],
)
def test_ten_megabytes_are_read_within_their_time_and_200_megabytes(tmp_path, kind, parser, seconds):
    if parser == "c" and not hasattr(pytest.importorskip("yaml"), "CSafeLoader"):
        pytest.skip("this PyYAML was built without libyaml")
    path = tmp_path / f"features.{kind}"
    path.write_text(lists(kind))
    assert 9 * MB < path.stat().st_size <= 10 * MB
    done = subprocess.run(
        [sys.executable, "-c", READ, str(LIB), str(path), parser], check=True, capture_output=True, text=True
    )
    count, used, kilobytes = done.stdout.split()
    print(f"{kind}: {used} s, {int(kilobytes) // 1024} MB")
    assert int(count) == 10_000
    assert float(used) <= seconds * max(1.0, count_to_ten_million() / 0.4)
    assert int(kilobytes) <= 200 * 1024


PIECES = ["#\n", "- ", "[ ", "( ", "a - ", "x\n", "Later:\n", "=====\n", "* [x] a\n", "\\", "a--- b\n", "- - - a\n"]


@pytest.mark.prove
@pytest.mark.parametrize("piece", PIECES)
def test_ten_megabytes_of_one_piece_are_refused_before_long(tmp_path, piece):
    lines = min(10 * MB // len(piece), 199_000) if piece.endswith("\n") else 10 * MB // len(piece)
    path = tmp_path / "features.txt"
    path.write_text(piece * lines)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", READ, str(LIB), str(path), ""], check=False, capture_output=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert b"FeatureListError" in done.stderr
    assert used <= 5 * max(1.0, count_to_ten_million() / 0.4)
