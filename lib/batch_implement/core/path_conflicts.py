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
    """The paths that numbers claim."""

    def __init__(self) -> None:
        self._claimed: Dict[Parts, int] = {}
        self._containing: Dict[Parts, int] = {}  # each claimed path and the folders above it

    def add(self, number: int, paths: Sequence[str]) -> None:
        """Claim `paths` for `number`; others may have claimed them, too."""
        for path in paths:
            parts = _literal_parts(path)
            self._claimed[parts] = min(number, self._claimed.get(parts, number))
            for length in range(len(parts) + 1):
                folder = parts[:length]
                self._containing[folder] = min(number, self._containing.get(folder, number))

    def conflicting_number(self, paths: Sequence[str]) -> Optional[int]:
        """Return the lowest number that claims one of `paths`, a path inside one, or a folder above one; or None."""
        numbers: List[int] = []
        for path in paths:
            parts = _literal_parts(path)
            if parts in self._containing:
                numbers.append(self._containing[parts])
            folders = (parts[:length] for length in range(len(parts)))
            numbers += [self._claimed[folder] for folder in folders if folder in self._claimed]
        return min(numbers, default=None)


def find_conflicts(claims: Sequence[Tuple[int, Sequence[str]]], most: int) -> Dict[int, List[int]]:
    """Return for each number the first `most` others, in the given order, with conflicting paths."""
    claimed: Dict[Parts, List[int]] = {}
    containing: Dict[Parts, List[int]] = {}

    def add(known: Dict[Parts, List[int]], parts: Parts, position: int) -> None:
        positions = known.setdefault(parts, [])
        if len(positions) <= most and position not in positions:  # one more than `most`: its own is among them
            positions.append(position)

    for position, (_, paths) in enumerate(claims):
        for path in paths:
            parts = _literal_parts(path)
            add(claimed, parts, position)
            for length in range(len(parts) + 1):
                add(containing, parts[:length], position)
    conflicts: Dict[int, List[int]] = {}
    for position, (number, paths) in enumerate(claims):
        others: Set[int] = set()
        for path in paths:
            parts = _literal_parts(path)
            others.update(containing.get(parts, ()))
            for length in range(len(parts)):
                others.update(claimed.get(parts[:length], ()))
        conflicts[number] = [claims[other][0] for other in sorted(others - {position})[:most]]
    return conflicts


def paths_overlap(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether two lists of paths name the same file or folder, or one inside another."""
    claims = PathClaims()
    claims.add(0, first)
    return claims.conflicting_number(second) is not None


def _literal_parts(path: str) -> Parts:
    parts: List[str] = []
    for part in path.split("/"):
        if any(mark in part for mark in "*?["):
            break
        if part not in ("", "."):
            parts.append(part)
    return tuple(parts)
