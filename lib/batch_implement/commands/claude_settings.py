"""What Claude Code's settings keep a client from, and what they let it do without asking.

    found = permissions.settings(root, environ)         the settings files that there are, as (path, object)
    permissions.forbidding(found, calls)                `deny Bash(git:*) in PATH` for each rule that hits a call
    permissions.allowed(found, ["Bash(make:*)"], "make test")
    permissions.ignored(found, root, permissions.trusted_as(root, git_dir), environ)    the settings that go unheard

A call is a tool and what it is called with: `("Bash", "git add -A")`, `("Edit", "")`. A rule is read as the settings
have it: `Tool` or `Tool(...)`; `...` of Bash is a command, its beginning (`git:*`) or a pattern with `*`. A rule about
some paths or some other tools hits none of our calls. Nobody is there at night to be asked, so `ask` stops a client as
`deny` does. Reads only; what is no settings file is left out.

What the project's own settings allow, Claude Code hears only in a folder that a person has said to trust (measured with
2.1.330). Trust is of one folder exactly: of its parent is not enough, and a linked work tree goes by the main one.
"""

from __future__ import annotations

import json
import os
import re
import sys

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
    """The settings that hold in the project at `root`: of the organisation, the project, this clone, the person."""
    home = environ.get("CLAUDE_CONFIG_DIR") or os.path.join(environ.get("HOME", os.path.expanduser("~")), ".claude")
    places = [
        MANAGED_SETTINGS,
        os.path.join(root, ".claude", "settings.json"),
        os.path.join(root, ".claude", "settings.local.json"),
        os.path.join(home, "settings.json"),
    ]
    return [(place, data) for place in places for data in [read_json_object(place)] if data is not None]


def read_json_object(path: str) -> Optional[Dict[str, Any]]:
    """The JSON object in a file; None when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def find_disabled_hooks(found: Settings) -> Iterator[str]:
    """Why no hook of the plugin would run, a sentence each."""
    for place, data in found:
        if data.get("disableAllHooks") is True:
            yield f"{place} has disableAllHooks: nothing would keep the batch going. Take it out."
        if place == MANAGED_SETTINGS and data.get("allowManagedHooksOnly") is True:
            yield f"{place} has allowManagedHooksOnly: the plugin's hooks do not run. Ask whoever manages it."


def find_forbidding_rules(found: Settings, calls: Sequence[Tuple[str, str]]) -> List[str]:
    """The rules that keep a client from one of these calls, each with its kind and place."""
    return [
        f"{kind} {rule} in {place}"
        for place, data in found
        for kind in ("deny", "ask")
        for rule in _read_rules(data, kind)
        if any(is_rule_match(rule, *call) for call in calls)
    ]


def is_command_allowed(found: Settings, given: Iterable[str], command: str) -> bool:
    """Whether the settings or the rules `given` let a client run a shell command unasked, each part of it."""
    rules = [*given, *(rule for _, data in found for rule in _read_rules(data, "allow"))]
    return all(any(is_rule_match(rule, "Bash", part) for rule in rules) for part in split_shell_line(command))


def split_shell_line(command: str) -> List[str]:
    """The commands of a shell line, as far as its `&&`, `||`, `;` and `|` show them: a rule is about one of them."""
    found = [" ".join(part.split()) for part in _SEPARATORS.split(command)]
    return [part for part in found if part]


def find_ignored_settings(found: Settings, root: str, folder: str, environ: Mapping[str, str]) -> Optional[str]:
    """Path of the project's settings, when they allow something and Claude Code ignores that because `folder`, which
    its trust goes by, is not trusted; else None.
    """
    own = os.path.join(root, ".claude", "settings.json")
    allowing = any(place == own and any(_read_rules(data, "allow")) for place, data in found)
    return own if allowing and not _is_folder_trusted(folder, environ) else None


def find_trust_folder(root: str, git_dir: Optional[str]) -> str:
    """The folder whose trust a client in the work tree `root` goes by; `git_dir` is the git folder of that tree."""
    if git_dir is not None and os.path.exists(os.path.join(git_dir, "commondir")):
        return find_linked_trust_folder(git_dir)
    return os.path.realpath(root)


def find_linked_trust_folder(git_dir: str) -> str:
    """The folder whose trust a client in a work tree of its own beside that of `git_dir` goes by: the main work tree,
    or the repository itself when it lies elsewhere, as a submodule's does.
    """
    try:
        with open(os.path.join(git_dir, "commondir"), encoding="utf-8", errors="surrogateescape") as file:
            common = os.path.realpath(os.path.join(git_dir, file.readline().rstrip("\n")))
    except OSError:
        common = os.path.realpath(git_dir)
    return os.path.dirname(common) if os.path.basename(common) == ".git" else common


def find_disabled_bypass(found: Settings) -> List[str]:
    """The places that switch the mode bypassPermissions off."""
    return [
        place
        for place, data in found
        for held in [data.get("permissions")]
        if isinstance(held, dict) and held.get("disableBypassPermissionsMode") == "disable"
    ]


def is_rule_match(rule: str, tool: str, about: str) -> bool:
    """Whether a rule is about a call."""
    read = _RULE.fullmatch(rule.strip())
    if read is None or ("Agent" if read[1] == "Task" else read[1]) not in (tool, "*"):
        return False
    named = (read[2] or "").strip()
    if named in ("", "*"):
        return True
    if tool not in ("Bash", "Skill", "Agent"):
        return named in _EVERY_PATH
    if named.endswith(":*"):
        begins = named[:-2]
        return about == begins or about.startswith(f"{begins} ")
    if tool == "Bash":
        pattern = ".*".join(map(re.escape, named.split("*")))
        return bool(re.fullmatch(pattern, about, re.DOTALL)) or named == f"{about} *"
    return named in (about, f"batch-implement:{about}")


def _is_folder_trusted(folder: str, environ: Mapping[str, str]) -> bool:
    home = environ.get("HOME", os.path.expanduser("~"))
    given = environ.get("CLAUDE_CONFIG_DIR")
    known = read_json_object(os.path.join(given or os.path.join(home, ".claude"), ".config.json"))
    if known is None:  # where that old place has one, the client reads no other
        known = read_json_object(os.path.join(given or home, ".claude.json")) or {}
    projects = known.get("projects")
    entry = projects.get(folder) if isinstance(projects, dict) else None
    return isinstance(entry, dict) and entry.get("hasTrustDialogAccepted") is True


def _read_rules(data: Dict[str, Any], kind: str) -> List[str]:
    held = data.get("permissions")
    rules = held.get(kind) if isinstance(held, dict) else None
    return [rule for rule in rules if isinstance(rule, str)] if isinstance(rules, list) else []
