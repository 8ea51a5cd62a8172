"""Find what would lead a verify command from a worktree back into the user's working tree.

    yield from check_isolation(root, verify, os.environ)

A virtual environment whose editable install points at the project, or a PATH with a folder of it, makes every verify
command test the user's files instead of the commit: a commit that breaks everything would pass. Paths are compared as
the system resolves them; relative ones are those of the worktree and lead nowhere else.
"""

from __future__ import annotations

import glob
import os
import shutil

from ...base.text import one_line
from ...commands.doctor import ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Mapping, Optional, Tuple

PATH_VARIABLES = ("PATH", "PYTHONPATH", "NODE_PATH")
PACKAGE_FOLDERS = ("lib/python*/site-packages", "lib/python*/dist-packages", "lib64/python*/site-packages")
ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")  # a shim, as of pyenv, does not say where its packages are
MAX_FILE_BYTES = 1_000_000


def check_isolation(root: str, verify: Optional[str], environ: Mapping[str, str]) -> Iterator[Tuple[str, str]]:
    """Yield (ERROR, text) for each way by which the verify command would reach the working tree at `root`."""
    if verify is None:
        return
    consequence = "so the verify command would test your working tree instead of the commit."
    environment = environ.get("VIRTUAL_ENV")
    if environment and _is_below(environment, root):
        yield (
            ERROR,
            f"The active virtual environment {environment} is in the project, {consequence} Run `deactivate`, and let "
            "a setup command make one: `--setup 'python3 -m venv .venv && .venv/bin/pip install -e .'`.",
        )
    for name in PATH_VARIABLES:
        inside = [path for path in environ.get(name, "").split(os.pathsep) if path and _is_below(path, root)]
        if environment and name == "PATH":
            inside = [path for path in inside if not _is_below(path, environment)]  # named above
        if inside:
            yield (
                ERROR,
                f"{name} has {one_line(', '.join(inside), 300)}, which is in the project, {consequence} Take it out "
                f"for the run (`env {name}=... batchctl run ...`); the verify command can set a relative one.",
            )
    for file in _find_editable_installs(root, environ):
        yield (
            ERROR,
            f"{file} makes Python import the project from your working tree (an editable install), {consequence} "
            "Uninstall it there or leave that environment, and let a setup command make one: `--setup 'python3 -m venv "
            ".venv && .venv/bin/pip install -e .'`.",
        )
    if any(_has_path(verify, form) for form in {root, os.path.realpath(root)}):
        yield (
            ERROR,
            f"The verify command names {root}, {consequence} Use paths relative to the top of the project: it runs "
            "there in each worktree.",
        )


def _is_below(path: str, folder: str) -> bool:
    """Return whether an absolute path is the folder or below it, links resolved."""
    if not os.path.isabs(path):
        return False
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _has_path(text: str, path: str) -> bool:
    """Return whether a text names the path or one below it, not one whose name only begins so."""
    _, *rests = text.split(path)
    return any(not rest or not (rest[0].isalnum() or rest[0] in "._-") for rest in rests)


def _find_editable_installs(root: str, environ: Mapping[str, str]) -> List[str]:
    """Return the files of the user's Python environments outside of the project that put the project on its path."""
    prefixes = [environ["VIRTUAL_ENV"]] if environ.get("VIRTUAL_ENV") else []
    for name in ("python", "python3"):
        program = shutil.which(name, path=environ.get("PATH"))
        prefix = os.path.dirname(os.path.dirname(program or ""))
        if any(os.path.exists(os.path.join(prefix, mark)) for mark in ENVIRONMENT_MARKS):
            prefixes.append(prefix)
    if environ.get("HOME"):
        prefixes.append(os.path.join(environ["HOME"], ".local"))
    return [file for file in _list_import_files(prefixes) if not _is_below(file, root) and _leads_to(file, root)]


def check_setup_result(root: str, folder: str) -> Iterator[Tuple[str, str]]:
    """Yield (ERROR, text) for each virtual environment in the worktree `folder` that leads back to `root`."""
    places = [os.path.join(glob.escape(folder), name, "pyvenv.cfg") for name in ("*", ".*", "*/*", "*/.*")]
    files = [file for place in places for file in sorted(glob.glob(place))]
    for file in _list_import_files(map(os.path.dirname, files)):
        if _leads_to(file, root):
            yield (
                ERROR,
                f"The setup command makes {os.path.relpath(file, folder)}, by which Python imports the project from "
                "your working tree, so the verify command would test that instead of the commit. Let it install the "
                "worktree that it runs in: `pip install -e .`.",
            )


def _list_import_files(prefixes: Iterable[str]) -> List[str]:
    """Return the files of Python environments that can put folders on Python's path."""
    found: List[str] = []
    for prefix in dict.fromkeys(prefixes):
        for folder in PACKAGE_FOLDERS:
            for kind in ("*.pth", "__editable__*.py"):
                for file in sorted(glob.glob(os.path.join(glob.escape(prefix), folder, kind))):
                    if file not in found:
                        found.append(file)
    return found


def _leads_to(file: str, root: str) -> bool:
    """Return whether a `.pth` file or the finder of an editable install names a folder of the project."""
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as opened:
            text = opened.read(MAX_FILE_BYTES)
    except OSError:
        return False
    if any(_has_path(text, form) for form in {root, os.path.realpath(root)}):
        return True
    return file.endswith(".pth") and any(_is_below(line.strip(), root) for line in text.splitlines())
