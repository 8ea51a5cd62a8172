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
OK, WARNING, ERROR = "ok", "warn", "error"


def run_checks(project: Project, environ: Mapping[str, str], plugin: str) -> List[Dict[str, str]]:
    """One `{check, verdict, text}` each: `ok`, `warn` (works, but not as well as it could) or `error` (with the
    remedy).
    """
    program = environ.get("CLAUDE_CODE_EXECPATH") or _find_running_client(environ) or shutil.which("claude")
    return collect_checks(
        [
            ("python", check_python),
            ("pyyaml", _check_pyyaml),
            ("git", lambda: check_git(project)),
            ("git", lambda: _check_working_tree(project)),
            ("client", lambda: check_client(program)),
            ("hooks", lambda: check_hooks(plugin)),
            ("state", lambda: _check_state(project)),
            ("gh", lambda: _check_gh(project)),
            ("permissions", lambda: _check_permissions(project, environ)),
        ]
    )


def collect_checks(looks: Sequence[Tuple[str, Look]]) -> List[Dict[str, str]]:
    """What these looks find, in order, as `check` has it. One that cannot be taken is `bad`, with the error's words."""
    found: List[Dict[str, str]] = []
    for name, look in looks:
        try:
            found += [{"check": name, "verdict": verdict, "text": text} for verdict, text in look()]
        except BatchError as error:
            found.append({"check": name, "verdict": ERROR, "text": error.message})
    return found


def format_checks(found: Sequence[Mapping[str, str]]) -> List[str]:
    """What was found, a line each."""
    return [f"{entry['verdict']:<5}  {entry['check']:<11}  {entry['text']}" for entry in found]


def check_python() -> Iterator[Tuple[str, str]]:
    """The interpreter that runs this."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        yield ERROR, f"Python {version} at {sys.executable} is too old: 3.9 or newer is needed first on PATH."
        return
    yield OK, f"Python {version} at {sys.executable}"
    first = shutil.which("python3")
    if first and os.path.realpath(first) != os.path.realpath(sys.executable):
        with open(first, "rb") as file:
            if file.read(2) == b"#!":
                yield (
                    WARNING,
                    f"`python3` is a script ({first}), as version managers have it: slow to start. The hooks remember "
                    "the real one.",
                )


def _check_pyyaml() -> Iterator[Tuple[str, str]]:
    spec, _ = yaml_support.find_pyyaml(yaml_support.forbidden_folders())
    if spec is None or spec.origin is None:
        yield OK, "no PyYAML for this Python: only a list in YAML needs it (`pip install pyyaml` with that Python)"
    else:
        yield OK, f"PyYAML in {os.path.dirname(spec.origin)}"


def check_git(project: Project) -> Iterator[Tuple[str, str]]:
    """git itself, the repository, and who commits in it."""
    yield OK, git_client.get_version()
    if project.git_dir is None or not git_client.is_repository(project.root):
        yield ERROR, f"{git_client.explain_missing_repository(project.root)}."
        return
    if not git_client.has_identity(project.root):
        yield ERROR, "git does not know who commits: set user.name and user.email with `git config`."


def _check_working_tree(project: Project) -> Iterator[Tuple[str, str]]:
    if project.git_dir is None or not git_client.is_repository(project.root):
        return
    if git_client.get_head(project.root) is None:
        yield WARNING, "There is no commit yet: leftovers of a failed feature cannot be stashed before the first one."
    tracked, _ = git_client.list_changes(project.root)
    if tracked:
        yield (
            WARNING,
            f"{prompts.pluralize(len(tracked), 'tracked file')} modified or staged: a new batch would be refused until "
            "that is committed or stashed.",
        )


def check_client(program: Optional[str]) -> Iterator[Tuple[str, str]]:
    """The client's program, None when none was found, and its version."""
    if not program:
        yield ERROR, "`claude` was not found on PATH: install Claude Code (npm package @anthropic-ai/claude-code)."
        return
    try:
        said = _run_client_version(program)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield ERROR, f"{program} does not start: {error}"
        return
    version = _parse_client_version(said)
    if version is None:
        yield WARNING, f"{program} says {said.strip()[:80]!r}; the version could not be read."
    elif version < MEASURED_CLIENT:
        yield (
            WARNING,
            f"Claude Code {_format_version(version)} at {program} is older than {_format_version(MEASURED_CLIENT)}, "
            "which the hooks were measured with: update it.",
        )
    else:
        yield OK, f"Claude Code {_format_version(version)} at {program}"


def read_client_version(program: str) -> Optional[Tuple[int, ...]]:
    """The version of the client `program`; None when it does not start or says none."""
    try:
        return _parse_client_version(_run_client_version(program))
    except (OSError, subprocess.TimeoutExpired):
        return None


def _run_client_version(program: str) -> str:
    answer = subprocess.run(
        [program, "--version"], capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=20, check=False
    )
    return answer.stdout


def _parse_client_version(said: str) -> Optional[Tuple[int, ...]]:
    """The version that `claude --version` says, as three numbers; None when there is none in it."""
    parts = said.partition(" ")[0].strip().split(".")
    return tuple(map(int, parts)) if len(parts) == 3 and all(part.isdigit() for part in parts) else None


def _format_version(version: Tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _find_running_client(environ: Mapping[str, str]) -> Optional[str]:
    """Path of the client that this runs under, where the system tells it: hooks are told its process id only."""
    try:
        path = os.readlink(f"/proc/{processes.find_client_pid(environ)}/exe")
    except OSError:
        return None
    return None if os.path.basename(path).startswith(("node", "bun")) else path


def check_hooks(plugin: str) -> Iterator[Tuple[str, str]]:
    """The hooks of the plugin in the folder `plugin`."""
    path = os.path.join(plugin, "hooks", "hooks.json")
    declared = claude_settings.read_json_object(path)
    missing = [event for event in HOOK_EVENTS if event not in (declared or {}).get("hooks", {})]
    if declared is None or missing:
        yield ERROR, f"{path} is missing or lacks {', '.join(missing)}: install the plugin again."
    elif not os.access(os.path.join(plugin, "hooks", "run"), os.X_OK):
        yield ERROR, f"{plugin}/hooks/run is not executable: `chmod +x` it, or install the plugin again."
    elif os.environ.get("BATCH_IMPLEMENT_DISABLED") == "1":
        yield ERROR, "BATCH_IMPLEMENT_DISABLED=1 is set: no hook does anything. Unset it before you start Claude Code."
    else:
        yield OK, f"hooks of {plugin}"


def _check_state(project: Project) -> Iterator[Tuple[str, str]]:
    state = Store(project).read()
    if state is None:
        yield OK, f"no batch in {project.root}"
        return
    status = state["status"].replace("_", " ")
    yield OK, f"batch {state['batch_id']}, revision {state['revision']}, {status}, in {project.state}"
    if batch_state.is_live(state) and not state["policy"]["verify"] and state["policy"]["evidence"]:
        yield (
            WARNING,
            "The batch has no verify command: a commit is all that `done` asks for. `--verify CMD` at the start asks "
            "for more.",
        )


def _check_gh(project: Project) -> Iterator[Tuple[str, str]]:
    """Whether a batch made of issues can reach them; nothing for any other."""
    state = Store(project).read_if_usable()
    if state is None or not state.get("issue_numbers"):
        return
    from ..git import gh

    try:
        yield OK, f"gh reaches {gh.get_repository(project.root).url}"
    except RefusedError as error:
        yield WARNING, f"{error.message} Without it the batch goes on, but nothing is written to its issues."


def _check_permissions(project: Project, environ: Mapping[str, str]) -> Iterator[Tuple[str, str]]:
    found = claude_settings.read_settings(project.root, environ)
    yield from check_permission_rules(found, claude_settings.CONVERSATION_CALLS)
    folder = claude_settings.find_trust_folder(project.root, project.git_dir)
    unheard = claude_settings.find_ignored_settings(found, project.root, folder, environ)
    if unheard:
        yield WARNING, f"{untrusted_folder_message(unheard, folder)} `claude -p` does not ask."


def untrusted_folder_message(unheard: str, folder: str) -> str:
    """What to do about settings at `unheard` that go unheard because `folder` is not trusted."""
    return (
        f"Claude Code ignores what {unheard} allows, because {folder} is not trusted: start `claude` there once and "
        "choose yes."
    )


def check_permission_rules(
    found: claude_settings.Settings, calls: Sequence[Tuple[str, str]]
) -> Iterator[Tuple[str, str]]:
    """Whether settings keep the hooks from running, or a client from these calls."""
    for why in claude_settings.find_disabled_hooks(found):
        yield ERROR, why
    denied = claude_settings.find_forbidding_rules(found, calls)
    if denied:
        yield (
            ERROR,
            f"These permission rules would stop an unattended night: {'; '.join(denied)}. Take them out or narrow "
            "them.",
        )
    else:
        yield OK, "no permission rule stands in the way of git, batchctl or the worker"
