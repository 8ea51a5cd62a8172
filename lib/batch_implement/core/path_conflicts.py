"""Path conflicts: features that name the same file or folder do not run in parallel. Pure.

    claims = PathClaims()
    claims.add(3, ["src/", "docs/*.md"])
    claims.conflicting_number(["src/a.py"])               3, the lowest number with a conflicting path
    find_conflicts([(0, ["src/"]), (1, ["src/a.py"])], most=5)                     {0: [1], 1: [0]}

A pattern stands for the folder before its first `*`, `?` or `[`. A lookup costs by the depth of the paths, not by the
number of claims: a run checks thousands of features against hundreds of running ones.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Set, Tuple

    Parts = Tuple[str, ...]


class PathClaims:
    """The paths that numbers claim. Lookups find the `most` lowest numbers."""

    def __init__(self, most: int = 1) -> None:
        self._most = most
        self._claimed: Dict[Parts, List[int]] = {}
        self._containing: Dict[Parts, List[int]] = {}  # each claimed path and the folders above it

    def add(self, number: int, paths: Sequence[str]) -> None:
        """Claim `paths` for `number`; others may have claimed them, too."""
        for path in paths:
            parts = _literal_parts(path)
            self._insert(self._claimed, parts, number)
            for length in range(len(parts) + 1):
                self._insert(self._containing, parts[:length], number)

    def conflicting_numbers(self, paths: Sequence[str]) -> List[int]:
        """Return the numbers that claim one of `paths`, a path inside one, or a folder above one, the lowest first."""
        numbers: Set[int] = set()
        for path in paths:
            parts = _literal_parts(path)
            numbers.update(self._containing.get(parts, ()))
            for length in range(len(parts)):
                numbers.update(self._claimed.get(parts[:length], ()))
        return sorted(numbers)[: self._most]

    def conflicting_number(self, paths: Sequence[str]) -> Optional[int]:
        """Return the lowest of `conflicting_numbers`, or None."""
        return next(iter(self.conflicting_numbers(paths)), None)

    def _insert(self, known: Dict[Parts, List[int]], parts: Parts, number: int) -> None:
        numbers = known.setdefault(parts, [])
        if number not in numbers:
            numbers.append(number)
            numbers.sort()
            del numbers[self._most :]


def find_conflicts(claims: Sequence[Tuple[int, Sequence[str]]], most: int) -> Dict[int, List[int]]:
    """Return for each number the first `most` others, in the given order, with conflicting paths."""
    positions = PathClaims(most + 1)  # one more, because a position is among its own conflicts
    for position, (_, paths) in enumerate(claims):
        positions.add(position, paths)
    return {
        number: [claims[other][0] for other in positions.conflicting_numbers(paths) if other != position][:most]
        for position, (number, paths) in enumerate(claims)
    }


def _literal_parts(path: str) -> Parts:
    parts: List[str] = []
    for part in path.split("/"):
        if any(mark in part for mark in "*?["):
            break
        if part not in ("", "."):
            parts.append(part)
    return tuple(parts)
