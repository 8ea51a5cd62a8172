"""List the untracked files of a working tree, in bounded time and length.

    at_start = list_untracked(root)             when a batch begins
    list_added(root, commits, at_start)         which of them these commits add

Paths are relative to the top of the working tree. A folder ends with `/` and stands for all files in it.
"""

from __future__ import annotations

from . import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence

MAX_FILES = 1000  # files that are listed one by one; the folders of further ones are listed instead


def list_untracked(root: str) -> List[str]:
    """Return the untracked paths without ignored ones: files, and folders with too many of them."""
    paths = git_client.list_changes(root)[1]
    folders = [path for path in paths if path.endswith("/")]
    if not folders:
        return paths
    names = git_client.run_git(
        git_client.get_top(root), "ls-files", "--others", "--exclude-standard", "-z", "--", *folders, literal_paths=True
    ).stdout.split("\0")[:-1]
    return _replace_folders(paths, folders, names)


def list_added(root: str, commits: Sequence[str], known: Sequence[str]) -> List[str]:
    """Return the paths that these commits add and that are in `known` or below a folder in it."""
    if not commits or not known:
        return []
    options = ("-r", "-c", "--root", "--name-only", "--diff-filter=A", "--no-renames", "--no-commit-id", "-z")
    lines = "".join(f"{commit}\n" for commit in commits)
    output = git_client.run_git(root, "diff-tree", "--stdin", *options, "--no-ext-diff", input=lines).stdout
    added = sorted(set(output.split("\0")) - {""})
    unknown = set(git_client.exclude_known(added, known))
    # A nested repository is untracked as `NAME/`, and added as `NAME`.
    nested = set(git_client.exclude_known([f"{path}/" for path in added], [path for path in known if path[-1:] == "/"]))
    return [path for path in added if path not in unknown or f"{path}/" not in nested]


def _replace_folders(paths: List[str], folders: List[str], names: List[str]) -> List[str]:
    """Return `paths` with the files `names` in place of their `folders`, the largest of which stay beyond MAX_FILES."""
    files: Dict[str, List[str]] = {folder: [] for folder in folders}
    for name in names:
        parts = name.split("/")
        folder = next(at for at in map("/".join, ([*parts[:n], ""] for n in range(1, len(parts) + 1))) if at in files)
        files[folder].append(name)
    total = 0
    for folder in sorted(folders, key=lambda folder: len(files[folder])):
        total += len(files[folder])
        if total > MAX_FILES or not files[folder]:
            files[folder] = [folder]
    return [path for path in paths if path not in files] + [name for folder in folders for name in files[folder]]
