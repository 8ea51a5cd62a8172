"""Find the project and its state file, for scripts: part of the library interface (docs/library.md).

    from path_utils import get_batch_state_file, get_project_root

The root is the one that `batchctl` and the hooks use (`base.project_paths`). Nothing is created.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

from ..base import project_paths

__all__ = ["find_project_root", "get_batch_state_file", "get_project_root", "reset_project_root_cache"]

_MARKERS = (".git", project_paths.STATE_FOLDER)
_ENVIRONMENT_NAMES = ("BATCH_IMPLEMENT_ROOT", "CLAUDE_PROJECT_DIR", "CLAUDE_CONFIG_DIR", "HOME")
_roots: Dict[Tuple[Optional[str], ...], Path] = {}  # by all that the root depends on


def get_project_root(use_cache: bool = True) -> Path:
    """Return the project's root. With `use_cache` reuse the result for the same directory and environment.

    Raises FileNotFoundError when there is none.
    """
    cache_key = (_working_directory(), *map(os.environ.get, _ENVIRONMENT_NAMES))
    known = _roots.get(cache_key) if use_cache else None
    if known is not None:
        return known
    root = project_paths.find_root(os.environ, _working_directory())
    if root is None:
        raise _not_found(_MARKERS, project_paths.start_folder(os.environ, _working_directory()))
    _roots[cache_key] = Path(root)
    return _roots[cache_key]


def get_batch_state_file() -> Path:
    """Return the path `.claude/batch_state.json` under the project's root. Raises FileNotFoundError without a root."""
    return get_project_root(use_cache=False) / project_paths.STATE_FOLDER / project_paths.STATE_NAME


def find_project_root(
    marker_files: Optional[Sequence[str]] = None, start_path: str | os.PathLike[str] | None = None
) -> Path:
    """Return the nearest folder, from `start_path` upward, that has a marker. The default start is that of the client.

    Markers count in their order: a far `.git` wins over a nearer `.claude`. Without arguments it is the project's root.
    Raises FileNotFoundError when no folder has one.
    """
    if marker_files is None and start_path is None:
        return get_project_root(use_cache=False)
    markers = _MARKERS if marker_files is None else tuple(marker_files)
    start = os.path.abspath(start_path) if start_path else project_paths.start_folder(os.environ, _working_directory())
    for marker in markers:
        but_not = (
            project_paths.client_config_folders(os.environ) if marker.rstrip("/") == project_paths.STATE_FOLDER else ()
        )
        folder = project_paths.find_upward(start, marker.rstrip("/"), but_not)
        if folder is not None:
            return Path(folder)
    raise _not_found(markers, start)


def reset_project_root_cache() -> None:
    """Clear the cache of `get_project_root`."""
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
