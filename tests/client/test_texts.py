"""Texts that fit their reader: what a worker and a coordinator read where they are likely to stumble."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from client import Client
from scripted_model import Request, Script, ScriptedModel, Turn, say

import scripts
from scripts import batchctl, list_features, state_of

Models = Callable[..., ScriptedModel]
Clients = Callable[..., Client]

COORDINATORS_WORDS = ("Call the Skill tool", "Use /auto-implement", "`/auto-implement`", "Tell the user")


def reads(answers: list[str], *steps: Turn) -> Iterator[Turn]:
    """Make these turns, and note what came back after each."""
    for step in steps:
        request = yield step
        answers.append(request.last_text())


def test_a_worker_reads_its_own_next_step_and_how_to_give_up_for_good(
    scripted: Models, client_for: Clients, project: Path
) -> None:
    list_features(project, "publish it on the package index", "add two")
    answers: list[str] = []

    def work(request: Request) -> Script:
        if scripts.feature_number(request) == 2:
            yield from scripts.worker()(request)
            return
        failing = batchctl("fail", "--reason", "'it needs an account'")
        permanent = batchctl("fail", "--reason", "'it needs an account'", "--permanent")
        yield from reads(answers, batchctl("next"), say("Which account shall I use?"), failing, permanent)
        yield from reads(answers, batchctl("next"))
        yield say("It needs an account.")

    model = scripted(coordinator=scripts.coordinator, worker=work)
    client_for(model).run("/batch-implement features.txt")
    state = state_of(project)
    assert (state["status"], state["completed_features"]) == ("completed", [1])
    assert state["retry_attempts"] == {"0": 1}  # it was not tried again
    [failure] = state["failed_features"]
    assert failure["error_message"] == "it needs an account"

    step, asked, failed, given_up, over = answers
    assert "Feature 1 of 2 is still open." in step
    assert "take the sensible default" in asked and "Feature 1 of 2 is still open." in asked
    assert "run the same now with `--permanent`; else your part ends here" in failed
    assert failed.count("art ends here") == 1
    assert "Feature 1 of 2 is given up on." in given_up
    assert "Your part ends here" in over
    for text in answers:
        assert not [words for words in COORDINATORS_WORDS if words in text], text
