"""Check for everything that would stop a batch: `batchctl doctor`. Changes nothing.

    checks = run_checks(project, os.environ, plugin)
    checks = collect_checks([("python", check_python), ...])     some of them; each yields (verdict, text) pairs

The verdict is OK, WARNING (works, but not as well as it could) or ERROR (the text says what to do).
"""

from __future__ import annotations

import json
import os
import shutil
import sys

from ..base import process_identity, subprocesses
from ..core import batch_state, prompts
from ..core.errors import BatchError, RefusedError, StateError
from ..features.data_formats import yaml_support
from ..git import git_client
from ..store import snapshot
from . import claude_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

    from ..base.project_paths import Project

    Verdicts = Iterator[Tuple[str, str]]
    Check = Callable[[], Verdicts]

OLDEST_PYTHON = (3, 9)
MEASURED_CLIENT = (2, 1, 330)
VERSION_TIMEOUT_S = 20
HOOK_EVENTS = ("PreToolUse", "PostToolUse", "Stop", "SubagentStop", "SessionStart", "PreCompact", "UserPromptExpansion")
OK, WARNING, ERROR = "ok", "warn", "error"


def run_checks(project: Project, environ: Mapping[str, str], plugin: str) -> List[Dict[str, str]]:
    """Return the results of all checks: dicts with `check` (its name), `verdict` and `text`."""
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
            ("worktrees", lambda: _check_worktrees(project)),
            ("gh", lambda: _check_gh(project)),
            ("permissions", lambda: _check_permissions(project, environ)),
        ]
    )


def collect_checks(checks: Sequence[Tuple[str, Check]]) -> List[Dict[str, str]]:
    """Run named checks and return their results. An error that a check raises is its result."""
    results: List[Dict[str, str]] = []
    for name, check in checks:
        try:
            results += [{"check": name, "verdict": verdict, "text": text} for verdict, text in check()]
        except BatchError as error:
            results.append({"check": name, "verdict": ERROR, "text": error.message})
    return results


def format_checks(results: Sequence[Mapping[str, str]]) -> List[str]:
    """Return one line for each result."""
    return [f"{result['verdict']:<5}  {result['check']:<11}  {result['text']}" for result in results]


def check_python() -> Verdicts:
    """Check the Python interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        yield ERROR, f"Python {version} at {sys.executable} is too old: 3.9 or newer is needed first on PATH."
        return
    yield OK, f"Python {version} at {sys.executable}"
    first = shutil.which("python3")
    if first and os.path.realpath(first) != os.path.realpath(sys.executable):
        with open(first, "rb") as file:
            is_script = file.read(2) == b"#!"
        if is_script:
            yield WARNING, f"`python3` is a script ({first}), slow to start. The hooks remember the real interpreter."


def _check_pyyaml() -> Verdicts:
    spec, _ = yaml_support.find_pyyaml(yaml_support.forbidden_folders())
    if spec is None or spec.origin is None:
        yield OK, "no PyYAML for this Python: only a list in YAML needs it (`pip install pyyaml` with that Python)"
    else:
        yield OK, f"PyYAML in {os.path.dirname(spec.origin)}"


def check_git(project: Project) -> Verdicts:
    """Check git, the repository and the identity of the committer."""
    yield OK, git_client.require_version()
    if project.git_dir is None or not git_client.is_repository(project.root):
        yield ERROR, f"{git_client.explain_missing_repository(project.root)}."
        return
    if not git_client.has_identity(project.root):
        yield ERROR, "git user.name and user.email are not set: set them with `git config`."


def _check_working_tree(project: Project) -> Verdicts:
    if project.git_dir is None or not git_client.is_repository(project.root):
        return
    if git_client.get_head(project.root) is None:
        yield WARNING, "There is no commit yet: a run needs one."
    tracked, _ = git_client.list_changes(project.root)
    if tracked:
        files = prompts.pluralize(len(tracked), "tracked file")
        yield WARNING, f"{files} modified or staged: commit or stash that before you start a batch."


def check_client(program: Optional[str]) -> Verdicts:
    """Check the program of the client (None if it was not found) and its version."""
    if not program:
        yield ERROR, "`claude` was not found on PATH: install Claude Code (npm package @anthropic-ai/claude-code)."
        return
    try:
        output = _run_client_version(program)
    except OSError as error:
        yield ERROR, f"{program} does not start: {error}. Give the path of `claude`: `batchctl run --client PATH`."
        return
    version = _parse_client_version(output)
    if version is None:
        yield WARNING, f"Unknown version of {program}: it printed {output.strip()[:80]!r}."
    elif version < MEASURED_CLIENT:
        tested = _format_version(MEASURED_CLIENT)
        yield WARNING, f"Claude Code {_format_version(version)} at {program} is older than {tested}: update it."
    else:
        yield OK, f"Claude Code {_format_version(version)} at {program}"


def read_client_version(program: str) -> Optional[Tuple[int, ...]]:
    """Return the version of a client; None when it does not start or prints none."""
    try:
        return _parse_client_version(_run_client_version(program))
    except OSError:
        return None


def _run_client_version(program: str) -> str:
    result = subprocesses.run([program, "--version"], timeout_s=VERSION_TIMEOUT_S)
    if result.timed_out:
        raise TimeoutError(f"`--version` did not end within {VERSION_TIMEOUT_S} s")
    return result.stdout.decode("utf-8", "replace")


def _parse_client_version(output: str) -> Optional[Tuple[int, ...]]:
    """Return the version in the output of `claude --version` as three numbers; None when it has none."""
    parts = output.partition(" ")[0].strip().split(".")
    return tuple(map(int, parts)) if len(parts) == 3 and all(part.isdigit() for part in parts) else None


def _format_version(version: Tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _find_running_client(environ: Mapping[str, str]) -> Optional[str]:
    """Return the path of the client that runs this process, if /proc has it; hooks get only its process id."""
    try:
        path = os.readlink(f"/proc/{process_identity.find_client_pid(environ)}/exe")
    except OSError:
        return None
    return None if os.path.basename(path).startswith(("node", "bun")) else path


def check_hooks(plugin: str) -> Verdicts:
    """Check the hooks of the plugin in the folder `plugin`."""
    path = os.path.join(plugin, "hooks", "hooks.json")
    declared = claude_settings.read_json_object(path)
    missing = [event for event in HOOK_EVENTS if event not in (declared or {}).get("hooks", {})]
    if declared is None or missing:
        yield ERROR, f"{path} is missing or lacks {', '.join(missing)}: install the plugin again."
    elif not os.access(os.path.join(plugin, "hooks", "run"), os.X_OK):
        yield ERROR, f"{plugin}/hooks/run is not executable: `chmod +x` it, or install the plugin again."
    elif os.environ.get("BATCH_IMPLEMENT_DISABLED") == "1":
        yield ERROR, "BATCH_IMPLEMENT_DISABLED=1 disables all hooks. Unset it before you start Claude Code."
    else:
        yield OK, f"hooks of {plugin}"


def _check_state(project: Project) -> Verdicts:
    state = snapshot.read_snapshot(project)
    if state is None:
        yield OK, f"no batch in {project.root}"
        return
    status = state["status"].replace("_", " ")
    yield OK, f"batch {state['batch_id']}, revision {state['revision']}, {status}, in {project.state}"
    if batch_state.is_live(state) and not state["policy"]["verify"] and state["policy"]["evidence"]:
        yield WARNING, "The batch has no verify command, only a commit is required. Create batches with `--verify CMD`."


def _check_worktrees(project: Project) -> Verdicts:
    """Check for worktrees of batches that are not the one in progress. Yields nothing without any."""
    from ..git import batch_remains

    if project.git_dir is None or not git_client.is_repository(project.root):
        return
    try:
        state = snapshot.read_snapshot(project)
    except StateError:
        return  # the check of the state reports it
    live = state["batch_id"] if state is not None and batch_state.is_live(state) else None
    items = batch_remains.list_remains(project.root)
    left = [item for item in items if item.kind == "worktree" and item.batch_id != live]
    if left:
        are_left = "is" if len(left) == 1 else "are"
        count = prompts.pluralize(len(left), "worktree")
        yield WARNING, f"{count} of earlier batches {are_left} left: `batchctl clean` lists what may be removed."


def _check_gh(project: Project) -> Verdicts:
    """Check that a batch made of issues can reach them. Yields nothing for other batches."""
    from ..git import gh

    try:
        state = snapshot.read_snapshot(project)
    except StateError:
        return  # the check of the state reports it
    if state is None or not state.get("issue_numbers"):
        return
    try:
        yield OK, f"gh reaches {gh.get_repository(project.root).url}"
    except RefusedError as error:
        yield WARNING, f"{error.message} Without it the batch continues, but nothing is written to its issues."


def _check_permissions(project: Project, environ: Mapping[str, str]) -> Verdicts:
    settings = claude_settings.read_settings(project.root, environ)
    yield from check_permission_rules(settings, claude_settings.CONVERSATION_CALLS)
    folder = claude_settings.find_trust_folder(project.root, project.git_dir)
    ignored = claude_settings.find_ignored_settings(settings, project.root, folder, environ)
    if ignored:
        yield WARNING, f"{untrusted_folder_message(ignored, folder)} `claude -p` does not ask."
    verify = _read_verify_command(project)
    if verify:
        effective = [(place, data) for place, data in settings if place != ignored]
        missing = claude_settings.list_missing_rules(effective, (), verify)
        if missing:
            yield WARNING, describe_missing_rules(verify, missing)


def _read_verify_command(project: Project) -> Optional[str]:
    """Return the verify command of the unfinished batch, if there is one that can be read."""
    try:
        state = snapshot.read_snapshot(project)
    except (BatchError, OSError):
        return None
    verify: Optional[str] = state["policy"]["verify"] if state and batch_state.is_live(state) else None
    return verify


def describe_missing_rules(verify: str, missing: Sequence[str]) -> str:
    """Return what a worker in the default permission mode is refused, and the rules that allow it."""
    rules = json.dumps({"permissions": {"allow": list(missing)}})
    return (
        f"A worker in the default permission mode may not run `{verify[:80]}` or variants of it; `batchctl done` still "
        f"runs it. Allow it in .claude/settings.json: {rules}."
    )


def untrusted_folder_message(path: str, folder: str) -> str:
    """Return what to do about the settings in `path`, which are ignored because `folder` is not trusted."""
    return (
        f"Claude Code ignores what {path} allows, because {folder} is not trusted: start `claude` there once and "
        "choose yes."
    )


def check_permission_rules(settings: claude_settings.Settings, calls: Sequence[Tuple[str, str]]) -> Verdicts:
    """Check that settings let the hooks run and let a client make these calls."""
    for problem in claude_settings.find_disabled_hooks(settings):
        yield ERROR, problem
    denied = claude_settings.find_forbidding_rules(settings, calls)
    if denied:
        yield ERROR, f"Permission rules would stop an unattended run: {'; '.join(denied)}. Remove or narrow them."
    else:
        yield OK, "no permission rule blocks git, batchctl or the worker"
