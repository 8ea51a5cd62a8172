"""Keep what an attempt left uncommitted in the user's working tree as a snapshot, then take it out of the tree.

    ref = keep(root, "refs/batch/B/1.1", known, before)     None when nothing would be lost
    take_out(root, ref, known, before)                      may be repeated: finishes what was killed on the way

`known` are untracked paths that stay, `before` paths that were modified or untracked when the attempt began, both as
`git_client.list_changes` has them: neither is kept nor changed. Ignored files and nested repositories stay as well.
`keep` changes neither files nor index nor stashes. `take_out` ends a git operation that is in progress, and takes out
only what the snapshot has: a file that was changed since stays. What is uncommitted in a submodule is kept there, under
the same ref.

`git cherry-pick -n -m 1 REF` brings a snapshot back: it merges new files, changes and deletions into what is there.
"""

from __future__ import annotations

import os
import tempfile

from ..base import project_paths
from . import git_client, snapshots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, List, Optional, Sequence, Tuple

_STATE = f"{project_paths.STATE_FOLDER}/{project_paths.STATE_NAME}"
_AUTOSTASHES = ("MERGE_AUTOSTASH", "rebase-merge/autostash", "rebase-apply/autostash")
_FROM_STDIN = ("--pathspec-from-file=-", "--pathspec-file-nul")


def keep(root: str, ref: str, known: Iterable[str] = (), before: Iterable[str] = ()) -> Optional[str]:
    """Keep what is uncommitted, and what only a git operation in progress has. Return the ref, `ref` or with a number
    behind it when that is taken; None when there is nothing.
    """
    top, head = git_client.get_top(root), git_client.get_head(root)
    paths, _ = _list_leftovers(root, list(known), list(before))
    is_in_operation = git_client.operation_in_progress(top) is not None
    if not paths and not is_in_operation:
        return None
    has_inner = any([keep(os.path.join(top, path), ref) for path in _list_submodules(root, paths)])
    for path in git_client.list_moved_submodules(root):
        if path in paths:
            _keep_moved_submodule(os.path.join(top, path), ref)
    git_dir = project_paths.find_git_dir(top) or ""
    tips = snapshots.list_unique_in_operation(top, git_dir, head) if is_in_operation else []
    tree = _write_tree_with(top, head, paths)
    staged = snapshots.write_index_commit(top, head, tree) if paths else None
    if not (tips or staged or has_inner) and tree == snapshots.get_tree_or_empty(top, head):
        return None
    parents = [head or snapshots.write_empty_commit(top), *tips, *([staged] if staged else [])]
    return snapshots.create_ref(top, ref, snapshots.write_snapshot(top, tree, parents, top))


def _keep_moved_submodule(folder: str, ref: str) -> None:
    """Keep the commit that a submodule is at if it is on no branch."""
    commit = git_client.get_head(folder)
    if commit and not git_client.run_git(folder, "for-each-ref", "--count=1", f"--contains={commit}").stdout:
        snapshots.create_ref(folder, ref, commit)


def take_out(root: str, ref: Optional[str], known: Iterable[str] = (), before: Iterable[str] = ()) -> None:
    """Take out of the working tree what the snapshot `ref` has, and end a git operation that is in progress."""
    known, before, top = list(known), list(before), git_client.get_top(root)
    if ref is not None:
        _restore_files(root, top, ref, known, before)
    operation = git_client.find_operation(top)
    if operation is None:
        return
    if not before and ref is not None:  # else git would bring back what the snapshot has
        for name in _AUTOSTASHES:
            _remove_leftover_file(os.path.join(project_paths.find_git_dir(top) or "", name))
    git_client.run_git(top, *operation[3])


def _restore_files(root: str, top: str, ref: str, known: List[str], before: List[str]) -> None:
    """Make the files that are as in the snapshot what they are in HEAD, in working tree and index."""
    paths, staged = _list_leftovers(root, known, before)
    for path in _list_submodules(root, paths):
        inner = os.path.join(top, path)
        kept = snapshots.find_newest(inner, ref)
        if kept:
            take_out(inner, kept)
    changed = _list_differences(top, ref, _write_tree_with(top, ref, paths))
    paths = [path for path in paths if path not in changed]
    if not paths and not staged:
        return
    head = git_client.get_head(root)
    reset = ("reset", "--quiet") if head else ("rm", "-r", "--cached", "--quiet", "--force", "--ignore-unmatch")
    git_client.run_git(top, *reset, *_FROM_STDIN, input="\0".join([*paths, *staged]), literal_paths=True)
    in_head = _list_in_tree(top, head, paths)
    for path in paths:
        if path not in in_head:
            _remove_leftover_file(os.path.join(top, path))
            _remove_empty_folders(top, os.path.dirname(path))
    # A folder in place of a file has files that stay, or is a submodule.
    files = [path for path in paths if path in in_head and not _is_folder(os.path.join(top, path))]
    listed = "".join(f"{path}\0" for path in files)
    git_client.run_git(top, "checkout-index", "--force", "--index", "-z", "--stdin", input=listed)
    moved = [f"{top}/{path}" for path in git_client.list_moved_submodules(root) if path in paths]
    if moved:
        update = ("submodule", "--quiet", "update", "--no-fetch", "--checkout")
        git_client.run_git(root, *update, "--", *moved, literal_paths=True)


def _list_leftovers(root: str, known: List[str], before: List[str]) -> Tuple[List[str], List[str]]:
    """Return the files that an attempt has changed or made, and those in `known` that it has only staged."""
    top = git_client.get_top(root)
    tracked = git_client.exclude_known(git_client.list_changes(root)[0], before)
    unknown = set(git_client.exclude_known(tracked, known))
    maybe_staged = [path for path in tracked if path not in unknown]
    in_head = _list_in_tree(top, git_client.get_head(root), maybe_staged) if maybe_staged else set()
    staged = [path for path in maybe_staged if path not in in_head]
    output = git_client.run_git(top, "ls-files", "--others", "--exclude-standard", "-z").stdout
    new = [path for path in output.split("\0") if path and path[-1] != "/" and not path.startswith(_STATE)]
    new = [path for path in git_client.exclude_known(new, [*known, *before]) if snapshots.is_content(top, path)]
    return sorted({*tracked, *new}.difference(staged)), staged


def _list_submodules(root: str, paths: Sequence[str]) -> List[str]:
    return [path for path in git_client.list_changed_submodules(root) if path in paths]


def _write_tree_with(top: str, commit: Optional[str], paths: Sequence[str]) -> str:
    """Return the tree of `commit` (None: the empty one) with these paths as they are in the working tree."""
    present = [path for path in paths if _is_present(top, path)]
    gone = set(paths).difference(present)
    with tempfile.TemporaryDirectory(prefix="batch-leftovers-", dir=project_paths.find_git_dir(top)) as folder:
        index = {"GIT_INDEX_FILE": os.path.join(folder, "index")}

        def run_git(*words: str, **options: Any) -> git_client.GitResult:
            return git_client.run_git(top, *words, environment=index, timeout_s=snapshots.SNAPSHOT_S, **options)

        run_git("read-tree", *([commit] if commit else ["--empty"]))
        for options, listed in ((("--force-remove",), gone), (("--add", "--replace"), present)):
            run_git("update-index", *options, "-z", "--stdin", input="".join(f"{path}\0" for path in listed))
        return run_git("write-tree").stdout.strip()


def _is_present(top: str, path: str) -> bool:
    """Return whether a file, link or repository is at this path, and no link in place of a folder above it."""
    place = os.path.join(top, path)
    if _is_folder(place):
        return os.path.lexists(os.path.join(place, ".git"))
    parent = os.path.dirname(path)
    is_direct = not parent or os.path.realpath(os.path.join(top, parent)) == os.path.join(os.path.realpath(top), parent)
    return is_direct and snapshots.is_content(top, path)


def _is_folder(place: str) -> bool:
    return os.path.isdir(place) and not os.path.islink(place)


def _list_differences(top: str, one: str, other: str) -> List[str]:
    words = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", f"{one}^{{tree}}", other)
    return git_client.run_git(top, *words).stdout.split("\0")[:-1]


def _list_in_tree(top: str, commit: Optional[str], paths: Sequence[str]) -> set[str]:
    """Return which of these paths a commit has."""
    if commit is None or not paths:
        return set()
    names = git_client.run_git(top, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).stdout.split("\0")
    return set(names).intersection(paths)


def _remove_leftover_file(path: str) -> None:
    if _is_folder(path):
        return
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass


def _remove_empty_folders(top: str, folder: str) -> None:
    while folder:
        try:
            os.rmdir(os.path.join(top, folder))
        except OSError:
            return
        folder = os.path.dirname(folder)
