"""A person's shell command in a work tree, run to its end, or ended with all that it has started.

    code = shell.run(folder, "make test", 1800, output, stopped)        None: it had to be ended

The command is the person's own, or a fixed one of ours: nothing that others wrote is ever part of it.
"""

from __future__ import annotations

import subprocess
import threading
from time import monotonic
from typing import IO, Optional

from . import processes

LOOK_S = 0.02


def run(
    folder: str,
    command: str,
    timeout_s: float,
    output: int | IO[bytes],
    stopped: Optional[threading.Event] = None,
) -> Optional[int]:
    """The exit status of the command, run by /bin/sh in the work tree `folder`; None when it had to be ended, because
    its time was up or `stopped` was set. It reads nothing; what it prints goes to the file `output`. Nothing that it
    has started is left.
    """
    stopped = stopped or threading.Event()
    until = monotonic() + timeout_s
    shell = subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={**processes.command_environment(), processes.WORKTREE_VARIABLE: folder},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        while shell.poll() is None and not stopped.is_set() and monotonic() < until:
            stopped.wait(LOOK_S)
        return shell.poll()
    finally:
        processes.end_marked(folder)
        shell.wait()
