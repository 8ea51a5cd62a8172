"""Put the commits of a run's attempt onto the present head of the batch's branch, before `batchctl done` verifies them.

    state, note = follow_branch(store, state)

What does not fit with features that were merged meanwhile is then met while the worker is still there to fix it. A
conflict is left to the worker as uncommitted files with markers, on top of that head. Each commit is put there at
most once: when its verify run has begun, the merge queue does the rest.
"""

from __future__ import annotations

import os

from ..base.text import one_line
from ..core import transitions
from ..core.errors import RefusedError, StateError
from ..git import git_client, merging, snapshots, worktrees
from . import evidence, verify_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..store.store import Store

MAX_SHOWN = 5


def follow_branch(store: Store, state: State) -> Tuple[State, str]:
    """Put the commits of the active attempt, which is one of a run, onto the head of the batch's branch if that has
    moved. Return the state and what changed as a text for the worker, empty if nothing did.

    Raises RefusedError when they conflict with it and a client can resolve that; a command gets its work back later.
    """
    root, head = store.project.root, git_client.get_head(store.project.root)
    tip = _find_new_tip(store.project, state, head)
    if tip is None or head is None:
        return state, ""
    try:
        merged = merging.merge_trees(root, tip, head)
    except merging.UnrelatedHistories:
        return state, ""
    has_client = bool((state["owner"] or {}).get("driven"))
    is_useless = merged.tree == git_client.get_tree(root, tip)  # the merge queue says so
    if is_useless or (merged.conflicts and not has_client) or not _can_check_out(root, head, merged.tree):
        return state, ""
    attempt_of = state["attempt_of"]
    name = f"{attempt_of['feature_number']}.{state['active']['attempt']}-before"
    snapshots.create_ref(root, snapshots.get_ref(attempt_of["batch_id"], name), head)  # as they are now
    what = f"{tip[:12]}, the present head of the batch's branch; new there: {_describe_new(root, tip, head)}."
    try:
        if merged.conflicts:
            git_client.run_git(root, "read-tree", "-m", "-u", "HEAD", merged.tree, timeout_s=git_client.MERGE_S)
            git_client.run_git(root, "reset", "--quiet", "--soft", tip)
        else:
            new = merging.transplant(root, tip, tip, head, merged.tree)
            git_client.run_git(root, "reset", "--quiet", "--keep", new, timeout_s=git_client.MERGE_S)
    except StateError:  # something changed just now: the merge queue has a tree of its own
        return state, ""
    # The state after the files: a kill in between leaves what the next `done` takes up.
    state = store.update(lambda current: transitions.move_base(current, tip))
    if not merged.conflicts:
        return state, f"Your commits were put onto {what}"
    raise RefusedError(
        f"Your commits up to {head[:12]} conflict with what was merged meanwhile, in "
        f"{git_client.format_paths(merged.conflicts)}. Your work is now uncommitted on top of {what} Resolve the files "
        "with conflict markers so that both keep working, commit everything that `git status` shows, then "
        "`batchctl done` again.",
        "merge-conflict",
    )


def _find_new_tip(project: Project, state: State, head: Optional[str]) -> Optional[str]:
    """Return the head of the batch's branch if HEAD does not have it and the attempt could be put onto it now."""
    root, active = project.root, state["active"]
    tip = git_client.get_branch_tip(root, worktrees.get_batch_branch(state["attempt_of"]["batch_id"]))
    if tip is None or git_client.has_commit(root, tip):
        return None
    is_ready = (
        head != active["base_commit"]
        and git_client.has_commit(root, active["base_commit"])
        and git_client.get_branch(root) == active.get("branch")
        and git_client.operation_in_progress(root) is None
        and not os.path.isdir(verify_command.run_folder(project, state, head))
        and not git_client.list_uncommitted_paths(root, evidence.list_expected_untracked(project, state))
    )
    return tip if is_ready else None


def _describe_new(root: str, tip: str, head: str) -> str:
    """Return the commits that `tip` has and `head` has not, newest first, as data in a message."""
    words = ("log", "-z", f"--max-count={MAX_SHOWN + 1}", "--format=%h %s", tip, "--not", head, "--")
    commits = [one_line(commit, 80) for commit in git_client.run_git(root, *words).stdout.split("\0") if commit]
    return ", ".join(map(repr, commits[:MAX_SHOWN])) + (" and more" if len(commits) > MAX_SHOWN else "")


def _can_check_out(root: str, head: str, tree: str) -> bool:
    """Return whether the worktree can go from `head` to `tree` without a submodule that would stay as it was, and
    without overwriting a file that git does not have: it takes ignored ones for worthless.
    """
    lines = git_client.run_git(root, "diff-tree", "-r", "-z", "--raw", "--no-renames", head, tree, "--").stdout.split(
        "\0"
    )
    for entry, path in zip(lines[::2], lines[1::2]):
        old_mode, new_mode = entry.lstrip(":").split()[:2]
        if "160000" in (old_mode, new_mode):
            return False
        if set(old_mode) == {"0"}:
            place = os.path.join(root, path)
            folder = os.path.dirname(place)
            while not os.path.lexists(folder):
                folder = os.path.dirname(folder)
            if os.path.lexists(place) or os.path.islink(folder) or not os.path.isdir(folder):
                return False
    return True
