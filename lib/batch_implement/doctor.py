"""`batchctl doctor`: everything that would stop a batch, each with its remedy. Looks, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from . import gitrepo, model, process, pyyaml, reminder
from .errors import BatchError, Refused
from .store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

    from .paths import Project

OLDEST_PYTHON = (3, 9)
MEASURED_CLIENT = "2.1.330"
HOOK_EVENTS = ("PreToolUse", "PostToolUse", "Stop", "SubagentStop", "SessionStart", "PreCompact", "UserPromptExpansion")
GOOD, LOOK, BAD = "ok", "look", "bad"


def check(project: Project, environ: Mapping[str, str], plugin: str) -> List[Dict[str, str]]:
    """One `{check, verdict, text}` each: `ok`, `look` (works, but not as well as it could) or `bad` (with the
    remedy).
    """
    found: List[Dict[str, str]] = []
    looks: List[tuple[str, Callable[[], Iterator[tuple[str, str]]]]] = [
        ("python", lambda: _python()),
        ("pyyaml", lambda: _pyyaml()),
        ("git", lambda: _git(project)),
        ("client", lambda: _client(environ)),
        ("hooks", lambda: _hooks(plugin)),
        ("state", lambda: _state(project)),
        ("gh", lambda: _gh(project)),
        ("permissions", lambda: _permissions(project, environ)),
    ]
    for name, look in looks:
        try:
            found += [{"check": name, "verdict": verdict, "text": text} for verdict, text in look()]
        except BatchError as error:
            found.append({"check": name, "verdict": BAD, "text": error.message})
    return found


def _python() -> Iterator[tuple[str, str]]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        yield BAD, f"Python {version} at {sys.executable} is too old: 3.9 or newer is needed first on PATH."
        return
    yield GOOD, f"Python {version} at {sys.executable}"
    first = shutil.which("python3")
    if first and os.path.realpath(first) != os.path.realpath(sys.executable):
        with open(first, "rb") as file:
            if file.read(2) == b"#!":
                yield (
                    LOOK,
                    f"`python3` is a script ({first}), as version managers have it: slow to start. The hooks remember "
                    "the real one.",
                )


def _pyyaml() -> Iterator[tuple[str, str]]:
    spec, _ = pyyaml.find(pyyaml.forbidden_folders())
    if spec is None or spec.origin is None:
        yield GOOD, "no PyYAML for this Python: only a list in YAML needs it (`pip install pyyaml` with that Python)"
    else:
        yield GOOD, f"PyYAML in {os.path.dirname(spec.origin)}"


def _git(project: Project) -> Iterator[tuple[str, str]]:
    yield GOOD, gitrepo.version()
    if project.git_dir is None or not gitrepo.is_repository(project.root):
        yield BAD, f"{project.root} is not a git repository: `git init` and commit what is there."
        return
    if gitrepo.head(project.root) is None:
        yield LOOK, "There is no commit yet: leftovers of a failed feature cannot be stashed before the first one."
    if not gitrepo.has_identity(project.root):
        yield BAD, "git does not know who commits: set user.name and user.email with `git config`."
    tracked, _ = gitrepo.changes(project.root)
    if tracked:
        yield (
            LOOK,
            f"{reminder.counted(len(tracked), 'tracked file')} modified or staged: a new batch would be refused until "
            "that is committed or stashed.",
        )


def _client(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    program = environ.get("CLAUDE_CODE_EXECPATH") or _running_client(environ) or shutil.which("claude")
    if not program:
        yield BAD, "`claude` was not found on PATH: install Claude Code (npm package @anthropic-ai/claude-code)."
        return
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield BAD, f"{program} does not start: {error}"
        return
    version = answer.stdout.split(" ")[0].strip()
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        yield LOOK, f"{program} says {answer.stdout.strip()[:80]!r}; the version could not be read."
    elif tuple(map(int, parts)) < tuple(map(int, MEASURED_CLIENT.split("."))):
        yield (
            LOOK,
            f"Claude Code {version} at {program} is older than {MEASURED_CLIENT}, which the hooks were measured with: "
            "update it.",
        )
    else:
        yield GOOD, f"Claude Code {version} at {program}"


def _running_client(environ: Mapping[str, str]) -> Optional[str]:
    """Path of the client that this runs under, where the system tells it: hooks are told its process id only."""
    try:
        path = os.readlink(f"/proc/{process.client_pid(environ)}/exe")
    except OSError:
        return None
    return None if os.path.basename(path).startswith(("node", "bun")) else path


def _hooks(plugin: str) -> Iterator[tuple[str, str]]:
    path = os.path.join(plugin, "hooks", "hooks.json")
    declared = _json_file(path)
    missing = [event for event in HOOK_EVENTS if event not in (declared or {}).get("hooks", {})]
    if declared is None or missing:
        yield BAD, f"{path} is missing or lacks {', '.join(missing)}: install the plugin again."
    elif not os.access(os.path.join(plugin, "hooks", "run"), os.X_OK):
        yield BAD, f"{plugin}/hooks/run is not executable: `chmod +x` it, or install the plugin again."
    elif os.environ.get("BATCH_IMPLEMENT_DISABLED") == "1":
        yield BAD, "BATCH_IMPLEMENT_DISABLED=1 is set: no hook does anything. Unset it before you start Claude Code."
    else:
        yield GOOD, f"hooks of {plugin}"


def _state(project: Project) -> Iterator[tuple[str, str]]:
    state = Store(project).read()
    if state is None:
        yield GOOD, f"no batch in {project.root}"
        return
    status = state["status"].replace("_", " ")
    yield GOOD, f"batch {state['batch_id']}, revision {state['revision']}, {status}, in {project.state}"
    if model.is_live(state) and not state["policy"]["verify"] and state["policy"]["evidence"]:
        yield (
            LOOK,
            "The batch has no verify command: a commit is all that `done` asks for. `--verify CMD` at the start asks "
            "for more.",
        )


def _gh(project: Project) -> Iterator[tuple[str, str]]:
    """Whether a batch made of issues can reach them; nothing for any other."""
    state = Store(project).read_if_usable()
    if state is None or not state.get("issue_numbers"):
        return
    from . import gh

    try:
        yield GOOD, f"gh reaches {gh.repository(project.root).url}"
    except Refused as error:
        yield LOOK, f"{error.message} Without it the batch goes on, but nothing is written to its issues."


def _permissions(project: Project, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    home = environ.get("CLAUDE_CONFIG_DIR") or os.path.join(environ.get("HOME", os.path.expanduser("~")), ".claude")
    places = [
        os.path.join(project.root, ".claude", "settings.json"),
        os.path.join(project.root, ".claude", "settings.local.json"),
        os.path.join(home, "settings.json"),
    ]
    denied: List[str] = []
    for place in places:
        settings = _json_file(place) or {}
        if settings.get("disableAllHooks") is True:
            yield BAD, f"{place} has disableAllHooks: nothing would keep the batch going. Take it out."
        permissions = settings.get("permissions")
        for kind in ("deny", "ask"):
            rules = permissions.get(kind) if isinstance(permissions, dict) else None
            needed = ("Bash", "Edit", "Write", "Skill", "Agent")
            for rule in rules if isinstance(rules, list) else []:
                tool = str(rule).split("(")[0]
                about = str(rule)[len(tool) + 1 :]
                if tool in needed and (not about or about.startswith(("git", "batchctl", "*", "auto-implement"))):
                    denied.append(f"{kind} {rule} in {place}")
    if denied:
        yield (
            BAD,
            f"These permission rules would stop an unattended night: {'; '.join(denied)}. Take them out or narrow "
            "them.",
        )
    else:
        yield GOOD, "no permission rule stands in the way of git, batchctl or the worker"


def _json_file(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
