"""What a run stands on: the person's tree, the batch's branch, room for work trees and clients. Looks, changes nothing.

Each look gives (verdict, text) pairs as `doctor` has them; every `bad` says what to do. `base` is the commit that a run
would begin on.
"""

from __future__ import annotations

import os
import shutil

from ...commands import batch_commands
from ...commands.doctor import ERROR, OK, WARNING
from ...core import prompts
from ...git import git_client
from ...git.worktrees import get_common_dir, list_worktrees
from .. import acquire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

    Found = Iterator[Tuple[str, str]]

# One real client had 270 MB at its highest in a short session; long ones grow, and what it runs comes on top.
CLIENT_MB = 600
SPARE_MB = 1024
WORKTREE_FACTOR = 2  # a tree of its own for each client, and what a build puts into it
UNCOMMITTED = (".claude/settings.json", "CLAUDE.md", ".mcp.json")
CGROUP = "/sys/fs/cgroup"
BRANCH_TEXTS = {
    "missing": "will start at HEAD",
    "equal": "is at HEAD",
    "ahead": "is ahead of HEAD: it has the results so far",
    "behind": "is behind HEAD and will be fast-forwarded",
}


def get_start_commit(root: str, branch: str) -> Optional[str]:
    """The commit that a run would begin on: the head of the batch's branch, or HEAD when that is ahead; None without
    any.
    """
    is_ahead = git_client.compare_branch_with_head(root, branch) == "ahead"
    return git_client.get_branch_tip(root, branch) if is_ahead else git_client.get_head(root)


def check_working_tree(root: str, *, merge: bool) -> Found:
    """The person's tree: a commit to begin on, nothing modified or staged, nothing in progress. `merge`: their branch
    is to be moved at the end.
    """
    if git_client.get_head(root) is None:
        yield ERROR, "There is no commit to begin on. `git add` what is there and `git commit`."
        return
    underway = git_client.operation_in_progress(root)
    if underway:
        yield (
            ERROR,
            f"{underway[0].capitalize()} is in progress: HEAD is not yet what it is going to be. End it: "
            f"{underway[1]}.",
        )
    tracked, _ = git_client.list_changes(root)
    if tracked:
        stops = " and `--merge` could not bring it in" if merge else ""
        first = batch_commands.submodule_hint(root, tracked)
        yield (
            ERROR,
            f"Tracked files are modified or staged: {git_client.format_paths(tracked)}. The run starts at the last "
            f"commit, so it would be done without them{stops}.{first} Commit them or `git stash` them.",
        )
    if not underway and not tracked:
        yield OK, f"nothing is modified or staged on {git_client.get_branch(root) or 'a detached HEAD'}"
    left = [
        name
        for name in UNCOMMITTED
        if os.path.exists(os.path.join(root, name)) and not git_client.run_git(root, "ls-files", "--", name).stdout
    ]
    if left:
        yield WARNING, f"Not committed, so no work tree has it: {', '.join(left)}. Commit it if the work needs it."
    if merge and git_client.get_branch(root) is None:
        yield ERROR, "--merge moves the branch you are on, and HEAD is detached. `git switch` to that branch first."
    if os.path.exists(os.path.join(root, ".gitmodules")):
        yield (
            WARNING,
            "There are submodules, and git leaves them empty in a new work tree. If the verify command needs them, let "
            "it begin with `git submodule update --init`.",
        )


def check_branches(root: str, batch_id: str, branch: str) -> Found:
    """Whether the batch's branch can be made or gone on with, and those of its features beside it."""
    ref = f"refs/heads/{branch}"
    if git_client.run_git(root, "check-ref-format", ref, check=False).returncode != 0:
        yield (
            ERROR,
            f"git takes no branch named {branch}: the batch needs another id. `batchctl abort` it and create it anew.",
        )
        return
    for name in ("batch", f"batch/{batch_id}"):
        if git_client.get_branch_tip(root, name):
            yield (
                ERROR,
                f"There is a branch named {name}, so git can make none below it. Rename it: `git branch -m {name} "
                f"{name}-old`.",
            )
            return
    held = next((place for place, on in list_worktrees(root) if on == ref), None)
    if held:
        yield ERROR, f"{branch}, which the run moves, is checked out in {held}. `git switch` to another branch there."
        return
    relation = git_client.compare_branch_with_head(root, branch)
    if relation == "diverged":
        yield ERROR, acquire.diverged_error(branch).message
    else:
        yield OK, f"{branch} {BRANCH_TEXTS[relation]}"


def check_previous_batch(root: str, before: Optional[str]) -> Found:
    """Whether HEAD has what the batch before did; `before` is the branch of that, None when there is none."""
    done = git_client.get_branch_tip(root, before) if before else None
    if done and not git_client.has_commit(root, done):
        yield (
            WARNING,
            f"HEAD does not have what the batch before did, so this one begins without it. `git merge {before}` "
            "brings it here.",
        )


def check_worktrees_folder(root: str, worktrees: str) -> Found:
    """Whether work trees can be made in the folder `worktrees`: it, or the first above it that is there, can be
    written to, and it is outside of the project.
    """
    top = os.path.realpath(git_client.run_git(root, "rev-parse", "--show-toplevel").stdout[:-1])
    place = os.path.realpath(worktrees)
    for held in (get_common_dir(root), top):
        if place == held or place.startswith(f"{held}/"):
            yield (
                ERROR,
                f"{worktrees} is inside the project ({held}): its work trees would be in yours. Give a folder outside "
                "of it: `--worktrees DIR`.",
            )
            return
    above = _find_existing_parent(place)
    if not os.path.isdir(above):
        yield ERROR, f"{above} is no folder, so no work tree can be made below it. Give another: `--worktrees DIR`."
    elif not os.access(above, os.W_OK | os.X_OK):
        yield ERROR, f"{above} cannot be written to. Give another folder: `--worktrees DIR`, or change its mode."
    else:
        yield OK, f"work trees go into {worktrees}"


def _find_existing_parent(place: str) -> str:
    """The path, or the first above it that is there."""
    while not os.path.lexists(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    return place


def check_disk(root: str, commit: str, worktrees: str, jobs: int) -> Found:
    """Whether there is room for the work trees of `jobs` clients, or for a single one."""
    yield from check_disk_space(
        measure_tree_bytes(root, commit) / 1e6, worktrees, jobs, "--jobs", "give another place: `--worktrees DIR`"
    )


def check_disk_space(tree_mb: float, worktrees: str, jobs: int, option: str, elsewhere: str) -> Found:
    """The same for trees of that size. `option` sets how many clients there are, `elsewhere` says how another place is
    taken.
    """
    needed = tree_mb * jobs * WORKTREE_FACTOR + SPARE_MB
    above = _find_existing_parent(os.path.realpath(worktrees))
    free = shutil.disk_usage(above).free / 1e6
    said = (
        f"{_format_megabytes(free)} free at {above}; {f'{jobs} worktrees' if jobs > 1 else 'a worktree'} of "
        f"{_format_megabytes(tree_mb)}, with builds, may take {_format_megabytes(needed)}"
    )
    if free < needed:
        fewer = f" take fewer {option}," if jobs > 1 else ""
        yield ERROR, f"Too little room: {said}. Make room,{fewer} or {elsewhere}."
    else:
        yield OK, said


def measure_tree_bytes(root: str, commit: str) -> int:
    """The bytes that the files of a commit have. What Git LFS holds is not counted."""
    listed = git_client.run_git(root, "ls-tree", "-r", "--full-tree", "--format=%(objectsize)", commit, check=False)
    sizes = listed.stdout.split() if listed.returncode == 0 else _list_blob_sizes(root, commit)
    return sum(int(size) for size in sizes if size.isdigit())


def _list_blob_sizes(root: str, commit: str) -> List[str]:
    """The same from a git before 2.36."""
    listed = git_client.run_git(root, "ls-tree", "-r", "-l", "-z", "--full-tree", commit).stdout
    return [entry.split()[3] for entry in listed.split("\0") if entry]


def check_memory(jobs: int, option: str = "--jobs") -> Found:
    """Whether there is memory for `jobs` clients, where the system tells it. `option` sets how many there are."""
    free = read_available_mb()
    if free is None:
        yield OK, f"free memory is unknown on this system; a client may take {_format_megabytes(CLIENT_MB)}"
        return
    needed = jobs * CLIENT_MB
    clients = prompts.pluralize(jobs, "client")
    needs = f"{clients} may take {_format_megabytes(needed)} without their subprocesses"
    said = f"{_format_megabytes(free)} of memory free; {needs}"
    if free < CLIENT_MB:
        yield ERROR, f"Too little memory for even one client: {said}. End something, or use a larger machine."
    elif free < needed:
        yield WARNING, f"{said}: take fewer {option} ({max(1, int(free // CLIENT_MB))} would fit), or end something."
    else:
        yield OK, said


def read_available_mb(meminfo: str = "/proc/meminfo", cgroup: str = CGROUP) -> Optional[float]:
    """Megabytes of memory that could be had: what the system says, or what its container may still take when that is
    less. None where neither is told.
    """
    found: List[float] = []
    for line in _read_system_file(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) / 1000)
    limit, used = (
        _read_system_file(f"{cgroup}/memory.max").strip(),
        _read_system_file(f"{cgroup}/memory.current").strip(),
    )
    if limit.isdigit() and used.isdigit():
        cached = [
            line.split()[1]
            for line in _read_system_file(f"{cgroup}/memory.stat").splitlines()
            if line.startswith("file ")
        ]
        found.append((int(limit) - int(used) + sum(map(int, cached))) / 1e6)
    return max(0.0, min(found)) if found else None


def _read_system_file(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _format_megabytes(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{max(1, round(megabytes))} MB"
