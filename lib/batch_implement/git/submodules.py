"""Find the submodules of a commit, and keep what is committed in those of a worktree that goes.

    list_gitlinks(root, commit)         path -> commit of what git commits as a link, submodule or not
    list_names(root, commit)            path -> name, of those that `.gitmodules` names
    iter_checked_out(root, commit)      paths, those inside of submodules too
    keep_commits(folder, modules, ref)  into `.git/modules/NAME` of the project

A worktree has its own repositories of its submodules, which git removes with it.
"""

from __future__ import annotations

import os
import shutil

from . import git_client, snapshots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List

GITLINK = "160000"
FETCH_S = 600


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
            if git_client.has_object(inside, wanted):
                yield from iter_checked_out(inside, wanted, f"{prefix}{path}/")


def keep_commits(folder: str, modules: str, ref: str) -> None:
    """Fetch what is committed in the submodules of the worktree `folder` into the project's own repositories of them,
    in the folder `modules` (`.git/modules`), unless a ref there has it: as `ref`, or with a number behind it.

    A repository that is not there yet is created, so that `git submodule update --init` finds the commit. Raises
    StateError when git or the disk refuses.
    """
    head = git_client.get_head(folder)
    links = list_gitlinks(folder, head) if head else {}
    names = list_names(folder, head) if links and head else {}
    for path, wanted in links.items():
        parts, inside = names.get(path, "").split("/"), os.path.join(folder, path)
        if not all(parts) or ".." in parts or not os.path.lexists(os.path.join(inside, ".git")):
            continue
        stored = os.path.join(modules, *parts)
        for commit in _list_tips(inside, wanted):
            if not os.path.isfile(os.path.join(stored, "HEAD")):
                _create_repository(stored, inside)
            if not _run_in_stored(stored, "for-each-ref", "--count=1", f"--contains={commit}", check=False).stdout:
                _fetch_into(stored, inside, commit, ref)
        keep_commits(inside, os.path.join(stored, "modules"), ref)


def _list_tips(root: str, wanted: str) -> List[str]:
    """Return the commits of HEAD and branches, and the one that is wanted, as far as the repository has them."""
    heads = git_client.run_git(root, "for-each-ref", "--format=%(objectname)", "refs/heads").stdout.split()
    tips = dict.fromkeys([git_client.get_head(root) or wanted, *heads, wanted])
    return [commit for commit in tips if git_client.has_object(root, commit)]


def _create_repository(stored: str, inside: str) -> None:
    """Create the repository of a submodule that the project has not checked out yet, with the remote of `inside` and
    what was fetched from there.
    """
    new = f"{stored}.{os.getpid()}.new"  # others may look for commits in it at any time
    git_client.run_git("/", "init", "--quiet", "--bare", "--template=", new)
    url = git_client.run_git(inside, "config", "--get", "remote.origin.url", check=False).stdout.rstrip("\n")
    settings = {"core.bare": "false"}
    if url:
        settings.update({"remote.origin.url": url, "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*"})
    for name, value in settings.items():
        _run_in_stored(new, "config", name, value)
    _fetch(new, inside, "+refs/remotes/origin/*:refs/remotes/origin/*")
    try:
        os.rename(new, stored)
    except OSError:  # another attempt was first
        shutil.rmtree(new)


def _fetch_into(stored: str, inside: str, commit: str, ref: str) -> None:
    free = snapshots.find_free_ref(stored, ref, _environment(stored))
    _fetch(stored, inside, f"{commit}:{free}")


def _fetch(stored: str, inside: str, refspec: str) -> None:
    _run_in_stored(
        stored, "-c", "protocol.file.allow=always", "-c", "protocol.version=2", "fetch", "--quiet", "--no-tags",
        "--no-write-fetch-head", "--no-recurse-submodules", os.path.realpath(inside), refspec, timeout_s=FETCH_S,
    )  # fmt: skip


def _run_in_stored(stored: str, *arguments: str, **options: Any) -> git_client.GitResult:
    return git_client.run_git(stored, *arguments, environment=_environment(stored), **options)


def _environment(stored: str) -> Dict[str, str]:
    # Its working tree, which its settings name, may be gone: then git would not begin.
    return {"GIT_DIR": stored, "GIT_WORK_TREE": stored}
