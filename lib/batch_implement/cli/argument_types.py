"""Parse values of the command line: numbers, durations, amounts, patterns, permission rules.

    parser.add_argument("--max-time", type=parse_duration, help=f"... {DURATION_EXAMPLES}")

Each takes the text and returns the value. argparse.ArgumentTypeError says what is wrong and shows the format.
"""

from __future__ import annotations

import argparse
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

MAX_JOBS = 64
DURATION_EXAMPLES = "like 90s, 45m or 1h30m"
_DURATION = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")
_RULE = re.compile(r"[A-Za-z][A-Za-z0-9_*-]*(?:\(.+\))?")


def _whole_number_parser(least: int, most: int = 999_999_999) -> Callable[[str], int]:
    def parse_whole_number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse_whole_number


parse_non_negative = _whole_number_parser(0)
parse_positive = _whole_number_parser(1)
parse_count = _whole_number_parser(1, 1_000_000)
parse_jobs = _whole_number_parser(1, MAX_JOBS)


def parse_duration(text: str) -> int:
    """Return a duration (see DURATION_EXAMPLES) in seconds, at most a year."""
    match = _DURATION.fullmatch(text)
    seconds = sum(int(number or 0) * unit for number, unit in zip(match.groups(), (3600, 60, 1))) if match else 0
    if not 1 <= seconds <= 366 * 86_400:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a duration; write it as 90s, 45m, 8h or 1h30m")
    return seconds


def parse_amount(text: str) -> float:
    """Return an amount in US dollars, more than 0."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text, re.ASCII) or not float(text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not an amount in US dollars; write it as 5 or 2.50")
    return float(text)


def parse_glob(text: str) -> str:
    """Return a pattern as in .gitignore unchanged; one that begins with `!` would exclude from what is kept."""
    if not text.strip() or text.startswith("!") or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is not a pattern of paths; write it as `.cache/` or `/target`")
    return text


def parse_permission_rule(text: str) -> str:
    """Return a permission rule of Claude Code unchanged."""
    if not _RULE.fullmatch(text) or not text.isprintable():
        raise argparse.ArgumentTypeError(
            f"{text[:60]!r} is not a permission rule; write it as `Bash(make:*)`, `WebFetch` or `mcp__server__tool`"
        )
    return text
