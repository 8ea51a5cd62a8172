"""List what batches have left in a repository, and remove it: worktrees, branches, snapshots.

    for item in list_remains(root): print(item.batch_id, item.kind, item.name, item.is_merged)
    remove(root, item)

Only worktrees on branches below `batch/`, worktrees named as those of a run beside them, branches below `batch/` and
refs below `refs/batch/` are listed.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ..core.errors import StateError
from . import git_client, merging, snapshots, worktrees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

BRANCHES = "refs/heads/batch/"
_GENERATED = re.compile(r"merged|verify-[0-9]+")


class Remain(NamedTuple):
    """`kind` is `worktree`, `branch` or `snapshot`, `name` its path or ref, `commit` the one that it is at.

    `is_merged`: HEAD has that commit, or, of a snapshot, merging none of its commits would change HEAD's tree. Of a
    worktree only what is committed counts: the rest is kept when it goes.
    """

    batch_id: str
    kind: str
    name: str
    commit: str
    is_merged: bool


def list_remains(root: str) -> List[Remain]:
    """Return what batches have left in the repository of `root`, worktrees first, then branches, then snapshots."""
    refs = _list_refs(root)
    merged = _list_refs(root, "--merged=HEAD") if git_client.get_head(root) else {}
    ids = {_get_batch_id(ref) for ref in refs}
    found = []
    for path, ref in worktrees.list_worktrees(root)[1:]:
        if ref.startswith(BRANCHES):
            found.append(Remain(_get_batch_id(ref), "worktree", path, refs.get(ref, ""), ref in merged))
        elif not ref and _GENERATED.fullmatch(os.path.basename(path)):
            batch_id = os.path.basename(os.path.dirname(path))
            if batch_id in ids:
                found.append(Remain(batch_id, "worktree", path, "", True))
    for kind, prefix in (("branch", BRANCHES), ("snapshot", snapshots.PREFIX)):
        listed = ((ref, commit) for ref, commit in refs.items() if ref.startswith(prefix))
        for ref, commit in listed:
            is_merged = ref in merged or (kind == "snapshot" and _adds_nothing(root, commit))
            found.append(Remain(_get_batch_id(ref), kind, ref, commit, is_merged))
    return found


def remove(root: str, item: Remain) -> Optional[str]:
    """Remove it. Return the ref of the snapshot of what only a worktree had; None without one.

    Raises StateError when it has changed since it was listed, is in use, or cannot be kept: then it stays.
    """
    if item.kind == "worktree":
        return worktrees.remove(root, item.name)
    if item.kind == "branch" and any(ref == item.name for _, ref in worktrees.list_worktrees(root)):
        raise StateError(f"{item.name} is checked out in a worktree. Remove that first.", "git-trouble")
    git_client.run_git(root, "update-ref", "-d", item.name, item.commit)
    return None


def _adds_nothing(root: str, commit: str) -> bool:
    """Return whether neither `commit` nor one of its ancestors that HEAD lacks would change HEAD's tree if merged."""
    if git_client.get_head(root) is None:
        return False
    limit = merging.MAX_NAMED_COMMITS
    lacking = git_client.run_git(root, "rev-list", f"--max-count={limit + 1}", commit, "^HEAD", "--").stdout.split()
    try:
        return len(lacking) <= limit and all(merging.changes_nothing(root, "HEAD", each) for each in lacking)
    except StateError:  # a git without `merge-tree --write-tree`: in doubt it stays
        return False


def _list_refs(root: str, *options: str) -> Dict[str, str]:
    """Return the commit of each ref of batches."""
    output = git_client.run_git(
        root, "for-each-ref", "--format=%(objectname) %(refname)", *options, BRANCHES, snapshots.PREFIX
    ).stdout
    refs: Dict[str, str] = {}
    for line in output.splitlines():
        commit, _, ref = line.partition(" ")
        refs[ref] = commit
    return refs


def _get_batch_id(ref: str) -> str:
    """Return the batch of a ref `refs/heads/batch/ID/NAME` or `refs/batch/ID/NAME`."""
    return ref[len(BRANCHES) if ref.startswith(BRANCHES) else len(snapshots.PREFIX) :].partition("/")[0]
