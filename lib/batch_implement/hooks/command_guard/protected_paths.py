"""The protected paths of a project, and whether a path of a shell command names one of them.

    names = ProtectedNames(user_commands=frozenset({"abort", "skip"}), roots=("/home/me/project",))
    names.touches("docs/../.claude/batch_*", cwd="/home/me/project")    # True
    names.touches(".claude", cwd="/home/me/project")                    # False
    names.touches(".claude", cwd="/home/me/project", deep=True)         # True: the folder contains it

Paths are text: no file is read and no link followed. An unknown part of a path is `ANY`; a known place without a known
name starts with `ROOT`, `HOME` or `TEMP`. Globs match everything they could expand to, and a path with an unknown start
is taken to end anywhere below the root.

Nothing here raises. Time is linear in the length of a path; a path of more than 4,096 characters matches nothing.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False  # `typing` costs a hook more than the work it does
if TYPE_CHECKING:
    from typing import Iterator, Optional

ANY = "\0"  # text that is not known; NUL cannot occur in a shell word
ROOT, HOME, TEMP = "/\0root", "/\0home", "/\0temp"  # the project's root, a home folder, one for temporary files
TEMPORARY = re.compile(r"(?<!at)te?mp(?!l)", re.I)  # what the name or the origin of a temporary place has
MAX_PATH_CHARS = 4096  # characters of a path; a longer one names nothing


class ProtectedNames:
    """The protected paths and commands of a project.

    `batchctl` with one of `user_commands` is refused. `private` lists further path endings and absolute paths: one that
    ends with a slash is a folder with everything in it, any other a temporary file, matched only when spelled out.
    `roots` are absolute spellings of the project's root, `cwd` is the absolute folder in which the command starts.
    Without `roots` any absolute path with the right ending matches; without `cwd` it is the root.
    """

    __slots__ = ("cwd", "roots", "targets", "user_commands")

    folder, state = ".claude", "batch_state.json"

    def __init__(
        self,
        user_commands: frozenset[str],
        *,
        private: tuple[str, ...] = (
            ".claude/batch_state.json.tmp", ".claude/batch-implement/", ".git/batch-implement/"
        ),
        roots: tuple[str, ...] = (),
        cwd: str = "",
    ) -> None:  # fmt: skip
        self.user_commands = user_commands
        self.roots = tuple(tuple(_split_path(root)) for root in roots)
        self.cwd = cwd
        # The parts of each guarded path, whether it is a folder, and whether it is absolute.
        self.targets: list[tuple[tuple[str, ...], bool, bool]] = [((self.folder, self.state), False, False)]
        self.targets += [(tuple(_split_path(p)), p.endswith("/"), p.startswith("/")) for p in private]

    def touches(self, path: str, cwd: str, deep: bool = False) -> bool:
        """Return whether `path` in `cwd` names something protected; with `deep` also a folder that contains it."""
        if not path or len(path) > MAX_PATH_CHARS:
            return False
        place = self._locate(path, cwd)
        for at, (target, folder, absolute) in enumerate(self.targets):
            size = len(target)
            covers = _globs_cover if folder or not at else _equals
            if absolute:
                parts, starts = _split_path(path if path[0] == "/" else f"{cwd}/{path}"), range(1)
            elif place is None:
                continue
            else:
                parts, starts = place[1], range(1) if place[0] else range(len(place[1]))
            for start in starts:
                length = len(parts) - start
                if length >= size if folder else length == size:
                    if covers(parts[start : start + size], target):
                        return True
                elif deep and place and not absolute and length < size:
                    holds = _globs_cover(parts, target) if place[0] else parts[start:] == [self.folder]
                    if holds:
                        return True
        return False

    def find_ways_down(self, start: str, cwd: str) -> Iterator[list[tuple[int, str, str, str]]]:
        """Yield the steps from `start` down to each protected path below it.

        Of each step: how deep it is, 0 for `start` itself; the path, which begins with `ROOT`; the path as it is
        reached from `start`; `d` for a folder, `f` for a file. The root itself is no step.
        """
        place = self._locate(start, cwd)
        if place is None or not (place[0] or place[1][-1:] == [self.folder]):
            return
        parts = place[1] if place[0] else [self.folder]
        above = len(parts)
        for at, (target, folder, absolute) in enumerate(self.targets):
            if (folder or not at) and not absolute and above <= len(target) and _globs_cover(parts, target):
                yield [
                    (
                        size - above,
                        "/".join((ROOT, *target[:size])),
                        "/".join([start.rstrip("/"), *target[above:size]]),
                        "d" if size < len(target) or folder else "f",
                    )
                    for size in range(max(above, 1), len(target) + 1)
                ]

    def _locate(self, path: str, cwd: str) -> Optional[tuple[bool, list[str]]]:
        """Return (True, parts below the root), (False, parts below an unknown folder), or None for elsewhere."""
        if path[:1] == "~":
            if path[1:2] not in ("", "/"):
                return None
            path = HOME + path[1:]
        elif path[:1] not in ("/", ANY) and cwd:
            path = f"{cwd}/{path}"
        parts = _split_path(path)
        if path[:1] != "/":
            known = parts[:1] not in ([".."], [ANY])
            return known, [p for p in parts if known or p not in ("..", ANY)]
        if parts[:1] == [ROOT[1:]]:
            return True, parts[1:]
        if parts[:1] == [HOME[1:]]:
            parts = parts[1:]
            if parts[:1] in ([], [self.folder]):
                return None
            tails = (n for root in self.roots for n in range(1, len(root)) if list(root[-n:]) == parts[:n])
            below = next(tails, 0)
            return (bool(below), parts[below:]) if below or not self.roots else None
        if parts[:1] == [TEMP[1:]]:
            return None
        for root in self.roots:
            if all(a == b for a, b in zip(parts, root)):
                return True, parts[len(root) :]
        return None if self.roots else (False, parts)


def _split_path(path: str) -> list[str]:
    """Return the parts of a path without empty ones and `.`, and with `..` resolved within the path."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] not in ("..", ANY):
            parts.pop()
        elif part not in ("", ".") and not (part == ".." and path.startswith("/")):
            parts.append(part)
    return parts


def glob_matches(pattern: str, name: str) -> bool:
    """Return whether a glob matches all of `name`; `[...]` counts as `?`."""
    if pattern == name or len(pattern) > 200 or not any(c in pattern for c in "*?["):
        return pattern == name
    ends = {0}
    for c in re.sub(r"\[[^]]+\]", "?", pattern):
        if c == "*":
            ends = set(range(min(ends), len(name) + 1)) if ends else ends
        else:
            ends = {e + 1 for e in ends if e < len(name) and c in ("?", name[e])}
    return len(name) in ends


def _equals(parts: list[str], target: tuple[str, ...]) -> bool:
    return tuple(parts) == target


def _globs_cover(parts: list[str], target: tuple[str, ...]) -> bool:
    """Return whether each part matches the target's part; a hidden name needs a literal dot."""
    return all(p == t or ((t[0] != "." or p[0] == ".") and glob_matches(p, t)) for p, t in zip(parts, target))
