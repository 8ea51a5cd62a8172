"""Spell the ids of tasks as ids of features: letters, digits, `.`, `_` and `-`, not digits alone. Pure."""

from __future__ import annotations

import re

from ...base.text import clean
from ..feature_list import IDENTIFIER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Set, Tuple

MAX_ID_CHARS = 64
SHOWN_AT_MOST = 10


def make_ids(written: Sequence[str], prefix: str) -> Tuple[List[str], List[str]]:
    """Return the id of each feature (empty where nothing is written), each different, and notes on those that changed.

    `prefix` is put before digits alone.
    """
    taken: Set[str] = {each.casefold() for each in written if IDENTIFIER.fullmatch(each)}
    used: Set[str] = set()
    ids: List[str] = []
    numbers: List[str] = []
    changed: List[Tuple[str, str]] = []
    for each in written:
        identifier = _spell_id(each, prefix, taken, used) if each.strip() else ""
        used.add(identifier.casefold())
        ids.append(identifier)
        if identifier != each:
            if identifier == prefix + each:
                numbers.append(each)
            else:
                changed.append((each, identifier))
    notes = []
    if numbers:
        notes.append(f"Ids of digits alone begin with `{prefix}` here: `{numbers[0]}` is `{prefix}{numbers[0]}`.")
    if changed:
        shown = [f"`{clean(each)[:64]}` is `{identifier}`" for each, identifier in changed]
        more = f", and {len(shown) - SHOWN_AT_MOST} more" if len(shown) > SHOWN_AT_MOST else ""
        notes.append(f"Ids that cannot be used as written: {', '.join(shown[:SHOWN_AT_MOST])}{more}.")
    return ids, notes


def _spell_id(written: str, prefix: str, taken: Set[str], used: Set[str]) -> str:
    """Return the id nearest to what is written that no other feature has."""
    if IDENTIFIER.fullmatch(written) and written.casefold() not in used:
        return written
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", written).strip("-")
    if not base or base.isdigit():
        base = prefix + base
    base = base[: MAX_ID_CHARS - 5]
    candidate, number = base, 2
    while candidate.casefold() in taken or candidate.casefold() in used:
        candidate = f"{base}-{number}"
        number += 1
    return candidate
