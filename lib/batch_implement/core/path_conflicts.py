"""Who changes which paths: features that name the same file or folder are not done side by side.

    taken = Claims()
    taken.add(3, ["src/", "docs/*.md"])
    taken.conflicting_number(["src/a.py"])    3, the lowest number with a conflicting path; None without a conflict
    beside([(0, ["src/"]), (1, ["src/a.py"])], most=5)      {0: [1], 1: [0]}: the first others that are in the way

What a look costs grows with the depth of the paths, not with the number of those that have claimed any: a run asks for
each of thousands of features beside hundreds that are under way. A pattern stands for the folder before its first `*`,
`?` or `[`. No path claims nothing. Nothing here touches a file.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Set, Tuple

    Parts = Tuple[str, ...]


class PathClaims:
    """The paths that numbers have claimed."""

    def __init__(self) -> None:
        self.claimed: Dict[Parts, int] = {}
        self.holding: Dict[Parts, int] = {}  # the folders above what is claimed, and it itself

    def add(self, number: int, paths: Sequence[str]) -> None:
        """Let `number` have these paths, beside whoever has them already."""
        for path in paths:
            parts = _literal_parts(path)
            self.claimed[parts] = min(number, self.claimed.get(parts, number))
            for length in range(len(parts) + 1):
                above = parts[:length]
                self.holding[above] = min(number, self.holding.get(above, number))

    def conflicting_number(self, paths: Sequence[str]) -> Optional[int]:
        """The lowest number that has claimed one of these paths, something inside one, or a folder that one is in."""
        found: List[int] = []
        for path in paths:
            parts = _literal_parts(path)
            if parts in self.holding:
                found.append(self.holding[parts])
            above = (parts[:length] for length in range(len(parts)))
            found += [self.claimed[folder] for folder in above if folder in self.claimed]
        return min(found) if found else None


def find_conflicts(claims: Sequence[Tuple[int, Sequence[str]]], most: int) -> Dict[int, List[int]]:
    """For each number the first `most` of the others, in the order given, that name the same file or folder, or one
    inside another. Numbers are given once.
    """
    claimed: Dict[Parts, List[int]] = {}
    holding: Dict[Parts, List[int]] = {}

    def note(known: Dict[Parts, List[int]], parts: Parts, place: int) -> None:
        places = known.setdefault(parts, [])
        if len(places) <= most and place not in places:  # one more than is told: the number itself is among them
            places.append(place)

    for place, (_, paths) in enumerate(claims):
        for path in paths:
            parts = _literal_parts(path)
            note(claimed, parts, place)
            for length in range(len(parts) + 1):
                note(holding, parts[:length], place)
    told: Dict[int, List[int]] = {}
    for place, (number, paths) in enumerate(claims):
        found: Set[int] = set()
        for path in paths:
            parts = _literal_parts(path)
            found.update(holding.get(parts, ()))
            for length in range(len(parts)):
                found.update(claimed.get(parts[:length], ()))
        told[number] = [claims[other][0] for other in sorted(found - {place})[:most]]
    return told


def paths_overlap(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two lists of paths name the same file or folder, or one inside another."""
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
