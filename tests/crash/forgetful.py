"""A model that keeps nothing in its head: each answer comes from what its window says, and from nothing else.

    turn = coordinate(request)                          the coordinator
    turn = work(request, doing=17, gives_up={3})        the worker of one feature

So whatever a window loses, by a compaction, a death or a hook that did not run, the model has lost, and finds out as a
real one would: from the brief, from batchctl, from git. Each time it does a feature it adds a line of its own to
`feature-N.txt`, commits it and says done; work that is there already it does not repeat, if it is told of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from scripted_model import Request, Turn, call, say

from scripts import OVER, SKILL, batchctl, commit

SUMMARY = "The conversation so far was about a batch."
CLOSED = re.compile("[Nn]o feature is open|is not open any more")
LONGEST_CONVERSATION = 40


def last_command(request: Request) -> str:
    """What the model called last in this window: a Bash command, else the tool's name; empty for nothing yet."""
    for message in reversed(request.messages):
        if message.get("role") != "assistant" or not isinstance(message.get("content"), list):
            continue
        for block in reversed(message["content"]):
            if block.get("type") == "tool_use":
                return str(block["input"].get("command", block["name"]))
    return ""


def coordinate(request: Request) -> Turn:
    """What a coordinator does that goes by its last message alone, and gives up when nothing works."""
    told = request.last_text()
    if OVER.search(told) or "has not taken it over" in told:
        return say("All done." if "is over" in told else "I stop here.")
    recent = [block for message in request.messages[-12:] for block in _results(message)]
    if len(recent) >= 4 and all(block.get("is_error") for block in recent[-4:]):
        return say("I am stuck.")
    return SKILL


def _results(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [b for b in content if b.get("type") == "tool_result"] if isinstance(content, list) else []


def work(request: Request, doing: int, gives_up: Collection[int]) -> Turn:
    """What a worker does that goes by its window alone; `doing` is what its line in the feature's file says. The first
    attempt at a feature in `gives_up` it calls failed.
    """
    told, command = request.last_text(), last_command(request)
    if not command and SUMMARY in request.text():
        return batchctl("brief")  # as the reminder says; and without one, as a worker does that knows nothing
    if len(request.messages) > LONGEST_CONVERSATION:
        return say("I am stuck.")
    if command == "batchctl done":
        if "still runs" in told:
            return batchctl("done")
        return say("It is in.") if not request.error or CLOSED.search(told) else batchctl("brief")
    if command.startswith("batchctl fail"):
        return say("I gave up.") if not request.error or CLOSED.search(told) else batchctl("brief")
    if command.startswith("printf") and not request.error:
        return _committed(command.split()[-1])
    if command.startswith("git add") and not request.error:
        return batchctl("done")
    if command and not command.startswith(("batchctl brief", "batchctl phase")):
        return batchctl("brief")
    found = re.search(r"Feature (\d+) of \d+, attempt (\d+)", told)
    if found is None:
        return say("Nothing is open.") if CLOSED.search(told) or OVER.search(told) else batchctl("brief")
    number, first = int(found[1]), found[2] == "1"
    name = f"feature-{number}.txt"
    if re.search(r"\d+ commits? of this feature since ", told):
        return batchctl("done")
    if f"Uncommitted, from before: {name}" in told:
        return _committed(name)
    if number in gives_up and first:
        return batchctl("fail", "--reason", "no-idea-how")
    return call("Bash", command=f"printf 'feature {number}, doing {doing}\\n' >> {name}")


def _committed(name: str) -> Turn:
    return commit(name, message=f"Add {name}")
