"""When a turn ends in the real client: who is sent on, who is let go, and what waits until a person looks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import pytest
from batch_implement.core import prompts
from client import Client, Result, events_of
from scripted_model import Request, Script, ScriptedModel, Turn, call, fail, say

import scripts
from scripts import SKILL, batchctl, list_features, one_file, sent_on, state_of, subjects, told

Models = Callable[..., ScriptedModel]
Clients = Callable[..., Client]

CAP = 8
"""So many blocked stops in a row the client allows."""

GO = "/batch-implement features.txt"


@pytest.fixture
def two(project: Path) -> Path:
    """The project with a list of two features."""
    list_features(project, "add one", "add two")
    return project


def stops_after_each(request: Request) -> Script:
    """A coordinator that stops after each feature, and goes on when it is told to."""
    while not scripts.OVER.search(request.last_text()):
        request = yield SKILL
        if not scripts.OVER.search(request.last_text()):
            request = yield say("One more is in. I stop here.")
    yield say("All done.")


def never_goes_on(request: Request) -> Script:
    """A coordinator that does one feature and then only talks."""
    yield SKILL
    while True:
        yield say("I think that is enough.")


# -- the coordinator stops --------------------------------------------------------------------------------------------


def test_a_stopped_coordinator_is_sent_on_with_the_next_step(scripted: Models, client_for: Clients, two: Path) -> None:
    result = client_for(scripted(coordinator=stops_after_each, worker=scripts.worker())).run(GO)
    [reason] = sent_on(result)
    assert "Feature 2 of 2 is next" in reason and "batch-implement:auto-implement" in reason
    assert result.text == "All done."
    assert state_of(two)["status"] == "completed"
    assert subjects(two) == ["Add feature-1.txt", "Add feature-2.txt"]


def test_three_stops_without_progress_pause_the_batch_and_the_person_is_told(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    model = scripted(coordinator=never_goes_on, worker=scripts.worker())
    result = client_for(model).run(GO)
    assert len(sent_on(result)) == 3 < CAP
    assert len(result.hooks("Stop")) == 4
    assert "paused" in told(result) and "/batch-implement --resume" in told(result)
    state = state_of(two)
    assert (state["status"], state["completed_features"]) == ("paused", [0])
    assert "3 times in a row" in state["pause"]["reason"]
    assert state["owner"]["pid"] is None
    assert result.exit_code == 0 and result.text == "I think that is enough."


@pytest.mark.prove
def test_a_batch_that_was_paused_for_stops_goes_on_with_resume_and_then_has_three_again(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    client = client_for(scripted(coordinator=never_goes_on, worker=scripts.worker()))
    session = client.run(GO).session
    again = client.run("/batch-implement --resume", extra_args=["--resume", session])
    assert len(sent_on(again)) == 3
    assert state_of(two)["status"] == "paused"
    finishing = client_for(scripted(coordinator=scripts.coordinator, worker=scripts.worker()))
    assert finishing.run("/batch-implement --resume").text == "All done."
    assert subjects(two) == ["Add feature-1.txt", "Add feature-2.txt"]


@pytest.mark.prove
def test_twelve_features_with_a_stop_after_each_are_all_done(
    scripted: Models, client_for: Clients, project: Path
) -> None:
    list_features(project, *(f"add number {number}" for number in range(1, 13)))
    result = client_for(scripted(coordinator=stops_after_each, worker=scripts.worker())).run(GO, timeout=400)
    assert len(sent_on(result)) == 11 > CAP
    assert state_of(project)["completed_features"] == list(range(12))
    assert subjects(project) == [f"Add feature-{number}.txt" for number in range(1, 13)]


# -- something still runs ---------------------------------------------------------------------------------------------


@pytest.mark.prove
def test_a_stop_while_a_background_subagent_runs_is_not_blocked(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    stopped = threading.Event()

    def looks(request: Request) -> Script:
        assert stopped.wait(60), "the coordinator never stopped"
        yield say("The rules are fine.")

    def waits(request: Request) -> Script:
        given = {"description": "Look", "prompt": "Look at the rules.", "subagent_type": "general-purpose"}
        yield call("Agent", **given, run_in_background=True)
        request = yield say("I wait for the agent.")
        assert "The rules are fine." in request.last_text()
        yield from scripts.coordinator(request)

    running = client_for(scripted(coordinator=waits, worker=scripts.worker(), other=looks)).start(
        GO, mode="bypassPermissions"
    )
    running.wait_until(lambda run: bool(run.so_far().hooks("Stop")))
    stopped.set()
    result = running.wait()
    assert result.hooks("Stop")[0].answer() == {}
    assert sent_on(result) == []
    assert state_of(two)["status"] == "completed"


@dataclass(frozen=True)
class Server:
    """A process that is left running, as a dev server is: the call that starts it, and where its id then stands."""

    turn: Turn
    note: Path

    def end(self) -> None:
        """Kill it, once. Harmless if it never ran."""
        try:
            os.kill(int(self.note.read_text()), signal.SIGKILL)
            self.note.unlink()
        except (FileNotFoundError, ProcessLookupError):
            pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A dev server; ended with the test."""
    note = tmp_path / "server.pid"
    server = Server(call("Bash", command=f"echo $$ > {note}; exec sleep 300", run_in_background=True), note)
    yield server
    server.end()


@pytest.mark.parametrize("who", [pytest.param("worker", marks=pytest.mark.prove), "coordinator"])
def test_a_dev_server_left_running_does_not_end_the_batch(
    scripted: Models, client_for: Clients, two: Path, server: Server, who: str
) -> None:
    def steps(number: int) -> Iterable[Turn]:
        return [*([server.turn] if number == 1 and who == "worker" else []), *one_file(number)]

    def serves(request: Request) -> Script:
        if who == "coordinator":
            yield server.turn
        yield from stops_after_each(request)

    model = scripted(coordinator=serves, worker=scripts.worker(steps))
    running = client_for(model).start(GO, mode="bypassPermissions")
    running.wait_until(lambda run: bool(run.so_far().final))
    server.end()  # The client itself waits for a shell that its main thread has left running.
    result = running.wait()
    assert len(sent_on(result)) == 1
    assert state_of(two)["status"] == "completed"
    assert subjects(two) == ["Add feature-1.txt", "Add feature-2.txt"]


@pytest.mark.prove
def test_a_coordinator_that_waits_for_a_shell_is_sent_on_once_and_again_when_that_has_ended(
    scripted: Models, client_for: Clients, two: Path, server: Server
) -> None:
    def waits(request: Request) -> Script:
        yield server.turn
        yield from never_goes_on(request)

    model = scripted(coordinator=waits, worker=scripts.worker())
    running = client_for(model).start(GO, mode="bypassPermissions")
    running.wait_until(lambda run: len(run.so_far().hooks("Stop")) == 2)
    assert len(sent_on(running.so_far())) == 1
    assert state_of(two)["status"] == "in_progress"
    server.end()
    result = running.wait()
    assert "<task-notification>" in "".join(request.text() for request in model.of("coordinator"))
    assert len(sent_on(result)) == 3
    assert state_of(two)["status"] == "paused"


# -- a person speaks --------------------------------------------------------------------------------------------------


def ask_in_the_middle(client: Client, model: ScriptedModel, asked: threading.Event) -> Result:
    """A run of `claude -p` that reads prompts from its input: the batch, and a question in its middle."""
    formats = ["--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--include-hook-events"]
    with subprocess.Popen(
        [*client.arguments("default", formats), "-p"], cwd=client.project, env=client.environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.extend(process.stdout or ()), daemon=True)
        reader.start()

        def type_in(text: str) -> None:
            prompt = {"type": "user", "message": {"role": "user", "content": text}}
            process.stdin.write(json.dumps(prompt) + "\n")  # type: ignore[union-attr]

        type_in(GO)
        model.wait_for(lambda m: len(m.of("worker")) > 1, timeout=90)
        type_in("Which animal?")
        model.wait_for(lambda m: "Which animal?" in client.transcripts()[-1].read_text(encoding="utf-8"), timeout=90)
        asked.set()  # The client has noted the question; it gives it to the model when the worker is back.
        model.wait_for(lambda m: any("Which animal?" in r.text() for r in m.of("coordinator")), timeout=90)
        process.stdin.close()
        code = process.wait(120)
        reader.join()
    output = "".join(seen)
    return Result(code, events_of(output), output, "")


def test_after_an_answer_in_the_middle_the_batch_resumes_by_itself(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    asked = threading.Event()

    def steps(number: int) -> Iterator[Turn]:
        yield from one_file(number)
        assert asked.wait(120)

    def answers(request: Request) -> Script:
        while not scripts.OVER.search(request.last_text()):
            request = yield say("A rhinoceros.") if "Which animal?" in request.last_text() else SKILL
        yield say("All done.")

    model = scripted(coordinator=answers, worker=scripts.worker(steps))
    result = ask_in_the_middle(client_for(model), model, asked)
    assert len(sent_on(result)) == 1 and "Call the Skill tool" in sent_on(result)[0]
    assert (result.text, state_of(two)["status"]) == ("All done.", "completed")
    assert subjects(two) == ["Add feature-1.txt", "Add feature-2.txt"]


@pytest.mark.prove
def test_a_question_in_the_middle_is_answered_and_not_driven_over(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    asked = threading.Event()

    def steps(number: int) -> Iterator[Turn]:
        yield from one_file(number)
        assert asked.wait(120)

    model = scripted(coordinator=scripts.answers, worker=scripts.worker(steps))
    client = client_for(model)
    result = ask_in_the_middle(client, model, asked)
    assert sent_on(result) == []
    assert result.text == scripts.RHINOCEROS
    assert "/batch-implement --resume" in told(result)
    state = state_of(two)
    assert (state["status"], state["completed_features"]) == ("in_progress", [0])
    finished = client.run("/batch-implement --resume", extra_args=["--resume", result.session])
    assert finished.text == "All done."
    assert subjects(two) == ["Add feature-1.txt", "Add feature-2.txt"]


# -- the worker stops, or cannot go on ---------------------------------------------------------------------------------


def test_a_worker_that_stops_without_done_is_sent_back_once_and_the_next_one_finds_what_it_did(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    leaves = scripts.interrupted(say("I have done my part."), say("I said so: I have done my part."), at=1)
    model = scripted(coordinator=scripts.coordinator, worker=leaves)
    result = client_for(model).run(GO)
    backs = [hook.answer() for hook in result.hooks("SubagentStop") if hook.answer()]
    assert [back["decision"] for back in backs] == ["block"]
    assert "batchctl done" in backs[0]["reason"] and "committed" in backs[0]["reason"]
    for words in ("attempt 1", "1 worker exited without reporting done or failed", *scripts.LYING):
        assert words in scripts.openings(model)[1].text()
    assert result.text == "All done."
    state = state_of(two)
    assert (state["status"], state["retry_attempts"], state["failed_features"]) == ("completed", {}, [])
    assert subjects(two) == ["Add feature-1.txt", "Add note.txt", "Add feature-2.txt"]


@pytest.mark.prove
def test_a_worker_that_waits_for_a_background_agent_is_sent_back_since_nobody_wakes_it(
    scripted: Models, client_for: Clients, project: Path
) -> None:
    sent_back = threading.Event()

    def looks(request: Request) -> Script:
        sent_back.wait(60)
        yield say("The rules are fine.")

    def waits(request: Request) -> Script:
        given = {"description": "Look", "prompt": "Look at the rules.", "subagent_type": "general-purpose"}
        yield call("Agent", **given, run_in_background=True)
        yield say("I wait for the agent.")
        sent_back.set()
        yield from scripts.worker()(request)

    list_features(project, "add one")
    model = scripted(coordinator=scripts.coordinator, worker=waits, other=looks)
    result = client_for(model).run(GO)
    assert len(model.conversations("worker")) == 1
    [back] = [hook.answer() for hook in result.hooks("SubagentStop") if hook.answer()]
    assert "Nothing wakes you when a background agent ends" in back["reason"]
    assert state_of(project)["status"] == "completed"
    assert subjects(project) == ["Add feature-1.txt"]


@pytest.mark.prove
def test_workers_that_never_close_their_feature_use_up_its_attempts(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    def leaves(request: Request) -> Script:
        number = scripts.feature_number(request)
        if number == 2:
            yield from scripts.worker()(request)
        yield scripts.write("half.txt")
        while True:
            yield say("That should do.")

    model = scripted(coordinator=scripts.coordinator, worker=leaves)
    result = client_for(model).run(f"{GO} --max-retries 1")
    assert [scripts.feature_number(opening) for opening in scripts.openings(model)] == [1, 1, 2, 1, 1]
    assert result.text == "All done."
    state = state_of(two)
    assert (state["status"], state["completed_features"], state["retry_attempts"]) == ("completed", [1], {"0": 2})
    assert "without `batchctl done`" in state["failed_features"][0]["error_message"]
    assert subjects(two) == ["Add feature-2.txt"]
    snapshots = scripts.git(two, "for-each-ref", "--format=%(refname)", f"refs/batch/{state['batch_id']}/").split()
    assert [name.rsplit("/", 1)[1] for name in snapshots] == ["1.1", "1.2"]


ERRORS = {
    "overload": fail(529, "overloaded_error", "Overloaded"),
    "limit": fail(429, "rate_limit_error", "This request would exceed your account's rate limit."),
    "context": fail(400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum"),
}


@pytest.mark.parametrize(
    "kind", [kind if kind == "limit" else pytest.param(kind, marks=pytest.mark.prove) for kind in ERRORS]
)
def test_an_api_error_in_a_worker_costs_no_attempt_and_the_next_one_takes_the_feature_up(
    scripted: Models, client_for: Clients, two: Path, kind: str
) -> None:
    model = scripted(coordinator=scripts.coordinator, worker=scripts.interrupted(ERRORS[kind], at=1))
    result = client_for(model).run(GO)
    for words in ("attempt 1", "1 worker exited without reporting done or failed", *scripts.LYING):
        assert words in scripts.openings(model)[1].text()
    assert len(model.conversations("worker")) == 3
    assert result.text == "All done."
    state = state_of(two)
    assert (state["status"], state["retry_attempts"], state.get("attempts")) == ("completed", {}, {})
    assert subjects(two) == ["Add feature-1.txt", "Add note.txt", "Add feature-2.txt"]


@pytest.mark.prove
def test_api_errors_without_end_pause_the_batch(scripted: Models, client_for: Clients, two: Path) -> None:
    def fails(request: Request) -> Script:
        yield ERRORS["limit"]

    model = scripted(coordinator=scripts.coordinator, worker=fails)
    result = client_for(model).run(GO)
    assert len(model.conversations("worker")) == 5
    state = state_of(two)
    assert (state["status"], state["retry_attempts"], state["failed_features"]) == ("paused", {}, [])
    assert "interrupted 5 times" in state["pause"]["reason"] and "429" in state["pause"]["reason"]
    assert sent_on(result) == []


@pytest.mark.prove
def test_a_refused_key_in_a_worker_pauses_the_batch_and_says_why(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    refused = fail(401, "authentication_error", "invalid x-api-key")
    model = scripted(coordinator=scripts.coordinator, worker=scripts.interrupted(refused, at=1))
    client = client_for(model)
    result = client.run(GO)
    state = state_of(two)
    assert (state["status"], state["retry_attempts"], state["active"]["feature_index"]) == ("paused", {}, 0)
    assert "(auth): Invalid API key" in state["pause"]["reason"]
    assert "is paused" in model.of("coordinator")[-1].last_text()
    assert "Invalid API key" in model.of("coordinator")[-1].last_text()
    assert (result.text, sent_on(result)) == ("All done.", [])
    assert client.run("/batch-implement --resume").text == "All done."
    assert subjects(two) == ["Add feature-1.txt", "Add note.txt", "Add feature-2.txt"]


@pytest.mark.parametrize("kind", ["overload", pytest.param("limit", marks=pytest.mark.prove)])
def test_an_api_error_of_the_coordinator_ends_the_run_and_resume_goes_on(
    scripted: Models, client_for: Clients, two: Path, kind: str
) -> None:
    def breaks_off(request: Request) -> Script:
        yield SKILL
        request = yield ERRORS[kind]
        yield from scripts.coordinator(request)

    client = client_for(scripted(coordinator=breaks_off, worker=scripts.worker()))
    broken = client.run(GO)
    assert broken.final["is_error"]
    assert sent_on(broken) == []
    state = state_of(two)
    assert state["status"] == "paused" or state["owner"]["pid"] is None
    assert (state["completed_features"], state["retry_attempts"]) == ([0], {})
    assert client.run("/batch-implement --resume", extra_args=["--resume", broken.session]).text == "All done."
    assert state_of(two)["status"] == "completed"
    assert subjects(two) == ["Add feature-1.txt", "Add feature-2.txt"]


@pytest.mark.prove
def test_a_run_that_has_used_up_its_turns_leaves_the_batch_to_whoever_resumes_it(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    client = client_for(scripted(coordinator=scripts.coordinator, worker=scripts.worker()))
    cut = client.run(GO, extra_args=["--max-turns", "1"])
    assert cut.final["subtype"] == "error_max_turns"
    state = state_of(two)
    assert (state["status"], state["completed_features"], state["owner"]["pid"]) == ("in_progress", [0], None)
    assert client.run("/batch-implement --resume").text == "All done."
    assert subjects(two) == ["Add feature-1.txt", "Add feature-2.txt"]


@pytest.mark.prove
def test_a_coordinator_whose_window_is_too_long_is_compacted_and_goes_on(
    scripted: Models, client_for: Clients, two: Path
) -> None:
    def fills_up(request: Request) -> Script:
        yield SKILL
        request = yield ERRORS["context"]
        assert prompts.REMINDER_MARK in request.last_text()
        yield from scripts.coordinator(request)

    model = scripted(coordinator=fills_up, worker=scripts.worker())
    assert client_for(model).run(GO).text == "All done."
    assert len(model.summaries) == 1
    assert state_of(two)["auto_clear_count"] == 1
    assert subjects(two) == ["Add feature-1.txt", "Add feature-2.txt"]


@pytest.mark.prove
def test_the_stops_of_a_paused_batch_are_never_blocked(scripted: Models, client_for: Clients, two: Path) -> None:
    client = client_for(scripted(coordinator=never_goes_on, worker=scripts.worker()))
    paused = client.run(GO)
    assert state_of(two)["status"] == "paused"
    before = state_of(two)
    for resumed in ([], ["--resume", paused.session]):
        assert sent_on(client.run("Tell me a story.", extra_args=resumed)) == []
    assert state_of(two) == before


# -- the review -------------------------------------------------------------------------------------------------------

VERDICT = "VERDICT: good\nfeature-1.txt: nothing to mend."
REVIEW = call(
    "Agent",
    description="Review",
    prompt="Review the diff.",
    subagent_type="batch-implement:reviewer",
    run_in_background=False,
)


def reviews(request: Request) -> Script:
    """A reviewer that finds nothing."""
    yield call("Bash", command="git log --oneline -1")
    yield say(VERDICT)


@pytest.mark.prove
def test_a_reviewers_verdict_lands_in_the_evidence(scripted: Models, client_for: Clients, two: Path) -> None:
    def steps(number: int) -> Iterable[Turn]:
        return [*one_file(number), *([REVIEW] if number == 1 else [])]

    model = scripted(coordinator=scripts.coordinator, worker=scripts.worker(steps), reviewer=reviews)
    assert client_for(model).run(GO).text == "All done."
    assert any("VERDICT: good" in request.last_text() for request in model.of("worker"))
    evidence = state_of(two)["evidence"]
    assert evidence["0"]["review"] == VERDICT
    assert evidence["1"]["review"] is None


def test_with_review_asked_only_a_good_review_of_what_is_committed_counts(
    scripted: Models, client_for: Clients, project: Path
) -> None:
    verdicts = iter(["VERDICT: fix\nfeature-1.txt: one line is missing.", "Looks right.", VERDICT])

    def looks(request: Request) -> Script:
        yield call("Bash", command="git log --oneline -1")
        text = next(verdicts)
        request = yield say(text)
        if text == "Looks right.":
            assert "exactly `VERDICT: good`" in request.last_text()
            yield say(next(verdicts))

    def hurries(request: Request) -> Script:
        new_file, committed = one_file(1)
        yield new_file
        request = yield REVIEW
        assert "Commit first" in request.last_text()
        yield committed
        request = yield batchctl("done")
        assert request.error and "batch-implement:reviewer" in request.last_text()
        yield call("Agent", **{**REVIEW.tools[0][1], "subagent_type": "general-purpose"})
        request = yield batchctl("done")
        assert request.error and "this attempt has none" in request.last_text()
        request = yield call("Agent", **{**REVIEW.tools[0][1], "subagent_type": "batch-implement:worker"})
        assert "started by `/auto-implement` alone" in request.last_text()
        request = yield REVIEW
        assert "VERDICT: fix" in request.last_text()
        request = yield batchctl("done")
        assert request.error and "one line is missing" in request.last_text()
        request = yield REVIEW
        assert "Fix what it names and commit" in request.last_text()
        yield scripts.write("feature-1.txt", "feature 1\nmore\n")
        yield scripts.commit("feature-1.txt", message="Add the line")
        request = yield batchctl("done")
        assert request.error and "is not what the last review looked at" in request.last_text()
        request = yield REVIEW
        assert "VERDICT: good" in request.last_text()
        request = yield batchctl("done")
        assert not request.error
        yield say("Feature 1 is in.")

    list_features(project, "add one")
    model = scripted(coordinator=scripts.coordinator, worker=hurries, reviewer=looks, other=reviews)
    assert client_for(model).run(f"{GO} --review").text == "All done."
    assert state_of(project)["evidence"]["0"]["review"] == VERDICT
