"""Prepare the worktree that a verify command runs in: what git makes of one commit, and nothing else.

    prepare(repository, folder, commit, source=worker_tree, setup=setup)
    run_in_worktree("make test", folder, ...)               of `base.subprocesses`

The worktree is detached and used again. Whatever ran in it before leaves no trace: git operations in progress are
ended, files and modes are those of the commit, also where flags of the index or settings hide a change, and every
untracked, ignored or nested file is removed. Only what the setup command left stays (see `tree_setup`). Submodules are
checked out from repositories on this machine alone.
"""

from __future__ import annotations

import os
import shutil

from ..base import project_paths
from ..core.errors import RefusedError, StateError
from . import git_client, submodules, tree_setup, worktrees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence

    from .tree_setup import Setup

# Settings that would run a program of the project, or hide from git that a file differs from the commit.
_SETTINGS = (
    "core.hooksPath=/dev/null", "core.fileMode=true", "core.ignoreStat=false", "core.trustctime=true",
    "core.checkStat=default", "core.fsmonitor=false", "core.untrackedCache=false", "core.sparseCheckout=false",
    "submodule.recurse=false", "protocol.file.allow=always", "protocol.version=2",
)  # fmt: skip
_PINNED = tuple(word for setting in _SETTINGS for word in ("-c", setting))
_QUITS = (("rebase", "--quit"), ("am", "--quit"), ("cherry-pick", "--quit"), ("revert", "--quit"), ("bisect", "reset"))
_OPERATION_FILES = (
    "rebase-apply", "rebase-merge", "sequencer", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG",
)  # fmt: skip


def prepare(
    repository: str, folder: str, commit: str, *, source: Optional[str] = None, setup: Optional[Setup] = None
) -> None:
    """Make the worktree `folder` exactly what `commit` is, and what `setup` makes of it.

    `source` is the working tree that the commit was made in. Processes that an earlier command left in the worktree are
    ended. What a setup command left earlier stays, also without `setup`. Raises RefusedError when something else is in
    the folder or the commit of a submodule is in no repository on this machine, StateError when git or the disk
    refuses, SetupFailed and SetupStopped.
    """
    worktrees.end_processes(folder)
    commit = git_client.run_git(repository, "rev-parse", "--verify", f"{commit}^{{commit}}").stdout.strip()
    _repair_head(repository, folder, commit)
    worktrees.add_detached(repository, folder, commit, *_PINNED)
    try:
        _reset(folder, commit)
    except StateError:
        # What ran in it may have damaged its index or HEAD. It has nothing but what git wrote and what ran left.
        worktrees.remove_generated(repository, folder)
        worktrees.add_detached(repository, folder, commit, *_PINNED)
        _reset(folder, commit)
    os.chmod(folder, 0o700)
    trees = [tree for tree in (source, repository) if tree]
    modules = os.path.join(worktrees.get_common_dir(folder), "modules")
    _checkout_submodules(folder, commit, trees, modules)
    if setup is not None and not tree_setup.is_current(folder, commit, setup):
        tree_setup.begin(folder, setup)
        _reset(folder, commit)
        _checkout_submodules(folder, commit, trees, modules)
        tree_setup.run(folder, commit, setup)
        _reset(folder, commit)
        _checkout_submodules(folder, commit, trees, modules)


def _repair_head(repository: str, folder: str, commit: str) -> None:
    """Make HEAD of the worktree readable again: without it git does not know that the folder is a worktree."""
    try:
        with open(os.path.join(folder, ".git"), encoding="utf-8", errors="surrogateescape") as file:
            git_dir = os.path.realpath(file.read().rstrip("\n").partition("gitdir: ")[2])
    except OSError:
        return
    if os.path.dirname(git_dir) != os.path.join(worktrees.get_common_dir(repository), "worktrees"):
        return
    if git_client.run_git(folder, "rev-parse", "--git-dir", check=False).returncode != 0 and os.path.isdir(git_dir):
        with open(os.path.join(git_dir, "HEAD"), "w", encoding="ascii") as file:
            file.write(f"{commit}\n")


def _reset(folder: str, commit: str) -> None:
    """End what is in progress in the worktree, and make its files those of the commit."""
    git_dir = project_paths.find_git_dir(folder) or ""
    if git_client.operation_in_progress(folder):
        for arguments in _QUITS:
            git_client.run_git(folder, *_PINNED, *arguments, check=False)
        for name in _OPERATION_FILES:  # of a git that was killed before it had written all of them
            _remove_path(os.path.join(git_dir, name))
    # Not `reset` or `checkout` alone: HEAD may be on a branch that a command made, which would move.
    git_client.run_git(folder, *_PINNED, "update-ref", "--no-deref", "-m", "batch: verify", "HEAD", commit)
    if _has_flagged_entries(folder):
        _remove_path(os.path.join(git_dir, "index"))
        tree_setup.forget(folder)  # files that only the index knew would stay in what is kept
    git_client.run_git(folder, *_PINNED, "reset", "--quiet", "--hard", commit, timeout_s=worktrees.CHECKOUT_S)
    _clean(folder)


def _has_flagged_entries(folder: str) -> bool:
    """Return whether git takes files for unchanged without a look: skip-worktree or assume-unchanged."""
    listed = git_client.run_git(folder, *_PINNED, "ls-files", "-v", "-z").stdout
    return any(entry[0] == "S" or entry[0].islower() for entry in listed.split("\0") if entry)


def _clean(folder: str) -> None:
    """Remove everything that is not tracked, also nested repositories and folders without write permission; not what
    the setup command left.
    """
    kept = tree_setup.list_kept_patterns(folder)
    clean = (*_PINNED, "clean", "-ffdxq", *(f"--exclude={pattern}" for pattern in kept))
    if git_client.run_git(folder, *clean, check=False, timeout_s=worktrees.CHECKOUT_S).returncode == 0:
        return
    for place, folders, _ in os.walk(folder):  # a module cache of Go has such folders
        for name in folders:
            path = os.path.join(place, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | 0o700)
    git_client.run_git(folder, *clean, timeout_s=worktrees.CHECKOUT_S)


def _checkout_submodules(tree: str, commit: str, trees: Sequence[str], modules: str) -> None:
    """Check out the submodules of `commit` in `tree`. They are fetched from the same path in one of `trees`, or from
    the folder `modules` of a git folder; a submodule that is checked out in none of them stays empty.
    """
    links = submodules.list_gitlinks(tree, commit)
    names = submodules.list_names(tree, commit) if links else {}
    for path, wanted in links.items():
        name = names.get(path)
        places = [os.path.join(other, path) for other in trees]
        stored = os.path.join(modules, *name.split("/")) if name and ".." not in name.split("/") else None
        sources = [place for place in places if os.path.lexists(os.path.join(place, ".git"))]
        if stored and os.path.isfile(os.path.join(stored, "HEAD")):
            sources.append(stored)
        target = os.path.join(tree, path)
        if not sources:
            # The setup command fetched it.
            if path in tree_setup.list_nested(tree) and git_client.has_object(target, wanted):
                _reset(target, wanted)
                _checkout_submodules(target, wanted, [], "")
                continue
            _remove_path(target)
            os.makedirs(target, exist_ok=True)
            continue
        _checkout_submodule(target, wanted, sources, path)
        _checkout_submodules(target, wanted, places, os.path.join(stored or "", "modules"))


def _checkout_submodule(target: str, commit: str, sources: List[str], path: str) -> None:
    """Make the folder `target` a repository at `commit`, which is fetched from one of `sources`."""
    if os.path.isdir(os.path.join(target, ".git")):
        try:
            if _fetch_commit(target, commit, sources):
                _reset(target, commit)
                return
        except StateError:
            pass  # what ran in it has damaged it: made again
    _remove_path(target)
    os.makedirs(target)
    git_client.run_git(target, "init", "--quiet", "--template=")
    if not _fetch_commit(target, commit, sources):
        raise RefusedError(
            f"The commit {commit[:12]} of the submodule {git_client.format_paths([path])} is in no repository on this "
            "machine, so nothing can be verified with it. Run `git submodule update --init` in the working tree, or "
            "commit inside the submodule there, then try again.",
            "not-committed",
        )
    _reset(target, commit)


def _fetch_commit(target: str, commit: str, sources: Sequence[str]) -> bool:
    """Return whether the repository has the commit, after it was fetched from the first source that has it."""
    if git_client.has_object(target, commit):
        return True
    for source in sources:
        git_client.run_git(
            target, *_PINNED, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", source, commit, check=False,
            timeout_s=worktrees.CHECKOUT_S,
        )  # fmt: skip
        if git_client.has_object(target, commit):
            return True
    return False


def _remove_path(path: str) -> None:
    """Remove a file, link or folder if it exists."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
