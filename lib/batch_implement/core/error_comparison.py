"""Compare the error messages of two attempts by what failed. Pure, and linear in the length of a message.

Names count: of tests, files and errors. What differs from one run of the same code to the next does not: temporary and
private paths, addresses, times, durations, sizes, hexadecimal ids, line numbers and other numbers on their own.
"""

from __future__ import annotations

import re

MAX_CHARS = 8000  # of a message that are compared

_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_VARYING = re.compile(
    "|".join((
        r"(?P<name>\w\[[^\]\s]{0,200}\])",  # `test_add[1-2]`: numbers in brackets name the case of a test
        r"(?<![\w.-])(?:/private)?/(?:tmp|var/tmp|var/folders/[^/\s]+/[^/\s]+/T|dev/shm)/"
        r"(?:pytest-of-[^/\s]+/pytest-\d+|[^/\s\"'`:;,()<>\[\]]+)",
        r"\btmp(?=[a-z_]*\d)[a-z0-9_]{8}\b",  # as tempfile names things
        r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z| ?[+-]\d\d:?\d\d)?)?\b",
        rf"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:\d\d? {_MONTH}|{_MONTH} \d\d?)\b",
        r"\b\d\d?:\d\d(?::\d\d)? ?[AaPp]M\b",
        r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
        r"\b0x[0-9a-fA-F]+\b",
        r"\b(?=[a-f]*\d)[0-9a-f]{7,64}\b|\b(?=[A-F]*\d)[0-9A-F]{7,64}\b",
        r"(?<![\w./-])(?:\d+(?:\.\d+)?(?:ns|us|\u00b5s|ms|s|sec|m|min|h|[kKMGT]i?B|B|%))+(?!\w)",
        r"(?<=:)\d+(?=/)",  # the port of a URL
        r"(?<![\w./-])-?\d+(?:[.,:/-]\d+)*(?![\w/-]|\.\w)",
    ))
)  # fmt: skip
_PRIVATE_FOLDER = "/batch-implement/"  # logs in it are named after attempt and commit


def is_same_error(first: str, second: str, first_branch: str = "", second_branch: str = "") -> bool:
    """Return whether two messages say that the same failed. A branch is that of the attempt: its last part names the
    attempt's worktree.
    """
    return _comparable_text(first, first_branch) == _comparable_text(second, second_branch)


def _comparable_text(message: str, branch: str) -> str:
    worktree = "/" + branch.rpartition("/")[2]
    words = (_comparable_word(word, worktree) for word in message[:MAX_CHARS].split())
    return _VARYING.sub(lambda match: match["name"] or "#", " ".join(words))


def _comparable_word(word: str, worktree: str) -> str:
    """Return a word without the path of the attempt's worktree; `#` for a path in a private folder."""
    if _PRIVATE_FOLDER in word:
        return "#"
    _, mark, rest = word.rpartition(worktree)
    is_path = mark and len(worktree) > 1 and not (rest[:1].isalnum() or rest[:1] in ("-", "_"))
    return f"#{rest}" if is_path else word
