"""Random behaviours of workers, from a seed: what a worker does in each of its starts, in a real worktree.

    plan = Plan.of(7)               features, parallel jobs, repository, verify command, acts of each start
    print(plan.describe())
    troubles = run_plan(plan, folder)       what went wrong in a real run of it, a line each
    python tests/crash/behaviours.py 7      prints plan, protocol and troubles of seed 7; `7 10` of seeds 7 to 9

A run is `batchctl run --worker`, started again with `--resume` when its driver was killed. Nothing is imported from the
code under test. What workers do is in worker_acts.py, what is asked of git in git_oracles.py.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from git_oracles import ask_git, find_gone, find_unmerged  # noqa: E402
from mutating import Patch, mutated  # noqa: E402
from worker_acts import ACTS  # noqa: E402

IMPATIENT: Patch = ("core/failure_classification.py", "FIRST_BACKOFF_S = 30.0", "FIRST_BACKOFF_S = 0.2")
MAX_STARTS = 8
RUN_S = 240
VERIFIES = (
    "true",
    "! test -e left.lock && echo x > left.lock",
    "echo verified >> README.md",
    "mkdir -p lib && ! test -e lib/test.db && echo x > lib/test.db",
    "git clean -fdqx && git stash -q -u; true",
)
TRAITS = ("submodule", "hook", "union", "no file mode")
ENDS = ("finish",) * 12 + ("leave", "leave", "exit", "kill worker", "kill worker", "kill attempt", "kill driver")
GITIGNORE = "lib/\n*.log\nbuild/\nnode_modules/\n.env\n"
HOOK = """#!/bin/sh
for name in *.txt; do [ -f "$name" ] && sed -i 's/ *$//' "$name" && git add -- "$name"; done; true
"""


@dataclass(frozen=True)
class Plan:
    """What happens in one run. `starts[N - 1]` are the acts of feature N, a list for each start of its worker; later
    starts only finish.
    """

    seed: int
    jobs: int
    verify: str
    traits: tuple[str, ...]
    starts: tuple[tuple[tuple[str, ...], ...], ...]

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Return the plan of a seed."""
        chance = random.Random(seed)
        starts = []
        for _ in range(chance.choice((2, 2, 2, 3))):
            own = []
            for _ in range(chance.choice((1, 1, 2))):
                acts = [chance.choice(tuple(ACTS)) for _ in range(chance.randint(2, 6))]
                own.append((*acts, chance.choice(ENDS)))
            starts.append(tuple(own))
        traits = tuple(trait for trait in TRAITS if chance.random() < 0.3)
        return cls(seed, chance.choice((1, 2, 3)), chance.choice(VERIFIES), traits, tuple(starts))

    def describe(self) -> str:
        """Return the plan in a few lines."""
        lines = [f"seed {self.seed}: --jobs {self.jobs} --verify '{self.verify}', {', '.join(self.traits) or 'plain'}"]
        for number, own in enumerate(self.starts, 1):
            lines += [f"  feature {number}, start {start}: {', '.join(acts)}" for start, acts in enumerate(own, 1)]
        return "\n".join(lines)


def lay_out(plan: Plan, folder: Path) -> Path:
    """Make the repository of a plan below an empty folder, and return it."""
    repository = folder / "repository"
    (folder / "home").mkdir(parents=True)
    (folder / "home" / ".gitconfig").write_text(
        "[user]\n\tname = Scratch\n\temail = scratch@example.invalid\n[init]\n\tdefaultBranch = main\n"
        "[protocol \"file\"]\n\tallow = always\n[gc]\n\tauto = 0\n[advice]\n\tdetachedHead = false\n"
    )  # fmt: skip
    files = {
        "README.md": "# scratch\n", ".gitignore": GITIGNORE, "shared.txt": "".join(f"line {n}\n" for n in range(30)),
        "CHANGES.md": "# Changes\n", "old.txt": "old\n", "src/app.txt": "app\n",
        "features.txt": "".join(f"feature {number + 1}\n" for number in range(len(plan.starts))),
    }  # fmt: skip
    if "union" in plan.traits:
        files[".gitattributes"] = "CHANGES.md merge=union\n"
    tops = [repository, *([folder / "library"] if "submodule" in plan.traits else [])]
    for top in reversed(tops):
        top.mkdir()
        _git(top, "init", "-q", "--template=")
        for name, text in files.items() if top == repository else [("library.txt", "library\n")]:
            (top / name).parent.mkdir(exist_ok=True)
            (top / name).write_text(text)
        if top == repository and len(tops) > 1:
            _git(top, "submodule", "add", "-q", str(folder / "library"), "sub")
        _git(top, "add", "-A")
        _git(top, "commit", "-qm", "start")
    if "no file mode" in plan.traits:
        _git(repository, "config", "core.fileMode", "false")
    if "hook" in plan.traits:
        (repository / ".git" / "hooks").mkdir()
        (repository / ".git" / "hooks" / "pre-commit").write_text(HOOK)
        (repository / ".git" / "hooks" / "pre-commit").chmod(0o755)
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    return repository


def _git(folder: Path, *words: str) -> None:
    home = {"HOME": str(folder.parent / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, env={**os.environ, **home})


# -- the run ----------------------------------------------------------------------------------------------------------


def copy_of_code(folder: Path, patch: Patch | None = None) -> Path:
    """Return the `lib` of a copy of the code below the folder, with the patch; a failed attempt is followed at once."""
    lib = Path(mutated(patch or IMPATIENT, str(folder)))
    for name in ("agents", "hooks", "commands", ".claude-plugin"):
        shutil.copytree(Path(__file__).resolve().parents[2] / name, lib.parent / name)
    file, old, new = IMPATIENT
    path = lib / "batch_implement" / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return lib


def run_plan(plan: Plan, folder: Path, lib: Path) -> list[str]:
    """Run a plan below an empty folder with the code in `lib`. Return what went wrong, a line each."""
    repository = lay_out(plan, folder)
    worker = f"exec {sys.executable} -I {Path(__file__).parent / 'worker_acts.py'} {folder}"
    first = ["features.txt", "--worker", worker, "--verify", plan.verify, "--jobs", str(plan.jobs)]
    troubles = []
    for count in range(MAX_STARTS):
        words = first if count == 0 or not (repository / ".claude" / "batch_state.json").exists() else ["--resume"]
        ended = subprocess.run(
            [sys.executable, "-I", str(lib / "batchctl.py"), "run", *words], cwd=repository, env=environment(folder),
            capture_output=True, text=True, timeout=RUN_S, stdin=subprocess.DEVNULL, errors="replace",
        )  # fmt: skip
        (folder / f"run-{count}").write_text(f"{' '.join(words)}\n{ended.stdout}{ended.stderr}")
        if ended.returncode >= 0:
            break
    if ended.returncode != 0:
        troubles.append(f"the run ended with {ended.returncode}: {' '.join(ended.stderr.split())[-600:]}")
    return troubles + judge(folder, repository)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a user with a home below the folder."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CLAUDE", "BATCH", "GIT_", "XDG_"))
    }
    return {**kept, "HOME": str(folder / "home"), "GIT_CONFIG_NOSYSTEM": "1"}


def judge(folder: Path, repository: Path) -> list[str]:
    """Return what the oracles say about a run that has ended, and which features are not completed."""
    state = json.loads((repository / ".claude" / "batch_state.json").read_text())
    completed = {index + 1 for index in state["completed_features"]}
    troubles = [
        f"feature {number} is not completed: {why}" for number, why in list_failures(state) if number not in completed
    ]
    ends = [json.loads(path.read_text()) for path in sorted(folder.glob("census-*"), key=os.path.getmtime)]
    heads = {end["number"]: end["head"] for end in ends if end["how"] == "ended" and end["number"] in completed}
    troubles += find_unmerged(repository, state["run"]["branch"], heads)
    last = {
        end["place"]: end["census"] for end in ends
    }  # what an earlier start had, its worker may have changed itself
    dropped = (folder / "dropped").read_text().split() if (folder / "dropped").exists() else []
    troubles += [f"gone: {what}" for what in find_gone(repository, list(last.values()), dropped)]
    if ask_git(repository, "status", "--porcelain"):
        troubles.append("the user's working tree was changed")
    return troubles


def list_failures(state: dict) -> list[tuple[int, str]]:
    """Return each feature of a state with the message of its last attempt."""
    last = {int(index): attempts[-1]["error_message"] for index, attempts in state["attempts"].items() if attempts}
    return [(index + 1, last.get(index, "?")[:300]) for index in range(state["total_features"])]


def run_seeds(plans: Callable[[int], Any], run: Callable[[Any, Path, Path], list[str]], logs: Sequence[str]) -> int:
    """Run the seeds that the command line names, FIRST and the one after the last, and print what happens: the files
    that the patterns `logs` match, of a single seed or one with troubles. Return the number of seeds with troubles,
    whose folders are left.
    """
    first = int(sys.argv[1])
    after = int(sys.argv[2]) if len(sys.argv) > 2 else first + 1
    top = Path(tempfile.mkdtemp(prefix="replay-"))
    lib, bad = copy_of_code(top), 0
    for seed in range(first, after):
        plan, folder = plans(seed), top / str(seed)
        print(plan.describe(), flush=True)
        troubles = run(plan, folder, lib)
        paths = [path for pattern in logs for path in folder.glob(pattern)] if troubles or after == first + 1 else []
        for path in sorted(paths, key=os.path.getmtime):
            print(f"--- {path}\n{path.read_text()}")
        print("".join(f"  TROUBLE: {trouble}\n" for trouble in troubles), end="", flush=True)
        bad += bool(troubles)
        if not troubles:
            shutil.rmtree(folder)
    return bad


if __name__ == "__main__":
    sys.exit(run_seeds(Plan.of, run_plan, ("run-*", "protocol-*")))
