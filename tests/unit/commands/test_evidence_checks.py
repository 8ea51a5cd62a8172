"""What `batchctl done` refuses in a user's own tree, with the real batchctl and a real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from batches import BATCHCTL, commit, git, run_program, state_on_disk


class Tree:
    """A user's working tree with a batch in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *words: str):
        return run_program(BATCHCTL, *words, cwd=self.root)

    def begin(self, *features: str, options: tuple[str, ...] = ()) -> None:
        (self.root / "features.txt").write_text("\n".join(features or ("Add a parser", "Add a printer")) + "\n")
        assert self.run("create", "features.txt", *options).returncode == 0
        assert self.run("start").returncode == 0

    def write(self, name: str, text: str = "x\n") -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def work(self, name: str, text: str = "x\n") -> str:
        """Commit one file and nothing else."""
        self.write(name, text)
        git(self.root, "add", name)
        git(self.root, "commit", "-qm", f"Add {name}")
        return git(self.root, "rev-parse", "HEAD")

    def refusal(self, *words: str) -> str:
        result = self.run("done", *words)
        assert result.returncode == 1, result.stdout + result.stderr
        return result.stderr

    def accept(self, *words: str) -> str:
        result = self.run("done", *words)
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture
def tree(repository):
    """The scratch repository; there is no batch in it yet."""
    return Tree(repository)


# -- files from before the batch ---------------------------------------------------------------------------------------


def test_a_commit_of_everything_is_refused_with_the_user_files_in_it(tree):
    for name in ("settings.json", "notes/today.md", "notes/deep/er.md"):
        tree.write(name)
    tree.begin()
    tree.write("notes/fresh.md")
    commit(tree.root, parser="1")
    message = tree.refusal()
    assert "features.txt, notes/deep/er.md, notes/today.md, settings.json." in message
    assert "fresh" not in message
    remedy = message.split("`")
    git(tree.root, *remedy[1].split()[1:])
    git(tree.root, *remedy[3].split()[1:])
    tree.accept()
    assert git(tree.root, "ls-tree", "-r", "--name-only", "HEAD").split() == [
        "README.md",
        "notes/fresh.md",
        "parser.txt",
    ]
    assert (tree.root / "notes/deep/er.md").exists()


def test_user_files_are_refused_in_an_earlier_commit_even_when_a_later_one_removes_them(tree):
    tree.write("settings.json", "a secret")
    tree.begin()
    commit(tree.root, parser="1")
    git(tree.root, "rm", "-q", "--cached", "settings.json", "features.txt")
    git(tree.root, "commit", "-qm", "Take them out")
    message = tree.refusal()
    assert "features.txt, settings.json" in message
    assert f"`git reset --soft {git(tree.root, 'rev-parse', 'HEAD~2')[:12]}`" in message


def test_a_nested_repository_from_before_the_batch_is_no_work_of_a_feature(tree):
    git(tree.root, "init", "-q", "vendor")
    commit(tree.root / "vendor", inner="1")
    tree.begin()
    commit(tree.root, parser="1")
    assert "vendor" in tree.refusal()


def test_a_new_file_in_a_folder_from_before_the_batch_is_asked_for(tree):
    tree.write("notes/mine.md")
    tree.begin()
    tree.write("notes/fresh.md")
    tree.work("parser.txt")
    assert "Not committed yet: notes/fresh.md" in tree.refusal()


def test_what_verify_creates_may_be_committed_by_a_later_feature(tree):
    tree.write("features.txt", "Add a parser\nAdd a printer\n")
    assert tree.run("create", "features.txt", "--verify", "echo x >lock.json").returncode == 0
    assert tree.run("start").returncode == 0
    tree.work("parser.txt")
    tree.accept()
    assert tree.run("start").returncode == 0
    tree.work("lock.json")
    tree.accept()


def test_folders_with_too_many_files_count_as_a_whole(tree):
    tree.write("notes/mine.md")
    for number in range(1001):
        tree.write(f"data/{number}")
    tree.begin()
    assert state_on_disk(tree.root)["untracked_at_start"] == ["features.txt", "data/", "notes/mine.md"]
    tree.write("data/fresh")
    git(tree.root, "add", "data/fresh")
    git(tree.root, "commit", "-qm", "Add a parser")
    assert "data/fresh" in tree.refusal()


# -- own work ----------------------------------------------------------------------------------------------------------


def test_a_commit_and_its_revert_are_no_work(tree):
    tree.begin()
    tree.work("parser.txt")
    git(tree.root, "revert", "--no-edit", "HEAD")
    message = tree.refusal()
    assert "There is no commit of the feature's own" in message
    assert "commits that change nothing in sum are" in message
    assert "no change" in tree.accept("--no-change", "it was there already")


def test_a_pull_of_an_earlier_commit_of_the_same_person_is_no_work(tree, tmp_path, monkeypatch):
    git(tmp_path, "clone", "-q", str(tree.root), "laptop")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@1000000000 +0000")
    commit(tmp_path / "laptop", earlier="1")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    tree.begin()
    git(tree.root, "pull", "-q", "--ff-only", str(tmp_path / "laptop"), "main")
    assert "from elsewhere are" in tree.refusal()
    git(tree.root, "commit", "-q", "--amend", "--no-edit")
    tree.accept()


def test_work_that_was_committed_by_a_bot_is_accepted(tree):
    tree.begin()
    tree.write("parser.txt")
    git(tree.root, "add", "parser.txt")
    git(tree.root, "-c", "user.name=bot", "-c", "user.email=bot@example.invalid", "commit", "-qm", "Add a parser")
    tree.accept()


def test_a_file_that_others_change_too_does_not_make_a_reverted_commit_work(tree, tmp_path):
    git(tmp_path, "clone", "-q", str(tree.root), "laptop")
    tree.begin()
    commit(tmp_path / "laptop", parser="theirs")
    tree.work("parser.txt", "mine")
    git(tree.root, "revert", "--no-edit", "HEAD")
    git(tree.root, "pull", "-q", "--no-rebase", "--no-edit", str(tmp_path / "laptop"), "main")
    assert "commits that change nothing in sum are" in tree.refusal()
