"""Fire hook events in this process."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest
from batch_implement.hooks import dispatch


@pytest.fixture
def hook(repository, monkeypatch, capsys):
    """Return a function that fires an event in session `s-1` and returns its output, None for nothing."""

    def fire(event, tool="", **payload):
        fields = {"session_id": "s-1", "hook_event_name": event, "cwd": str(repository), **payload}
        monkeypatch.chdir(repository)
        monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(repository))
        monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", "s-1")
        monkeypatch.setenv("CLAUDE_PID", str(os.getpid()))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(fields).encode())))
        capsys.readouterr()
        dispatch.main(event, tool)
        out = capsys.readouterr().out
        return json.loads(out) if out else None

    return fire
