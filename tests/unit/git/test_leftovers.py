"""What an attempt leaves in a user's tree is kept, then taken out of it, and comes back, with a real git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from batch_implement.git import git_client, leftovers
from batches import commit, git

REF = "refs/batch/b/1.1"
ODD_NAMES = ["plain", "with space", "new\nline", 'quo"te', "é", "-rf", ":(top)x", "*", "[a]", os.fsdecode(b"\xff")]


@pytest.fixture
def root(repository):
    """The scratch repository."""
    return str(repository)


def write(root, name, text="x"):
    path = Path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def tree_of(root):
    """All files below the root with what is in them, git's own left out."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if "/.git/" not in path:
                found[os.path.relpath(path, root)] = (
                    os.readlink(path) if os.path.islink(path) else Path(path).read_bytes(),
                    os.lstat(path).st_mode,
                )
    return found


def bring_back(root, ref=REF):
    git(root, "cherry-pick", "-n", "-m", "1", ref)


def test_leftovers_of_every_kind_are_kept_taken_out_and_come_back(root):
    commit(root, changed="1", gone="1", removed="1", old="a longer text, so that git sees a rename", place="1", run="1")
    clean = tree_of(root)
    write(root, "changed.txt", "2")
    os.unlink(f"{root}/gone.txt")
    git(root, "rm", "-q", "removed.txt")
    git(root, "mv", "old.txt", "new.txt")
    write(root, "added.txt")
    git(root, "add", "added.txt")
    write(root, "deep/er/untracked.txt")
    os.symlink("nowhere", f"{root}/link")
    os.chmod(f"{root}/run.txt", 0o755)
    os.unlink(f"{root}/place.txt")
    write(root, "place.txt/in place of a file")
    dirty, status = tree_of(root), git(root, "status", "--porcelain")
    assert leftovers.keep(root, REF) == REF
    assert (tree_of(root), git(root, "status", "--porcelain")) == (dirty, status), "keeping changes nothing"
    leftovers.take_out(root, REF)
    assert git_client.list_changes(root) == ([], [])
    assert tree_of(root) == clean
    assert not Path(root, "deep").exists()
    assert git(root, "stash", "list") == ""
    bring_back(root)
    assert tree_of(root) == dirty


def test_it_comes_back_on_top_of_what_was_committed_since(root):
    commit(root, a="1\n2\n3\n4\n5\n6\n7\n", b="b")
    write(root, "a.txt", "1\n2\n3\n4\n5\n6\nseven\n")
    leftovers.keep(root, REF)
    leftovers.take_out(root, REF)
    commit(root, a="one\n2\n3\n4\n5\n6\n7\n", b="another")
    bring_back(root)
    assert Path(root, "a.txt").read_text() == "one\n2\n3\n4\n5\n6\nseven\n"
    assert Path(root, "b.txt").read_text() == "another"


def test_what_was_there_before_stays_as_it_is(root):
    commit(root, tracked="1", staged="1", theirs="1")
    write(root, "known.txt", "the user's")
    write(root, "mine/a.txt", "the user's")
    known = git_client.list_changes(root)[1]
    write(root, "theirs.txt", "changed by the user before the attempt")
    write(root, "later.txt", "new, of the user")
    before = ["theirs.txt", "later.txt"]
    write(root, "fresh.txt")
    write(root, "mine/b.txt", "in a folder that was there")
    write(root, "tracked.txt", "2")
    git(root, "add", "known.txt", "theirs.txt")
    assert leftovers.keep(root, REF, known, before) == REF
    leftovers.take_out(root, REF, known, before)
    assert git(root, "diff", "--name-only", f"{REF}^", REF).split() == ["fresh.txt", "tracked.txt"]
    assert not Path(root, "fresh.txt").exists() and Path(root, "tracked.txt").read_text() == "1"
    assert Path(root, "theirs.txt").read_text() == "changed by the user before the attempt"
    assert Path(root, "known.txt").read_text() == "the user's"
    assert git_client.list_changes(root) == (["theirs.txt"], ["known.txt", "later.txt", "mine/"])


def test_ignored_files_are_neither_kept_nor_removed(root):
    commit(root, a="1")
    write(root, ".git/info/exclude", "secret\n")
    write(root, "new/secret", "s")
    write(root, "new/file")
    leftovers.keep(root, REF)
    leftovers.take_out(root, REF)
    assert (Path(root, "new/secret").read_text(), Path(root, "new/file").exists()) == ("s", False)
    assert "secret" not in git(root, "ls-tree", "-r", "--name-only", REF)


def test_without_leftovers_there_is_no_snapshot(root):
    write(root, "known.txt")
    assert leftovers.keep(root, REF, ["known.txt"]) is None
    assert git(root, "for-each-ref", "refs/batch") == ""


@pytest.mark.parametrize("name", ODD_NAMES)
def test_leftovers_with_odd_names_are_kept_alone(root, name):
    write(root, "known.txt")
    write(root, name)
    leftovers.keep(root, REF, ["known.txt"])
    leftovers.take_out(root, REF, ["known.txt"])
    assert git_client.list_changes(root) == ([], ["known.txt"])
    bring_back(root)
    assert Path(root, name).read_text() == "x"


def test_a_file_that_was_changed_after_the_snapshot_stays(root):
    commit(root, a="1")
    write(root, "a.txt", "2")
    write(root, "new.txt", "2")
    write(root, "other.txt", "2")
    leftovers.keep(root, REF)
    write(root, "a.txt", "3")
    write(root, "new.txt", "3")
    write(root, "late.txt")
    leftovers.take_out(root, REF)
    assert git_client.list_changes(root) == (["a.txt"], ["late.txt", "new.txt"])
    assert (Path(root, "a.txt").read_text(), Path(root, "new.txt").read_text()) == ("3", "3")


def test_taking_out_what_was_taken_out_in_part_finishes_it(root):
    commit(root, a="1", b="1")
    for name in ("a.txt", "b.txt", "new.txt"):
        write(root, name, "2")
    leftovers.keep(root, REF)
    git(root, "checkout", "-q", "a.txt")
    leftovers.take_out(root, REF)
    leftovers.take_out(root, REF)
    assert git_client.list_changes(root) == ([], [])


def test_what_was_only_staged_is_kept_too(root):
    commit(root, a="1")
    write(root, "a.txt", "staged")
    write(root, "gone.txt", "staged, then removed")
    git(root, "add", ".")
    write(root, "a.txt", "1")
    os.unlink(f"{root}/gone.txt")
    assert leftovers.keep(root, REF) == REF
    leftovers.take_out(root, REF)
    assert git_client.list_changes(root) == ([], [])
    assert git(root, "show", f"{REF}^2:gone.txt") == "staged, then removed"


def test_leftovers_in_a_conflict_are_kept_with_their_markers(root):
    commit(root, one="base\n")
    git(root, "checkout", "-qb", "side")
    commit(root, one="side\n")
    git(root, "checkout", "-q", "main")
    commit(root, one="main\n")
    with pytest.raises(Exception, match="merge"):
        git(root, "merge", "-q", "side")
    leftovers.keep(root, REF)
    leftovers.take_out(root, REF)
    assert git_client.list_changes(root) == ([], [])
    assert "<<<<<<<" in git(root, "show", f"{REF}:one.txt")


def test_the_state_file_is_neither_kept_nor_restored_even_when_it_is_tracked(root):
    write(root, ".claude/batch_state.json", "committed once")
    git(root, "add", "--force", ".claude/batch_state.json")
    git(root, "commit", "-qm", "oh")
    write(root, ".claude/batch_state.json", "in force")
    write(root, "README.md", "changed")
    leftovers.keep(root, REF)
    leftovers.take_out(root, REF)
    assert Path(root, ".claude/batch_state.json").read_text() == "in force"
    assert Path(root, "README.md").read_text() == "# scratch\n"
    assert git(root, "show", f"{REF}:.claude/batch_state.json") == "committed once"


def test_a_link_in_place_of_a_folder_is_kept_as_a_link(root):
    write(root, "folder/a.txt")
    git(root, "add", ".")
    git(root, "commit", "-qm", "A folder")
    clean = tree_of(root)
    write(root, "elsewhere/a.txt", "of the link's target")
    os.unlink(f"{root}/folder/a.txt")
    os.rmdir(f"{root}/folder")
    os.symlink("elsewhere", f"{root}/folder")
    dirty = tree_of(root)
    leftovers.keep(root, REF)
    leftovers.take_out(root, REF)
    assert tree_of(root) == clean
    bring_back(root)
    assert tree_of(root) == dirty
