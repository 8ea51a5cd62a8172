"""Notice at `batchctl done` what of the user's went from the working tree since the batch began, and bring it back.

    losses = find_losses(project, state)        changes nothing
    describe_losses(losses)                     sentences for the model, who tells the user
    bring_back(project, losses)                 writes files that a stash has and that are not there

A model may `git stash -u` or `git clean -fdx` a tree that is not its own. Of a folder that the batch knows only as a
whole it is noticed when all of it went. A worktree of a run has no files of the user's.
"""

from __future__ import annotations

import os
from typing import Dict, Iterator, List, NamedTuple, Tuple

from ..base import timestamps
from ..base.text import one_line
from ..git import git_client
from ..store import written_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base.project_paths import Project
    from ..core.batch_state import State

MAX_STASHES = 20  # the newest that are looked at


class Losses(NamedTuple):
    """What is not in the working tree any more.

    `stashed` has untracked and ignored files from before the batch by the commit of the stash that has them, `gone`
    those that no stash has, `stashes` commit and title of each stash that was made since the feature began.
    """

    stashed: Dict[str, List[str]]
    gone: List[str]
    stashes: List[Tuple[str, str]]


def find_losses(project: Project, state: State) -> Losses:
    """Return what went since the batch began and was not named by an earlier feature."""
    if project.git_dir is None or state.get("attempt_of"):
        return Losses({}, [], [])
    top = git_client.get_top(project.root)
    named = {path for proof in state["evidence"].values() for path in proof.get("gone", ())}
    before = [*state["untracked_at_start"], *written_files.read_ignored(project.private)]
    # The state has question marks for bytes that are not UTF-8: such a name cannot be looked for.
    gone = sorted(
        path
        for path in set(before) - named
        if "?" not in path and not os.path.lexists(os.path.join(top, path.rstrip("/")))
    )
    if gone:
        tracked = git_client.run_git(top, "ls-files", "-z", "--", *gone[:1000], literal_paths=True).stdout.split("\0")
        gone = [path for path in gone if path not in tracked]
    stashes = list(_iter_stashes(top))
    stashed: Dict[str, List[str]] = {}
    for commit, _, _ in stashes if gone else ():
        files = _list_untracked_in_stash(top, commit)
        have = [file for file in files if git_client.exclude_known([file], gone) == []]
        if have:
            stashed[commit] = have
            gone = [path for path in gone if path not in have and not any(file.startswith(path) for file in have)]
    since_s = timestamps.parse_epoch_s(state["active"]["started_at"])
    return Losses(stashed, gone, [(commit, title) for commit, made_s, title in stashes if made_s >= since_s])


def get_evidence(losses: Losses) -> State:
    """Return what the evidence of the feature keeps of the losses."""
    kept: State = {"gone": losses.gone} if losses.gone else {}
    if losses.stashes:
        kept["stashes"] = [f"{commit[:12]} {title}" for commit, title in losses.stashes]
    return kept


def describe_losses(losses: Losses) -> str:
    """Return a line on each kind of loss, for after `bring_back`; empty without any."""
    format_paths = git_client.format_paths
    lines = [
        f"Untracked files from before the batch had gone; brought back from the stash {commit[:12]}, which stays: "
        f"{format_paths(files)}."
        for commit, files in losses.stashed.items()
    ]
    if losses.gone:
        lines.append(
            f"Files of the user's from before the batch have gone, and no stash has them: {format_paths(losses.gone)}. "
            "Say so at the end."
        )
    for commit, title in losses.stashes:
        name = commit[:12]
        lines.append(
            f"The stash {name} ({title}) was made during this feature and may hold changes of the user's: `git stash "
            f"show -p --include-untracked {name}` shows it, `git stash apply {name}` brings it back."
        )
    return "\n".join(lines)


def bring_back(project: Project, losses: Losses) -> None:
    """Write the files that a stash has and that are not there. Index and stashes stay as they are."""
    top = git_client.get_top(project.root)
    for commit, files in losses.stashed.items():
        wanted = [path for path in files if not os.path.lexists(os.path.join(top, path))]
        for start in range(0, len(wanted), 500):
            words = ("restore", f"--source={commit}^3", "--worktree", "--")
            git_client.run_git(top, *words, *wanted[start : start + 500], literal_paths=True)


def _iter_stashes(top: str) -> Iterator[Tuple[str, int, str]]:
    """Yield commit, time and title of the newest stashes."""
    words = ("log", "--walk-reflogs", f"--max-count={MAX_STASHES}", "--format=%H%x00%ct%x00%gs", "refs/stash", "--")
    for line in git_client.run_git(top, *words, check=False).stdout.splitlines():
        commit, made_s, title = line.split("\0", 2)
        yield commit, int(made_s), one_line(title, 80)


def _list_untracked_in_stash(top: str, commit: str) -> List[str]:
    words = ("ls-tree", "-r", "-z", "--full-tree", "--name-only", f"{commit}^3", "--")
    listed = git_client.run_git(top, *words, check=False)
    return listed.stdout.split("\0")[:-1] if listed.returncode == 0 else []
