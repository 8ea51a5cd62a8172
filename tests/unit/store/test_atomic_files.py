"""Whole small files, relative to an open folder: what is no plain file is told, never followed or waited for."""

from __future__ import annotations

import errno
import hashlib
import os
import socket

import pytest
from batch_implement.core.errors import StateError
from batch_implement.store import atomic_files


@pytest.fixture
def failing(monkeypatch):
    """Makes a call of `os` fail with an error number: `failing("write", errno.ENOSPC)`."""

    def fail(name, number):
        def call(*arguments, **options):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, name, call)

    return fail


def test_what_was_written_is_read_back_with_its_identity(folder, tmp_path):
    identity = atomic_files.write(folder, "f", b"content", 7)
    status, data = atomic_files.read(folder, "f")
    assert data == b"content"
    assert identity.matches(status)
    assert str(identity).split()[3:] == [hashlib.sha256(b"content").hexdigest(), "7"]
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_a_copy_is_for_its_owner_alone_too(folder, tmp_path):
    atomic_files.create(folder, "f", b"content", 5 * 10**9)
    assert ((tmp_path / "f").read_bytes(), (tmp_path / "f").stat().st_mode & 0o777) == (b"content", 0o600)


@pytest.mark.parametrize(
    "write", [lambda folder: atomic_files.write(folder, "f", b"x", 0), lambda f: atomic_files.create(f, "f", b"x", 0)]
)
@pytest.mark.parametrize("kind", ["file", "link"])
def test_nothing_that_is_there_is_written_over_or_through(folder, tmp_path, write, kind):
    (tmp_path / "real").write_bytes(b"kept")
    if kind == "link":
        (tmp_path / "f").symlink_to("real")
    else:
        (tmp_path / "f").write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        write(folder)
    assert (tmp_path / "f").read_bytes() == b"kept"


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_a_crash_left_under_a_name_of_ours_makes_way_and_is_not_written_through(folder, tmp_path, kind):
    (tmp_path / "real").write_bytes(b"kept")
    (tmp_path / "f").symlink_to("real") if kind == "link" else (tmp_path / "f").write_bytes(b"left")
    identity = atomic_files.write_over_leftover(folder, "f", b"new", 3)
    status, data = atomic_files.read(folder, "f")
    assert (data, identity.matches(status), (tmp_path / "real").read_bytes()) == (b"new", True, b"kept")


def test_what_is_not_there_is_none(folder):
    assert atomic_files.read(folder, "f") is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda place: place.symlink_to("elsewhere"), "symbolic link"),
        (lambda place: os.mkfifo(place), "not a file"),
        (lambda place: place.mkdir(), "not a file"),
        (lambda place: (place.write_bytes(b"x"), os.link(place, f"{place}2")), "linked to from elsewhere"),
    ],
    ids=["link", "fifo", "folder", "hard link"],
)
def test_what_is_not_a_plain_file_of_ours_is_said_at_once(folder, tmp_path, make, said):
    make(tmp_path / "f")
    with pytest.raises(atomic_files.UnexpectedFileType, match=said):
        atomic_files.read(folder, "f")


def test_a_socket_is_said_too(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("f")
        with pytest.raises(atomic_files.UnexpectedFileType, match="socket or device"):
            atomic_files.read(folder, "f")


def test_a_file_that_is_too_large_is_not_read(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_files, "MAX_BYTES", 4)
    (tmp_path / "f").write_bytes(b"1234")
    assert atomic_files.read(folder, "f")[1] == b"1234"
    (tmp_path / "f").write_bytes(b"12345")
    with pytest.raises(atomic_files.UnexpectedFileType, match="larger than"):
        atomic_files.read(folder, "f")


def test_no_descriptor_stays_open_whatever_is_read(folder, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    before = len(os.listdir("/dev/fd"))
    for name in ("folder", "file", "gone"):
        try:
            atomic_files.read(folder, name)
        except atomic_files.UnexpectedFileType:
            continue
    assert len(os.listdir("/dev/fd")) == before


def test_a_write_that_is_cut_short_is_gone_on_with(folder, monkeypatch):
    real, calls = os.write, []

    def three_bytes(descriptor, data):
        calls.append(len(data))
        return real(descriptor, data[:3])

    monkeypatch.setattr(os, "write", three_bytes)
    atomic_files.write(folder, "f", b"0123456789", 0)
    monkeypatch.undo()
    assert atomic_files.read(folder, "f")[1] == b"0123456789"
    assert calls == [10, 7, 4, 1]


@pytest.mark.parametrize("call", ["write", "fsync", "fstat"])
def test_a_file_that_cannot_be_written_whole_is_taken_away_again(folder, tmp_path, failing, monkeypatch, call):
    failing(call, errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        atomic_files.write(folder, "f", b"content", 0)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_says_why(folder, tmp_path, failing, monkeypatch):
    (tmp_path / "f").write_bytes(b"x")
    failing("open", errno.EACCES)
    with pytest.raises(StateError, match=r"f cannot be read: Permission denied: check who owns it\. Nothing"):
        atomic_files.read(folder, "f")
    monkeypatch.undo()
    failing("read", errno.EIO)
    with pytest.raises(StateError, match="Input/output error"):
        atomic_files.read(folder, "f")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "Disk space is used up"),
        (errno.EDQUOT, "Disk space: the quota"),
        (errno.EACCES, "Permission denied"),
        (errno.EPERM, "Permission denied"),
        (errno.EROFS, "mounted read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_an_error_of_the_disk_says_the_likely_cause_and_only_if_known_that_nothing_was_changed(number, said):
    cause = OSError(number, os.strerror(number))
    assert "changed" not in atomic_files.io_error("X cannot be saved", cause).message
    error = atomic_files.unchanged_error("X cannot be saved", cause)
    assert error.message.startswith("X cannot be saved: ")
    assert said in error.message
    assert error.message.endswith("Nothing was changed.")
    assert error.exit_code == 3


def test_trouble_without_a_number_is_told_in_its_own_words():
    assert "odd thing" in atomic_files.io_error("X", OSError("odd thing")).message


def test_removing_what_is_gone_is_fine(folder, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    atomic_files.unlink(folder, "f")
    atomic_files.unlink(folder, "f")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hashed", [0, atomic_files.OPENSSL_THRESHOLD_BYTES])
@pytest.mark.parametrize("data", [b"", b"x" * 100_000, b"x" * atomic_files.OPENSSL_THRESHOLD_BYTES])
def test_the_digest_is_sha256_by_whichever_function(data, hashed, monkeypatch):
    monkeypatch.setattr(atomic_files, "_hashed_bytes", hashed)
    assert atomic_files.sha256(data) == hashlib.sha256(data).hexdigest()


def test_openssl_is_loaded_only_by_a_process_that_hashes_much(monkeypatch):
    asked = []
    monkeypatch.setattr(atomic_files, "_hashed_bytes", 0)
    monkeypatch.setattr(atomic_files, "_hash_function", lambda much: asked.append(much) or hashlib.sha256)
    for _ in range(3):
        atomic_files.sha256(b"x" * (atomic_files.OPENSSL_THRESHOLD_BYTES // 2))
    assert asked == [False, True, True]
