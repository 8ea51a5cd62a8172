"""The tests of what must not happen, tried on code in which it does: each has to notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutating import mutated

WRONG = {
    "an attempt's branch is pushed by force": (
        "runner/cache.py",
        "f\"--force-with-lease={ref}:{here.pushed or ''}\"",
        '"--force"',
    ),
    "the client works on the branch that is pushed": ("runner/cache.py", 'LOCAL = "working/"', 'LOCAL = ""'),
    "what failed is pushed, too": (
        "runner/cache.py",
        '    if verdict["kind"] == COMPLETED:\n        try:\n            push(here, job, verdict["commit"])',
        '    if verdict["kind"]:\n        try:\n            push(here, job, verdict["commit"] or here.job.branch)',
    ),
    "a pushed attempt is begun anew": (
        "runner/cache.py",
        "here.branch, pushed or here.base)",
        "here.branch, job.base)",
    ),
    "a remote that does not answer is the feature's fault": (
        "runner/cache.py",
        '{"kind": INTERRUPTED, "message": error.message, "failure_class": "network"}',
        '{"kind": FAILED, "message": error.message, "failure_class": "network"}',
    ),
    "any scheduler will do": (
        "runner/cluster.py",
        'if way not in ("tls", "wss") and not hosts.is_loopback(host):',
        "if False:",
    ),
    "the remote's address is sent as it is": (
        "runner/cluster.py",
        'if way in ("http", "https"):',
        'if way in ("nothing",):',
    ),
    "local settings travel": ("runner/job.py", "if os.path.exists(settings) and not remote else None", ""),
}


@pytest.mark.prove
@pytest.mark.parametrize("name", WRONG)
def test_the_tests_notice(name, tmp_path):
    lib = mutated(WRONG[name], str(tmp_path))
    tests = Path(__file__).resolve().parents[1]
    line = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", f"pythonpath={lib} {tests}",
            str(Path(__file__).with_name("test_safety.py"))]  # fmt: skip
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    tried = subprocess.run(line, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert tried.returncode == 1 and " failed" in tried.stdout, tried.stdout[-2000:] + tried.stderr[-500:]
