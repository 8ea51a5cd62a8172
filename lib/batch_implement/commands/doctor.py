"""`batchctl doctor`: everything that would stop a batch, each with its remedy. Looks, and changes nothing.

found = check(project, os.environ, plugin)          all of it
found = gathered([("python", python), ...])         some of it: each look gives (verdict, text) pairs
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from ..base import processes
from ..core import batch_state, prompts
from ..core.errors import BatchError, RefusedError
from ..features import yaml_support
from ..git import git_client
from ..store.store import Store
from . import claude_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

    from ..base.project_paths import Project

    Look = Callable[[], Iterator[Tuple[str, str]]]

OLDEST_PYTHON = (3, 9)
MEASURED_CLIENT = (2, 1, 330)
HOOK_EVENTS = ("PreToolUse", "PostToolUse", "Stop", "SubagentStop", "SessionStart", "PreCompact", "UserPromptExpansion")
GOOD, LOOK, BAD = "ok", "look", "bad"


def check(project: Project, environ: Mapping[str, str], plugin: str) -> List[Dict[str, str]]:
    """One `{check, verdict, text}` each: `ok`, `look` (works, but not as well as it could) or `bad` (with the
    remedy).
    """
    program = environ.get("CLAUDE_CODE_EXECPATH") or _running_client(environ) or shutil.which("claude")
    return gathered(
        [
            ("python", python),
            ("pyyaml", _pyyaml),
            ("git", lambda: git(project)),
            ("git", lambda: _tree(project)),
            ("client", lambda: client(program)),
            ("hooks", lambda: hooks(plugin)),
            ("state", lambda: _state(project)),
            ("gh", lambda: _gh(project)),
            ("permissions", lambda: _permissions(project, environ)),
        ]
    )


def gathered(looks: Sequence[Tuple[str, Look]]) -> List[Dict[str, str]]:
    """What these looks find, in order, as `check` has it. One that cannot be taken is `bad`, with the error's words."""
    found: List[Dict[str, str]] = []
    for name, look in looks:
        try:
            found += [{"check": name, "verdict": verdict, "text": text} for verdict, text in look()]
        except BatchError as error:
            found.append({"check": name, "verdict": BAD, "text": error.message})
    return found


def lines(found: Sequence[Mapping[str, str]]) -> List[str]:
    """What was found, a line each."""
    return [f"{entry['verdict']:<4}  {entry['check']:<11}  {entry['text']}" for entry in found]


def python() -> Iterator[Tuple[str, str]]:
    """The interpreter that runs this."""
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


def _pyyaml() -> Iterator[Tuple[str, str]]:
    spec, _ = yaml_support.find(yaml_support.forbidden_folders())
    if spec is None or spec.origin is None:
        yield GOOD, "no PyYAML for this Python: only a list in YAML needs it (`pip install pyyaml` with that Python)"
    else:
        yield GOOD, f"PyYAML in {os.path.dirname(spec.origin)}"


def git(project: Project) -> Iterator[Tuple[str, str]]:
    """git itself, the repository, and who commits in it."""
    yield GOOD, git_client.version()
    if project.git_dir is None or not git_client.is_repository(project.root):
        yield BAD, f"{git_client.why_none(project.root)}."
        return
    if not git_client.has_identity(project.root):
        yield BAD, "git does not know who commits: set user.name and user.email with `git config`."


def _tree(project: Project) -> Iterator[Tuple[str, str]]:
    if project.git_dir is None or not git_client.is_repository(project.root):
        return
    if git_client.head(project.root) is None:
        yield LOOK, "There is no commit yet: leftovers of a failed feature cannot be stashed before the first one."
    tracked, _ = git_client.changes(project.root)
    if tracked:
        yield (
            LOOK,
            f"{prompts.counted(len(tracked), 'tracked file')} modified or staged: a new batch would be refused until "
            "that is committed or stashed.",
        )


def client(program: Optional[str]) -> Iterator[Tuple[str, str]]:
    """The client's program, None when none was found, and its version."""
    if not program:
        yield BAD, "`claude` was not found on PATH: install Claude Code (npm package @anthropic-ai/claude-code)."
        return
    try:
        said = _version_of(program)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield BAD, f"{program} does not start: {error}"
        return
    version = _version_in(said)
    if version is None:
        yield LOOK, f"{program} says {said.strip()[:80]!r}; the version could not be read."
    elif version < MEASURED_CLIENT:
        yield (
            LOOK,
            f"Claude Code {_dotted(version)} at {program} is older than {_dotted(MEASURED_CLIENT)}, which the hooks "
            "were measured with: update it.",
        )
    else:
        yield GOOD, f"Claude Code {_dotted(version)} at {program}"


def client_version(program: str) -> Optional[Tuple[int, ...]]:
    """The version of the client `program`; None when it does not start or says none."""
    try:
        return _version_in(_version_of(program))
    except (OSError, subprocess.TimeoutExpired):
        return None


def _version_of(program: str) -> str:
    answer = subprocess.run(
        [program, "--version"], capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=20, check=False
    )
    return answer.stdout


def _version_in(said: str) -> Optional[Tuple[int, ...]]:
    """The version that `claude --version` says, as three numbers; None when there is none in it."""
    parts = said.partition(" ")[0].strip().split(".")
    return tuple(map(int, parts)) if len(parts) == 3 and all(part.isdigit() for part in parts) else None


def _dotted(version: Tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _running_client(environ: Mapping[str, str]) -> Optional[str]:
    """Path of the client that this runs under, where the system tells it: hooks are told its process id only."""
    try:
        path = os.readlink(f"/proc/{processes.client_pid(environ)}/exe")
    except OSError:
        return None
    return None if os.path.basename(path).startswith(("node", "bun")) else path


def hooks(plugin: str) -> Iterator[Tuple[str, str]]:
    """The hooks of the plugin in the folder `plugin`."""
    path = os.path.join(plugin, "hooks", "hooks.json")
    declared = claude_settings.json_file(path)
    missing = [event for event in HOOK_EVENTS if event not in (declared or {}).get("hooks", {})]
    if declared is None or missing:
        yield BAD, f"{path} is missing or lacks {', '.join(missing)}: install the plugin again."
    elif not os.access(os.path.join(plugin, "hooks", "run"), os.X_OK):
        yield BAD, f"{plugin}/hooks/run is not executable: `chmod +x` it, or install the plugin again."
    elif os.environ.get("BATCH_IMPLEMENT_DISABLED") == "1":
        yield BAD, "BATCH_IMPLEMENT_DISABLED=1 is set: no hook does anything. Unset it before you start Claude Code."
    else:
        yield GOOD, f"hooks of {plugin}"


def _state(project: Project) -> Iterator[Tuple[str, str]]:
    state = Store(project).read()
    if state is None:
        yield GOOD, f"no batch in {project.root}"
        return
    status = state["status"].replace("_", " ")
    yield GOOD, f"batch {state['batch_id']}, revision {state['revision']}, {status}, in {project.state}"
    if batch_state.is_live(state) and not state["policy"]["verify"] and state["policy"]["evidence"]:
        yield (
            LOOK,
            "The batch has no verify command: a commit is all that `done` asks for. `--verify CMD` at the start asks "
            "for more.",
        )


def _gh(project: Project) -> Iterator[Tuple[str, str]]:
    """Whether a batch made of issues can reach them; nothing for any other."""
    state = Store(project).read_if_usable()
    if state is None or not state.get("issue_numbers"):
        return
    from ..git import gh

    try:
        yield GOOD, f"gh reaches {gh.repository(project.root).url}"
    except RefusedError as error:
        yield LOOK, f"{error.message} Without it the batch goes on, but nothing is written to its issues."


def _permissions(project: Project, environ: Mapping[str, str]) -> Iterator[Tuple[str, str]]:
    found = claude_settings.settings(project.root, environ)
    yield from rules(found, claude_settings.IN_A_CONVERSATION)
    folder = claude_settings.trusted_as(project.root, project.git_dir)
    unheard = claude_settings.ignored(found, project.root, folder, environ)
    if unheard:
        yield LOOK, f"{not_trusted(unheard, folder)} `claude -p` does not ask."


def not_trusted(unheard: str, folder: str) -> str:
    """What to do about settings at `unheard` that go unheard because `folder` is not trusted."""
    return (
        f"Claude Code ignores what {unheard} allows, because {folder} is not trusted: start `claude` there once and "
        "choose yes."
    )


def rules(found: claude_settings.Settings, calls: Sequence[Tuple[str, str]]) -> Iterator[Tuple[str, str]]:
    """Whether settings keep the hooks from running, or a client from these calls."""
    for why in claude_settings.without_hooks(found):
        yield BAD, why
    denied = claude_settings.forbidding(found, calls)
    if denied:
        yield (
            BAD,
            f"These permission rules would stop an unattended night: {'; '.join(denied)}. Take them out or narrow "
            "them.",
        )
    else:
        yield GOOD, "no permission rule stands in the way of git, batchctl or the worker"
