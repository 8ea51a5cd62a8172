"""Say how a list of features was read: its format, what was decided, and the lines that are in no feature. Pure.

reading_data(listing)       {"format", "notes", "left_out", "left_out_total"}
format_reading(listing)     the lines of `--dry-run`
summarize_left_out(entries) `3 lines left out: `--dry-run` shows them.`
"""

from __future__ import annotations

from ..base.text import clean, one_line
from ..core.prompts import pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence

    from ..features.feature_list import LeftOut, Listing

DONE_EARLIER = "done in batch "  # begins the reason of a feature that an earlier batch did
SHOWN_FOR_REASON = 5
SHOWN_IN_DATA = 2_000
MAX_TEXT = 100


def reading_data(listing: Listing) -> Dict[str, Any]:
    """Return how a list was read as plain data, with the first 2,000 lines that are left out and the count of all."""
    return {
        "format": clean(listing.format),
        "notes": [clean(note) for note in listing.notes],
        "left_out": [
            {"line": entry.line, "text": one_line(entry.text), "reason": entry.reason}
            for entry in listing.left_out[:SHOWN_IN_DATA]
        ],
        "left_out_total": len(listing.left_out),
    }


def format_reading(listing: Listing) -> List[str]:
    """Return what `--dry-run` says about the reading of a list, lines left out by their reasons."""
    lines = [f"Note: {clean(note)}" for note in listing.notes]
    by_reason: Dict[str, List[LeftOut]] = {}
    for entry in listing.left_out:
        by_reason.setdefault(entry.reason, []).append(entry)
    if by_reason:
        lines.append(f"{pluralize(len(listing.left_out), 'line')} left out:")
    for reason, entries in by_reason.items():
        lines.append(f"  {clean(reason)} ({len(entries):,}):")
        for entry in entries[:SHOWN_FOR_REASON]:
            where = f"line {entry.line}: " if entry.line else ""
            lines.append(f"    {where}{one_line(entry.text, MAX_TEXT)}")
        if len(entries) > SHOWN_FOR_REASON:
            lines.append(f"    ... and {len(entries) - SHOWN_FOR_REASON:,} more (`--json` lists them)")
    return lines


def summarize_left_out(left_out: Sequence[LeftOut]) -> str:
    """Return a sentence about the number of lines that are left out; empty for none.

    Features that an earlier batch did have a sentence of their own.
    """
    count = sum(not entry.reason.startswith(DONE_EARLIER) for entry in left_out)
    if not count:
        return ""
    return f"{pluralize(count, 'line')} left out: `--dry-run` shows {'it' if count == 1 else 'them'}."
