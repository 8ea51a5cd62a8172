"""import-linter holds the package to the rules on imports, by `.importlinter`; it needs Python 3.11."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutating import mutated

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="import-linter needs Python 3.11")

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = REPOSITORY / ".importlinter"
START = "from importlinter.cli import lint_imports_command; lint_imports_command()"
FIRST = "from __future__ import annotations\n"


def linted(lib: Path | str) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the package in that folder."""
    path = os.pathsep.join(filter(None, [str(lib), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", START, "--no-cache", "--no-logo", str(SETTINGS)]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=lib, env=environment, check=False, capture_output=True, text=True, timeout=300)


def test_the_package_keeps_the_rules() -> None:
    done = linted(REPOSITORY / "lib")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        (
            "core/batch_state.py",
            "def odd() -> None:\n    import os\n",
            "A pure module imports nothing that reaches out BROKEN",
        ),
    ],
)
def test_a_forbidden_import_is_noticed_inside_a_function_too(tmp_path: Path, file: str, line: str, broken: str) -> None:
    done = linted(mutated((file, FIRST, FIRST + line), str(tmp_path)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert broken in done.stdout
