"""Everyday edits of many files at once leave the batch as it was, byte for byte, and the model is told.

Each is done for real in a small project with a live batch: the PreToolUse hook, the command in bash unless the hook
denied it, the PostToolUse hook, all as processes of their own. Without the guard, too: undo must hold by itself.

mass_edits.json has the commands, by name. Those that reach the copies of the state are undone without any hook as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.git import git_client
from batch_implement.store import backups, sidecar
from batch_implement.store.store import Store
from batches import BATCHCTL, GUARD, git, new_batch, owner, run_program, started

FEATURES = ["Rename getUser to fetchUser in src and web", "Remove the TODO of 2025", "Use new instead of old, “é”"]
TABLE = json.loads(Path(__file__).with_name("mass_edits.json").read_text(encoding="utf-8"))
REACHES_COPIES: dict[str, str] = TABLE["reaches_copies"]
EDITS: dict[str, str] = {**REACHES_COPIES, **TABLE["other"]}
QUICK = (
    "grep | xargs sed",
    "sed, two words",
    "find -exec perl",
    "Python, errors ignored",
    "node",
    "deleted by name and size",
    "deleted by what is in the path",
    "deleted by age",
    "renamed by a word",
    "tabs",
    "private folder removed",
    "large files",
)
PROGRAMS = ("node", "ruby", "gawk", "ed", "perl")
HINT = "Only batchctl writes the batch's state"
FILES = {
    "src/users.py": "def getUser(name):\n\treturn find('new', name)  # TODO 2025\n",
    "src/api.py": "from users import getUser\nprint(getUser('old'))\t\n",
    "web/app.js": 'const user = getUser("feature");\r\n',
    "data/config.json": '{"api": "getUser", "live": "check", "year": 2025}\n',
    "docs/my batch_notes.md": "# getUser\n\nOne batch, 11 features.  \n",
    "Makefile": "all:\n\techo getUser\n",
    "empty.txt": "",
}


class Disk(NamedTuple):
    """What is on the disk of the state, its sidecar and its copies; None for what is missing."""

    state: Optional[bytes]
    sidecar: Optional[bytes]
    readable: Optional[bytes]
    first: Optional[bytes]
    second: Optional[bytes]


class Scene:
    """A project with a live batch, and the client that works in it."""

    def __init__(self, repository: Path, data: Path, session: str) -> None:
        self.root, self.project = repository, Project(str(repository))
        self.env = {
            "CLAUDE_PROJECT_DIR": str(repository), "CLAUDE_PLUGIN_DATA": str(data), "CLAUDE_PID": str(os.getpid()),
            "CLAUDE_CODE_SESSION_ID": session, "LANG": "C.UTF-8",
        }  # fmt: skip

    def look(self) -> Disk:
        """What is on the disk now; of a packed copy the state in it."""
        private = Path(self.project.private)
        paths = [Path(self.project.state), private / "sidecar", private / sidecar.READABLE_COPY]
        packed = [private / sidecar.BACKUP, Path(self.project.second_backup)]
        whole = [path.read_bytes() if path.is_file() else None for path in paths]
        unpacked = [backups.unpack(path.read_bytes()) if path.is_file() else None for path in packed]
        return Disk(*whole, *(each and each[1] for each in unpacked))

    def hook(self, event: str, command: str, **more: Any) -> dict[str, Any]:
        """What a hook answers; empty for nothing."""
        payload = {
            "session_id": self.env["CLAUDE_CODE_SESSION_ID"], "cwd": str(self.root), "hook_event_name": event,
            "transcript_path": "/tmp/none.jsonl", "tool_name": "Bash", "tool_input": {"command": command}, **more,
        }  # fmt: skip
        answer = run_program(GUARD, event, "Bash", cwd=self.root, stdin=json.dumps(payload), **self.env)
        assert (answer.returncode, answer.stderr) == (0, "")
        fields: dict[str, Any] = json.loads(answer.stdout or "{}")
        assert "hook failed" not in answer.stdout, answer.stdout
        return fields.get("hookSpecificOutput", {})

    def bash(self, command: str) -> int:
        """Run a command as the Bash tool does; its exit status."""
        words = ["bash", "-c", command]
        return subprocess.run(words, cwd=self.root, capture_output=True, timeout=60).returncode

    def batchctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run batchctl as a user."""
        return run_program(BATCHCTL, *words, cwd=self.root, BATCH_IMPLEMENT_ROOT=str(self.root))

    def changes(self) -> bool:
        """Whether the worker, or without an owner the user, can change the batch."""
        if Store(self.project).require()["owner"] is None:
            return self.batchctl("pause").returncode == 0
        words = (BATCHCTL, "decide", "Which", "That")
        return run_program(*words, cwd=self.root, CLAUDECODE="1", **self.env).returncode == 0

    def is_whole(self, before: Disk) -> bool:
        """Whether state and copies are what they were, and the sidecar names them."""
        now = self.look()
        known = sidecar.parse(now.sidecar or b"")
        states = {now.state, now.readable, now.first, now.second}
        return states == {before.state} and known is not None and known.match(os.lstat(self.project.state)) is not None


@pytest.fixture
def scene(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Scene:
    """A project with a live batch; its parameter says whether the client owns the batch."""
    for name, text in FILES.items():
        path = repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Add files")
    (repository / "debug.log").write_text("getUser\n")
    os.utime(repository / "Makefile", (10**9, 10**9))
    git_client.exclude_state_file(str(repository))
    store = Store(Project(str(repository)))
    is_owner = getattr(request, "param", "owner") == "owner"
    store.create(new_batch(FEATURES, owner=owner("s-1") if is_owner else None))
    store.update(started)
    return Scene(repository, tmp_path / "data", "s-1")


def skip_if_missing(command: str) -> None:
    for name in PROGRAMS:
        if f"{name} -" in command and not shutil.which(name):
            pytest.skip(f"{name} is not installed")


def do(scene: Scene, name: str, *, is_guarded: bool) -> None:
    """Do an edit between the hooks and see that the batch is as it was, and that the model was told if it was hit."""
    command, before = EDITS[name], scene.look()
    skip_if_missing(command)
    answer = scene.hook("PreToolUse", command)
    if is_guarded and answer.get("permissionDecision") == "deny":
        assert scene.look() == before
        return
    status = scene.bash(command)
    hit = scene.look()
    event = "PostToolUseFailure" if status else "PostToolUse"
    more = {"error": f"Exit code {status}"} if status else {"tool_response": {"stdout": "", "stderr": ""}}
    told = scene.hook(event, command, **more).get("additionalContext", "")
    assert scene.is_whole(before), (name, told)
    assert told.count(HINT) == (hit != before), (name, told, [a == b for a, b in zip(hit, before)])
    assert scene.hook(event, command, **more) == {}
    shown = scene.batchctl("status", "--json")
    assert (shown.returncode, json.loads(shown.stdout)["batch_id"]) == (0, "batch-1"), shown.stderr
    assert scene.look().state == before.state
    assert scene.changes()


@pytest.mark.parametrize("name", QUICK)
def test_an_edit_of_many_files_is_undone_and_told(scene: Scene, name: str) -> None:
    do(scene, name, is_guarded=False)


@pytest.mark.prove
@pytest.mark.parametrize("name", sorted(set(EDITS) - set(QUICK)))
def test_each_other_edit_of_many_files_is_undone_and_told(scene: Scene, name: str) -> None:
    do(scene, name, is_guarded=False)


@pytest.mark.prove
@pytest.mark.parametrize("scene", ["no owner"], indirect=True)
@pytest.mark.parametrize("name", EDITS)
def test_without_an_owner_it_is_undone_as_well(scene: Scene, name: str) -> None:
    do(scene, name, is_guarded=False)


@pytest.mark.prove
@pytest.mark.parametrize("scene", ["owner", "no owner"], indirect=True)
@pytest.mark.parametrize("name", EDITS)
def test_with_the_guard_it_is_denied_or_undone(scene: Scene, name: str) -> None:
    do(scene, name, is_guarded=True)


@pytest.mark.parametrize("scene", ["no owner"], indirect=True)
@pytest.mark.parametrize(
    "name", [name if name in QUICK[:2] else pytest.param(name, marks=pytest.mark.prove) for name in REACHES_COPIES]
)
def test_one_that_a_user_types_in_a_terminal_is_undone_by_the_next_command(scene: Scene, name: str) -> None:
    skip_if_missing(REACHES_COPIES[name])
    before = scene.look()
    scene.bash(REACHES_COPIES[name])
    shown = scene.batchctl("status")
    assert shown.returncode == 0, shown.stderr
    assert "put back" in shown.stdout + shown.stderr
    assert scene.is_whole(before)
    assert scene.changes()


def test_there_are_enough_edits_and_they_differ() -> None:
    assert len(EDITS) == sum(map(len, TABLE.values())) >= 60
    assert set(QUICK) <= set(EDITS)
    assert len(set(EDITS.values())) == len(EDITS)
