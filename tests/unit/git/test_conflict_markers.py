"""Which files have got conflict markers, with a real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_implement.git.conflict_markers import find_conflict_markers
from batches import git

CONFLICT = "a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> work\n"


def commit_files(repository, **files):
    """Commit these texts, by names without `.txt`; the commit."""
    for name, text in files.items():
        Path(repository, f"{name}.txt").write_text(text)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "Change")
    return git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize("text", [
    CONFLICT, CONFLICT.replace("\n", "\r\n"), "a\n>>>>>>> work\n", "<<<<<<< HEAD\n", "a\n<<<<<<<\nb\n",
])  # fmt: skip
def test_markers_that_came_with_a_commit_are_found(repository, text):
    base = commit_files(repository, old="a\n")
    commit_files(repository, old=text, **{"new [x]": text})
    head = commit_files(repository, fine="f")
    assert find_conflict_markers(str(repository), base, head) == ["new [x].txt", "old.txt"]
    assert find_conflict_markers(str(repository), None, head) == ["new [x].txt", "old.txt"]


@pytest.mark.parametrize("text", [
    "Title\n=======\n", "    <<<<<<< HEAD\n", "<<<<<<<< eight\n", "cat <<<<<<< x\n", "<<<<<<<x\n", "\0\n<<<<<<< HEAD\n",
])  # fmt: skip
def test_lines_that_only_look_alike_are_none(repository, text):
    base = git(repository, "rev-parse", "HEAD")
    assert find_conflict_markers(str(repository), base, commit_files(repository, new=text)) == []


def test_a_file_that_had_markers_before_is_left_out_also_when_it_moves(repository):
    base = commit_files(repository, guide=CONFLICT + "more\n" * 20)
    head = commit_files(repository, guide=CONFLICT + "more\n" * 20 + CONFLICT)
    assert find_conflict_markers(str(repository), base, head) == []
    git(repository, "mv", "guide.txt", "moved.txt")
    head = commit_files(repository, moved=CONFLICT + "more\n" * 20 + CONFLICT)
    assert find_conflict_markers(str(repository), base, head) == []


def test_markers_that_a_commit_removes_are_none(repository):
    base = commit_files(repository, old=CONFLICT)
    assert find_conflict_markers(str(repository), base, commit_files(repository, old="a\n")) == []


def test_the_size_of_markers_is_what_the_attributes_say(repository):
    base = git(repository, "rev-parse", "HEAD")
    Path(repository, ".gitattributes").write_text("*.txt conflict-marker-size=9\n")
    head = commit_files(repository, seven=CONFLICT, nine="<<<<<<<<< HEAD\n")
    assert find_conflict_markers(str(repository), base, head) == ["nine.txt"]
