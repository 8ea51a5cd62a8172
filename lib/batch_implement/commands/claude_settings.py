"""Read what Claude Code's settings forbid a client, and what they allow it without asking.

    settings = read_settings(root, environ)             the existing settings files, as (path, object)
    find_forbidding_rules(settings, calls)              `deny Bash(git:*) in PATH` for each rule that matches a call
    is_command_allowed(settings, ["Bash(make:*)"], "make test")
    find_ignored_settings(settings, root, find_trust_folder(root, git_dir), environ)

A call is a tool and its argument: `("Bash", "git add -A")`, `("Edit", "")`. A rule is `Tool` or `Tool(...)`; for Bash
`...` is a command, its beginning (`git:*`) or a pattern with `*`. Rules about some paths or other tools match no call
here. `ask` counts as `deny`: in an unattended run there is nobody to ask.

Claude Code 2.1.330 ignores what the settings of a project allow unless its folder is trusted. Trust is for exactly one
folder, not for those inside it; a linked worktree has that of the main one.
"""

from __future__ import annotations

import json
import os
import re
import sys

from ..base.project_paths import find_common_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

    Settings = List[Tuple[str, Dict[str, Any]]]

MANAGED_SETTINGS = (
    "/Library/Application Support/ClaudeCode/managed-settings.json"
    if sys.platform == "darwin"
    else "/etc/claude-code/managed-settings.json"
)
WORKER_CALLS = (
    ("Bash", "git status"), ("Bash", "git add -A"), ("Bash", "git commit -m message"),
    ("Bash", "batchctl phase implement"), ("Bash", "batchctl done"), ("Edit", ""), ("Write", ""),
    ("Agent", "batch-implement:reviewer"),
)  # fmt: skip
CONVERSATION_CALLS = (*WORKER_CALLS, ("Skill", "auto-implement"), ("Agent", "batch-implement:worker"))
_RULE = re.compile(r"(\*|[A-Za-z][\w*-]*)(?:\((.*)\))?", re.DOTALL)
_EVERY_PATH = frozenset(("*", "**", "**/*", "./**", "/**", "//**"))
_SEPARATORS = re.compile(r"&&|\|\||[;|\n]")


def read_settings(root: str, environ: Mapping[str, str]) -> Settings:
    """Return the settings that apply to the project at `root`: of the organisation, project, clone and user."""
    project, user = os.path.join(root, ".claude"), _config_folder(environ)
    paths = [MANAGED_SETTINGS, f"{project}/settings.json", f"{project}/settings.local.json", f"{user}/settings.json"]
    return [(path, data) for path in paths for data in [read_json_object(path)] if data is not None]


def read_json_object(path: str) -> Optional[Dict[str, Any]]:
    """Return the JSON object in a file; None when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def find_disabled_hooks(settings: Settings) -> Iterator[str]:
    """Yield a message for each setting that disables the hooks of the plugin."""
    for path, data in settings:
        if data.get("disableAllHooks") is True:
            yield f"{path} has disableAllHooks, so the plugin's hooks do not run. Remove it."
        if path == MANAGED_SETTINGS and data.get("allowManagedHooksOnly") is True:
            yield f"{path} has allowManagedHooksOnly, so the plugin's hooks do not run. Ask whoever manages it."


def find_forbidding_rules(settings: Settings, calls: Sequence[Tuple[str, str]]) -> List[str]:
    """Return the rules that forbid one of these calls, each with its kind and file."""
    return [
        f"{kind} {rule} in {path}"
        for path, data in settings
        for kind in ("deny", "ask")
        for rule in _read_rules(data, kind)
        if any(is_rule_match(rule, *call) for call in calls)
    ]


def is_command_allowed(settings: Settings, extra_rules: Iterable[str], command: str) -> bool:
    """Return whether the settings or the extra rules allow each part of a shell command without asking."""
    rules = [*extra_rules, *(rule for _, data in settings for rule in _read_rules(data, "allow"))]
    return all(any(is_rule_match(rule, "Bash", part) for rule in rules) for part in split_shell_line(command))


def split_shell_line(command: str) -> List[str]:
    """Return the commands of a shell line between `&&`, `||`, `;` and `|`: a rule matches one of them."""
    parts = [" ".join(part.split()) for part in _SEPARATORS.split(command)]
    return [part for part in parts if part]


def find_ignored_settings(settings: Settings, root: str, folder: str, environ: Mapping[str, str]) -> Optional[str]:
    """Return the path of the project's settings if they allow something that Claude Code ignores, because `folder` (see
    `find_trust_folder`) is not trusted; else None.
    """
    project_path = os.path.join(root, ".claude", "settings.json")
    has_rules = any(path == project_path and any(_read_rules(data, "allow")) for path, data in settings)
    return project_path if has_rules and not _is_folder_trusted(folder, environ) else None


def find_trust_folder(root: str, git_dir: Optional[str]) -> str:
    """Return the folder that must be trusted for a client in the worktree `root`, whose git directory is `git_dir`."""
    if git_dir is not None and os.path.exists(os.path.join(git_dir, "commondir")):
        return find_linked_trust_folder(git_dir)
    return os.path.realpath(root)


def find_linked_trust_folder(git_dir: str) -> str:
    """Return the folder that must be trusted for a client in a linked worktree of the repository of `git_dir`: the main
    worktree, or the repository if it is outside of that, like that of a submodule.
    """
    common = find_common_dir(git_dir)
    return os.path.dirname(common) if os.path.basename(common) == ".git" else common


def find_disabled_bypass(settings: Settings) -> List[str]:
    """Return the settings files that disable the mode bypassPermissions."""
    return [
        path
        for path, data in settings
        for permissions in [data.get("permissions")]
        if isinstance(permissions, dict) and permissions.get("disableBypassPermissionsMode") == "disable"
    ]


def is_rule_match(rule: str, tool: str, argument: str) -> bool:
    """Return whether a rule matches a call."""
    match = _RULE.fullmatch(rule.strip())
    if match is None or ("Agent" if match[1] == "Task" else match[1]) not in (tool, "*"):
        return False
    pattern = (match[2] or "").strip()
    if pattern in ("", "*"):
        return True
    if tool not in ("Bash", "Skill", "Agent"):
        return pattern in _EVERY_PATH
    if pattern.endswith(":*"):
        prefix = pattern[:-2]
        return argument == prefix or argument.startswith(f"{prefix} ")
    if tool == "Bash":
        expression = ".*".join(map(re.escape, pattern.split("*")))
        return bool(re.fullmatch(expression, argument, re.DOTALL)) or pattern == f"{argument} *"
    return pattern in (argument, f"batch-implement:{argument}")


def _home_folder(environ: Mapping[str, str]) -> str:
    return environ.get("HOME", os.path.expanduser("~"))


def _config_folder(environ: Mapping[str, str]) -> str:
    return environ.get("CLAUDE_CONFIG_DIR") or f"{_home_folder(environ)}/.claude"


def _is_folder_trusted(folder: str, environ: Mapping[str, str]) -> bool:
    config = read_json_object(f"{_config_folder(environ)}/.config.json")
    if config is None:  # the client reads no other file when this old one exists
        parent = environ.get("CLAUDE_CONFIG_DIR") or _home_folder(environ)
        config = read_json_object(f"{parent}/.claude.json") or {}
    projects = config.get("projects")
    entry = projects.get(folder) if isinstance(projects, dict) else None
    return isinstance(entry, dict) and entry.get("hasTrustDialogAccepted") is True


def _read_rules(data: Dict[str, Any], kind: str) -> List[str]:
    permissions = data.get("permissions")
    rules = permissions.get(kind) if isinstance(permissions, dict) else None
    return [rule for rule in rules if isinstance(rule, str)] if isinstance(rules, list) else []
