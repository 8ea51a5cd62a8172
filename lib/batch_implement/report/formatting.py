"""Texts and numbers as a report shows them. Pure.

line(text), block(text)     a text that is not ours: no control or bidi character, a bounded length
link(url), plain(name)      the few of them that may be more than a text: an address, a name in a command
duration(seconds), dollars(amount), moment(time)            for a person
"""

from __future__ import annotations

import re

from . import status_report, timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

LONGEST_LINE, LONGEST_BLOCK = 500, 2000  # characters of a text
STATUS_WORDS = {
    "completed": "done", "failed": "failed", "skipped": "skipped", "active": "open", "pending": "to do",
}  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}", re.ASCII)  # what any shell leaves as it is
_LINK = re.compile(
    r"https?://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]{1,5})?(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}"
    r"/(?:pull|pulls|issues|merge_requests)/[0-9]{1,18}(?:#[a-z]+-[0-9]{1,18})?",
    re.ASCII,
)


def line(text: object, limit: int = LONGEST_LINE) -> Optional[str]:
    """A text that is not ours on one line, cleaned and cut; None for what is no text."""
    if type(text) is not str:
        return None
    words = " ".join(status_report.clean(text[: limit + 200]).split())
    return words if len(words) <= limit and len(text) <= limit + 200 else words[:limit] + " ...[cut]"


def block(text: object, limit: int = LONGEST_BLOCK) -> str:
    """A text of several lines that is not ours, each cleaned, the whole cut; empty for what is no text."""
    if type(text) is not str:
        return ""
    kept = "\n".join(status_report.clean(words).rstrip() for words in text[:limit].splitlines()).strip("\n")
    return kept if len(text) <= limit else kept + " ...[cut]"


def link(url: object) -> Optional[str]:
    """The address of a pull request or an issue, None for anything else: nothing else may become a link."""
    return url if type(url) is str and len(url) <= 500 and _LINK.fullmatch(url) else None


def plain(name: object) -> Optional[str]:
    """A name that may stand in a command as it is; None for any other."""
    return name if type(name) is str and _PLAIN.fullmatch(name) and ".." not in name else None


def duration(seconds: Optional[float]) -> str:
    """A length of time for a person: `under 1 s`, `8 s`, `12 min`, `6 h 12 min`, `3 d 4 h`; empty for None."""
    if seconds is None:
        return ""
    if 0 < seconds < 1:
        return "under 1 s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def dollars(amount: Optional[float]) -> str:
    """An amount for a person: `$1.50`; empty for None."""
    return "" if amount is None else f"${amount:,.2f}"


def short(commit: str) -> str:
    """A commit as a person names it."""
    return commit[:10]


def moment(text: Optional[str]) -> str:
    """A time of the state for a person, in UTC: `1 Feb 2026, 00:14 UTC`. What is no time is not repeated."""
    seconds = timeline.seconds(text)
    return "at an unknown time" if seconds is None else timeline.written(seconds)
