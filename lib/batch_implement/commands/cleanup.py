"""List what batches that are over have left, and remove what the user says: `batchctl clean`.

Worktrees, branches, snapshots, and logs of runs. Without an option nothing is removed. `--merged` removes what your
HEAD has, `--all` the rest as well. A batch that is not over keeps everything, and so does one that this project does
not know: it may be at work in another folder of the repository.
"""

from __future__ import annotations

import os
import shutil

from ..base import process_identity
from ..core import batch_state
from ..core.errors import BatchError, RefusedError
from ..core.prompts import pluralize
from ..git import batch_remains, git_client
from ..git.batch_remains import Remain
from .command import CommandResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Set, Tuple

    from ..base.project_paths import Project
    from .command import CommandContext

REMOVED, UNMERGED, KEPT, FOREIGN = "removed", "unmerged", "kept", "foreign"


def clean(context: CommandContext, *, merged: bool = False, everything: bool = False) -> CommandResult:
    """List what batches have left. Remove what is merged, or everything, of batches that are over.

    Raises RefusedError outside of a git repository.
    """
    project = context.project
    if project.git_dir is None or not git_client.is_repository(project.root):
        raise RefusedError(f"{git_client.explain_missing_repository(project.root)}.", "not-a-repository")
    live, over = _list_batches(context)
    items = batch_remains.list_remains(project.root)
    unmerged = {item.batch_id for item in items if not item.is_merged}
    items += [Remain(name, "log", path, "", name not in unmerged) for name, path in _list_logs(project, live)]
    over.update(item.batch_id for item in items if item.kind == "log")
    lines: List[str] = []
    counts = dict.fromkeys((REMOVED, UNMERGED, KEPT, FOREIGN), 0)
    for item in items:
        verdict, text = _handle_item(project, item, live, over, merged=merged, everything=everything)
        counts[verdict] += 1
        lines.append(text)
    if not items:
        return CommandResult("No batch has left anything here.", data={"items": [], "removed": 0})
    removed = f"{pluralize(counts[REMOVED], 'item')} removed."
    if not (merged or everything):
        removed = "Nothing was removed. `batchctl clean --merged` removes what your HEAD has, `--all` the rest as well."
    elif counts[UNMERGED] and not everything:
        removed += f" {counts[UNMERGED]} stay, because they are not merged: `batchctl clean --all` removes them."
    if counts[FOREIGN]:
        removed += (
            f" {counts[FOREIGN]} of batches that are unknown in this folder: run it where they began, or remove them "
            "with `git worktree remove`, `git branch -D` and `git update-ref -d`."
        )
    data = {"items": [item._asdict() for item in items], "removed": counts[REMOVED]}
    return CommandResult("\n".join([*lines, removed]), data=data)


def _list_batches(context: CommandContext) -> Tuple[Set[str], Set[str]]:
    """Return the ids of the batches of this project that are not over, and of those that are."""
    live: Set[str] = set()
    over: Set[str] = set()
    state = context.read_state()
    if state is not None:
        is_over = not batch_state.is_live(state) and not process_identity.is_owner_alive(state["owner"])
        (over if is_over else live).add(state["batch_id"])
    try:
        names = os.listdir(os.path.join(context.project.private, "archive"))
    except OSError:
        names = []
    for name in names:
        batch_id, _, number = name[: -len(".json")].rpartition(".") if name.endswith(".json") else ("", "", "")
        over.add(batch_id if batch_id and number.isdigit() else name.rpartition(".json")[0])
    return live, over - live - {""}


def _list_logs(project: Project, live: Set[str]) -> List[Tuple[str, str]]:
    """Return batch and folder of the logs of runs, without those of batches that are not over."""
    folder = os.path.join(project.private, "logs", "run")
    try:
        found = [(entry.name, entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted((name, path) for name, path in found if name not in live)


def _handle_item(
    project: Project, item: Remain, live: Set[str], over: Set[str], *, merged: bool, everything: bool
) -> Tuple[str, str]:
    """Remove an item if that was asked for and is right. Return what became of it, and a line that says so."""
    name = f"{item.kind:<8}  {item.name}" + (f" ({item.commit[:12]})" if item.commit else "")
    state = "merged" if item.is_merged else "not merged"
    if item.kind == "log":
        state = "of a batch that is over"
    if item.batch_id in live:
        return KEPT, f"{name}: of the batch that is not over"
    if item.batch_id not in over:
        return FOREIGN, f"{name}: {state}, of a batch that is unknown here"
    if not everything and not (merged and item.is_merged):
        return (KEPT if item.is_merged else UNMERGED), f"{name}: {state}"
    try:
        if item.kind == "log":
            shutil.rmtree(item.name)
            return REMOVED, f"{name}: removed"
        ref = batch_remains.remove(project.root, item)
    except BatchError as error:
        return KEPT, f"{name}: stays. {error.message}"
    except OSError as error:
        return KEPT, f"{name}: stays. {error.strerror}"
    return REMOVED, f"{name}: {state}, removed" + (f"; what only it had is in {ref}" if ref else "")
