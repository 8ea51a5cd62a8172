"""The table of guards, done for real: each tool call of guard_table.json in a project of its own, with the hooks
before and after it, and what became of the state.

    python siege.py LIB FOLDER    with the package in LIB, below an empty FOLDER; prints [[verdict, how it looked], ...]

An entry has a `kind` and a command, `do`; or a `tool` and its `input`, in which `{root}` is the project. Where it says
`drawn` it is one of the corpus of the guard (tests/unit), with the verdict that is expected there.

For each entry: the PreToolUse hook; if it does not deny, the call itself (a command by bash, Write, Edit and the like
by the few lines below); the PostToolUse or PostToolUseFailure hook. The hooks are entered as hooks/run enters them, in
this process, with the payload that the client sends. The verdicts:

    before      denied, and nothing is changed
    after       done, and undone: the state is what it was to the byte, what was written in its place is in quarantine;
                of our private files: the state stands and the next look at it says the same
    refused     a person's verb that batchctl itself refused
    nothing     done without any effect: not an attack (a program that is not here: `lacking`)
    missed      done, and not undone
    passed      innocent, and neither hook said a word
    false alarm innocent, and something was said or undone

Kinds: `state`, `private`, `verb`; `copies` passes the guard and deletes a copy of the state; `late` writes when the
hooks are through, and is looked at by the next one; `pass` is innocent, `changes` too, and changes the state as it may.
Every command stays below FOLDER, which the test sees to (`strays`): nothing here is safe with others.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
STATE = ".claude/batch_state.json"
TABLE = HERE / "guard_table.json"
PATH = os.environ.get("PATH", os.defpath)
SESSION = "11111111-2222-3333-4444-555555555555"
OUTSIDE_PROGRAMS = ("perl", "node", "jq", "ed", "gzip", "shred", "patch", "setsid", "rev", "base64", "tar", "rsync")
OF_ITS_OWN = r"outside\b|lib/batchctl|\.claude|README|\.\./README"  # what `../` may lead to
STRAYS = re.compile(
    rf"~|\$HOME|(?<![\w.}}*/)\"%-])/(?!dev/null\b|bin/sh\b)|[\"']/(?=\w|[\"'])|\.\./(?!{OF_ITS_OWN})"
    r"|(?<!cd \.claude && cd )\.\.(?![/\w.])"
    r"|\b(curl|wget|ssh|scp|nc|sudo|su|docker|kill|pkill|npx|npm|pip|mount|crontab|reboot|shutdown)\b"
    r"|\bgit (push|pull|fetch|clone|remote|config)\b"
)


def entries() -> list[dict[str, Any]]:
    """The table."""
    table: list[dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def strays(entry: dict[str, Any]) -> Optional[str]:
    """What in a command could reach outside its folder; None for nothing."""
    found = STRAYS.search(entry.get("do", ""))
    return found.group(0) if found else None


def lacking(entry: dict[str, Any]) -> Optional[str]:
    """A program that the entry needs and that is not on this machine."""
    command = entry.get("do", "")
    for name in OUTSIDE_PROGRAMS:
        if re.search(rf"(?:^|[|;&(] *){name} ", command) and not shutil.which(name):
            return name
    return None


def what_lies_at(path: Path) -> Optional[bytes]:
    """A file's content, a link's target, the kind of anything else; None for nothing."""
    if path.is_symlink():
        return b"-> " + os.fsencode(os.readlink(path))
    if path.is_file():
        return path.read_bytes()
    return oct(path.lstat().st_mode).encode() if os.path.lexists(path) else None


class Place:
    """A project with a live batch in it, of which this process is the client; what it was like before is `before`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pristine = folder / "pristine"
        self.root = folder / "place" / "project"
        self.home = folder / "home"
        self._lay_out()
        self.used = True

    def _lay_out(self) -> None:
        project, outside = self.pristine / "project", self.pristine / "outside"
        for path in (project / "src", project / "docs", project / ".claude", outside, self.home, self.folder / "bin"):
            path.mkdir(parents=True)
        (self.home / ".gitconfig").write_text(
            "[user]\n\tname = Scratch\n\temail = scratch@example.invalid\n[init]\n\tdefaultBranch = main\n"
        )
        (self.folder / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
        for name, text in (
            ("README.md", "# scratch\n"), ("src/app.py", "x = 1\n"), ("docs/a.md", "some words\n"), ("x", "x\n"),
            ("features.txt", "add four\n"),
            ("book.ipynb", '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n'),
        ):  # fmt: skip
            (project / name).write_text(text)
        for words in (["init", "-q", "--template="], ["add", "."], ["commit", "-qm", "start"]):
            subprocess.run(["git", *words], cwd=project, env=self.environment(), check=True)
        (project / ".git" / "info").mkdir(exist_ok=True)
        (project / ".git" / "info" / "exclude").write_text(f"/{STATE}\n")
        (outside / "writes.py").write_text(f"open({STATE!r}, 'w').write('by a script')\n")
        (outside / "removes.sh").write_text(f"rm {STATE}\n")
        (outside / "link").symlink_to(f"../project/{STATE}")
        (outside / "folder").symlink_to("../project/.claude")
        (outside / "tree" / ".claude").mkdir(parents=True)
        (outside / "tree" / STATE).write_text("by a copy\n")
        with tarfile.open(outside / "state.tar", "w") as tar:
            tar.add(outside / "tree" / STATE, STATE)
        (outside / "state.patch").write_text(
            f'--- {STATE}\n+++ {STATE}\n@@ -1,1 +1,1 @@\n- "status": "in_progress",\n+ "status": "completed",\n'
        )

    def environment(self) -> dict[str, str]:
        """What the Bash tool of the client gives a command."""
        return {
            "PATH": f"{self.folder}/bin:{REPOSITORY}/bin:{PATH}", "HOME": str(self.home),
            "LANG": "C.UTF-8", "TMPDIR": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1", "CLAUDECODE": "1",
            "CLAUDE_CODE_SESSION_ID": SESSION, "CLAUDE_PID": str(os.getpid()),
            "BATCH_IMPLEMENT_ROOT": str(self.root),
        }  # fmt: skip

    def fresh(self) -> None:
        """Lay it out anew, if it was used."""
        if not self.used:
            return
        os.chdir(self.folder)
        shutil.rmtree(self.folder / "place", ignore_errors=True)
        shutil.copytree(self.pristine, self.folder / "place", symlinks=True)
        os.chdir(self.root)
        project = project_paths.Project(str(self.root))
        batch_store = store.Store(project)
        owner = process_identity.new_owner(SESSION, os.getpid(), NOW)
        features = ["add one", "add two", "add three"]
        first = batch_state.new_state("batch-1", features, NOW, policy=batch_policy.create_policy())
        batch_store.create(batch_state.with_derived_fields({**first, "owner": owner}))
        batch_store.update(lambda state: transitions.start(state, NOW, None))
        # The last phase: what the hooks infer from a call changes nothing then.
        batch_store.update(lambda state: {**state, "active": {**state["active"], "phase": batch_state.PHASES[-1]}})
        self.before = (self.root / STATE).read_bytes()
        self.used = False

    @property
    def project(self) -> Any:
        """The project as the package sees it now."""
        return project_paths.Project(str(self.root))

    def now(self) -> Optional[bytes]:
        """What lies at the state's place."""
        return what_lies_at(self.root / STATE)

    def inode(self) -> int:
        """The number of what lies there; 0 for nothing."""
        path = self.root / STATE
        return path.lstat().st_ino if os.path.lexists(path) else 0

    def wait_for_another(self) -> Optional[bytes]:
        """What lies at the state's place, once it is not what it was; after 20 s what is there."""
        deadline = time.monotonic() + 20
        while self.now() == self.before and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.now()

    def quarantined(self) -> list[Optional[bytes]]:
        """What lies in quarantine."""
        return [what_lies_at(path) for path in (self.root / ".git/batch-implement/quarantine").glob("*")]

    def stands(self) -> bool:
        """Whether the next look says what it said before, under a sidecar that vouches for it."""
        state = store.Store(self.project, trusted=False).reconcile()
        changing = ("revision", "updated_at")
        known = {name: value for name, value in json.loads(self.before).items() if name not in changing}
        return state is not None and known == {name: state[name] for name in known} and self.sealed()

    def sealed(self) -> bool:
        """Whether there is a sidecar, and it vouches for the state that is there."""
        found = sidecar.read_sidecar(self.project.private)
        return found is not None and found.new is not None and found.matches_path(self.project.state)

    # -- the client --------------------------------------------------------------------------------------------------

    def hook(self, event: str, tool: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What the hook answers; empty for nothing."""
        payload = {
            "session_id": SESSION, "transcript_path": f"{self.home}/.claude/projects/p/{SESSION}.jsonl",
            "cwd": str(self.root), "hook_event_name": event, "tool_name": tool, "tool_input": given, **more,
            "tool_use_id": "toolu_1",
        }  # fmt: skip
        matched = "Write" if tool in ("Write", "Edit", "NotebookEdit") else "" if tool == "Read" else tool
        if event == "PreToolUse" and not matched:
            return {}  # hooks.json starts none
        raw = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        if fast_path.can_skip(event, matched, str(self.root), self.project.private, raw):
            return {}
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            dispatch.main(event, matched, raw)
        answer: dict[str, Any] = json.loads(said.getvalue() or "{}")
        return answer

    def call(self, tool: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Do a tool call: the event that follows it, and what this event brings."""
        try:
            if tool == "Bash":
                return self._bash(given["command"])
            path = Path(self.root, given.get("file_path") or given["notebook_path"])
            if tool == "Write":
                path.write_text(given["content"])
            elif tool == "Edit":
                path.write_text(path.read_text().replace(given["old_string"], given["new_string"]))
            elif tool == "NotebookEdit":
                path.write_text(json.dumps({"cells": [given["new_source"]]}))
            else:
                path.read_bytes()
        except OSError as error:
            return "PostToolUseFailure", {"error": str(error), "is_interrupt": False}
        return "PostToolUse", {"tool_response": {"type": "text"}, "duration_ms": 1}

    def _bash(self, command: str) -> tuple[str, dict[str, Any]]:
        with open(self.folder / "output", "w+b") as output:
            process = subprocess.Popen(
                ["/bin/bash", "-c", command], cwd=self.root, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
            try:
                status = process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
            output.seek(0)
            text = output.read().decode(errors="replace")
        self.output = text
        if status:
            return "PostToolUseFailure", {"error": f"Exit code {status}\n{text}", "is_interrupt": False}
        return "PostToolUse", {"tool_response": {"stdout": text, "stderr": "", "interrupted": False}, "duration_ms": 1}


def filled(value: Any, root: str) -> Any:
    """The value with `{root}` replaced in every text."""
    return {name: text.replace("{root}", root) for name, text in value.items()}


def verdict(place: Place, row: dict[str, Any]) -> tuple[str, str]:
    """What became of one entry, and how it looked."""
    innocent, tool = row["kind"] in ("pass", "changes"), row.get("tool", "Bash")
    given = filled(row["input"], str(place.root)) if "input" in row else {"command": row["do"]}
    place.fresh()
    answer = place.hook("PreToolUse", tool, given)
    if answer.get("hookSpecificOutput", {}).get("permissionDecision") == "deny":
        untouched = place.now() == place.before and place.sealed() and not place.quarantined()
        return ("before", "") if untouched and not innocent else ("false alarm" if innocent else "missed", str(answer))
    place.used = True
    event, brought = place.call(tool, given)
    done, inode = place.now(), place.inode()
    after = place.hook(event, tool, given, **brought)
    seen = f"{answer} {after} {event} {brought}"
    if innocent:
        quiet = not answer and not after and place.sealed() and not place.quarantined()
        return ("passed", "") if quiet and (place.now() != place.before) == (row["kind"] == "changes") else (
            "false alarm", seen
        )  # fmt: skip
    if row["kind"] == "command":
        refused = "is for the user, not for the model" in place.output
        return ("missed" if place.now() != place.before else "refused" if refused else "nothing", place.output)
    if row["kind"] in ("private", "copies"):
        return ("after" if place.stands() else "missed", seen)
    if row["kind"] == "late":
        done = place.wait_for_another()
        after = place.hook("PreToolUse", "Bash", {"command": "true"})
    elif done == place.before and inode == place.inode():
        return "nothing", seen
    undone = place.now() == place.before and place.sealed() and bool(after)
    return ("after" if undone and (done is None or done in place.quarantined()) else "missed", seen)


def besieged(folder: Path, rows: list[dict[str, Any]]) -> list[list[str]]:
    """The verdict on each entry, `[verdict, how it looked]`; the environment is this process's own."""
    place = Place(folder)
    os.environ.clear()
    os.environ.update(place.environment(), CLAUDE_PROJECT_DIR=str(place.root))
    return [["lacking", str(lacking(row))] if lacking(row) else list(verdict(place, row)) for row in rows]


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    from batch_implement.base import process_identity, project_paths
    from batch_implement.core import batch_policy, batch_state, transitions
    from batch_implement.hooks import dispatch, fast_path
    from batch_implement.store import sidecar, store

    NOW = "2026-01-31T23:59:59Z"
    at = os.path.realpath(sys.argv[2])
    print(json.dumps(besieged(Path(at), entries())))
