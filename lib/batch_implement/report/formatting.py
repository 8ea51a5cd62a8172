"""Texts and numbers as a report shows them. Pure.

to_line(text), to_block(text)     a text that is not ours: no control or bidi character, a bounded length
link(url), plain(name)      the few of them that may be more than a text: an address, a name in a command
dollars(amount), moment(time)            for a person
"""

from __future__ import annotations

import re

from ..base import text
from . import timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

MAX_LINE_CHARS, MAX_BLOCK_CHARS = 500, 2000  # characters of a text
STATUS_WORDS = {
    "completed": "done", "failed": "failed", "skipped": "skipped", "active": "open", "pending": "to do",
}  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}", re.ASCII)  # what any shell leaves as it is
_LINK = re.compile(
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
    """The address of a pull request or an issue, None for anything else: nothing else may become a link."""
    return url if type(url) is str and len(url) <= 500 and _LINK.fullmatch(url) else None


def shell_safe_name(name: object) -> Optional[str]:
    """A name that may stand in a command as it is; None for any other."""
    return name if type(name) is str and _PLAIN.fullmatch(name) and ".." not in name else None


def format_dollars(amount: Optional[float]) -> str:
    """An amount for a person: `$1.50`; empty for None."""
    return "" if amount is None else f"${amount:,.2f}"


def short_commit(commit: str) -> str:
    """A commit as a person names it."""
    return commit[:10]


def format_time(time: Optional[str]) -> str:
    """A time of the state for a person, in UTC: `1 Feb 2026, 00:14 UTC`. What is no time is not repeated."""
    seconds = timeline.parse_time(time)
    return "at an unknown time" if seconds is None else timeline.write_time(seconds)
