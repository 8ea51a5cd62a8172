"""Run a user's setup command in a worktree, once, and remember what it left there.

    setup = Setup("npm ci", keep=("/.cache/",), variables={"BATCH_SLOT": "0"}, timeout_s=1800)
    is_current(folder, commit, setup)           False: it has to run
    begin(folder, setup); run(folder, commit, setup)

What the command left are the ignored paths that exist when it has ended, as `git status` lists them: a folder that is
ignored as a whole is one path. They stay when the worktree is cleaned (`list_kept_patterns`), with what matches `keep`.
The command runs again when it is another one, when something that it left is gone, and when a commit changes what it
reads: manifests and lock files, ignore files, build files, tracked files that it names.

The record is a file in the git folder of the worktree, and of each submodule in it: it goes with them.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import stat
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..base import project_paths, subprocesses
from ..base.text import clean, one_line
from ..core.errors import BatchError, StateError
from . import git_client, submodules

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading

RECORD_NAME = "batch-setup.json"
LOG_NAME = "batch-setup.log"
TAIL_BYTES = 1000
MAX_NAMED = 50  # paths in the record that are only named
MAX_PATTERN_BYTES = 500_000  # arguments of one call of git
# Names of files that setup commands read, as patterns: manifests, lock files, ignore files, versions, build files.
INPUT_NAMES = (
    ".gitignore", ".gitmodules", "*.lock", "*.lockb", "*.lockfile", "*-lock.json", "*-lock.yaml", "npm-shrinkwrap.json",
    "package.json", "pnpm-workspace.yaml", ".npmrc", ".yarnrc", ".yarnrc.yml", "bower.json", "deno.json", "deno.jsonc",
    "pyproject.toml", "setup.py", "setup.cfg", "requirements*.txt", "requirements*.in", "*requirements.txt",
    "constraints*.txt", "Pipfile", "environment.yml", "environment.yaml", "tox.ini", "noxfile.py", "Gemfile",
    "*.gemspec", "Cargo.toml", "rust-toolchain", "rust-toolchain.toml", "go.mod", "go.sum", "go.work", "go.work.sum",
    "composer.json", "pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts",
    "gradle.properties", "gradle-wrapper.properties", "libs.versions.toml", "build.sbt", "deps.edn", "project.clj",
    "*.csproj", "*.fsproj", "*.vbproj", "global.json", "packages.lock.json", "packages.config", "[Nn]u[Gg]et.config",
    "Directory.*.props", "mix.exs", "rebar.config", "pubspec.yaml", "Package.swift", "Package.resolved", "Podfile",
    "Cartfile", "stack.yaml", "*.cabal", "cabal.project", "conanfile.*", "vcpkg.json", "flake.nix", "cpanfile",
    "DESCRIPTION", "Project.toml", "Manifest.toml", ".nvmrc", ".node-version", ".python-version", ".ruby-version",
    ".java-version", ".tool-versions", "mise.toml", ".mise.toml", "Makefile", "makefile", "GNUmakefile", "justfile",
    "Justfile", "Taskfile.yml", "Taskfile.yaml", "Rakefile",
)  # fmt: skip
_IS_INPUT = re.compile("|".join(fnmatch.translate(name) for name in INPUT_NAMES)).match
_WORD = re.compile(r"[^\s;&|<>()'\"`$={}]+")


class Setup(NamedTuple):
    """A setup command, None for none, and the patterns (as in .gitignore) of what stays though it did not leave it.

    `variables` are added to the environment of this process. The command is ended after `timeout_s` seconds, and when
    `stop` is set.
    """

    command: Optional[str]
    keep: Sequence[str] = ()
    variables: Mapping[str, str] = {}
    timeout_s: float = 1800
    stop: Optional[threading.Event] = None


class SetupFailed(StateError):
    """The setup command failed, with the shell's `exit_code`. `output` is the end of what it printed."""

    def __init__(self, message: str, exit_code: int, output: str) -> None:
        super().__init__(message, "setup-failed")
        self.exit_code, self.output = exit_code, output


class SetupStopped(BatchError):
    """The setup command was ended because the run was stopped."""


def has_run(folder: str, command: Optional[str]) -> bool:
    """Return whether this very command was run in the worktree to its end."""
    record = _read_record(folder)
    return record.get("inputs") is not None and record.get("command") == command


def is_current(folder: str, commit: str, setup: Setup) -> bool:
    """Return whether what the setup command left for this commit is there."""
    record = _read_record(folder)
    if record.get("inputs") != _hash_inputs(folder, commit, setup.command) or record.get("keep") != list(setup.keep):
        return False
    return _has_all(folder, record) and all(
        _has_all(os.path.join(folder, path), _read_record(os.path.join(folder, path))) for path in list_nested(folder)
    )


def begin(folder: str, setup: Setup) -> None:
    """Record that the setup command has not run: what it left earlier is no longer kept."""
    for path in list_nested(folder):
        forget(os.path.join(folder, path))
    _write_record(folder, {"inputs": None, "command": None, "left": {}, "keep": list(setup.keep), "nested": []})


def forget(folder: str) -> None:
    """Remove the record: nothing in the worktree is kept, and the setup command has to run."""
    try:
        os.unlink(_get_path(folder, RECORD_NAME))
    except FileNotFoundError:
        pass


def run(folder: str, commit: str, setup: Setup) -> None:
    """Run the setup command in the worktree, which is at `commit`, and record what it left, in submodules too.

    Raises SetupFailed and SetupStopped.
    """
    if setup.command is not None:
        _run_command(folder, setup.command, setup)
    nested = list(submodules.iter_checked_out(folder, commit))
    for path in nested:
        left, below = _list_left(os.path.join(folder, path)), f"{path}/"
        inside = [other[len(below) :] for other in nested if other.startswith(below)]
        _write_record(os.path.join(folder, path), {"inputs": None, "left": left, "keep": [], "nested": inside})
    tracked, untracked = git_client.list_changes(folder)
    record: Dict[str, Any] = {"inputs": _hash_inputs(folder, commit, setup.command), "command": setup.command}
    record.update(changed=tracked[:MAX_NAMED], not_ignored=untracked[:MAX_NAMED])
    _write_record(folder, {**record, "left": _list_left(folder), "keep": list(setup.keep), "nested": nested})


def list_side_effects(folder: str) -> Tuple[List[str], List[str]]:
    """Return the tracked paths that the setup command changed, and those that it left and git does not ignore."""
    record = _read_record(folder)
    return record.get("changed", []), record.get("not_ignored", [])


def list_nested(folder: str) -> List[str]:
    """Return the paths of the submodules that were checked out when the setup command had ended."""
    nested: List[str] = _read_record(folder).get("nested", [])
    return nested


def list_kept_patterns(folder: str) -> List[str]:
    """Return what is kept in the repository `folder` when it is cleaned, as patterns of .gitignore."""
    record = _read_record(folder)
    return [*record.get("keep", ()), *("/" + _escape_pattern(path) for path in record.get("left", ()))]


def list_changed_inputs(root: str, base: str, commit: str, command: Optional[str]) -> List[str]:
    """Return the paths among what a setup command reads that differ between two commits."""
    before, after = (dict(_iter_inputs(root, name, command)) for name in (base, commit))
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def _run_command(folder: str, command: str, setup: Setup) -> None:
    log = _get_path(folder, LOG_NAME)
    with open(log, "wb") as output:
        ended = subprocesses.run_in_worktree(
            command, folder, setup.timeout_s, output=output, stop=setup.stop, variables=setup.variables
        )
    if ended.returncode == 0:
        return
    if ended.returncode is None and not ended.timed_out:
        raise SetupStopped("The run was stopped while the setup command ran.", "run-stopped")
    with open(log, "rb") as file:
        file.seek(max(0, os.path.getsize(log) - TAIL_BYTES))
        lines = [clean(line) for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    code = 124 if ended.returncode is None else ended.returncode
    outcome = f"failed with exit status {code if code >= 0 else 128 - code}"
    if ended.timed_out:
        outcome = f"did not end within {setup.timeout_s:g} s and was ended (`--verify-timeout` is its limit, too)"
    shown = "\n".join(f"> {line}" for line in lines) or "(it printed nothing)"
    cause = f": {one_line(lines[-1], 100)}" if lines else ""
    raise SetupFailed(
        f"The setup command `{one_line(command, 100)}` {outcome}{cause.rstrip('.')}. It has to succeed in every new "
        "worktree. Fix the cause, or give `batchctl run` another `--setup CMD`. The end of its output (data):\n"
        f"{shown}",
        code if code >= 0 else 128 - code,
        "\n".join(lines),
    )


def _list_left(root: str) -> Dict[str, int]:
    """Return the ignored paths in a repository with their kinds. Raise SetupFailed for more than git takes at once."""
    left = {path: _get_kind(os.path.join(root, path)) for path in git_client.list_ignored_paths(root)}
    if sum(len(path) for path in left) > MAX_PATTERN_BYTES:
        paths = git_client.format_paths(sorted(left))
        raise SetupFailed(
            f"The setup command leaves too many ignored files one by one: {paths}. Ignore their folders as a whole in "
            ".gitignore.",
            1,
            "",
        )
    return left


def _get_kind(path: str) -> int:
    """Return the type of a file, folder or link; 0 when it is not there."""
    try:
        return stat.S_IFMT(os.lstat(path.rstrip("/")).st_mode)
    except OSError:
        return 0


def _has_all(root: str, record: Mapping[str, Any]) -> bool:
    """Return whether all that the record of a repository names is there as it was."""
    left = record.get("left")
    return left is not None and all(_get_kind(os.path.join(root, path)) == kind for path, kind in left.items())


def _hash_inputs(folder: str, commit: str, command: Optional[str]) -> str:
    lines = [command or "", *(f"{path}\0{entry}" for path, entry in _iter_inputs(folder, commit, command))]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _iter_inputs(root: str, commit: str, command: Optional[str]) -> Iterator[Tuple[str, str]]:
    """Yield path and mode, type and id of each file in the commit that the setup command may read."""
    if command is None:
        return
    words = {os.path.normpath(word) for word in _WORD.findall(command)}
    reads_submodules = "submodule" in command
    for entry in git_client.run_git(root, "ls-tree", "-r", "-z", "--full-tree", commit).stdout.split("\0"):
        about, _, path = entry.partition("\t")
        name = path.rpartition("/")[2]
        is_named = path in words or name in words or (reads_submodules and " commit " in about)
        if path and (is_named or _IS_INPUT(name) or any("/" in word and path.endswith(f"/{word}") for word in words)):
            yield path, about


def _escape_pattern(path: str) -> str:
    """Return a pattern of .gitignore that matches this path alone."""
    escaped = re.sub(r"([\\*?\[\]])", r"\\\1", path)
    return re.sub(r" +$", lambda blanks: "\\ " * len(blanks.group()), escaped)


def _get_path(folder: str, name: str) -> str:
    return os.path.join(project_paths.find_git_dir(folder) or folder, name)


def _read_record(folder: str) -> Dict[str, Any]:
    """Return the record of a repository; {} without one or with one that is damaged: then the command runs again."""
    try:
        with open(_get_path(folder, RECORD_NAME), encoding="ascii") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(folder: str, record: Mapping[str, Any]) -> None:
    path = _get_path(folder, RECORD_NAME)
    with open(f"{path}.new", "w", encoding="ascii") as file:
        json.dump(record, file)
    os.replace(f"{path}.new", path)
