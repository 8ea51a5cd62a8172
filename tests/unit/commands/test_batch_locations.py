"""Batches that are in another worktree of the repository, or archived, are named with their places."""

from __future__ import annotations

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.commands import batch_locations
from batch_implement.core.errors import UsageError
from batch_implement.store.store import Store
from batches import commit, git, new_batch


@pytest.fixture
def worktree(repository, tmp_path):
    """A linked worktree of the repository, which has a commit."""
    commit(repository, one="1")
    path = tmp_path / "side"
    git(repository, "worktree", "add", "-q", "-b", "side", str(path))
    return path


@pytest.mark.parametrize("through_link", [False, True])
def test_a_batch_is_found_in_the_other_worktree_and_not_in_its_own(repository, worktree, tmp_path, through_link):
    for root, batch_id in ((repository, "batch-main"), (worktree, "batch-side")):
        Store(Project(str(root))).create({**new_batch(1), "batch_id": batch_id})
    if through_link:
        (tmp_path / "link").symlink_to(tmp_path)
    at = {
        root: tmp_path / "link" / root.relative_to(tmp_path) if through_link else root
        for root in (repository, worktree)
    }
    main, side = Project(str(at[repository])), Project(str(at[worktree]))
    assert batch_locations.find_batch(main, "batch-side") == [f"the worktree {worktree}"]
    assert batch_locations.find_batch(side, "batch-main") == [f"the worktree {repository}"]
    assert batch_locations.find_batch(main, "batch-main") == []
    assert batch_locations.find_batch(side, "batch-side") == []


def test_an_archived_batch_is_found_from_every_worktree(repository, worktree):
    store = Store(Project(str(worktree)))
    store.create({**new_batch(1), "batch_id": "batch-side"})
    store.archive("aborted")
    for root in (repository, worktree):
        (place,) = batch_locations.find_batch(Project(str(root)), "batch-side")
        assert place.endswith("/worktrees/side/batch-implement/archive/batch-side.json")


def test_a_text_that_is_no_batch_id_is_refused(repository):
    with pytest.raises(UsageError, match="is not a batch id"):
        batch_locations.find_batch(Project(str(repository)), "../x")
