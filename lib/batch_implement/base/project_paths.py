"""Where a project's batch lives: one resolver for hooks, batchctl and library.

    root      BATCH_IMPLEMENT_ROOT; else from CLAUDE_PROJECT_DIR, else the working directory, upward to the nearest
              `.git` (folder or file: a linked worktree has its own batch); without one, to the nearest `.claude` that
              is not the client's own configuration; else the start folder itself
    state     ROOT/.claude/batch_state.json
    private   GIT_DIR/batch-implement, without git ROOT/.claude/batch-implement: what must survive `git clean -fdx`

`hooks/run` does the same in a few lines of sh; `tests/unit/base/test_project_paths.py` holds the two together. And
where this plugin's own files lie. Nothing is created here.
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
_NOTHING_THERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG))


class Project:
    """The places of one project, as absolute paths. `git_dir` is None where there is no git."""

    __slots__ = ("git_dir", "root")

    def __init__(self, root: str) -> None:
        self.root = root
        self.git_dir = find_git_dir(root)

    state_folder = STATE_FOLDER  # relative to the root
    state_name = STATE_NAME
    private_name = PRIVATE_NAME

    @property
    def state(self) -> str:
        """Path of the state file."""
        return f"{self.root}/{self.state_folder}/{self.state_name}"

    @property
    def temp_name(self) -> str:
        """Name under which a new version is written beside the state file."""
        return f"{self.state_name}.tmp"

    @property
    def private_parent(self) -> str:
        """The folder that holds the private one."""
        return self.git_dir or f"{self.root}/{self.state_folder}"

    @property
    def private(self) -> str:
        """Path of the private folder: lock, sidecar, copies, audit log, archive, quarantine, logs."""
        return f"{self.private_parent}/{self.private_name}"

    @property
    def log_folder(self) -> str:
        """Path of the folder that holds the audit log."""
        return self.private

    def open_state_folder(self, *, create: bool) -> int:
        """A descriptor of the folder that holds the state file, as `open_folder` gives it."""
        return open_folder(self.root, self.state_folder, create=create)


def find_project(environ: Mapping[str, str], cwd: str) -> Project:
    """The project that a process with this environment and working directory is in."""
    return Project(project_root(environ, cwd))


def project_root(environ: Mapping[str, str], cwd: str) -> str:
    """The project's root as an absolute path (see the module)."""
    return find_root(environ, cwd) or start_folder(environ, cwd)


def find_root(environ: Mapping[str, str], cwd: str) -> Optional[str]:
    """The project's root, None where nothing tells it: then it is the start folder."""
    given = environ.get("BATCH_IMPLEMENT_ROOT")
    if given:
        return os.path.abspath(given)
    start = start_folder(environ, cwd)
    return find_upward(start, ".git") or find_upward(start, STATE_FOLDER, but_not=client_config_folders(environ))


def start_folder(environ: Mapping[str, str], cwd: str) -> str:
    """Where the search for the project begins."""
    return os.path.abspath(environ.get("CLAUDE_PROJECT_DIR") or cwd)


def client_config_folders(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The client's own configuration folders: never a sign of a project."""
    folders = [os.path.join(environ.get("HOME") or os.path.expanduser("~"), STATE_FOLDER)]
    if environ.get("CLAUDE_CONFIG_DIR"):
        folders.append(os.path.abspath(environ["CLAUDE_CONFIG_DIR"]))
    return tuple(folders)


def find_git_dir(root: str) -> Optional[str]:
    """The project's own git folder: `.git`, or where a `.git` file points; None without git or with a broken
    pointer.

    StateUnusable when the system cannot tell: to take that for none would look for the batch's sidecar and copies, and
    soon begin them, in another place.
    """
    dot_git = f"{root}/.git"
    mode = _stat_mode(dot_git)
    if mode is None or stat.S_ISDIR(mode):
        return dot_git if mode else None
    if not stat.S_ISREG(mode):
        return None  # a FIFO would be waited for
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


def _stat_mode(path: str) -> Optional[int]:
    """Type and mode of what a path leads to; None when there is nothing. StateUnusable when the system cannot tell."""
    try:
        return os.stat(path).st_mode
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise _unreadable_path_error(path, error) from error
    except ValueError:  # no path can have such a name
        return None


def _unreadable_path_error(path: str, error: OSError) -> StateError:
    return StateError(
        f"{path} cannot be looked at: {error.strerror}. Where the batch has its sidecar and copies depends on it, so "
        "nothing was done. Check who may read it, and the disk.",
        "disk-trouble",
    )


def open_folder(path: str, name: str, *, create: bool) -> int:
    """A descriptor of folder `name` (one name, or several with `/`) in the folder at `path`, without following a link
    in `name`.

    With `create` it is made (0700) and made durable when it is missing; without, FileNotFoundError. StateUnusable for
    a link or another thing.
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
    """The error for a link or a file where one of our folders belongs."""
    kind = "a symbolic link" if os.path.islink(path) else "not a folder"
    return StateError(
        f"{path} is {kind}; batch state is kept only in a real folder. Move it away and try again.", "disk-trouble"
    )


def find_upward(start: str, name: str, but_not: tuple[str, ...] = ()) -> Optional[str]:
    """The nearest folder from `start` upward that has `name`, unless what it has is in `but_not`; None without one.

    StateUnusable when the system cannot tell whether one of them has it.
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
    """The folder of this plugin's own files (agents, hooks, schemas, lib), links resolved: what a client is given as
    --plugin-dir. A wheel has it in the package, a clone around lib/.
    """
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    in_wheel = os.path.join(package, "plugin")
    return in_wheel if os.path.isdir(in_wheel) else os.path.dirname(os.path.dirname(package))
