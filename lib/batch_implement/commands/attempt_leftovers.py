"""End an attempt without losing what it left uncommitted: keep it as a snapshot, write the state, then take it out.

    state, ref = close_attempt(store, state, lambda current, ref: transitions.fail(..., snapshot=ref))

A refusal leaves the working tree, the index and the stashes as they are. What a kill after the write leaves in the tree
is noted in the state as `leftovers`, for the next `start`. In a worktree of a run everything stays in place until the
run removes the worktree.
"""

from __future__ import annotations

import os

from ..core import prompts
from ..core.errors import BatchError, StateError
from ..git import git_client
from . import evidence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional, Tuple

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..store.store import Store

MAX_PATHS = 1000  # that an attempt keeps by name; of more only the folders at the top


def close_attempt(
    store: Store, state: State, change: Callable[[State, Optional[str]], State]
) -> Tuple[State, Optional[str]]:
    """Write `change(current, ref)`, which ends the attempt that is open in `state`; `ref` has what it left uncommitted,
    None when that is nothing. Then take that out of the working tree. Return the new state and the ref.
    """
    project = store.project
    try:
        ref = keep(project, state)
    except StateError:
        if not state.get("attempt_of"):
            raise
        ref = None  # the worktree has what cannot be kept, and stays: its removal fails for the same reason
    has_leftovers = not state.get("attempt_of") and (ref or _is_in_operation(project))

    def close(current: State) -> State:
        changed = change(current, ref)
        if not has_leftovers or changed["active"] or not current["active"]:
            return changed
        return {**changed, "leftovers": {"snapshot": ref, "uncommitted": state["active"].get("uncommitted", [])}}

    return take_out(store, store.update(close)), ref


def keep(project: Project, state: State) -> Optional[str]:
    """Keep what the open feature has left uncommitted, and return its ref; None when there is nothing."""
    if project.git_dir is None or not state["active"]:
        return None
    from ..git import leftovers, snapshots

    active, attempt_of = state["active"], state.get("attempt_of")
    batch_id, number = state["batch_id"], active["feature_index"] + 1
    if attempt_of:
        batch_id, number = attempt_of["batch_id"], attempt_of["feature_number"]
    ref = snapshots.get_ref(batch_id, f"{number}.{active['attempt']}")
    if attempt_of:
        return snapshots.keep_worktree(project.root, ref)
    known = evidence.list_expected_untracked(project, state)
    return leftovers.keep(project.root, ref, known, active.get("uncommitted", ()))


def take_out(store: Store, state: State) -> State:
    """Take out of the working tree what an attempt that has ended left there, if `state` notes that. Return the state
    without the note.
    """
    noted = state.get("leftovers")
    if not noted:
        return state
    take_out_snapshot(store.project, state, noted["snapshot"], noted["uncommitted"])

    def forget(current: State) -> State:
        if current.get("leftovers") != noted:
            return current
        return {name: value for name, value in current.items() if name != "leftovers"}

    return store.update(forget)


def take_out_snapshot(project: Project, state: State, ref: Optional[str], before: List[str]) -> None:
    """Take out of the working tree what the snapshot `ref` has of an attempt of the batch `state`."""
    from ..git import leftovers

    try:
        leftovers.take_out(project.root, ref, evidence.list_expected_untracked(project, state), before)
    except BatchError as error:
        error.mention_change(f"The attempt has ended all the same.{describe(ref)}")
        raise


def list_uncommitted(project: Project, state: State) -> List[str]:
    """Return what is uncommitted before an attempt begins: whoever's it is, it is not the attempt's."""
    if project.git_dir is None:
        return []
    paths = git_client.list_uncommitted_paths(project.root, evidence.list_expected_untracked(project, state))
    if len(paths) > MAX_PATHS:
        paths = sorted({f"{top}/" if rest else top for top, _, rest in (path.partition("/") for path in paths)})
    return [path.encode("utf-8", "replace").decode() for path in paths]


def describe(ref: Optional[str], root: Optional[str] = None) -> str:
    """Return a sentence, after a blank, that says where uncommitted work is; empty for None. `root` is the working tree
    whose submodules may have more of it.
    """
    if not ref:
        return ""
    text = f" Its uncommitted work is in {prompts.describe_leftovers_place(ref)}."
    if root and os.path.exists(f"{git_client.get_top(root)}/.gitmodules"):
        inner = [path for path in git_client.list_submodules(root) if git_client.has_ref(path, ref)]
        if inner:
            text += f" So it does in the submodules {git_client.format_paths(inner)}: run it in each."
    return text


def _is_in_operation(project: Project) -> bool:
    return project.git_dir is not None and git_client.operation_in_progress(project.root) is not None
