"""`--notify`: a person's own command is told that a run has ended, waits for them, gave a feature up or broke off.

    note = send(command, "end", state, {"html": path, "md": path}, root)    "" when all is well

The command is run by /bin/sh, in the project's root, with these in its environment:

    BATCH_EVENT       end, pause or failure
    BATCH_ID          the batch
    BATCH_STATUS      in_progress, paused, completed or failed
    BATCH_COMPLETED, BATCH_FAILED, BATCH_SKIPPED, BATCH_PENDING, BATCH_TOTAL     numbers of features
    BATCH_SUMMARY     a few lines of plain text, at most 2,000 characters
    BATCH_BRANCH      the branch that has what is done
    BATCH_REPORT      path of the report as HTML; empty when there is none
    BATCH_REPORT_MD   the same as Markdown

What others wrote (feature texts, errors) is only ever a value there, never part of the command. A command that fails or
takes longer than 60 s is ended, with all that it started, and told as a note: no run fails for it.
"""

from __future__ import annotations

import os
import tempfile

from ..base import processes, subprocesses
from ..base.text import one_line, shorten
from ..core import batch_state, prompts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Mapping

    from ..core.batch_state import State

TIMEOUT_S = 60
MAX_SUMMARY_LENGTH = 2000
MAX_LINE_LENGTH = 300


def send(command: str, event: str, state: State, report_paths: Mapping[str, str], root: str) -> str:
    """Run the person's command in `root` and wait for it. What is to be said of it when it failed, else an empty text.

    `report_paths` has the paths of the reports that there are, as `html` and `md`. Nothing is raised.
    """
    environment = {**processes.command_environment(), **notify_variables(event, state, report_paths)}
    with tempfile.TemporaryFile() as output:
        try:
            result = subprocesses.run(
                ["/bin/sh", "-c", command], cwd=root, env=environment, timeout_s=TIMEOUT_S, output=output
            )
        except (OSError, ValueError) as error:
            return f"The --notify command could not be started ({event}): {error}"
        if result.timed_out:
            return f"The --notify command did not end within {TIMEOUT_S} s ({event}) and was ended."
        if result.returncode == 0:
            return ""
        output.seek(max(0, output.seek(0, os.SEEK_END) - MAX_LINE_LENGTH))
        said = one_line(output.read(MAX_LINE_LENGTH).decode("utf-8", "replace"))
        return f"The --notify command ended with exit status {result.returncode} ({event}): {said or 'it said nothing'}"


def notify_variables(event: str, state: State, report_paths: Mapping[str, str]) -> Dict[str, str]:
    """The variables that the command is given: text without control characters or zero bytes."""
    counts = batch_state.counts(state)
    run = state.get("run") or {}
    values = {
        "EVENT": event,
        "ID": state["batch_id"],
        "STATUS": state["status"],
        "SUMMARY": event_summary(event, state),
        "BRANCH": run.get("branch") or "",
        "REPORT": report_paths.get("html", ""),
        "REPORT_MD": report_paths.get("md", ""),
        **{name.upper(): str(number) for name, number in counts.items()},
    }
    return {f"BATCH_{name}": value.replace("\0", "") for name, value in values.items()}


def event_summary(event: str, state: State) -> str:
    """What happened, for a person to read on a telephone: the first line alone says it."""
    run = state.get("run") or {}
    broken = "has given a feature up" if state["failed_features"] else "was broken off"
    begun = {"end": "has ended", "pause": "waits for you", "failure": broken}[event]
    lines = [
        f"Batch {state['batch_id']} {begun}: {prompts.progress_summary(state)}.",
    ]
    if event == "pause" and state["pause"]:
        lines.append(f"Why: {state['pause']['reason']}")
    if event == "end" and run.get("ended_why"):
        lines.append(f"Why: {run['ended_why']}")
    given_up = state["failed_features"][-1:] if event == "failure" else state["failed_features"]
    lines += [
        f"Feature {entry['feature_index'] + 1}, {state['features'][entry['feature_index']][:100]}: "
        f"{entry['error_message']}"
        for entry in given_up
    ]
    if run.get("branch"):
        lines.insert(1, f"What is done is on {run['branch']}.")
    cleaned = (one_line(line, MAX_LINE_LENGTH) for line in lines)
    return shorten("\n".join(cleaned), MAX_SUMMARY_LENGTH)
