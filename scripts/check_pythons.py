"""Run the unit and property tests on every supported Python that is found here: `make check-pythons`.

MINORS has the supported ones. Looked for are `python3.N` on PATH and the versions of pyenv. Each gets an environment of
its own, `.venv-3.N`. Exits with 1 when tests fail on one, or when none is found; one that is not there is only named.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools import REPOSITORY, can_run

MINORS = range(9, 15)
"""The N of each Python 3.N that is supported; the workflow's matrix is held against it by a test."""

TESTS = ["tests/unit", "tests/property"]


def find_python(minor: int) -> str | None:
    """Return a Python 3.`minor` that runs, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [f"python3.{minor}", *map(str, sorted(pyenv.glob(f"3.{minor}.*/bin/python"), reverse=True))]
    of_this_version = f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"
    return next((python for python in candidates if can_run([python, "-c", of_this_version])), None)


def run_tests_with(python: str, minor: int) -> bool:
    """Return whether the tests pass on one Python."""
    folder = REPOSITORY / f".venv-3.{minor}"
    print(f"== Python 3.{minor}: {python}", flush=True)
    bring = [python, str(REPOSITORY / "scripts" / "tools.py"), "--python-only", str(folder)]
    test = [str(folder / "bin" / "python"), "-m", "pytest", "-q", "-n", os.environ.get("JOBS", "2"), *TESTS]
    return all(subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0 for command in (bring, test))


def main() -> int:
    """Check every Python that is installed and return the exit status."""
    results = {}
    for minor in MINORS:
        python = find_python(minor)
        results[minor] = "not found" if python is None else "passed" if run_tests_with(python, minor) else "FAILED"
    print(", ".join(f"3.{minor}: {result}" for minor, result in results.items()))
    return int("FAILED" in results.values() or "passed" not in results.values())


if __name__ == "__main__":
    sys.exit(main())
