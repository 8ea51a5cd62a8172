"""Run a batch from beginning to end, and show it while it happens: `make demo`.

A scratch git project is made from examples/todo in a temporary folder, and the real Claude Code runs `/batch-implement
features.txt --verify 'python3 -m unittest'` in it with this plugin, headless, with a home folder of its own. (Not below
this repository: Claude Code asks before every edit in the folder of a plugin that it has loaded.)
Without ANTHROPIC_API_KEY the model is the scripted one of `solutions.py`, on loopback, in the default permission mode;
one of its windows is full in the middle. With the key it is the real one, which costs money; that is said first.

Exits with 0 only when every feature is completed, with evidence, in a commit of its own on which the tests pass: looked
up in `batchctl status --json`, in the state and in git. Else with 1, naming what is missing. What it started it ends;
the project stays, for a look.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "client"))

from client import Client
from narration import Narrator
from scripted_model import REPOSITORY, ScriptedModel
from solutions import EXAMPLE, TESTS, model_scripts

COMPACT_IN = 3
"""The feature, from 1, in which the scripted worker's window is full."""
SCRIPTED_LIMIT_S = 600
REAL_LIMIT_S = 3600
BUDGET_USD = 10
COMPACT_AT = {"CLAUDE_CODE_AUTO_COMPACT_WINDOW": "100000", "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE": "35"}
"""Makes the real model's windows small: the client compacts at about 28,000 tokens (measured with 2.1.330)."""
COST = f"""\
ANTHROPIC_API_KEY is set, so the real model implements the five small features. Expect a few US dollars and 10 to 30
minutes; Claude Code is told to stop at {BUDGET_USD} US dollars. Ctrl-C ends it. Without the key a
script plays the model."""


class RealModel:
    """The model behind the key: nothing to start and nothing to stop."""

    url = ""


class PayingClient(Client):
    """The client with the caller's own key, and the address and proxy that go with it."""

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of the client, with the caller's own key and proxy."""
        kept = super().environment()
        for name in ("ANTHROPIC_BASE_URL", "CLAUDE_CODE_MAX_RETRIES"):
            del kept[name]
        for name, value in os.environ.items():
            if name.startswith("ANTHROPIC_") or name.lower().endswith("_proxy"):
                kept[name] = value
        return {**kept, **COMPACT_AT, **(env or {})}


class Place:
    """The folders and files of one run."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.home = folder / "home"
        self.stream = folder / "stream.jsonl"
        self.stderr = folder / "stderr.txt"

    def git(self, *arguments: str) -> str:
        """Return what a git command prints in the project. Raise CalledProcessError if it fails."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1")
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=self.project, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def batchctl(self, *words: str) -> str:
        """Return what batchctl prints in the project for a user."""
        ours = ("CLAUDE", "BATCH_IMPLEMENT", "GIT_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        command = [str(REPOSITORY / "bin" / "batchctl"), *words]
        done = subprocess.run(command, cwd=self.project, env=environment, check=False, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr.strip()

    def state(self) -> dict[str, Any]:
        """Return the state of the batch."""
        state: dict[str, Any] = json.loads((self.project / ".claude" / "batch_state.json").read_text(encoding="utf-8"))
        return state


def new_project(place: Place) -> str:
    """Create the project, a copy of examples/todo as a git repository, and return its one commit."""
    shutil.copytree(EXAMPLE, place.project, ignore=shutil.ignore_patterns("__pycache__", "todo.json"))
    place.git("init", "-q", "-b", "main")
    for name, value in (("user.name", "Demo"), ("user.email", "demo@example.invalid"), ("commit.gpgsign", "false")):
        place.git("config", name, value)
    place.git("add", "-A")
    place.git("commit", "-q", "-m", "A to-do list that can add and list")
    return place.git("rev-parse", "HEAD")


@contextlib.contextmanager
def client_and_model(place: Place) -> Iterator[Client]:
    """Yield a client with its model: the real one if there is a key for it, else the scripted one."""
    if os.environ.get("ANTHROPIC_API_KEY"):
        print(COST, flush=True)
        yield PayingClient(place.project, RealModel(), REPOSITORY, place.home)
        return
    with ScriptedModel(model_scripts(COMPACT_IN)) as model:
        yield Client(place.project, model, REPOSITORY, place.home)


def run(place: Place, client: Client) -> tuple[float, str]:
    """Run and narrate the batch; return its cost in US dollars and the client's error (empty: none)."""
    real = isinstance(client, PayingClient)
    limit_s = REAL_LIMIT_S if real else SCRIPTED_LIMIT_S
    prompt = f"/batch-implement features.txt --verify '{TESTS}'"
    mode = "acceptEdits" if real else "default"
    command = client.arguments(mode, ["--max-budget-usd", str(BUDGET_USD)] if real else [])
    command += ["--output-format", "stream-json", "--verbose", "--include-hook-events", "-p", prompt]
    shown = f'claude -p "{prompt}" --plugin-dir {REPOSITORY} --permission-mode {mode}'
    print(f"\n$ cd {place.project}\n$ {shown}\n", flush=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    with open(place.stderr, "wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=place.project,
            env=client.environment({"PATH": path}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    narrator = Narrator(place.project)
    try:
        in_time = narrate_client(process, place.stream, narrator, limit_s)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    final = narrator.final
    cost = float(final.get("total_cost_usd") or 0)
    if not in_time:
        return cost, f"Claude Code did not end within {limit_s} s."
    if not final or final.get("is_error"):
        said = final.get("result") or place.stderr.read_text(encoding="utf-8", errors="replace")[-500:]
        return cost, f"Claude Code broke off: {said}"
    return cost, ""


def narrate_client(process: subprocess.Popen[bytes], stream: Path, narrator: Narrator, limit_s: float) -> bool:
    """Narrate the client's events and write them to `stream`. Return False at the time limit."""
    lines: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + limit_s
    with open(stream, "wb") as kept:
        try:
            for line in iter(lambda: lines.get(timeout=max(0.0, deadline - time.monotonic())), b""):
                kept.write(line)
                with contextlib.suppress(ValueError):
                    narrator.hear(json.loads(line))
        except queue.Empty:
            return False
    return True


def find_problems(place: Place, start: str, *, compaction: bool) -> list[str]:
    """Return a sentence for each thing that is wrong."""
    status = json.loads(place.batchctl("status", "--json"))
    if "features" not in status:
        return [f"There is no batch: {status}"]
    wrong = []
    state, commits = place.state(), place.git("rev-list", f"{start}..HEAD").split()
    lines = (EXAMPLE / "features.txt").read_text(encoding="utf-8").splitlines()
    asked = [line for line in lines if line and not line.startswith("#")]
    if [feature["text"] for feature in status["features"]] != asked:
        wrong.append("The batch's features are not those of features.txt.")
    if status["status"] != "completed":
        wrong.append(f"The batch is {status['status']}.")
    for feature in status["features"]:
        number, commit = feature["number"], feature["commit"]
        proof = state["evidence"].get(str(number - 1)) or {}
        if feature["status"] != "done":
            wrong.append(f"Feature {number} is {feature['status']}.")
        elif (proof.get("verify") or {}).get("exit_code") != 0 or not proof.get("commits"):
            wrong.append(f"Feature {number} has no evidence: {proof}")
        elif commit not in commits:
            wrong.append(f"Feature {number}'s commit {commit} is not on the branch.")
        elif not tests_pass_on(place, commit):
            wrong.append(f"The tests fail on feature {number}'s commit {commit}.")
    if len(commits) != len(asked):
        wrong.append(f"There are {len(commits)} commits for {len(asked)} features.")
    if place.git("status", "--porcelain"):
        wrong.append(f"Not committed: {place.git('status', '--porcelain')}")
    if "batch_state.json" in place.git("log", "--name-only", "--format="):
        wrong.append("The batch's state was committed.")
    if compaction and not state["auto_clear_count"]:
        wrong.append("No compaction was recorded.")
    return wrong


def tests_pass_on(place: Place, commit: str) -> bool:
    """Return whether the tests pass on a commit as it is in git, without untracked files."""
    with tempfile.TemporaryDirectory() as folder:
        place.git("worktree", "add", "-q", "--detach", folder, commit)
        try:
            command = [sys.executable, "-m", "unittest"]
            done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=60)
        finally:
            place.git("worktree", "remove", "--force", folder)
    return done.returncode == 0


def main(folder: Path) -> int:
    """Run the demo in an empty folder and return the exit status."""
    place = Place(folder.resolve())
    start = new_project(place)
    cost, trouble, real = 0.0, "", bool(os.environ.get("ANTHROPIC_API_KEY"))
    try:
        with client_and_model(place) as client:
            cost, trouble = run(place, client)
    except AssertionError as error:
        trouble = f"The scripted model was not answered as it should be: {error}"
    finally:
        shutil.rmtree(place.home, ignore_errors=True)
    print(f"\n$ batchctl status\n{place.batchctl('status')}\n\n$ git log --oneline\n{place.git('log', '--oneline')}\n")
    wrong = [*filter(None, [trouble]), *find_problems(place, start, compaction=not real)]
    print(f"The project is {place.project}; beside it, in {place.stream.name}, is all that Claude Code said.")
    if wrong:
        print("\nFAILED:\n" + "\n".join(wrong), file=sys.stderr)
        return 1
    paid = f" It cost {cost:.2f} US dollars." if real else ""
    print(f"Every feature is completed, verified and committed; the tests pass on each commit.{paid}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    try:
        sys.exit(main(Path(tempfile.mkdtemp(prefix="batch-implement-demo-"))))
    except KeyboardInterrupt:
        sys.exit(130)
