"""States for tests: made by the transitions themselves, so that each is one that can really come about.

    state = new_batch(3, needs={2: [1]}, max_retries=0)
    state = started(state); state = completed(state); state = failed(state, permanent=True)

`then` applies one transition, checked: the state that went in is as it was, the one that came out is valid, and
nothing fell that may not.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from batch_implement.base import process_identity
from batch_implement.core import batch_policy, batch_state, transitions
from batch_implement.store import serialization

NOW = "2026-01-31T23:59:59Z"
State = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
BATCHCTL = str(ROOT / "bin" / "batchctl")
GUARD = str(ROOT / "hooks" / "run")


def new_batch(
    features: int | Sequence[str] = 3,
    *,
    needs: Mapping[int, Sequence[int]] | None = None,
    order: Sequence[int] = (),
    batch_id: str = "batch-1",
    mode: str = "auto-implement",
    owner: State | None = None,
    **policy: Any,
) -> State:
    """A batch of that many features (or of these), as it is before its first write but with revision 1."""
    texts = [f"feature {number + 1}" for number in range(features)] if isinstance(features, int) else list(features)
    state = batch_state.new_state(batch_id, texts, NOW, policy=batch_policy.create_policy(**policy), workflow_mode=mode)
    dependencies = {str(index): list(wanted) for index, wanted in (needs or {}).items()}
    state.update(revision=1, feature_order=list(order), feature_dependencies=dependencies, owner=owner)
    return checked(batch_state.with_derived_fields(state))


def checked(state: State, before: State | None = None) -> State:
    """The state, once it is known to be valid as a successor of `before`."""
    assert serialization.find_problems(state, before) == []
    assert serialization.find_problems(state, None) == []
    return state


def then(state: State, transition: Callable[..., State], *arguments: Any, **options: Any) -> State:
    """What a transition makes of the state."""
    before = copy.deepcopy(state)
    after = transition(state, *arguments, **options)
    assert state == before, "a transition changed the state it was given"
    return checked(after, state)


def started(state: State, base: str | None = "base") -> State:
    """The next feature opened."""
    return then(state, transitions.start, NOW, base)


def completed(state: State, **evidence: Any) -> State:
    """The open feature completed, the next one opened before when none is."""
    state = state if state["active"] else started(state)
    return then(state, transitions.complete, NOW, {"commit": "c0ffee", "verify": None, **evidence})


def failed(state: State, words: str = "it broke", **how: Any) -> State:
    """The open feature's attempt failed, the next one opened before when none is."""
    state = state if state["active"] else started(state)
    return then(state, transitions.fail, NOW, words, "feature", **how)


def given_up(state: State) -> State:
    """The open or next feature failed for good."""
    return failed(state, permanent=True)


def of_issues(state: State, numbers: Sequence[int] = (72, 74, 90)) -> State:
    """The batch as if its features came from these issues."""
    return {**state, "source_type": "issues", "issue_numbers": list(numbers)}


def all_completed(state: State) -> State:
    """A batch with every feature completed that can be."""
    while state["status"] == "in_progress":
        state = completed(state)
    return state


def skipped_reasons(state: State) -> dict[int, str]:
    """Why each skipped feature was."""
    return {entry["feature_index"]: entry["reason"] for entry in state["skipped_features"]}


def conditions(state: State) -> list[str]:
    """The condition of each feature."""
    return [batch_state.feature_status(state, index) for index in range(state["total_features"])]


def owner(session_id: str = "session-1", pid: int | None = None) -> State:
    """A living lease: of this process, when no other is named."""
    return process_identity.new_owner(session_id, os.getpid() if pid is None else pid, NOW)


def git(folder: Path | str, *words: str) -> str:
    """What git prints in a folder, without the last line break."""
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.rstrip("\n")


def commit(folder: Path | str, **files: str) -> str:
    """Commit files (name without extension -> content) and return the commit."""
    for name, text in files.items():
        (Path(folder) / f"{name}.txt").write_text(text, encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", f"Add {', '.join(files)}")
    return git(folder, "rev-parse", "HEAD")


def state_on_disk(folder: Path | str) -> State:
    """The state file's content."""
    return json.loads((Path(folder) / ".claude" / "batch_state.json").read_text(encoding="utf-8"))


def run_program(
    *words: str, cwd: Path | str, stdin: str | bytes = "", timeout: float = 30, **env: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a program with additions to the environment (None takes a variable away); its status is the caller's."""
    environment = {**os.environ, **{name: value for name, value in env.items() if value is not None}}
    for name in [name for name, value in env.items() if value is None]:
        environment.pop(name, None)
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(list(words), cwd=cwd, env=environment, input=given, capture_output=True, timeout=timeout)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    )


def files_in(folder: Path | str) -> set[str]:
    """The names of all files below a folder, relative to it."""
    base = Path(folder)
    return {str(path.relative_to(base)) for path in base.rglob("*") if not path.is_dir()}
