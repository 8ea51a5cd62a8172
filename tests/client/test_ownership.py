"""Whose batch it is, in the real client: what is killed is taken up, and a second window leaves the first alone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from batch_implement.core import prompts
from client import Client, Result, Running
from scripted_model import Request, Script, ScriptedModel, Turn, say

import scripts
from scripts import batchctl, in_terminal, list_features, one_file, sent_on, state_of, subjects, told, turns

Models = Callable[..., ScriptedModel]
Clients = Callable[..., Client]

GO = "/batch-implement features.txt"
RESUME = "/batch-implement --resume"
DONE_ONCE = ["Add feature-1.txt", "Add feature-2.txt", "Add note.txt"]
"""What is in git after two features, the second one begun by a worker that died and ended by another."""


@pytest.fixture
def two(project: Path) -> Path:
    """The project with a list of two features."""
    list_features(project, "add one", "add two")
    return project


# -- the client dies --------------------------------------------------------------------------------------------------


@pytest.fixture
def midway(scripted: Models) -> ScriptedModel:
    """A model whose first worker at feature 2 commits, leaves a file uncommitted, and then thinks for ever."""
    return scripted(coordinator=scripts.coordinator, worker=scripts.interrupted(say("Never said.").after(300)))


def run_until_midway(client: Client, model: ScriptedModel) -> Running:
    """A run of the batch that is in the middle of feature 2."""
    running = client.start(GO)
    running.wait_until(lambda run: any("note.txt" in request.last_text() for request in model.of("worker")), 120)
    return running


def assert_taken_up(model: ScriptedModel, project: Path) -> None:
    """Feature 2 was begun twice and done once, the second worker saw what lay there, and no attempt was counted."""
    openings = scripts.openings(model)
    assert [scripts.feature_number(opening) for opening in openings] == [1, 2, 2]
    for words in ("Feature 2 of 2, attempt 1. ", *scripts.LYING):
        assert words in openings[-1].text()
    assert subjects(project) == DONE_ONCE
    state = state_of(project)
    assert (state["status"], state["completed_features"]) == ("completed", [0, 1])
    assert (state["retry_attempts"], state["attempts"], state["failed_features"]) == ({}, {}, [])
    assert len(state["evidence"]["1"]["commits"]) == 2


def test_a_killed_client_is_followed_by_a_new_one_with_resume(
    midway: ScriptedModel, client_for: Clients, two: Path
) -> None:
    client = client_for(midway)
    killed = run_until_midway(client, midway).kill()
    assert killed.exit_code == -signal.SIGKILL
    assert state_of(two)["owner"]["pid"] is not None
    resumed = client.run(RESUME)
    assert (resumed.text, sent_on(resumed)) == ("All done.", [])
    assert resumed.session != killed.session
    assert state_of(two)["owner"]["session_id"] == resumed.session
    assert_taken_up(midway, two)


@pytest.mark.prove
def test_a_killed_session_that_is_resumed_has_its_batch_again(
    midway: ScriptedModel, client_for: Clients, two: Path
) -> None:
    heard: list[tuple[str, int]] = []

    def goes_on(request: Request) -> Script:
        while not scripts.OVER.search(request.last_text()):
            if "Go on, please." in request.last_text():
                heard.append((request.last_text(), state_of(two)["owner"]["pid"]))
            request = yield scripts.SKILL
        yield say("All done.")

    midway.roles["coordinator"] = goes_on
    client = client_for(midway)
    killed = run_until_midway(client, midway).kill()
    resumed = client.start("Go on, please.", extra_args=["--resume", killed.session])
    assert resumed.wait().text == "All done."
    [(text, owner)] = heard
    assert owner == resumed.pid
    assert prompts.REMINDER_MARK in text and "feature 2 of 2, attempt 1, phase commit" in text
    assert state_of(two)["owner"]["session_id"] == killed.session
    assert_taken_up(midway, two)


@pytest.mark.prove
def test_a_question_in_a_killed_session_that_is_resumed_is_answered_and_not_driven_over(
    midway: ScriptedModel, client_for: Clients, two: Path
) -> None:
    midway.roles["coordinator"] = scripts.answers
    client = client_for(midway)
    killed = run_until_midway(client, midway).kill()
    same = ["--resume", killed.session]
    asked = client.run("Which animal?", extra_args=same)
    assert (asked.text, sent_on(asked)) == (scripts.RHINOCEROS, [])
    assert RESUME in told(asked)
    assert len(midway.conversations("worker")) == 2
    assert client.run(RESUME, extra_args=same).text == "All done."
    assert_taken_up(midway, two)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.prove), signal.SIGINT])
def test_a_client_that_is_ended_in_the_middle_gives_up_its_lease(
    midway: ScriptedModel, client_for: Clients, two: Path, number: int
) -> None:
    client = client_for(midway)
    running = run_until_midway(client, midway)
    running.process.send_signal(number)
    ended = running.wait()
    state = state_of(two)
    assert (state["status"], state["active"]["feature_index"]) == ("in_progress", 1)
    assert (state["owner"]["session_id"], state["owner"]["pid"]) == (ended.session, None)
    assert client.run(RESUME).text == "All done."
    assert_taken_up(midway, two)


def test_a_new_session_is_told_in_one_line_of_a_batch_that_nobody_works_on(
    midway: ScriptedModel, scripted: Models, client_for: Clients, two: Path
) -> None:
    run_until_midway(client_for(midway), midway).kill()
    before = state_of(two)
    model = scripted(coordinator=talks)
    result = client_for(model).run("Good morning.")
    [line] = [line for line in model.of("coordinator")[0].text().splitlines() if "[batch-implement]" in line]
    for words in (before["batch_id"], "1 of 2 done", RESUME):
        assert words in line
    assert (result.text, sent_on(result)) == ("Good morning.", [])
    assert state_of(two) == before


# -- a second client ---------------------------------------------------------------------------------------------------


def talks(request: Request) -> Script:
    """A conversation that has nothing to do with a batch."""
    while True:
        yield say("Good morning.")


class AtWork:
    """A client whose worker of feature 1 has committed and waits for `go_on()`."""

    def __init__(self, scripted: Models, client_for: Clients) -> None:
        self._free = threading.Event()
        self.model = scripted(coordinator=scripts.coordinator, worker=scripts.worker(self._steps))
        self.running = client_for(self.model).start(GO)
        self.running.wait_until(lambda run: len(self.model.of("worker")) > 2, 120)

    def _steps(self, number: int) -> Iterator[Turn]:
        yield from one_file(number)
        assert self._free.wait(120), "nobody let it go on"

    @property
    def session(self) -> str:
        """Its session's id."""
        return self.model.requests[0].session

    def go_on(self) -> Result:
        """Let the worker go on; the result, once the client has ended."""
        self._free.set()
        return self.running.wait()

    def finishes(self, project: Path) -> bool:
        """Let it go on; whether it then finishes the batch as if nobody else had been there."""
        text = self.go_on().text
        state = state_of(project)
        once = subjects(project) == ["Add feature-1.txt", "Add feature-2.txt"]
        return text == "All done." and state["status"] == "completed" and state["attempts"] == {} and once


@pytest.fixture
def first(scripted: Models, client_for: Clients, two: Path) -> Iterator[AtWork]:
    """The client that has the batch."""
    at_work = AtWork(scripted, client_for)
    yield at_work
    at_work._free.set()


def heard_nothing(model: ScriptedModel, project: Path) -> bool:
    """Whether no request of this model holds anything of the batch."""
    said = "\n".join(request.text() for request in model.requests)
    return not [w for w in (state_of(project)["batch_id"], "[batch-implement", "You run batch", "is next") if w in said]


def test_a_second_client_gets_no_workflow_and_its_stops_are_its_own(
    first: AtWork, scripted: Models, client_for: Clients, two: Path
) -> None:
    model = scripted(coordinator=talks)
    before = state_of(two)
    result = client_for(model).run("Good morning.")
    assert result.text == "Good morning."
    assert [hook.answer() for hook in result.hooks()] == [{}] * len(result.hooks())
    assert len(result.hooks("Stop")) == 1 and len(turns(model)) == 1
    assert heard_nothing(model, two)
    assert state_of(two) == before
    assert first.finishes(two)


@pytest.mark.parametrize("forked", [[], pytest.param(["--fork-session"], marks=pytest.mark.prove)])
def test_a_second_client_that_resumed_the_same_conversation_is_a_stranger(
    first: AtWork, scripted: Models, client_for: Clients, two: Path, forked: list[str]
) -> None:
    model = scripted(coordinator=talks)
    before = state_of(two)
    result = client_for(model).run("Good morning.", extra_args=["--resume", first.session, *forked])
    assert (result.session == first.session) == (not forked)
    assert (result.text, len(turns(model))) == ("Good morning.", 1)
    assert [hook.answer() for hook in result.hooks()] == [{}] * len(result.hooks())
    assert prompts.REMINDER_MARK not in model.of("coordinator")[0].text()
    assert state_of(two) == before
    assert state_of(two)["owner"]["pid"] == first.running.pid
    assert first.finishes(two)


@pytest.mark.parametrize(
    "typed",
    [
        f"{GO} --replace",
        RESUME,
        *(
            pytest.param(text, marks=pytest.mark.prove)
            for text in (GO, "/auto-implement add three", "/batchctl resume")
        ),
    ],
)
def test_a_second_clients_commands_say_whose_the_batch_is_and_what_it_can_do(
    first: AtWork, scripted: Models, client_for: Clients, two: Path, typed: str
) -> None:
    model = scripted(coordinator=talks)
    before = state_of(two)
    result = client_for(model).run(typed)
    for words in (first.session, f"process {first.running.pid} ", "batchctl status", "batchctl pause"):
        assert words in result.text
    assert turns(model) == []
    assert state_of(two) == before
    assert first.finishes(two)


def test_a_stranger_cannot_use_the_verbs_of_the_batch(
    first: AtWork, scripted: Models, client_for: Clients, two: Path
) -> None:
    refused: list[str] = []

    def meddles(request: Request) -> Script:
        for words in (["start"], ["phase", "plan"], ["done"], ["fail", "--reason", "x"], ["decide", "a", "b"]):
            request = yield batchctl(*words)
            refused.extend(result.text for result in request.tool_results() if result.error)
        request = yield scripts.SKILL
        refused.append(request.last_text())
        yield say("I may do nothing.")

    before = state_of(two)
    result = client_for(scripted(coordinator=meddles)).run("Help.", mode="bypassPermissions")
    assert result.text == "I may do nothing."
    assert len(refused) == 6
    for text in refused:
        assert first.session in text and f"process {first.running.pid} " in text
    assert state_of(two) == before
    assert first.finishes(two)


# -- a person ends the hold --------------------------------------------------------------------------------------------


@pytest.mark.prove
def test_a_pause_in_a_terminal_ends_the_hold_of_the_client_that_works(
    first: AtWork, client_for: Clients, two: Path
) -> None:
    person = client_for(first.model)
    assert "is paused" in in_terminal(person, "pause", "--reason", "lunch")
    assert state_of(two)["owner"]["pid"] is None
    result = first.go_on()
    done, *later = [r for r in first.model.of("worker") if "paused: lunch" in r.last_text()]
    assert done.error and not later
    assert "paused: lunch" in first.model.of("coordinator")[-1].last_text()
    assert (result.text, sent_on(result)) == ("All done.", [])
    state = state_of(two)
    assert (state["status"], state["completed_features"], state["active"]["feature_index"]) == ("paused", [], 0)
    assert (state["attempts"], state["active"]["interruptions"]) == ({}, 0)
    resumed = person.run(RESUME)
    assert resumed.text == "All done."
    assert state_of(two)["status"] == "completed"


@pytest.mark.prove
def test_an_abort_in_a_terminal_ends_the_hold_of_the_client_that_works(
    first: AtWork, client_for: Clients, two: Path
) -> None:
    batch = state_of(two)["batch_id"]
    assert "is aborted" in in_terminal(client_for(first.model), "abort")
    result = first.go_on()
    [done] = [request for request in first.model.of("worker") if "There is no batch" in request.last_text()]
    assert done.error
    assert "There is no batch" in first.model.of("coordinator")[-1].last_text()
    assert (result.text, sent_on(result), told(result)) == ("All done.", [], "")
    assert not (two / ".claude" / "batch_state.json").exists()
    assert (two / ".git" / "batch-implement" / "archive" / f"{batch}.json").exists()
    assert subjects(two) == ["Add feature-1.txt"]
