"""A view in words, a line each: what a live display and a plain one say alike. Pure."""

from __future__ import annotations

from typing import List, Tuple

from ...base import timestamps
from ...base.text import duration
from ...core import prompts
from ...report import status_report
from .view_model import EndedFeature, PendingFeature, RunningFeature, View

MAX_RUNNING = 8
MAX_PENDING = 3


def format_event(now: str, kind: str, text: str) -> str:
    """A line for something that happened, with its time (UTC), as `batchctl log` begins its lines."""
    return f"{now[:19].replace('T', ' ')}  {kind:<11}  {text}".rstrip()


def format_title(seen: View) -> str:
    """Which batch it is, how it stands and for how long."""
    words = seen.status.replace("_", " ")
    return f"Batch {seen.batch_id}: {words}, {duration(seen.seconds)}"


def format_progress(seen: View) -> str:
    """How far it is: `7 of 20 done, 1 failed, 2 under way`; what there is none of is left out after the first."""
    number = seen.counts
    parts = [f"{number['completed']} of {number['total']} done"]
    names = (("failed", "failed"), ("skipped", "skipped"), ("active", "under way"))
    return ", ".join(parts + [f"{number[name]} {words}" for name, words in names if number[name]])


def describe_blockers(seen: View) -> List[Tuple[str, str]]:
    """What keeps it from going on, each with its kind: `waits`, `paused`, `ended`, `nobody`."""
    found = []
    if seen.waiting:
        found.append(("waits", f"Waits{_format_until(seen.waiting.until, seen.at)}: {seen.waiting.reason}"))
    if seen.pause:
        found.append(("paused", f"Paused{_format_until(seen.pause.until, seen.at)}: {seen.pause.reason}"))
    if seen.ended:
        found.append(("ended", f"The run has ended: {seen.ended}"))
    elif seen.status == "in_progress" and not seen.at_work:
        driven = "Nobody is at work on it: `batchctl run --resume` goes on."
        found.append(
            ("nobody", driven if seen.spent else f"Nobody is at work on the batch. {status_report.RESUME_IN_CLIENT}")
        )
    return found


def _format_until(moment: object, now: str) -> str:
    """` until 06:00 UTC (in 2 h 10 min)`; empty without a time, the date where it is not today's."""
    if not moment:
        return ""
    until = str(moment)
    try:
        left = timestamps.seconds_between(now, until)
    except ValueError:
        return ""
    day = "" if until[:10] == now[:10] else f"{until[:10]} "
    return f" until {day}{until[11:16]} UTC ({f'in {duration(left)}' if left > 0 else 'now'})"


def format_usage(seen: View) -> str:
    """What it took, with the limits that a person set; empty for a batch that no run drove."""
    if not seen.spent:
        return ""
    most = {limit.name: limit for limit in seen.limits}
    cost = f"${seen.spent.get('cost_usd', 0):.2f}"
    parts = [f"{cost} of ${most['cost'].most:.2f}" if "cost" in most else cost]
    parts.append(prompts.pluralize(int(seen.spent.get("turns", 0)), "turn"))
    if "time" in most:
        parts.append(f"{duration(most['time'].used)} of {duration(most['time'].most)}")
    if "waiting" in most:
        parts.append(f"{duration(most['waiting'].used)} of {duration(most['waiting'].most)} waited")
    elif seen.spent.get("waited_s"):
        parts.append(f"{duration(seen.spent['waited_s'])} waited")
    return f"Used: {', '.join(parts)}"


def describe_step(row: RunningFeature) -> str:
    """What is done with a feature, in a word."""
    return "merging" if row.step == "merging" else row.phase or row.step


def format_cost(row: RunningFeature) -> str:
    """What its client cost so far; empty when that is not known."""
    return "" if row.cost_usd is None else f"${row.cost_usd:.2f}"


def format_attempt(row: RunningFeature) -> str:
    """Which attempt it is."""
    return f"attempt {row.attempt}"


def describe_running(row: RunningFeature) -> str:
    """A feature that is under way, in a line's part."""
    parts = [describe_step(row), duration(row.seconds)]
    if row.attempt > 1:
        parts.insert(0, format_attempt(row))
    if row.turns is not None:
        parts.append(prompts.pluralize(row.turns, "turn"))
    parts += [part for part in (format_cost(row), row.tool) if part]
    return f"feature {row.number} ({', '.join(parts)})"


def describe_pending(held: PendingFeature) -> str:
    """Why a feature has not begun."""
    return held.why or "waits its turn"


def describe_ended(entry: EndedFeature) -> str:
    """How a feature ended."""
    if entry.condition == "done":
        return f"done  {entry.said}".rstrip()
    return f"{entry.condition}: {entry.said}"


def format_heartbeat(seen: View) -> str:
    """All of it in one line."""
    rows = [describe_running(row) for row in seen.rows[:MAX_RUNNING]]
    if len(seen.rows) > len(rows):
        rows.append(f"{len(seen.rows) - len(rows)} more")
    held = [f"feature {entry.number} {entry.why}" for entry in seen.held if entry.why][:MAX_PENDING]
    parts = [format_progress(seen), ", ".join(rows), f"held: {', '.join(held)}" if held else ""]
    parts += [words for _, words in describe_blockers(seen)]
    parts.append(format_usage(seen))
    return "; ".join(part for part in parts if part)
