"""`batchctl status --watch`: follow a batch from another terminal.

    text = watch.follow(project, sys.stdout, os.environ)

Reads files only, without the lock, and writes nothing. Ends when the batch ends or is archived, or with Ctrl-C.
"""

from __future__ import annotations

import signal
from typing import List, Mapping, TextIO

from ...base import signals, timestamps
from ...base.project_paths import Project
from ...core import batch_events, prompts
from ...core.batch_state import is_live
from ...core.errors import StateError
from ...report import log_format
from ...store import snapshot
from ...store.backups import no_batch_error
from . import live_display

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

POLL_S = 1.0


def follow(project: Project, stream: TextIO, environ: Mapping[str, str]) -> str:
    """Show a project's batch until it ends. Return how it ended; empty after Ctrl-C.

    Raise RefusedError without a batch, StateError when it cannot be read at the start.
    """
    state = snapshot.read_snapshot(project)
    if state is None:
        raise no_batch_error(project)
    display = live_display.open_display(stream, environ)
    last_error = ""
    received: List[bool] = []
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        with signals.handle_signals(dict.fromkeys(ends, lambda: received.append(True))):
            display.refresh(state)
            while is_live(state):
                signals.wait_until(POLL_S, lambda: received)
                if received or display.gone:
                    return ""
                try:
                    after = snapshot.read_snapshot(project)
                except StateError as error:
                    if error.message != last_error:
                        display.event("unreadable", error.message)
                    last_error = error.message
                    continue
                if after is None or after["batch_id"] != state["batch_id"]:
                    return f"Batch {state['batch_id']} was archived; `batchctl log` shows why."
                for event in batch_events.events_between(state, after):  # in the words of `batchctl log`
                    (line,) = log_format.format_entries([{"at": timestamps.now(), **event}])
                    display.say(line)
                state, last_error = after, ""
                display.refresh(state)
    finally:
        display.close()
    return f"Batch {state['batch_id']} is over ({state['status']}): {prompts.progress_summary(state)}."
