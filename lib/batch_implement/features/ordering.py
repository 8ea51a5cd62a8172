"""In which order features are done: what each needs, the order that follows, and what of it is only a hint. Pure.

    needs = resolve(items)                 each feature's index -> the indices that it needs
    found = hints(items, bodies)           what the texts suggest without saying it
    heeded = with_hints(needs, found)      only when a person asked for it
    way = order(len(items), heeded, [item.text for item in items])
    analysis(needs, way, found, taken=True)

An `Item` is a feature as its source lists it; its place in the list, from 0, is its index. A reference is `#12` (an
issue), an id in any case, or a number, from 1 as listed. People read numbers, the state holds indices.

What a person said is taken at its word or refused as Misuse: an unknown or ambiguous reference, a feature that needs
itself, a circle. What a text merely suggests (`suggestions`) is a hint, and never contradicts what was said.
"""

from __future__ import annotations

import re
from heapq import heappop, heappush
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

from ..core.errors import UsageError
from .order_hints import find_suggestions, quote_text

TEXTS_SHOWN = 20  # a longer circle is told in numbers alone
HINTS_KEPT = 200
MAX_DIGITS = 9


class Item(NamedTuple):
    """A feature: its text, its id and issue (None without), what it says it needs, its line from 1 (0: unknown)."""

    text: str
    name: Optional[str] = None
    issue: Optional[int] = None
    depends_on: Sequence[str] = ()
    line: int = 0


class DependencyError(UsageError):
    """A reference that cannot be resolved, or a cycle; `index` is that of the feature (the first one of a cycle)."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message, "feature-order")
        self.index = index


class Hint(NamedTuple):
    """Feature `index` seems to need feature `needs`; `why` is a phrase that quotes what suggests it."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which makes no sense here
    needs: int
    why: str


# -- what was said ----------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(#?)([0-9]+)")


class _Index(NamedTuple):
    """What features can be called: id in lower case -> indices, issue -> indices."""

    ids: Dict[str, List[int]]
    issues: Dict[int, List[int]]
    total: int


def _build_index(items: Sequence[Item]) -> _Index:
    names = _Index({}, {}, len(items))
    for index, item in enumerate(items):
        if item.name:
            names.ids.setdefault(item.name.casefold(), []).append(index)
        if item.issue is not None:
            names.issues.setdefault(item.issue, []).append(index)
    return names


def _look_up(reference: str, names: _Index) -> List[int]:
    """Indices that a reference can mean: none when it is unknown, several when it is ambiguous."""
    number = _NUMBER.fullmatch(reference)
    by_id = names.ids.get(reference.casefold(), [])
    if number is None:
        return by_id
    value = int(number[2]) if len(number[2]) <= MAX_DIGITS else 0  # 0 is neither a feature nor an issue
    by_issue = names.issues.get(value, [])
    if number[1]:
        return by_issue
    return sorted({*by_id, *by_issue, *([value - 1] if 1 <= value <= names.total else [])})


def resolve_dependencies(items: Sequence[Item]) -> Dict[int, List[int]]:
    """Each feature's index -> sorted indices of the features that it says it needs; only those that need something.

    Raises Misuse, naming the feature and the reference, when that is unknown, ambiguous or the feature itself.
    """
    names = _build_index(items)
    needs: Dict[int, List[int]] = {}
    for index, item in enumerate(items):
        wanted: Set[int] = set()
        for written in item.depends_on:
            reference = written.strip()
            found = _look_up(reference, names)
            if len(found) != 1 or found[0] == index:
                problem = _describe_bad_reference(reference, index, found, items, names)
                subject = f"Feature {_describe_feature(index, item)} needs `{quote_text(reference)}`"
                raise DependencyError(f"{subject}{problem}", index)
            wanted.add(found[0])
        if wanted:
            needs[index] = sorted(wanted)
    return needs


def _describe_bad_reference(reference: str, index: int, found: List[int], items: Sequence[Item], names: _Index) -> str:
    """How the sentence `Feature N needs R` goes on when R is not one other feature."""
    if found == [index]:
        return ", which is the feature itself. Take it out, or name the one that was meant."
    if len(found) > 1:
        both = " or ".join(_describe_feature(other, items[other]) for other in found[:2])
        if _NUMBER.fullmatch(reference) is None:
            return f", but several features have this id: {both}. Give each an id of its own."
        if reference.startswith("#"):
            return f", but several features are this issue: {both}. Leave one of them out."
        ways = ", ".join(_suggest_reference(other, items[other], names) for other in found[:2])
        return f", which may be a number as listed or an issue: feature {both}. Write {ways}."
    if _NUMBER.fullmatch(reference) is None:
        return _describe_unknown_id(reference, items, names)
    number = reference.lstrip("#0") or "0"
    if not reference.startswith("#"):
        issue = f", and issue #{number[:20]} is not in this batch" if names.issues else ""
        return f", but the features are numbered 1 to {names.total}{issue}. Is one missing, or was the list renumbered?"
    if names.issues:
        there = ", ".join(f"#{issue}" for issue in sorted(names.issues)[:10])
        there += ", ..." if len(names.issues) > 10 else ""
        return f", but this issue is not in this batch ({there}). If it is closed, take this out; else add the issue."
    instead = f" Write `{number}` for feature {number}." if _look_up(number, names) else ""
    return f", but no feature of this batch comes from an issue.{instead or ' Name an id or a number.'}"


def _suggest_reference(index: int, item: Item, names: _Index) -> str:
    """What to write for a feature that a bare number cannot name."""
    if item.issue is not None and names.issues[item.issue] == [index]:
        return f"`#{item.issue}` for feature {index + 1}"
    if item.name and not _NUMBER.fullmatch(item.name):
        return f"`{quote_text(item.name)}` for feature {index + 1}"
    return f"an id for feature {index + 1}, which has none yet"


def _describe_unknown_id(reference: str, items: Sequence[Item], names: _Index) -> str:
    from difflib import get_close_matches

    if not reference:
        return ", which is empty. Name an id or a number, or take it out."
    numbers = f"a number, 1 to {names.total}" + (", or an issue, as `#12`" if names.issues else "")
    near = get_close_matches(reference.casefold(), names.ids, 1)
    if near:
        other = names.ids[near[0]][0]
        return f", but no feature has this id. Was `{quote_text(items[other].name or '')}` meant, feature {other + 1}?"
    if names.ids:
        return f", but no feature has this id or one like it. Name an id or {numbers}."
    return f", but no feature of this batch has an id. Name {numbers}."


def _describe_feature(index: int, item: Item) -> str:
    line = f"line {item.line}, " if item.line else ""
    return f"{index + 1} ({line}`{quote_text(item.text)}`)"


# -- the order --------------------------------------------------------------------------------------------------------


def sort_features(total: int, needs: Mapping[int, Sequence[int]], texts: Sequence[str] = ()) -> List[int]:
    """All indices, each after what it needs: at every step the first as listed whose needs are all there.

    `needs` has indices below `total`; `texts` are the features' for the message. A circle raises Misuse that names
    every feature on it.
    """
    left = [0] * total
    needed_by: List[List[int]] = [[] for _ in range(total)]
    for index, wanted in needs.items():
        left[index] = len(wanted)
        for other in wanted:
            needed_by[other].append(index)
    ready = [index for index in range(total) if not left[index]]  # sorted, so it is a heap
    found: List[int] = []
    while ready:
        index = heappop(ready)
        found.append(index)
        for other in needed_by[index]:
            left[other] -= 1
            if not left[other]:
                heappush(ready, other)
    if len(found) < total:
        raise _cycle_error(needs, left, texts)
    return found


def _cycle_error(needs: Mapping[int, Sequence[int]], left: List[int], texts: Sequence[str]) -> DependencyError:
    """Return the error about a cycle among the features that have needs `left`, from its first feature as listed."""
    index = next(index for index, count in enumerate(left) if count)
    visited: Dict[int, None] = {}
    while index not in visited:
        visited[index] = None
        index = next(other for other in needs[index] if left[other])
    cycle = list(visited)
    cycle = cycle[cycle.index(index) :]
    first = cycle.index(min(cycle))
    cycle = cycle[first:] + cycle[:first]
    with_texts = texts and len(cycle) <= TEXTS_SHOWN
    names = [f"{index + 1} (`{quote_text(texts[index])}`)" if with_texts else str(index + 1) for index in cycle]
    rest = ", which needs ".join([*names[1:], str(cycle[0] + 1)])
    message = f"The dependencies form a cycle: {names[0]} needs {rest}. Remove one of them."
    return DependencyError(message, cycle[0])


# -- what is only suggested -------------------------------------------------------------------------------------------


def find_hints(items: Sequence[Item], bodies: Sequence[str]) -> List[Hint]:
    """What the texts, and the issues' `bodies` (one an item, empty without), suggest that was not said.

    In the order of the items, each pair once, at most `suggestions.A_FEATURE` for one feature. Never what the items say
    already, directly or not, and never what would close a circle with that or with an earlier hint. Raises Misuse as
    `resolve` and `order` do.
    """
    names, needs = _build_index(items), resolve_dependencies(items)
    texts = [item.text for item in items]
    sort_features(len(items), needs, texts)
    needed_by: Dict[int, List[int]] = {}
    for index, wanted in needs.items():
        for other in wanted:
            needed_by.setdefault(other, []).append(index)
    found: List[Hint] = []
    for index, pairs in enumerate(find_suggestions(texts, bodies, lambda reference: _look_up(reference, names))):
        unwanted = _reachable_from(needs, index) | _reachable_from(needed_by, index) if pairs else set()
        for other, why in pairs.items():
            if other not in unwanted:
                needed_by.setdefault(other, []).append(index)
                found.append(Hint(index, other, why))
    return found


def _reachable_from(edges: Mapping[int, Sequence[int]], start: int) -> Set[int]:
    """`start` and all that can be reached from it."""
    reached, waiting = {start}, [start]
    while waiting:
        for other in edges.get(waiting.pop(), ()):
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    return reached


def add_hints(needs: Mapping[int, Sequence[int]], found: Sequence[Hint]) -> Dict[int, List[int]]:
    """`needs` with what the hints suggest added; `needs` stays untouched."""
    joined = {index: set(wanted) for index, wanted in needs.items()}
    for hint in found:
        joined.setdefault(hint.index, set()).add(hint.needs)
    return {index: sorted(wanted) for index, wanted in sorted(joined.items())}


def build_analysis(
    needs: Mapping[int, Sequence[int]], order: Sequence[int], hints: Sequence[Hint], taken: bool
) -> Dict[str, Any]:
    """What the state's `analysis_metadata` holds, plain JSON.

    `needs` is what was said, without hints; `order` is the whole order, which heeds the hints too if they were
    `taken`. `explicit` counts dependencies, `depth` the features of the longest chain (0 without any feature). Of the
    hints the first HINTS_KEPT are kept.
    """
    heeded = add_hints(needs, hints if taken else ())
    depth: Dict[int, int] = {}
    for index in order:
        depth[index] = 1 + max((depth[other] for other in heeded.get(index, ())), default=0)
    kept = [{"feature_index": hint.index, "needs": hint.needs, "why": hint.why} for hint in hints[:HINTS_KEPT]]
    return {
        "explicit": sum(map(len, needs.values())),
        "hints": kept,
        "inferred": taken,
        "reordered": any(index != place for place, index in enumerate(order)),
        "depth": max(depth.values(), default=0),
    }
