"""The worker of a run that does random acts: one start of it, in the worktree that is the current folder.

    Worker(folder).work(ACTS)       the acts of its next start, by FOLDER/plan.json; returns the exit status

The worktree has number and attempt of the feature in its name, FOLDER/starts-FEATURE counts the worker's starts. Before
it ends, or kills something, it writes to FOLDER/census-FEATURE-START what is unique in its worktree (git_oracles).
Each line that it writes begins with MARK and its number, and is nowhere else. An act that git refuses is no act; what
was refused is in FOLDER/protocol-FEATURE-START.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable

from git_oracles import MARK, take_census


class Worker:
    """The worker of one start, in the worktree that is the current folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.top = folder, Path.cwd()
        self.number = int(self.top.name.partition("-")[0])
        with open(folder / f"starts-{self.number}", "ab") as starts:
            starts.write(b".")
            self.start = starts.tell()
        self.plan = json.loads((folder / "plan.json").read_text())
        self.chance = random.Random(f"{self.plan['seed']}-{self.number}-{self.start}")
        self.lines = 0

    def work(self, acts: dict[str, Callable[[Worker], None]]) -> int:
        """Do what is planned for this start, of these acts. Return the exit status."""
        planned = self.plan["starts"][self.number - 1]
        self.tidy_up()
        for act in planned[self.start - 1] if self.start <= len(planned) else ["finish"]:
            self.note(act)
            how = "ended"
            try:
                if act.startswith("kill "):
                    self.kill(act[5:])
                elif act == "finish":
                    self.finish()
                elif act not in ("leave", "exit"):
                    acts[act](self)
            except OSError as error:  # what an act did is in the way of this one: a model goes on
                self.note(f"  {error}")
                how = "failed"
        how = "failed" if act == "exit" else how
        self.write_census(how)
        return int(how == "failed")

    def tidy_up(self) -> None:
        """End what an earlier start left in progress, as a model does that asks `git status`."""
        for operation in ("merge", "rebase", "cherry-pick", "revert"):
            self.git(operation, "--abort", quiet=True)

    def finish(self) -> None:
        """Do the feature: a line in a file of its own; commit all that can be."""
        self.tidy_up()
        self.go_back()
        self.write(f"feature-{self.number}.txt")
        self.ignore_inner()
        self.git("add", "-A")
        self.commit_sub()
        self.git("commit", "-qam", f"Do feature {self.number}")

    def write_census(self, how: str) -> None:
        """Write down what is unique, and where HEAD is."""
        head, place = self.git("rev-parse", "HEAD"), str(self.top)
        data = {"how": how, "number": self.number, "head": head, "place": place, "census": take_census(self.top)}
        path = self.folder / f"census-{self.number}-{self.start}"
        path.with_suffix(".new").write_text(json.dumps(data))
        os.replace(path.with_suffix(".new"), path)

    def kill(self, whom: str) -> None:
        """Kill this process, the attempt or the driver above it, and wait for the end."""
        self.write_census(f"killed {whom}")
        sign = {"attempt": "runner import attempt", "driver": "batchctl.py"}.get(whom)
        pid = os.getpid()
        while sign and sign not in Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " "):
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            assert pid > 1, f"no {whom} above this process"
        os.kill(pid, signal.SIGKILL)
        time.sleep(60)

    # -- what acts are made of

    def git(self, *words: str, cwd: str = ".", quiet: bool = False) -> str:
        """Run git, whatever it says."""
        done = subprocess.run(
            ["git", *words], cwd=cwd, capture_output=True, text=True, errors="replace",
            env={**os.environ, "GIT_EDITOR": "true", "GIT_SEQUENCE_EDITOR": "true"},
        )  # fmt: skip
        if done.returncode and not quiet:
            self.note(f"  git {' '.join(words)}: {done.stderr.strip()[:200]}")
        return done.stdout.strip()

    def note(self, text: str) -> None:
        """Write a line to the protocol of this start."""
        with open(self.folder / f"protocol-{self.number}-{self.start}", "a") as file:
            file.write(f"{text}\n")

    def text(self) -> str:
        """Return a line that nothing else has."""
        self.lines += 1
        return f"{MARK.decode()} {self.number} in start {self.start}: {self.lines} {self.chance.getrandbits(64):x}\n"

    def write(self, name: str, *, at: int | None = None) -> str:
        """Add a line of its own to a file, at its end or at a line."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        lines = path.read_text(errors="surrogateescape").splitlines(keepends=True) if path.is_file() else []
        lines.insert(len(lines) if at is None else at, self.text())
        path.write_text("".join(lines), errors="surrogateescape")
        return name

    def commit(self, name: str, *more: str) -> None:
        """Write to a file and commit it."""
        self.git("add", "-f", self.write(name))
        self.git("commit", "-qm", f"Change {name}", *more)

    def own(self) -> str:
        """Return the name of a file that only this feature writes."""
        return f"{self.chance.choice(('', 'src/', 'docs/deep/'))}own-{self.number}-{self.chance.randrange(3)}.txt"

    def branch(self) -> str:
        """Return the branch of this attempt."""
        listed = self.git("for-each-ref", "--format=%(refname:short)", f"refs/heads/batch/*/{self.top.name}")
        return listed.split("\n")[0]

    def go_back(self) -> None:
        """Go back to the attempt's branch with all that is here, if HEAD is elsewhere."""
        if self.git("symbolic-ref", "--short", "-q", "HEAD") != self.branch():
            self.git("checkout", "-q", "-B", self.branch())

    def ignore_inner(self) -> None:
        """Ignore nested repositories, which cannot be committed."""
        for folder, folders, _ in os.walk(self.top):
            path = os.path.relpath(folder, self.top)
            if path not in (".", "sub") and ".git" in folders:
                with open(".gitignore", "a") as file:
                    file.write(f"/{path}/\n")
                self.git("rm", "-q", "-r", "--cached", "-f", "--ignore-unmatch", path)
            folders[:] = [name for name in folders if name not in (".git", "sub")]

    def commit_sub(self) -> None:
        """Commit what is in the submodule, if it is checked out."""
        if (self.top / "sub" / ".git").exists():
            self.git("add", "-A", cwd="sub")
            self.git("commit", "-qm", "In the submodule", cwd="sub")
            self.git("add", "sub")
