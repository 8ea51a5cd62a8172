"""Which agent may report on the open feature, and that one worker is at work at a time."""

from __future__ import annotations

import os

import pytest
from batch_implement.commands import feature_commands
from batch_implement.commands.authorization import Caller
from batch_implement.commands.command import CommandContext
from batch_implement.core import lease, transitions
from batches import NOW, new_batch, owner

SKILL = {"skill": "batch-implement:auto-implement"}
REPORTS = ["batchctl done", "batchctl fail --reason x", "batchctl phase plan", "cd src && batchctl done --wait 5"]


def worker(agent):
    return {"agent_id": agent, "agent_type": "batch-implement:worker"}


@pytest.fixture
def fire(hook):
    """Return a function that fires an event in session `s-1` and returns its decision and reason, or its output."""

    def send(event, tool="", **payload):
        output = hook(event, tool, **payload)
        return output["hookSpecificOutput"] if output else None

    return send


@pytest.fixture
def bash(fire):
    """Return a function that returns why a shell command is denied, None if it is not."""

    def run(command, **agent):
        answer = fire("PreToolUse", "Bash", tool_input={"command": command}, **agent)
        return answer["permissionDecisionReason"] if answer else None

    return run


@pytest.fixture
def skill(fire):
    """Return a function that makes a Skill call of the coordinator and returns the decision on it."""

    def call(call_id, prompt="p"):
        answer = fire("PreToolUse", "Skill", tool_input=SKILL, tool_use_id=call_id, prompt_id=prompt)
        return answer["permissionDecision"] if answer else None

    return call


@pytest.fixture
def begin(store):
    """Return a function that creates a batch of this session, its first feature open."""

    def make(mode="auto-implement", **fields):
        store.create(new_batch(3, owner={**owner("s-1"), **fields}, mode=mode))
        store.update(lambda state: lease.record_prompt(state, "p"))
        return store.update(lambda state: transitions.start(state, NOW, None))

    return make


@pytest.mark.parametrize("command", REPORTS)
def test_only_the_first_worker_that_reports_may_go_on_doing_so(bash, begin, store, command):
    begin()
    assert bash("batchctl phase test", **worker("a-1")) is None
    assert store.read()["active"]["worker"] == "a-1"
    assert "another worker has feature 1" in bash(command, **worker("a-2"))
    assert "is for the worker of feature 1" in bash(command)
    assert bash(command, **worker("a-1")) is None


@pytest.mark.parametrize("command", ["batchctl status", "batchctl brief", "make test", "echo batchctl is done"])
def test_other_commands_are_everybodys(bash, begin, command):
    begin()
    bash("batchctl phase test", **worker("a-1"))
    assert bash(command, **worker("a-2")) is None
    assert bash(command) is None


def test_no_other_agent_reports_even_before_the_worker_did(bash, begin, store):
    begin()
    reviewer = {"agent_id": "r-1", "agent_type": "batch-implement:reviewer"}
    assert "Answer it what you were asked for" in bash("batchctl done", **reviewer)
    assert "worker" not in store.read()["active"]


def test_another_start_frees_the_feature_for_the_next_worker(bash, begin, store):
    begin()
    bash("batchctl phase test", **worker("a-1"))
    feature_commands.start(CommandContext(store.project, Caller("s-1", os.getpid(), is_user=False)))
    assert (store.read()["active"]["attempt"], store.read()["active"].get("worker")) == (1, None)
    assert bash("batchctl done", **worker("a-2")) is None
    assert "another worker has feature 1" in bash("batchctl done", **worker("a-1"))


def test_the_next_feature_is_free_for_its_worker(bash, begin, store):
    begin()
    bash("batchctl phase test", **worker("a-1"))
    store.update(lambda state: transitions.complete(state, NOW, {"commit": "c0ffee", "verify": None}))
    store.update(lambda state: transitions.start(state, NOW, None))
    assert bash("batchctl done", **worker("a-2")) is None


@pytest.mark.parametrize(("mode", "fields"), [("direct", {}), ("auto-implement", {"driven": True})])
def test_where_there_is_no_worker_the_session_counts_alone(bash, begin, store, mode, fields):
    begin(mode, **fields)
    for agent in ({}, worker("a-1"), worker("a-2")):
        assert bash("batchctl done", **agent) is None
    assert "worker" not in store.read()["active"]


def test_the_conversation_may_report_while_no_worker_does(bash, begin):
    begin()
    assert bash("batchctl done") is None


def test_a_second_worker_is_denied_while_one_works(skill, fire, begin, store):
    begin()
    assert skill("t-1") == "allow"
    assert skill("t-2") == "deny"
    assert skill("t-1") == "allow"
    fire("PostToolUse", "Skill", tool_input=SKILL, tool_use_id="t-1", tool_response={"result": "bye"}, prompt_id="p")
    assert "call" not in store.read()["continuation"]
    assert skill("t-2") == "allow"


def test_the_end_of_a_worker_that_no_other_hook_tells_frees_the_next(skill, fire, begin):
    begin()
    assert skill("t-1") == "allow"
    fire("SubagentStop", last_assistant_message="Bye.", stop_hook_active=True, **worker("a-1"))
    assert skill("t-2") == "allow"


def test_a_worker_of_an_earlier_turn_is_not_waited_for(skill, begin):
    begin()
    assert skill("t-1") == "allow"
    assert skill("t-2", prompt="q") == "allow"


def test_clients_that_name_no_prompt_are_not_denied_a_worker(skill, begin):
    begin()
    assert [skill("t-1", ""), skill("t-2", "")] == ["allow", "allow"]


@pytest.fixture
def in_run(begin, store):
    """The batch of an attempt in a run."""
    begin("direct")
    return store.update(lambda state: {**state, "attempt_of": {"batch_id": "b", "feature_number": 2}})


@pytest.mark.parametrize(
    "command",
    ["git stash", "git stash -u", "git stash push -m x -- f", "git stash pop", "git -C sub stash drop",
     "git stash clear", "make test || git stash save x", "git stash apply", "sh -c 'git stash'"],
)  # fmt: skip
def test_stashes_are_denied_in_a_run_and_the_commit_instead_is_named(bash, in_run, command):
    reason = bash(command)
    assert reason is not None and "share one list of stashes" in reason and "git commit" in reason
    assert reason == bash(command, **worker("a-1"))


@pytest.mark.parametrize("command", ["git stash list", "git stash show -p", "git log -- stash.py", "git stash --help"])
def test_commands_that_only_read_stashes_are_allowed_in_a_run(bash, in_run, command):
    assert bash(command) is None


def test_outside_of_a_run_stashes_are_the_owners(bash, begin):
    begin()
    assert bash("git stash") is None
