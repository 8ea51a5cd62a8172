"""What of the user's goes from a working tree while a batch is at work in it, with the real batchctl and a real git."""

from __future__ import annotations

import pytest
from batches import git, state_on_disk


@pytest.fixture
def busy(tree):
    """A tree of a user's, with untracked and ignored files, and a feature whose work is committed."""
    tree.work(".gitignore", ".env\n*.log\nnode_modules/\nprivate/\n")
    for name in ("notes/today.md", "Zeichen ü.txt", ".env", "private/plan.dat", "app.log", "node_modules/x/i.js"):
        tree.write(name, f"{name} of the user\n")
    tree.begin()
    return tree


def test_files_that_a_model_stashed_are_brought_back_and_the_stash_stays(busy):
    git(busy.root, "stash", "push", "-u", "-q", "-m", "out of the way")
    busy.work("parser.txt")
    assert not (busy.root / "notes/today.md").exists()
    index = git(busy.root, "ls-files", "--stage")
    answer = busy.accept()
    assert "notes/today.md" in answer and "features.txt" in answer and "which stays" in answer
    assert (busy.root / "notes/today.md").read_text() == "notes/today.md of the user\n"
    assert (busy.root / "Zeichen ü.txt").exists() and (busy.root / "features.txt").exists()
    assert git(busy.root, "ls-files", "--stage") == index
    assert "out of the way" in git(busy.root, "stash", "list")
    stash = git(busy.root, "rev-parse", "--short=12", "stash@{0}")
    assert f"`git stash apply {stash}` brings it back" in answer
    assert "left aside what may be changes of yours" in busy.run("report").stdout
    assert busy.run("start").returncode == 0
    busy.work("printer.txt")
    assert "stash" not in busy.accept()


def test_a_file_that_is_there_again_is_not_written_over(busy):
    git(busy.root, "stash", "push", "-u", "-q")
    busy.write("notes/today.md", "new\n")
    git(busy.root, "add", "notes/today.md")
    git(busy.root, "commit", "-qm", "Add today", "--", "notes/today.md")
    git(busy.root, "rm", "-q", "--cached", "notes/today.md")
    git(busy.root, "commit", "-q", "--amend", "--allow-empty", "-m", "Add nothing")
    busy.work("parser.txt")
    busy.accept()
    assert (busy.root / "notes/today.md").read_text() == "new\n"


def test_files_that_were_cleaned_away_are_named_once_the_ignored_ones_too(busy):
    git(busy.root, "clean", "-ffdxq")
    busy.work("parser.txt")
    answer = busy.accept()
    assert "no stash has them: .env, Zeichen ü.txt, features.txt, notes/today.md, private/. Say so" in answer
    assert ".env" in state_on_disk(busy.root)["evidence"]["0"]["gone"]
    assert "ended without files from before the batch" in busy.run("report").stdout
    assert busy.run("start").returncode == 0
    busy.work("printer.txt")
    assert "Gone" not in busy.accept() and "gone" not in state_on_disk(busy.root)["evidence"]["1"]


def test_a_clean_in_the_verify_command_does_not_end_the_batch(tree):
    tree.write("notes.md")
    tree.begin(options=("--verify", "git clean -ffdxq"))
    tree.work("parser.txt")
    assert "notes.md" in tree.accept()
    assert state_on_disk(tree.root)["completed_features"] == [0]
    assert tree.run("start").returncode == 0
    tree.work("printer.txt")
    tree.accept()
    assert state_on_disk(tree.root)["status"] == "completed"


def test_what_is_all_there_is_not_mentioned(busy):
    busy.work("parser.txt")
    answer = busy.accept()
    assert "stash" not in answer and "gone" not in answer


def test_uncommitted_changes_that_done_saw_and_a_model_undid_are_named_and_can_be_brought_back(busy):
    busy.work("parser.txt")
    busy.write("README.md", "an edit of the user\n")
    busy.write("idea.md", "a thought of the user\n")
    assert "Not committed yet: README.md, idea.md" in busy.refusal()
    git(busy.root, "reset", "-q", "--hard")
    git(busy.root, "clean", "-fdq")
    answer = busy.accept()
    assert "were undone in README.md, idea.md." in answer
    (command,) = [part for part in answer.split("`") if part.startswith("git checkout refs/batch/")]
    git(busy.root, *command.split()[1:])
    assert (busy.root / "README.md").read_text() == "an edit of the user\n"
    assert (busy.root / "idea.md").read_text() == "a thought of the user\n"
    assert "left aside what may be changes of yours" in busy.run("report").stdout


def test_changes_from_before_a_feature_that_a_model_undid_are_named(busy):
    busy.work("parser.txt")
    busy.accept()
    busy.write("README.md", "an edit of the user\n")
    assert busy.run("start").returncode == 0
    git(busy.root, "checkout", "-q", ".")
    busy.work("printer.txt")
    assert "were undone in README.md." in busy.accept()


def test_changes_that_were_committed_after_a_refusal_are_not_mentioned(busy):
    (busy.root / "README.md").chmod(0o755)
    busy.write("parser.txt", "half of the work\n")
    busy.refusal()
    busy.write("parser.txt", "all of the work\n")
    git(busy.root, "add", "README.md", "parser.txt")
    git(busy.root, "commit", "-qm", "Add a parser")
    assert "undone" not in busy.accept()
