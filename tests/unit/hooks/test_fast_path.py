"""The first look of a hook: it settles what needs nothing, leaves the rest to the entry, and stays cheap."""

from __future__ import annotations

import json
import os
import posix
import subprocess
import sys

import pytest
from batch_implement.core import lease, transitions
from batch_implement.hooks import fast_path
from batches import NOW, ROOT, new_batch, owner


@pytest.fixture
def seen(store, repository, monkeypatch):
    """What `glance.settles` says of a call in a project with a batch of the session `s-1`, held by this process."""
    store.create(new_batch(3, owner=owner("s-1")))

    def look(event, tool, command, *, session="s-1", pid=None, private=store.project.private, **env):
        variables = {"CLAUDE_CODE_SESSION_ID": session, "CLAUDE_PID": str(pid or os.getpid()), **env}
        environ = {name.encode(): value.encode() for name, value in variables.items() if value is not None}
        monkeypatch.setattr(posix, "environ", environ)
        raw = json.dumps({"tool_input": {"command": command}}).encode()
        return fast_path.can_skip(event, tool, str(repository), private, raw)

    return look


@pytest.mark.parametrize("event", ["PreToolUse", "PostToolUse", "PostToolUseFailure"])
def test_an_innocent_command_is_settled(seen, event):
    assert seen(event, "Bash", "pytest -q")
    assert seen(event, "Bash", "pytest -q", session="s-2")


def test_a_call_that_may_begin_a_phase_is_left_to_dispatch_once(seen, store):
    assert seen("PostToolUse", "Bash", "git commit -m x")  # no feature is open
    store.update(lambda state: transitions.start(state, NOW, None))
    assert not seen("PostToolUse", "Bash", "git commit -m x")
    assert seen("PostToolUse", "Bash", "make test")  # nothing is written yet: a look at what is there
    assert seen("PreToolUse", "Bash", "git commit -m x") and seen("PostToolUse", "", "git commit")
    store.update(lambda state: transitions.advance_phase(state, "implement"))
    assert not seen("PostToolUse", "Bash", "make test")
    store.update(lambda state: transitions.advance_phase(state, "test"))
    assert seen("PostToolUse", "Bash", "make test") and not seen("PostToolUse", "Bash", "git commit -m x")
    store.update(lambda state: transitions.advance_phase(state, "commit"))
    assert seen("PostToolUse", "Bash", "git commit -m x")


def test_only_the_command_can_begin_a_phase_not_its_output():
    def payload(command, output):
        return json.dumps({"tool_input": {"command": command}, "tool_response": {"stdout": output}}).encode()

    assert fast_path.may_begin_phase(payload("git commit -m x", ""), "implement")
    assert not fast_path.may_begin_phase(payload("ls", "git commit, tests"), "implement")
    assert not fast_path.may_begin_phase(payload("git commit", ""), "")


def test_what_may_concern_the_batch_is_left_to_the_entry(seen, store, repository):
    assert not seen("PreToolUse", "Bash", "rm .claude/batch_state.json")
    assert not seen("PostToolUse", "Bash", "git push")
    assert seen("PostToolUse", "Bash", "git push", session="s-2")
    assert not seen("PreToolUse", "Write", "x")
    assert not seen("PostToolUse", "Skill", "x")
    assert not seen("Stop", "", "x")
    store.update(lambda state: lease.record_compaction(state, NOW, "main", 5))
    assert seen("PreToolUse", "Bash", "pytest -q")
    assert not seen("PostToolUse", "Bash", "pytest -q")  # a reminder is owed


@pytest.mark.parametrize(
    "path", [".claude/batch_state.json", *(f".git/{name}" for name in (
        "batch-implement/current.json", "batch-implement/in-force.bi", "implement.bi", "batch-implement/sidecar"
    ))],
)  # fmt: skip
@pytest.mark.parametrize("how", ["changed", "removed"])
def test_a_state_or_copy_that_was_changed_is_left_to_dispatch(seen, repository, path, how):
    (repository / path).unlink() if how == "removed" else (repository / path).write_text("{}")
    for session in ("s-1", "s-2"):
        assert not seen("PostToolUse", "Bash", "pytest -q", session=session)
        assert not seen("PreToolUse", "Bash", "pytest -q", session=session)
    assert not seen("PostToolUse", "", "x")
    assert seen("PostToolUse", "", "x", session="s-2") != path.endswith("sidecar")


def test_what_it_is_not_told_it_leaves_to_the_entry(seen, store):
    assert not seen("PreToolUse", "Bash", "pytest -q", private="")
    assert not seen("PreToolUse", "Bash", "pytest -q", session="")
    assert not seen("PreToolUse", "Bash", "pytest -q", CLAUDE_PID=None)
    assert not seen("PreToolUse", "Bash", "pytest -q", BATCH_IMPLEMENT_REMEMBER="/data")
    store.update(lambda state: transitions.start(state, NOW, None))
    with open(f"{store.project.private}/sidecar", "w", encoding="utf-8") as damaged:
        damaged.write("live\n")
    assert not seen("PreToolUse", "Bash", "pytest -q")


def test_it_imports_neither_os_nor_what_the_language_calls_future():
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r})\n"
        "from batch_implement.hooks import fast_path\nfrom batch_implement.store import sidecar\n"
        "print(*sorted({'os', 're', 'json', '__future__', 'typing'} & set(sys.modules)))"
    )
    words = [sys.executable, "-I", "-S", "-B", "-c", program]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "\n"
