"""A compaction in the middle of feature 2: the window that was compacted, and no other, is told again what to do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Callable

import pytest
from batch_implement.core.prompts import MAX_REMINDER_CHARS, REMINDER_MARK
from client import Client, Result, Terminal
from scripted_model import WINDOW_FULL, Request, Script, ScriptedModel, Turn, say

import scripts
from scripts import batchctl, commit, list_features, state_of, write

Models = Callable[..., ScriptedModel]
Clients = Callable[..., Client]
Terminals = Callable[..., Terminal]

LONG = "add two, " + "and take great care of every detail of it, " * 200
PHASES = {"worker": "implement", "coordinator": "understand"}  # what each of the scripts below shows
SKILL_NAME = "batch-implement:auto-implement"


@pytest.fixture
def three(project: Path) -> Path:
    """The project, with three features to do; the second one has a long text."""
    list_features(project, "add one", LONG, "add three")
    return project


def full(turn: Turn) -> Turn:
    """The same turn, after which the client compacts the window that it was said in."""
    return turn.with_usage(WINDOW_FULL)


def worker_compacted_in_feature_2(number: int) -> Iterable[Turn]:
    """The steps of a worker whose window is full in the middle of feature 2."""
    name = f"feature-{number}.txt"
    yield full(write(name)) if number == 2 else write(name)
    yield commit(name)


def leaves_feature_2_open_once() -> Callable[[Request], Script]:
    """A worker that at feature 2 stops without a verdict, also when it is sent back, and is done the next time."""
    left: list[int] = []

    def work(request: Request) -> Script:
        number = scripts.feature_number(request)
        if number == 2 and not left:
            left.append(number)
            yield say("I think I am through.")
            yield say("I still think so.")
        else:
            yield from scripts.worker()(request)

    return work


def coordinator_compacted_in_feature_2(request: Request) -> Script:
    """Its window is full when the first worker of feature 2 is back; then it looks where it is."""
    yield scripts.SKILL
    yield full(scripts.SKILL)
    request = yield batchctl("next")
    while not scripts.OVER.search(request.last_text()):
        request = yield scripts.SKILL
    yield say("All done.")


Cast = dict[str, Callable[[Request], Script]]


def cast(who: str) -> Cast:
    """The roles of a batch in which `who` (`worker` or `coordinator`) is compacted in the middle of feature 2."""
    if who == "worker":
        return {"coordinator": scripts.coordinator, "worker": scripts.worker(worker_compacted_in_feature_2)}
    return {"coordinator": coordinator_compacted_in_feature_2, "worker": leaves_feature_2_open_once()}


def after_the_compaction(model: ScriptedModel) -> list[Request]:
    """The requests of the compacted conversation since the summary, in order; side questions left out."""
    [summary] = model.summaries
    later = [r for r in model.requests[summary.number + 1 :] if r.role != "side"]
    return [r for r in later if r.conversation == summary.conversation]


def times_told(model: ScriptedModel) -> int:
    """How often the reminder stands in the compacted conversation, at its end."""
    return after_the_compaction(model)[-1].text().count(REMINDER_MARK)


def told(result: Result, event: str) -> list[str]:
    """The reminders that hooks of one event gave."""
    answers = [hook.answer() for hook in result.hooks(event) if REMINDER_MARK in hook.stdout]
    return [answer["hookSpecificOutput"]["additionalContext"] for answer in answers]


@pytest.mark.parametrize("who", ["worker", "coordinator"])
def test_the_window_that_was_compacted_is_told_at_once_what_to_do_and_no_other_is(
    scripted: Models, client_for: Clients, three: Path, who: str
) -> None:
    model = scripted(**cast(who))
    result = client_for(model).run("/batch-implement features.txt")
    state = state_of(three)
    assert (state["status"], state["completed_features"]) == ("completed", [0, 1, 2])

    [reminder] = told(result, "SessionStart")
    assert len(reminder) <= MAX_REMINDER_CHARS
    assert f"Batch {state['batch_id']}: 1 of 3 done" in reminder
    assert "feature 2 of 3, attempt 1, phase " + PHASES[who] in reminder
    assert f"\n> {LONG[:100]}" in reminder
    coordinators_step = f"Call the Skill tool with skill `{SKILL_NAME}`"
    workers_step = "You are its worker. Run `batchctl brief`"
    step, not_for_it = {
        "worker": (workers_step, coordinators_step),
        "coordinator": (coordinators_step, workers_step),
    }[who]
    assert step in reminder and not_for_it not in reminder
    assert ("Workflow: Use /auto-implement" in reminder) == (who == "coordinator")

    assert reminder in after_the_compaction(model)[0].text()
    assert after_the_compaction(model)[0].role == who
    told_to = {request.conversation for request in model.requests if REMINDER_MARK in request.text()}
    assert told_to == {model.summaries[0].conversation}
    assert times_told(model) == 1


@pytest.mark.parametrize("who", ["worker", pytest.param("coordinator", marks=pytest.mark.prove)])
def test_the_summariser_is_told_what_to_keep_and_the_state_records_the_compaction(
    scripted: Models, client_for: Clients, three: Path, who: str
) -> None:
    model = scripted(**cast(who))
    client_for(model).run("/batch-implement features.txt")
    state = state_of(three)
    [summary] = model.summaries
    [keep] = re.findall(r"Keep in the summary, word for word: (.*)", summary.last_text())
    phase = PHASES[who]
    assert f"batch {state['batch_id']}; feature 2 of 3, phase {phase}; 1 of 3 done" in keep
    assert "next command: " + {"worker": "batchctl brief", "coordinator": f"Skill {SKILL_NAME}"}[who] in keep

    assert state["auto_clear_count"] == 1
    [event] = state["auto_clear_events"]
    assert event["feature_index"] == 1 and event["reminded"] is True
    assert event["context"] == (summary.agent or "main") and bool(summary.agent) == (who == "worker")
    assert event["context_tokens_before_clear"] >= WINDOW_FULL


# -- the second channel -----------------------------------------------------------------------------------------------

WRAPPED_RUN = """\
#!/bin/sh
input=$(cat)
case "$1 $input" in
  'SessionStart '*'"source":"compact"'*)
    {answered} || exit 0
    printf '%s' "$input" | "${{0%/*}}/real-run" "$@" >/dev/null
    exit 0 ;;
esac
printf '%s' "$input" | "${{0%/*}}/real-run" "$@"
"""


LOST, NEVER_RUN = "true", "false"


@pytest.fixture(params=[LOST, pytest.param(NEVER_RUN, marks=pytest.mark.prove)], ids=["its answer lost", "never run"])
def deaf(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the plugin whose answer to the SessionStart after a compaction does not arrive, in two ways."""
    return deaf_plugin(tmp_path / "plugin", request.param)


def deaf_plugin(folder: Path, answered: str) -> Path:
    """Such a copy; `answered` is LOST or NEVER_RUN."""
    plugin = scripts.copy_of_plugin(folder)
    shutil.move(plugin / "hooks" / "run", plugin / "hooks" / "real-run")
    wrapper = plugin / "hooks" / "run"
    wrapper.write_text(WRAPPED_RUN.format(answered=answered), encoding="utf-8")
    wrapper.chmod(0o755)
    return plugin


@pytest.mark.parametrize("who", [pytest.param("worker", marks=pytest.mark.prove), "coordinator"])
def test_a_reminder_that_did_not_arrive_is_given_once_by_the_second_channel(
    scripted: Models, client_for: Clients, three: Path, deaf: Path, who: str
) -> None:
    model = scripted(**cast(who), plugin_dir=deaf)
    result = client_for(model, plugin_dir=deaf).run("/batch-implement features.txt")
    assert state_of(three)["completed_features"] == [0, 1, 2]
    assert told(result, "SessionStart") == []
    [reminder] = told(result, "PostToolUse")
    assert len(reminder) <= MAX_REMINDER_CHARS and "feature 2 of 3" in reminder
    first, second, *_ = after_the_compaction(model)
    assert REMINDER_MARK not in first.text() and reminder in second.text()
    assert times_told(model) == 1


@pytest.mark.prove
def test_a_person_who_speaks_after_a_lost_reminder_brings_it_back(
    scripted: Models, client_for: Clients, terminal_for: Terminals, three: Path, tmp_path: Path
) -> None:
    def asked_in_between(request: Request) -> Script:
        yield batchctl("next")
        yield say("never said").after(60)
        yield say("Soon.")  # The person's first words after the compaction.
        yield say("Very soon.")

    plugin = deaf_plugin(tmp_path / "plugin", LOST)
    model = scripted(coordinator=asked_in_between, plugin_dir=plugin)
    terminal = terminal_for(client_for(model, plugin_dir=plugin))
    terminal.wait_until_ready()
    terminal.type("/batch-implement features.txt")
    model.wait_for(lambda model: len(model.of("coordinator")) == 2)
    terminal.keys("Escape")
    terminal.wait_for("Interrupted")
    terminal.type("/compact")
    terminal.wait_for("Compacted")
    terminal.type("how far are we?")
    terminal.wait_for("Soon.")
    assert "feature 1 of 3, pending" in after_the_compaction(model)[0].last_text()
    terminal.type("and now?")
    terminal.wait_for("Very soon.")
    assert times_told(model) == 1
