"""A user with features, a repository with a remote, and a cluster to run them on.

user = ClusterUser(repository, remote, cluster())
user.write_features("feature 1", "feature 2 (after: 1)")    features.txt, and a worker that writes f-N for feature N
status, out, errors = user.run("features.txt")              `batchctl run features.txt --cluster ...`, to its end
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from batch_implement.base.project_paths import Project
from batch_implement.store.store import Store
from local import LIB

BATCHCTL_PY = str(LIB / "batchctl.py")
WORKER = """
brief=$(mktemp); cat > "$brief"; n=$(sed -n 's/^> feature \\([0-9]*\\).*/\\1/p' "$brief" | head -1); rm "$brief"
. ./steps; git add . && git commit -qm "Add $n"
"""


class ClusterUser:
    """A user at a repository with a remote, who runs features on a cluster."""

    def __init__(
        self, repository: Path, remote: Path, its: Any, where: str = "", environ: dict[str, str] | None = None
    ) -> None:
        self.repository, self.remote, self.its = repository, remote, its
        self.where, self.environ = where or its.address, {**os.environ, **(environ or {})}

    def write_features(self, *features: str, steps: str = 'echo "$n" > "f-$n"') -> None:
        (self.repository / "features.txt").write_text("".join(f"{text}\n" for text in features))
        (self.repository / "steps").write_text(steps + "\n")
        (self.repository / "worker.sh").write_text(WORKER)
        self.git("add", ".")
        self.git("commit", "-qm", "List")

    def git(self, *words: str, folder: Path | None = None) -> str:
        line = ["git", "-C", str(folder or self.repository), *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, BATCHCTL_PY, "run", *words, "--worker", "sh worker.sh", "--cluster", self.where],
            cwd=self.repository, env=self.environ, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str) -> tuple[int, str, str]:
        typed = self.start(*words)
        out, errors = typed.communicate(timeout=900)
        return typed.returncode, out, errors

    def state(self) -> dict[str, Any]:
        return Store(Project(str(self.repository))).require()

    def merged(self, folder: Path | None = None) -> list[str]:
        """The subjects on the batch's branch, sorted."""
        branch = self.state()["run"]["branch"]
        subjects = self.git("log", "--format=%s", branch, folder=folder).splitlines()
        return sorted((subject for subject in subjects if subject.startswith("Add ")), key=lambda each: int(each[4:]))
