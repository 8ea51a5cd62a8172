"""Check the user's working tree, the batch's branch, and the room for worktrees and clients. Changes nothing.

Each check yields (verdict, text) pairs as `doctor` has them; the text of an error says how to fix it.
"""

from __future__ import annotations

import os
import shutil

from ...commands import evidence
from ...commands.doctor import ERROR, OK, WARNING
from ...core import prompts
from ...git import git_client
from ...git.worktrees import get_batch_branch, get_common_dir, list_worktrees
from .. import acquire_batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

    from ...core.batch_state import State

    Found = Iterator[Tuple[str, str]]

# Measured: 270 MB at most in a short session; longer ones need more, and so do the processes that a client starts.
CLIENT_MB = 600
SPARE_MB = 1024
WORKTREE_FACTOR = 2  # the checkout, and as much again for builds
UNCOMMITTED = (".claude/settings.json", "CLAUDE.md", ".mcp.json")
CGROUP = "/sys/fs/cgroup"
BRANCH_TEXTS = {
    "missing": "will start at HEAD",
    "equal": "is at HEAD",
    "ahead": "is ahead of HEAD: it has the results so far",
    "behind": "is behind HEAD and will be fast-forwarded",
}


def get_start_commit(root: str, branch: str) -> Optional[str]:
    """Return the commit that a run would start from: the batch's branch if it is ahead of HEAD, else HEAD, or None."""
    is_ahead = git_client.compare_branch_with_head(root, branch) == "ahead"
    return git_client.get_branch_tip(root, branch) if is_ahead else git_client.get_head(root)


def check_working_tree(root: str, *, merge: bool) -> Found:
    """Check for a commit, uncommitted changes and operations in progress; with `merge`, for a branch to merge into."""
    if git_client.get_head(root) is None:
        yield ERROR, "There is no commit to start from. Run `git add` and `git commit`."
        return
    operation = git_client.operation_in_progress(root)
    if operation:
        yield ERROR, f"{operation[0].capitalize()} is in progress. End it: {operation[1]}."
    tracked, _ = git_client.list_changes(root)
    if tracked:
        merge_too = " and `--merge` would fail" if merge else ""
        hint = evidence.submodule_hint(root, tracked)
        yield (
            ERROR,
            f"Tracked files are modified or staged: {git_client.format_paths(tracked)}. The run would start from the "
            f"last commit without them{merge_too}.{hint} Commit them or `git stash` them.",
        )
    if not operation and not tracked:
        yield OK, f"nothing is modified or staged on {git_client.get_branch(root) or 'a detached HEAD'}"
    missing = [
        name
        for name in UNCOMMITTED
        if os.path.exists(os.path.join(root, name)) and not git_client.run_git(root, "ls-files", "--", name).stdout
    ]
    if missing:
        yield WARNING, f"Not committed, so missing in worktrees: {', '.join(missing)}. Commit it if features need it."
    if merge and git_client.get_branch(root) is None:
        yield ERROR, "--merge merges into the current branch, but HEAD is detached. `git switch` to a branch first."
    if os.path.exists(os.path.join(root, ".gitmodules")):
        yield (
            WARNING,
            "git leaves submodules empty in a new worktree. If features need them, let a setup command fetch them: "
            "`--setup 'git submodule update --init'`.",
        )


def check_branches(root: str, batch_id: str, branch: str) -> Found:
    """Check that the batch's branch and those of its features can be created or continued."""
    ref = f"refs/heads/{branch}"
    if git_client.run_git(root, "check-ref-format", ref, check=False).returncode != 0:
        yield ERROR, f"{branch} is not a valid branch name. `batchctl abort` the batch and create it with another id."
        return
    for name in ("batch", f"batch/{batch_id}"):
        if git_client.get_branch_tip(root, name):
            yield ERROR, f"git cannot create branches below the branch {name}. Run `git branch -m {name} {name}-old`."
            return
    checkout = next((path for path, checked_out in list_worktrees(root) if checked_out == ref), None)
    if checkout:
        yield ERROR, f"{branch}, which the run moves, is checked out in {checkout}. `git switch` to another there."
        return
    relation = git_client.compare_branch_with_head(root, branch)
    if relation == "diverged":
        raise acquire_batch.diverged_error(branch)
    yield OK, f"{branch} {BRANCH_TEXTS[relation]}"


def check_previous_batch(root: str, previous: Optional[State], batch_id: str) -> Found:
    """Check that HEAD has the results of the previous batch, if a run worked on another one."""
    branch = previous["run"]["branch"] if previous and previous.get("run") else None
    tip = git_client.get_branch_tip(root, branch) if branch and branch != get_batch_branch(batch_id) else None
    if tip and not git_client.has_commit(root, tip):
        yield WARNING, f"HEAD does not have the results of the previous batch. `git merge {branch}` merges them."


def check_worktrees_folder(root: str, worktrees: str) -> Found:
    """Check that the folder `worktrees` can be created and written to, and that it is outside of the project."""
    top = os.path.realpath(git_client.run_git(root, "rev-parse", "--show-toplevel").stdout[:-1])
    folder = os.path.realpath(worktrees)
    for inside in (get_common_dir(root), top):
        if folder == inside or folder.startswith(f"{inside}/"):
            yield ERROR, f"{worktrees} is inside the project ({inside}). Give a folder outside: `--worktrees DIR`."
            return
    parent = _find_existing_parent(folder)
    if not os.path.isdir(parent):
        yield ERROR, f"{parent} is not a folder, so worktrees cannot be below it. Give another: `--worktrees DIR`."
    elif not os.access(parent, os.W_OK | os.X_OK):
        yield ERROR, f"{parent} cannot be written to. Give another folder: `--worktrees DIR`, or change its mode."
    else:
        yield OK, f"worktrees go into {worktrees}"


def _find_existing_parent(path: str) -> str:
    """Return the path if it exists, else its nearest parent that does."""
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def count_worktrees(jobs: int, verify_jobs: int = 1) -> int:
    """Return how many worktrees a run has here at a time: a worker's and one for verify per job (none with a cluster:
    0), and the merge queue's, which puts commits together in one and verifies in as many as `verify_jobs`.
    """
    return 2 * jobs + 1 + verify_jobs


def check_disk_space(
    tree_mb: float, worktrees: str, count: int, option: str, alternative: str, *, setup_mb: float = 0
) -> Found:
    """Check that there is room for `count` worktrees of `tree_mb` megabytes, and what the setup command makes in each.

    `option` sets how many there are, if they are many; `alternative` says how to use another folder.
    """
    needed = (tree_mb * WORKTREE_FACTOR + setup_mb) * count + SPARE_MB
    parent = _find_existing_parent(os.path.realpath(worktrees))
    free = shutil.disk_usage(parent).free / 1e6
    size = f"{f'{count} worktrees' if count > 1 else 'a worktree'} of {_format_megabytes(tree_mb)}"
    size += f" and {_format_megabytes(setup_mb)} of the setup command" if setup_mb else ""
    text = f"{_format_megabytes(free)} free at {parent}; {size}, with builds, may take {_format_megabytes(needed)}"
    if free < needed:
        fewer = f" use fewer {option}," if count > count_worktrees(1) else ""
        yield ERROR, f"Not enough disk space: {text}. Make room,{fewer} or {alternative}."
    else:
        yield OK, text


def measure_tree_bytes(root: str, commit: str) -> int:
    """Return the size of the files of a commit in bytes, without what Git LFS stores."""
    output = git_client.run_git(root, "ls-tree", "-r", "-l", "-z", "--full-tree", commit).stdout
    sizes = (entry.split(maxsplit=4)[3] for entry in output.split("\0") if entry)
    return sum(int(size) for size in sizes if size.isdigit())


def measure_folder_bytes(folder: str) -> int:
    """Return what the files below a folder take on the disk, without those that are links to a cache elsewhere."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                about = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            size += about.st_blocks * 512 if about.st_nlink == 1 else 0
    return size


def check_memory(jobs: int, option: str = "--jobs") -> Found:
    """Check that there is memory for `jobs` clients; `option` sets how many there are."""
    free = read_available_mb()
    if free is None:
        yield OK, f"free memory is unknown on this system; a client may take {_format_megabytes(CLIENT_MB)}"
        return
    needed = jobs * CLIENT_MB
    needs = f"{prompts.pluralize(jobs, 'client')} may take {_format_megabytes(needed)} without their subprocesses"
    text = f"{_format_megabytes(free)} of memory free; {needs}"
    if free < CLIENT_MB:
        yield ERROR, f"Not enough memory for one client: {text}. End other programs, or use a larger machine."
    elif free < needed:
        yield (
            WARNING,
            f"{text}: use fewer {option} ({max(1, int(free // CLIENT_MB))} would fit), or end other programs.",
        )
    else:
        yield OK, text


def read_available_mb(meminfo: str = "/proc/meminfo", cgroup: str = CGROUP) -> Optional[float]:
    """Return the available memory in megabytes, by the system or its container, whichever is less; None if unknown."""
    available: List[float] = []
    for line in _read_system_file(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            available.append(int(line.split()[1]) / 1000)
    limit, used = (_read_system_file(f"{cgroup}/memory.{name}").strip() for name in ("max", "current"))
    if limit.isdigit() and used.isdigit():
        stat = _read_system_file(f"{cgroup}/memory.stat").splitlines()
        cached = sum(int(line.split()[1]) for line in stat if line.startswith("file "))
        available.append((int(limit) - int(used) + cached) / 1e6)
    return max(0.0, min(available)) if available else None


def _read_system_file(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _format_megabytes(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{max(1, round(megabytes))} MB"
