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
        ("store/lock.py", "from ..commands import doctor", "A package imports only packages below it BROKEN"),
        ("core/batch_state.py", "import os", "The core imports nothing that reaches out BROKEN"),
        (
            "store/sidecar.py",
            "from ..base import fast_json",
            "The fast path of a hook imports nothing of ours but the sidecar BROKEN",
        ),
    ],
)
def test_a_forbidden_import_is_noticed_inside_a_function_too(tmp_path: Path, file: str, line: str, broken: str) -> None:
    first = "TYPE_CHECKING = False"
    done = linted(mutated((file, first, f"def odd() -> None:\n    {line}\n\n\n{first}"), str(tmp_path)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert broken in done.stdout
