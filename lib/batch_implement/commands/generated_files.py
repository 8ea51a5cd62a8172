"""Remove what programs generated for a batch that is archived: the output of verify commands, and their worktrees.

Nothing in them is anybody's work: git and the commands wrote it. Worktrees of attempts stay.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from ..base import process_identity
from ..core.errors import BatchError
from ..git import worktrees
from . import verify_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State


def remove_with_batch(project: Project, state: Optional[State]) -> None:
    """Remove what was generated for an archived batch. What a process of the batch still uses stays, and what cannot be
    removed.
    """
    if state is None:
        return
    runs = verify_command.runs_folder(project, state)
    with contextlib.suppress(OSError):
        for name in os.listdir(runs):
            if not verify_command.is_running(os.path.join(runs, name)):
                shutil.rmtree(os.path.join(runs, name), ignore_errors=True)
        os.rmdir(runs)
    is_in_use = process_identity.is_owner_alive(state["owner"])
    if state.get("run") and project.git_dir is not None and not is_in_use:
        for folder in worktrees.list_generated_folders(state["run"]["worktrees"]):
            with contextlib.suppress(BatchError, OSError):
                worktrees.remove_generated(project.root, folder)
