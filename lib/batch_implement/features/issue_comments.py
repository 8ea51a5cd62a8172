"""Format the comment on an issue about how its feature ended, in Markdown.

    text = format_outcome(state, 0)
    marker = format_marker(state, 0)    `<!-- batch-implement BATCH_ID INDEX OUTCOME -->`, the last line of the text

Errors, reasons, commands and names are untrusted: they are in code blocks that they cannot end, where GitHub links and
mentions nothing, and none of their lines can be taken for the marker.
"""

from __future__ import annotations

import re

from ..base.text import clean
from ..core import batch_state, blocked_features
from ..core.errors import RefusedError
from ..core.prompts import pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from ..core.batch_state import State

MAX_QUOTED_CHARS = 4000  # of one text in a comment, of which GitHub takes 65,536
MAX_COMMITS_LISTED = 20
_COMMIT = re.compile(r"[0-9a-f]{6,64}")


def format_outcome(state: State, index: int) -> str:
    """Return the comment about how feature `index` ended; its last line is the marker.

    Raises RefusedError for a feature that has not ended.
    """
    outcome = batch_state.feature_status(state, index)
    if outcome == "done":
        parts = _completed_parts(state["evidence"].get(batch_state.key(index), {}))
    elif outcome == "failed":
        parts = _failed_parts(state, index)
    elif outcome == "skipped":
        parts = _skipped_parts(state, index)
    else:
        raise RefusedError(f"Feature {index + 1} is {outcome}: there is no outcome to report yet.", "issue-not-written")
    where = f"feature {index + 1} of {state['total_features']} in batch `{state['batch_id']}`"
    title = f"**{outcome.capitalize()}** by batch-implement ({where})."
    return "\n\n".join([title, *parts, format_marker(state, index)]) + "\n"


def format_marker(state: State, index: int) -> str:
    """Return the line that identifies the comment on the present outcome of a feature. GitHub does not show it."""
    return f"<!-- batch-implement {state['batch_id']} {index} {batch_state.feature_status(state, index)} -->"


def _completed_parts(evidence: State) -> List[str]:
    parts = []
    commits = [sha for sha in evidence.get("commits") or [evidence.get("commit")] if is_commit(sha)]
    if evidence.get("no_change"):
        parts += ["It needed no change. The reason given:", _code_block(evidence["no_change"])]
    elif commits:
        listed = commits[-MAX_COMMITS_LISTED:]
        more = f", the last {len(listed)} of {len(commits)}" if len(listed) < len(commits) else ""
        branch = f" on `{clean(evidence['branch']).replace('`', ' ')}`" if evidence.get("branch") else ""
        parts += [f"Commits{branch}{more}:", "\n".join(f"- {sha}" for sha in listed)]
    verify = evidence.get("verify")
    if verify:
        seconds = f" after {verify['seconds']:.1f} s" if isinstance(verify.get("seconds"), (int, float)) else ""
        result = f"The verify command ended with exit status {verify['exit_code']}{seconds}:"
        parts += [result, _code_block(verify["command"])]
    elif evidence.get("asserted"):
        parts.append("A script said so; nothing was checked.")
    else:
        parts.append("No verify command was asked for.")
    return parts


def _failed_parts(state: State, index: int) -> List[str]:
    entry = next(entry for entry in state["failed_features"] if entry["feature_index"] == index)
    used = batch_state.attempts_used(state, index) or entry.get("retry_count") or 1
    times = pluralize(used, "attempt")
    parts = [f"Given up after {times}. The last one said:", _code_block(entry["error_message"])]
    attempts = state.get("attempts", {}).get(batch_state.key(index), ())
    snapshot = attempts[-1].get("snapshot") if attempts else None
    if snapshot:
        where = "in this snapshot (`git cherry-pick -n -m 1 REF` brings it back)"
        parts += [f"What it left uncommitted is {where}, in the clone it worked in:", _code_block(snapshot)]
    return parts


def _skipped_parts(state: State, index: int) -> List[str]:
    reason = next(entry["reason"] for entry in state["skipped_features"] if entry["feature_index"] == index)
    blocker = blocked_features.parse_blocker(reason)
    if blocker is None or blocker >= state["total_features"]:
        return ["Not tried. The reason given:", _code_block(reason)]
    issue = f" (#{state['issue_numbers'][blocker]})" if state.get("issue_numbers") else ""
    return [f"Not tried: it needs feature {blocker + 1}{issue}, which was not completed."]


def _code_block(text: str) -> str:
    """Return text in a code block that nothing in it can end, shortened to 4,000 characters."""
    shortened = text[:MAX_QUOTED_CHARS] + ("\n...[cut]" if len(text) > MAX_QUOTED_CHARS else "")
    # An indented line cannot be taken for the marker.
    lines = ["  " + line if line.startswith("<!--") else line for line in map(clean, shortened.splitlines())]
    longest = max(map(len, re.findall("`+", shortened)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *lines, fence])


def is_commit(sha: object) -> bool:
    """Return whether a value of the evidence can be a commit id: nothing else is shown as one, or passed to git."""
    return isinstance(sha, str) and _COMMIT.fullmatch(sha) is not None
