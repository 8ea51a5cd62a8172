"""Hold this repository against the bar of the public plugin directory, with the pinned Claude Code.

Runs `claude plugin validate . --strict --profile directory` in a home folder of its own. Exits with 0 only when it
passes without a warning.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "client"))

from client import binary
from scripted_model import REPOSITORY


def main() -> int:
    """Validate the plugin and return the exit status."""
    command = [str(binary()), "plugin", "validate", ".", "--strict", "--profile", "directory"]
    with tempfile.TemporaryDirectory() as home:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CLAUDE")}
        environment.update(HOME=home, CLAUDE_CONFIG_DIR=f"{home}/.claude", DISABLE_AUTOUPDATER="1")
        environment["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    print(done.stdout.strip(), flush=True)
    return done.returncode or int("warning" in done.stdout.lower())


if __name__ == "__main__":
    sys.exit(main())
