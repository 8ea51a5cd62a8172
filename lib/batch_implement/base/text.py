"""Make text fit for output: cleaned, on one line, shortened; durations in words. Pure, and cheap to import.

clean(text)              without control and bidi characters, of the same length
clean_block(text)        the same for text of several lines
clean_output(text)       what a terminal may get: the same, with line ends and tabs
escape_controls(text, "&#{};")      DEL, C1 and bidi controls as escapes
one_line(text, 80)       cleaned, on one line, at most 80 characters
shorten(text, 80)        at most 80 characters
quote_all(texts, 5)      `'Add a page', 'Add a menu' and 3 more`
duration(seconds)        `6 h 12 min`
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence

_BIDI_CONTROLS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_TO_SPACE = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), *_BIDI_CONTROLS), " ")
_TO_SPACE_IN_LINES = {code: space for code, space in _TO_SPACE.items() if chr(code) not in "\n\t"}
_RAW_CONTROLS = (*range(0x7F, 0xA0), *_BIDI_CONTROLS)
JSON_ESCAPE = "\\u{:04x}"


def clean(text: str) -> str:
    """Return text with each control and bidi control character replaced by a space.

    They could hide or reorder what a person sees. Zero-width joiners stay: scripts and emoji need them.
    """
    return text if text.isprintable() else text.translate(_TO_SPACE)  # nothing printable is in _TO_SPACE


def clean_block(text: str) -> str:
    """Return text with each line cleaned, without blanks at the ends of lines and empty lines around."""
    return "\n".join(clean(line).rstrip() for line in text.splitlines()).strip("\n")


def clean_output(text: str) -> str:
    """Return text of several lines cleaned for a terminal. Line feeds and tabs stay; the length stays the same."""
    return text.translate(_TO_SPACE_IN_LINES)


def escape_controls(text: str, template: str = JSON_ESCAPE) -> str:
    """Return text with DEL, C1 and bidi controls, which JSON and XML may have, as escapes: `template` with the code."""
    return (
        text
        if text.isascii() and "\x7f" not in text
        else text.translate({c: template.format(c) for c in _RAW_CONTROLS})
    )


def one_line(text: str, limit: int = 300) -> str:
    """Return text cleaned and on one line, with single spaces, shortened to `limit` characters.

    Characters that UTF-8 cannot encode become `?`.
    """
    start = text[: 4 * limit]  # bounds the work on huge texts
    line = " ".join(clean(start).split()).encode("utf-8", "replace").decode()
    return line if len(line) <= limit and len(start) == len(text) else _with_ellipsis(line, limit)


def shorten(text: str, limit: int) -> str:
    """Return text, or what fits of it into `limit` characters with `...` at the end."""
    return text if len(text) <= limit else _with_ellipsis(text, limit)


def quote_all(texts: Sequence[str], most: int) -> str:
    """Return the first `most` of some texts for a message, each on one line of 60 characters, and how many more."""
    shown = ", ".join(repr(one_line(text, 60)) for text in texts[:most])
    return shown + (f" and {len(texts) - most:,} more" if len(texts) > most else "")


def _with_ellipsis(text: str, limit: int) -> str:
    return text[: limit - 3].rstrip() + "..."


def duration(seconds: Optional[float]) -> str:
    """Return a duration in words: `under 1 s`, `8 s`, `12 min`, `6 h 12 min`, `3 d 4 h`; empty for None."""
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
