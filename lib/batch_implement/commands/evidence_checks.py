"""Refuse commits that hold what is not the feature's. Each check takes what `evidence` knows and raises RefusedError.

A message names files and commits, and the commands that keep everybody's files.
"""

from __future__ import annotations

import shlex

from ..core.errors import RefusedError
from ..git import conflict_markers, git_client, untracked_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence

    from ..core.batch_state import State
    from ..git.commit_attribution import Attribution

MAX_IN_COMMAND = 10  # paths in a command; the next refusal names the rest


def refuse_untracked_at_start(root: str, state: State, work: Attribution) -> None:
    """Raise RefusedError when a commit of the feature adds files that were untracked before the batch."""
    commits = [commit.sha for commit in work.commits]
    added = untracked_files.list_added(root, commits, state["untracked_at_start"])
    if not added:
        return
    last = untracked_files.list_added(root, commits[-1:], state["untracked_at_start"])
    remove = f"`git rm -r --cached -- {_quote_for_shell(added)}`"
    if set(added) <= set(last) and git_client.get_head(root) == commits[-1]:
        fix = f"{remove} and `git commit --amend --no-edit` take them out of the last commit"
    else:
        base = str(state["active"]["base_commit"])[:12]
        fix = f"`git reset --soft {base}`, {remove} and `git commit` make one commit without them"
    raise RefusedError(
        f"Commits of this feature hold files that were untracked before the batch: {git_client.format_paths(added)}. "
        f"They are the user's (settings, notes, the list). {fix}; the files stay where they are. Then `batchctl done` "
        "again. If the feature is to add one of them: `batchctl fail --reason TEXT`, so that a user commits it.",
        "not-the-features",
    )


def refuse_conflict_markers(root: str, base: Optional[str], head: str) -> None:
    """Raise RefusedError when the commits since `base` have brought conflict markers into files."""
    marked = conflict_markers.find_conflict_markers(root, base, head)
    if marked:
        raise RefusedError(
            f"Conflict markers were committed in {git_client.format_paths(marked)}. Resolve them (`git grep -nE "
            "'^(<{7}|>{7})'` shows the lines), commit, then `batchctl done` again. If a file is to contain such lines: "
            "indent them, or give it another `conflict-marker-size` in .gitattributes.",
            "conflict-markers",
        )


def _quote_for_shell(paths: Sequence[str]) -> str:
    return " ".join(shlex.quote(path) for path in paths[:MAX_IN_COMMAND])
