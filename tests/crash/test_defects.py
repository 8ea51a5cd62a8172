"""What the proofs found, each by a name that says what went wrong."""

from __future__ import annotations

import errno
import json
import os
import posix
from pathlib import Path

import pytest
from batch_implement.api import allowed_paths
from batch_implement.base import process_identity, project_paths
from batch_implement.base.project_paths import Project
from batch_implement.core import lease
from batch_implement.core.errors import DurabilityError, StateError
from batch_implement.hooks import compaction, stop
from batch_implement.hooks.dispatch import HookEvent
from batch_implement.store import atomic_files, audit_log, sidecar
from batch_implement.store.store import Store
from batches import all_completed, new_batch, owner, state_on_disk

OLD_FILE = {
    "batch_id": "old", "features_file": "", "features": ["one", "two"], "total_features": 2, "current_index": 1,
    "completed_features": [0], "status": "in_progress",
}  # fmt: skip


COPIES = (sidecar.READABLE_COPY, sidecar.BACKUP, "../implement.bi")


class Crash(BaseException):
    """The process ends here: nothing after it runs."""


@pytest.fixture
def broken(monkeypatch):
    """`broken("fsync", error, when)`: that function of `os`, which is `posix`'s, raises `error` where `when` says so of
    its arguments.
    """

    def breaking(name, error, when=lambda *arguments: True):
        real = getattr(os, name)

        def call(*arguments, **options):
            if when(*arguments):
                raise error
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, call)
        if hasattr(posix, name):
            monkeypatch.setattr(posix, name, call)

    breaking.mend = monkeypatch.undo
    return breaking


def into(name):
    """Whether a rename or link leads to that name."""
    return lambda source, target, *more: target == name


def plus_one(state):
    return {**state, "context_token_estimate": state["context_token_estimate"] + 1}


def private(store, *names):
    return Path(store.project.private, *names)


def trouble():
    return OSError(errno.EIO, "Input/output error")


def test_an_old_file_whose_taking_over_was_cut_short_was_read_as_if_it_were_a_version(store, repository, broken):
    (repository / ".claude").mkdir()
    Path(store.project.state).write_text(json.dumps(OLD_FILE), encoding="utf-8")
    broken("replace", Crash(), into("batch_state.json"))
    with pytest.raises(Crash):
        store.reconcile()
    broken.mend()
    assert store.read()["schema_version"] == 1
    assert store.read()["revision"] == state_on_disk(repository)["revision"] == 2
    assert store.notes == []


def test_a_crash_on_the_way_to_quarantine_left_no_file_and_so_a_withdrawn_batch(store, batch, broken):
    Path(store.project.state).write_text("precious words", encoding="utf-8")
    broken("replace", Crash(), into("batch_state.json"))
    with pytest.raises(Crash):
        Store(store.project, trusted=False).reconcile()
    broken.mend()
    assert store.reconcile() == batch
    assert "was put back" in store.notes[0]


def test_a_file_that_a_person_removed_after_a_crash_does_not_come_back(store, batch, broken):
    broken("replace", Crash(), into("batch_state.json"))
    with pytest.raises(Crash):
        store.update(plus_one)
    broken.mend()
    os.unlink(store.project.state)
    assert store.reconcile() is None
    assert "counts as withdrawn" in store.notes[0]


def test_a_crash_while_a_removed_file_is_put_back_left_a_withdrawn_batch(store, batch, broken):
    os.unlink(store.project.state)
    broken("replace", Crash(), into("batch_state.json"))
    with pytest.raises(Crash):
        Store(store.project, trusted=False).reconcile()
    broken.mend()
    assert store.reconcile() == batch


def test_what_cannot_be_linked_is_moved_to_quarantine_and_back_when_nothing_can_take_its_place(store, batch, broken):
    os.unlink(store.project.state)
    os.mkdir(store.project.state)
    broken("replace", trouble(), into("batch_state.json"))
    with pytest.raises(StateError, match="Failed to save"):
        store.reconcile()
    broken.mend()
    assert os.path.isdir(store.project.state)
    assert os.listdir(private(store, "quarantine")) == []
    assert store.reconcile() == batch


def test_half_a_copy_lay_in_history_under_its_name(store, batch, broken):
    times = []
    broken("fsync", Crash(), lambda descriptor: times.append(1) or len(times) > 1)  # the first is for its folder
    with pytest.raises(Crash):
        store.archive("aborted")
    broken.mend()
    assert os.listdir(private(store, "archive")) == []
    assert store.read() == batch


def test_a_batch_that_could_not_be_put_away_was_away_all_the_same(store, batch, broken):
    broken("unlink", trouble(), lambda name, **more: name == "batch_state.json")
    with pytest.raises(StateError, match=r"cannot be archived.*Nothing was changed"):
        store.archive("aborted")
    broken.mend()
    assert store.read() == batch
    assert os.listdir(private(store, "archive")) == []


def test_a_batch_is_away_but_not_confirmed_when_the_seal_cannot_be_taken_back(store, batch, broken):
    times = []
    broken("fsync", trouble(), lambda descriptor: times.append(1) or len(times) > 4)  # the last of the first sidecar
    with pytest.raises(DurabilityError, match="was archived in"):
        store.archive("aborted")
    broken.mend()
    assert store.read() is None
    assert os.listdir(private(store, "archive")) == ["batch-1.json"]


def test_a_replacement_that_failed_had_put_the_old_batch_away(store, batch, broken):
    broken("replace", trouble(), into("batch_state.json"))
    with pytest.raises(StateError, match="Nothing was changed"):
        store.create(new_batch(1, batch_id="other"), replace=True)
    broken.mend()
    assert store.read() == batch
    assert os.listdir(private(store, "archive")) == []


def test_a_replacement_took_trouble_of_the_disk_for_a_damaged_state(store, batch, broken):
    broken("open", trouble(), lambda name, *more, **others: name == "batch_state.json")
    with pytest.raises(StateError, match="cannot be read"):
        store.create(new_batch(1, batch_id="other"), replace=True)
    broken.mend()
    assert store.read() == batch
    assert not private(store, "quarantine").exists()


def test_a_seal_that_could_not_be_read_counted_as_none(store, batch, broken):
    edited = {**batch, "workflow_reminder": "by the model"}
    Path(store.project.state).write_text(json.dumps(edited), encoding="utf-8")
    broken(
        "open",
        OSError(errno.EMFILE, "Too many open files"),
        lambda name, *more, **others: str(name).endswith("/sidecar"),
    )
    with pytest.raises(StateError, match="sidecar cannot be read: Too many open files"):
        Store(store.project, trusted=False).reconcile()
    broken.mend()
    assert Store(store.project, trusted=False).reconcile() == batch


def test_an_edit_was_said_to_be_taken_over_although_that_failed(store, batch, broken):
    edited = {**batch, "workflow_reminder": "Mind the gap."}
    Path(store.project.state).write_text(json.dumps(edited), encoding="utf-8")
    sealed = private(store, "sidecar").read_bytes()
    broken("replace", trouble(), into("batch_state.json"))
    with pytest.raises(StateError):
        store.reconcile()
    broken.mend()
    assert store.notes == []
    assert [entry["event"] for entry in audit_log.read_entries(store.project.private)] == ["created"]
    assert private(store, "sidecar").read_bytes() == sealed
    assert store.read()["revision"] == 2


def test_a_first_version_that_failed_left_a_seal_that_spoke_of_it(store, broken):
    broken("replace", trouble(), into("batch_state.json"))
    with pytest.raises(StateError):
        store.create(new_batch(1))
    broken.mend()
    assert sidecar.read_sidecar(store.project.private) is None
    assert not any(private(store, name).exists() for name in COPIES)
    assert (store.read(), store.notes) == (None, [])


def test_trouble_with_the_lock_was_a_traceback(store, batch, monkeypatch):
    def fails(*arguments):
        raise trouble()

    monkeypatch.setattr("fcntl.flock", fails)
    with pytest.raises(StateError, match="lock cannot be taken: Input/output error"):
        store.update(plus_one)


def test_trouble_with_the_folders_was_a_traceback(store, batch, broken):
    broken("open", trouble(), lambda name, *more, **others: name == ".claude")
    for write in (store.read, lambda: store.update(plus_one)):
        with pytest.raises(StateError, match=r"Input/output error.*Nothing was changed"):
            write()


def test_a_state_file_that_could_not_be_looked_at_was_no_batch(store, repository, broken):
    (repository / ".claude").mkdir()
    Path(store.project.state).write_text(json.dumps(OLD_FILE), encoding="utf-8")
    broken("lstat", trouble(), lambda path, **more: path == store.project.state)
    with pytest.raises(StateError, match="Input/output error"):
        store.reconcile()


def test_the_copy_that_a_version_is_put_back_from_was_moved_and_written_anew_meanwhile(store, batch, broken):
    before = {name: os.stat(private(store, name)).st_ino for name in COPIES}
    Path(store.project.state).write_text("damaged", encoding="utf-8")
    broken("replace", Crash(), into("batch_state.json"))
    with pytest.raises(Crash):
        Store(store.project, trusted=False).reconcile()
    broken.mend()
    assert {name: os.stat(private(store, name)).st_ino for name in COPIES} == before
    assert Store(store.project, trusted=False).reconcile() == batch


def test_half_a_line_in_the_audit_log_took_the_next_one_with_it(tmp_path):
    log = tmp_path / audit_log.NAME
    log.write_bytes(b'{"at": "2026-01-01T00:00:00Z", "event": "cut of')
    audit_log.record(str(tmp_path), "whole")
    assert [entry["event"] for entry in audit_log.read_entries(str(tmp_path))] == ["whole"]


def test_a_line_of_the_audit_log_that_was_written_in_part_was_told_to_nobody(store, batch, monkeypatch):
    real = os.write
    monkeypatch.setattr(
        os, "write", lambda descriptor, data: real(descriptor, data[:10] if b'"event"' in data else data)
    )
    store.update(lambda state: {**state, "workflow_mode": "direct"})
    audit_log.record(store.project.log_folder, "event")
    assert "only part of a line was taken" in audit_log.last_error


def test_a_file_of_which_less_arrived_than_was_taken_passed_as_whole(tmp_path, monkeypatch):
    folder = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(os, "write", lambda descriptor, data: len(data))
    with pytest.raises(OSError, match="0 of 5 bytes arrived"):
        atomic_files.write(folder, "file", b"12345", 1)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []
    os.close(folder)


def leads_to(name):
    """Whether a call is about a path that ends so."""
    return lambda path, *more: str(path).endswith(name)


@pytest.mark.parametrize("error", [errno.EIO, errno.EACCES])
def test_a_git_folder_that_could_not_be_looked_at_counted_as_none_and_gave_the_batch_a_second_home(
    store, batch, repository, broken, monkeypatch, error
):
    broken("stat", OSError(error, os.strerror(error)), leads_to("/.git"))
    with pytest.raises(StateError, match=r"/\.git cannot be accessed"):
        Store(Project(str(repository))).update(plus_one)
    with pytest.raises(StateError, match=r"/\.git cannot be accessed"):
        project_paths.find_project({}, str(repository))
    with monkeypatch.context() as at:
        at.chdir(repository)
        allowed_paths.log_event("said", "ok", {})  # what only tells never raises
    broken.mend()
    assert not (repository / ".claude/batch-implement").exists()
    assert store.read() == batch


@pytest.mark.parametrize("name", ["/.git", "/real"])
def test_a_pointer_to_a_git_folder_that_could_not_be_followed_counted_as_none(repository, broken, monkeypatch, name):
    (repository / ".git").rename(repository / "real")
    (repository / ".git").write_text("gitdir: real\n")
    assert Project(str(repository)).git_dir == f"{repository}/real"
    if name == "/real":
        broken("stat", trouble(), leads_to(name))
    else:
        monkeypatch.setattr(
            project_paths, "open", lambda *given, **options: (_ for _ in ()).throw(trouble()), raising=False
        )
    with pytest.raises(StateError, match="cannot be accessed"):
        Project(str(repository))


def test_a_client_that_took_a_batch_up_again_lost_it_to_another_that_had_found_it_over(store, repository, monkeypatch):
    store.create({**all_completed(new_batch(1, owner={**owner("session-1"), "pid": None, "pid_started": None}))})
    found = store.read()
    owner_record = owner("session-2")

    def read(self):  # what is found; right after that the other client has the batch
        Store(store.project).update(lambda state: lease.acquire(state, owner_record))
        return found

    told = json.dumps({"session_id": "session-3", "source": "startup"}).encode()
    hook_event = HookEvent("SessionStart", "", told, store.project, sidecar.read_sidecar(store.project.private))
    monkeypatch.setattr(compaction.Store, "read", read)
    compaction.handle(hook_event)
    monkeypatch.undo()
    assert process_identity.is_owner_alive(store.read()["owner"])


@pytest.mark.parametrize("event", ["SessionEnd", "Stop", "StopFailure"])
def test_a_client_that_ended_took_the_batch_from_the_one_that_had_just_taken_it_over(
    store, repository, monkeypatch, event
):
    store.create(new_batch(2, owner=owner("session-1")))
    told = json.dumps({"session_id": "session-1", "stop_hook_active": False}).encode()
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", "session-1")
    monkeypatch.setenv("CLAUDE_PID", str(os.getpid()))
    hook_event = HookEvent(event, "", told, store.project, sidecar.read_sidecar(store.project.private))
    assert hook_event.owns_batch
    update = Store.update_with_result

    def raced(self, change):  # the other client has the lock first
        update(self, lambda state: (lease.acquire(state, owner("session-2")), None))
        return update(self, change)

    monkeypatch.setattr(Store, "update_with_result", raced)
    stop.handle(hook_event)
    monkeypatch.undo()
    state = store.read()
    assert (state["owner"]["session_id"], process_identity.is_owner_alive(state["owner"])) == ("session-2", True)
    assert (state["status"], state["continuation"]) == ("in_progress", {"prompt": None})


def test_the_second_of_two_edits_in_a_row_got_the_revision_of_the_first(store, batch, repository):
    path = repository / ".claude" / "batch_state.json"
    for revision, text in ((2, "Mind the gap."), (3, "Mind the doors.")):
        path.write_text(json.dumps({**batch, "workflow_reminder": text, "revision": 1}), encoding="utf-8")
        state = store.read()
        assert (state["revision"], state["workflow_reminder"]) == (revision, text)
