"""Merge trees without touching a working tree, put work onto another commit, and apply it to a worktree.

    merged = merge_trees(folder, head, work)         what `git merge` would give, as a tree; with the files in conflict
    new = transplant(folder, head, base, work, merged.tree)     the same as commits on top of `head`
    conflicts = apply_work(folder, tip, work)        the same as uncommitted files, conflict markers included

The result of `git merge-tree` decides. `git rebase` is not used: it needs a worktree, and it leaves out merge commits
with what was changed in them, and commits that it takes for applied.
"""

from __future__ import annotations

import os
import re
from typing import List, NamedTuple, Optional, Tuple

from ..base import project_paths
from ..core.errors import StateError
from . import git_client

_NOBODY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "batch-implement"), ("EMAIL", "batch-implement"), ("DATE", "@0 +0000"))
}
_AUTHOR = re.compile(r"^author (.*?) ?<(.*)> (\d+ [+-]\d+)$", re.MULTILINE)
_ENCODING = re.compile(r"^encoding (.+)$", re.MULTILINE)
_APPLIED_NAME = "batch-work-applied"
MAX_NAMED_COMMITS = 50


class MergedTree(NamedTuple):
    """The result of a merge as a tree, in which files in conflict have markers, and the paths of these files."""

    tree: str
    conflicts: List[str]


class UnrelatedHistories(StateError):
    """Two commits have no common ancestor."""


def merge_trees(folder: str, ours: str, theirs: str, base: Optional[str] = None) -> MergedTree:
    """Merge two commits as `git merge` does, by the attributes of the worktree `folder` (`merge=union`).

    `base` takes the place of their merge base; then all three may be trees. Writes only objects. Raises
    UnrelatedHistories and StateError.
    """
    if base is not None:  # `--merge-base` needs git 2.40
        root = write_nameless_commit(folder, base)
        ours, theirs = (write_nameless_commit(folder, commit, root) for commit in (ours, theirs))
    merged = git_client.run_git(
        folder, "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs, check=False,
        timeout_s=git_client.MERGE_S,
    )  # fmt: skip
    if merged.returncode in (0, 1) and merged.stdout:  # 1 also for a commit that does not exist
        tree, *conflicts = merged.stdout.rstrip("\0").split("\0")
        return MergedTree(tree, list(dict.fromkeys(conflicts)))
    error = UnrelatedHistories if "unrelated histories" in merged.stderr else StateError
    raise error(
        f"`git merge-tree` failed in {folder}: {merged.stderr.strip()[:500]}. Fix this, then try again.", "git-trouble"
    )


def changes_nothing(folder: str, ours: str, theirs: str, base: Optional[str] = None) -> bool:
    """Return whether merging `theirs` into `ours` (commits, or with `base` trees) gives the tree of `ours`."""
    try:
        merged = merge_trees(folder, ours, theirs, base)
    except UnrelatedHistories:
        return False
    return not merged.conflicts and merged.tree == git_client.get_tree(folder, ours)


def write_nameless_commit(folder: str, tree: str, parent: Optional[str] = None) -> str:
    """Write a commit of this tree (or that of a commit) that no ref has. Return it: the same for the same input."""
    parents = ["-p", parent] if parent else []
    words = ("commit-tree", "--no-gpg-sign", f"{tree}^{{tree}}", *parents)
    return git_client.run_git(folder, *words, input="", environment=_NOBODY).stdout.strip()


def transplant(folder: str, onto: str, after: str, last: str, tree: str, *, by_author_date: bool = False) -> str:
    """Return a commit with the tree `tree` on top of `onto`: the commits after `after` up to `last`, one by one, with
    their author, date and message. `by_author_date`: that is the committer's date, too.

    It is one commit of their net change when there are merges among them, or when one by one they conflict or end with
    another tree. `onto` when nothing is left to do. Writes only objects.
    """
    if tree == git_client.get_tree(folder, onto):
        return onto
    span = (last, f"^{after}", "--")
    lines = git_client.run_git(folder, "rev-list", "--reverse", "--topo-order", "--parents", *span).stdout.splitlines()
    return _copy_commits(folder, onto, [line.split() for line in lines], tree, by_author_date) or _commit_net_change(
        folder, onto, span, tree
    )


def _copy_commits(folder: str, onto: str, commits: List[List[str]], tree: str, by_author_date: bool) -> Optional[str]:
    """Return the last of these commits (each with its parents) on top of `onto`; None when they cannot be put there, or
    end with another tree than `tree`. Those that others have made already are left out.
    """
    tip, at = onto, git_client.get_tree(folder, onto)
    for commit, *parents in commits:
        if len(parents) > 1:
            return None
        before = git_client.get_tree(folder, parents[0]) if parents else git_client.write_empty_tree(folder)
        merged = merge_trees(folder, str(at), commit, before)
        if merged.conflicts:
            return None
        if merged.tree == at and before != git_client.get_tree(folder, commit):
            continue
        raw = git_client.run_git(folder, "cat-file", "commit", commit).stdout
        header, _, message = raw.partition("\n\n")
        author, encoding = _AUTHOR.search(header), _ENCODING.search(header)
        name, email, date = author.groups() if author else ("", "", "0 +0000")
        at = merged.tree
        tip = _write_commit(
            folder, tip, at, message, (name, email, date), encoding[1] if encoding else "UTF-8", by_author_date
        )
    return tip if at == tree else None


def _commit_net_change(folder: str, onto: str, span: Tuple[str, ...], tree: str) -> str:
    """Write one commit with the tree `tree` on top of `onto`, and return it.

    Author, date and message are those of the newest commit in `span` that is no merge; the message names all commits.
    """
    limit = f"--max-count={MAX_NAMED_COMMITS + 1}"
    newest = git_client.run_git(folder, "rev-list", "--no-merges", "--max-count=1", *span).stdout.strip() or span[0]
    name, email, date, message = git_client.run_git(
        folder, "log", "-1", "--encoding=UTF-8", "--date=raw", "--format=%an%n%ae%n%ad%n%B", newest, "--"
    ).stdout.split("\n", 3)
    commits = git_client.run_git(
        folder, "log", "--reverse", "--topo-order", "--encoding=UTF-8", limit, "--format=%h %<(100,trunc)%s", *span
    ).stdout.splitlines()
    if len(commits) > MAX_NAMED_COMMITS:
        commits = [*commits[-MAX_NAMED_COMMITS:], "and earlier ones"]
    subject, _, rest = message.strip("\n").partition("\n")
    body = "\n".join(f"    {line.rstrip()}" for line in commits)
    text = f"{subject}\n\nThe net change of these commits:\n\n{body}\n\n{rest.strip()}".rstrip() + "\n"
    return _write_commit(folder, onto, tree, text, (name, email, date), "UTF-8", True)


def _write_commit(
    folder: str, parent: str, tree: str, message: str, author: Tuple[str, str, str], encoding: str, by_author_date: bool
) -> str:
    """Write a commit and return it; `by_author_date`: for the same input the same one. `author`: name, email, date."""
    name, email, date = author
    environment = {"GIT_AUTHOR_DATE": f"@{date}"}
    if by_author_date:
        environment["GIT_COMMITTER_DATE"] = f"@{date}"
    if name.strip():
        environment.update(GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=email)
    signs = git_client.run_git(folder, "config", "--type=bool", "commit.gpgSign", check=False).stdout.strip() == "true"
    return git_client.run_git(
        folder, "-c", f"i18n.commitEncoding={encoding}", "commit-tree", *(["-S"] if signs else []), "-p", parent, tree,
        input=message, environment=environment,
    ).stdout.strip()  # fmt: skip


def apply_work(folder: str, tip: str, work: str) -> Optional[List[str]]:
    """Apply the commit `work` to the worktree `folder`, staged. Return the paths in conflict, most of which have
    conflict markers; None if the repository does not have `work`, if that has no common ancestor with HEAD, or if HEAD
    is not in the history of `tip` and so has commits of its own.

    No git operation is in progress then. Work that was applied before is not applied again. Call before anybody works
    in the folder: what a killed call has left is overwritten.
    """
    mark = os.path.join(project_paths.find_git_dir(folder) or folder, _APPLIED_NAME)
    try:
        with open(mark, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().split("\0")[:-1]
    except FileNotFoundError:
        pass
    is_known = git_client.has_object(folder, work)
    if not is_known or not git_client.has_commit(folder, "HEAD", tip):
        return None
    try:
        merged = merge_trees(folder, "HEAD", work)
    except UnrelatedHistories:  # its worker has amended the first commit of the repository
        return None
    git_client.run_git(folder, "read-tree", "--reset", "-u", merged.tree, timeout_s=git_client.MERGE_S)
    with open(f"{mark}.new", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(f"{path}\0" for path in merged.conflicts)
    os.replace(f"{mark}.new", mark)
    return merged.conflicts
