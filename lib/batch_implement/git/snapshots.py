"""Keep what is nowhere else before a worktree or branch goes: as commits below `refs/batch/`, which git never prunes.

    ref = keep_worktree(folder, "refs/batch/B/1.2")        None when nothing in it is unique
    ref = keep_branch(repository, "batch/B/1-add", "refs/batch/B/1.2")

A snapshot is one commit. Its tree has all files: tracked, untracked, and ignored ones outside of folders that programs
fill (see `artefacts`). Its first parent is HEAD, others are what only the index or a reflog has, an autostash included.
`git cherry-pick -n -m 1 REF` brings the files back, `git log REF` shows the commits. What is in submodules and nested
repositories comes into the repository of the worktree, with a ref of its own beside. Working tree, index, branches and
stashes stay as they are. `leftovers` makes snapshots of the user's tree.

StateError says which paths cannot be kept: then whatever was to go has to stay.
"""

from __future__ import annotations

import os
import stat
import tempfile

from ..base import project_paths
from ..core.errors import StateError
from . import artefacts, git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

PREFIX = "refs/batch/"
SNAPSHOT_S = 600
MAX_IGNORED_BYTES = 256 * 2**20
_STATE = f"{project_paths.STATE_FOLDER}/{project_paths.STATE_NAME}"
_PSEUDO_REFS = (
    "ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "MERGE_AUTOSTASH", "rebase-merge/autostash",
    "rebase-apply/autostash",
)  # fmt: skip
_AUTHOR = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "batch-implement"), ("EMAIL", "batch-implement@localhost"))
}


def get_ref(batch_id: str, name: str) -> str:
    """Return the ref for snapshots of a worktree or branch: `refs/batch/BATCH/NAME`, without characters that git
    refuses.
    """
    parts = ("".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "-" for char in part)
             for part in (batch_id, name))  # fmt: skip
    return PREFIX + "/".join(part.strip(".").replace("..", "-").replace(".lock", "-lock") or "-" for part in parts)


def keep_worktree(folder: str, ref: str) -> Optional[str]:
    """Keep what only this worktree has: files that are not committed, and commits that no ref has.

    Return the ref, `ref` or with a number behind it when that is taken; None when nothing is unique.
    """
    commit = _take_snapshot(folder, folder, ref, ("--glob=refs/*",))
    return create_ref(folder, ref, commit) if commit else None


def keep_branch(repository: str, branch: str, ref: str) -> Optional[str]:
    """Keep the commits that only this branch or its reflog has, as one commit with the branch's tree.

    Return the ref as `keep_worktree` does.
    """
    tip = git_client.get_branch_tip(repository, branch)
    if tip is None:
        return None
    known = (f"--exclude=refs/heads/{branch}", "--glob=refs/*")
    tips = _list_unique_tips(repository, [tip, *_read_reflog(repository, f"refs/heads/{branch}")], known)
    if not tips:
        return None
    if tips == [tip]:
        return create_ref(repository, ref, tip)
    tree = str(git_client.get_tree(repository, tip))
    return create_ref(repository, ref, write_snapshot(repository, tree, [tip, *tips], f"branch {branch}"))


def _take_snapshot(root: str, repository: str, ref: str, known: Sequence[str]) -> Optional[str]:
    """Return the snapshot of the working tree `root`, None when nothing in it is unique.

    `known` are options of `git rev-list` that name the refs which stay. Nested repositories go to `repository` at once.
    """
    head = git_client.get_head(root)
    git_dir = os.path.join(root, git_client.run_git(root, "rev-parse", "--git-dir").stdout.rstrip("\n"))
    candidates = [head] if head else []
    candidates += _read_reflog(root, "HEAD") + list(_read_pseudo_refs(root, git_dir))
    if known == ("--remotes",):  # of a repository that goes as a whole
        candidates += git_client.run_git(root, "for-each-ref", "--format=%(objectname)").stdout.split()
        candidates += _read_reflog(root, "refs/stash")
    tips = _list_unique_tips(root, candidates, known)
    tree, inner = _write_tree(root, git_dir, head)
    has_inner = False
    for number, path in enumerate(inner, 1):
        commit = _take_snapshot(os.path.join(root, path), repository, f"{ref}-in-{number}", ("--remotes",))
        if commit:
            has_inner = True
            _fetch_inner(repository, os.path.join(root, path), f"{ref}-in-{number}", commit)
    staged = write_index_commit(root, head, tree)
    head_tree = git_client.get_tree(root, head)
    if not (tips or staged or has_inner) and (tree == head_tree or (head is None and _is_empty_tree(root, tree))):
        return None
    parents = [head or write_empty_commit(root), *tips, *([staged] if staged else [])]
    return write_snapshot(root, tree, parents, root)


def _write_tree(root: str, git_dir: str, head: Optional[str]) -> Tuple[str, List[str]]:
    """Write all files of the working tree as a tree, with an index of its own. Return it with the paths of submodules
    and nested repositories that are there.

    Raise StateError when a file cannot be read.
    """
    top = git_client.get_top(root)
    ignored = list(_list_ignored_files(top))
    with tempfile.TemporaryDirectory(prefix="batch-snapshot-", dir=git_dir) as folder:
        index = {"GIT_INDEX_FILE": os.path.join(folder, "index")}

        def run_git(*words: str, **options: Any) -> git_client.GitResult:
            return git_client.run_git(top, *words, environment=index, timeout_s=SNAPSHOT_S, **options)

        run_git("read-tree", *([head] if head else ["--empty"]))
        quiet = ("-c", "advice.addEmbeddedRepo=false", "-c", "core.fsmonitor=false", "-c", "core.fileMode=true")
        # A sandbox mounts devices over files, which cannot be added. What is left out is checked below.
        added = run_git(*quiet, "add", "--all", "--ignore-errors", "--", ":/", f":(top,exclude){_STATE}*", check=False)
        if ignored:
            from_stdin = ("--pathspec-from-file=-", "--pathspec-file-nul")
            run_git(*quiet, "add", "--force", *from_stdin, input="\0".join(ignored), literal_paths=True)
        left = run_git("ls-files", "-z", "--others", "--exclude-standard").stdout.split("\0")
        left += run_git(*quiet, "diff-files", "-z", "--name-only", "--ignore-submodules=all").stdout.split("\0")
        lost = sorted(path for path in set(left) if path and not path.startswith(_STATE) and is_content(top, path))
        if lost:
            raise StateError(
                f"These files in {top} cannot be kept, so nothing was removed: {git_client.format_paths(lost)}. "
                f"{added.stderr.strip()[:300]} Move them away, then try again.",
                "git-trouble",
            )
        tree = run_git("write-tree").stdout.strip()
        entries = run_git("ls-files", "--stage", "-z").stdout.split("\0")
    links = [entry.partition("\t")[2] for entry in entries if entry.startswith("160000 ")]
    return tree, [path for path in links if os.path.lexists(os.path.join(top, path, ".git"))]


def is_content(top: str, path: str) -> bool:
    """Return whether there is something at this path that a snapshot should have: no device, socket or FIFO."""
    try:
        mode = os.lstat(os.path.join(top, path)).st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)


def _list_ignored_files(top: str) -> Iterator[str]:
    """Yield the ignored files outside of artefact folders. Raise StateError when they are too large together."""
    size = 0
    for path in git_client.list_ignored_paths(top):
        for file in _walk_files(top, path):
            size += os.lstat(os.path.join(top, file)).st_size
            if size > MAX_IGNORED_BYTES:
                raise StateError(
                    f"Ignored files in {top} are too large to be kept (more than {MAX_IGNORED_BYTES >> 20} MB, such as "
                    f"{git_client.format_paths([file])}), so nothing was removed. Move away what you need, then remove "
                    "the folder with `git worktree remove --force`.",
                    "git-trouble",
                )
            yield file


def _walk_files(top: str, path: str) -> Iterator[str]:
    """Yield the files at or below an ignored path, relative to `top`, without artefacts and git folders."""
    if artefacts.is_artefact(path):
        return
    place = os.path.join(top, path)
    if not os.path.isdir(place) or os.path.islink(place.rstrip("/")):
        if is_content(top, path):
            yield path
        return
    for folder, folders, files in os.walk(place):
        folders[:] = [name for name in folders if not artefacts.is_artefact(name)]
        if ".git" in folders or ".git" in files:
            raise StateError(
                f"{folder} is an ignored repository, which cannot be kept, so nothing was removed. Move it away, then "
                "try again.",
                "git-trouble",
            )
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in [*files, *links]:
            file = os.path.relpath(os.path.join(folder, name), top)
            if not name.endswith(artefacts.ENDINGS) and not file.startswith(_STATE) and is_content(top, file):
                yield file


def write_empty_commit(root: str) -> str:
    """Return a commit without files, as first parent before the first commit: so that the snapshot can be picked."""
    return write_snapshot(root, git_client.write_empty_tree(root), [], "nothing")


def get_tree_or_empty(root: str, commit: Optional[str]) -> str:
    """Return the tree of a commit, the empty tree for None."""
    return git_client.get_tree(root, commit) or git_client.write_empty_tree(root)


def list_unique_in_operation(root: str, git_dir: str, head: Optional[str]) -> List[str]:
    """Return the commits that only a git operation in progress has: its HEAD, what it picks, an autostash."""
    names = [name for name in _PSEUDO_REFS if name != "ORIG_HEAD"]
    candidates = [*([head] if head else []), *_read_pseudo_refs(root, git_dir, names)]
    return _list_unique_tips(root, candidates, ("--glob=refs/*",))


def write_index_commit(root: str, head: Optional[str], tree: str) -> Optional[str]:
    """Return a commit of what is staged; None when HEAD or the snapshot's tree has it, and for an unmerged index."""
    written = git_client.run_git(root, "write-tree", check=False)
    staged = written.stdout.strip()
    if written.returncode != 0 or staged in (tree, git_client.get_tree(root, head)) or _is_empty_tree(root, staged):
        return None
    return write_snapshot(root, staged, [head] if head else [], "index")


def _is_empty_tree(root: str, tree: str) -> bool:
    return not git_client.run_git(root, "ls-tree", tree).stdout


def _read_reflog(root: str, ref: str) -> List[str]:
    words = ("log", "--walk-reflogs", "--format=%H", ref, "--")
    return git_client.run_git(root, *words, check=False).stdout.split()


def _read_pseudo_refs(root: str, git_dir: str, names: Sequence[str] = _PSEUDO_REFS) -> Iterator[str]:
    """Yield the commits of operations in progress that exist."""
    for name in names:
        try:
            with open(os.path.join(git_dir, name), encoding="ascii", errors="replace") as file:
                commits = file.read().split()
        except OSError:
            continue
        for commit in commits[:100]:
            if git_client.has_object(root, commit):
                yield commit


def _list_unique_tips(root: str, commits: Iterable[str], known: Sequence[str]) -> List[str]:
    """Return the commits that no known ref has and that are no parents of others."""
    candidates = list(dict.fromkeys(commits))
    if not candidates:
        return []
    listed = git_client.run_git(
        root, "rev-list", "--parents", "--ignore-missing", "--stdin", "--not", *known,
        input="".join(f"{commit}\n" for commit in candidates),
    )  # fmt: skip
    parents: Dict[str, List[str]] = {}
    for line in listed.stdout.splitlines():
        commit, *others = line.split()
        parents[commit] = others
    inner = {parent for others in parents.values() for parent in others}
    return [commit for commit in parents if commit not in inner]


def write_snapshot(root: str, tree: str, parents: Sequence[str], title: str) -> str:
    """Write a commit of this tree and return it. `title` says of what it is a snapshot."""
    words = [word for parent in dict.fromkeys(parents) for word in ("-p", parent)]
    message = f"Snapshot of {title}\n\nKept by batch-implement.\n"
    return git_client.run_git(
        root, "commit-tree", "--no-gpg-sign", *words, tree, input=message, environment=_AUTHOR
    ).stdout.strip()


def _fetch_inner(repository: str, root: str, ref: str, commit: str) -> None:
    """Bring a snapshot of a nested repository into the repository of the worktree."""
    inner_ref = create_ref(root, ref, commit)
    free = find_free_ref(repository, ref)
    git_client.run_git(
        repository, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
        os.path.realpath(root), f"{inner_ref}:{free}", timeout_s=SNAPSHOT_S,
    )  # fmt: skip


def find_newest(root: str, ref: str) -> Optional[str]:
    """Return the last of the refs that `create_ref` made for `ref`; None without any."""
    names = git_client.run_git(root, "for-each-ref", "--format=%(refname)", f"{ref}*").stdout.split()
    numbers = {name: name[len(ref) + 1 :] or "1" for name in names if name[len(ref) :][:1] in ("", "-")}
    return max((name for name in numbers if numbers[name].isdigit()), key=lambda name: int(numbers[name]), default=None)


def create_ref(root: str, ref: str, commit: str) -> str:
    """Create a ref that nobody has yet for the commit, and return it: one that has the same already, if there is."""
    content = git_client.run_git(root, "log", "-1", "--format=%T %P", commit, "--").stdout.strip()
    listed = git_client.run_git(root, "for-each-ref", "--format=%(refname) %(tree) %(parent)", f"{ref}*").stdout
    for name, _, other in (line.partition(" ") for line in listed.splitlines()):
        rest = name[len(ref) :]
        if other.strip() == content and (not rest or (rest[0] == "-" and rest[1:].isdigit())):
            return name
    free = find_free_ref(root, ref)
    git_client.run_git(root, "update-ref", "-m", "batch: keep", free, commit, "")
    return free


def find_free_ref(root: str, ref: str, environment: Optional[Mapping[str, str]] = None) -> str:
    """Return `ref`, which is below PREFIX, or the first of `ref-2`, `ref-3` and so on that the repository lacks.

    `environment` is added to that of git.
    """
    listed = git_client.run_git(root, "for-each-ref", "--format=%(refname)", PREFIX, environment=environment).stdout
    taken = set(listed.split())
    number, free = 1, ref
    while free in taken:
        number += 1
        free = f"{ref}-{number}"
    return free
