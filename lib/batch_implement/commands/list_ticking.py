"""Tick the boxes of completed features in the list of a batch that asks for it (`--tick`), in a commit of its own.

    sentence = tick_list(project, state)        once the batch has ended

The commit is on HEAD, or on the batch's branch after a run. A box is ticked if its feature is the same as a completed
one (text, section and description; else text and section) and the change is still there. What prevents it is returned
as a sentence and never fails a batch: a list that is not Markdown, not tracked, or modified.
"""

from __future__ import annotations

import os

from ..base.text import clean, quote_all
from ..core import batch_state
from ..core.batch_state import key
from ..core.errors import BatchError
from ..core.prompts import pluralize
from ..git import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..features.feature_list import Feature
    from ..features.sources import FeatureSource

SUFFIXES = (".md", ".markdown")
SHOWN = 5


def find_problems(project: Project, source: FeatureSource) -> List[str]:
    """Return a note if the list of a new batch cannot be ticked as it is now."""
    if not source.tick or project.git_dir is None:
        return []
    problem = find_problem(project, source.tick["file"])
    return [f"--tick: {clean(source.features_file)} will not be ticked: {problem}."] if problem else []


def find_problem(project: Project, file: str) -> str:
    """Return why the list at `file`, relative to the root, cannot be ticked as it is now; empty if it can."""
    if os.path.splitext(file)[1].lower() not in SUFFIXES:
        return "it is not a Markdown file"
    if not git_client.run_git(project.root, "ls-files", "--", file, literal_paths=True, check=False).stdout:
        return "it is not tracked by git"
    return ""


def tick_list(project: Project, state: State, *, in_run: bool = False) -> str:
    """Tick the list of a batch if it has ended and asks for it. Return a sentence for the user, or nothing.

    `in_run`: the caller is a run, which leaves HEAD and the working tree alone.
    """
    tick = state.get("tick")
    if not tick or batch_state.is_live(state) or project.git_dir is None:
        return ""
    name = clean(tick["file"])
    try:
        return _tick_file(project, state, tick, in_run=in_run)
    except (BatchError, OSError) as error:
        return f"{name} is not ticked: {error}"


def _tick_file(project: Project, state: State, tick: State, *, in_run: bool) -> str:
    from ..features import source_files
    from ..features.feature_list import FeatureListError, ListOptions
    from ..features.markdown.ticks import tick_boxes

    name, root, file = clean(tick["file"]), project.root, tick["file"]
    branch = (state.get("run") or {}).get("branch")
    tip = git_client.get_branch_tip(root, branch) if branch else None
    is_in_head = not in_run and (tip is None or git_client.has_commit(root, tip))
    ref = "HEAD" if is_in_head else f"refs/heads/{branch}"
    problem = find_problem(project, file) or (_find_change(project, file) if is_in_head else "")
    if problem:
        return f"{name} is not ticked: {problem}."
    shown = git_client.run_git(root, "ls-tree", "-z", ref, "--", file, literal_paths=True).stdout
    mode, kind, sha = shown.split("\t")[0].split(" ") if shown else ("", "", "")
    if kind != "blob" or not mode.startswith("100"):
        return f"{name} is not ticked: {ref} does not have it as a file."
    text = git_client.run_git(root, "cat-file", "blob", sha).stdout
    options = ListOptions(**{**tick["options"], "without": tuple(tick["options"].get("without", ()))})
    wanted = _list_present(project, state, ref)
    if not wanted:
        return ""
    try:
        features: Sequence[Feature] = source_files.parse_text(
            text.encode("utf-8", "surrogateescape"), name, "md", options
        ).features
    except FeatureListError as error:
        return f"{name} is not ticked: {error.reason}"
    lines = _match(state, wanted, features)
    changed, ticked = tick_boxes(text, lines.values(), options)
    missing = [state["features"][index] for index in wanted if lines.get(index) not in ticked]
    not_found = f" No open box in {name} for {quote_all(missing, SHOWN)}." if missing else ""
    if not ticked:
        return f"{name} is not ticked.{not_found}"
    commit = _commit(root, ref, file, mode, changed, f"Tick {pluralize(len(ticked), 'feature')} in {name}")
    if is_in_head:
        git_client.run_git(root, "checkout", "--quiet", "HEAD", "--", file, literal_paths=True)
    return f"Ticked {pluralize(len(ticked), 'feature')} in {name} (commit {commit[:12]}).{not_found}"


def _find_change(project: Project, file: str) -> str:
    """Return why the list cannot be committed in the working tree now; empty if it can."""
    operation = git_client.operation_in_progress(project.root)
    if operation:
        return f"{operation[0]} is in progress"
    changed = git_client.run_git(
        project.root, "--no-optional-locks", "status", "--porcelain", "-z", "--", file, literal_paths=True
    ).stdout
    return "it has changes that are not committed" if changed else ""


def _list_present(project: Project, state: State, ref: str) -> List[int]:
    """Return the completed features whose change is still in `ref`."""
    from ..git import net_change

    commits = {
        index: net_change.list_commits(state["evidence"].get(key(index), {})) for index in state["completed_features"]
    }
    presences = net_change.find_presence(project.root, list(commits.values()), ref)
    return sorted(index for index, one in zip(commits, presences) if one.status == net_change.PRESENT)


def _match(state: State, wanted: Sequence[int], features: Sequence[Feature]) -> Dict[int, int]:
    """Return the line of each completed feature that the list still has as an open one."""
    exact: Dict[object, List[int]] = {}
    similar: Dict[object, List[int]] = {}
    for feature in features:
        identity = batch_state.identify_feature(feature.text, feature.details)
        exact.setdefault(identity, []).append(feature.line)
        similar.setdefault(identity[:2], []).append(feature.line)
    lines: Dict[int, int] = {}
    others = []
    for index in wanted:
        identity = batch_state.identify_feature(state["features"][index], state.get("details", {}).get(key(index), {}))
        if len(exact.get(identity, ())) == 1:
            lines[index] = exact[identity][0]
        else:
            others.append((index, identity))
    for index, identity in others:
        left = [line for line in similar.get(identity[:2], ()) if line not in lines.values()]
        if len(left) == 1:
            lines[index] = left[0]
    return lines


def _commit(root: str, ref: str, file: str, mode: str, text: str, message: str) -> str:
    """Commit another text of a file to a branch, or to HEAD, without a look at index and working tree."""

    def git(*arguments: str, text: Optional[str] = None) -> str:
        return git_client.run_git(root, *arguments, input=text).stdout.rstrip("\n")

    head = git("rev-parse", f"{ref}^{{commit}}")
    path = os.path.normpath(git("rev-parse", "--show-prefix") + file)
    tree = _replace_in_tree(
        root, f"{head}^{{tree}}", path.split("/"), mode, git("hash-object", "-w", "--stdin", text=text)
    )
    commit = git("commit-tree", tree, "-p", head, "-m", message)
    git("update-ref", "-m", "batch: tick the list", ref, commit, head)
    return commit


def _replace_in_tree(root: str, tree: str, path: Sequence[str], mode: str, blob: str) -> str:
    """Return the tree with another blob at this path."""
    entries = git_client.run_git(root, "ls-tree", "-z", "--full-tree", tree).stdout.split("\0")[:-1]
    for place, entry in enumerate(entries):
        about, _, name = entry.partition("\t")
        if name == path[0]:
            if len(path) == 1:
                entries[place] = f"{mode} blob {blob}\t{name}"
            else:
                below = _replace_in_tree(root, about.split(" ")[2], path[1:], mode, blob)
                entries[place] = f"040000 tree {below}\t{name}"
    return git_client.run_git(root, "mktree", "-z", input="".join(f"{entry}\0" for entry in entries)).stdout.strip()
