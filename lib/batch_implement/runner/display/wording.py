"""Format a view as lines of text, for the live display and the plain one. Pure."""

from __future__ import annotations

from typing import List, Tuple

from ...base import timestamps
from ...base.text import duration
from ...core import prompts
from ...report import status_report
from .view_model import RunningFeature, View

MAX_RUNNING = 8
MAX_PENDING = 3


def format_event(now: str, kind: str, text: str) -> str:
    """Return a line for an event, with its time in UTC, as `batchctl log` begins its lines."""
    return f"{now[:19].replace('T', ' ')}  {kind:<11}  {text}".rstrip()


def format_progress(view: View) -> str:
    """Return the progress: `7 of 20 done, 1 failed, 2 running`; statuses without features are left out."""
    counts = view.counts
    parts = [f"{counts['done']} of {counts['total']} done"]
    names = ("failed", "skipped", "running", "merging", "waiting")
    return ", ".join(parts + [f"{counts[name]} {name}" for name in names if counts[name]])


def describe_blockers(view: View) -> List[Tuple[str, str]]:
    """Return what stops the batch, each with its kind: `waiting`, `paused`, `ended`, `stopped`."""
    blockers = []
    if view.waiting:
        blockers.append(("waiting", f"Waiting{_format_until(view.waiting.until, view.at)}: {view.waiting.reason}"))
    if view.pause:
        blockers.append(("paused", f"Paused{_format_until(view.pause.until, view.at)}: {view.pause.reason}"))
    if view.ended:
        blockers.append(("ended", f"The run has ended: {view.ended}"))
    elif view.status == "in_progress" and not view.at_work:
        resume = "Resume it with `batchctl run --resume`." if view.spent else status_report.RESUME_IN_CLIENT
        blockers.append(("stopped", f"No process works on the batch. {resume}"))
    return blockers


def _format_until(moment: object, now: str) -> str:
    """Return ` until 06:00 UTC (in 2 h 10 min)`, with the date unless it is today; empty for no time."""
    if not moment:
        return ""
    until = str(moment)
    left = timestamps.seconds_between(now, until)
    day = "" if until[:10] == now[:10] else f"{until[:10]} "
    return f" until {day}{until[11:16]} UTC ({f'in {duration(left)}' if left > 0 else 'now'})"


def format_usage(view: View) -> str:
    """Return what the run has used of its limits; empty for a batch without a run."""
    if not view.spent:
        return ""
    cost = f"${view.spent.get('cost_usd', 0):.2f}"
    parts = [f"{cost} of ${view.limits['cost'][1]:.2f}" if "cost" in view.limits else cost]
    parts.append(prompts.pluralize(int(view.spent.get("turns", 0)), "turn"))
    for name, suffix in (("time", ""), ("waiting", " waited")):
        if name in view.limits:
            parts.append(" of ".join(map(duration, view.limits[name])) + suffix)
    if "waiting" not in view.limits and view.spent.get("waited_s"):
        parts.append(f"{duration(view.spent['waited_s'])} waited")
    return f"Used: {', '.join(parts)}"


def describe_step(row: RunningFeature) -> str:
    """Return the phase of a running feature, or `merging`."""
    return "merging" if row.step == "merging" else row.phase or row.step


def format_cost(row: RunningFeature) -> str:
    """Return the cost of the attempt so far; empty when it is not known."""
    return "" if row.cost_usd is None else f"${row.cost_usd:.2f}"


def describe_running(row: RunningFeature) -> str:
    """Return a running feature as a part of a line."""
    parts = [describe_step(row), duration(row.seconds)]
    if row.attempt > 1:
        parts.insert(0, f"attempt {row.attempt}")
    if row.turns is not None:
        parts.append(prompts.pluralize(row.turns, "turn"))
    parts += [part for part in (format_cost(row), row.tool, row.merge) if part]
    return f"feature {row.number} ({', '.join(parts)})"


def format_heartbeat(view: View) -> str:
    """Return the whole view on one line."""
    rows = [describe_running(row) for row in view.rows[:MAX_RUNNING]]
    if len(view.rows) > len(rows):
        rows.append(f"{len(view.rows) - len(rows)} more")
    pending = [f"feature {entry.number} {entry.why}" for entry in view.pending if entry.why][:MAX_PENDING]
    parts = [format_progress(view), ", ".join(rows), f"not yet: {', '.join(pending)}" if pending else ""]
    parts += [words for _, words in describe_blockers(view)]
    parts.append(format_usage(view))
    return "; ".join(part for part in parts if part)
