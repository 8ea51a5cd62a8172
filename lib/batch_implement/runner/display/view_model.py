"""A batch at one moment as plain values, for the live display, the plain one and `status --watch`.

    view = view_model.View(state, now)

Reads files only: no lock, no repair, no write. The progress of a client is read from its worktree (`progress.json` and
the state of the batch of one there) when the attempt runs on this machine; missing or implausible values are None. All
texts are on one line, cleaned. Times are UTC, durations in seconds, costs in US dollars.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ...base import fast_json, process_identity, project_paths, timestamps
from ...base.project_paths import Project
from ...base.text import one_line
from ...core import batch_state, blocked_features, run_transitions
from ...core.batch_state import key
from ...core.errors import BatchError
from ...report import status_report
from ...store import atomic_files, snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...core.batch_state import State

PROGRESS_FOLDER = "logs/run"
MAX_PROGRESS_BYTES = 64 * 1024
MAX_ENDED = 5
MAX_PLAUSIBLE = 1e9


class RunningFeature(NamedTuple):
    """A feature with a running attempt: `step` is `running` or `merging`, `phase` what its client does, `merge` what
    the merge queue does.
    """

    number: int
    text: str
    attempt: int
    step: str
    phase: Optional[str]
    seconds: int
    turns: Optional[int]
    cost_usd: Optional[float]
    tool: Optional[str]
    merge: str


class OtherFeature(NamedTuple):
    """A feature that is not running: `status` is `pending`, `done`, `failed` or `skipped`; `why` is what it waits for,
    empty when only for a free slot, its commit, or why it failed or was skipped.
    """

    number: int
    text: str
    status: str
    why: str


class Wait(NamedTuple):
    """A wait or a pause; `until` is None when only the user ends it."""

    reason: str
    until: Optional[str]


class View:
    """A batch at the moment `at`, with the progress of clients from the worktrees that its state names.

    `at_work`: the process of its owner is alive. `seconds` is the age of the run, or of the batch without one. `spent`
    has the fields of `run.spent` including running attempts; empty without a run. `limits` has its limits `cost`,
    `time` and `waiting`: used and at most. `pending` is in processing order, `last` begins with the feature that ended
    last. `ended` is why the run ended; empty while it runs.
    """

    def __init__(self, state: State, now: str) -> None:
        run, pause = state.get("run"), state["pause"]
        waiting = run["waiting"] if run else None
        reasons = dict(run_transitions.waiting_reasons(state, now))
        self.batch_id: str = state["batch_id"]
        self.at, self.status = now, str(state["status"])
        self.counts = status_report.status_counts(state, now)
        self.at_work = process_identity.is_owner_alive(state["owner"])
        self.seconds = _batch_age_s(state, now)
        self.rows = _list_running(state, now)
        self.pending = [
            OtherFeature(index + 1, one_line(state["features"][index]), "pending", one_line(reasons.get(index, "")))
            for index in batch_state.pending_indices(state)
        ]
        self.waiting = Wait(one_line(waiting["reason"]), waiting["until"]) if waiting else None
        self.pause = Wait(one_line(pause["reason"]), pause.get("resume_after")) if pause else None
        self.ended = one_line(run.get("ended_why") or "") if run and run.get("ended_at") else ""
        self.spent = _usage(run, self.rows) if run else {}
        self.limits = _limits(state, now, self.spent) if run else {}
        self.last = _list_ended(state, now)


def _batch_age_s(state: State, now: str) -> int:
    run = state.get("run")
    first = run["started_at"] if run else state["created_at"]
    over = (run or {}).get("ended_at") or (None if batch_state.is_live(state) else state["updated_at"])
    return _seconds_between(first, over or now)


def _seconds_between(first: str, second: str) -> int:
    return max(0, timestamps.seconds_between(first, second))


# -- running features --------------------------------------------------------------------------------------------------


def _list_running(state: State, now: str) -> List[RunningFeature]:
    """Return the features that run: those of the run, or the one in a client of the user's."""
    here, active = process_identity.get_host_name(), state["active"]
    running = state["run"]["running"] if state.get("run") else {}
    if active is not None and not running:
        running = {key(active["feature_index"]): {**active, "step": "running", "place": "", "worktree": ""}}
    merges = {index: status_report.describe_merge(merge) for index, merge in status_report.merge_entries(state).items()}
    rows = []
    for name, entry in sorted(running.items(), key=lambda item: int(item[0])):
        progress = _client_progress(entry) if entry["place"] == here and entry["worktree"] else entry
        text, seconds = one_line(state["features"][int(name)]), _seconds_between(entry["started_at"], now)
        rows.append(
            RunningFeature(
                int(name) + 1, text, entry["attempt"], entry["step"], progress.get("phase"), seconds,
                progress.get("turns"), progress.get("cost_usd"), progress.get("tool"), merges.get(int(name), ""),
            )
        )  # fmt: skip
    return rows


def _client_progress(entry: State) -> Dict[str, Any]:
    """Return `turns`, `cost_usd`, `tool` and `phase` of an attempt's client, as far as its worktree has them."""
    project = Project(entry["worktree"])
    file = _read_progress_file(project)
    if file.get("session_id") != entry["session_id"]:
        file = {}  # of an earlier client, whose usage is counted already
    progress: Dict[str, Any] = {}
    if _is_plausible(file.get("turns")):
        progress["turns"] = int(file["turns"])
    if _is_plausible(file.get("cost_usd")):
        progress["cost_usd"] = float(file["cost_usd"])
    for name in ("tool", "phase"):
        if isinstance(file.get(name), str):
            progress[name] = one_line(file[name], 40)
    try:
        state = snapshot.read_snapshot(project)
    except (BatchError, OSError):
        return progress
    if state is not None and state.get("active"):
        progress["phase"] = state["active"]["phase"]
    return progress


def _is_plausible(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < MAX_PLAUSIBLE  # NaN, which some write into JSON, is not


def _read_progress_file(project: Project) -> Dict[str, Any]:
    """Return the content of `progress.json`; empty for anything but a small JSON object in a regular file, as the
    client may write there.
    """
    try:
        folder = project_paths.open_folder(
            project.private_parent, f"{project.private_name}/{PROGRESS_FOLDER}", create=False
        )
    except (OSError, BatchError):
        return {}
    try:
        if os.stat("progress.json", dir_fd=folder, follow_symlinks=False).st_size > MAX_PROGRESS_BYTES:
            return {}
        file = atomic_files.read(folder, "progress.json")
        content = fast_json.loads(file[1]) if file else None
    except (OSError, BatchError, atomic_files.UnexpectedFileType, ValueError, RecursionError):
        return {}
    finally:
        atomic_files.close_quietly(folder)
    return content if isinstance(content, dict) else {}


# -- other features ----------------------------------------------------------------------------------------------------


def _list_ended(state: State, now: str) -> List[OtherFeature]:
    statuses = batch_state.feature_statuses(state, now)
    ended = sorted(
        (
            (timing["ended_at"], int(name))
            for name, timing in state.get("timings", {}).items()
            if "ended_at" in timing and statuses[int(name)] in ("done", "failed", "skipped")
        ),
        reverse=True,
    )
    return [
        OtherFeature(
            index + 1, one_line(state["features"][index]), statuses[index],
            one_line(_describe_outcome(state, index, statuses[index])),
        )
        for _, index in ended[:MAX_ENDED]
    ]  # fmt: skip


def _describe_outcome(state: State, index: int, status: str) -> str:
    if status == "done":
        evidence = state["evidence"].get(key(index), {})
        return "no change needed" if evidence.get("no_change") else (evidence.get("commit") or "")[:12]
    entry = next(entry for entry in state[f"{status}_features"] if entry["feature_index"] == index)
    return str(entry["error_message"]) if status == "failed" else blocked_features.describe_reason(entry["reason"])


# -- usage and limits --------------------------------------------------------------------------------------------------


def _usage(run: State, rows: List[RunningFeature]) -> Dict[str, float]:
    """Return what the run has used, including what running clients have used so far."""
    spent = dict(run["spent"])
    for row in rows:
        if row.step == "running":  # the client of a merging feature has ended and is counted already
            spent["turns"] = spent.get("turns", 0) + (row.turns or 0)
            spent["cost_usd"] = spent.get("cost_usd", 0) + (row.cost_usd or 0)
    return spent


def _limits(state: State, now: str, spent: Dict[str, float]) -> Dict[str, Tuple[float, float]]:
    limits = state["policy"].get("budgets") or {}
    waiting = state["run"]["waiting"]
    waited = spent.get("waited_s", 0) + (_seconds_between(waiting["since"], now) if waiting else 0)
    used = {"cost": spent.get("cost_usd", 0), "time": _batch_age_s(state, now), "waiting": waited}
    names = {"cost": "cost_usd", "time": "time_s", "waiting": "wait_s"}
    return {name: (used[name], limits[names[name]]) for name in names if limits.get(names[name]) is not None}
