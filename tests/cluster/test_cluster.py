"""`batchctl run --cluster` on a scheduler and workers in processes and folders of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from batch_implement.paths import Project
from batch_implement.store import Store
from batches import BATCHCTL

WORKER = """
brief=$(mktemp); cat > "$brief"; n=$(sed -n 's/^> feature \\([0-9]*\\).*/\\1/p' "$brief" | head -1); rm "$brief"
. ./steps; git add . && git commit -qm "Add $n"
"""


class Team:
    """A person at a repository with a remote, and a cluster to work on it."""

    def __init__(self, repository: Path, remote: Path, its: Any) -> None:
        self.repository, self.remote, self.its = repository, remote, its

    def lists(self, *features: str, steps: str = 'echo "$n" > "f-$n"') -> None:
        (self.repository / "features.txt").write_text("".join(f"{text}\n" for text in features))
        (self.repository / "steps").write_text(steps + "\n")
        (self.repository / "worker.sh").write_text(WORKER)
        self.git("add", ".")
        self.git("commit", "-qm", "List")

    def git(self, *words: str, folder: Path | None = None) -> str:
        line = ["git", "-C", str(folder or self.repository), *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout

    def starts(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, BATCHCTL_PY, "run", *words, "--worker", "sh worker.sh", "--cluster", self.its.address],
            cwd=self.repository, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def types(self, *words: str) -> tuple[int, str, str]:
        typed = self.starts(*words)
        out, errors = typed.communicate(timeout=900)
        return typed.returncode, out, errors

    def state(self) -> dict[str, Any]:
        return Store(Project(str(self.repository))).require()

    def merged(self, folder: Path | None = None) -> list[str]:
        """The subjects on the batch's branch, sorted."""
        branch = self.state()["run"]["branch"]
        subjects = self.git("log", "--format=%s", branch, folder=folder).splitlines()
        return sorted((subject for subject in subjects if subject.startswith("Add ")), key=lambda each: int(each[4:]))


BATCHCTL_PY = str(Path(BATCHCTL).resolve().parents[1] / "lib" / "batchctl.py")


def test_two_features_are_done_on_a_worker_that_shares_nothing_but_the_remote(cluster, repository, remote):
    team = Team(repository, remote, cluster())
    team.lists("feature 1", "feature 2 (after: 1)")
    status, out, errors = team.types("features.txt", "--verify", "ls")
    assert status == 0, out + errors
    state = team.state()
    assert team.merged() == ["Add 1", "Add 2"] == team.merged(remote)
    clients = [client for each in state["run"]["clients"].values() for client in each]
    assert all("(worker-1)" in client["place"] for client in clients)
    assert all("f-1" in Path(proof["verify"]["log"]).read_text() for proof in state["evidence"].values())
    left = team.git("for-each-ref", "--format=%(refname)", "refs/heads/batch", folder=remote).split()
    assert left == [f"refs/heads/{state['run']['branch']}"]  # the attempts' branches are gone
    home = team.its.folder / "worker-1" / "home" / ".cache" / "batch-implement"
    assert [path for path in home.glob("*/worktrees/*/*")] == []
