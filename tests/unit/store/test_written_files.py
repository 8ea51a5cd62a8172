"""The list of files that tool calls wrote."""

from __future__ import annotations

import os

import pytest
from batch_implement.core.errors import StateError
from batch_implement.store import written_files


def test_each_path_is_listed_once_since_the_batch_began(tmp_path):
    private = str(tmp_path / "batch-implement")
    written_files.begin(private)
    for path in ("/p/a", "/p/b", "/p/a", "/p/\udce9"):
        written_files.record(private, path)
    since_ns, paths = written_files.read(private)
    (tmp_path / "later").touch()
    assert 0 < since_ns <= os.stat(tmp_path / "later").st_ctime_ns
    assert paths == ["/p/a", "/p/b", "/p/\udce9"]
    written_files.begin(private)
    assert written_files.read(private)[1] == []


def test_a_long_list_is_bounded_and_keeps_the_newest(tmp_path):
    private = str(tmp_path)
    written_files.begin(private)
    since_ns = written_files.read(private)[0]
    for number in range(1000):
        written_files.record(private, f"/{number}/{'x' * 1000}")
    assert sum(entry.stat().st_size for entry in os.scandir(private)) < 3 * written_files.MAX_BYTES
    first, paths = written_files.read(private)
    assert first == since_ns
    assert paths[-1].startswith("/999/")


def test_without_a_list_nothing_is_recorded(tmp_path):
    written_files.record(str(tmp_path), "/p/a")
    assert written_files.read(str(tmp_path)) == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_the_private_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "batch-implement").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="is a symbolic link"):
        written_files.begin(str(tmp_path / "batch-implement"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_ignored_files_of_the_user_are_listed_with_the_batch(tmp_path):
    private = str(tmp_path)
    assert written_files.read_ignored(private) == []
    written_files.begin(private, [".env", "private/", "\udce9"])
    assert written_files.read_ignored(private) == [".env", "private/", "\udce9"]
    written_files.begin(private)
    assert written_files.read_ignored(private) == []
