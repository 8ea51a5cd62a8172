"""Find the submodules of a commit, and those that are checked out in a working tree.

list_gitlinks(root, commit)         path -> commit of what git commits as a link, submodule or not
list_names(root, commit)            path -> name, of those that `.gitmodules` names
iter_checked_out(root, commit)      paths, those inside of submodules too
"""

from __future__ import annotations

import os

from . import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator

GITLINK = "160000"


def list_gitlinks(root: str, commit: str) -> Dict[str, str]:
    """Return the commit of each path that is a submodule or nested repository in `commit`."""
    links: Dict[str, str] = {}
    for line in git_client.run_git(root, "ls-tree", "-r", "-z", "--full-tree", commit).stdout.split("\0"):
        mode, _, rest = line.partition(" ")
        if mode == GITLINK:
            entry, _, path = rest.partition("\t")
            links[path] = entry.split()[1]
    return links


def list_names(root: str, commit: str) -> Dict[str, str]:
    """Return the name of each submodule by its path, as `.gitmodules` in `commit` has them."""
    listed = git_client.run_git(
        root, "config", "--null", "--blob", f"{commit}:.gitmodules", "--get-regexp", r"^submodule\..*\.path$",
        check=False,
    ).stdout  # fmt: skip
    names = {}
    for entry in listed.split("\0")[:-1]:
        key, _, path = entry.partition("\n")
        names[path.rstrip("/")] = key[len("submodule.") : -len(".path")]
    return names


def iter_checked_out(folder: str, commit: str, prefix: str = "") -> Iterator[str]:
    """Yield the paths of the submodules of `commit` that are checked out in the worktree, those inside of them too."""
    for path, wanted in list_gitlinks(folder, commit).items():
        inside = os.path.join(folder, path)
        if os.path.lexists(os.path.join(inside, ".git")):
            yield prefix + path
            if has_commit(inside, wanted):
                yield from iter_checked_out(inside, wanted, f"{prefix}{path}/")


def has_commit(root: str, commit: str) -> bool:
    """Return whether the repository has the commit, also where no ref has it."""
    return git_client.run_git(root, "cat-file", "-e", f"{commit}^{{commit}}", check=False).returncode == 0
