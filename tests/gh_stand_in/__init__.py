"""The stand-in for gh, for tests: put on PATH, its GitHub filled, its calls read back.

    github = StandIn(tmp_path / "github.json")
    github.on_path(monkeypatch)
    github.add(72, "Fix the leak", body="It drips.", labels=["bug"])
    github.goes_wrong("issue comment", "rate limited")
    ... run what calls gh ...
    github.calls("issue comment"); github.issue(72)["state"]

`behaviour.py` says what it can do.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
URL = "https://github.invalid/acme/widgets"


class StandIn:
    """A GitHub with one repository, kept in the file at `path`."""

    def __init__(self, path: Path, url: str = URL) -> None:
        self.path = path
        self._write({"url": url, "default_branch": "main", "viewer": "octocat", "milestones": {}, "issues": {}})

    @property
    def environment(self) -> dict[str, str]:
        """What a program's environment needs for this gh to be its gh."""
        path = [str(FOLDER), os.path.dirname(sys.executable), os.environ["PATH"]]  # it is run by this Python
        return {"GH_STAND_IN": str(self.path), "PATH": os.pathsep.join(path)}

    def on_path(self, monkeypatch: Any) -> None:
        """Make it this test's gh."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def add(self, number: int, title: str, **more: Any) -> None:
        """Put an issue there: open, without a body, when `more` does not say otherwise."""
        self.change(issues={**self.github()["issues"], str(number): {"title": title, "state": "OPEN", **more}})

    def change(self, **fields: Any) -> None:
        """Change what the repository is."""
        self._write({**self.github(), **fields})

    def goes_wrong(self, call: str, how: str | list[str]) -> None:
        """Let a call (`issue view 72`, `issue view`, `*`) fail in one of the ways that `behaviour.TROUBLES` names."""
        self.change(trouble={**self.github().get("trouble", {}), call: how})

    def goes_right(self) -> None:
        """Let nothing fail any more."""
        self.change(trouble={})

    def github(self) -> dict[str, Any]:
        """All there is."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    def issue(self, number: int) -> dict[str, Any]:
        """One issue as it is now."""
        return self.github()["issues"][str(number)]

    def comments(self, number: int) -> list[str]:
        """The bodies of an issue's comments, oldest first."""
        return [comment["body"] for comment in self.issue(number).get("comments", [])]

    def pulls(self) -> list[dict[str, Any]]:
        """The pull requests, oldest first, each with its `number`."""
        known = self.github().get("pulls", {})
        return [{"number": int(number), **known[number]} for number in sorted(known, key=int)]

    def calls(self, beginning: str = "") -> list[dict[str, Any]]:
        """The calls so far whose arguments begin like that, oldest first."""
        path = Path(f"{self.path}.calls")
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        calls = [json.loads(line) for line in lines]
        return [call for call in calls if " ".join(call["arguments"]).startswith(beginning)]

    def _write(self, github: dict[str, Any]) -> None:
        self.path.write_text(json.dumps(github, indent=1), encoding="utf-8")
