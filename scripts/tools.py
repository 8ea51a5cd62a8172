"""Bring what the demo and the tests need, when it is not there: `make tools`.

    python3 scripts/tools.py                      .venv with requirements-dev.txt, and the pinned Claude Code
    python3 scripts/tools.py --python-only DIR    only a virtual environment in DIR, for the Python this runs in

What is there already is found out by looking, without the network: the environment by a note in it of what was
installed, Claude Code by the versions below node_modules. Needs Python 3.9 or newer with venv, and npm for Claude Code
(not when BATCH_TEST_CLAUDE names one). Exits with 1 and what to do when something cannot be brought.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn, Sequence

REPOSITORY = Path(__file__).resolve().parents[1]
DEV_REQUIREMENTS = REPOSITORY / "requirements-dev.txt"
LOCK = REPOSITORY / "package-lock.json"
NOTE = "installed.txt"
OF_THIS_VERSION = f"import sys; sys.exit(sys.version_info[:3] != {sys.version_info[:3]})"
"""A program that fails in a Python of another version than this one."""

sys.path.insert(0, str(REPOSITORY / "tests" / "client"))


def exit_with(message: str) -> NoReturn:
    """Exit with status 1 and a message."""
    sys.exit(f"tools: {message}")


def create_environment(folder: Path, requirements: Sequence[Path] = (DEV_REQUIREMENTS,)) -> None:
    """Create a virtual environment in `folder` with the packages that `requirements` pin, unless it is up to date."""
    pinned = b"".join(file.read_bytes() for file in requirements)
    wanted = hashlib.sha256(pinned).hexdigest() + f" {sys.version.split()[0]}\n"
    note, python = folder / NOTE, folder / "bin" / "python"
    if (
        note.exists()
        and note.read_text(encoding="ascii") == wanted
        and can_run([str(python), "-m", "pytest", "--version"])
    ):
        return
    print(f"Making {folder} for Python {sys.version.split()[0]} ...", flush=True)
    note.unlink(missing_ok=True)
    if not can_run([str(python), "-m", "pip", "--version"]) or not can_run([str(python), "-c", OF_THIS_VERSION]):
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=False)
        if made.returncode:
            exit_with(f"{sys.executable} cannot make a virtual environment. On Debian: `apt-get install python3-venv`.")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += [argument for file in requirements for argument in ("-r", str(file))]
    if subprocess.run(install, check=False).returncode:
        names = " and ".join(file.name for file in requirements)
        exit_with(f"the packages of {names} could not be installed: see above. The first time needs the network.")
    note.write_text(wanted, encoding="ascii")


def can_run(command: list[str]) -> bool:
    """Return whether a command starts and exits with 0. Its output is not shown."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install_claude() -> None:
    """Install the Claude Code that package-lock.json pins, unless it is there, without its post-install script: the
    package of the platform holds the program itself."""
    if os.environ.get("BATCH_TEST_CLAUDE") or is_claude_installed():
        return
    npm = shutil.which("npm")
    if npm is None:
        exit_with(
            "npm is missing; it brings the pinned Claude Code. Install Node.js, or set BATCH_TEST_CLAUDE to a claude."
        )
    print(f"Bringing the Claude Code that {LOCK.name} pins (some 170 MB to fetch) ...", flush=True)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=REPOSITORY, check=False, stdin=subprocess.DEVNULL).returncode:
        exit_with("npm could not bring Claude Code: see above. The first time needs the network.")
    if not is_claude_installed():
        exit_with(f"npm ran, but Claude Code for this platform is not below {REPOSITORY / 'node_modules'}.")


def is_claude_installed() -> bool:
    """Return whether node_modules has what package-lock.json asks for: versions, checksums, and a program for this
    platform."""
    from client import ClientMissing, binary

    try:
        wanted = json.loads(LOCK.read_bytes())["packages"]
        found = json.loads((REPOSITORY / "node_modules" / ".package-lock.json").read_bytes())["packages"]
        program = binary()
    except (OSError, ValueError, KeyError, ClientMissing):
        return False
    same = all(wanted.get(name, {}).get("integrity") == package.get("integrity") for name, package in found.items())
    return same and str(program.parent.relative_to(REPOSITORY)) in found


def main(arguments: list[str]) -> None:
    """Install everything, or one environment."""
    if sys.version_info < (3, 9):
        exit_with(
            f"Python {sys.version.split()[0]} is too old: 3.9 or newer is needed. Name one: `make PYTHON=python3.12`."
        )
    if arguments[:1] == ["--python-only"] and len(arguments) == 2:
        create_environment(Path(arguments[1]).absolute())
    elif arguments:
        exit_with(f"unknown arguments {arguments}; see the beginning of {__file__}.")
    else:
        create_environment(REPOSITORY / ".venv")
        install_claude()


if __name__ == "__main__":
    main(sys.argv[1:])
