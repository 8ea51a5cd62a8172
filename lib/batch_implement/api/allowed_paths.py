"""Decide where a script may keep a state file and which folders serve it. Creates nothing, except `hide_from_git`.

    path = validate_path(path, "features file")     # an absolute path that is allowed, or PathRefused
    project = project_of_state_file(path)           # the Project whose Store serves that state file
    hide_from_git(project)                          # keeps `git add -A` from committing it

The project's own `.claude/batch_state.json` is served as for `batchctl` and the hooks. Any other state file is a
`StateFile`: its private folder depends only on its path, so that all processes share one lock. It is
`GIT_DIR/batch-implement/files/KEY` in the nearest git repository, else `.NAME.batch-implement` beside the file.
"""

from __future__ import annotations

import errno
import os
import stat

from ..base import project_paths
from ..base.project_paths import PRIVATE_NAME, STATE_FOLDER, STATE_NAME, Project
from ..base.text import clean, shorten
from ..core.errors import BatchError, StateError, UsageError
from ..git import git_client
from ..store import atomic_files, audit_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

MAX_PATH_CHARS = 4096
_PROJECT_STATE_SUFFIX = f"/{STATE_FOLDER}/{STATE_NAME}"


class PathRefused(UsageError, ValueError):
    """A path is not allowed. The message names the path, its purpose and what is allowed."""


class StateFile(Project):
    """A state file that is not a project's own, with its own private folder. `root` is the folder that holds it."""

    __slots__ = ("state_name", "top")

    state_folder = "."

    def __init__(self, path: str) -> None:
        self.root, self.state_name = os.path.split(path)
        self.top = project_paths.find_upward(self.root, ".git")
        self.git_dir = project_paths.find_git_dir(self.top) if self.top else None

    @property
    def state(self) -> str:
        """Return the path of the state file."""
        return os.path.join(self.root, self.state_name)

    @property
    def private_parent(self) -> str:
        """Return the folder that holds the private folder."""
        return self.git_dir or self.root

    @property
    def private_name(self) -> str:  # type: ignore[override]
        """Return the path of the private folder relative to `private_parent`."""
        if not self.git_dir:
            return f".{self.state_name}.{PRIVATE_NAME}"
        within = os.path.relpath(self.state, self.top)
        return f"{PRIVATE_NAME}/files/{atomic_files.sha256(os.fsencode(within))[:32]}"

    @property
    def second_backup(self) -> str:
        """Return the path of the second backup."""
        return f"{self.private}/{project_paths.SECOND_BACKUP_NAME}"

    @property
    def log_folder(self) -> str:
        """Return the folder that holds the audit log: the repository's own, if there is one."""
        return f"{self.git_dir}/{PRIVATE_NAME}" if self.git_dir else self.private

    def open_state_folder(self, *, create: bool) -> int:
        """Return a descriptor of the state file's folder; `create` creates it and its parents."""
        existing = self.root
        while create and not os.path.lexists(existing):
            existing = os.path.dirname(existing)
        return project_paths.open_folder(existing, os.path.relpath(self.root, existing), create=create)


def current_project() -> Project:
    """Return the project that this process is in."""
    return project_paths.find_project(os.environ, os.getcwd())


def validate_path(path: object, purpose: str, *, must_exist: bool = False) -> str:
    """Return `path` as an absolute path without links in the project or in `~/.claude`. Raises PathRefused for others.

    A relative path is taken from the working directory. Links that lead to the project's root are allowed: a project
    may be reached through them.
    """
    base, names = _locate_path(path, purpose, os.getcwd())
    place = os.path.join(base, *names)
    if must_exist and not os.path.lexists(place):
        raise _path_error(f"Path not found: {_cut_path(place)}", purpose, "it must exist")
    return place


def _locate_path(path: object, purpose: str, start: str) -> Tuple[str, List[str]]:
    """Return the allowed folder that holds a path, resolved, and the names below it, none of which is a link."""
    try:
        text = os.fspath(path)  # type: ignore[call-overload]
    except TypeError:
        text = None
    if not isinstance(text, str) or not text:
        raise _path_error(f"Invalid path {path!r}", purpose, "give a text or a Path")
    if len(text) > MAX_PATH_CHARS:
        raise _length_error(text, purpose)
    if ".." in text.split("/"):
        raise _traversal_error(text, purpose)
    if clean(text) != text:
        raise _path_error(f"Invalid path {_cut_path(text)!r}: it holds control characters", purpose, "take them out")
    absolute = os.path.abspath(os.path.join(start, text))
    if os.path.islink(absolute):
        raise _path_error(
            f"Path is a symlink: {_cut_path(text)}", purpose, "links are not followed; name the file itself"
        )
    base, names = _split_at_allowed_folder(absolute)
    if ".." in "/".join(names):
        raise _traversal_error(text, purpose)
    if base is None:
        raise _path_error(
            f"Path outside allowed locations (outside project root and ~/.claude): {_cut_path(text)}",
            purpose,
            "inside " + " or ".join(_allowed_folders()),
        )
    _require_no_links(base, names, text, purpose)
    return base, names


def project_of_state_file(path: object) -> Project:
    """Return the project whose store serves the state file at `path`; a relative path is taken from the project's root.

    Raises PathRefused for a path that is not allowed.
    """
    own = current_project()
    base, names = _locate_path(path, "batch state file", own.root)
    place = os.path.join(base, *names)
    first = STATE_FOLDER if os.path.basename(base) == STATE_FOLDER else ""
    below = "/".join(["", first, *names]).lower()
    if any(f"{folder}/" in below for folder in ("/.git", f"/{STATE_FOLDER}/{PRIVATE_NAME}", f".{PRIVATE_NAME}")):
        raise _path_error(
            f"{_cut_path(place)} is among git's or batch-implement's own files", "batch state file", "elsewhere"
        )
    if place == os.path.join(os.path.realpath(own.root), STATE_FOLDER, STATE_NAME):
        return own
    root = place[: -len(_PROJECT_STATE_SUFFIX)] or "/"
    if place.endswith(_PROJECT_STATE_SUFFIX) and (
        os.path.lexists(f"{root}/.git")
        or os.path.isdir(f"{root}/{STATE_FOLDER}/{PRIVATE_NAME}")
        or project_paths.find_upward(root, ".git") is None
    ):
        return Project(root)
    return StateFile(place)


def hide_from_git(project: Project) -> None:
    """Add the state file, and private files in the working tree, to the exclude file of the repository around it.

    Reads the git folder itself, so that it also works without git and in a folder that is not a repository yet.
    """
    place = os.path.realpath(os.path.dirname(project.state))
    top = project_paths.find_upward(place, ".git")
    git_dir = project_paths.find_git_dir(top) if top else None
    if top is None or git_dir is None:
        return
    state = f"/{_exclude_pattern(os.path.relpath(f'{place}/{project.state_name}', top))}"
    lines = [f"{state}*"] if project.state_name == STATE_NAME else [state, f"{state}.tmp", f"{state}.quarantined-*"]
    for path in (project.private, project.second_backup):
        real = os.path.realpath(path)
        if real.startswith(top + "/") and "/.git/" not in real:
            lines.append(f"/{_exclude_pattern(os.path.relpath(real, top))}{'/' if path == project.private else ''}")
    git_client.add_excludes(f"{project_paths.find_common_dir(git_dir)}/info/exclude", lines)


def default_state_file() -> str:
    """Return the path of the project's state file; outside a project `.claude/batch_state.json`."""
    try:
        root = project_paths.find_root(os.environ, os.getcwd())
    except FileNotFoundError:  # the working directory was removed
        root = None
    return os.path.join(root or "", STATE_FOLDER, STATE_NAME)


def log_event(event: str, status: str, context: object) -> None:
    """Append an event of a script to the project's audit log. Never raises."""
    project = _project_to_log_to()
    if project:
        audit_log.record_script_event(project, event, status, context)


def log_refusal(asked: str, error: BatchError) -> None:
    """Record in the project's audit log that a script was refused the call `asked`, if there is git or `.claude`. Never
    raises.
    """
    project = _project_to_log_to()
    if project and os.path.isdir(project.private_parent):
        try:
            os.makedirs(project.log_folder, mode=0o700, exist_ok=True)
        except OSError:
            return
        audit_log.record_refusal(project, asked, error)


def _project_to_log_to() -> Optional[Project]:
    """Return the project whose audit log takes events, hidden from `git add -A`, or None."""
    try:
        project = current_project()
    except (OSError, StateError):  # the working directory was removed or cannot be read
        return None
    if not project.git_dir:  # the log is in the working tree, maybe of an outer repository
        try:
            hide_from_git(project)
        except (OSError, StateError):
            pass  # the exclude file cannot be written
    return project


def _allowed_folders() -> List[str]:
    """Return the folders that may hold paths. The whole disk is not a project unless it has a `.git`."""
    root = current_project().root
    places = [] if root == "/" and not os.path.lexists("/.git") else [root]
    return [*places, os.path.join(os.path.expanduser("~"), STATE_FOLDER)]


def _split_at_allowed_folder(absolute: str) -> Tuple[Optional[str], List[str]]:
    """Return the allowed folder that holds a path, resolved, or None, and the names below it."""
    bases = {os.path.realpath(place) for place in _allowed_folders()}
    names = absolute.strip("/").split("/")
    for count in range(len(names) + 1):
        prefix = os.path.realpath("/" + "/".join(names[:count]))
        if prefix in bases:
            return prefix, names[count:]
    return None, []


def _require_no_links(base: str, names: List[str], text: str, purpose: str) -> None:
    place = base
    for name in names:
        place = os.path.join(place, name)
        try:
            status = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise _length_error(text, purpose) from error
            raise _path_error(
                f"Invalid path {_cut_path(text)}: {error.strerror}", purpose, "a path that can be used"
            ) from error
        if stat.S_ISLNK(status.st_mode):
            raise _path_error(f"Path leads over a symlink: {_cut_path(place)}", purpose, "links are not followed")


def _exclude_pattern(path: str) -> str:
    """Return a line of an exclude file that matches exactly this path."""
    text = "".join(f"\\{char}" if char in "\\*?[" else char for char in path)
    return text[:-1] + "\\ " if text.endswith(" ") else text


def _path_error(what: str, purpose: str, allowed: str) -> PathRefused:
    return PathRefused(f"{what}. Purpose: {purpose}. Allowed: {allowed}.", "path-refused")


def _traversal_error(text: str, purpose: str) -> PathRefused:
    return _path_error(
        f"Path traversal: {_cut_path(text)} contains `..`", purpose, "a path that names the place itself"
    )


def _length_error(text: str, purpose: str) -> PathRefused:
    return _path_error(f"Path too long: {len(text)} characters", purpose, f"at most {MAX_PATH_CHARS}")


def _cut_path(path: str) -> str:
    return shorten(path, 200)
