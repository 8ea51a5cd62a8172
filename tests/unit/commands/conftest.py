"""A user's working tree, with the real batchctl."""

from __future__ import annotations

from pathlib import Path

import pytest
from batches import BATCHCTL, git, run_program


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
