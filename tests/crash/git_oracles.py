"""Two oracles for runs, from git alone: is all work of completed features in the branch, and is nothing unique gone.

    census = take_census(worktree)                      what only this worktree has, when an attempt ends or is killed
    find_gone(repository, censuses)                     what of it is nowhere any more, a line each
    find_unmerged(repository, branch, {1: commit})      what of the features' net changes the branch does not have

Nothing here comes from the code under test: git is asked by its plumbing, reflogs and files are read. A censused file
is the hash that git would give its content. `{"commits": {hash: where}, "files": {hash: path}}` is a census, JSON.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Optional

Census = dict[str, dict[str, str]]

MARK = b"written by feature"  # begins each line that a worker of the tests writes
ARTEFACTS = frozenset(("node_modules", "build", "__pycache__"))
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
STATE = ".claude/batch_state.json"
REAL_GIT = os.environ.get("REAL_GIT", "git")  # the storm puts a git that kills before it


def ask_git(folder: Path | str, *words: str, stdin: str = "") -> str:
    """Return what git prints, also when it fails. Names are never locked, and no hook is run."""
    names = {f"GIT_{role}_{field}": "oracle" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
    environment = {**os.environ, **names, "GIT_OPTIONAL_LOCKS": "0"}
    line = [REAL_GIT, "-C", str(folder), "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", *words]
    done = subprocess.run(line, input=stdin.encode(), capture_output=True, env=environment)
    return os.fsdecode(done.stdout)


# -- what is unique ---------------------------------------------------------------------------------------------------


def take_census(worktree: Path) -> Census:
    """Return every commit of a reflog, stash or branch, every file that is not committed and not ignored, and every
    ignored file of a worker's outside of artefact folders: of the worktree and of all repositories in it.
    """
    census: Census = {"commits": {}, "files": {}}
    for top in [worktree, *_find_inner(worktree)]:
        for commit in _list_commits(top, worktree):
            census["commits"].setdefault(commit, str(top))
        for path in _list_uncommitted(top):
            content = _read(top / path)
            if content and not (os.fsdecode(path)).startswith(STATE):
                census["files"].setdefault(_hash(content), str(top / path))
    return census


def _find_inner(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        if Path(folder) != top and (".git" in folders or ".git" in files):
            yield Path(folder)
        folders[:] = [name for name in folders if name not in ARTEFACTS and name != ".git"]


def _git_path(top: Path, *words: str) -> Path:
    return top / ask_git(top, "rev-parse", *words).rstrip("\n")


def _list_commits(top: Path, worktree: Path) -> list[str]:
    """Return the commits in reflogs and refs; of a repository that was cloned only those that were made here."""
    common = _git_path(top, "--git-common-dir")
    logs = [_git_path(top, "--git-dir") / "logs" / "HEAD", *(common / "logs" / "refs").rglob("*")]
    found = {name for log in logs if log.is_file() for name in _read_reflog(log)}
    found.update(ask_git(top, "for-each-ref", "--format=%(objectname)").split())
    elsewhere = ("--not", "--remotes") if top != worktree else ()
    return ask_git(
        top, "rev-list", "--ignore-missing", "--no-walk", *elsewhere, "--stdin", stdin="\n".join(found)
    ).split()


def _read_reflog(log: Path) -> Iterator[str]:
    for line in log.read_bytes().splitlines():
        for name in line.split(b" ", 2)[:2]:
            if name.strip(b"0"):
                yield name.decode()


def _list_uncommitted(top: Path) -> Iterator[str]:
    """Yield the paths of files whose content HEAD does not have there, whatever the index has been told."""
    committed = {}
    for entry in ask_git(top, "ls-tree", "-r", "-z", "HEAD").split("\0"):
        if entry:
            about, _, path = entry.partition("\t")
            committed[path] = about.split()[2]
    for path in {*committed, *ask_git(top, "ls-files", "-z", "-o", "--exclude-standard").split("\0")} - {""}:
        content = _read(top / path)
        if content is not None and _hash(content) != committed.get(path):
            yield path
    for path in ask_git(top, "ls-files", "-z", "-o", "-i", "--exclude-standard").split("\0"):
        if path and ARTEFACTS.isdisjoint(path.split("/")) and (_read(top / path) or b"").startswith(MARK):
            yield path


def _read(path: Path) -> Optional[bytes]:
    if path.is_symlink():
        return os.fsencode(os.readlink(path))
    return path.read_bytes() if path.is_file() else None


def _hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def find_gone(repository: Path, censuses: Iterable[Census], dropped: Iterable[str] = ()) -> list[str]:
    """Return what of these censuses no ref, no stash, no branch and no worktree that is left has.

    `dropped` are stashes that a worker dropped itself.
    """
    kept = _list_kept(repository)
    kept.update(dropped)
    left = [Path(line[9:]) for line in ask_git(repository, "worktree", "list", "--porcelain").splitlines()
            if line.startswith("worktree ")]  # fmt: skip
    for place in left:
        if place.is_dir():
            census = take_census(place)
            kept.update(census["commits"], census["files"])
    gone = {name: f"commit {name[:12]} of {where}" for census in censuses
            for name, where in census["commits"].items() if name not in kept}  # fmt: skip
    gone.update({name: f"file {where}" for census in censuses
                 for name, where in census["files"].items() if name not in kept})  # fmt: skip
    return sorted(gone.values())


def _list_kept(repository: Path) -> set[str]:
    """Return all objects that refs and stashes have, also those of the submodules."""
    kept: set[str] = set()
    common = _git_path(repository, "--git-common-dir")
    for git_dir in [
        common,
        *(path.parent for path in (common / "modules").rglob("HEAD") if path.parent.name != "logs"),
    ]:
        stashes = [name for log in (git_dir / "logs" / "refs").glob("stash") for name in _read_reflog(log)]
        listed = ask_git(git_dir, "rev-list", "--objects", "--ignore-missing", "--all", "--stdin",
                         stdin="\n".join(stashes))  # fmt: skip
        kept.update(line.split(" ", 1)[0] for line in listed.splitlines())
    return kept


# -- what is merged ---------------------------------------------------------------------------------------------------


def find_unmerged(repository: Path, branch: str, completed: dict[int, str]) -> list[str]:
    """Return what is wrong with the branch, given the commit that each completed feature ended at.

    Each move of the branch puts the net changes of features onto what was there, as `git merge-tree` does, and each
    feature is in one move. Lines that a feature added are in the branch, unless another feature removed them.
    """
    troubles, moves = [], _list_moves(repository, branch)
    bases: dict[int, str] = {}
    for old, new in moves:
        if ask_git(repository, "merge-base", old, new).strip() != old:
            troubles.append(f"{branch} lost {old[:12]} when it moved to {new[:12]}")
        numbers = _find_owners(repository, old, new, {n: work for n, work in completed.items() if n not in bases})
        if not numbers:
            troubles.append(f"the move of {branch} to {new[:12]} is the net change of no feature that is left")
        bases.update({n: ask_git(repository, "merge-base", old, completed[n]).strip() for n in numbers})
    for number in sorted(completed.keys() - bases.keys()):
        troubles.append(f"feature {number} ({completed[number][:12]}) was not merged")
    if moves and ask_git(repository, "rev-parse", branch).strip() != moves[-1][1]:
        troubles.append(f"{branch} is not where its last merge left it")
    work = [(number, base, completed[number]) for number, base in bases.items()]
    return troubles + _find_lost_lines(repository, branch, work)


def _list_moves(repository: Path, branch: str) -> list[tuple[str, str]]:
    """Return each move of the branch by its reflog, oldest first, without the one that made it."""
    log = _git_path(repository, "--git-common-dir") / "logs" / "refs" / "heads" / branch
    lines = [line.split(" ", 2)[:2] for line in log.read_text(errors="replace").splitlines()]
    return [(old, new) for old, new in lines if old.strip("0") and old != new]


def _find_owners(repository: Path, old: str, new: str, work: dict[int, str]) -> tuple[int, ...]:
    """Return the features whose net changes, one after another, make `new` of `old`; the fewest, empty for none."""
    before, after = (ask_git(repository, "rev-parse", f"{commit}^{{tree}}").strip() for commit in (old, new))
    for count in range(1, len(work) + 1):
        for numbers in itertools.permutations(work, count):
            head, trees = old, [before]
            for number in numbers:
                trees.append(_merge(repository, head, work[number]))
                head = ask_git(repository, "commit-tree", "-p", head, "-p", work[number], "-m", "x", trees[-1]).strip()
            if trees[-1] == after and all(map(operator.ne, trees, trees[1:])):
                return numbers
    return ()


def _merge(repository: Path, head: str, work: str) -> str:
    return ask_git(repository, "merge-tree", "--write-tree", head, work).split("\n", 1)[0]


def _find_lost_lines(repository: Path, branch: str, work: list[tuple[int, str, str]]) -> list[str]:
    """Return the lines that the net change of a feature (number, base, commit) adds, and that are nowhere now."""

    def diff(base: str, commit: str) -> str:
        return ask_git(repository, "diff", "-U0", "--no-color", "--no-renames", "-a", base, commit)

    now = set(_list_lines(diff(EMPTY_TREE, branch), "+"))
    changes = {number: diff(base, commit) for number, base, commit in work}
    removed = {line for text in changes.values() for line in _list_lines(text, "-")}
    return [
        f"feature {number} added a line that {branch} does not have: {line}"
        for number, text in changes.items() for line in sorted({*_list_lines(text, "+")} - now - removed)
    ]  # fmt: skip


def _list_lines(text: str, sign: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith(f"{sign}{MARK.decode()}"):
            yield line[len(sign) :]
