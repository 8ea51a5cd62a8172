"""Scripts that play a model which works as it should: what tests deviate from.

    ScriptedModel({"coordinator": coordinator, "worker": worker()})

The coordinator calls the Skill until it is told that the batch is over or paused; the worker reads which feature it
has and does it: a file `feature-N.txt`, a commit, `batchctl done`. Below them: what tests look at and set up.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable

from client import Client, Result
from scripted_model import REPOSITORY, Request, Role, Script, ScriptedModel, Turn, call, say

RHINOCEROS = "A rhinoceros. Shall I go on?"
SKILL = call("Skill", skill="batch-implement:auto-implement")
OVER = re.compile(r"Batch \S+ is (over|paused)|There is no batch")


def coordinator(request: Request) -> Script:
    """Does what it is told after each feature, and stops when the batch is over or paused."""
    while not OVER.search(request.last_text()):
        request = yield SKILL
    yield say("All done.")


def answers(request: Request) -> Script:
    """A coordinator that answers the person's question, asks back and stops; else it works."""
    while not OVER.search(request.last_text()):
        request = yield say(RHINOCEROS) if "Which animal?" in request.last_text() else SKILL
    yield say("All done.")


def feature_number(request: Request) -> int:
    """The number of the feature that the last brief names."""
    found = re.findall(r"Feature (\d+) of \d+, attempt", request.text())
    assert found, f"no feature in the worker's prompt: {request.text()[:2000]}"
    return int(found[-1])


def number_alone(request: Request) -> int:
    """The number in the text of the feature that the brief of a batch of one shows: `> feature 7`."""
    found = re.findall(r"^> feature (\d+)\b", request.text(), re.MULTILINE)
    assert found, f"no feature in the prompt: {request.text()[:2000]}"
    return int(found[0])


def write(name: str, text: str = "done\n") -> Turn:
    """A call of Write; a relative name is taken from the project, which the client makes the working directory."""
    return call("Write", file_path=name, content=text)


def commit(*names: str, message: str = "Add a feature") -> Turn:
    """A Bash call that commits these files."""
    files = " ".join(names)
    return call("Bash", command=f"git add {files} && git commit -qm '{message}'")


def one_file(number: int) -> Iterable[Turn]:
    """The smallest feature: a file `feature-N.txt`, committed."""
    name = f"feature-{number}.txt"
    return [write(name, f"feature {number}\n"), commit(name, message=f"Add {name}")]


def batchctl(*words: str) -> Turn:
    """A Bash call of batchctl."""
    return call("Bash", command=" ".join(["batchctl", *words]))


def worker(
    steps: Callable[[int], Iterable[Turn]] | None = None, number_in: Callable[[Request], int] = feature_number
) -> Role:
    """A worker that does `steps(number)`, then `batchctl done`; which feature it has `number_in` tells."""

    def work(request: Request) -> Script:
        number = number_in(request)
        for turn in (steps or one_file)(number):
            request = yield turn
        request = yield batchctl("done")
        while "still runs" in request.last_text():
            request = yield batchctl("done")
        yield say(f"Feature {number} is in.")

    return work


def alone(steps: Callable[[int], Iterable[Turn]] | None = None) -> Role:
    """A client of `batchctl run` that works as it should: its batch is one of one."""
    return worker(steps, number_alone)


def git(folder: Path, *words: str) -> str:
    """What git prints, in a folder, without anybody's configuration."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull)
    identity = ["-c", "user.name=Scratch", "-c", "user.email=scratch@example.invalid"]
    command = ["git", *identity, *words]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def list_features(project: Path, *texts: str, name: str = "features.txt") -> None:
    """Commit a file that lists these features, one a line."""
    (project / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    git(project, "add", "--", name)
    git(project, "commit", "-qm", "List the features")


def state_of(project: Path) -> dict[str, Any]:
    """The batch's state, as it lies on the disk."""
    state: dict[str, Any] = json.loads((project / ".claude" / "batch_state.json").read_text(encoding="utf-8"))
    return state


def in_terminal(client: Client, *words: str, env: Mapping[str, str] | None = None) -> str:
    """What batchctl answers a person at a terminal of their own."""
    command = [str(REPOSITORY / "bin" / "batchctl"), *words]
    done = subprocess.run(
        command, cwd=client.project, env=client.environment(env), check=True, capture_output=True, text=True
    )
    return done.stdout


def turns(model: ScriptedModel) -> list[str]:
    """The roles of the model's turns so far, side questions left out: empty when nothing was spent."""
    return [request.role for request in model.requests if request.role != "side"]


LYING = ("1 commit of this feature since ", "Uncommitted, from before: note.txt.")
"""What a worker is told that follows one of `interrupted`."""


def interrupted(*ending: Turn, at: int = 2) -> Role:
    """A worker that does what its brief does not show as done; the first at feature `at` ends with `ending` instead.

    It has then committed `feature-N.txt` and left `note.txt` uncommitted; the next one commits that and calls done.
    """
    gone: list[str] = []

    def work(request: Request) -> Script:
        number = feature_number(request)
        brief = request.text()
        if LYING[0] not in brief:
            for turn in one_file(number):
                request = yield turn
        if number == at and not gone:
            gone.append(request.conversation)
            for turn in (write("note.txt"), *ending):
                request = yield turn
            return
        if "note.txt" in brief:
            yield commit("note.txt", message="Add note.txt")
        yield batchctl("done")
        yield say(f"Feature {number} is in.")

    return work


def openings(model: ScriptedModel) -> list[Request]:
    """The first request of each worker, in order."""
    first = {request.conversation: request for request in reversed(model.of("worker"))}
    return [first[worker] for worker in model.conversations("worker")]


def subjects(project: Path) -> list[str]:
    """The subjects of the commits since the features were listed, oldest first."""
    lines = git(project, "log", "--reverse", "--format=%s").splitlines()
    return lines[lines.index("List the features") + 1 :]


def sent_on(result: Result) -> list[str]:
    """With which words the coordinator's stops were blocked."""
    answers = [hook.answer() for hook in result.hooks("Stop")]
    return [answer["reason"] for answer in answers if answer.get("decision") == "block"]


def told(result: Result, event: str = "Stop") -> str:
    """What the hooks of one event told the person."""
    return "\n".join(hook.answer().get("systemMessage", "") for hook in result.hooks(event)).strip()


def copy_of_plugin(folder: Path) -> Path:
    """The plugin in another folder, with all that it needs to run."""
    for name in (".claude-plugin", "agents", "bin", "commands", "hooks", "lib", "schemas"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    return folder
