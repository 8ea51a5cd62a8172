"""Talk to a remote repository: find it, list its branches, push to them.

    url = find_push_url(root)                               without credentials; None if there is no remote
    branches = list_remote_branches(root, url, ["main"])    branch -> commit
    push_branches(root, url, {"main": commit})              None in place of a commit deletes the branch

A remote is a name or a URL. If git fails, RemoteError has its output; no answer in time is a StateError.
"""

from __future__ import annotations

import os

from ..core.errors import StateError
from . import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, Mapping, Optional

_HEADS = "refs/heads/"


class RemoteError(StateError):
    """A git command failed at the remote. `output` is all that it printed."""

    def __init__(self, command: str, remote: str, output: str) -> None:
        super().__init__(f"`git {command}` failed for {remote}: {' '.join(output.split())[-500:]}", "git-trouble")
        self.output = output


def find_push_url(root: str) -> Optional[str]:
    """Return the push URL of the current branch's remote, else of `origin`, else of any; None without a remote."""
    names = git_client.run_git(root, "remote").stdout.split()
    config = f"branch.{git_client.get_branch(root)}.remote"
    preferred = git_client.run_git(root, "config", config, check=False).stdout.strip()
    name = next((name for name in (preferred, "origin", *names) if name in names), None)
    if name is None:
        return None
    return strip_credentials(git_client.run_git(root, "remote", "get-url", "--push", name).stdout.strip(), root)


def strip_credentials(url: str, root: str) -> str:
    """Return a URL without password or token; a path becomes absolute."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        is_path = ":" not in url.partition("/")[0]
        return os.path.normpath(os.path.join(root, url)) if is_path else url
    host, slash, path = rest.partition("/")
    if scheme in ("http", "https"):
        host = host.rpartition("@")[2]
    elif ":" in host.rpartition("@")[0]:
        host = f"{host.partition(':')[0]}@{host.rpartition('@')[2]}"
    return f"{scheme}://{host}{slash}{path}"


def list_remote_branches(
    root: str, remote: str, branches: Iterable[str], *, timeout_s: Optional[float] = None
) -> Dict[str, str]:
    """Return the commits of those `branches` (names or patterns such as `batch/*`) that the remote has."""
    refs = [f"{_HEADS}{branch}" for branch in branches]
    result = git_client.run_git(root, "ls-remote", "--", remote, *refs, check=False, timeout_s=timeout_s)
    if result.returncode != 0:
        raise RemoteError("ls-remote", remote, result.stderr)
    rows = (line.partition("\t") for line in result.stdout.splitlines())
    return {ref[len(_HEADS) :]: commit for commit, _, ref in rows if ref.startswith(_HEADS)}


def push_branches(
    root: str, remote: str, branches: Mapping[str, Optional[str]], *options: str, timeout_s: float
) -> None:
    """Push commits to branches of the remote, never by force; None deletes a branch."""
    refspecs = [f"{commit or ''}:{_HEADS}{branch}" for branch, commit in branches.items()]
    result = git_client.run_git(
        root, "push", "--porcelain", "--no-follow-tags", *options, "--", remote, *refspecs, check=False,
        timeout_s=timeout_s,
    )  # fmt: skip
    if result.returncode != 0:
        raise RemoteError("push", remote, f"{result.stdout}\n{result.stderr}")
