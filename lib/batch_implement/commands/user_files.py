"""Notice at `batchctl done` what of the user's went from the working tree since the batch began, and bring it back.

    keep_changes(project, state)                before a feature begins, and when `done` finds something uncommitted
    losses = find_losses(project, state)        changes nothing
    describe_losses(losses)                     sentences for the model, who tells the user
    bring_back(project, losses)                 writes files that a stash has and that are not there

A model may `git stash -u` or `git clean -fdx` a tree that is not its own. Of a folder that the batch knows only as a
whole it is noticed when all of it went. A worktree of a run has no files of the user's.
"""

from __future__ import annotations

import os
import shlex
from typing import Dict, Iterator, List, NamedTuple, Tuple

from ..base import timestamps
from ..base.text import one_line
from ..git import git_client
from ..store import written_files
from . import evidence
from .evidence_checks import MAX_IN_COMMAND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base.project_paths import Project
    from ..core.batch_state import State

MAX_STASHES = 20  # the newest that are looked at


class Losses(NamedTuple):
    """What is not in the working tree any more.

    `stashed` has untracked and ignored files from before the batch by the commit of the stash that has them, `gone`
    those that no stash has, `stashes` commit and title of each stash that was made since the feature began, `undone`
    the files that are again as in the last commit, by the ref that has their changes.
    """

    stashed: Dict[str, List[str]]
    gone: List[str]
    stashes: List[Tuple[str, str]]
    undone: Dict[str, List[str]]


def keep_changes(project: Project, state: State) -> None:
    """Keep what is uncommitted as a snapshot: whoever's it is, `git checkout .` of a model would end it."""
    if project.git_dir is None or state.get("attempt_of") or not state["active"]:
        return
    from ..git import leftovers

    leftovers.keep(project.root, _get_ref(state), evidence.list_expected_untracked(project, state))


def _get_ref(state: State) -> str:
    from ..git import snapshots

    active = state["active"]
    return snapshots.get_ref(state["batch_id"], f"{active['feature_index'] + 1}.{active['attempt']}-uncommitted")


def find_losses(project: Project, state: State) -> Losses:
    """Return what went since the batch began and was not named by an earlier feature."""
    if project.git_dir is None or state.get("attempt_of"):
        return Losses({}, [], [], {})
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
        others = set(git_client.exclude_known(files, gone))
        have = [file for file in files if file not in others]
        if have:
            stashed[commit] = have
            gone = [path for path in gone if git_client.exclude_known(have, [path]) == have]
    since_s = timestamps.parse_epoch_s(state["active"]["started_at"])
    # One of the second in which the feature began may be of the feature before it, whose evidence names it.
    known = {text for proof in state["evidence"].values() for text in proof.get("stashes", ())}
    made = [
        (commit, title)
        for commit, made_s, title in stashes
        if made_s >= since_s and _name_stash(commit, title) not in known
    ]
    return Losses(stashed, gone, made, _find_undone(top, _get_ref(state)))


def _find_undone(top: str, ref: str) -> Dict[str, List[str]]:
    """Return by snapshot of `keep_changes` the files whose changes are neither in HEAD nor in the working tree."""
    refs = git_client.run_git(top, "for-each-ref", "--format=%(refname)", f"{ref}*").stdout.split()
    if not refs:
        return {}
    listed = git_client.run_git(top, "ls-tree", "-r", "-z", "--full-tree", "HEAD").stdout.split("\0")[:-1]
    now = {path: about.split(" ") for about, _, path in (line.partition("\t") for line in listed)}
    undone: Dict[str, List[str]] = {}
    for name in refs:
        raw = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--diff-filter=AM", f"{name}^1", name)
        fields = git_client.run_git(top, *raw).stdout.split("\0")[:-1]
        before = {path: about.split(" ") for about, path in zip(fields[0::2], fields[1::2])}
        for path, (mode, _, blob, _, status) in before.items():
            is_as_before = [f":{now[path][0]}", now[path][2]] == [mode, blob] if path in now else status == "A"
            if is_as_before and not (status == "A" and os.path.lexists(os.path.join(top, path))):
                undone.setdefault(name, []).append(path)
    return undone


def get_evidence(losses: Losses) -> State:
    """Return what the evidence of the feature keeps of the losses."""
    kept: State = {"gone": losses.gone} if losses.gone else {}
    stashes = [_name_stash(*stash) for stash in losses.stashes]
    stashes += [f"{ref} {git_client.format_paths(paths)}" for ref, paths in losses.undone.items()]
    return {**kept, "stashes": stashes} if stashes else kept


def _name_stash(commit: str, title: str) -> str:
    return f"{commit[:12]} {title}"


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
    for ref, paths in losses.undone.items():
        names = " ".join(map(shlex.quote, paths[:MAX_IN_COMMAND]))
        lines.append(
            f"Changes that were uncommitted, maybe the user's, were undone in {format_paths(paths)}. They are kept: "
            f"`git checkout {ref} -- {names}` brings them back."
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
