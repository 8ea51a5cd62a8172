"""The library interface in the hands of the model: what `batchctl done` asks for cannot be had by a script."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Callable

import pytest
from client import Client
from scripted_model import REPOSITORY, Request, Script, ScriptedModel, call, say

import scripts
from scripts import list_features, state_of

CALL = (
    "from batch_state_manager import get_default_state_file, update_batch_progress; "
    "update_batch_progress(get_default_state_file(), 0, 'completed')"
)
LIBRARY = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'lib')!r}); {CALL}"


@pytest.mark.parametrize("how", ["-c", pytest.param("file", marks=pytest.mark.prove)])
def test_completed_through_the_library_is_refused_and_names_batchctl_done(
    scripted: Callable[..., ScriptedModel], client_for: Callable[..., Client], project: Path, how: str
) -> None:
    seen: dict[str, Any] = {}

    def asserting(request: Request) -> Script:
        request = yield scripts.batchctl("phase", "implement")
        if how == "file":
            request = yield scripts.write("mark.py", f"{LIBRARY}\n")
        seen["before"] = state_of(project)
        command = "python3 mark.py" if how == "file" else f"python3 -c {shlex.quote(LIBRARY)}"
        request = yield call("Bash", command=command)
        seen.update(after=state_of(project), answer=request.tool_results()[-1])
        if how == "file":
            yield call("Bash", command="rm mark.py")
        for turn in scripts.one_file(scripts.feature_number(request)):
            request = yield turn
        yield scripts.batchctl("done")
        yield say("It is in.")

    list_features(project, "add one")
    model = scripted(coordinator=scripts.coordinator, worker=asserting)
    result = client_for(model).run("/batch-implement features.txt", mode="bypassPermissions")

    assert seen["answer"].error
    assert "BatchStateError: Feature 1 (index 0) was not marked completed" in seen["answer"].text
    assert "`batchctl done`" in seen["answer"].text
    assert seen["after"] == seen["before"]  # the same revision of the same batch
    assert result.text == "All done."
    assert state_of(project)["evidence"]["0"]["commit"] and "asserted" not in state_of(project)["evidence"]["0"]
