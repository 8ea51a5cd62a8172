"""The sidecar: what is written is read back, and what is not a sidecar is none."""

from __future__ import annotations

import os

import pytest
from batch_implement.store import sidecar
from batch_implement.store.sidecar import Fingerprint
from batches import NOW, new_batch, started
from hypothesis import example, given, settings
from hypothesis import strategies as st

NEW = Fingerprint(11, 22, 33, "a" * 64, 4)
OLD = Fingerprint(12, 23, 34, "b" * 64, 3)
LEASE = {"session_id": "s-1", "pid": 77, "pid_started": "x", "host": "h", "since": NOW}
WHOLE = sidecar.render(started(new_batch(2, owner=LEASE, unattended=True)), True, NEW, OLD, ["main", "agent-1"])


def fields(sealed):
    plain = {name: getattr(sealed, name) for name in sealed.__slots__}
    return {**plain, "new": str(plain["new"]), "old": str(plain["old"])}


def test_all_that_was_sealed_is_read_back():
    assert fields(sidecar.parse(WHOLE)) == {
        "live": True, "new": str(NEW), "old": str(OLD), "session": "s-1", "owner_pid": 77, "open": True,
        "unattended": True, "remind": ("main", "agent-1"), "phase": "understand", "open_index": 0,
    }  # fmt: skip


def test_what_there_is_none_of_is_read_back_as_none():
    sealed = sidecar.parse(sidecar.render(None, False, None, None, []))
    assert (sealed.live, sealed.new, sealed.old, sealed.session, sealed.owner_pid) == (False, None, None, "", None)
    assert (sealed.open, sealed.unattended, sealed.remind) == (False, False, ())


def test_the_guard_reads_live_or_over_off_the_first_line():
    assert WHOLE.startswith(b"live\n")
    assert sidecar.render(None, False, None, None, []).startswith(b"over\n")


@pytest.mark.parametrize("end", range(len(WHOLE)))
def test_a_torn_seal_is_none(end):
    assert sidecar.parse(WHOLE[:end]) is None


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"\n", b"live\n", b"\0" * 200, b"\xff" * 200, WHOLE.replace(b"live", b"alive"),
        WHOLE.replace(b"new", b"now"),
        WHOLE.replace(b" 77", b" x"), WHOLE.replace(b"11 22", b"11 22 23"), WHOLE.replace(b"s-1 77", b"s-1"),
        WHOLE.replace(b"s-1", b"s 1"), WHOLE.replace(b"s-1", "sé1".encode()), WHOLE.replace(b"11", b"1" * 5000),
        WHOLE.replace(b"\n", b"\r"), b"live\n" + WHOLE,
    ],
)  # fmt: skip
def test_garbage_is_no_seal(garbage):
    assert sidecar.parse(garbage) is None


@given(st.binary(max_size=300) | st.text(max_size=80).map(str.encode))
@example(b"live\nnew 1 2 3 4 5\nold -\nowner - -\nopen\nunattended 0\nremind\n")
@settings(deadline=None, max_examples=300)
def test_no_bytes_whatever_make_reading_fail(data):
    sealed = sidecar.parse(data)
    assert sealed is None or isinstance(sealed.live, bool)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_a_seal_with_one_byte_changed_is_none_or_still_has_every_field(data):
    place, byte = data.draw(st.integers(0, len(WHOLE) - 1)), data.draw(st.integers(0, 255))
    sealed = sidecar.parse(WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :])
    assert sealed is None or len(fields(sealed)) == 10


@pytest.mark.parametrize("kind", ["nothing", "folder", "fifo", "link", "dangling"])
def test_what_is_not_a_plain_file_is_no_seal_and_is_not_waited_for(tmp_path, kind):
    place, real = tmp_path / "sidecar", tmp_path / "real"
    real.write_bytes(WHOLE)
    make = {
        "nothing": lambda: None,
        "folder": place.mkdir,
        "fifo": lambda: os.mkfifo(place),
        "link": lambda: place.symlink_to(real),
        "dangling": lambda: place.symlink_to(tmp_path / "nowhere"),
    }
    make[kind]()
    assert sidecar.read_sidecar(str(tmp_path)) is None
    real.rename(tmp_path / "was real")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/sidecar").write_bytes(WHOLE)
    assert sidecar.read_sidecar(str(tmp_path / "other")).session == "s-1"


def test_a_file_is_known_by_its_place_size_and_time(tmp_path):
    path = tmp_path / "state"
    path.write_text("one")
    status = path.stat()
    identity = Fingerprint(status.st_ino, status.st_size, status.st_mtime_ns, "x", 1)
    sealed = sidecar.Sidecar(True, None, identity)
    assert sealed.match(status) is identity
    os.utime(path, ns=(1, 1))
    assert sealed.match(path.stat()) is None


def test_an_edit_whose_adoption_was_begun_is_told_from_a_version(tmp_path):
    path = tmp_path / "state"
    path.write_text("one")
    status = path.stat()
    for revision, is_edit in ((0, True), (1, False)):
        known = Fingerprint(status.st_ino, status.st_size, status.st_mtime_ns, "x", revision)
        begun = sidecar.Sidecar(True, NEW, known)
        assert (begun.is_adopting(status), begun.match(status)) == (is_edit, None if is_edit else known)


@pytest.mark.parametrize("version", [NEW, OLD], ids=["new", "old"])
def test_each_copy_is_known_by_its_time_and_the_readable_one_by_its_size_too(tmp_path, version):
    readable, backup, second = tmp_path / sidecar.READABLE_COPY, tmp_path / sidecar.BACKUP, tmp_path / "second"

    def are_known():
        return sidecar.matches_copies((NEW, OLD, None), str(tmp_path), str(second))

    def write(size=version.size):
        readable.write_bytes(b"x" * size)
        for path, mtime_ns in (
            (readable, version.mtime_ns), (backup, version.mtime_ns), (second, sidecar.SECOND_BACKUP_MTIME_NS)
        ):  # fmt: skip
            path.touch()
            os.utime(path, ns=(mtime_ns, mtime_ns))

    write()
    assert are_known()
    for path in (readable, backup, second):
        os.utime(path, ns=(99, 99))
        assert not are_known()
        write()
        path.unlink()
        assert not are_known()
        write()
    write(version.size + 5)
    assert not are_known()


def test_a_seal_vouches_for_a_file_that_it_knows_and_for_one_that_is_rightly_absent(tmp_path):
    path = tmp_path / "state"
    path.write_text("one")
    status = path.stat()
    identity = Fingerprint(status.st_ino, status.st_size, status.st_mtime_ns, "x", 1)
    assert sidecar.Sidecar(True, identity, None).matches_path(str(path))
    assert not sidecar.Sidecar(True, NEW, OLD).matches_path(str(path))
    assert sidecar.Sidecar(False, None, OLD).matches_path(str(path))
    assert sidecar.Sidecar(False, NEW, None).matches_path(str(tmp_path / "gone"))
    assert not sidecar.Sidecar(True, NEW, None).matches_path(str(tmp_path / "gone"))


def test_a_link_to_the_file_is_not_the_file(tmp_path):
    (tmp_path / "state").write_text("one")
    (tmp_path / "link").symlink_to("state")
    status = (tmp_path / "state").stat()
    sealed = sidecar.Sidecar(True, Fingerprint(status.st_ino, status.st_size, status.st_mtime_ns, "x", 1), None)
    assert not sealed.matches_path(str(tmp_path / "link"))


def test_the_owner_is_known_by_session_and_process_together():
    sealed = sidecar.parse(WHOLE)
    assert sealed.is_owner("s-1", "77")
    assert not sealed.is_owner("s-1", "78")
    assert not sealed.is_owner("s-2", "77")
    assert not sidecar.Sidecar(True, NEW, None).is_owner("", "None")


@pytest.mark.parametrize("session_id", ["s", "6d1f-0a", "x" * 200, "a/b:c"])
def test_a_session_id_without_blanks_fits(session_id):
    assert sidecar.is_storable_session_id(session_id)
    rendered = sidecar.render({**new_batch(1), "owner": {**LEASE, "session_id": session_id}}, True, NEW, None, [])
    assert sidecar.parse(rendered).session == session_id


def test_a_name_that_does_not_fit_spoils_no_seal():
    state = {**new_batch(1), "owner": {**LEASE, "session_id": "two\nlines"}}
    sealed = sidecar.parse(sidecar.render(state, True, NEW, None, ["a b", "é", "main", "x\nlive"]))
    assert (sealed.session, sealed.remind) == ("", ("main",))


@pytest.mark.parametrize("session_id", ["", "-", "x" * 201, "a b", "a\nb", "a\tb", "é", "\x7f", "a\0"])
def test_one_that_could_be_taken_for_something_else_does_not(session_id):
    assert not sidecar.is_storable_session_id(session_id)
