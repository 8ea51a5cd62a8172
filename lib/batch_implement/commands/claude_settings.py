"""Read what Claude Code's settings forbid a client, and what they allow it without asking.

    settings = read_settings(root, environ)             the existing settings files, as (path, object)
    find_forbidding_rules(settings, calls)              `deny Bash(git:*) in PATH` for each rule that matches a call
    list_missing_rules(settings, [], "make test")       `["Bash(make test:*)"]`: what lets a client run variants of it
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
    ("Bash", "git status"), ("Bash", "git add file.txt"), ("Bash", "git commit -m message"), ("Bash", "batchctl done"),
    ("Edit", ""), ("Write", ""),
    ("Agent", "batch-implement:reviewer"),
)  # fmt: skip
CONVERSATION_CALLS = (*WORKER_CALLS, ("Skill", "auto-implement"), ("Agent", "batch-implement:worker"))
_RULE = re.compile(r"(\*|[A-Za-z][\w*-]*)(?:\((.*)\))?", re.DOTALL)
_EVERY_PATH = frozenset(("*", "**", "**/*", "./**", "/**", "//**"))
_SUBCOMMAND = re.compile(r"[A-Za-z][\w:-]*")  # no option, path, pattern, quotation
_INTERPRETER = re.compile(
    r"(?:python|pypy|perl|ruby|node|deno|bun|php|lua|bash|sh|zsh|dash|ksh|fish|env|sudo|nice|time|timeout|xargs|nohup|"
    r"exec|eval|docker|podman|ssh|npx|uvx|uv|poetry|pdm|hatch|npm|pnpm|yarn|make|git)[\d.]*$"
)
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*$")
MAX_BEGINNING_WORDS = 3
MAX_REFUSALS = 20
MAX_SHELL_LINE = 10_000  # characters: the expressions below take time that grows with the square of it
_ALLOWED_RULE = re.compile(
    r"Bash\((?:cd|ls|cat|echo|pwd|head|tail|grep|wc|true)\b"
)  # the client asks for none of these
_HERE_DOCUMENT = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1([^\n]*)\n(?:.*?\n)?[ \t]*\2(?=[ \t]*(?:[\n)]|$))", re.DOTALL)
_SHELL_TOKEN = re.compile(
    r"(?P<blank>\\\n|(?:^|(?<=[\s;]))\#[^\n]*)"  # a continued line, a comment
    r"|(?P<word>\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"|`[^`]*`|[<>]&|&>)"
    r"|(?P<opened>[$<>]\()|(?P<separator>&&|\|\||[;&|\n()]|(?<![^\s;])[{}](?=[\s;]|$))|(?P<rest>.)",
    re.DOTALL,
)
_SHELL_KEYWORDS = frozenset(
    ("if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "select", "function",
     "[[", "]]", "!")
)  # fmt: skip


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


def list_missing_rules(settings: Settings, extra_rules: Iterable[str], command: str) -> List[str]:
    """Return the rules to add so that a client may run a shell command, and narrower variants of it, without asking."""
    rules = [*extra_rules, *(rule for _, data in settings for rule in _read_rules(data, "allow"))]
    missing: Dict[str, None] = {}
    for part in split_shell_line(command):
        beginning = derive_beginning(part)
        # A model runs one test more often than all of them.
        variants = (part, f"{beginning} variant")
        if not all(any(is_rule_match(rule, "Bash", variant) for rule in rules) for variant in variants):
            missing[f"Bash({beginning}:*)"] = None
    return list(missing)


def count_refusals(calls: Iterable[Tuple[str, str]], rules: Sequence[str]) -> Dict[str, int]:
    """Return how often each missing rule, or several with commas, would have allowed a refused call; at most
    MAX_REFUSALS of them.

    `rules` are those that hold already. A call that they allow is not counted: something else refused it, like the
    plugin's own hook, and no rule allows it.
    """
    refusals: Dict[str, int] = {}
    for tool, command in calls:
        missing = [tool]
        if tool == "Bash":
            missing = [rule for rule in list_missing_rules([], rules, command) if not _ALLOWED_RULE.match(rule)]
        name = ", ".join(missing)  # as `--allow` takes several
        if name and (name in refusals or len(refusals) < MAX_REFUSALS):
            refusals[name] = refusals.get(name, 0) + 1
    return refusals


def derive_beginning(command: str) -> str:
    """Return the words of a command that its narrower variants share: `pytest` of `pytest -q tests`, `make test`.

    The whole command if only an interpreter would be left, which could run anything.
    """
    words = command.split()
    kept = words[:1]
    for position, word in enumerate(words[1:], 1):
        is_module = "-m" in (word, words[position - 1]) and _PYTHON.match(os.path.basename(words[0]))
        if not is_module and (not _SUBCOMMAND.fullmatch(word) or len(kept) == MAX_BEGINNING_WORDS):
            break
        kept.append(word)
    program = os.path.basename(kept[0])
    is_open = len(kept) == 1 and (len(words) == 1 or _INTERPRETER.match(program))
    return command if is_open or "=" in kept[0] or kept[0][:1] in "'\"(" else " ".join(kept)


def derive_rules(command: str) -> List[str]:
    """Return the rules that allow what a user's verify command runs and little else: each of its commands as written,
    or the words before its arguments (`make test`), and what follows. None for what no rule can name.
    """
    rules = []
    for part in split_shell_line(command):
        beginning = derive_beginning(part)
        # One word alone (`curl`) would allow far more than the user typed. A parenthesis or comma could end the rule.
        beginning = beginning if " " in beginning else part
        if not set("(),") & set(beginning):
            rules.append(f"Bash({beginning}:*)")
    return rules


def split_shell_line(command: str) -> List[str]:
    """Return the commands of a shell line, cut at `&&`, `||`, `;`, `|`, `&`, parentheses: a rule matches one of them.

    Quoted text, `$(...)`, here-documents and comments are not searched for commands. Return nothing for what no rule
    can name: unpaired quotes, loops and conditions, more than MAX_SHELL_LINE characters.
    """
    if len(command) > MAX_SHELL_LINE:
        return []
    parts, depth = [""], 0
    for match in _SHELL_TOKEN.finditer(_HERE_DOCUMENT.sub(r"\3", command)):
        kind, text = match.lastgroup, match[0]
        if kind == "rest" and text in "'\"`":
            return []
        depth += kind == "opened" or (depth > 0 and text == "(")
        if kind == "separator" and not depth:
            parts.append("")
        else:
            parts[-1] += " " if kind == "blank" else text
        depth -= depth > 0 and text == ")"
    parts = [" ".join(part.split()) for part in parts]
    if depth or any(part.split()[0] in _SHELL_KEYWORDS for part in parts if part):
        return []
    return [part for part in parts if part and part[0] not in "<>"]


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
