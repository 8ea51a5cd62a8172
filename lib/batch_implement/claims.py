"""Who changes which paths: features that name the same file or folder are not done side by side.

    taken = Claims()
    taken.add(3, ["src/", "docs/*.md"])
    taken.holder(["src/a.py"])                3: the lowest number of those that are in the way; None when nobody is

What a look costs grows with the depth of the paths, not with the number of those that have claimed any: a run asks for
each of thousands of features beside hundreds that are under way. A pattern stands for the folder before its first `*`,
`?` or `[`. No path claims nothing. Nothing here touches a file.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Tuple

    Parts = Tuple[str, ...]


class Claims:
    """The paths that numbers have claimed."""

    def __init__(self) -> None:
        self.claimed: Dict[Parts, int] = {}
        self.holding: Dict[Parts, int] = {}  # the folders above what is claimed, and it itself

    def add(self, number: int, paths: Sequence[str]) -> None:
        """Let `number` have these paths, beside whoever has them already."""
        for path in paths:
            parts = _fixed(path)
            self.claimed[parts] = min(number, self.claimed.get(parts, number))
            for length in range(len(parts) + 1):
                above = parts[:length]
                self.holding[above] = min(number, self.holding.get(above, number))

    def holder(self, paths: Sequence[str]) -> Optional[int]:
        """The lowest number that has claimed one of these paths, something inside one, or a folder that one is in."""
        found: List[int] = []
        for path in paths:
            parts = _fixed(path)
            if parts in self.holding:
                found.append(self.holding[parts])
            above = (parts[:length] for length in range(len(parts)))
            found += [self.claimed[folder] for folder in above if folder in self.claimed]
        return min(found) if found else None


def overlap(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two lists of paths name the same file or folder, or one inside another."""
    claims = Claims()
    claims.add(0, first)
    return claims.holder(second) is not None


def _fixed(path: str) -> Parts:
    parts: List[str] = []
    for part in path.split("/"):
        if any(mark in part for mark in "*?["):
            break
        if part not in ("", "."):
            parts.append(part)
    return tuple(parts)
