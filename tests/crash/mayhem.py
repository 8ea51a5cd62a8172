"""A whole batch through the real client while things die: the plan of one seed, and the one who starts it again.

    plan = Plan.of(seed, features=60)           what dies, is compacted, is refused by the API, and when
    with Ordeal(plan, folder, plugin) as ordeal:
        ordeal.go_on_until_it_is_over()         starts the client as often as it takes, within bounds
    ordeal.troubles                             what went wrong: empty is what a test wants

Everything that happens is counted, never timed: the Nth request to the model, the Nth hook, the Nth batchctl
(mortal.py). So a seed does the same again. The model keeps nothing in its head (forgetful.py). Each time it does a
feature it adds a line of its own to the feature's file; that there is one line and one commit in the end is asked of
git.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Callable

import mortal
from batch_implement.store import lock, serialization, sidecar
from client import Client, Running, new_project
from forgetful import SUMMARY, coordinate, work
from scripted_model import WINDOW_FULL, Request, Role, Script, ScriptedModel, Turn, fail, hiccup

from scripts import git, list_features

STATE = ".claude/batch_state.json"
PRIVATE = ".git/batch-implement"
VERIFY = "git diff --quiet HEAD"
GO = f"/batch-implement features.txt --verify '{VERIFY}' --max-retries 5"
ON = "/batch-implement --resume"
LAST_CALLS = {"batchctl": (12, 60), "tool": (8,), "turn": (8, 60), "late": (40,)}  # those that only look make few
ERRORS = {
    "overload": fail(529, "overloaded_error", "Overloaded"),
    "broken": fail(500, "api_error", "Internal server error"),
    "limit": fail(429, "rate_limit_error", "This request would exceed your account's rate limit."),
    "hiccup": hiccup(529, "overloaded_error", "Overloaded"),
}

State = dict[str, Any]


# -- what is to happen ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What happens in one run. `requests`: at which request to the model, counted from 1, `kill` (the client),
    `compact`, or one of ERRORS. `processes`: as mortal.py has it. `gives_up`: features whose first attempt fails.
    `again`: how the person starts the client, each time anew: `new`, `same` (that conversation), `words` (that one,
    and words of their own).
    """

    seed: int
    features: int
    requests: dict[int, str]
    processes: dict[tuple[str, int], tuple[str, int]]
    gives_up: frozenset[int]
    again: tuple[str, ...]

    @classmethod
    def of(cls, seed: int, features: int) -> Plan:
        """The plan of a seed: one death of each kind at least, and about one trouble of some kind a feature."""
        chance = random.Random(seed)

        def some(share: int) -> int:
            return max(1, features // share)

        def at(kind: str) -> int:
            return chance.randint(1, chance.choice(LAST_CALLS[kind]))

        happening = ["kill"] * some(10) + ["compact"] * some(8) + ["hiccup"] * some(12)
        lasting = [kind for kind in ERRORS if kind != "hiccup"]
        happening += [lasting[(seed + number) % len(lasting)] for number in range(some(10))]
        numbers = chance.sample(range(2, features * 5), len(happening))
        processes: dict[tuple[str, int], tuple[str, int]] = {}
        for kind, often, each in (("tool", some(5), 6), ("turn", some(4), 3), ("batchctl", some(4), 2)):
            for number in chance.sample(range(1, features * each), often):
                processes[kind, number] = ("self", at(kind))
            for number in chance.sample(range(2, features * each), some(20)):
                whom = chance.choice(("client", "both"))
                processes[kind, number] = (whom, at(kind))
        processes["late", 1] = ("self", at("late"))
        return cls(
            seed,
            features,
            dict(zip(numbers, happening)),
            processes,
            frozenset(chance.sample(range(1, features + 1), some(12))),
            tuple(chance.choice(("new", "same", "words")) for _ in range(features)),
        )

    @property
    def ends_of_runs(self) -> int:
        """How often the client can end before the batch does, at most."""
        stops = sum(what not in ("compact", "hiccup") for what in self.requests.values())
        return 1 + stops + len(self.processes)

    def told(self) -> str:
        """The plan in a few lines."""
        requests = " ".join(f"{number}:{what}" for number, what in sorted(self.requests.items()))
        processes = sorted(self.processes.items())
        dying = " ".join(f"{kind}-{number}:{whom}@{at}" for (kind, number), (whom, at) in processes)
        return f"seed {self.seed}, {self.features} features\n  requests {requests}\n  processes {dying}"


# -- the world --------------------------------------------------------------------------------------------------------


class Watcher(threading.Thread):
    """Reads the state all the time, as anybody may, and notes what can never be: `wrong`."""

    def __init__(self, state: Path) -> None:
        super().__init__(name="watcher", daemon=True)
        self.state, self.wrong, self.seen = state, [], 0
        self._over = threading.Event()
        self._last: State = {}

    def run(self) -> None:
        known: tuple[int, ...] = ()
        while not self._over.wait(0.003):
            try:
                status = os.stat(self.state)
                if (status.st_ino, status.st_mtime_ns) != known:
                    known = (status.st_ino, status.st_mtime_ns)
                    self.look(json.loads(self.state.read_bytes()))
            except FileNotFoundError:
                if self._last:
                    self.wrong.append("there was no state for a moment")
            except ValueError as error:
                self.wrong.append(f"a state that is none: {error}")

    def look(self, state: State) -> None:
        """Take this for the next version that was seen."""
        last, self._last = self._last, state
        self.seen += 1
        if not last:
            return
        if state["batch_id"] != last["batch_id"]:
            self.wrong.append(f"{last['batch_id']} became {state['batch_id']}")
        if state["revision"] < last["revision"]:
            self.wrong.append(f"revision {last['revision']} became {state['revision']}")
        for name, count in last["retry_attempts"].items():
            if state["retry_attempts"].get(name, 0) < count:
                self.wrong.append(f"attempts at {name} fell from {count} to {state['retry_attempts'].get(name)}")
        if state["completed_features"][: len(last["completed_features"])] != last["completed_features"]:
            self.wrong.append(f"completed {last['completed_features']} became {state['completed_features']}")

    def stop(self) -> None:
        """End it, after a last look."""
        self._over.set()
        self.join()


class Ordeal:
    """One run of a plan: a project, a client, a model and a watcher below `folder`. `troubles` says what went wrong,
    `figures` what happened. Ends every process that it started.
    """

    def __init__(self, plan: Plan, folder: Path, plugin: Path) -> None:
        self.plan, self.troubles, self.happened, self.runs = plan, [], [], 0
        self.project = new_project(folder / "project")
        list_features(self.project, *(f"add the file number {number}" for number in range(1, plan.features + 1)))
        self.mortals = str(folder / "mortals")
        self._python = mortal.installed(self.mortals, plan.processes, sys.executable)
        roles = {
            "coordinator": self._role(coordinate),
            "worker": self._role(lambda request: work(request, self._turns, plan.gives_up)),
        }
        self.model = ScriptedModel(roles, plugin_dir=plugin, summary=lambda request: f"<summary>{SUMMARY}</summary>")
        self.client = Client(self.project, self.model, plugin, folder / "home")
        self.watcher = Watcher(self.project / STATE)
        self._running: Running | None = None
        self._turns, self._owed = 0, []

    def __enter__(self) -> Ordeal:
        self.watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watcher.stop()
        self.client.close()
        for pid in self._left():
            os.kill(pid, signal.SIGKILL)
        self.model.close()

    # -- the model's side --------------------------------------------------------------------------------------------

    def _role(self, decide: Callable[[Request], Turn]) -> Role:
        def role(request: Request) -> Script:
            while True:
                request = yield self._turn(decide(request))

        return role

    def _turn(self, turn: Turn) -> Turn:
        """The turn, or what is to happen in its place."""
        self._turns += 1
        planned = self.plan.requests.get(self._turns)
        if planned:
            self._owed.append(planned)
        if not self._owed or (self._owed[0] == "compact" and not turn.tools):
            return turn  # a window that says no more is not compacted: the next one is
        what = self._owed.pop(0)
        self.happened.append(f"request {self._turns} {what}")
        if what == "compact":
            return turn.with_usage(WINDOW_FULL)
        if what == "kill":
            if self._running is not None:
                os.kill(self._running.pid, signal.SIGKILL)  # not yet waited for: the number is still its own
            return turn
        return ERRORS[what]

    # -- the person's side -------------------------------------------------------------------------------------------

    def state(self) -> State | None:
        """The state as it lies there; None before there is one."""
        try:
            state: State = json.loads((self.project / STATE).read_bytes())
            return state
        except FileNotFoundError:
            return None

    def over(self) -> bool:
        """Whether no feature is left."""
        state = self.state()
        return state is not None and state["status"] in ("completed", "failed")

    def go_on_until_it_is_over(self) -> None:
        """Start the client, and again each time it ended before the batch did, as a person does. More ends than were
        planned are a trouble, and the end.
        """
        self.client.run("/batchctl status")  # leaves the place where its hooks look for their Python
        for path in (self.client.configuration / "plugins" / "data").glob("*/python"):
            path.write_text(f"{self._python}\n", encoding="utf-8")
        session = ""
        while not self.over():
            if self.runs > self.plan.ends_of_runs:
                state = self.state() or {}
                self.troubles.append(f"not over after {self.runs} runs: {state.get('status')}, {state.get('pause')}")
                return
            how = self.plan.again[self.runs % len(self.plan.again)]
            session = self._run_once(how if session else "new", session)
        self._nothing_left()

    def _run_once(self, how: str, session: str) -> str:
        """One run of the client; the conversation to go on with, empty for a new one."""
        state = self.state()
        prompt = GO if state is None else ON
        if how == "words" and state is not None and state["status"] == "in_progress":
            prompt = "Go on with the batch, please."
        extra = [] if how == "new" or state is None else ["--resume", session]
        self.runs += 1
        self._running = self.client.start(prompt, mode="bypassPermissions", extra_args=extra)
        mortal.allow(self.mortals, self._running.pid)
        result = self._running.wait(timeout=600)
        self._running = None
        self.happened.append(f"run {self.runs} {how} ended {result.exit_code}: {result.text[:60]!r}")
        lost = result.exit_code > 0 and not result.text  # killed before it was written down: it cannot be resumed
        return "" if lost else result.session

    # -- the verdict -------------------------------------------------------------------------------------------------

    def _left(self) -> list[int]:
        """The processes that still run with this test's home."""
        found = []
        mark = f"HOME={self.client.home}".encode()
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    found.append(int(name))
            except OSError:
                continue
        return [pid for pid in found if pid != os.getpid()]

    def _nothing_left(self) -> None:
        deadline = time.monotonic() + 20
        while self._left() and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in self._left():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            self.troubles.append(f"process {pid} is left: {words[:200]}")

    def judge(self) -> None:
        """Look at what there is when all is over: in git first, then in the state and around it."""
        for number in range(1, self.plan.features + 1):
            name = f"feature-{number}.txt"
            commits = git(self.project, "log", "--format=%h %s", "--", name).splitlines()
            path = self.project / name
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            if len(commits) != 1 or len(lines) != 1:
                self.troubles.append(f"feature {number} was done {len(commits)} times: {commits}, {lines}")
        ours = git(self.project, "log", "--format=%s").splitlines()
        if len(ours) != self.plan.features + 2:
            self.troubles.append(f"{len(ours) - 2} commits for {self.plan.features} features")
        if git(self.project, "status", "--porcelain"):
            self.troubles.append(f"left uncommitted: {git(self.project, 'status', '--porcelain')}")
        if self.plan.processes and not mortal.deaths(self.mortals):
            self.troubles.append("no process died: the hooks did not run in the interpreter that was left for them")
        self.troubles += self.watcher.wrong
        state = self.state() or {}
        if sorted(state.get("completed_features", ())) != list(range(self.plan.features)):
            self.troubles.append(f"the state says {state.get('status')}: {state.get('completed_features')}")
        self.troubles += serialization.find_problems(state, None)
        self.troubles += self._around(state)

    def _around(self, state: State) -> list[str]:
        """What is wrong with the sidecar, the log, the lock and the folders."""
        wrong = []
        private = str(self.project / PRIVATE)
        sealed = sidecar.read_sidecar(private)
        if sealed is None or sealed.live or not sealed.matches_path(str(self.project / STATE)):
            wrong.append("the sidecar does not vouch for the state, or still says `live`")
        for entry in (self.project / ".claude", self.project / PRIVATE):
            wrong += [f"{path} is left" for path in entry.rglob("*") if "tmp" in path.name]
        with lock.FileLock(os.open(private, os.O_RDONLY), private, 1.0):
            pass
        attempts: dict[int, int] = {}
        for line in (self.project / PRIVATE / "audit.jsonl").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["event"] == "started":
                if entry["attempt"] < attempts.get(entry["feature"], 1):
                    wrong.append(f"attempts at feature {entry['feature']} fell in the log")
                attempts[entry["feature"]] = entry["attempt"]
        return wrong

    def figures(self) -> str:
        """What happened, in a few lines."""
        died = mortal.deaths(self.mortals)
        planned = [line.split()[2] for line in self.happened if line.startswith("request")]
        count = {what: planned.count(what) for what in dict.fromkeys(planned)}
        kinds = [f"{line.split()[0]} {line.split()[2]}" for line in died]
        state = self.state() or {}
        return (
            f"{self.plan.features} features, {self.runs} runs of the client, {self._turns} turns of the model; at "
            f"requests {count}; in processes { ({kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}) }; "
            f"{state.get('auto_clear_count', 0)} compactions recorded; attempts {state.get('retry_attempts')}; "
            f"revision {state.get('revision')}, {self.watcher.seen} versions seen by the reader"
        )
