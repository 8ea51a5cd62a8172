"""Scratch projects for the bench, and what Claude Code tells a hook in them.

    with scenes.Stage(tree) as stage:
        scene = stage.scene(100)                 a project with a batch of 100, half of them completed; made once
        scene.hook("PreToolUse", "Bash")         that hook as a `pairs.Program`, its interpreter remembered
        stage.bare()                             Python that does nothing

`tree` is the plugin to measure. Everything lies in one temporary folder, which goes with the `with`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from . import inside
from .pairs import Program, Worker

PYTHON = os.path.realpath(sys.executable)
COMMAND = "python3 -m pytest -q tests/test_report.py && git add -A && git commit -qm 'Add --since to the report'"
OUTPUT = "........................................................ [100%]\n56 passed in 1.71s\n" * 20
# A version manager's shim: a shell program that looks for its version before it starts the interpreter. A real one
# takes 70 to 100 ms; this loop takes about 20.
SHIM = """#!/bin/sh
number=0
while [ "$number" -lt 40000 ]; do number=$((number + 1)); done
exec '{python}' "$@"
"""
PAYLOADS: dict[str, dict[str, Any]] = {
    "PreToolUse": {"tool_name": "Bash", "tool_input": {"command": COMMAND, "description": "Run the tests and commit"}},
    "PostToolUse": {
        "tool_name": "Bash",
        "tool_input": {"command": COMMAND, "description": "Run the tests and commit"},
        "tool_response": {"stdout": OUTPUT, "stderr": "", "interrupted": False, "isImage": False},
    },
    "Stop": {"stop_hook_active": False, "last_assistant_message": "Feature 51 is completed.", "background_tasks": []},
    "SessionStart": {"source": "compact"},
}


class Scene:
    """A git project with a batch of `count` features (0: none), and a plugin data folder of its own.

    `over`: its batch is over and has no owner. `shim`: python3 on PATH is a version manager's.
    """

    def __init__(self, stage: Stage, folder: Path, count: int, *, over: bool = False, shim: bool = False) -> None:
        self.stage, self.count, self.folder = stage, count, folder
        self.project, self.data, self.bin = folder / "project", folder / "data", folder / "bin"
        for place in (self.project, self.data, self.bin):
            place.mkdir(parents=True)
        self._programs(shim)
        environment = {**os.environ, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
        for words in (["init", "-q", "--template="], ["add", "-A"], ["commit", "-qm", "start", "--allow-empty"]):
            who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.invalid"]
            subprocess.run(["git", *who, *words], cwd=self.project, env=environment, check=True)
        self._transcript()
        if count:
            os.environ[inside.OWNER_PID] = str(os.getpid())
            maker = Worker(stage.tree, "finish" if over else "make", self.project, count)
            maker.cost()
            maker.close()
        self._progress: Worker | None = None

    def _programs(self, shim: bool) -> None:
        for name in ("python3", "python"):
            if shim:
                (self.bin / name).write_text(SHIM.format(python=PYTHON), encoding="utf-8")
                (self.bin / name).chmod(0o755)
            else:
                (self.bin / name).symlink_to(PYTHON)

    def _transcript(self) -> None:
        usage = {"input_tokens": 9, "cache_read_input_tokens": 51_000, "output_tokens": 210}
        said = {"role": "assistant", "content": [{"type": "text", "text": OUTPUT}], "usage": usage}
        line = json.dumps({"type": "assistant", "sessionId": inside.SESSION, "message": said})
        (self.folder / "transcript.jsonl").write_text(f"{line}\n" * 400, encoding="utf-8")

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of a hook."""
        return {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "CLAUDE_PROJECT_DIR": str(self.project),
            "CLAUDE_PLUGIN_ROOT": str(self.stage.tree),
            "CLAUDE_PLUGIN_DATA": str(self.data),
            "CLAUDE_CODE_SESSION_ID": inside.SESSION,
            "CLAUDE_PID": str(os.getpid()),
        }

    def payload(self, event: str) -> Path:
        """Write the payload of an event to a file and return its path."""
        told = {
            "session_id": inside.SESSION,
            "transcript_path": str(self.folder / "transcript.jsonl"),
            "cwd": str(self.project),
            "prompt_id": inside.PROMPT,
            "permission_mode": "acceptEdits",
            "hook_event_name": event,
            **PAYLOADS[event],
            **({"tool_use_id": "toolu_01A2b3C4d5E6f7G8h9J0k1L2"} if "ToolUse" in event else {}),
        }
        place = self.folder / f"{event}.json"
        place.write_text(json.dumps(told, separators=(",", ":")), encoding="utf-8")
        return place

    def hook(self, event: str, tool: str = "", times: int = 1) -> Program:
        """Return one of our hooks as Claude Code starts it."""
        words = [str(self.stage.tree / "hooks" / "run"), event, *([tool] if tool else [])]
        env = self.env
        if event == "SessionStart":
            env["CLAUDE_ENV_FILE"] = str(self.folder / "env")
        program = Program(words, env, self.payload(event), times)
        program.cost()  # the first call remembers the interpreter, the second leaves byte-code where the third looks
        program.cost()
        return program

    def batchctl(self, *words: str) -> Program:
        """Return a batchctl command as the Bash tool starts it."""
        env = {
            **{name: value for name, value in self.env.items() if not name.startswith("CLAUDE_P")},
            "CLAUDE_PID": str(os.getpid()),
            "BATCH_IMPLEMENT_ROOT": str(self.project),
            "BATCH_IMPLEMENT_DATA": str(self.data),
        }
        self.hook("PreToolUse", "Bash")
        program = Program([str(self.stage.tree / "bin" / "batchctl"), *words], env)
        program.cost()
        return program

    def progress(self) -> None:
        """Advance the open feature, so that the next stop is continued."""
        if self._progress is None:
            self._progress = self.stage.worker("phase", self)
        self._progress.cost()


class Stage:
    """The scenes of one tree, created on first use."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree.resolve()
        self.folder = Path(tempfile.mkdtemp(prefix="batch-implement-bench-")).resolve()
        self._scenes: dict[tuple[int, bool, bool], Scene] = {}
        self._workers: list[Worker] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()
        shutil.rmtree(self.folder)

    def rest(self) -> None:
        """End all workers, so that the next measurement has the machine for itself."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        for scene in self._scenes.values():
            scene._progress = None

    def scene(self, count: int, *, over: bool = False, shim: bool = False) -> Scene:
        """Return the scene with a batch of that many features."""
        which = (count, over, shim)
        if which not in self._scenes:
            folder = Path(tempfile.mkdtemp(dir=self.folder))  # one that was half made is never in the way of another
            self._scenes[which] = Scene(self, folder, count, over=over, shim=shim)
        return self._scenes[which]

    def worker(self, task: str, scene: Scene, count: int = 0) -> Worker:
        """Return a task of `inside.py` in a scene, for the features of its batch or `count`."""
        worker = Worker(self.tree, task, scene.project, count or scene.count)
        self._workers.append(worker)
        return worker

    def bare(self) -> Program:
        """Return the interpreter without anything to do."""
        return Program([PYTHON, "-I", "-S", "-c", "pass"], self.scene(0).env)

    def shell(self, times: int = 1) -> Program:
        """Return a shell without anything to do."""
        return Program(["/bin/sh", "-c", ":"], self.scene(0).env, times=times)
