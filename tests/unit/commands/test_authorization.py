"""Who calls, and what each may do."""

from __future__ import annotations

import os

import pytest
from batch_implement.base import process_identity
from batch_implement.base.project_paths import Project
from batch_implement.commands import authorization
from batch_implement.commands.authorization import Caller
from batch_implement.core.errors import RefusedError
from batches import NOW, completed, new_batch, owner

MODEL = {"CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": "s-1", "CLAUDE_PID": str(os.getppid())}
A_PERSON_AT_A_TERMINAL = Caller("", None, is_user=True)


@pytest.fixture
def project(repository):
    """The scratch repository's places."""
    return Project(str(repository))


@pytest.mark.parametrize(
    ("environ", "session_id", "pid", "person"),
    [
        ({}, "", None, True),
        (MODEL, "s-1", os.getppid(), False),
        ({"CLAUDECODE": "1"}, "", None, False),
        ({"CLAUDE_CODE_SESSION_ID": "s-1", "CLAUDE_PID": "7"}, "s-1", 7, False),
        ({"CLAUDECODE": "0", "CLAUDE_PID": "7"}, "", None, True),
        ({**MODEL, "CLAUDE_CODE_SESSION_ID": "two words"}, "", os.getppid(), False),
    ],
)
def test_whoever_runs_under_a_client_is_the_model(environ, session_id, pid, person):
    caller = authorization.caller_from_environment(environ)
    assert (caller.session_id, caller.pid, caller.is_user) == (session_id, pid, person)


@pytest.mark.parametrize(
    ("environ", "unattended"),
    [
        ({"CLAUDE_CODE_SESSION_ATTENDED": "0"}, True),
        ({"CLAUDE_CODE_ENTRYPOINT": "sdk-cli"}, True),
        ({"CLAUDE_CODE_SESSION_ATTENDED": "1", "CLAUDE_CODE_ENTRYPOINT": "cli"}, False),
        ({}, False),
    ],
)
def test_a_slash_command_is_a_persons_who_may_not_be_there_any_more(environ, unattended):
    caller = authorization.caller_from_hook("s-1", {**environ, "CLAUDE_PID": "7"})
    assert (caller.is_user, caller.session_id, caller.pid, caller.unattended) == (True, "s-1", 7, unattended)


def test_a_lease_is_taken_only_by_a_client():
    assert A_PERSON_AT_A_TERMINAL.new_owner(NOW) is None
    assert Caller("s-1", os.getpid(), is_user=True).new_owner(NOW) == owner("s-1")


@pytest.mark.parametrize("command", sorted(authorization.USER_COMMANDS))
def test_the_commands_of_the_user_are_refused_to_the_model_and_say_what_to_do(command):
    with pytest.raises(RefusedError) as caught:
        authorization.require_user(command, authorization.caller_from_environment(MODEL), None)
    assert f"`batchctl {command}` is for the user" in caught.value.message
    assert "Continue with the open feature" in caught.value.message


@pytest.mark.parametrize("command", ["status", "done", "phase", "validate", "doctor"])
def test_other_commands_are_not_refused(command):
    authorization.require_user(command, authorization.caller_from_environment(MODEL), new_batch(1))


def test_a_person_may_at_a_terminal_and_as_a_slash_command():
    state = new_batch(1, owner=owner("s-1", os.getppid()))
    authorization.require_user("pause", A_PERSON_AT_A_TERMINAL, new_batch(1))
    authorization.require_user("pause", Caller("s-1", os.getppid(), is_user=True), state)


def test_a_child_of_the_client_that_holds_the_batch_is_the_model_whatever_its_environment_says():
    state = new_batch(1, owner=owner("s-1", os.getppid()))
    with pytest.raises(RefusedError, match="for the user"):
        authorization.require_user("pause", A_PERSON_AT_A_TERMINAL, state)


def test_the_client_that_holds_the_batch_may_work_on_it(project):
    state = new_batch(1, owner=owner("s-1"))
    authorization.require_owner(state, Caller("s-1", os.getpid(), is_user=False), project)


def test_a_person_at_a_terminal_may_when_no_client_does(project):
    authorization.require_owner(new_batch(1), A_PERSON_AT_A_TERMINAL, project)
    with pytest.raises(RefusedError):
        authorization.require_owner(new_batch(1, owner=owner("s-1")), A_PERSON_AT_A_TERMINAL, project)


def test_another_client_is_told_who_has_it_and_what_it_can_do(project):
    state = new_batch(1, owner=owner("s-1"))
    with pytest.raises(RefusedError) as caught:
        authorization.require_owner(state, Caller("s-2", 1, is_user=False), project)
    for words in (
        "session s-1",
        f"process {os.getpid()} on {process_identity.get_host_name()}",
        "batchctl pause",
        "--resume",
    ):
        assert words in caught.value.message


def test_a_session_that_has_not_taken_over_is_told_how_a_person_does_that(project):
    with pytest.raises(RefusedError, match=r"no client working on it.*--resume"):
        authorization.require_owner(new_batch(1), Caller("s-2", 1, is_user=False), project)


def test_a_batch_that_is_over_says_so_first(project):
    with pytest.raises(RefusedError, match=r"is over \(completed\)"):
        authorization.require_owner(completed(new_batch(1)), Caller("s-2", 1, is_user=False), project)
