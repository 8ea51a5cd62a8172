"""`batchctl status --watch`: the display of a run, or of a batch that a client does, from another terminal.

    text = watch.follow(project, sys.stdout, os.environ)        what there is to say at the end

It follows files alone, without the lock, and changes nothing: as many may watch as like to, and none is noticed. It
ends when the batch is over or is not there any more, or with Ctrl-C.
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
    from ...core.batch_state import State

POLL_S = 1.0


def follow(project: Project, stream: TextIO, environ: Mapping[str, str]) -> str:
    """Show the batch of a project until it is over; how it ended, empty after Ctrl-C. Refused when there is none,
    StateUnusable when it cannot be read at the beginning.
    """
    state = snapshot.read_snapshot(project)
    if state is None:
        raise no_batch_error(project)
    shown = live_display.open_display(stream, environ)
    trouble = ""
    came: List[bool] = []
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        with signals.handle_signals(dict.fromkeys(ends, lambda: came.append(True))):
            shown.refresh(state)
            while is_live(state):
                signals.wait_until(POLL_S, lambda: came)
                if came or shown.gone:
                    return ""
                try:
                    after = snapshot.read_snapshot(project)
                except StateError as error:
                    if error.message != trouble:
                        shown.event("unreadable", error.message)
                    trouble = error.message
                    continue
                if after is None or after["batch_id"] != state["batch_id"]:
                    return f"Batch {state['batch_id']} is not here any more. `batchctl log` tells what became of it."
                _show_events(state, after, shown)
                state, trouble = after, ""
                shown.refresh(state)
    finally:
        shown.close()
    return f"Batch {state['batch_id']} is over ({state['status']}): {prompts.progress_summary(state)}."


def _show_events(before: State, after: State, shown: live_display.Display) -> None:
    """Say what happened from one version to the next, as `batchctl log` does."""
    for event in batch_events.events_between(before, after):
        (line,) = log_format.format_entries([{"at": timestamps.now(), **event}])
        shown.say(line)
