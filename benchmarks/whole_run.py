"""Measure whole runs of `batchctl run --worker`: `make bench BENCH="--row run"`, about five minutes.

40 features with `--jobs 4`; a worker that waits a second and a verify command of three; two features that conflict, two
that are bad only together, one run that fails by chance. Once with `--each-verified`, one after another, and once in
groups. Then what a run takes by itself for a feature: one at a time, worker and verify command take no time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FEATURES, ALONE = 40, 20
WORK_S, VERIFY_S = 1, 3
NUMBER = 'n=$(sed -n "s/^> feature \\([0-9]*\\)$/\\1/p" | head -1)'
# The second attempt of a feature that was sent back finds the other's work in its base.
WORKER = (
    NUMBER + '; [ -e "{top}/first" ] || date +%s.%N > "{top}/first"; sleep {work}; echo "$n" > "feature-$n.txt"; '
    'case "$n" in 7|8) [ -s shared.txt ] || echo "$n" > shared.txt ;; esac; '
    '[ "$n" != 16 ] || [ ! -e feature-15.txt ] || echo > mended.txt; git add -A; git commit -qm "Add $n"'
)
VERIFY = (
    "sleep {verify}; [ ! -e feature-15.txt ] || [ ! -e feature-16.txt ] || [ -e mended.txt ] || exit 1; "
    '[ ! -e feature-25.txt ] || [ ! -e feature-1.txt ] || [ -e "{top}/red" ] || {{ touch "{top}/red"; exit 1; }}'
)


def report() -> Iterator[str]:
    """Yield a line for each figure."""
    each, _ = _measure(FEATURES, ("--jobs", "4", "--each-verified"), WORK_S, VERIFY_S)
    grouped, _ = _measure(FEATURES, ("--jobs", "4"), WORK_S, VERIFY_S)
    floor = FEATURES * (WORK_S + VERIFY_S) / 4
    what = f"{FEATURES} features, --jobs 4"
    yield f"{what}, one after another: {each:.0f} s, {each / floor:.2f} x the floor of {floor:.0f} s"
    yield f"{what}, in groups: {grouped:.0f} s, {grouped / floor:.2f} x; {grouped / each:.2f} x as long"
    alone, first = _measure(ALONE, ("--jobs", "1"), 0, 0)
    yield f"by itself: {(alone - first) / ALONE:.2f} s a feature, {first:.2f} s from the command to the first worker"


def _measure(features: int, options: tuple[str, ...], work_s: int, verify_s: int) -> tuple[float, float]:
    """Return the seconds of a whole run, and those until its first worker began."""
    top = Path(tempfile.mkdtemp(prefix="bench-run-"))
    try:
        project = top / "project"
        (top / "home").mkdir()
        (top / "home" / ".gitconfig").write_text(
            "[user]\nname = Bench\nemail = bench@example.invalid\n", encoding="utf-8"
        )
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        environment = {**kept, "HOME": str(top / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
        project.mkdir()
        (project / "features.txt").write_text("".join(f"feature {number + 1}\n" for number in range(features)))
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "start")):
            subprocess.run(["git", *words], cwd=project, env=environment, check=True)
        worker, verify = WORKER.format(top=top, work=work_s), VERIFY.format(top=top, verify=verify_s)
        line = [sys.executable, "-I", str(REPOSITORY / "lib" / "batchctl.py"), "run", "features.txt", *options]
        began = time.time()
        ended = subprocess.run(
            [*line, "--worker", worker, "--verify", verify, "--max-retries", "3"], cwd=project, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        took = time.time() - began
        if f"{features} of {features} done" not in ended.stdout:
            raise RuntimeError(f"the run did not do all features:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
        return took, float((top / "first").read_text()) - began
    finally:
        shutil.rmtree(top, ignore_errors=True)
