"""Where the project is: part of the interface that batch scripts import (docs/library.md).

    from path_utils import get_batch_state_file, get_project_root

The root is the one that `batchctl` and the hooks use (`batch_implement.base.project_paths`). Nothing is created here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

from ..base import project_paths

__all__ = ["find_project_root", "get_batch_state_file", "get_project_root", "reset_project_root_cache"]

_MARKERS = (".git", project_paths.STATE_FOLDER)
_ASKED = ("BATCH_IMPLEMENT_ROOT", "CLAUDE_PROJECT_DIR", "CLAUDE_CONFIG_DIR", "HOME")
_roots: Dict[Tuple[Optional[str], ...], Path] = {}  # by all that the answer depends on, so that it never outlives it


def get_project_root(use_cache: bool = True) -> Path:
    """The project's root. With `use_cache` an earlier answer counts, for the same working directory and environment.

    FileNotFoundError when there is none.
    """
    circumstances = (_working_directory(), *map(os.environ.get, _ASKED))
    known = _roots.get(circumstances) if use_cache else None
    if known is not None:
        return known
    found = project_paths.find_root(os.environ, _working_directory())
    if found is None:
        raise _not_found(_MARKERS, project_paths.start_folder(os.environ, _working_directory()))
    _roots[circumstances] = Path(found)
    return _roots[circumstances]


def get_batch_state_file() -> Path:
    """Path of the project's state file, `.claude/batch_state.json` under its root; FileNotFoundError without one."""
    return get_project_root(use_cache=False) / project_paths.STATE_FOLDER / project_paths.STATE_NAME


def find_project_root(
    marker_files: Optional[Sequence[str]] = None, start_path: str | os.PathLike[str] | None = None
) -> Path:
    """The nearest folder from `start_path` (by default where the client or this process is) upward that has a marker.

    Markers count in their order: a far `.git` wins over a nearer `.claude`. With neither argument it is the project's
    root. FileNotFoundError when no folder has any.
    """
    if marker_files is None and start_path is None:
        return get_project_root(use_cache=False)
    markers = _MARKERS if marker_files is None else tuple(marker_files)
    start = os.path.abspath(start_path) if start_path else project_paths.start_folder(os.environ, _working_directory())
    for marker in markers:
        but_not = (
            project_paths.client_config_folders(os.environ) if marker.rstrip("/") == project_paths.STATE_FOLDER else ()
        )
        found = project_paths.find_upward(start, marker.rstrip("/"), but_not)
        if found is not None:
            return Path(found)
    raise _not_found(markers, start)


def reset_project_root_cache() -> None:
    """Forget what `get_project_root` found."""
    _roots.clear()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError("Could not find project root: the working directory was removed.") from None


def _not_found(markers: Sequence[str], start: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"Could not find project root: no {' or '.join(markers)} in {start} or in any folder above it."
    )
