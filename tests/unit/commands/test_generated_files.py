"""What goes with a batch: the output of its verify commands and their worktrees, and nothing of anybody's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.commands import verify_command
from batch_implement.core import run_transitions
from batch_implement.git import verify_tree, worktrees
from batch_implement.store.store import Store
from batches import NOW, commit, git, new_batch, owner, started


@pytest.fixture
def killed(repository: Path) -> dict[str, Any]:
    """The state of a batch whose run was killed: with output of verify, its worktree and an attempt's worktree."""
    project, top = Project(str(repository)), f"{repository}.worktrees/batch-1"
    head = commit(repository, file="x")
    dead_owner = {**owner(), "pid": None, "pid_started": None}
    state = run_transitions.begin(
        started(new_batch(2, verify="true")), NOW, dead_owner, branch="batch/batch-1/merged", base_commit=head,
        target="main", worktrees=top, jobs=1, options={}, budgets={},
    )  # fmt: skip
    Store(project).create(state)
    for folder in (f"{top}/verify-0", f"{top}/merged"):
        verify_tree.prepare(str(repository), folder, head)
    worktrees.add(str(repository), f"{top}/1-feature", "batch/batch-1/1-feature", head)
    output = Path(verify_command.runs_folder(project, state), "0-1-abc", "output")
    output.parent.mkdir(parents=True)
    output.write_text("x" * 1000)
    return {**state, "output": str(output), "top": top}


@pytest.mark.parametrize("words", [("abort",), ("create", "list.txt", "--replace")])
def test_output_and_worktrees_of_verify_go_when_the_batch_is_archived(typed, repository, killed, words):
    (repository / "list.txt").write_text("another\n")
    status, _, errors = typed(*words)
    assert status == 0, errors
    assert not os.path.exists(os.path.dirname(os.path.dirname(killed["output"])))
    assert os.listdir(killed["top"]) == ["1-feature"]
    assert "verify-0" not in git(repository, "worktree", "list")


def test_output_that_a_verify_command_still_writes_stays(typed, repository, killed):
    lock = verify_command.open_locked(os.path.join(os.path.dirname(killed["output"]), "lock"))
    assert typed("abort")[0] == 0
    assert os.path.exists(killed["output"])
    os.close(lock)
