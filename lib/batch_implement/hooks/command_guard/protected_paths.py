"""The protected paths of a project, and whether a path of a shell command names one of them.

    names = ProtectedNames(user_commands=frozenset({"abort", "skip"}), roots=("/home/me/project",))
    names.touches("docs/../.claude/batch_*", cwd="/home/me/project")    # True
    names.touches(".claude", cwd="/home/me/project")                    # False
    names.touches(".claude", cwd="/home/me/project", deep=True)         # True: the folder contains it

Paths are text, with the marks of `shell_parser`: no file is read and no link followed. Globs match everything they
could expand to. Nothing here raises; time is linear, and a path of more than 4,096 characters matches nothing.
"""

from __future__ import annotations

import re

from ..shell_parser import ANY, HOME, MAX_PATH_CHARS, ROOT, TEMP

WALK = "/\0walk"  # before a path below the root that a search over many files reaches
_GLOB = re.compile(r"\[[!^]?\]?[^]]*\]|\\.|.", re.S)


class ProtectedNames:
    """The protected paths and commands of a project.

    `batchctl` with one of `user_commands` is refused, and with `denies_stash` a `git stash` that is not only to read.
    `private` lists further path endings and absolute paths: one that
    ends with a slash is a folder with everything in it, any other a temporary file, matched only when spelled out.
    `roots` are absolute spellings of the project's root, `cwd` is the absolute folder in which the command starts.
    Without `roots` any absolute path with the right ending matches; without `cwd` it is the root.
    """

    __slots__ = ("cwd", "denies_stash", "roots", "targets", "user_commands")

    def __init__(
        self,
        user_commands: frozenset[str],
        *,
        private: tuple[str, ...] = (
            ".claude/batch_state.json.tmp", ".claude/batch-implement/", ".git/batch-implement/"
        ),
        roots: tuple[str, ...] = (),
        cwd: str = "",
        denies_stash: bool = False,
    ) -> None:  # fmt: skip
        self.user_commands, self.denies_stash = user_commands, denies_stash
        self.roots = tuple(split_path(root) for root in roots)
        self.cwd = cwd
        # The parts of each protected path, whether it is a folder, and whether it is absolute.
        self.targets = [([".claude", "batch_state.json"], False, False)]
        self.targets += [(split_path(p), p.endswith("/"), p.startswith("/")) for p in private]

    def touches(self, path: str, cwd: str, deep: bool = False) -> bool:
        """Return whether `path` in `cwd` names something protected; with `deep` also a folder that contains it."""
        place = self.locate(path, cwd)
        for at, (target, is_folder, is_absolute) in enumerate(self.targets):
            is_known, parts = place or (False, [])
            size = len(target)
            if is_absolute:
                parts = split_path(path if path[:1] == "/" else f"{cwd}/{path}")
            elif not is_known:  # it may end anywhere below the root
                parts = next((parts[i:] for i in range(len(parts)) if parts[i] == target[0]), [])
            if parts[:size] == target or ((is_folder or not at) and covers(parts, target)):
                if len(parts) == size or (is_folder and len(parts) > size):
                    return True
                if deep and is_known and not is_absolute and len(parts) < size:
                    return True
        return False

    def locate(self, path: str, cwd: str) -> tuple[bool, list[str]] | None:
        """Return (True, parts below the root), (False, parts below an unknown folder), or None for elsewhere."""
        if not path or len(path) > MAX_PATH_CHARS or re.match("~[^/]", path):
            return None
        path = HOME + path[1:] if path[0] == "~" else path if path[0] in ("/", ANY) or not cwd else f"{cwd}/{path}"
        parts = split_path(path)
        start = parts[0] if parts and path[0] == "/" else ""
        if start in (ROOT[1:], WALK[1:]):
            return True, parts[1:]
        if start == HOME[1:]:
            below = (n for root in self.roots for n in range(len(root) - 1, 0, -1) if root[-n:] == parts[1 : n + 1])
            size = next(below, 0)
            return (bool(size), parts[size + 1 :]) if size or (not self.roots and parts[2:]) else None
        if path[0] == "/":
            ends = [parts[len(root) :] for root in self.roots if parts[: len(root)] == root]
            return (True, ends[0]) if ends else None if self.roots or start == TEMP[1:] else (False, parts)
        is_known = parts[:1] not in ([".."], [ANY])
        return is_known, [part for part in parts if is_known or part not in ("..", ANY)]


def split_path(path: str) -> list[str]:
    """Return the parts of a path without empty ones and `.`, and with `..` resolved within the path."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] not in ("..", ANY):
            parts.pop()
        elif part not in ("", ".") and not (part == ".." and path.startswith("/")):
            parts.append(part)
    return parts


def resolve_from(folder: str, path: str) -> str:
    """Return `path` as seen from `folder`; an empty `folder` is the current one."""
    return path if not folder or path[:1] in ("/", "~", ANY) else f"{folder}/{path}"


def covers(parts: list[str], target: list[str]) -> bool:
    """Return whether each part, a glob, matches the target's part; a hidden name needs a literal dot."""
    return all(p == t or ((t[0] != "." or p[0] == ".") and glob_matches(p, t)) for p, t in zip(parts, target))


def glob_matches(pattern: str, name: str) -> bool:
    """Return whether a glob matches all of `name`; in doubt it does not."""
    ends = {0} if len(pattern) <= 200 else set()
    for piece in _GLOB.findall(pattern):
        if piece == "*":
            ends = set(range(min(ends), len(name) + 1)) if ends else ends
        else:
            ends = {e + 1 for e in ends if e < len(name) and _matches_one(piece, name[e])}
        if not ends:
            return pattern == name
    return len(name) in ends


def _matches_one(piece: str, character: str) -> bool:
    if len(piece) < 3:
        return piece == "?" or piece[-1] == character
    inside = re.sub("^!", "^", piece[1:-1].replace("\\", r"\\").replace("[", r"\["))
    try:
        return bool(re.match(f"[{inside}]", character))
    except re.error:
        return False
