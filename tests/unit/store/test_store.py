"""The state on disk: a version replaces another whole or not at all; what others did to the file is dealt with."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import threading

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.core import batch_state, lease, transitions
from batch_implement.core.errors import DurabilityError, LockTimeout, RefusedError, StateError
from batch_implement.store import atomic_files, audit_log, backups, lock, serialization, sidecar
from batch_implement.store.store import Store
from batches import NOW, all_completed, files_in, git, new_batch, owner, started, state_on_disk


class Crash(BaseException):
    """The process ends here: nothing after it runs."""


@pytest.fixture
def place(store):
    """The paths of a store's files: `place("sidecar")` in the private folder, `place()` the state itself."""
    return lambda *names: os.path.join(store.project.private, *names) if names else store.project.state


def content(path):
    with open(path, "rb") as file:
        return file.read()


def overwrite(path, data):
    with open(path, "wb") as file:
        file.write(data)


def plus_one(state):
    """A change that can be counted."""
    return lease.record_context_tokens(state, state["context_token_estimate"] + 1)


def edited(path, **changes):
    """Change fields of the state file as an editor does: in place, in its own format."""
    state = {**json.loads(content(path)), **changes}
    overwrite(path, json.dumps(state, indent=2).encode())
    return state


def events(store):
    return [entry["event"] for entry in audit_log.read_entries(store.project.private)]


# -- reading and writing -----------------------------------------------------------------------------------------------


def test_an_update_with_a_result_writes_the_state_and_returns_both(store):
    store.create(new_batch())
    written, result = store.update_with_result(lambda state: (plus_one(state), state["revision"]))
    assert (written["revision"], result) == (2, 1)
    assert store.read() == written


def test_an_update_with_a_result_that_keeps_the_state_writes_nothing(store, place):
    store.create(new_batch())
    before = content(place())
    state, result = store.update_with_result(lambda state: (state, "kept"))
    assert (state["revision"], result, content(place())) == (1, "kept", before)


def test_a_project_without_a_batch_has_none_and_reading_creates_nothing(store, repository):
    before = files_in(repository)
    assert store.read() is None
    with pytest.raises(RefusedError, match=r"no batch in .*/batch-implement FILE"):
        store.require()
    for write in (lambda: store.update(plus_one), lambda: store.archive("x"), store.reconcile):
        with pytest.raises(RefusedError, match="no batch"):
            write()
    assert files_in(repository) == before


def test_a_batch_is_created_at_revision_1_and_read_back(store, repository):
    state = store.create({**new_batch(2), "revision": 0})
    assert (state["revision"], state["state_file"]) == (1, str(repository / ".claude/batch_state.json"))
    assert store.read() == state == state_on_disk(repository)
    assert store.require() == state


def test_an_update_writes_what_the_change_makes_one_revision_further(store, batch):
    state = store.update(lambda current: transitions.start(current, NOW, None))
    assert state["revision"] == batch["revision"] + 1
    assert state["active"]["feature_index"] == 0
    assert store.read() == state


def test_an_update_that_changes_nothing_writes_nothing(store, batch, repository):
    before = os.stat(store.project.state)
    copies = {name: content(f"{store.project.private}/{name}") for name in ("sidecar", "current.json")}
    assert store.update(lambda current: current) == batch
    after = os.stat(store.project.state)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert copies == {name: content(f"{store.project.private}/{name}") for name in copies}


@pytest.mark.parametrize("error", [RefusedError("no", "usage"), ValueError("a bug"), KeyboardInterrupt()])
def test_a_change_that_is_refused_or_breaks_writes_nothing(store, batch, error):
    def change(state):
        raise error

    before = content(store.project.state)
    with pytest.raises(type(error)):
        store.update(change)
    assert content(store.project.state) == before
    assert store.update(plus_one)["revision"] == 2  # the lock is free again


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {**state, "completed_features": [0, 0]},
        lambda state: {**state, "status": "completed"},
        lambda state: {**state, "retry_attempts": {}},
        lambda state: {**state, "features": []},
    ],
)
def test_a_version_that_is_not_valid_is_never_written(store, batch, change):
    store.update(lambda state: {**state, "retry_attempts": {"0": 1}, "current_index": 1})
    before = content(store.project.state)
    with pytest.raises(StateError, match=r"Refused to write .*This is a bug in .*Nothing was changed\."):
        store.update(change)
    assert content(store.project.state) == before


def test_what_a_store_has_read_its_update_does_not_parse_again(store, batch, monkeypatch):
    parsed = []
    real = serialization.parse_content
    monkeypatch.setattr(serialization, "parse_content", lambda *given: parsed.append(given) or real(*given))
    store.read()
    assert store.update(plus_one) == store.read()
    assert len(parsed) == 2  # by the one reading and by the other
    store.update(plus_one)
    store.update(plus_one)
    assert len(parsed) == 3  # what was read serves one transaction


def test_what_another_wrote_since_a_store_has_read_is_not_lost(store, batch):
    store.read()
    Store(store.project).update(plus_one)
    assert store.update(plus_one)["context_token_estimate"] == 2
    assert store.read()["revision"] == 3


def test_what_a_store_has_read_does_not_hide_that_the_bytes_changed_since(untrusted, batch, place):
    untrusted.read()
    status, data = os.stat(place()), content(place())
    with open(place(), "r+b") as file:
        file.write(data.replace(b'"status": "in_progress"', b'"status": "in_progresS"'))
    os.utime(place(), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert untrusted.update(plus_one)["revision"] == 2
    assert any("put back" in note for note in untrusted.notes)


@pytest.mark.parametrize("model_is_at_work", [True, False])
def test_a_file_whose_time_was_put_back_is_not_taken_for_the_version_in_force(store, batch, place, model_is_at_work):
    reader = Store(store.project, trusted=not model_is_at_work)
    status, data = os.stat(place()), content(place())
    with open(place(), "r+b") as file:
        file.write(data.replace(b"2026-01-31", b"2027-01-31"))
    os.utime(place(), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert reader.read()["created_at"][:4] == ("2026" if model_is_at_work else "2027")
    assert events(store)[-1] == ("put back" if model_is_at_work else "adopted")


def test_a_caller_that_replaces_a_field_of_what_it_read_changes_nothing_of_the_version_in_force(store, batch):
    store.read()["status"] = "paused"
    assert store.update(plus_one)["status"] == "in_progress"


def test_the_seal_is_read_once_under_the_lock_and_again_after_it_was_written(store, batch, monkeypatch):
    read = []
    real = sidecar.read_text
    monkeypatch.setattr(sidecar, "read_text", lambda private: read.append(1) or real(private))
    store.update(plus_one)
    assert len(read) == 1
    with store._transaction() as at:
        at.write(plus_one(at.reconcile().state), at.reconcile())
        at.reconcile()
    assert len(read) == 3


def test_three_copies_hold_the_version_in_force_and_two_of_them_the_sidecar(store, batch, place):
    for _ in range(2):
        store.update(plus_one)
        assert content(place("current.json")) == content(place())
        assert os.stat(place("current.json")).st_ino != os.stat(place()).st_ino
        for packed in (place("in-force.bi"), store.project.second_backup):
            assert backups.unpack(content(packed)) == (content(place("sidecar")), content(place()))


def test_the_seal_knows_the_version_in_force_and_the_one_before(store, batch, place):
    before = os.stat(place())
    store.update(plus_one)
    sealed = sidecar.read_sidecar(store.project.private)
    assert (sealed.live, sealed.new.revision, sealed.old.revision) == (True, 2, 1)
    assert sealed.new.matches(os.stat(place()))
    assert sealed.old.matches(before)
    assert sealed.new.sha256 == atomic_files.sha256(content(place()))
    assert store.is_unmodified()


def test_the_seal_says_who_holds_the_batch_and_what_is_open(store):
    store.create(new_batch(2, owner=owner("s-1"), unattended=True))
    store.update(lambda state: lease.record_compaction(transitions.start(state, NOW, None), NOW, "agent-1", 5))
    sealed = sidecar.read_sidecar(store.project.private)
    assert (sealed.session, sealed.owner_pid, sealed.open, sealed.unattended) == ("s-1", os.getpid(), True, True)
    assert sealed.remind == ("agent-1",)


def test_a_batch_that_is_over_is_sealed_so_when_its_client_has_gone(store):
    store.create(new_batch(1, owner=owner()))
    store.update(all_completed)
    assert sidecar.read_sidecar(store.project.private).live  # its client has not heard of it
    store.update(lease.release)
    assert not sidecar.read_sidecar(store.project.private).live


def test_files_are_for_their_owner_alone(store, batch, place, repository):
    store.update(plus_one)
    store.archive("aborted")
    for path in (repository / ".claude", store.project.private, place("archive")):
        assert os.stat(path).st_mode & 0o777 == 0o700
    for name in files_in(store.project.private):
        assert os.stat(place(name)).st_mode & 0o777 == 0o600
    store.create(new_batch(1))
    assert os.stat(place()).st_mode & 0o777 == 0o600


def test_a_umask_changes_nothing_of_that(store, batch, place):
    old = os.umask(0)
    try:
        store.update(plus_one)
    finally:
        os.umask(old)
    assert [os.stat(path).st_mode & 0o777 for path in (place(), place("sidecar"), place("current.json"))] == [0o600] * 3


def test_no_temporary_file_stays(store, batch, repository):
    for _ in range(3):
        store.update(plus_one)
    assert files_in(repository / ".claude") == {"batch_state.json"}
    assert files_in(store.project.private) == {"lock", "sidecar", "current.json", "in-force.bi", "audit.jsonl"}


def test_no_descriptor_stays_open(store, batch, untrusted, place):
    before = len(os.listdir("/dev/fd"))
    store.update(plus_one)
    store.read()
    overwrite(place(), b"{}")
    untrusted.read()
    with pytest.raises(RefusedError):
        store.create(new_batch(1))
    assert len(os.listdir("/dev/fd")) == before


def test_a_project_without_git_keeps_everything_in_its_claude_folder(tmp_path):
    store = Store(Project(str(tmp_path)))
    store.create(new_batch(1))
    store.update(plus_one)
    assert files_in(tmp_path) == {
        ".claude/batch_state.json",
        ".claude/implement.bi",
        *(
            f".claude/batch-implement/{name}"
            for name in ("lock", "sidecar", "current.json", "in-force.bi", "audit.jsonl")
        ),
    }


def test_a_linked_worktree_has_a_batch_of_its_own(store, batch, repository, tmp_path):
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"))
    other = Store(Project(str(tmp_path / "tree")))
    assert other.read() is None
    other.create(new_batch(1, batch_id="other"))
    assert (store.read()["batch_id"], other.read()["batch_id"]) == ("batch-1", "other")


def test_what_a_version_does_not_know_stays_through_a_write(store, batch, place):
    store.update(lambda state: {**state, "from_the_future": {"x": [1, None]}})
    assert store.update(plus_one)["from_the_future"] == {"x": [1, None]}


# -- creating and putting away -----------------------------------------------------------------------------------------


def test_a_second_batch_is_refused_while_the_first_is_unfinished_with_the_three_ways_on(store, batch):
    with pytest.raises(RefusedError) as caught:
        store.create(new_batch(1, batch_id="other"))
    assert "batch-1 is not finished here (in_progress, 0 of 3 done)" in caught.value.message
    for way in ("/batch-implement --resume", "batchctl abort", "--replace"):
        assert way in caught.value.message
    assert store.read()["batch_id"] == "batch-1"


def test_replacing_puts_the_unfinished_one_into_history(store, batch, place):
    store.create(new_batch(1, batch_id="other"), replace=True)
    assert store.read()["batch_id"] == "other"
    assert serialization.parse(content(place("archive", "batch-1.json"))) == batch


def test_a_finished_batch_is_followed_by_another_and_kept(store, place):
    store.create(new_batch(1))
    over = store.update(all_completed)
    assert store.create(new_batch(1, batch_id="other"))["revision"] == 1
    assert serialization.parse(content(place("archive", "batch-1.json"))) == over


def test_two_batches_of_one_name_are_both_kept(store, place):
    for _ in range(3):
        store.create(new_batch(1))
        store.archive("aborted")
    assert files_in(place("archive")) == {"batch-1.json", "batch-1.2.json", "batch-1.3.json"}


def test_after_putting_away_there_is_no_batch_and_the_seal_says_so(store, batch, place):
    assert store.archive("aborted") == batch
    assert store.read() is None
    assert not os.path.exists(place())
    assert (sidecar.read_sidecar(store.project.private).live, sidecar.read_sidecar(store.project.private).new) == (
        False,
        None,
    )
    assert events(store) == ["created", "archived"]


def test_a_putting_away_that_was_cut_short_is_finished_by_the_next_write(store, batch, place, monkeypatch):
    monkeypatch.setattr(os, "unlink", raising(Crash(), os.unlink, lambda name: name == "batch_state.json"))
    with pytest.raises(Crash):
        store.archive("aborted")
    monkeypatch.undo()
    assert os.path.exists(place())
    assert store.read() is None
    assert store.create(new_batch(2, batch_id="other"))["batch_id"] == "other"
    assert files_in(place("archive")) == {"batch-1.json"}


# -- several at once ---------------------------------------------------------------------------------------------------


def update_many(root, times):
    for _ in range(times):
        Store(Project(root), timeout_s=60).update(plus_one)


def test_nothing_is_lost_when_four_processes_update_fifty_times_each(store, batch, repository):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=update_many, args=(str(repository), 50)) for _ in range(4)]
    for worker in workers:
        worker.start()
    seen = []
    while any(worker.is_alive() for worker in workers):
        seen.append(store.read()["revision"])  # a reader never sees half a version, nor an older one
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert seen == sorted(seen)
    state = store.read()
    assert (state["context_token_estimate"], state["revision"]) == (200, 201)
    assert store.is_unmodified()
    assert store.notes == []


def test_threads_lose_nothing_either(store, batch, repository):
    threads = [threading.Thread(target=update_many, args=(str(repository), 10)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read()["context_token_estimate"] == 40


def test_a_reader_needs_no_lock_and_a_writer_says_who_has_it(store, batch, repository):
    folder = os.open(store.project.private, os.O_RDONLY)
    with lock.FileLock(folder, store.project.private, 1):
        assert store.read() == batch
        with pytest.raises(LockTimeout, match=f"process {os.getpid()}"):
            Store(store.project, timeout_s=0).update(plus_one)
    os.close(folder)
    assert store.read() == batch


# -- what others did to the file ---------------------------------------------------------------------------------------

FOREIGN = {
    "changed": lambda path: edited(path, status="paused"),
    "cut": lambda path: overwrite(path, content(path)[:100]),
    "empty": lambda path: overwrite(path, b""),
    "appended": lambda path: overwrite(path, content(path) + b"\n"),
    "replaced": lambda path: (overwrite(f"{path}.new", b"{}"), os.replace(f"{path}.new", path)),
    "link": lambda path: (os.rename(path, f"{path}.real"), os.symlink(f"{path}.real", path)),
    "link to nothing": lambda path: (os.unlink(path), os.symlink("nowhere", path)),
    "hard link": lambda path: os.link(path, f"{path}.link"),
    "folder": lambda path: (os.unlink(path), os.mkdir(path)),
    "fifo": lambda path: (os.unlink(path), os.mkfifo(path)),
    "gone": os.unlink,
    "folder gone": lambda path: shutil.rmtree(os.path.dirname(path)),
}
USABLE = frozenset(("changed", "appended", "gone", "folder gone"))  # for a person; what else they did is put back


@pytest.mark.parametrize("what", FOREIGN)
def test_what_the_model_did_to_the_file_is_undone_and_kept(untrusted, batch, place, what):
    state = untrusted.update(plus_one)
    FOREIGN[what](place())
    assert not untrusted.is_unmodified() or what == "hard link"  # a stat does not tell a second name; a read does
    assert untrusted.reconcile() == state
    assert untrusted.read() == state
    assert len(untrusted.notes) == 1
    assert "Revision 2 was put back" in untrusted.notes[0]
    if "gone" not in what:
        assert len(os.listdir(place("quarantine"))) == 1
        assert place("quarantine") in untrusted.notes[0]
    assert untrusted.is_unmodified()
    assert events(untrusted) == ["created", "put back"]
    assert untrusted.restored_note == untrusted.notes[0]


@pytest.mark.parametrize("what", sorted(set(FOREIGN) - USABLE))
def test_what_a_person_made_unusable_is_put_back_too_and_theirs_is_kept(store, batch, place, what):
    state = store.update(plus_one)
    FOREIGN[what](place())
    assert store.reconcile() == state
    assert len(os.listdir(place("quarantine"))) == 1
    assert "was put back" in store.notes[0]


def test_what_was_put_into_quarantine_is_what_was_there(untrusted, batch, place):
    overwrite(place(), b"precious words")
    untrusted.reconcile()
    (name,) = os.listdir(place("quarantine"))
    assert content(place("quarantine", name)) == b"precious words"


def test_a_quarantine_on_another_file_system_is_beside_the_file(untrusted, batch, place, repository, monkeypatch):
    crossing = OSError(errno.EXDEV, "Invalid cross-device link")
    monkeypatch.setattr(os, "link", raising(crossing, os.link, lambda old, new: "quarantined" not in new))
    overwrite(place(), b"precious words")
    assert untrusted.read() == batch
    (name,) = files_in(repository / ".claude") - {"batch_state.json"}
    assert (repository / ".claude" / name).read_bytes() == b"precious words"
    assert name in untrusted.notes[0]


def test_a_valid_edit_of_a_person_is_adopted_one_revision_further(store, batch, place):
    edited(place(), workflow_reminder="Mind the gap.", team="web")
    state = store.read()
    assert (state["revision"], state["workflow_reminder"], state["team"]) == (2, "Mind the gap.", "web")
    assert "is valid and was taken over" in store.notes[0]
    assert serialization.parse(content(place("archive", "batch-1.before-edit.json"))) == batch
    assert (store.is_unmodified(), events(store)) == (True, ["created", "adopted"])


def test_an_edit_that_makes_a_counter_smaller_is_put_back(store, batch, place):
    state = store.update(lambda current: {**current, "retry_attempts": {"1": 2}})
    edited(place(), retry_attempts={})
    assert store.read() == state
    assert "What may only grow was made smaller: retry_attempts of feature index 1 fell" in store.notes[0]


def test_an_edit_cannot_set_the_revision_back(store, batch, place):
    store.update(plus_one)
    edited(place(), revision=1, team="web")
    assert store.read()["revision"] == 3


def test_an_edit_of_more_than_8_mb_is_put_back_unread(store, batch, place):
    edited(place(), team="x" * (8 * 1024 * 1024))
    assert store.read() == batch
    assert "It is larger than the 8 MB that an edit may have" in store.notes[0]


def test_an_edit_that_breaks_an_invariant_says_which(store, batch, place):
    edited(place(), completed_features=[0, 7])
    assert store.read() == batch
    assert store.notes[0].startswith(f"{place()} was made invalid outside batchctl (It is not a valid state: ")
    assert "completed_features names feature index 7; the last one is 2). Revision 1 was put back." in store.notes[0]


def test_a_file_that_a_person_removed_withdraws_the_batch_and_keeps_its_last_version(store, batch, place):
    os.unlink(place())
    assert store.read() is None
    assert "counts as withdrawn" in store.notes[0]
    assert serialization.parse(content(place("archive", "batch-1.json"))) == batch
    assert store.read() is None
    assert store.create(new_batch(1, batch_id="other"))["batch_id"] == "other"


def test_a_file_that_goes_while_a_feature_is_open_is_put_back_for_everybody(store, batch, place):
    opened = store.update(lambda state: transitions.start(state, NOW, None))
    os.unlink(place())
    assert store.read() == opened
    assert "was gone outside batchctl. Revision 2 was put back." in store.notes[0]


def test_a_batch_that_is_over_and_removed_is_nothing_to_talk_about(store, place):
    store.create(new_batch(1))
    store.update(all_completed)
    os.unlink(place())
    assert (store.read(), store.notes) == (None, [])


def test_a_file_that_was_copied_is_sealed_again_in_silence(store, batch, untrusted, place):
    shutil.copy(place(), f"{place()}.copy")
    os.replace(f"{place()}.copy", place())
    assert not untrusted.is_unmodified()
    assert untrusted.read() == batch
    assert (untrusted.notes, untrusted.is_unmodified()) == ([], True)
    assert untrusted.update(plus_one)["revision"] == 2


def test_a_file_that_was_only_touched_is_sealed_again_in_silence(store, batch, place):
    os.utime(place())
    assert (store.read(), store.notes) == (batch, [])


def test_an_old_version_that_the_model_restored_is_undone(store, batch, untrusted, place):
    store.update(plus_one)
    older = content(place())
    newest = store.update(plus_one)
    overwrite(place(), older)
    assert untrusted.read() == newest
    assert "Revision 3 was put back" in untrusted.notes[0]


def test_an_old_version_under_its_old_inode_is_told_by_its_content(store, batch, untrusted, place):
    overwrite(f"{place()}.kept", content(place()))
    state = store.update(plus_one)
    os.replace(f"{place()}.kept", place())
    assert untrusted.read() == state


def damage_copies(store):
    for name in ("current.json", "in-force.bi", "../implement.bi"):
        overwrite(f"{store.project.private}/{name}", b"{}")


def test_without_an_intact_copy_the_file_is_left_as_it_is_and_the_message_says_what_to_do(store, batch, place):
    overwrite(place(), b"{")
    damage_copies(store)
    for _ in range(2):
        with pytest.raises(StateError) as caught:
            store.read()
        assert content(place()) == b"{"
    assert "was left as it is" in caught.value.message
    assert "batchctl validate" in caught.value.message


def test_such_a_file_can_be_replaced_and_is_kept(store, batch, place):
    overwrite(place(), b"{")
    damage_copies(store)
    with pytest.raises(StateError):
        store.create(new_batch(1, batch_id="other"))
    store.create(new_batch(1, batch_id="other"), replace=True)
    assert store.read()["batch_id"] == "other"
    (name,) = os.listdir(place("quarantine"))
    assert content(place("quarantine", name)) == b"{"
    assert name in store.notes[-1]
    assert store.read_if_usable() == store.read()


def test_who_only_looks_can_take_an_unusable_state_for_none(store, batch, place):
    assert store.read_if_usable() == batch
    overwrite(place(), b"{")
    damage_copies(store)
    assert store.read_if_usable() is None


@pytest.mark.parametrize("sidecar_now", [None, b"", b"garbage\n", b"live\n", b"one digit"])
def test_a_damaged_or_missing_sidecar_is_put_back_byte_for_byte(untrusted, batch, place, sidecar_now):
    before, state = content(place("sidecar")), content(place())
    if sidecar_now is None:
        os.unlink(place("sidecar"))
    else:
        overwrite(place("sidecar"), before.replace(b"1", b"2", 1) if sidecar_now == b"one digit" else sidecar_now)
    assert untrusted.read() == batch
    assert (content(place("sidecar")), content(place())) == (before, state)
    assert untrusted.notes == [f"{place('sidecar')} was changed or removed; it was put back from its copy."]


@pytest.mark.parametrize("seal_now", [b"", b"garbage\n", b"live\n"])
def test_a_damaged_seal_is_made_new_for_the_state_as_it_is_where_no_copy_is_left(store, batch, place, seal_now):
    damage_copies(store)
    overwrite(place("sidecar"), seal_now)
    assert store.reconcile()["revision"] == 2
    assert "sidecar was damaged" in store.notes[0]
    assert store.is_unmodified()
    assert sidecar.read_sidecar(store.project.private).new.revision == 2


def test_a_link_where_a_folder_of_ours_belongs_is_refused(store, batch, repository, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (repository / ".claude").rename(elsewhere)
    (repository / ".claude").symlink_to(elsewhere)
    with pytest.raises(StateError, match="symbolic link"):
        store.update(plus_one)
    with pytest.raises(StateError, match="symbolic link"):
        store.read()


def test_a_link_where_the_private_folder_belongs_is_refused(store, batch, tmp_path):
    os.rename(store.project.private, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", store.project.private)
    with pytest.raises(StateError, match="symbolic link"):
        store.update(plus_one)


# -- old files ---------------------------------------------------------------------------------------------------------

VERSION_0 = {
    "batch_id": "old-1", "features_file": "f.txt", "total_features": 2, "features": ["a", "b"], "current_index": 0,
    "status": "running", "completed_features": [0, 0],
}  # fmt: skip


@pytest.fixture
def old_file(store, repository):
    """A state of version 0, written by a script."""
    (repository / ".claude").mkdir()
    overwrite(store.project.state, json.dumps(VERSION_0, indent=2).encode())


def test_an_old_file_can_be_read_without_being_touched(store, old_file, repository):
    before = files_in(repository)
    assert (store.read()["status"], store.read()["completed_features"]) == ("in_progress", [0])
    assert state_on_disk(repository) == VERSION_0
    assert files_in(repository) == before


def test_an_old_file_is_migrated_at_the_first_write_and_kept_as_it_was(store, old_file, place):
    state = store.update(plus_one)
    assert (state["schema_version"], state["completed_features"], state["current_index"]) == (1, [0], 1)
    migrated = [entry for entry in audit_log.read_entries(store.project.private) if entry["event"] == "migrated"]
    assert [len(entry["repairs"]) for entry in migrated] == [2]
    kept = migrated[0]["kept"]
    assert json.loads(content(kept)) == VERSION_0
    assert kept.startswith(place("archive"))


def test_an_old_file_that_cannot_be_read_is_left_as_it_is(store, old_file, place):
    overwrite(place(), b'{"batch_id": "old-1"}')
    for use in (store.read, lambda: store.update(plus_one), lambda: store.create(new_batch(1))):
        with pytest.raises(StateError, match="Missing required fields") as caught:
            use()
        assert caught.value.message.startswith(f"{place()} cannot be used and was left as it is: Missing required")
        assert caught.value.message.endswith(" Mend it, or move it away; `batchctl validate` says more.")
    assert content(place()) == b'{"batch_id": "old-1"}'


def test_a_file_of_a_newer_version_is_left_as_it_is_and_nobody_is_told_to_mend_it(store, old_file, place):
    overwrite(place(), b'{"schema_version": 9}')
    for use in (store.read, lambda: store.update(plus_one)):
        with pytest.raises(StateError) as caught:
            use()
        assert caught.value.message.startswith(f"{place()} cannot be used and was left as it is: The state has schema")
        assert caught.value.message.endswith("A newer one wrote it: update the plugin.")
        assert caught.value.topic == "installation"


# -- crashes and full disks --------------------------------------------------------------------------------------------


def raising(error, real, when):
    """`real`, but raising `error` for the calls that `when` picks by their arguments."""

    def call(*arguments, **options):
        if when(*arguments):
            raise error
        return real(*arguments, **options)

    return call


def replaces_the_state(old, new):
    return new == "batch_state.json"


def the_fourth_time():
    """True for the fourth call and no other."""
    calls = []
    return lambda *_: calls.append(1) or len(calls) == 4


def test_a_crash_between_seal_and_rename_leaves_the_old_version_in_force(
    store, batch, untrusted, repository, monkeypatch
):
    monkeypatch.setattr(os, "replace", raising(Crash(), os.replace, replaces_the_state))
    with pytest.raises(Crash):
        store.update(plus_one)
    monkeypatch.undo()
    assert sidecar.read_sidecar(store.project.private).new.revision == 2
    for reader in (store, untrusted):
        assert reader.read() == batch
        assert reader.is_unmodified()
        assert reader.reconcile() == batch
        assert reader.notes == []
    state = store.update(plus_one)
    assert (state["revision"], state["context_token_estimate"]) == (2, 1)
    assert files_in(repository / ".claude") == {"batch_state.json"}


def test_a_crash_before_the_seal_leaves_the_old_version_in_force(store, batch, repository, monkeypatch):
    monkeypatch.setattr(os, "replace", raising(Crash(), os.replace, lambda old, new: new == "sidecar"))
    with pytest.raises(Crash):
        store.update(plus_one)
    monkeypatch.undo()
    assert store.read() == batch
    assert store.update(plus_one)["revision"] == 2
    assert files_in(repository / ".claude") == {"batch_state.json"}
    assert "sidecar.tmp" not in files_in(store.project.private)


def test_a_crash_right_after_the_rename_leaves_the_new_version_in_force(store, batch, untrusted, place, monkeypatch):
    monkeypatch.setattr(
        atomic_files, "sync", raising(Crash(), atomic_files.sync, the_fourth_time())
    )  # temp, sidecar, its folder, ours
    with pytest.raises(Crash):
        store.update(plus_one)
    monkeypatch.undo()
    assert untrusted.read()["revision"] == 2
    assert (untrusted.is_unmodified(), untrusted.reconcile()["revision"], untrusted.notes) == (True, 2, [])
    overwrite(place(), b"tampered")
    assert untrusted.read()["revision"] == 2


def test_a_crash_after_a_first_version_was_sealed_leaves_no_batch(store, repository, monkeypatch):
    monkeypatch.setattr(os, "replace", raising(Crash(), os.replace, replaces_the_state))
    with pytest.raises(Crash):
        store.create(new_batch(1))
    monkeypatch.undo()
    assert store.read() is None
    assert store.create(new_batch(1, batch_id="other"))["batch_id"] == "other"


def test_tampering_after_a_crash_never_brings_back_less_than_was_in_force(store, batch, untrusted, place, monkeypatch):
    store.update(plus_one)
    monkeypatch.setattr(os, "replace", raising(Crash(), os.replace, replaces_the_state))
    with pytest.raises(Crash):
        store.update(plus_one)
    monkeypatch.undo()
    overwrite(place(), b"tampered")
    assert untrusted.read()["revision"] >= 2


def test_a_write_that_fails_at_the_rename_leaves_no_copy_that_was_never_in_force(
    store, batch, untrusted, place, monkeypatch
):
    monkeypatch.setattr(os, "replace", raising(OSError(errno.EIO, "I/O error"), os.replace, replaces_the_state))
    with pytest.raises(StateError, match="Failed to save"):
        store.update(plus_one)
    monkeypatch.undo()
    overwrite(place(), b"tampered")
    assert untrusted.read() == batch


def test_a_batch_that_ended_in_a_crash_before_its_last_seal_is_sealed_as_over(store, monkeypatch):
    store.create(new_batch(1))
    seals = []
    monkeypatch.setattr(
        os,
        "replace",
        raising(Crash(), os.replace, lambda old, new: new == "sidecar" and (seals.append(new) or len(seals) > 1)),
    )
    with pytest.raises(Crash):
        store.update(all_completed)
    monkeypatch.undo()
    assert sidecar.read_sidecar(store.project.private).live
    store.reconcile()
    assert not sidecar.read_sidecar(store.project.private).live


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_is_said_and_nothing_is_changed(store, batch, repository, monkeypatch, failing, nth):
    store.update(plus_one)
    before = {name: (repository / name).read_bytes() for name in files_in(repository)}
    calls = []

    def is_nth(*arguments):
        calls.append(1)
        return len(calls) >= nth

    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, failing, raising(full, getattr(os, failing), is_nth))
    with pytest.raises(StateError) as caught:
        store.update(plus_one)
    monkeypatch.undo()
    assert caught.value.message == (
        f"Failed to save {store.project.state}: Disk space is used up: free some and try again. Nothing was changed."
    )
    after = {name: (repository / name).read_bytes() for name in files_in(repository)}
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {".git/batch-implement/sidecar", ".git/batch-implement/lock"}
    assert not any(name.endswith(".tmp") for name in after)
    assert store.read()["revision"] == 2
    assert store.update(plus_one)["revision"] == 3


def test_a_disk_that_does_not_confirm_is_told_with_what_to_look_at(store, batch, repository, monkeypatch):
    folder = (repository / ".claude").stat().st_ino
    failed = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(
        atomic_files, "sync", raising(failed, atomic_files.sync, lambda fd: os.fstat(fd).st_ino == folder)
    )
    with pytest.raises(DurabilityError, match=r"was written \(revision 2\), but the disk did not confirm it"):
        store.update(plus_one)
    monkeypatch.undo()
    assert (store.read()["revision"], store.is_unmodified()) == (2, True)


def test_an_unconfirmed_write_is_not_an_error_that_says_that_nothing_was_changed(store, batch, place, monkeypatch):
    overwrite(place(), b"damaged")
    folder = os.stat(os.path.dirname(place())).st_ino
    failed = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(
        atomic_files, "sync", raising(failed, atomic_files.sync, lambda fd: os.fstat(fd).st_ino == folder)
    )
    with pytest.raises(DurabilityError) as unconfirmed:
        Store(store.project, trusted=False).read_if_usable()
    assert not isinstance(unconfirmed.value, StateError)
    assert unconfirmed.value.exit_code == 3


def test_a_copy_that_cannot_be_kept_is_noted_and_the_update_holds(store, batch, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(
        atomic_files, "create", raising(full, atomic_files.create, lambda folder, name, *_: name == "current.json")
    )
    assert store.update(plus_one)["revision"] == 2
    assert len(store.notes) == 1
    assert "a backup of" in store.notes[0]
    assert "No space left on device" in store.notes[0]


def test_an_audit_log_that_cannot_be_written_fails_no_update_and_is_noted_once(store, batch, place):
    os.unlink(place("audit.jsonl"))
    os.mkdir(place("audit.jsonl"))
    edited(place(), team="web")
    assert store.update(plus_one)["revision"] == 3
    assert [note for note in store.notes if "audit log" in note] == [
        f"Note: the audit log {place('audit.jsonl')} could not be written: Is a directory. The batch itself is not "
        "affected."
    ]
    store.update(plus_one)
    assert len([note for note in store.notes if "audit log" in note]) == 1


def test_a_batch_that_is_damaged_while_nobody_looks_is_mended_by_the_next_update(store, batch, untrusted, place):
    overwrite(place(), b"")
    state = untrusted.update(lambda current: transitions.start(current, NOW, None))
    assert (state["revision"], batch_state.active_index(state)) == (2, 0)
    assert "was put back" in untrusted.notes[0]


def test_every_version_is_readable_by_any_other_program(store, batch, repository):
    store.update(lambda state: started(state))
    assert state_on_disk(repository)["active"]["phase"] == "understand"


def fail_on(monkeypatch, function, is_it, code=errno.ENOSPC, text="No space left on device"):
    monkeypatch.setattr(os, function, raising(OSError(code, text), getattr(os, function), is_it))


def is_state_rename(old, new, **options):
    return new == "batch_state.json"


def test_a_write_that_fails_after_an_edit_was_taken_over_does_not_say_that_nothing_was_changed(
    store, batch, monkeypatch
):
    edited(store.project.state, team="web")
    renames = []
    fail_on(
        monkeypatch,
        "replace",
        lambda *names, **options: (is_state_rename(*names) and renames.append(1)) or len(renames) > 1,
    )
    with pytest.raises(StateError) as caught:
        store.update(plus_one)
    monkeypatch.undo()
    assert store.read()["revision"] == 2
    assert "Nothing was changed" not in caught.value.message
    assert (
        "Disk space is used up" in caught.value.message and "edit is valid and was taken over" in caught.value.message
    )


def test_a_replacement_that_fails_after_the_quarantine_says_where_the_damaged_state_is(
    store, batch, place, monkeypatch
):
    damage_copies(store)
    overwrite(store.project.state, b"damaged")
    fail_on(monkeypatch, "replace", is_state_rename)
    with pytest.raises(StateError) as caught:
        store.create(new_batch(1, batch_id="other"), replace=True)
    assert "Nothing was changed" not in caught.value.message
    assert "could not be used; it is now" in caught.value.message
