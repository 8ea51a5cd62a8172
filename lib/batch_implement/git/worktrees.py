"""Worktrees and branches of a batch: one of each per attempt at a feature, and one for the merge queue.

    batch/ID/merged                       the features done so far; batch/ID/3-add-login is attempt 1 at feature 3,
                                          batch/ID/3-add-login.2 attempt 2
    TOP/3-add-login, TOP/3-add-login.2    their worktrees; TOP is WORKTREES/ID
    TOP/verify-0, TOP/merged              where the verify command runs (`verify_tree`): of a slot, of the merge queue

Names follow from the batch, the feature and the attempt alone, so that what a dead run left is found again. An existing
worktree is used as it is, after repair: an incomplete checkout is made again, locks of a killed git are removed.
Nothing outside of these folders and branches is touched.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil

from ..base import process_identity, project_paths
from ..core.errors import RefusedError
from . import git_client, snapshots, submodules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

CHECKOUT_S = 600
MAX_SLUG_LENGTH = 40
PREFLIGHT_NAME = "preflight"


def list_worktrees(repository: str) -> List[Tuple[str, str]]:
    """Return path and ref of each worktree of the repository, the main one first; an empty ref for a detached HEAD."""
    trees: List[Tuple[str, str]] = []
    for line in git_client.run_git(repository, "worktree", "list", "--porcelain", check=False).stdout.splitlines():
        name, _, value = line.partition(" ")
        if name == "worktree":
            trees.append((value, ""))
        elif name == "branch":
            trees[-1] = (trees[-1][0], value)
    return trees


def make_slug(text: str) -> str:
    """Return text as part of a name: `a-z0-9-`, at most MAX_SLUG_LENGTH characters, never empty."""
    letters = [letter if letter.isascii() and letter.isalnum() else " " for letter in text.lower()[:400]]
    words = "-".join("".join(letters).split())
    return words[:MAX_SLUG_LENGTH].rstrip("-") or "feature"


def get_batch_branch(batch_id: str) -> str:
    """Return the branch that all features of a batch are merged into."""
    return f"batch/{batch_id}/merged"


def get_attempt_branch(batch_id: str, index: int, text: str, attempt: int) -> str:
    """Return the branch of an attempt at feature `index`."""
    return f"batch/{batch_id}/{_get_attempt_name(index, text, attempt)}"


def get_attempt_folder(top: str, index: int, text: str, attempt: int) -> str:
    """Return the path of the worktree of an attempt at feature `index`."""
    return os.path.join(top, _get_attempt_name(index, text, attempt))


def get_verify_folder(top: str, slot: int) -> str:
    """Return the path of the worktree that the attempts of a slot are verified in."""
    return os.path.join(top, f"verify-{slot}")


def get_merge_folder(top: str) -> str:
    """Return the path of the merge queue's worktree."""
    return os.path.join(top, "merged")


def list_generated_folders(top: str) -> List[str]:
    """Return the worktrees that verify commands run in: the merge queue's, and those of slots that exist."""
    return [get_merge_folder(top), *sorted(glob.glob(os.path.join(glob.escape(top), "verify-*")))]


def _get_attempt_name(index: int, text: str, attempt: int) -> str:
    return f"{index + 1}-{make_slug(text)}" + (f".{attempt}" if attempt > 1 else "")


def add(repository: str, folder: str, branch: str, base: str) -> None:
    """Make a worktree in `folder` on `branch`, which starts at `base` if it is new. Keep both if they exist.

    Raises RefusedError when something else is in the folder.
    """
    if _reuse(repository, folder, branch):
        return
    is_new = git_client.get_branch_tip(repository, branch) is None
    target = ["-b", branch, folder, base] if is_new else [folder, branch]
    git_client.run_git(repository, "worktree", "add", "--quiet", *target, timeout_s=CHECKOUT_S)


def add_detached(repository: str, folder: str, commit: str, *options: str) -> None:
    """Make a worktree in `folder` at `commit`, on no branch; keep one that exists. `options` are git's own."""
    if _reuse(repository, folder, None):
        return
    os.makedirs(folder, mode=0o700, exist_ok=True)
    git_client.run_git(
        repository, *options, "worktree", "add", "--quiet", "--detach", folder, commit, timeout_s=CHECKOUT_S
    )


def remove(repository: str, folder: str) -> Optional[str]:
    """Remove a worktree of this repository, also an incomplete one, after what is unique in it was kept as a snapshot.

    Return the ref of the snapshot, None without one. Do nothing to any other folder. Raises StateError when something
    cannot be kept: then the worktree stays.
    """
    ref = None
    if _is_worktree_of(folder, repository) and not _is_incomplete(folder):
        end_processes(folder)
        _remove_stale_locks(folder, None)
        keep_submodule_commits(repository, folder)
        ref = snapshots.keep_worktree(folder, _get_snapshot_ref(*folder.rstrip("/").split("/")[-2:]))
    remove_generated(repository, folder)
    return ref


def keep_submodule_commits(repository: str, folder: str) -> None:
    """Keep what is committed in the submodules of an attempt's worktree in the repository (see `submodules`)."""
    ref = _get_snapshot_ref(*folder.rstrip("/").split("/")[-2:])
    submodules.keep_commits(folder, os.path.join(get_common_dir(repository), "modules"), ref)


def _get_snapshot_ref(batch_id: str, name: str) -> str:
    """Return the ref for snapshots of an attempt: `refs/batch/BATCH/FEATURE.ATTEMPT`, from the name of its branch."""
    number, is_attempt, rest = name.partition("-")
    if is_attempt and number.isdigit():
        attempt = rest.rpartition(".")[2] if "." in rest else ""
        name = f"{number}.{attempt if attempt.isdigit() else 1}"
    return snapshots.get_ref(batch_id, name)


def remove_generated(repository: str, folder: str) -> None:
    """Remove a worktree of this repository in which only git and the verify command have written.

    Do nothing to any other folder.
    """
    if not _is_worktree_of(folder, repository) and not _is_registered(repository, folder):
        return
    end_processes(folder)
    _discard(repository, folder)
    batch_folder = os.path.dirname(folder)
    parents = [batch_folder]
    if os.path.dirname(batch_folder) == f"{repository}.worktrees":  # a folder that the user named stays, even empty
        parents.append(os.path.dirname(batch_folder))
    for parent in parents:
        try:
            os.rmdir(parent)
        except OSError:
            return


def remove_preflights(repository: str, top: str) -> None:
    """Remove the worktrees of preflights that died, of all batches below `top`: no state knows them."""
    for folder in glob.glob(os.path.join(glob.escape(top), "*", PREFLIGHT_NAME)):
        if not process_identity.find_marked(folder):
            remove_generated(repository, folder)
            for path in (folder, os.path.dirname(folder)):  # git died before it had begun
                with contextlib.suppress(OSError):
                    os.rmdir(path)


def finish_branch(repository: str, branch: str, commit: str, *, keep: bool) -> None:
    """Delete the branch of an attempt that was merged, or (`keep`) move it to the merged commit.

    Commits that only this branch has, because they were rebased, are kept as a snapshot.
    """
    if keep:
        snapshots.keep_branch(repository, branch, _get_snapshot_ref(*branch.split("/")[-2:]))
        git_client.run_git(repository, "update-ref", "-m", "batch: merged", f"refs/heads/{branch}", commit, check=False)
    else:
        delete_branch(repository, branch)


def delete_branch(repository: str, branch: str) -> None:
    """Delete a branch, after the commits that only it has were kept as a snapshot."""
    snapshots.keep_branch(repository, branch, _get_snapshot_ref(*branch.split("/")[-2:]))
    git_client.run_git(repository, "branch", "--quiet", "-D", branch, check=False)


def end_processes(folder: str) -> None:
    """End the processes that a dead attempt left running in this worktree."""
    process_identity.end_marked(folder)


def _reuse(repository: str, folder: str, branch: Optional[str]) -> bool:
    """Return whether the folder is a complete worktree of this repository, without locks of a killed git.

    An incomplete one is removed. Raises RefusedError when something else is there.
    """
    if _is_worktree_of(folder, repository) and not _is_incomplete(folder):
        _remove_stale_locks(folder, branch)
        return True
    if _is_registered(repository, folder):
        _discard(repository, folder)
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise RefusedError(
            f"{folder} already exists and is not a worktree of this repository. Move it away, or give another folder "
            "with `--worktrees DIR`.",
            "run-branch",
        )
    return False


def _is_worktree_of(folder: str, repository: str) -> bool:
    if not os.path.isfile(os.path.join(folder, ".git")) or project_paths.find_git_dir(folder) is None:
        return False
    return get_common_dir(folder) == get_common_dir(repository)


def _is_incomplete(folder: str) -> bool:
    """Return whether git was killed before it had checked everything out: until then it locks the worktree."""
    try:
        with open(f"{project_paths.find_git_dir(folder)}/locked", encoding="utf-8", errors="replace") as file:
            return file.read().startswith("initializing")
    except FileNotFoundError:
        return False


def _is_registered(repository: str, folder: str) -> bool:
    """Return whether the repository has a worktree at this path, whatever is there."""
    wanted = os.path.realpath(folder)
    return any(os.path.realpath(path) == wanted for path, _ in list_worktrees(repository)[1:])


def _discard(repository: str, folder: str) -> None:
    if not os.path.isfile(os.path.join(folder, ".git")):  # `git worktree remove` refuses to remove it then
        shutil.rmtree(folder, ignore_errors=True)
    git_client.run_git(
        repository, "worktree", "remove", "--force", "--force", folder, check=False, timeout_s=CHECKOUT_S
    )


def _remove_stale_locks(folder: str, branch: Optional[str]) -> None:
    """Remove the locks that a killed git left in this worktree, and none of other worktrees."""
    locks = [f"{project_paths.find_git_dir(folder)}/{name}.lock" for name in ("index", "HEAD")]
    if branch is not None:
        locks.append(f"{get_common_dir(folder)}/refs/heads/{branch}.lock")
    for lock in locks:
        try:
            os.unlink(lock)
        except FileNotFoundError:
            continue


def get_common_dir(root: str) -> str:
    """Return the git folder that all worktrees of a repository share, links resolved; empty without a repository."""
    path = git_client.run_git(root, "rev-parse", "--git-common-dir", check=False).stdout.rstrip("\n")
    return os.path.realpath(os.path.join(root, path)) if path else ""
