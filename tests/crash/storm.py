"""A storm over a real run: SIGKILL to its processes, at points that a seed names, until all features are done.

    schedule = Schedule.of(7)               jobs, kind of worker, and what dies at which call of git
    troubles = ride_out(schedule, folder, lib)
    python tests/crash/storm.py 7           prints and replays seed 7; `7 10` seeds 7 to 9

A `git` that stands first in PATH counts its calls. At a planned call it kills: itself in the middle of its work, or
another process of the run, some milliseconds later. One that is not there is killed at a later call. The run is
started again with `--resume` whenever its driver has died. With one job a seed does nearly the same again.

Run as `storm.py kill` and `storm.py work` this is also the program that kills, and the worker or client of the run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from behaviours import environment, run_seeds  # noqa: E402
from git_oracles import MARK, ask_git, find_unmerged  # noqa: E402

KILLED = ("driver", "driver", "attempt", "done", "verify", "worker", "git")
DIES_BY_ITSELF = frozenset(("attempt", "done", "verify", "worker", "git"))
COUNTED_FROM = 3  # deaths of these, one after another, while run and machine live
FEATURES, KILLS, CALLS, MAX_STARTS = 3, 8, 330, 40
GIT = shutil.which("git") or "git"
VERIFY = (
    "git rev-parse -q --verify HEAD > /dev/null && git status --short > /dev/null && test -f README.md # storm verify"
)
SHIM = """#!/bin/sh
printf . >> {folder}/calls
n=$(stat -c %s {folder}/calls)
[ -e {folder}/plan/$n ] && exec {python} -I {program} kill {folder} $n "$@"
exec {git} "$@"
"""
CLIENT = """#!/bin/sh
case "$1" in --version) echo "2.1.400 (Claude Code)";; auth) echo '{{"loggedIn": true, "authMethod": "none"}}';;
*) exec {python} -I {program} work {folder} client;; esac
"""


@dataclass(frozen=True)
class Schedule:
    """What dies in one storm: `deaths` has who and after how many milliseconds by the call of git."""

    seed: int
    jobs: int
    is_client: bool
    deaths: dict[int, tuple[str, int]]

    @classmethod
    def of(cls, seed: int) -> Schedule:
        """Return the schedule of a seed: --jobs 1 and 4, commands and clients, in turn."""
        chance = random.Random(seed)
        calls = sorted(chance.sample(range(1, CALLS), KILLS))
        whom = [KILLED[(seed + number) % len(KILLED)] for number in range(KILLS)]
        chance.shuffle(whom)
        deaths = {call: (who, chance.choice((0, 1, 3, 10, 30))) for call, who in zip(calls, whom)}
        return cls(seed, (1, 4)[seed % 2], bool(seed // 2 % 2), deaths)

    def describe(self) -> str:
        """Return the schedule in two lines."""
        deaths = ", ".join(f"{who}@{call}+{delay}ms" for call, (who, delay) in self.deaths.items())
        return f"seed {self.seed}: --jobs {self.jobs}, {'clients' if self.is_client else 'commands'}\n  {deaths}"


# -- the run ----------------------------------------------------------------------------------------------------------


def ride_out(schedule: Schedule, folder: Path, lib: Path) -> list[str]:
    """Run a batch through the storm below an empty folder. Return what went wrong, a line each."""
    repository = _lay_out(schedule, folder)
    kind = ["--client", str(folder / "bin" / "claude")]
    if not schedule.is_client:
        kind = ["--worker", f"exec {sys.executable} -I {Path(__file__).resolve()} work {folder} command"]
    first = ["features.txt", *kind, "--verify", VERIFY, "--jobs", str(schedule.jobs)]
    environ = {
        **environment(folder),
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "STORM": str(folder),
        "REAL_GIT": GIT,
    }
    batchctl = [sys.executable, "-I", str(lib / "batchctl.py")]
    ended = None
    for count in range(MAX_STARTS):
        words = ["--resume"] if (repository / ".claude" / "batch_state.json").exists() else first
        with open(folder / f"run-{count}", "w") as log:
            ended = subprocess.run(
                [*batchctl, "run", *words], cwd=repository, env={**environ, "STORM_LIB": str(lib)}, timeout=240,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            ).returncode  # fmt: skip
        if ended == 0:
            break
    troubles = [] if ended == 0 else [f"after {MAX_STARTS} starts the run ended with {ended}"]
    return troubles + list(_judge(folder, repository))


def _lay_out(schedule: Schedule, folder: Path) -> Path:
    repository, program = folder / "repository", Path(__file__).resolve()
    for path in (repository, folder / "home", folder / "bin", folder / "plan"):
        path.mkdir(parents=True)
    (folder / "home" / ".gitconfig").write_text(
        "[user]\n\tname = Scratch\n\temail = scratch@example.invalid\n[init]\n\tdefaultBranch = main\n"
    )
    (repository / "README.md").write_text("# scratch\n")
    (repository / "features.txt").write_text("".join(f"feature {number + 1}\n" for number in range(FEATURES)))
    for words in (["init", "-q", "--template="], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run([GIT, *words], cwd=repository, check=True, env=environment(folder))
    for name, text in (("git", SHIM), ("claude", CLIENT)):
        path = folder / "bin" / name
        path.write_text(text.format(folder=folder, python=sys.executable, program=program, git=GIT))
        path.chmod(0o755)
    for call, (who, delay) in schedule.deaths.items():
        (folder / "plan" / str(call)).write_text(f"{who} {delay}")
    return repository


def read_deaths(folder: Path) -> list[list[str]]:
    """Return who died and the worktree it was of, "-" for none, oldest first."""
    path = folder / "deaths"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def _judge(folder: Path, repository: Path) -> Iterator[str]:
    state = json.loads((repository / ".claude" / "batch_state.json").read_text())
    run, own, known = state["run"], Counter(), set()
    for who, place in read_deaths(folder):
        own[place.partition("-")[0]] += who in DIES_BY_ITSELF
    for index in range(state["total_features"]):
        if index not in state["completed_features"]:
            yield f"feature {index + 1} is not completed"
        counted = state["attempts"].get(str(index), [])
        known.update(f"{index + 1}-feature-{index + 1}{end}" for end in ("", ".2", ".3")[: len(counted)])
        # A git that dies in the repository itself may be of any attempt.
        if counted and own[str(index + 1)] + own[""] < COUNTED_FROM:
            yield f"feature {index + 1}: a stop was counted as an attempt: {counted[-1]['error_message'][:300]}"
    heads = {index + 1: (folder / f"head-{index + 1}").read_text() for index in state["completed_features"]}
    yield from find_unmerged(repository, run["branch"], heads)
    subjects = Counter(ask_git(repository, "log", "--format=%s", run["branch"]).splitlines())
    wanted = Counter({"start": 1, **{f"Do feature {number + 1}": 1 for number in range(FEATURES)}})
    if subjects != wanted:
        yield f"the commits are not one of each feature: {dict(subjects)}"
    yield from _find_orphans(folder, repository, run["branch"], known)


def _find_orphans(folder: Path, repository: Path, branch: str, known: set[str]) -> Iterator[str]:
    deadline = time.monotonic() + 15
    while list(_list_processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid, words, _ in _list_processes(folder):
        yield f"process {pid} is left: {' '.join(words)[:200]}"
        os.kill(pid, signal.SIGKILL)
    for line in ask_git(repository, "worktree", "list", "--porcelain").splitlines():
        if line.startswith("worktree ") and line != f"worktree {repository}":
            yield f"{line} is left"
    for path in sorted(Path(f"{repository}.worktrees").glob("*/*")):
        yield f"{path} is left"
    for name in ask_git(repository, "for-each-ref", "--format=%(refname:short)", "refs/heads").split():
        if name not in ("main", branch) and name.rpartition("/")[2] not in known:  # what failed stays on its branch
            yield f"the branch {name} is left"
    for lock in (repository / ".git").rglob("*.lock"):
        if "batch-implement" not in lock.parts:
            yield f"{lock} is left"
    if ask_git(repository, "status", "--porcelain"):
        yield "the user's working tree was changed"


# -- who is there -----------------------------------------------------------------------------------------------------


def _list_processes(folder: Path) -> Iterator[tuple[int, list[str], dict[str, str]]]:
    """Yield pid, command line and environment of the processes of this storm that run."""
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            words = Path("/proc", name, "cmdline").read_bytes().decode(errors="replace").split("\0")
            raw = Path("/proc", name, "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if f"STORM={folder}" in raw and words != [""]:  # a zombie has no command line
            yield int(name), words, dict(entry.partition("=")[::2] for entry in raw)


def role_of(words: list[str]) -> str:
    """Return what a process of the run is by its command line, empty for anything else."""
    joined = " ".join(words)
    if len(words) > 3 and words[2].endswith("/batchctl.py"):
        return {"run": "driver", "done": "done"}.get(words[3], "")
    if "runner import attempt" in joined:
        return "attempt"
    if words[0].endswith("sh") and "# storm verify" in joined:
        return "verify"
    return "worker" if words[2:4] == [str(Path(__file__).resolve()), "work"] else ""


def kill(folder: Path, call: int, words: list[str]) -> None:
    """Do what is planned for this call of git, then be git."""
    plan = folder / "plan" / str(call)
    try:
        who, delay = plan.read_text().split()
        os.rename(plan, folder / f"taken-{call}")
    except FileNotFoundError:  # another had the same number
        os.execv(GIT, ["git", *words])
    place = os.path.basename(os.environ.get("BATCHCTL_WORKTREE", "-"))
    if who == "git":
        process = subprocess.Popen([GIT, *words])
        time.sleep(int(delay) / 1000)
        process.kill()
        _note(folder, who, place)
        os.kill(os.getpid(), signal.SIGKILL)
    found = [(pid, environ) for pid, line, environ in _list_processes(folder) if role_of(line) == who]
    if not found:
        (folder / "plan" / str(call + 5)).write_text(f"{who} {delay}")
    elif os.fork() == 0:
        os.setsid()
        pid, environ = found[0]
        time.sleep(int(delay) / 1000)
        try:
            if role_of(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")) == who:
                os.kill(pid, signal.SIGKILL)
                _note(folder, who, os.path.basename(environ.get("BATCHCTL_WORKTREE", "-")))
        except OSError:
            pass
        os._exit(0)
    os.execv(GIT, ["git", *words])


def _note(folder: Path, who: str, place: str) -> None:
    with open(folder / "deaths", "a") as file:
        file.write(f"{who} {place}\n")


def work(folder: Path, kind: str) -> int:
    """Do the feature of the worktree that is the current folder, as a command or a client. Return the exit status."""
    sys.stdin.read()
    top = Path.cwd()
    number, lock = top.name.partition("-")[0], top / ask_git(top, "rev-parse", "--git-path", "index.lock").strip()

    def git(*words: str) -> int:
        return subprocess.run(["git", *words], capture_output=True).returncode

    for _ in range(10):  # a git that was killed may have left its lock, as anybody would see
        lock.unlink(missing_ok=True)
        (top / f"feature-{number}.txt").write_text(f"{MARK.decode()} {number}\n")
        if (
            git("add", "-A") == 0
            and git("diff", "--cached", "--quiet") == 0
            and not ask_git(top, "status", "--porcelain")
        ):
            break
        git("commit", "-qm", f"Do feature {number}")
    (folder / f"head-{number}.new").write_text(ask_git(top, "rev-parse", "HEAD").strip())
    os.replace(folder / f"head-{number}.new", folder / f"head-{number}")
    if kind == "client":
        done = [sys.executable, "-I", os.environ["STORM_LIB"] + "/batchctl.py", "done"]
        for _ in range(10):
            if subprocess.run(done, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0:
                break
        print(
            json.dumps({"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "result": "Done."})
        )
    return 0


def ride_out_aloud(schedule: Schedule, folder: Path, lib: Path) -> list[str]:
    """Ride out a schedule, and print what died."""
    troubles = ride_out(schedule, folder, lib)
    print(f"died: {' '.join(':'.join(death) for death in read_deaths(folder))}")
    return troubles


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        kill(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    elif sys.argv[1] == "work":
        sys.exit(work(Path(sys.argv[2]), sys.argv[3]))
    else:
        sys.exit(run_seeds(Schedule.of, ride_out_aloud, ("run-*",)))
