"""Work trees and branches of a batch: one for each attempt at a feature, and one for the merge queue.

    batch/ID/merged                       what is done so far; batch/ID/3-add-login is attempt 1 at feature 3,
                                          batch/ID/3-add-login.2 the second
    TOP/3-add-login, TOP/3-add-login.2    their work trees; TOP is WORKTREES/ID

Names follow from the batch, the feature and the attempt alone, so that what a dead run left is found again. A work tree
that is there already is taken as it is, but for what a killed git has left: one that was never finished is made anew, a
lock is taken away. Nothing outside of these folders and branches is touched.
"""

from __future__ import annotations

import os
import shutil

from ..base import processes, project_paths
from ..core.errors import RefusedError
from . import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

CHECKOUT_S = 600
MAX_SLUG_LENGTH = 40


def list_worktrees(repository: str) -> List[Tuple[str, str]]:
    """The work trees that the repository knows, its own first, each with the ref that it is on; that is empty where
    HEAD is detached.
    """
    found: List[Tuple[str, str]] = []
    for line in git_client.run_git(repository, "worktree", "list", "--porcelain", check=False).stdout.splitlines():
        name, _, value = line.partition(" ")
        if name == "worktree":
            found.append((value, ""))
        elif name == "branch":
            found[-1] = (found[-1][0], value)
    return found


def make_slug(text: str) -> str:
    """A text as part of a name: `a-z0-9-`, at most 40 characters, never empty."""
    letters = [letter if letter.isascii() and letter.isalnum() else " " for letter in text.lower()[:400]]
    words = "-".join("".join(letters).split())
    return words[:MAX_SLUG_LENGTH].rstrip("-") or "feature"


def get_batch_branch(batch_id: str) -> str:
    """The batch's branch."""
    return f"batch/{batch_id}/merged"


def get_attempt_branch(batch_id: str, index: int, text: str, attempt: int) -> str:
    """The branch of an attempt at feature `index`."""
    return f"batch/{batch_id}/{_attempt_name(index, text, attempt)}"


def get_attempt_folder(top: str, index: int, text: str, attempt: int) -> str:
    """The work tree of that attempt."""
    return os.path.join(top, _attempt_name(index, text, attempt))


def _attempt_name(index: int, text: str, attempt: int) -> str:
    return f"{index + 1}-{make_slug(text)}" + (f".{attempt}" if attempt > 1 else "")


def add(repository: str, folder: str, branch: str, base: str) -> None:
    """Have a work tree in `folder` on `branch`, which begins at `base` when there is none. Both stay as they are when
    they are there. Refused when something else is in the place of the folder.
    """
    if _find_or_clear(repository, folder):
        _remove_stale_locks(folder, branch)
        return
    new = git_client.get_branch_tip(repository, branch) is None
    way = ["-b", branch, folder, base] if new else [folder, branch]
    git_client.run_git(repository, "worktree", "add", "--quiet", *way, timeout_s=CHECKOUT_S)


def add_detached(repository: str, folder: str, commit: str) -> None:
    """Have a work tree in `folder` at `commit`, on no branch. What it held before of tracked files is gone."""
    if _find_or_clear(repository, folder):
        _remove_stale_locks(folder, None)
        git_client.run_git(folder, "checkout", "--quiet", "--force", "--detach", commit, timeout_s=CHECKOUT_S)
        return
    git_client.run_git(repository, "worktree", "add", "--quiet", "--detach", folder, commit, timeout_s=CHECKOUT_S)


def remove(repository: str, folder: str) -> None:
    """Remove a work tree of this repository and what is left in it, also one that is half made or half removed; nothing
    happens to any other folder. What is committed or in a stash stays.
    """
    if not _is_worktree_of(folder, repository) and not _is_registered(repository, folder):
        return
    end_processes(folder)
    _discard(repository, folder)
    of_batch = os.path.dirname(folder)
    ours = [of_batch]
    if os.path.dirname(of_batch) == f"{repository}.worktrees":  # a folder that a person named is theirs, empty or not
        ours.append(os.path.dirname(of_batch))
    for empty in ours:
        try:
            os.rmdir(empty)
        except OSError:
            return


def finish_branch(repository: str, branch: str, commit: str, *, keep: bool) -> None:
    """After its feature was merged: let the branch of the attempt end, or (`keep`) have what was merged."""
    if keep:
        git_client.run_git(repository, "update-ref", "-m", "batch: merged", f"refs/heads/{branch}", commit, check=False)
    else:
        git_client.run_git(repository, "branch", "--quiet", "-D", branch, check=False)


def end_processes(folder: str) -> None:
    """End whatever an attempt that died has left running for this work tree."""
    processes.end_marked(folder)


def _find_or_clear(repository: str, folder: str) -> bool:
    """Whether the folder is a whole work tree of this repository. One that is none yet, or no longer, is cleared away.
    Refused when something else is there.
    """
    if _is_worktree_of(folder, repository) and not _is_incomplete(folder):
        return True
    if _is_registered(repository, folder):
        _discard(repository, folder)
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise RefusedError(
            f"{folder} is in the way: it is no work tree of this repository. Move it away, or give another folder with "
            "`--worktrees DIR`.",
            "run-branch",
        )
    return False


def _is_worktree_of(folder: str, repository: str) -> bool:
    """Whether the folder is a work tree of this repository."""
    if not os.path.isfile(os.path.join(folder, ".git")) or project_paths.find_git_dir(folder) is None:
        return False
    return get_common_dir(folder) == get_common_dir(repository)


def _is_incomplete(folder: str) -> bool:
    """Whether git was killed before it had checked everything out: until then it keeps the work tree locked."""
    try:
        with open(f"{project_paths.find_git_dir(folder)}/locked", encoding="utf-8", errors="replace") as file:
            return file.read().startswith("initializing")
    except FileNotFoundError:
        return False


def _is_registered(repository: str, folder: str) -> bool:
    """Whether the repository knows a work tree in this folder, whatever is there."""
    wanted = os.path.realpath(folder)
    return any(os.path.realpath(place) == wanted for place, _ in list_worktrees(repository)[1:])


def _discard(repository: str, folder: str) -> None:
    """Take away a work tree that the repository knows, whatever is there of it."""
    if not os.path.isfile(os.path.join(folder, ".git")):  # git then takes it for another's, and leaves it
        shutil.rmtree(folder, ignore_errors=True)
    git_client.run_git(
        repository, "worktree", "remove", "--force", "--force", folder, check=False, timeout_s=CHECKOUT_S
    )


def _remove_stale_locks(folder: str, branch: Optional[str]) -> None:
    """Take away the locks of a git that was killed in this work tree. Nobody else's are touched."""
    places = [f"{project_paths.find_git_dir(folder)}/{name}.lock" for name in ("index", "HEAD")]
    if branch is not None:
        places.append(f"{get_common_dir(folder)}/refs/heads/{branch}.lock")
    for place in places:
        try:
            os.unlink(place)
        except FileNotFoundError:
            continue


def get_common_dir(root: str) -> str:
    """The git folder that all work trees of a repository share, links resolved; empty where there is no git."""
    answer = git_client.run_git(root, "rev-parse", "--git-common-dir", check=False).stdout.rstrip("\n")
    return os.path.realpath(os.path.join(root, answer)) if answer else ""
