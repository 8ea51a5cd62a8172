"""Find what the items of a list say that they need: names at the start of a text, and lines like `Depends on: 1.2`.

    leading_name("T012 [P] Add a page")             'T012', which stays in the text
    read_need_line("**Depends on:** T003, 1.2")     Need("depends on", ["T003", "1.2"], ...); None for another line
    read_near_miss("needs 1 and 2")                 ['1', '2'], for what is in the brackets at the end of a text

Pure. The texts are untrusted: they are searched within bounds.
"""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional

MAX_LINE = 500  # a longer line says nothing of the kind

# The words that mean `after`: before a colon all of them, in brackets without one as well.
_NEEDS = (
    r"after|needs?|requires?|depends?(?:[ _-]*(?:up)?on)?|depend(?:s|ent|ant|ing)[ _-]*on|depend[ae]nc(?:y|ies)|deps?|"
    r"blocked[ _-]*(?:by|on)|prerequisites?|prereqs?"
)
# Lines below an item begin with words that are hardly prose.
_NEED_LINE = re.compile(
    r"(?:[-*+]\s+)?[*_]{0,3}(?P<word>depends?(?:[ _-]+on)?|depend[ae]nc(?:y|ies)|blocked[ _-]by|requires|needs|after|"
    r"prerequisites?)[*_]{0,3}\s*:[*_]{0,3}\s*(?P<list>\S.*)",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"(?:none|nothing|no|n/a|nil|-+|\u2013|\u2014)(?:\W.*)?", re.IGNORECASE)
_SEPARATOR = re.compile(r" ?(?:[,;&]|\band\b|\bund\b) ?(?:and )?", re.IGNORECASE)
_PART = re.compile(
    r"(?:(?:tasks?|features?|items?|steps?|issues?|story|stories|no\.?|box(?:es)?)\s+)?[`*_\[]{0,3}"
    r"(?P<name>#[1-9][0-9]{0,8}|[A-Za-z0-9][A-Za-z0-9._-]{0,63})[`*_\]]{0,3}(?:\s*\([^()]{0,80}\))?",
    re.IGNORECASE,
)
_STRICT = re.compile(r"#?[0-9]{1,5}|[0-9]+(?:\.[0-9]+)+|[A-Z]{1,8}-?[0-9]{1,6}(?:\.[0-9]+)*[a-z]?")
_NEAR_MISS = re.compile(
    rf"\s*(?P<word>{_NEEDS})\s*(?P<colon>:)?\s+(?P<list>\S.*)|\s*(?P<other>[A-Za-z]{{4,6}})\s*:(?P<rest>.+)", re.I
)
_NAME = re.compile(
    r"[*_`]{0,3}\[?(?P<name>[0-9]{1,4}(?:\.[0-9]{1,4}){1,5}|[A-Z][A-Za-z]{0,7}-?[0-9]{1,6}(?:\.[0-9]{1,4}){0,4}[a-z]?)"
    r"\]?[*_`]{0,3}[.:)]?[*_`]{0,3}(?=\s|$)"
)
_NAME_START = re.compile(
    r"[*_`]{0,3}\[?(?:(?:(?:task|step|feature|story)\s+)?[0-9]{1,5}[.:)]|[A-Z]{1,8}-?[0-9])", re.IGNORECASE
)
_NUMBER = re.compile(r"[*_`]{0,3}(?:(?:task|step|feature|story)\s+)?(?P<number>[0-9]{1,5})[.:)][*_`]{0,3}(?=\s)", re.I)
_TASK_NAME = re.compile(r"[*_`]{0,3}(?:task|step|feature|story)\s+(?P<name>[0-9]{1,4}(?:\.[0-9]{1,4}){1,5})\b", re.I)


class Need(NamedTuple):
    """A line about what an item needs: its word, the references in it (None if it is prose), and whether it is sure."""

    word: str
    references: Optional[List[str]]
    is_sure: bool


def has_name(text: str) -> bool:
    """Return whether a text may begin with an id or a number; most do not, and then no more is looked for."""
    return _NAME_START.match(text) is not None


def leading_name(text: str) -> str:
    """Return the id that a text begins with, as `1.2`, `T012` or `US-3`; empty if there is none."""
    match = _NAME.match(text) or _TASK_NAME.match(text) if has_name(text) else None
    return match["name"] if match else ""


def leading_number(text: str) -> int:
    """Return the number that a text begins with, as in `2. Add a page` and `Task 2: add a page`; 0 if there is none."""
    match = _NUMBER.match(text) if has_name(text) else None
    return int(match["number"]) if match else 0


def split_references(words: str) -> Optional[List[str]]:
    """Return the references in a list of them, each once; None if it is something else."""
    names: Dict[str, None] = {}
    for part in _SEPARATOR.split(" ".join(words.split()).rstrip(".")):
        match = _PART.fullmatch(part.strip())
        if match is None:
            return None
        names[match["name"]] = None
    return list(names)


def read_need_line(line: str) -> Optional[Need]:
    """Return what a line below an item says that the item needs; None if it says nothing of the kind."""
    match = _NEED_LINE.match(line.strip()) if len(line) <= MAX_LINE and ":" in line else None
    if match is None:
        return None
    word = match["word"].casefold()
    is_sure = word.startswith(("depend", "blocked"))
    words = match["list"].strip().strip("*_").strip()
    if _NOTHING.fullmatch(words):
        return Need(word, [], is_sure)
    return Need(word, split_references(words), is_sure)


def read_near_miss(inner: str) -> Optional[List[str]]:
    """Return the references of what was surely meant as `(after: ...)` and is spelled otherwise; None for prose.

    `inner` is what is between the brackets.
    """
    if len(inner) > MAX_LINE:
        return None
    match = _NEAR_MISS.fullmatch(inner)
    if match is None:
        return None
    if match["other"] is not None:
        references = split_references(match["rest"]) if _is_misspelled_after(match["other"].casefold()) else None
        return references if references and all(map(_STRICT.fullmatch, references)) else None
    references = split_references(match["list"])
    if references is None:
        return None
    is_plain = match["colon"] is None or _is_everyday(match["word"])
    return None if is_plain and not all(map(_STRICT.fullmatch, references)) else references


def is_broken_near_miss(inner: str) -> bool:
    """Return whether what is between brackets names a need with a colon, but nothing that can be referred to."""
    match = _NEAR_MISS.fullmatch(inner) if len(inner) <= MAX_LINE else None
    if match is None or (match["other"] is None and match["colon"] is None):
        return False
    if match["other"] is not None:
        return _is_misspelled_after(match["other"].casefold())
    return not _is_everyday(match["word"])


def _is_everyday(word: str) -> bool:
    """Return whether a word is as likely prose: `(requires: Docker)` names no feature."""
    return word.casefold().startswith(("need", "requir"))


def _is_misspelled_after(word: str) -> bool:
    """Return whether a word is `after` with two letters exchanged, or with one too many or too few."""
    if sorted(word) == sorted("after"):
        return word not in ("after", "trafe")
    longer, shorter = (word, "after") if len(word) > 5 else ("after", word)
    if len(longer) - len(shorter) != 1 or word in ("afters",):
        return False
    return any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))
