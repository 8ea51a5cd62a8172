"""Who only looks sees the version in force, and leaves everything as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.core.errors import StateError
from batch_implement.store import snapshot
from batches import files_in, started


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def test_it_sees_what_the_store_sees(store, batch):
    assert snapshot.read_snapshot(store.project) == store.read()
    store.update(started)
    assert snapshot.read_snapshot(store.project) == store.read()


def test_without_a_batch_there_is_nothing(store):
    assert snapshot.read_snapshot(store.project) is None


def test_a_batch_that_was_put_away_is_none(store, batch):
    store.archive("aborted")
    assert snapshot.read_snapshot(store.project) is None


def test_an_edit_is_neither_seen_nor_adopted(store, batch, repository):
    state = Path(store.project.state)
    state.write_text(state.read_text(encoding="utf-8").replace("feature 1", "feature X"), encoding="utf-8")
    before = contents(repository)
    assert snapshot.read_snapshot(store.project)["features"][0] == "feature 1"
    assert contents(repository) == before
    assert store.read()["features"][0] == "feature X"  # the store does adopt it, as a person's


@pytest.mark.parametrize("other", ["nothing", "a link", "a folder", "no JSON"])
def test_what_took_the_states_place_is_not_followed_and_not_mended(store, batch, repository, other):
    os.unlink(store.project.state)
    if other == "a link":
        os.symlink("/dev/zero", store.project.state)
    elif other == "a folder":
        os.mkdir(store.project.state)
    elif other == "no JSON":
        Path(store.project.state).write_text("{", encoding="utf-8")
    assert snapshot.read_snapshot(store.project)["features"] == batch["features"]
    assert os.path.lexists(store.project.state) == (other != "nothing")
    assert not (Path(store.project.private) / "quarantine").exists()


def test_a_file_that_was_never_ours_is_seen_when_it_is_valid(repository, store, batch):
    text = Path(store.project.state).read_bytes()
    elsewhere = Project(str(repository / "sub"))
    os.makedirs(repository / "sub" / ".claude")
    Path(elsewhere.state).write_bytes(text)
    assert snapshot.read_snapshot(elsewhere)["features"] == batch["features"]
    Path(elsewhere.state).write_text("{", encoding="utf-8")
    with pytest.raises(StateError):
        snapshot.read_snapshot(elsewhere)
