"""Refuse commits that hold what is not the feature's. Each check takes what `evidence` knows and raises RefusedError.

A message names files and commits, and the commands that keep everybody's files.
"""

from __future__ import annotations

import os
import shlex

from ..base import timestamps
from ..core.errors import RefusedError
from ..git import commit_attribution, conflict_markers, git_client, ignored_files, submodules, untracked_files
from ..store import written_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Optional, Sequence, Set

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..git.commit_attribution import Attribution

MAX_IN_COMMAND = 10  # paths in a command; the next refusal names the rest


def refuse_untracked_at_start(root: str, state: State, work: Attribution) -> None:
    """Raise RefusedError when a commit of the feature adds files that were untracked before the batch."""
    commits = [commit.sha for commit in work.commits]
    added = untracked_files.list_added(root, commits, state["untracked_at_start"])
    if not added:
        return
    last = untracked_files.list_added(root, commits[-1:], state["untracked_at_start"])
    remove = f"`git rm -r --cached -- {_quote_for_shell(added)}`"
    if set(added) <= set(last) and git_client.get_head(root) == commits[-1]:
        fix = f"{remove} and `git commit --amend --no-edit` take them out of the last commit"
    else:
        base = str(state["active"]["base_commit"])[:12]
        fix = f"`git reset --soft {base}`, {remove} and `git commit` make one commit without them"
    raise RefusedError(
        f"Commits of this feature hold files that were untracked before the batch: {git_client.format_paths(added)}. "
        f"They are the user's (settings, notes, the list). {fix}; the files stay where they are. Then `batchctl done` "
        "again. If the feature is to add one of them: `batchctl fail --reason TEXT`, so that a user commits it.",
        "not-the-features",
    )


def refuse_amended_features(root: str, state: State, work: Attribution) -> None:
    """Raise RefusedError when commits of completed features were amended: their evidence is another commit then.

    A rebase onto another commit is accepted, also when it changed patches to resolve conflicts.
    """
    features = {}
    for name, evidence in state["evidence"].items():
        features.update({sha: int(name) + 1 for sha in evidence.get("commits", ())})
        for entry in evidence.get("rewritten", ()):  # a later feature rebased them
            if entry["new"] and entry["old"] in features:
                features[entry["new"]] = features[entry["old"]]
    amended = [entry for entry in work.rewritten if entry["how"] == "amended" and entry["old"] in features]
    if not amended or not _begin_at_same_parents(root, work):
        return
    changed = ", ".join(
        f"{entry['old'][:12]} of feature {features[entry['old']]} is {entry['new'][:12]} now"
        for entry in amended[-commit_attribution.MAX_SHOWN :]
    )
    base = str(state["active"]["base_commit"])[:12]
    if work.foreign:  # a soft reset would make them the feature's
        fix = f"`git merge --no-edit -s ours {base}` brings them back and changes no file"
    else:
        fix = f"`git reset --soft {base}` and `git commit` make one commit on top of them, and no file changes"
    raise RefusedError(
        f"Commits of completed features were amended: {changed}. To bring them back: {fix}. Then `batchctl done` "
        "again.",
        "commits-missing",
    )


def _begin_at_same_parents(root: str, work: Attribution) -> bool:
    """Return whether the first rewritten commit has the parents of the one that it was: no rebase onto another."""
    first = next(entry for entry in work.rewritten if entry["new"])
    shown = git_client.run_git(root, "log", "--no-walk=unsorted", "--format=%P", first["old"], first["new"], "--")
    return len(set(shown.stdout.splitlines())) == 1


def refuse_ignored_work(project: Project, state: State, without: Sequence[str]) -> ignored_files.LeftOut:
    """Raise RefusedError when files that git ignores have work in them and `without` does not name them.

    Return those that it names, and other ignored files that are new since the feature began.
    """
    since_ns, written = written_files.read(project.private)
    if not since_ns:  # a batch of an older version
        return ignored_files.LeftOut([], [])
    began_ns = timestamps.parse_epoch_s(state["active"]["started_at"]) * 10**9
    found, others = ignored_files.find_left_out(project.root, written, since_ns, began_ns)
    found = _list_unnamed(found, {path for proof in state["evidence"].values() for path in proof.get("without", ())})
    left_out = _list_unnamed(found, without)
    if not left_out:
        return ignored_files.LeftOut(found, others)
    names, several = _quote_for_shell(left_out), len(left_out) > 1
    options = " --without ".join(map(shlex.quote, left_out[:MAX_IN_COMMAND]))
    raise RefusedError(
        f"Git ignores {'files' if several else 'a file'} with work in {'them' if several else 'it'}, and no commit has "
        f"{'them' if several else 'it'}: {git_client.format_paths(left_out)}. `git add -f -- {names}` and a commit (or "
        "`git commit --amend --no-edit`) make what belongs to the feature a part of it; delete what you made only to "
        f"try something. If it is to stay here without a commit: `batchctl done --without {options}`. Then `batchctl "
        "done` again.",
        "not-committed",
    )


def _list_unnamed(paths: Sequence[str], named: Iterable[str]) -> List[str]:
    """Return the paths that are neither named nor below a folder that is."""
    names: Set[str] = {os.path.normpath(name) for name in named}
    return [path for path in paths if path not in names and not any(path.startswith(f"{name}/") for name in names)]


def refuse_conflict_markers(root: str, base: Optional[str], head: str) -> None:
    """Raise RefusedError when the commits since `base` have brought conflict markers into files."""
    marked = conflict_markers.find_conflict_markers(root, base, head)
    if marked:
        raise RefusedError(
            f"Conflict markers were committed in {git_client.format_paths(marked)}. Resolve them (`git grep -nE "
            f"'^(<{{7}}|>{{7}})'` shows the lines), then `git add -- {_quote_for_shell(marked)}` and `git commit "
            "--amend --no-edit`, so that no commit has them, then `batchctl done` again. If a file is to contain such "
            "lines: indent them, or give it another `conflict-marker-size` in .gitattributes.",
            "conflict-markers",
        )


def refuse_unlisted_repositories(root: str, base: Optional[str], head: Optional[str]) -> None:
    """Raise RefusedError when HEAD has a nested repository that `base` does not have and `.gitmodules` does not name.

    Of such a repository git commits only the id of its commit: its files would be lost with the worktree.
    """
    links = submodules.list_gitlinks(root, head) if head and head != base else {}
    if not links:
        return
    before = submodules.list_gitlinks(root, base) if base else {}
    listed = submodules.list_names(root, head or "")
    unlisted = sorted(path for path in links if path not in before and path not in listed)
    if not unlisted:
        return
    names = _quote_for_shell(unlisted)
    raise RefusedError(
        f"Committed as a link to a nested repository, without its files: {git_client.format_paths(unlisted)}. To "
        f"commit the files: `git rm --cached -- {names}`, move the folder `.git` in it out of the project, `git add`, "
        "commit. If it is to be a submodule, add it with `git submodule add URL PATH`, which writes .gitmodules. Then "
        "`batchctl done` again.",
        "not-committed",
    )


def refuse_other_branch(root: str, state: State) -> None:
    """Raise RefusedError when HEAD is not on the branch that the batch began on, with the way back."""
    began_on = state.get("branch")
    branch = git_client.get_branch(root) if began_on else None
    if not began_on or branch == began_on:
        return
    head, tip = git_client.get_head(root), git_client.get_branch_tip(root, began_on)
    base = state["active"]["base_commit"]
    place = f"on `{branch}`" if branch else "detached"
    name, work = shlex.quote(began_on), shlex.quote(branch) if branch else str(head)[:12]
    if tip is None:
        steps = f"`git checkout -b {name}`, since that branch does not exist any more"
    elif head is None or git_client.has_commit(root, head, tip):
        steps = f"`git checkout {name}`, which has all of HEAD's commits"
    elif git_client.has_commit(root, base):
        steps = f"`git checkout {name}` and `git merge {work}`"
    else:
        common = git_client.run_git(root, "merge-base", head, tip, check=False).stdout.strip()[:12]
        steps = f"`git checkout {name}` and `git cherry-pick {common or base}..{head[:12]}`"
    raise RefusedError(
        f"HEAD is {place}, but the batch works on `{began_on}`. Take the work there: {steps}. Then `batchctl done` "
        "again. Only a user moves the batch to this branch: `/batch-implement --resume` in Claude Code, or `batchctl "
        "resume` in a terminal.",
        "other-branch",
    )


def _quote_for_shell(paths: Sequence[str]) -> str:
    return " ".join(shlex.quote(path) for path in paths[:MAX_IN_COMMAND])
