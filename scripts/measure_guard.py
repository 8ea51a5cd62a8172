"""Print which commands of a file the guard would deny, and how many of how many.

    .venv/bin/python scripts/measure_guard.py FILE [FOLDER]

FILE has one command on a line, or a JSON string on each line for commands of several lines. They are read as if typed
in FOLDER, the root of a project (default: /home/me/project); nothing is run. For false alarms take commands
that people publish: tldr-pages, nl2bash, `run:` steps of workflows, recipes of Makefiles, scripts.
Exit status: 0; 2 for a file that cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from batch_implement.commands.authorization import USER_COMMANDS
from batch_implement.hooks.command_guard.command_policy import ProtectedNames, check_command
from batch_implement.hooks.fast_path import mentions_batch


def main() -> int:
    """Measure the requested file and return the exit status."""
    parser = argparse.ArgumentParser(description="Print which commands of a file the guard would deny.")
    parser.add_argument("file", metavar="FILE", help="one command on a line, as text or as a JSON string")
    parser.add_argument("folder", metavar="FOLDER", nargs="?", default="/home/me/project", help="the project's root")
    options = parser.parse_args()
    try:
        text = Path(options.file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        print(f"{options.file} could not be read: {error.strerror}. Name a file of commands.", file=sys.stderr)
        return 2
    commands = [parse_line(line) for line in text.splitlines() if line.strip()]
    names = ProtectedNames(frozenset(USER_COMMANDS), roots=(options.folder,), cwd=options.folder)
    started = time.process_time()
    refusals = [(command, check_command(command, names)) for command in commands]
    seconds = time.process_time() - started
    denied = [(command, refusal) for command, refusal in refusals if refusal]
    for command, refusal in denied:
        print(f"{refusal.what}: {json.dumps(command, ensure_ascii=False)[:200]}")
    analyzed = sum(mentions_batch(command.encode("utf-8", "surrogatepass")) for command in commands)
    print(f"{len(denied)} of {len(commands)} commands denied, {analyzed} analyzed, {seconds:.1f} s")
    return 0


def parse_line(line: str) -> str:
    """Return the command on a line: a JSON string, or the line itself."""
    try:
        command = json.loads(line)
    except ValueError:
        return line
    return command if isinstance(command, str) else line


if __name__ == "__main__":
    sys.exit(main())
