"""Format the values of a report for its reader. Pure.

Texts that others wrote are cleaned and shortened; `tracker_url` and `shell_safe_name` are the only ones that let a text
become more than a text: a link, a name in a command.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

from ..base import text
from . import timeline
from .status_report import STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Mapping, Optional, Tuple

    from .report_data import Report

MAX_LINE_CHARS, MAX_BLOCK_CHARS = 500, 2000
_SHELL_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}", re.ASCII)
_TRACKER_URL = re.compile(
    r"https?://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]{1,5})?(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}"
    r"/(?:pull|pulls|issues|merge_requests)/[0-9]{1,18}(?:#[a-z]+-[0-9]{1,18})?",
    re.ASCII,
)


def to_line(value: object, limit: int = MAX_LINE_CHARS) -> Optional[str]:
    """Return a text on one line, cleaned and shortened; None for any other value."""
    return text.one_line(value, limit) if type(value) is str else None


def to_block(value: object, limit: int = MAX_BLOCK_CHARS) -> str:
    """Return a text of several lines, each cleaned, the whole shortened; empty for any other value."""
    return text.clean_block(text.shorten(value, limit)) if type(value) is str else ""


def tracker_url(url: object) -> Optional[str]:
    """Return the URL of a pull request or an issue; None for anything else, which must not become a link."""
    return url if type(url) is str and len(url) <= 500 and _TRACKER_URL.fullmatch(url) else None


def shell_safe_name(name: object) -> Optional[str]:
    """Return a name that needs no quotes in a command, or None."""
    return name if type(name) is str and _SHELL_SAFE.fullmatch(name) and ".." not in name else None


def format_dollars(amount: Optional[float]) -> str:
    """Return an amount: `$1.50`; empty for None."""
    return "" if amount is None else f"${amount:,.2f}"


def short_commit(commit: str) -> str:
    """Return the first characters of a commit hash."""
    return commit[:10]


def format_time(time: Optional[str]) -> str:
    """Return a time of the state in UTC: `1 Feb 2026, 00:14 UTC`. An invalid time is not shown as it is."""
    seconds = timeline.parse_time(time)
    if seconds is None:
        return "at an unknown time"
    utc = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{utc.day} {timeline.MONTHS[utc.month - 1]} {utc.year}, {utc.hour:02}:{utc.minute:02} UTC"


def shown_counts(report: Report) -> Iterator[Tuple[str, int]]:
    """Yield each status that features have, and how many of them."""
    yield from ((status, report.counts[status]) for status in STATUSES if report.counts[status])


def describe_effort(report: Report) -> Iterator[str]:
    """Yield how long the batch took and what it cost, as far as that is known."""
    if report.took_s is not None:
        yield f"{text.duration(report.took_s)} since it was created"
    if report.spent and report.spent.get("cost_usd"):
        yield format_dollars(report.spent["cost_usd"])


def describe_use(turns: float, cost_usd: Optional[float], tokens: Mapping[str, float]) -> str:
    """Return turns, cost and tokens of clients."""
    read = sum(tokens.get(name, 0) for name in ("input_tokens", "cache_read_tokens", "cache_creation_tokens"))
    written = tokens.get("output_tokens", 0)
    return f"{turns:,} turns, {format_dollars(cost_usd)}, {read:,} tokens read, {written:,} written"
