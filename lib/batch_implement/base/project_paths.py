"""Find the project and the files of its batch, for hooks, batchctl and library. Creates nothing.

    root      BATCH_IMPLEMENT_ROOT; else from CLAUDE_PROJECT_DIR, else the working directory, upward to the nearest
              `.git` (folder or file: a linked worktree has its own batch); without one, to the nearest `.claude` that
              is not the client's own configuration; else the start folder
    state     ROOT/.claude/batch_state.json
    private   GIT_DIR/batch-implement, without git ROOT/.claude/batch-implement: survives `git clean -fdx`
    backup    implement.bi beside `private`

`hooks/run` does the same in sh; `tests/unit/base/test_project_paths.py` compares the two.
"""

from __future__ import annotations

import errno
import os
import stat

from ..core.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional

STATE_FOLDER = ".claude"
STATE_NAME = "batch_state.json"
PRIVATE_NAME = "batch-implement"
SECOND_BACKUP_NAME = "implement.bi"
_NOTHING_THERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG))


class Project:
    """The paths of one project, absolute. `git_dir` is None without git."""

    __slots__ = ("git_dir", "root")

    def __init__(self, root: str) -> None:
        self.root = root
        self.git_dir = find_git_dir(root)

    state_folder = STATE_FOLDER  # relative to the root
    state_name = STATE_NAME
    private_name = PRIVATE_NAME

    @property
    def state(self) -> str:
        """Return the path of the state file."""
        return f"{self.root}/{self.state_folder}/{self.state_name}"

    @property
    def temp_name(self) -> str:
        """Return the name of a new version beside the state file."""
        return f"{self.state_name}.tmp"

    @property
    def private_parent(self) -> str:
        """Return the folder that contains the private folder."""
        return self.git_dir or f"{self.root}/{self.state_folder}"

    @property
    def private(self) -> str:
        """Return the path of the private folder: lock, sidecar, backups, audit log, archive, quarantine, logs."""
        return f"{self.private_parent}/{self.private_name}"

    @property
    def second_backup(self) -> str:
        """Return the path of the backup that is outside the private folder."""
        return f"{self.private_parent}/{SECOND_BACKUP_NAME}"

    @property
    def log_folder(self) -> str:
        """Return the path of the folder of the audit log."""
        return self.private

    def open_state_folder(self, *, create: bool) -> int:
        """Return a descriptor of the folder of the state file, as `open_folder` does."""
        return open_folder(self.root, self.state_folder, create=create)


def find_project(environ: Mapping[str, str], cwd: str) -> Project:
    """Return the project of a process with this environment and working directory."""
    return Project(project_root(environ, cwd))


def project_root(environ: Mapping[str, str], cwd: str) -> str:
    """Return the root of the project as an absolute path."""
    return find_root(environ, cwd) or start_folder(environ, cwd)


def find_root(environ: Mapping[str, str], cwd: str) -> Optional[str]:
    """Return the root of the project, or None if only the start folder is left."""
    root = environ.get("BATCH_IMPLEMENT_ROOT")
    if root:
        return os.path.abspath(root)
    start = start_folder(environ, cwd)
    return find_upward(start, ".git") or find_upward(start, STATE_FOLDER, but_not=client_config_folders(environ))


def start_folder(environ: Mapping[str, str], cwd: str) -> str:
    """Return the folder where the search for the project begins."""
    return os.path.abspath(environ.get("CLAUDE_PROJECT_DIR") or cwd)


def client_config_folders(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the client's own configuration folders, which do not mark a project."""
    folders = [os.path.join(environ.get("HOME") or os.path.expanduser("~"), STATE_FOLDER)]
    if environ.get("CLAUDE_CONFIG_DIR"):
        folders.append(os.path.abspath(environ["CLAUDE_CONFIG_DIR"]))
    return tuple(folders)


def find_git_dir(root: str) -> Optional[str]:
    """Return the git folder of the project: `.git`, or the target of a `.git` file; None without git or with a broken
    pointer. Raise StateError if the system cannot tell.
    """
    dot_git = f"{root}/.git"
    mode = _stat_mode(dot_git)
    if mode is None or stat.S_ISDIR(mode):
        return dot_git if mode else None
    if not stat.S_ISREG(mode):
        return None  # opening a FIFO would block
    try:
        with open(dot_git, encoding="utf-8", errors="surrogateescape") as pointer:
            line = pointer.readline(4200).rstrip("\n")
    except OSError as error:
        raise _unreadable_path_error(dot_git, error) from error
    if not line.startswith("gitdir: "):
        return None
    target = os.path.join(root, line[len("gitdir: ") :])
    mode = _stat_mode(target)
    return target if mode is not None and stat.S_ISDIR(mode) else None


def find_common_dir(git_dir: str) -> str:
    """Return the git folder that all worktrees of a repository share, links resolved: `git_dir` or its target."""
    try:
        with open(f"{git_dir}/commondir", encoding="utf-8", errors="surrogateescape") as pointer:
            return os.path.realpath(os.path.join(git_dir, pointer.readline().rstrip("\n")))
    except OSError:
        return os.path.realpath(git_dir)  # not a linked worktree


def _stat_mode(path: str) -> Optional[int]:
    """Return the mode of the file at `path`, or None without one. Raise StateError if the system cannot tell."""
    try:
        return os.stat(path).st_mode
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise _unreadable_path_error(path, error) from error  # None would mean another private folder
    except ValueError:  # a NUL in the path
        return None


def _unreadable_path_error(path: str, error: OSError) -> StateError:
    return StateError(
        f"{path} cannot be accessed: {error.strerror}. The place of the batch's private files depends on it; nothing "
        "was done. Check its permissions and the disk.",
        "disk-trouble",
    )


def open_folder(path: str, name: str, *, create: bool) -> int:
    """Return a descriptor of folder `name` (with `/` for nested ones) in the folder at `path`; `name` follows no link.

    With `create`, make missing folders (mode 0700) durably; without, raise FileNotFoundError. Raise StateError for a
    link or another file.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    folder = os.open(path, flags)
    for part in name.split("/"):
        parent, path = folder, f"{path}/{part}"
        try:
            if create:
                try:
                    os.mkdir(part, 0o700, dir_fd=parent)
                    os.fsync(parent)
                except FileExistsError:
                    pass
            folder = os.open(part, flags | os.O_NOFOLLOW, dir_fd=parent)
        except NotADirectoryError as error:
            raise not_a_folder_error(path) from error
        except OSError as error:
            if os.path.islink(path):
                raise not_a_folder_error(path) from error
            raise
        finally:
            os.close(parent)
    return folder


def not_a_folder_error(path: str) -> StateError:
    """Return the error for a link or a file in place of a folder."""
    kind = "a symbolic link" if os.path.islink(path) else "not a folder"
    return StateError(
        f"{path} is {kind}; batch state is kept only in a real folder. Move it away and try again.", "disk-trouble"
    )


def find_upward(start: str, name: str, but_not: tuple[str, ...] = ()) -> Optional[str]:
    """Return the nearest folder from `start` upward that contains `name` at a path not in `but_not`, or None.

    Raise StateError if the system cannot tell.
    """
    folder = start
    while True:
        candidate = os.path.join(folder, name)
        if candidate not in but_not and _stat_mode(candidate) is not None:
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def plugin_root() -> str:
    """Return the folder of the plugin's files (agents, hooks, schemas, lib) for `claude --plugin-dir`, links resolved:
    within the package in a wheel, around lib/ in a clone.
    """
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    in_wheel = os.path.join(package, "plugin")
    return in_wheel if os.path.isdir(in_wheel) else os.path.dirname(os.path.dirname(package))
