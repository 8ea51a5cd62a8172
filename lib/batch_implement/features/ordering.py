"""Decide in which order features are done: what each needs, and what its text only suggests. Pure.

    needs = resolve_dependencies(features)      index of a feature -> indices of the features that it needs
    hints = find_hints(features, bodies)        what the texts suggest without saying it
    needs = add_hints(needs, hints)             only on request
    order = sort_features(len(features), needs, texts)
    build_analysis(needs, order, hints, taken=True)

A feature's index is its place in the list, from 0. A reference is `#12` (an issue), an id in any case, or a number,
from 1 as listed. A DependencyError refuses an unknown or ambiguous reference, a feature that needs itself, and a cycle.
A hint never contradicts what the list says.
"""

from __future__ import annotations

import re
from heapq import heappop, heappush
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Set, Tuple

from ..core import batch_state
from ..core.errors import UsageError
from .feature_list import Feature
from .order_hints import find_suggestions, quote_text

TEXTS_SHOWN = 20  # a longer cycle is shown in numbers alone
HINTS_KEPT = 200
MAX_DIGITS = 9


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


# -- references -------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(#?)([0-9]+)")
_NOTHING: Mapping[Tuple[int, str], Sequence[int]] = {}


class _Index(NamedTuple):
    """The indices of features by id (in lower case) and by issue."""

    ids: Dict[str, List[int]]
    issues: Dict[int, List[int]]
    total: int


def _build_index(features: Sequence[Feature]) -> _Index:
    names = _Index({}, {}, len(features))
    for index, feature in enumerate(features):
        if "id" in feature.details:
            names.ids.setdefault(feature.details["id"].casefold(), []).append(index)
        if feature.issue is not None:
            names.issues.setdefault(feature.issue, []).append(index)
    return names


def _look_up(reference: str, names: _Index) -> List[int]:
    """Return the indices that a reference can mean: none if it is unknown, several if it is ambiguous."""
    number = _NUMBER.fullmatch(reference)
    by_id = names.ids.get(reference.casefold(), [])
    if number is None:
        return by_id
    value = int(number[2]) if len(number[2]) <= MAX_DIGITS else 0  # 0 is neither a feature nor an issue
    by_issue = names.issues.get(value, [])
    if number[1]:
        return by_issue
    return sorted({*by_id, *by_issue, *([value - 1] if 1 <= value <= names.total else [])})


def resolve_dependencies(
    features: Sequence[Feature], resolved: Mapping[Tuple[int, str], Sequence[int]] = _NOTHING
) -> Dict[int, List[int]]:
    """Return the index of each feature that needs others -> the sorted indices of those. Raises DependencyError.

    `resolved` has what the source itself knows about references (see `Listing`).
    """
    names = _build_index(features)
    needs: Dict[int, List[int]] = {}
    for index, feature in enumerate(features):
        wanted: Set[int] = set()
        for written in feature.details.get("depends_on", ()):
            reference = written.strip()
            if (index, reference) in resolved:
                wanted.update(resolved[index, reference])
                continue
            matches = _look_up(reference, names)
            if len(matches) != 1 or matches[0] == index:
                problem = _describe_bad_reference(reference, index, matches, features, names)
                subject = f"Feature {_describe_feature(index, feature)} needs `{quote_text(reference)}`"
                raise DependencyError(f"{subject}, {problem}", index)
            wanted.add(matches[0])
        if wanted:
            needs[index] = sorted(wanted)
    return needs


def _describe_bad_reference(
    reference: str, index: int, matches: List[int], features: Sequence[Feature], names: _Index
) -> str:
    """Return how the sentence `Feature N needs R, ` continues for an R that is not one other feature."""
    if matches == [index]:
        return "which is the feature itself. Remove it, or name the one that was meant."
    if len(matches) > 1:
        both = " or ".join(_describe_feature(other, features[other]) for other in matches[:2])
        if _NUMBER.fullmatch(reference) is None:
            return f"but several features have this id: {both}. Give each an id of its own."
        if reference.startswith("#"):
            return f"but several features are this issue: {both}. Remove one of them."
        ways = ", ".join(_suggest_reference(other, features[other], names) for other in matches[:2])
        return f"which may be a number as listed or an issue: feature {both}. Write {ways}."
    if _NUMBER.fullmatch(reference) is None:
        return _describe_unknown_id(reference, features, names)
    number = reference.lstrip("#0") or "0"
    if not reference.startswith("#"):
        issue = f", and issue #{number[:20]} is not in this batch" if names.issues else ""
        return f"but the features are numbered 1 to {names.total}{issue}. Is one missing, or was the list renumbered?"
    if names.issues:
        known = ", ".join(f"#{issue}" for issue in sorted(names.issues)[:10])
        known += ", ..." if len(names.issues) > 10 else ""
        return f"but this issue is not in this batch ({known}). If it is closed, remove this; else add the issue."
    instead = f"Write `{number}` for feature {number}." if _look_up(number, names) else "Name an id or a number."
    return f"but no feature of this batch comes from an issue. {instead}"


def _suggest_reference(index: int, feature: Feature, names: _Index) -> str:
    """Return what to write for a feature that a bare number cannot name."""
    if feature.issue is not None and names.issues[feature.issue] == [index]:
        return f"`#{feature.issue}` for feature {index + 1}"
    identifier = feature.details.get("id")
    if identifier and not _NUMBER.fullmatch(identifier):
        return f"`{quote_text(identifier)}` for feature {index + 1}"
    return f"an id for feature {index + 1}, which has none yet"


def _describe_unknown_id(reference: str, features: Sequence[Feature], names: _Index) -> str:
    from difflib import get_close_matches

    if not reference:
        return "which is empty. Name an id or a number, or remove it."
    numbers = f"a number, 1 to {names.total}" + (", or an issue, as `#12`" if names.issues else "")
    near = get_close_matches(reference.casefold(), names.ids, 1)
    if near:
        other = names.ids[near[0]][0]
        meant = quote_text(features[other].details["id"])
        return f"but no feature has this id. Did you mean `{meant}`, feature {other + 1}?"
    if names.ids:
        return f"but no feature has this id or a similar one. Name an id or {numbers}."
    return f"but no feature of this batch has an id. Name {numbers}."


def _describe_feature(index: int, feature: Feature) -> str:
    line = f"line {feature.line}, " if feature.line else ""
    return f"{index + 1} ({line}`{quote_text(feature.text)}`)"


# -- the order --------------------------------------------------------------------------------------------------------


def sort_features(total: int, needs: Mapping[int, Sequence[int]], texts: Sequence[str] = ()) -> List[int]:
    """Return all indices, each after what it needs: at every step the first as listed whose needs are met.

    `needs` has indices below `total`; `texts` are shown in messages. Raises DependencyError with all features of a
    cycle.
    """
    left = [0] * total
    needed_by: List[List[int]] = [[] for _ in range(total)]
    for index, wanted in needs.items():
        left[index] = len(wanted)
        for other in wanted:
            needed_by[other].append(index)
    ready = [index for index in range(total) if not left[index]]  # sorted, so it is a heap
    order: List[int] = []
    while ready:
        index = heappop(ready)
        order.append(index)
        for other in needed_by[index]:
            left[other] -= 1
            if not left[other]:
                heappush(ready, other)
    if len(order) < total:
        raise _cycle_error(needs, texts)
    return order


def _cycle_error(needs: Mapping[int, Sequence[int]], texts: Sequence[str]) -> DependencyError:
    """Return the error about a cycle in `needs`, from its first feature as listed."""
    cycle = batch_state.find_cycle({batch_state.key(index): list(needs[index]) for index in sorted(needs)})[:-1]
    first = cycle.index(min(cycle))
    cycle = cycle[first:] + cycle[:first]
    with_texts = texts and len(cycle) <= TEXTS_SHOWN
    names = [f"{index + 1} (`{quote_text(texts[index])}`)" if with_texts else str(index + 1) for index in cycle]
    rest = ", which needs ".join([*names[1:], str(cycle[0] + 1)])
    message = f"The dependencies form a cycle: {names[0]} needs {rest}. Remove one of them."
    return DependencyError(message, cycle[0])


# -- hints -------------------------------------------------------------------------------------------------------------


def find_hints(
    features: Sequence[Feature], bodies: Sequence[str], resolved: Mapping[Tuple[int, str], Sequence[int]] = _NOTHING
) -> List[Hint]:
    """Return what the texts and the issues' `bodies` (one for each feature, may be empty) suggest without saying it.

    In the order of the features, each pair once. Never what the list says already, directly or not, and never what
    would close a cycle with that or with an earlier hint. Raises DependencyError.
    """
    names, needs = _build_index(features), resolve_dependencies(features, resolved)
    texts = [feature.text for feature in features]
    sort_features(len(features), needs, texts)
    needed_by: Dict[int, List[int]] = {}
    for index, wanted in needs.items():
        for other in wanted:
            needed_by.setdefault(other, []).append(index)
    hints: List[Hint] = []
    for index, suggestions in enumerate(find_suggestions(texts, bodies, lambda reference: _look_up(reference, names))):
        related = _reachable_from(needs, index) | _reachable_from(needed_by, index) if suggestions else set()
        for other, reason in suggestions.items():
            if other not in related:
                needed_by.setdefault(other, []).append(index)
                hints.append(Hint(index, other, reason))
    return hints


def _reachable_from(edges: Mapping[int, Sequence[int]], start: int) -> Set[int]:
    """Return `start` and all that can be reached from it."""
    reached, waiting = {start}, [start]
    while waiting:
        for other in edges.get(waiting.pop(), ()):
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    return reached


def add_hints(needs: Mapping[int, Sequence[int]], hints: Sequence[Hint]) -> Dict[int, List[int]]:
    """Return `needs` with what the hints suggest; `needs` itself is not changed."""
    joined = {index: set(wanted) for index, wanted in needs.items()}
    for hint in hints:
        joined.setdefault(hint.index, set()).add(hint.needs)
    return {index: sorted(wanted) for index, wanted in sorted(joined.items())}


def build_analysis(
    needs: Mapping[int, Sequence[int]], order: Sequence[int], hints: Sequence[Hint], taken: bool
) -> Dict[str, Any]:
    """Return what the state keeps in `analysis_metadata`.

    `needs` are without hints, `order` is with them if they were `taken`. `explicit` counts dependencies, `depth` the
    features of the longest chain. Of the hints the first 200 are kept.
    """
    all_needs = add_hints(needs, hints if taken else ())
    depth: Dict[int, int] = {}
    for index in order:
        depth[index] = 1 + max((depth[other] for other in all_needs.get(index, ())), default=0)
    kept = [{"feature_index": hint.index, "needs": hint.needs, "why": hint.why} for hint in hints[:HINTS_KEPT]]
    return {
        "explicit": sum(map(len, needs.values())),
        "hints": kept,
        "inferred": taken,
        "reordered": any(index != place for place, index in enumerate(order)),
        "depth": max(depth.values(), default=0),
    }
