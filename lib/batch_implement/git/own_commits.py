"""List the commits that an attempt made: by the reflogs in a user's working tree, by what is reachable in a run.

    list_made_here(root, commits, base, since)              a reflog of any worktree shows that they were made here
    list_of_attempt(root, commits, base, since, branch)     those that neither the batch's branch nor a fetched ref has

Who is named as author or committer does not matter: a worker may commit as a bot.
"""

from __future__ import annotations

import os
import re

from ..base import timestamps
from . import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Sequence, Set, Tuple

# What git writes into a reflog when it makes a commit; a checkout, a reset or a fast-forward only moves a ref.
_MADE = re.compile(
    r"(commit( \([a-z-]+\))?|am|revert|cherry-pick|filter-branch"
    r"|(pull.*|rebase)( -i)? \((pick|continue|squash|fixup|reword|edit|merge)\)|rebase( -i)?"
    r"|(merge|pull).*(?=: Merge made by)): "
)
_MOVED = re.compile(r"(?!commit)[^:]*: fast-forward$")


def list_made_here(root: str, commits: Sequence[str], base: Optional[str], since: str) -> Set[str]:
    """Return which of the commits on top of `base` were made in this repository after `since` (as in the state).

    Without a reflog of HEAD: those that the committer of this repository made after `since` and that no fetched ref
    has. An entry of HEAD's reflog that is later than its last one for `base` counts whatever its time says, since
    GIT_COMMITTER_DATE sets that too.
    """
    if not commits:
        return set()
    since_s = timestamps.parse_epoch_s(since)
    entries = list(_iter_reflog(root, "HEAD"))
    if not entries:
        return _list_committed_since(root, base, since_s).intersection(commits)
    names = [sha for sha, _, _ in entries]
    later = names.index(base) if base in names else 0 if base else len(names)
    made = {
        sha for at, (sha, time_s, text) in enumerate(entries) if _is_made(text) and (at < later or time_s >= since_s)
    }
    if not made.issuperset(commits):
        made |= {sha for sha, time_s, text in _iter_reflog(root, "--all") if _is_made(text) and time_s >= since_s}
    return made.intersection(commits)


def list_of_attempt(root: str, commits: Sequence[str], base: Optional[str], since: str, branch: str) -> Set[str]:
    """Return which of the commits on top of `base` neither `branch` nor a fetched ref has, and those made here.

    A commit that the attempt has pushed is in a remote-tracking branch too, but was made here.
    """
    known = [branch] if git_client.get_branch_tip(root, branch) else []
    new = git_client.run_git(root, "rev-list", "HEAD", "--not", *known, *_list_fetched(root), "--remotes", "--")
    return set(new.stdout.split()).intersection(commits) | list_made_here(root, commits, base, since)


def _list_fetched(root: str) -> List[str]:
    """Return the commits that the last `git fetch` brought, which may have come without a branch."""
    path = git_client.run_git(root, "rev-parse", "--git-path", "FETCH_HEAD").stdout.strip()
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            names = [line.split("\t")[0] for line in file]
    except OSError:
        return []
    return [name for name in names if git_client.has_commit(root, name, name)]


def _list_committed_since(root: str, base: Optional[str], since_s: int) -> Set[str]:
    email = git_client.get_committer_email(root)
    fetched = [*_list_fetched(root), "--remotes"]
    lacking = ["--not", *([base] if base else []), *fetched]
    lines = git_client.run_git(root, "log", "--format=%H%x00%ct%x00%ce", "HEAD", *lacking, "--", check=False).stdout
    rows = (line.split("\0") for line in lines.splitlines())
    return {
        sha for sha, time_s, committer in rows
        if int(time_s) >= since_s and (email is None or committer.casefold() == email.casefold())
    }  # fmt: skip


def _iter_reflog(root: str, refs: str) -> Iterator[Tuple[str, int, str]]:
    """Yield commit, time and text of each reflog entry of HEAD, the latest first, or of all refs and worktrees."""
    output = git_client.run_git(
        root, "log", "--walk-reflogs", "--date=unix", "--format=%H%x00%gd%x00%gs", refs, "--", check=False
    ).stdout  # fmt: skip
    for line in output.splitlines():
        sha, selector, text = line.split("\0", 2)
        time_s = selector.rpartition("@{")[2].rstrip("}")
        yield sha, int(time_s) if time_s.isdigit() else 0, text


def _is_made(text: str) -> bool:
    return bool(_MADE.match(text)) and not _MOVED.match(text)
