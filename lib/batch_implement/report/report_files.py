"""Write run reports to files, and find the batch to report on.

    paths = write_reports(project, state, now)          BATCH.md, .html and .json in the private folder
    state, is_archived = find_batch(project, None)      the current batch; or one by its id, archived ones too
    text = render(report, "html")
    path = save_file(project, path, text, replace=True)     where the user wants it
    path = save_file(project, path, text, replace=False)    never over another file

Files are written completely, durably and with mode 0600, then replace older ones. Raises StateError for I/O errors,
UsageError for an unusable path, RefusedError for an unknown batch.
"""

from __future__ import annotations

import os
from dataclasses import asdict

from ..base import project_paths
from ..base.text import escape_controls
from ..core import batch_state
from ..core.errors import RefusedError, UsageError
from ..store import atomic_files, lock, serialization
from ..store.store import Store
from . import run_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from .report_data import Report

FORMATS = ("md", "html", "json")
REPORT_FOLDER = "reports"
LOCK_TIMEOUT_S = 30.0


def render(report: Report, form: str) -> str:
    """Return the report in `form`, one of FORMATS; JSON has one top-level field per line."""
    if form == "json":
        return escape_controls(serialization.serialize(asdict(report)).decode())
    if form == "html":
        from .run_report_html import render_html

        return render_html(report, read_style_sheet())
    from .run_report_markdown import render_markdown

    return render_markdown(report)


def read_style_sheet() -> str:
    """Return the style sheet of the HTML report."""
    with open(os.path.join(os.path.dirname(__file__), "report.css"), encoding="utf-8") as file:
        return file.read()


def write_reports(project: Project, state: State, now: str) -> Dict[str, str]:
    """Write the report of a state at the time `now` in every format; return the path of each."""
    report = run_report.build_report(state, now)
    folder = _open_private_folder(project, REPORT_FOLDER, create=True)
    place = f"{project.private}/{REPORT_FOLDER}"
    try:
        with lock.FileLock(folder, place, LOCK_TIMEOUT_S):
            for form in FORMATS:
                _write_file(folder, place, f"{state['batch_id']}.{form}", render(report, form), replace=True)
    finally:
        atomic_files.close_quietly(folder)
    return {form: f"{place}/{state['batch_id']}.{form}" for form in FORMATS}


def save_file(project: Project, path: str, text: str, *, replace: bool) -> str:
    """Write a text to an absolute path and return the path. Raise UsageError when its folder is missing or keeps batch
    state, and without `replace` for a path that exists.
    """
    folder, real, name = _open_output_folder(project, path)
    try:
        _write_file(folder, real, name, text, replace=replace)
    finally:
        atomic_files.close_quietly(folder)
    return path


def _open_output_folder(project: Project, path: str) -> Tuple[int, str, str]:
    """Return the folder of a file that a user wants written, as a descriptor and by its real path, and the file's name.

    Raise UsageError when the folder is missing or keeps batch state.
    """
    parent, name = os.path.split(path)
    real = os.path.realpath(parent)
    if not name or not os.path.isdir(real) or os.path.isdir(path):
        raise UsageError(f"{path} cannot be written: it must be a file in an existing folder.", "path-refused")
    kept = [os.path.realpath(place) for place in (project.state, project.private)]
    git = os.path.realpath(project.git_dir) if project.git_dir else kept[1]
    inside = any(f"{real}/".startswith(f"{place}/") for place in (kept[1], git))
    if inside or f"{real}/{name}" in (kept[0], f"{os.path.dirname(kept[0])}/{project.temp_name}"):
        raise UsageError(
            f"{path} is among the files of batch-implement or git. Give another path.",
            "path-refused",
        )
    try:
        return os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), real, name
    except OSError as error:
        raise atomic_files.unchanged_error(f"{path} cannot be written", error) from error


def _open_private_folder(project: Project, name: str, *, create: bool) -> int:
    """Return a descriptor of a subfolder of the private folder."""
    try:
        return project_paths.open_folder(project.private_parent, f"{project.private_name}/{name}", create=create)
    except OSError as error:
        raise atomic_files.unchanged_error(f"{project.private}/{name} cannot be used", error) from error


def _write_file(folder: int, place: str, name: str, text: str, *, replace: bool) -> None:
    """Write file `name` in the folder durably, with `replace` in place of an older one."""
    temp, path = f".{name[:100]}.{os.getpid()}.tmp", f"{place}/{name}"
    try:
        atomic_files.write_over_leftover(folder, temp, text.encode("utf-8", "replace"), 0)
        try:
            if replace:
                os.replace(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
            else:  # unlike a rename, a link never replaces what somebody else has put there meanwhile
                os.link(temp, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            atomic_files.discard(folder, temp)
    except FileExistsError as error:
        raise UsageError(f"{path} already exists and is not overwritten. Give another path.", "path-refused") from error
    except OSError as error:
        raise atomic_files.unchanged_error(f"{path} cannot be written", error) from error
    try:
        atomic_files.sync(folder)
    except OSError as error:
        raise atomic_files.unconfirmed_error(f"{path} was written", error) from error


# -- batches -----------------------------------------------------------------------------------------------------------


def find_batch(project: Project, batch_id: Optional[str]) -> Tuple[State, bool]:
    """Return the batch of this id (None: the current one) and whether it is archived; raise RefusedError if unknown."""
    state = Store(project).read() if batch_id else Store(project).require()
    if state is not None and batch_id in (None, state["batch_id"]):
        return state, False
    batch_state.require_valid_batch_id(batch_id)
    names = _archived_names(project)
    versions = [name for name in names if name == f"{batch_id}.json" or _is_later_version(name, str(batch_id))]
    if not versions:
        last = ", ".join(sorted(name[: -len(".json")] for name in names)[-5:]) or "none"
        raise RefusedError(
            f"Batch {batch_id} not found, neither here nor in {project.private}/archive. Last archived ones: {last}.",
            "unknown-batch",
        )
    return _read_archived(project, max(versions, key=lambda name: (len(name), name))), True


def _is_later_version(name: str, batch_id: str) -> bool:
    """Return whether an archived file is a later version under the same id: `ID.2.json`."""
    middle = name[len(batch_id) : -len(".json")]
    return name.startswith(f"{batch_id}.") and middle[1:].isdigit() and len(middle) < 8


def _archived_names(project: Project) -> List[str]:
    try:
        names = os.listdir(f"{project.private}/archive")
    except FileNotFoundError:
        return []
    return [name for name in names if name.endswith(".json")]


def _read_archived(project: Project, name: str) -> State:
    place = f"{project.private}/archive/{name}"
    folder = _open_private_folder(project, "archive", create=False)
    try:
        file = atomic_files.read(folder, name)
    except atomic_files.UnexpectedFileType as error:
        raise RefusedError(f"{place} is not a regular file: {error}.", "unknown-batch") from error
    finally:
        atomic_files.close_quietly(folder)
    if file is None:
        raise RefusedError(f"{place} not found any more. Run the command again.", "unknown-batch")
    return serialization.parse_state_file(place, file[1])
