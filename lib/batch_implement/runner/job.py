"""The input and output of an attempt, as plain values that can be sent to other machines.

    job = create_job(project, state, index)     for the next attempt at a feature
    outcome = local_executor.run_job(job)       or the same on another machine
    Outcome(**json.loads(text))                 both can be sent as JSON: json.dumps(outcome._asdict())

A worker knows nothing of the batch that its feature belongs to: no state, no lock, no other feature. So the driver
stays the only writer of the batch's state.
"""

from __future__ import annotations

import itertools
import math
import os
import uuid
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

from ..base import process_identity, timestamps
from ..base.project_paths import Project
from ..core import batch_policy, batch_state, failure_classification, prompts
from ..core.batch_state import key
from ..git import git_client, worktrees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.batch_state import State

COMPLETED, FAILED, INTERRUPTED, NEEDS_USER = "completed", "failed", "interrupted", "needs_user"
LOST = "lost"  # failure class of an attempt that was lost with its machine or scheduler
SPENT = ("turns", "cost_usd", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "seconds")


class Job(NamedTuple):
    """One attempt at one feature.

    `repository` is the path of the repository, or a URL if `remote`. The attempt starts at the commit `base` and
    creates `branch` in the folder `worktree` (empty: the worker chooses). `policy` and `details` are those of the
    feature, `needs` the features that it builds on (`{text, commit}`), `earlier` its previous attempts from the state.
    Work of the last one that could not be merged is applied first. `command` replaces the client unless None. `client`
    is `{path, version, model, permission_mode, allow, settings}`. `limits` are `{time_s, turns, cost_usd}` of the
    attempt and `left_usd`, its share of the rest of the run's cost limit; each may be None. `slot` is the lowest
    number, from 0, that no other running attempt has. `decisions` are those of earlier attempts at the feature.
    """

    batch_id: str
    feature_index: int
    attempt: int
    text: str
    details: Dict[str, Any]
    needs: List[Dict[str, Any]]
    earlier: List[Dict[str, Any]]
    policy: Dict[str, Any]
    repository: str
    remote: bool
    base: str
    branch: str
    worktree: str
    session_id: str
    command: Optional[str]
    client: Dict[str, Any]
    limits: Dict[str, Any]
    slot: int = 0
    total_features: int = 1
    decisions: List[Dict[str, Any]] = []  # noqa: RUF012


class Outcome(NamedTuple):
    """How an attempt ended.

    `kind` is COMPLETED (`commit` on the job's branch is verified, with `evidence`), FAILED (`message`,
    `failure_class`; `permanent`: another attempt cannot help; `snapshot` is the ref with uncommitted work), INTERRUPTED
    (not counted; `retry_after` is the earliest useful time, None if unknown) or NEEDS_USER (the batch has to pause).
    `changed`: the attempt left a commit or file. `spent` has the names of SPENT. `place` is where it ran. `log_texts`
    has the ends of its logs by name, which the driver saves in the folder `log`. `notes` are those of its store.
    `refusals` has the number of tool calls that permissions refused, by the rule that would allow them.
    """

    session_id: str
    kind: str
    spent: Dict[str, Any]
    place: str
    started_at: str
    ended_at: str
    log: str = ""
    # The defaults of a NamedTuple are shared: never change one in place.
    commit: Optional[str] = None
    evidence: Dict[str, Any] = {}  # noqa: RUF012
    decisions: List[Dict[str, Any]] = []  # noqa: RUF012
    message: str = ""
    failure_class: str = ""
    permanent: bool = False
    retry_after: Optional[str] = None
    snapshot: Optional[str] = None
    changed: bool = True
    log_texts: Dict[str, str] = {}  # noqa: RUF012
    notes: List[str] = []  # noqa: RUF012
    refusals: Dict[str, int] = {}  # noqa: RUF012


def kind_of_failure(failure_class: str) -> str:
    """Return the kind of an outcome with this failure class, by its treatment."""
    kinds = {"pause": NEEDS_USER, "wait": INTERRUPTED}
    return kinds.get(failure_classification.TREATMENT[failure_class], FAILED)


def max_cost_usd(job: Job) -> float:
    """Return the most that the client of a job may cost, in US dollars; infinity without a limit."""
    limits = (job.limits["cost_usd"], job.limits["left_usd"])
    return min((limit for limit in limits if limit is not None), default=math.inf)


def create_job(project: Project, state: State, index: int, share_usd: float = math.inf, slot: int = 0) -> Job:
    """Return the job for the next attempt at feature `index`, starting at the tip of the batch's branch.

    `share_usd` is its client's share of the rest of the run's cost limit.
    """
    run, name, text = state["run"], key(index), state["features"][index]
    attempt = batch_state.attempts_used(state, index) + 1
    options, limits = run["options"], state["policy"]["budgets"]
    policy = {
        field: value for field, value in batch_policy.feature_policy(state, index).items() if field != "workflow_mode"
    }
    settings = os.path.join(project.root, ".claude", "settings.local.json")
    remote = options.get("remote")  # workers on other machines share nothing but the remote
    return Job(
        batch_id=state["batch_id"],
        feature_index=index,
        attempt=attempt,
        text=text,
        details=state.get("details", {}).get(name, {}),
        needs=[
            {"text": state["features"][need], "commit": state["evidence"].get(key(need), {}).get("commit")}
            for need in state["feature_dependencies"].get(name, ())
        ],
        earlier=state.get("attempts", {}).get(name, []),
        policy={**policy, "max_retries": 0, "max_retries_total": 0, "unattended": True, "budgets": {}},
        repository=remote or project.root,
        remote=bool(remote),
        base=git_client.get_branch_tip(project.root, run["branch"]) or run["base_commit"],
        branch=worktrees.get_attempt_branch(state["batch_id"], index, text, attempt),
        worktree="" if remote else worktrees.get_attempt_folder(run["worktrees"], index, text, attempt),
        session_id=str(uuid.uuid4()),
        command=options.get("worker"),
        client={
            "path": options.get("client"),
            **{name: options.get(name) for name in ("model", "permission_mode")},
            "version": options.get("client_version"),
            "allow": options.get("allow", []),
            "settings": settings if os.path.exists(settings) and not remote else None,
        },
        limits={
            **{name: limits.get(f"feature_{name}") for name in ("time_s", "turns", "cost_usd")},
            "left_usd": share_usd if share_usd < math.inf else None,
        },
        slot=slot,
        total_features=state["total_features"],
        decisions=[
            {**entry, "feature_index": 0} for entry in state.get("decisions", ()) if entry.get("feature_index") == index
        ][-prompts.MAX_DECISIONS :],
    )


def get_verify_worktree(job: Job) -> str:
    """Return the folder in which the attempt is verified, beside its worktree on this machine."""
    return worktrees.get_verify_folder(os.path.dirname(job.worktree), job.slot)


def get_tree_lock(job: Job) -> str:
    """Return the path of the lock of `get_verify_worktree` in a worker's clone, where other attempts may use it."""
    return os.path.join(job.repository, f"verify-{job.batch_id}-{job.slot}.lock")


def lowest_free_slot(running: Iterable[Job]) -> int:
    """Return the lowest number, from 0, that none of the running jobs has."""
    taken = {job.slot for job in running}
    return next(slot for slot in itertools.count() if slot not in taken)


def client_record(job: Job, outcome: Outcome) -> State:
    """Return what the state keeps of a client: an entry of `run.clients`."""
    return {
        "attempt": job.attempt,
        "started_at": outcome.started_at,
        "ended_at": outcome.ended_at,
        "outcome": outcome.kind,
        "failure_class": outcome.failure_class,
        "message": outcome.message[:2000],
        "place": outcome.place,
        "branch": job.branch,
        "worktree": job.worktree or None,
        "logs": outcome.log or None,
        "session_id": outcome.session_id,
        **({"refusals": outcome.refusals} if outcome.refusals else {}),
        **{name: outcome.spent.get(name, 0) for name in SPENT},
    }


def new_outcome(job: Job, **fields: Any) -> Outcome:
    """Return an outcome of the job on this machine, which has just ended."""
    now = timestamps.now()
    here = {"place": process_identity.get_host_name(), "spent": dict.fromkeys(SPENT, 0)}
    return Outcome(**{"session_id": job.session_id, "started_at": now, "ended_at": now, **here, **fields})


def interrupted_outcome(job: Job, reason: str, failure_class: str = "worker_died") -> Outcome:
    """Return the outcome of an attempt whose worker exited without one. It is not counted."""
    message = f"The worker returned no result: {reason}"
    return new_outcome(job, kind=INTERRUPTED, message=message, failure_class=failure_class)
