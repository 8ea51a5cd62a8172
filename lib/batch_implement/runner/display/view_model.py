"""What there is to see of a batch at one moment, as plain values: what a live display, a plain one and `status --watch`
show. Made from files alone; nothing is locked, mended or written.

    seen = view.of(project, now)            None when there is no batch
    seen = view.of_state(state, now)        of a state that was just read

How far a client has got stands in its work tree, in `progress.json` and in the state of its batch of one. They are read
when the attempt runs on this machine; what they do not say, or cannot be believed, is None. All texts are on one line,
without control characters. Times are UTC, durations in seconds, costs in US dollars.
"""

from __future__ import annotations

import math
import os
from typing import Any, Dict, List, NamedTuple, Optional

from ...base import fast_json, processes, project_paths, timestamps
from ...base.project_paths import Project
from ...base.text import one_line
from ...core import batch_state, blocking, run_transitions
from ...core.batch_state import key
from ...core.errors import BatchError
from ...store import atomic_files, snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...core.batch_state import State

PROGRESS_FOLDER = "logs/run"
MAX_PROGRESS_BYTES = 64 * 1024
MAX_ENDED = 5
MAX_PLAUSIBLE = 1e9


class RunningFeature(NamedTuple):
    """A feature that is under way. `step` is `running` or `merging`; `phase` what its client does."""

    number: int
    text: str
    attempt: int
    step: str
    phase: Optional[str]
    seconds: int
    turns: Optional[int]
    cost_usd: Optional[float]
    tool: Optional[str]
    place: str
    branch: str


class PendingFeature(NamedTuple):
    """A feature that is still to begin; `why` it cannot yet, empty when it only waits for its turn."""

    number: int
    text: str
    why: str


class EndedFeature(NamedTuple):
    """A feature that is `completed`, `failed` or `skipped`; `said` is its commit, or why. `at` is when."""

    number: int
    text: str
    condition: str
    said: str
    at: str


class Wait(NamedTuple):
    """A wait or a pause: `until` is None when only a person ends it."""

    reason: str
    until: Optional[str]


class Limit(NamedTuple):
    """A limit that a person set, `cost`, `time` or `waiting`, with how much of it is used."""

    name: str
    used: float
    most: float


class View(NamedTuple):
    """A batch at the moment `at`.

    `at_work`: its lease is alive. `seconds` is the age of the run (of the batch, without one). `spent` has the fields
    of `run.spent`, with what is under way; empty without a run. `held` are the features that are still to begin, in
    order, `last` those that were closed last, the last one first. `ended` is why the run ended, empty while it goes on.
    """

    batch_id: str
    at: str
    status: str
    counts: Dict[str, int]
    at_work: bool
    seconds: int
    rows: List[RunningFeature]
    held: List[PendingFeature]
    waiting: Optional[Wait]
    pause: Optional[Wait]
    ended: str
    spent: Dict[str, float]
    limits: List[Limit]
    last: List[EndedFeature]


def read_view(project: Project, now: str) -> Optional[View]:
    """The batch of a project; None when there is none. StateUnusable as `onlooker.read`."""
    state = snapshot.read_snapshot(project)
    return None if state is None else build_view(state, now)


def build_view(state: State, now: str) -> View:
    """The batch with this state; the work trees that it names are looked into."""
    run = state.get("run")
    rows = _running_features(state, now) if run and run["running"] else _open_feature(state, now)
    spent = _usage(run, rows) if run else {}
    pause = state["pause"]
    waits = run["waiting"] if run else None
    return View(
        batch_id=state["batch_id"],
        at=now,
        status=state["status"],
        counts=batch_state.counts(state),
        at_work=processes.is_owner_alive(state["owner"]),
        seconds=_batch_age_s(state, now),
        rows=rows,
        held=_pending_features(state, now),
        waiting=Wait(one_line(waits["reason"]), waits["until"]) if waits else None,
        pause=Wait(one_line(pause["reason"]), pause.get("resume_after")) if pause else None,
        ended=one_line(run.get("ended_why") or "") if run and run.get("ended_at") else "",
        spent=spent,
        limits=_limits(state, now, spent) if run else [],
        last=_last_ended(state),
    )


def advance_view(seen: View, now: str) -> View:
    """The same as it looks at a later moment, when nothing else has happened since."""
    if seen.ended or seen.status != "in_progress":
        return seen
    passed = _seconds_between(seen.at, now)
    return seen._replace(
        at=now,
        seconds=seen.seconds + passed,
        rows=[row._replace(seconds=row.seconds + passed) for row in seen.rows],
        limits=[limit._replace(used=limit.used + passed) if limit.name == "time" else limit for limit in seen.limits],
    )


def _batch_age_s(state: State, now: str) -> int:
    run = state.get("run")
    first = run["started_at"] if run else state["created_at"]
    over = (run or {}).get("ended_at") or (None if batch_state.is_live(state) else state["updated_at"])
    return _seconds_between(first, over or now)


def _seconds_between(first: str, second: str) -> int:
    """Seconds from one moment to another, never less than 0; 0 too when one of them is none of ours."""
    try:
        return max(0, timestamps.seconds_between(first, second))
    except ValueError:
        return 0


# -- what is under way -------------------------------------------------------------------------------------------------


def _open_feature(state: State, now: str) -> List[RunningFeature]:
    """The open feature of a batch that a client does; at most one."""
    active = state["active"]
    if active is None:
        return []
    index = active["feature_index"]
    return [
        RunningFeature(
            index + 1, one_line(state["features"][index]), active["attempt"], "running", active["phase"],
            _seconds_between(active["started_at"], now), None, None, None, "", active.get("branch") or "",
        )
    ]  # fmt: skip


def _running_features(state: State, now: str) -> List[RunningFeature]:
    here = processes.get_host_name()
    found = []
    for name, entry in sorted(state["run"]["running"].items(), key=lambda item: int(item[0])):
        told = _client_progress(entry) if entry["place"] == here and entry["worktree"] else {}
        found.append(
            RunningFeature(
                int(name) + 1, one_line(state["features"][int(name)]), entry["attempt"], entry["step"],
                told.get("phase"), _seconds_between(entry["started_at"], now), told.get("turns"), told.get("cost_usd"),
                told.get("tool"), one_line(entry["place"], 60), one_line(entry["branch"]),
            )
        )  # fmt: skip
    return found


def _client_progress(entry: State) -> Dict[str, Any]:
    """How far the attempt's client is: `turns`, `cost_usd`, `tool`, `phase`, as far as its work tree says."""
    project = Project(entry["worktree"])
    told = _read_progress_file(project)
    if told.get("session_id") != entry["session_id"]:
        told = {}  # of a client before this one: what that used is counted already
    found: Dict[str, Any] = {}
    if _is_number(told.get("turns")):
        found["turns"] = int(told["turns"])
    if _is_number(told.get("cost_usd")):
        found["cost_usd"] = float(told["cost_usd"])
    for name in ("tool", "phase"):
        if isinstance(told.get(name), str):
            found[name] = one_line(told[name], 40)
    try:
        state = snapshot.read_snapshot(project)
    except (BatchError, OSError):
        return found
    if state is not None and state.get("active"):
        found["phase"] = state["active"]["phase"]
    return found


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < MAX_PLAUSIBLE and math.isfinite(value)  # NaN is JSON, to some


def _read_progress_file(project: Project) -> Dict[str, Any]:
    """What `progress.json` holds. Empty for anything but a small JSON object in a plain file: the client may write
    there.
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
        found = atomic_files.read(folder, "progress.json")
        told = fast_json.loads(found[1]) if found else None
    except (OSError, BatchError, atomic_files.UnexpectedFileType, ValueError, RecursionError):
        return {}
    finally:
        atomic_files.close_quietly(folder)
    return told if isinstance(told, dict) else {}


# -- what is not -------------------------------------------------------------------------------------------------------


def _pending_features(state: State, now: str) -> List[PendingFeature]:
    why = dict(run_transitions.waiting_reasons(state, now))
    return [
        PendingFeature(index + 1, one_line(state["features"][index]), one_line(why.get(index, "")))
        for index in batch_state.pending_indices(state)
    ]


def _last_ended(state: State) -> List[EndedFeature]:
    ended = sorted(
        (
            (timing["ended_at"], int(name))
            for name, timing in state.get("timings", {}).items()
            if "ended_at" in timing and batch_state.feature_status(state, int(name)) in ("done", "failed", "skipped")
        ),
        reverse=True,
    )
    return [_ended_feature(state, index, at) for at, index in ended[:MAX_ENDED]]


def _ended_feature(state: State, index: int, at: str) -> EndedFeature:
    condition = batch_state.feature_status(state, index)
    if condition == "done":
        proof = state["evidence"].get(key(index), {})
        said = (proof.get("commit") or "")[:12] if not proof.get("no_change") else "no change needed"
    else:
        place, field = {"failed": ("failed_features", "error_message"), "skipped": ("skipped_features", "reason")}[
            condition
        ]
        said = next(blocking.describe_reason(entry[field]) for entry in state[place] if entry["feature_index"] == index)
    return EndedFeature(index + 1, one_line(state["features"][index]), condition, one_line(said), at)


# -- what it takes -----------------------------------------------------------------------------------------------------


def _usage(run: State, rows: List[RunningFeature]) -> Dict[str, float]:
    """What the run has used, with what the clients that are at work have used so far."""
    spent = dict(run["spent"])
    for row in rows:
        if row.step == "running":  # the client of one that is merging has ended, and is counted
            spent["turns"] = spent.get("turns", 0) + (row.turns or 0)
            spent["cost_usd"] = spent.get("cost_usd", 0) + (row.cost_usd or 0)
    return spent


def _limits(state: State, now: str, spent: Dict[str, float]) -> List[Limit]:
    limits = state["policy"].get("budgets") or {}
    waiting = state["run"]["waiting"]
    waited = spent.get("waited_s", 0) + (_seconds_between(waiting["since"], now) if waiting else 0)
    used = {"cost": spent.get("cost_usd", 0), "time": _batch_age_s(state, now), "waiting": waited}
    names = {"cost": "cost_usd", "time": "time_s", "waiting": "wait_s"}
    return [Limit(name, used[name], limits[names[name]]) for name in names if limits.get(names[name]) is not None]
