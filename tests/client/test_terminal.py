"""A person at the interactive client, in tmux: they start a batch, interrupt it, talk, leave, come back."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest
from client import Client, Terminal
from scripted_model import Request, Role, Script, ScriptedModel, Turn, call, say

import scripts
from scripts import OVER, SKILL, in_terminal, interrupted, list_features, one_file, state_of, subjects, turns

Models = Callable[..., ScriptedModel]
Clients = Callable[..., Client]
Terminals = Callable[..., Terminal]

GO = "/batch-implement features.txt"
RESUME = "/batch-implement --resume"
WAITS = "The batch waits for your answer"
REMINDER = "[batch-implement reminder]"
MARK = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
BUSY = "esc to interrupt"
"""Stands on the screen as long as a turn goes on, its Stop hook included."""

PATIENCE = 150.0
"""Seconds to wait for what must come: enough on a machine that has much else to do."""

FOR_EVER = 600.0
"""Seconds that no test waits: the end of the test cuts them short."""

BOTH = ["Add feature-1.txt", "Add feature-2.txt"]
TAKEN_UP = ["Add feature-1.txt", "Add note.txt", "Add feature-2.txt"]
"""The commits when the worker of feature 1 was interrupted: it had made the first, its successor found the note."""


def listens(request: Request) -> Script:
    """A coordinator that does what it is told, and answers what a person says."""
    while True:
        request = yield answer_to(request)


def answer_to(request: Request) -> Turn:
    """What a good coordinator does now."""
    new = request.last_text()
    if "Which animal?" in new:
        return say("A rhinoceros. Shall I go on?")
    if "<bash-input>" in new:
        return say("I see. Shall I go on?")
    if OVER.search(new):
        return say("All done.")
    return SKILL if "Call the Skill tool" in new else say("What now?")


@dataclass
class Desk:
    """A person's place: a project with two features, a terminal with the client in it, the model behind it."""

    project: Path
    model: ScriptedModel
    client: Client
    terminal: Terminal
    open: Terminals

    def type_and_see(self, text: str, answer: str) -> None:
        """Type a text and wait until `answer` was written once more and the client is idle."""
        before = self.terminal.history().count(answer)
        self.terminal.type(text)

        def answered(screen: str) -> bool:
            return BUSY not in screen and self.terminal.history().count(answer) > before

        self.terminal.wait_until(answered, PATIENCE, f"{answer!r} after {text!r}")

    def see(self, text: str) -> None:
        """Wait until a text is on the screen."""
        self.terminal.wait_for(text, PATIENCE)

    def choose(self, label: str) -> None:
        """Take a choice of the dialog on the screen, each key once what the one before it did is seen."""
        while f". {label}" not in self.marked():
            before = self.marked()
            self.terminal.keys("Down")
            self.terminal.wait_until(lambda screen, before=before: self.marked() != before, PATIENCE, "another choice")
        self.terminal.keys("Enter")

    def marked(self) -> str:
        """The line of a dialog that its mark stands on."""
        return next((line for line in reversed(self.lines()) if line.startswith(MARK)), "")

    def interrupt(self) -> None:
        """Press Esc once the model thinks for ever."""
        self.model.wait_for(lambda model: any(is_for_ever(request) for request in model.requests), PATIENCE)
        self.terminal.keys("Escape")
        self.see("Interrupted")

    def lines(self) -> list[str]:
        """The lines on the screen, each without the blanks around it."""
        return [line.strip() for line in self.terminal.screen().splitlines()]

    def wait_for_state(self, predicate: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The batch's state, as soon as the predicate holds for it."""
        self.terminal.wait_until(lambda screen: predicate(state_of(self.project)), PATIENCE, "the state")
        return state_of(self.project)

    def start_again(self, *arguments: str) -> None:
        """Start another client in a terminal of its own, in the place of the one before."""
        self.terminal = self.open(self.client, extra_args=arguments)
        self.terminal.wait_until_ready(PATIENCE)

    def last(self, role: str = "coordinator") -> Request:
        """The last request of a role."""
        return self.model.of(role)[-1]


def is_for_ever(request: Request) -> bool:
    """Whether the answer to this request never comes."""
    return request.turn is not None and request.turn.delay == FOR_EVER


@pytest.fixture
def desk(scripted: Models, client_for: Clients, terminal_for: Terminals, project: Path) -> Callable[..., Desk]:
    """Makes desks: `desk(coordinator, worker, mode=...)`, the client ready for a prompt."""

    def make(coordinator: Role = listens, worker: Role | None = None, mode: str = "bypassPermissions") -> Desk:
        list_features(project, "add one", "add two")
        model = scripted(coordinator=coordinator, worker=worker or scripts.worker())
        client = client_for(model)
        terminal = terminal_for(client, mode=mode)
        terminal.wait_until_ready(PATIENCE)
        return Desk(project, model, client, terminal, terminal_for)

    return make


@pytest.fixture
def halted(desk: Callable[..., Desk]) -> Desk:
    """A desk where a person pressed Esc while the first worker was at work: it had committed, and left a note."""
    at_work = desk(worker=interrupted(say("Never said.").after(FOR_EVER), at=1))
    at_work.terminal.type(GO)
    at_work.interrupt()
    return at_work


def finish(at: Desk, typed: str = RESUME, commits: list[str] = TAKEN_UP) -> None:
    """Type what sets the batch going again, and see that it completes with nothing lost and nothing done twice."""
    at.type_and_see(typed, "All done.")
    state = at.wait_for_state(lambda state: state["status"] == "completed")
    assert state["completed_features"] == [0, 1] and not state["retry_attempts"]
    assert subjects(at.project) == commits


# -- a batch from start to end ----------------------------------------------------------------------------------------


def test_a_command_typed_bare_runs_two_features_and_the_coordinator_waits_for_each_worker(
    desk: Callable[..., Desk],
) -> None:
    at = desk(mode="default")
    at.type_and_see(GO, "All done.")
    assert [role for role, _ in itertools.groupby(turns(at.model))] == ["coordinator", *["worker", "coordinator"] * 2]
    assert "reported a problem" not in at.terminal.history()  # No stop was sent on.
    assert "hook failed" not in at.terminal.history()  # No hook was in trouble.
    assert "Feature 2 is done. 2 of 2 done" in " ".join(at.terminal.history().split())
    assert subjects(at.project) == BOTH
    state = at.wait_for_state(lambda state: state["owner"]["pid"] is None)
    assert (state["status"], sorted(state["evidence"])) == ("completed", ["0", "1"])


@pytest.mark.prove
def test_in_a_terminal_the_model_may_ask_the_person(desk: Callable[..., Desk]) -> None:
    def asks(request: Request) -> Script:
        options = [{"label": "Red", "description": "as fire"}, {"label": "Blue", "description": "as ice"}]
        question = {"question": "Which colour?", "header": "Colour", "multiSelect": False, "options": options}
        request = yield call("AskUserQuestion", questions=[question])
        assert not request.error and '"Which colour?"="Blue"' in request.last_text()
        request = yield SKILL
        yield from listens(request)

    at = desk(asks, mode="auto")
    at.terminal.type(GO)
    at.see("Which colour?")
    at.choose("Blue")
    at.see("All done.")
    assert state_of(at.project)["policy"]["unattended"] is False
    assert subjects(at.project) == BOTH


# -- a person interrupts and talks ------------------------------------------------------------------------------------


@pytest.mark.prove
def test_after_escape_the_feature_stays_open_a_question_is_answered_and_resume_takes_it_up(halted: Desk) -> None:
    held = state_of(halted.project)
    assert (held["status"], held["active"]["feature_index"]) == ("in_progress", 0)
    assert (halted.project / "note.txt").exists()
    halted.type_and_see("Which animal?", WAITS)
    assert "● A rhinoceros. Shall I go on?" in halted.lines()
    halted.type_and_see("!batchctl status", WAITS)
    assert "Running: feature 1, attempt 1, phase commit." in halted.lines()
    halted.type_and_see("Which animal?", WAITS)
    assert turns(halted.model)[-4:] == ["worker", *["coordinator"] * 3]
    assert state_of(halted.project)["active"] == held["active"]
    before = len(halted.model.of("worker"))
    finish(halted)
    assert "Uncommitted, from before: note.txt" in halted.model.of("worker")[before].text()


@pytest.mark.prove
def test_a_bash_mode_command_right_after_escape_does_not_drive_the_batch_on(halted: Desk) -> None:
    halted.type_and_see("!ls", WAITS)  # The client makes a turn of its own for it, with a stop and without a prompt.
    assert "● I see. Shall I go on?" in halted.lines()
    assert turns(halted.model)[-2:] == ["worker", "coordinator"]


@pytest.mark.prove
def test_a_question_typed_while_a_worker_works_is_answered_and_not_driven_over(desk: Callable[..., Desk]) -> None:
    asked = threading.Event()

    def steps(number: int) -> Iterator[Turn]:
        yield from one_file(number)
        assert asked.wait(PATIENCE)

    at = desk(worker=scripts.worker(steps))
    at.terminal.type(GO)
    at.model.wait_for(lambda model: len(model.of("worker")) > 2, PATIENCE)
    at.terminal.type("Which animal?")
    at.see("Queued")
    asked.set()
    at.see(WAITS)
    assert "● A rhinoceros. Shall I go on?" in at.lines()
    assert state_of(at.project)["completed_features"] == [0]
    assert turns(at.model)[-2:] == ["worker", "coordinator"]
    finish(at, commits=BOTH)


@pytest.mark.prove
def test_a_batch_that_a_person_paused_and_changes_waits_until_a_verb_sets_it_going(halted: Desk) -> None:
    halted.type_and_see("/batchctl pause", "is paused. Feature 1 stays open.")
    state = state_of(halted.project)
    assert (state["status"], state["owner"]["pid"]) == ("paused", None)
    halted.type_and_see("Which animal?", "A rhinoceros.")
    halted.type_and_see("!batchctl pause", "is for the user")  # In Bash mode nothing tells a person from the model.
    halted.type_and_see("/batchctl skip 2", "Feature 2 is skipped.")
    assert turns(halted.model)[-3:] == ["worker", *["coordinator"] * 2]
    finish(halted, "/batchctl retry 2")
    assert "Pending again: feature 2." in halted.last().text()
    assert "is paused" not in halted.last().text()


# -- the window is emptied, or left -----------------------------------------------------------------------------------


def test_after_clear_the_new_session_is_told_in_one_line_and_resume_goes_on(halted: Desk) -> None:
    halted.terminal.type("/clear")
    first = halted.wait_for_state(lambda state: state["owner"]["pid"] is None)["owner"]["session_id"]
    halted.type_and_see("Which animal?", "A rhinoceros.")
    new = halted.last()
    assert new.session != first
    [told] = [line for line in new.text().splitlines() if "[batch-implement]" in line]
    assert "an unfinished batch" in told and "0 of 2 done" in told and RESUME in told
    assert WAITS not in halted.terminal.screen()  # This session holds no batch.
    finish(halted)
    assert state_of(halted.project)["owner"]["session_id"] == new.session


@pytest.mark.prove
@pytest.mark.parametrize("way", ["Ctrl-C and --continue", "/exit and --resume"])
def test_leaving_ends_the_lease_and_the_conversation_taken_up_again_is_reminded(halted: Desk, way: str) -> None:
    if way.startswith("/exit"):
        halted.terminal.type("/exit")
    else:
        halted.terminal.keys("C-c", "C-c")  # The second counts for a second only: both at once.
    halted.terminal.wait_until(lambda screen: not halted.terminal.running(), PATIENCE, "the client's end")
    left = state_of(halted.project)
    assert (left["status"], left["owner"]["pid"]) == ("in_progress", None)
    session = left["owner"]["session_id"]
    halted.start_again(*(["--resume", session] if way.startswith("/exit") else ["--continue"]))
    halted.type_and_see("!ls" if way.startswith("/exit") else "Which animal?", WAITS)
    assert halted.last().session == session
    assert halted.last().text().count(REMINDER) == 1
    assert "Now: feature 1 of 2, attempt 1, phase commit." in halted.last().text()
    finish(halted)


@pytest.mark.prove
def test_compact_between_features_brings_the_reminder_once_and_a_word_goes_on(desk: Callable[..., Desk]) -> None:
    def thinks_between(request: Request) -> Script:
        yield SKILL
        request = yield SKILL.after(FOR_EVER)
        yield from listens(request)

    at = desk(thinks_between)
    at.terminal.type(GO)
    at.interrupt()
    at.type_and_see("/compact", "Compacted")
    [summary] = at.model.summaries
    assert "feature 2 of 2; 1 of 2 done" in summary.text()
    finish(at, "Go on.", BOTH)
    told = next(request for request in at.model.of("coordinator") if request.number > summary.number).text()
    assert told.count(REMINDER) == 1
    assert "Now: feature 2 of 2, pending." in told and "Call the Skill tool" in told
    assert state_of(at.project)["auto_clear_count"] == 1


@pytest.mark.prove
def test_compact_with_a_feature_open_tells_the_coordinator_to_call_the_skill(halted: Desk) -> None:
    halted.type_and_see("/compact", "Compacted")
    [summary] = halted.model.summaries
    assert "next command: Skill batch-implement:auto-implement" in summary.text()
    finish(halted)


# -- what is only shown -----------------------------------------------------------------------------------------------


@pytest.mark.prove
def test_what_only_informs_is_shown_with_its_line_breaks_and_costs_no_turn(desk: Callable[..., Desk]) -> None:
    at = desk()
    in_terminal(at.client, "create", "features.txt")
    at.type_and_see("/batchctl status", "Next: feature 1.")
    assert {"1  pending  add one", "2  pending  add two", "Next: feature 1."} <= set(at.lines())
    at.type_and_see("/batch-implement nosuch.txt", "nosuch.txt: file not found.")
    at.type_and_see("/batch-implement features.txt --dry-run --sure", "Unrecognized arguments: --sure.")
    assert any(line.startswith("`/batch-implement --help` lists the options.") for line in at.lines())
    at.type_and_see("/batch-implement --help", "archive an unfinished batch and start this one")
    at.type_and_see("/batchctl --help", "end the batch and archive it")
    at.type_and_see("/batchctl skip -h", "Skip a feature and those that need it.")
    assert "UserPromptExpansion operation blocked" in at.terminal.screen()
    at.type_and_see("Which animal?", "A rhinoceros.")
    assert turns(at.model) == ["coordinator"]
