"""Transitions of an unattended run: pure functions from a state to a new one, beside those of `transitions`.

    pending --dispatch--> running --await_merge--> merging --complete_feature--> completed
                             |  \\--fail_attempt, send_back--> pending or failed   (attempt counted)
                             |------return_to_pending-------> pending             (nothing counted)

Several features run in parallel (`run.running`), each in its own worktree. To end one, it becomes the open feature and
`transitions` closes it. `run.spent` never decreases. A refused transition raises RefusedError.
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
CRASHES_BEFORE_COUNTED = 3  # crashes of the client that use up an attempt
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
    policy: Optional[State] = None,
) -> State:
    """Start a run owned by `owner`, and keep the results of earlier runs.

    `branch` is the batch's branch, `base_commit` its first base, `target` the user's own branch. `policy` has fields of
    the batch's policy that replace its own.
    """
    unpaused = transitions.unpause(state)
    earlier = state.get("run") or {}
    run = {
        "branch": branch,
        "base_commit": earlier.get("base_commit", base_commit),
        "target": target,
        "worktrees": worktrees,
        "started_at": now,
        "ended_at": None,
        "ended_why": None,
        "jobs": jobs,
        "options": options,
        "spent": {**dict.fromkeys(SPENT, 0), **earlier.get("spent", {})},
        "waiting": None,
        "waits": earlier.get("waits", []),
        "running": earlier.get("running", {}),
        "clients": earlier.get("clients", {}),
        "sent_back": earlier.get("sent_back", {}),
        "queue": earlier.get("queue"),
        "merges": earlier.get("merges", []),
        "pull_request": earlier.get("pull_request"),
    }
    new_policy = {**unpaused["policy"], **(policy or {}), "unattended": True, "budgets": budgets}
    return batch_state.with_derived_fields(
        {**unpaused, "run": run, "owner": {**owner, "driven": True}, "active": None, "policy": new_policy}
    )


def end(state: State, now: str, why: str) -> State:
    """End the run for the reason `why`: no feature is running, what is verified waits for the next run to merge it, and
    the lease ends.
    """
    merging = {name: entry for name, entry in state["run"]["running"].items() if entry["step"] == "merging"}
    ended = _with_run(state, running=merging, ended_at=now, ended_why=why, waiting=None)
    return lease.release(batch_state.with_derived_fields(ended))


def clear_running(state: State) -> State:
    """Make running features pending again, uncounted, because their driver is gone."""
    run = state.get("run")
    return batch_state.with_derived_fields(_with_run(state, running={})) if run and run["running"] else state


# -- starting ---------------------------------------------------------------------------------------------------------


def ready_indices(state: State, now: str) -> List[int]:
    """Return the features that can start now, in the order in which they should: retries last."""
    blocked = {index for index, _ in waiting_reasons(state, now)}
    indices = [index for index in batch_state.pending_indices(state) if index not in blocked]
    indices.sort(key=lambda index: batch_state.attempts_used(state, index) > 0)
    ready: List[int] = []
    claims = PathClaims()
    for index in indices:
        paths = touched_paths(state, index)
        if claims.conflicting_number(paths) is None:
            ready.append(index)
            claims.add(index, paths)
    return ready


def waiting_reasons(state: State, now: str) -> Iterator[Tuple[int, str]]:
    """Yield each pending feature that cannot start now, with the reason in a few words."""
    done = set(state["completed_features"])
    claims = PathClaims()
    for index in batch_state.running_indices(state):
        claims.add(index, touched_paths(state, index))
    for index in batch_state.pending_indices(state):
        needs = sorted(set(state["feature_dependencies"].get(key(index), ())) - done)
        if needs:
            yield index, f"after {', '.join(str(need + 1) for need in needs)}"
            continue
        start = batch_state.earliest_start(state, index)
        if start and start > now:
            yield index, f"again at {start[11:16]} UTC"
            continue
        other = claims.conflicting_number(touched_paths(state, index))
        if other is not None:
            yield index, f"changes the same paths as {other + 1}"


def next_start(state: State, now: str) -> Optional[str]:
    """Return the earliest time at which a feature that waits only for its time can start, or None."""
    done = set(state["completed_features"])
    starts = [
        batch_state.earliest_start(state, index) or ""
        for index in batch_state.pending_indices(state)
        if done.issuperset(state["feature_dependencies"].get(key(index), ()))
    ]
    return min((start for start in starts if start > now), default=None)


def touched_paths(state: State, index: int) -> List[str]:
    """Return the paths that feature `index` declares to change."""
    paths: List[str] = state.get("details", {}).get(key(index), {}).get("touches", [])
    return paths


# -- running ----------------------------------------------------------------------------------------------------------


def dispatch(
    state: State,
    now: str,
    index: int,
    *,
    base: str,
    branch: str,
    worktree: str,
    session_id: str,
    place: str,
    slot: int = 0,
) -> State:
    """Start feature `index`: its next attempt, or an interrupted one again."""
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
        "slot": slot,
        "started_at": now,
        "place": place,
        "prepared": None,
    }
    changed = _with_run(state, running={**state["run"]["running"], key(index): entry})
    return batch_state.with_derived_fields(transitions.with_start_time(changed, index, now))


def update_places(state: State, places: Dict[str, str]) -> Optional[State]:
    """Record where running features run, from `places` by session id. Return None without a change."""
    running = {
        name: {**entry, "place": places.get(entry["session_id"], entry["place"])}
        for name, entry in state["run"]["running"].items()
    }
    return None if running == state["run"]["running"] else _with_run(state, running=running)


def record_client(state: State, index: int, record: State) -> State:
    """Record the end of a client of feature `index` (an entry of `run.clients`) and add what it used."""
    run = state["run"]
    spent = dict(run["spent"])
    spent["clients"] += 1
    spent["worked_s"] += record.get("seconds", 0)
    for name in SPENT:
        if name in record:
            spent[name] += record[name]
    clients = [*run["clients"].get(key(index), ()), record][-MAX_CLIENTS_KEPT:]
    return _with_run(state, spent=spent, clients={**run["clients"], key(index): clients})


def await_merge(state: State, now: str, index: int, evidence: State, decisions: List[Dict[str, Any]]) -> State:
    """Record that feature `index` is verified and waits for its merge, with the decisions of its worker.

    From then on it has a branch, but no worktree.
    """
    changed = _with_running(state, index, step="merging", evidence=evidence, verified_at=now, worktree="")
    changed = _with_run(changed, clients=_without_worktrees(changed, index))
    return {**changed, "decisions": [*state.get("decisions", ()), *decisions]}


def prepare_merges(state: State, prepared: Dict[int, State]) -> State:
    """Record the `evidence` and `merge` (see `complete_feature`) of features that the branch is going to have next:
    after a crash they are merged if their commits are there.
    """
    for index, values in prepared.items():
        state = _with_running(state, index, prepared=values)
    return state


def complete_feature(state: State, now: str, index: int) -> State:
    """Complete feature `index`, whose prepared commits are on the batch's branch."""
    prepared = state["run"]["running"][key(index)]["prepared"]
    done = transitions.complete(_activate(state, index), now, prepared["evidence"])
    merges = [*done["run"].get("merges", ()), {"feature_index": index, "timestamp": now, **prepared["merge"]}]
    return _with_run(done, merges=merges)


def record_queue(state: State, queue: State) -> State:
    """Record what the merge queue does: the groups that are verified, and how many features were judged and blamed."""
    return _with_run(state, queue=queue)


def merge_progress(state: State) -> Dict[int, State]:
    """Return for each feature that waits for its merge `since` when, and while the verify command runs on it the
    features `verified_with` it, by index, and how often their group was split, `splits`.
    """
    run = state.get("run") or {}
    progress = {
        int(name): {"since": entry["verified_at"]}
        for name, entry in run.get("running", {}).items()
        if entry["step"] == "merging"
    }
    for group in (run.get("queue") or {}).get("groups", ()):
        for index in progress.keys() & set(group["features"]):
            others = [other for other in group["features"] if other != index]
            progress[index] = {"since": group["since"], "verified_with": others, "splits": group["splits"]}
    return progress


def fail_attempt(
    state: State,
    now: str,
    index: int,
    error: str,
    failure_class: str,
    *,
    permanent: bool = False,
    changed: bool = True,
    snapshot: Optional[str] = None,
    retry_after: Optional[str] = None,
    work: Optional[str] = None,
) -> State:
    """Fail the attempt at feature `index`; `changed` says whether it left commits or files, `work` is its commit that
    was done but not merged.

    The same error, or no change, in two attempts in a row fails the feature.
    """
    from .error_comparison import is_same_error  # needs `re`, which nothing else here does

    branch = state["run"]["running"][key(index)]["branch"]
    previous = next(reversed(state.get("attempts", {}).get(key(index), ())), None)
    repeated = previous is not None and (
        is_same_error(previous["error_message"], error, previous.get("branch", ""), branch)
        or not (changed or previous.get("changed", True))
    )
    ended = transitions.fail(
        _activate(state, index), now, error, failure_class, permanent=permanent or repeated, snapshot=snapshot,
        retry_after=retry_after,
    )  # fmt: skip
    *others, last = ended["attempts"][key(index)]
    entries = [*others, {**last, "branch": branch, "changed": changed, **({"work": work} if work else {})}]
    return {**ended, "attempts": {**ended["attempts"], key(index): entries}}


def send_back(state: State, now: str, index: int, why: str) -> State:
    """Repeat feature `index` on the new base because its merge failed; fail it the second time. This uses no retry.

    The attempt keeps the commit that could not be merged, for the next one to begin with.
    """
    times = state["run"].get("sent_back", {}).get(key(index), 0) + 1
    changed = _with_run(state, sent_back={**state["run"].get("sent_back", {}), key(index): times})
    granted = changed.get("retry_allowance", {})
    if times <= MAX_SEND_BACKS:
        changed = {**changed, "retry_allowance": {**granted, key(index): granted.get(key(index), 0) + 1}}
    work = state["run"]["running"][key(index)].get("evidence", {}).get("commit")
    return fail_attempt(changed, now, index, why, "merge", permanent=times > MAX_SEND_BACKS, work=work)


def client_budget_usd(state: State, held_usd: float, free: int) -> float:
    """Return the budget of the next client in US dollars, so that the batch keeps its limit; infinite without a limit.

    It is an equal share of what is left for each of the `free` slots, or all that is left if clients cost more than
    such a share on average. `held_usd` is what running clients may still cost. 0 means: wait for running clients.
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
    """Make feature `index` pending again, uncounted, because its client was interrupted."""
    running = {name: entry for name, entry in state["run"]["running"].items() if name != key(index)}
    return batch_state.with_derived_fields(_with_run(state, running=running))


def consecutive_crashes(state: State, index: int) -> int:
    """Return how many clients in a row crashed, or filled their context window, in the next attempt at `index`."""
    attempt = batch_state.attempts_used(state, index) + 1
    number = 0
    for client in reversed(state["run"]["clients"].get(key(index), ())):
        if client["attempt"] != attempt or client["outcome"] != "interrupted":
            break
        number += client.get("failure_class") in ("crash", "worker_died", "context")
    return number


def begin_wait(state: State, now: str, until: str, reason: str, failure_class: str) -> State:
    """Make the run wait until `until`, unless it waits longer already."""
    current = state["run"]["waiting"]
    if current is not None and current["until"] >= until:
        return state
    since = current["since"] if current else now
    waiting = {"since": since, "until": until, "reason": reason, "failure_class": failure_class}
    return _with_run(state, waiting=waiting)


def end_wait(state: State, now: str, waited_s: float) -> State:
    """End the wait at `now`, after `waited_s` seconds."""
    run = state["run"]
    if run["waiting"] is None:
        return state
    spent = {**run["spent"], "waited_s": run["spent"]["waited_s"] + max(0, waited_s)}
    waits = [*run["waits"], {**run["waiting"], "until": now}][-MAX_WAITS_KEPT:]
    return _with_run(state, waiting=None, waits=waits, spent=spent)


def record_pull_request(state: State, record: State) -> State:
    """Record the batch's pull request."""
    return _with_run(state, pull_request=record)


def run_events(old: Optional[State], new: State) -> Iterator[Dict[str, Any]]:
    """Yield the events from one `run` to the next, for `batch_events`."""
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
    """Return the state with these fields of its `run`."""
    return {**state, "run": {**state["run"], **fields}}


def _with_running(state: State, index: int, **fields: Any) -> State:
    running = state["run"]["running"]
    return _with_run(state, running={**running, key(index): {**running[key(index)], **fields}})


def _activate(state: State, index: int) -> State:
    """Return the state with running feature `index` as the open one."""
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
    """Return the clients; those of feature `index` without their worktrees, which the merge removes."""
    clients: State = state["run"]["clients"]
    return {**clients, key(index): [{**client, "worktree": None} for client in clients.get(key(index), ())]}
