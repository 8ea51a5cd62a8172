"""Find where in a repository a batch is, when it is not the one of the current project."""

from __future__ import annotations

import os

from ..base import project_paths
from ..core import batch_state
from ..core.errors import RefusedError
from ..store import sidecar
from ..store.backups import no_batch_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State


def unknown_batch_error(project: Project, state: Optional[State], batch_id: Optional[str]) -> RefusedError:
    """Return the error for a batch that is not the one of the project (`state`), with the places where it is."""
    if not batch_id:
        return no_batch_error(project)
    places = find_batch(project, batch_id)
    here = f"The batch in {project.root} is {state['batch_id']}." if state else f"There is no batch in {project.root}."
    if places:
        return RefusedError(
            f"Batch {batch_id} is not the one here; it is in {', '.join(places)}. {here}", "unknown-batch"
        )
    return RefusedError(
        f"Batch {batch_id} is not known here, nor in this repository's other worktrees. {here} See `batchctl status`.",
        "unknown-batch",
    )


def find_batch(project: Project, batch_id: str) -> List[str]:
    """Return the places of a batch: archive files and other worktrees of the repository.

    Raises UsageError when `batch_id` cannot be one.
    """
    batch_state.require_valid_batch_id(batch_id)
    places = []
    common_dir = project_paths.find_common_dir(project.git_dir or project.private_parent)
    linked = os.path.join(common_dir, "worktrees")
    names = sorted(os.listdir(linked)) if os.path.isdir(linked) else []
    for git_dir in (common_dir, *(os.path.join(linked, name) for name in names)):
        private = os.path.join(git_dir, "batch-implement")
        archived = os.path.join(private, "archive", f"{batch_id}.json")
        if os.path.exists(archived):
            places.append(archived)
        if private != os.path.realpath(project.private) and _has_current_batch(private, batch_id):
            places.append(_describe_worktree(git_dir, common_dir))
    return places


def _has_current_batch(private: str, batch_id: str) -> bool:
    fingerprints = sidecar.read_sidecar(private)
    if fingerprints is None or fingerprints.new is None:
        return False  # there is no batch any more
    try:
        with open(os.path.join(private, "current.json"), encoding="utf-8", errors="replace") as file:
            return f'"batch_id": "{batch_id}"' in file.read(4096)
    except OSError:
        return False


def _describe_worktree(git_dir: str, common_dir: str) -> str:
    try:
        with open(os.path.join(git_dir, "gitdir"), encoding="utf-8") as pointer:
            return f"the worktree {os.path.dirname(pointer.read().strip())}"
    except OSError:
        main = os.path.dirname(common_dir) if common_dir.endswith("/.git") else f"of {common_dir}"
        return f"the worktree {main}"
