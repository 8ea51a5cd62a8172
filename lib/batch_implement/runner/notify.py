"""Call the user's `--notify` command when a run ends, pauses or fails, or a feature fails.

    message = send(command, "end", state, {"html": path, "md": path}, root)    "" unless the command failed

The command is run by /bin/sh in the project's root, with these environment variables:

    BATCH_EVENT       end, pause or failure
    BATCH_ID          the batch
    BATCH_STATUS      in_progress, paused, completed or failed
    BATCH_COMPLETED, BATCH_FAILED, BATCH_SKIPPED, BATCH_PENDING, BATCH_TOTAL     numbers of features
    BATCH_SUMMARY     a few lines of plain text, at most 2,000 characters
    BATCH_BRANCH      the branch with the results
    BATCH_REPORT      path of the HTML report, empty if there is none
    BATCH_REPORT_MD   path of the Markdown report

Text of others (features, errors) is only in these values, never part of the command. After 60 s the command is ended
with all that it started. Its failure does not fail the run.
"""

from __future__ import annotations

from ..base import process_identity, subprocesses
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
    """Run the user's command in `root`. Return a message if it failed, else "". Raise nothing.

    `report_paths` has the paths of the reports as `html` and `md`.
    """
    environment = {**process_identity.command_environment(), **notify_variables(event, state, report_paths)}
    try:
        result = subprocesses.run(["/bin/sh", "-c", command], cwd=root, env=environment, timeout_s=TIMEOUT_S)
    except (OSError, ValueError) as error:
        return f"The --notify command could not be started ({event}): {error}"
    if result.timed_out:
        return f"The --notify command did not end within {TIMEOUT_S} s ({event}) and was ended."
    if result.returncode == 0:
        return ""
    output = (result.stderr or result.stdout)[-MAX_LINE_LENGTH:]
    text = one_line(output.decode("utf-8", "replace")) or "no output"
    return f"The --notify command {subprocesses.describe_end(result.returncode)} ({event}): {text}"


def notify_variables(event: str, state: State, report_paths: Mapping[str, str]) -> Dict[str, str]:
    """Return the environment variables of the command, without zero bytes."""
    values = {
        "EVENT": event,
        "ID": state["batch_id"],
        "STATUS": state["status"],
        "SUMMARY": event_summary(event, state),
        "BRANCH": state["run"]["branch"],
        "REPORT": report_paths.get("html", ""),
        "REPORT_MD": report_paths.get("md", ""),
        **{name.upper(): str(number) for name, number in batch_state.counts(state).items()},
    }
    return {f"BATCH_{name}": value.replace("\0", "") for name, value in values.items()}


def event_summary(event: str, state: State) -> str:
    """Return a few lines for a notification. The first line alone says what happened."""
    run, failed = state["run"], state["failed_features"]
    problem = "has a failed feature" if failed else "stopped with an error"
    text = {"end": "has ended", "pause": "is paused and waits for you", "failure": problem}[event]
    lines = [f"Batch {state['batch_id']} {text}: {prompts.progress_summary(state)}."]
    lines.append(f"Results are on {run['branch']}.")
    if event == "pause" and state["pause"]:
        lines.append(f"Reason: {state['pause']['reason']}")
    if event == "end" and run.get("ended_why"):
        lines.append(f"Reason: {run['ended_why']}")
    for entry in failed[-1:] if event == "failure" else failed:
        index = entry["feature_index"]
        lines.append(f"Feature {index + 1}, {shorten(state['features'][index], 100)}: {entry['error_message']}")
    return shorten("\n".join(one_line(line, MAX_LINE_LENGTH) for line in lines), MAX_SUMMARY_LENGTH)
