"""What an unattended run does to a batch: pure functions from a state to a new one, beside those of `transitions`.

    pending --dispatch--> under way --queue--> merging --merged--> completed
                             |  \\--failed, sent_back--> pending or failed   (attempt counted)
                             |--interrupted-----------> pending             (nothing counted)

Several features are under way at once (`run.running`), each in a work tree of its own. How each ends is what
`transitions` says: for the moment of its end a feature becomes the one that is open. `run.spent` never falls. Every
function takes a valid state and leaves it untouched; what cannot be granted is a Refused.
"""

from __future__ import annotations

import math

from . import batch_state, lease, transitions
from .batch_state import key
from .errors import RefusedError
from .path_conflicts import PathClaims

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

    from .batch_state import State

MAX_CLIENTS_KEPT = 20
MAX_WAITS_KEPT = 100
CRASHES_BEFORE_COUNTED = 3  # a client that breaks this often in one attempt has used it up
MAX_SEND_BACKS = 1
SPENT = (
    "clients", "turns", "cost_usd", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens",
    "waited_s", "worked_s",
)  # fmt: skip


def begin(
    state: State,
    now: str,
    owner: State,
    *,
    branch: str,
    base_commit: str,
    target: Optional[str],
    worktrees: str,
    jobs: int,
    options: State,
    budgets: State,
) -> State:
    """The batch under a run of `owner` (a lease): in progress, with what earlier runs came to kept. `branch` is the
    batch's, `base_commit` where it began, `target` the person's own branch.
    """
    running = transitions.unpause(state)
    known = state.get("run") or {}
    run = {
        "branch": branch,
        "base_commit": known.get("base_commit", base_commit),
        "target": target,
        "worktrees": worktrees,
        "started_at": now,
        "ended_at": None,
        "ended_why": None,
        "jobs": jobs,
        "options": options,
        "spent": {**dict.fromkeys(SPENT, 0), **known.get("spent", {})},
        "waiting": None,
        "waits": known.get("waits", []),
        "running": known.get("running", {}),
        "clients": known.get("clients", {}),
        "sent_back": known.get("sent_back", {}),
        "merges": known.get("merges", []),
        "pull_request": known.get("pull_request"),
    }
    policy = {**running["policy"], "unattended": True, "budgets": budgets}
    return batch_state.with_derived_fields(
        {**running, "run": run, "owner": {**owner, "driven": True}, "active": None, "policy": policy}
    )


def end(state: State, now: str, why: str) -> State:
    """The run has ended, for `why`; nothing is under way any more, and the lease is over."""
    return lease.release(_with_run(clear_running(state), ended_at=now, ended_why=why, waiting=None))


def clear_running(state: State) -> State:
    """What was under way is pending again, nothing counted: its driver is gone."""
    run = state.get("run")
    return batch_state.with_derived_fields(_with_run(state, running={})) if run and run["running"] else state


# -- what may start ---------------------------------------------------------------------------------------------------


def ready_indices(state: State, now: str) -> List[int]:
    """Indices of the features that could begin now, in the order in which they should."""
    held = {index for index, _ in waiting_reasons(state, now)}
    found: List[int] = []
    again: List[int] = []
    for index in batch_state.pending_indices(state):
        if index not in held:
            (again if batch_state.attempts_used(state, index) else found).append(index)
    free: List[int] = []
    taken = PathClaims()
    for index in found + again:
        paths = touched_paths(state, index)
        if taken.conflicting_number(paths) is None:
            free.append(index)
            taken.add(index, paths)
    return free


def waiting_reasons(state: State, now: str) -> Iterator[Tuple[int, str]]:
    """The pending features that cannot begin now, with the reason of each as a few words."""
    done = set(state["completed_features"])
    taken = PathClaims()
    for index in batch_state.running_indices(state):
        taken.add(index, touched_paths(state, index))
    for index in batch_state.pending_indices(state):
        needs = sorted(set(state["feature_dependencies"].get(key(index), ())) - done)
        if needs:
            yield index, f"after {', '.join(str(need + 1) for need in needs)}"
            continue
        later = batch_state.earliest_start(state, index)
        if later and later > now:
            yield index, f"again at {later[11:16]} UTC"
            continue
        beside = taken.conflicting_number(touched_paths(state, index))
        if beside is not None:
            yield index, f"changes the same paths as {beside + 1}"


def next_start(state: State, now: str) -> Optional[str]:
    """The earliest time at which a pending feature that only waits for its time could begin; None when none does."""
    done = set(state["completed_features"])
    moments = [
        later
        for index in batch_state.pending_indices(state)
        if done.issuperset(state["feature_dependencies"].get(key(index), ()))
        for later in [batch_state.earliest_start(state, index)]
        if later and later > now
    ]
    return min(moments) if moments else None


def touched_paths(state: State, index: int) -> List[str]:
    """The paths that feature `index` says it changes."""
    paths: List[str] = state.get("details", {}).get(key(index), {}).get("touches", [])
    return paths


# -- what is under way ------------------------------------------------------------------------------------------------


def dispatch(
    state: State, now: str, index: int, *, base: str, branch: str, worktree: str, session_id: str, place: str
) -> State:
    """Feature `index` is under way: its next attempt, or the one that was interrupted again."""
    transitions.require_in_progress(state)
    status = batch_state.feature_status(state, index)
    if status != "pending":
        raise RefusedError(f"Feature {index + 1} is {status}: only a pending feature can start.", "run-stopped")
    entry = {
        "attempt": batch_state.attempts_used(state, index) + 1,
        "step": "running",
        "branch": branch,
        "base_commit": base,
        "worktree": worktree,
        "session_id": session_id,
        "started_at": now,
        "place": place,
        "commit": None,
    }
    timing = {"started_at": now, **state["timings"].get(key(index), {})}
    changed = {**state, "timings": {**state["timings"], key(index): timing}}
    return batch_state.with_derived_fields(_with_run(changed, running={**state["run"]["running"], key(index): entry}))


def update_places(state: State, places: Dict[str, str]) -> Optional[State]:
    """The state with where the features under way are done now, by the session ids of their clients; None when that is
    as it was.
    """
    running = {
        name: {**entry, "place": places.get(entry["session_id"], entry["place"])}
        for name, entry in state["run"]["running"].items()
    }
    return None if running == state["run"]["running"] else _with_run(state, running=running)


def record_client(state: State, index: int, record: State) -> State:
    """Keep what a client of feature `index` came to (an entry of `run.clients`) and count what it used."""
    run = state["run"]
    spent = dict(run["spent"])
    spent["clients"] += 1
    spent["worked_s"] += record.get("seconds", 0)
    for name in SPENT:
        if name in record:
            spent[name] += record[name]
    clients = [*run["clients"].get(key(index), ()), record][-MAX_CLIENTS_KEPT:]
    return _with_run(state, spent=spent, clients={**run["clients"], key(index): clients})


def await_merge(state: State, index: int, evidence: State, decisions: List[Dict[str, Any]]) -> State:
    """Feature `index` is verified and waits to be merged; what its worker decided by default is kept."""
    changed = _with_running(state, index, step="merging", evidence=evidence)
    return {**changed, "decisions": [*state.get("decisions", ()), *decisions]}


def record_merge_commit(state: State, index: int, commit: str) -> State:
    """`commit` is about to become the head of the batch's branch: found there after a crash, it was merged."""
    return _with_running(state, index, commit=commit)


def complete_feature(state: State, now: str, index: int, evidence: State, merge: State) -> State:
    """Feature `index` is completed: its commits are on the batch's branch. `merge` is an entry of `run.merges`."""
    done = transitions.complete(_activate(state, index), now, evidence)
    merges = [*done["run"].get("merges", ()), {"feature_index": index, "timestamp": now, **merge}]
    return _with_run(done, merges=merges, clients=_without_worktrees(done, index))


def fail_attempt(
    state: State,
    now: str,
    index: int,
    error: str,
    failure_class: str,
    *,
    permanent: bool = False,
    changed: bool = True,
    stash: Optional[str] = None,
    retry_after: Optional[str] = None,
) -> State:
    """The attempt at feature `index` failed and is counted. `changed`: it left commits or files. The same error, or no
    change, twice running ends the feature's attempts.
    """
    branch = state["run"]["running"][key(index)]["branch"]
    before = state.get("attempts", {}).get(key(index), ())
    hopeless = bool(before) and (
        _is_same_error(before[-1]["error_message"], error) or not (changed or before[-1].get("changed", True))
    )
    ended = transitions.fail(
        _activate(state, index), now, error, failure_class, permanent=permanent or hopeless, stash=stash,
        retry_after=retry_after,
    )  # fmt: skip
    *others, last = ended["attempts"][key(index)]
    noted = [*others, {**last, "branch": branch, "changed": changed}]
    return {**ended, "attempts": {**ended["attempts"], key(index): noted}}


def send_back(state: State, now: str, index: int, why: str) -> State:
    """Feature `index` could not be merged: it is done once more on the new base, then given up on. Being sent back
    takes nothing from its retries.
    """
    times = state["run"].get("sent_back", {}).get(key(index), 0) + 1
    changed = _with_run(state, sent_back={**state["run"].get("sent_back", {}), key(index): times})
    granted = changed.get("retry_allowance", {})
    if times <= MAX_SEND_BACKS:
        changed = {**changed, "retry_allowance": {**granted, key(index): granted.get(key(index), 0) + 1}}
    return fail_attempt(changed, now, index, why, "merge", permanent=times > MAX_SEND_BACKS)


def client_budget_usd(state: State, held_usd: float, free: int) -> float:
    """What the next client may cost, in US dollars, so that all of the batch together keep to its limit: an equal share
    of what is left for each of the `free` that can begin, or all of it when a client has cost more than such a share so
    far. `held_usd` is what those at work may still cost. Infinite without a limit; 0: wait for those at work.
    """
    limit, spent = state["policy"]["budgets"].get("cost_usd"), state["run"]["spent"]
    if limit is None:
        return math.inf
    left = limit - spent["cost_usd"] - held_usd
    share = left / free
    if share < spent["cost_usd"] / max(1, spent["clients"]):
        share = 0.0 if held_usd else left
    return float(max(0.0, share))


def return_to_pending(state: State, index: int) -> State:
    """Feature `index` is pending again, nothing counted: its client was stopped by something that is not its fault."""
    running = {name: entry for name, entry in state["run"]["running"].items() if name != key(index)}
    return batch_state.with_derived_fields(_with_run(state, running=running))


def consecutive_crashes(state: State, index: int) -> int:
    """How often in a row the clients of the attempt that comes next at feature `index` broke, of themselves, or
    filled their window.
    """
    attempt = batch_state.attempts_used(state, index) + 1
    number = 0
    for client in reversed(state["run"]["clients"].get(key(index), ())):
        if client["attempt"] != attempt or client["outcome"] != "interrupted":
            break
        number += client.get("failure_class") in ("crash", "worker_died", "context")
    return number


def begin_wait(state: State, now: str, until: str, reason: str, failure_class: str) -> State:
    """The run waits until then; a wait that ends later than the one there is takes its place."""
    known = state["run"]["waiting"]
    if known is not None and known["until"] >= until:
        return state
    entry = {
        "since": known["since"] if known else now,
        "until": until,
        "reason": reason,
        "failure_class": failure_class,
    }
    return _with_run(state, waiting=entry)


def end_wait(state: State, now: str, waited_s: float) -> State:
    """The wait has ended at `now`, after that many seconds."""
    run = state["run"]
    if run["waiting"] is None:
        return state
    spent = {**run["spent"], "waited_s": run["spent"]["waited_s"] + max(0, waited_s)}
    waits = [*run["waits"], {**run["waiting"], "until": now}][-MAX_WAITS_KEPT:]
    return _with_run(state, waiting=None, waits=waits, spent=spent)


def record_pull_request(state: State, record: State) -> State:
    """Keep what became of the batch's pull request."""
    return _with_run(state, pull_request=record)


def run_events(old: Optional[State], new: State) -> Iterator[Dict[str, Any]]:
    """The events of a run from one `run` to the next, as `story` has them."""
    before: State = old or {"running": {}, "clients": {}, "started_at": None}
    if new["started_at"] != before["started_at"]:
        yield {"event": "run started", "jobs": new["jobs"], "branch": new["branch"]}
    for name, entry in new["running"].items():
        known = before["running"].get(name)
        if known is None:
            yield {"event": "started", "feature": int(name) + 1, "attempt": entry["attempt"],
                   "base": entry["base_commit"], "place": entry["place"]}  # fmt: skip
        elif entry["step"] != known["step"]:
            yield {"event": "verified", "feature": int(name) + 1}
    for name, clients in new["clients"].items():
        if clients and clients is not before["clients"].get(name) and clients[-1].get("outcome") == "interrupted":
            last = (before["clients"].get(name) or [None])[-1]
            if last != clients[-1]:
                yield {"event": "interrupted", "feature": int(name) + 1, "why": clients[-1].get("message", "")[:300]}
    if new.get("waiting") != before.get("waiting"):
        yield {"event": "waiting", **new["waiting"]} if new.get("waiting") else {"event": "wait ended"}
    if new.get("ended_at") and new["ended_at"] != before.get("ended_at"):
        yield {"event": "run ended", "why": new.get("ended_why")}


def _with_run(state: State, **fields: Any) -> State:
    """The state with these fields of its `run`."""
    return {**state, "run": {**state["run"], **fields}}


def _with_running(state: State, index: int, **fields: Any) -> State:
    running = state["run"]["running"]
    return _with_run(state, running={**running, key(index): {**running[key(index)], **fields}})


def _activate(state: State, index: int) -> State:
    """The state with feature `index` as the one that is open instead of under way."""
    entry = state["run"]["running"][key(index)]
    active = {
        "feature_index": index,
        "attempt": entry["attempt"],
        "phase": batch_state.PHASES[-1],
        "base_commit": entry["base_commit"],
        "branch": entry["branch"],
        "started_at": entry["started_at"],
        "interruptions": 0,
    }
    return {**return_to_pending(state, index), "active": active}


def _without_worktrees(state: State, index: int) -> State:
    """The clients with those of feature `index` without their work trees, which are removed when it is merged."""
    clients: State = state["run"]["clients"]
    return {**clients, key(index): [{**client, "worktree": None} for client in clients.get(key(index), ())]}


def _is_same_error(first: str, second: str) -> bool:
    """Whether two messages tell of the same error: they differ in numbers, commits, paths and blanks at most."""
    return _normalize_error(first) == _normalize_error(second)


def _normalize_error(message: str) -> str:
    import re

    return " ".join("/" if "/" in word else re.sub(r"[0-9a-f]{7,}|\d+", "#", word) for word in message.split())
