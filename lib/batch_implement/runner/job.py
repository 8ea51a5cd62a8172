"""What a worker needs and what it brings back: plain values, so that both travel anywhere.

    job = Job(batch_id="batch-1", feature_index=0, attempt=1, ...)      the driver makes it
    outcome = worker.work(job)                                  here, or on another machine
    Outcome.of(json.loads(text))                                both also travel as JSON

A worker knows nothing of the batch that its feature belongs to: no state, no lock, no other feature. So the driver
stays the only writer of the batch's state.
"""

from __future__ import annotations

import math
import os
import uuid
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from ..base import processes
from ..base.project_paths import Project
from ..core import batch_state, policies
from ..core.batch_state import key
from ..git import git_client, worktrees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.batch_state import State

COMPLETED, FAILED, INTERRUPTED, NEEDS_USER = "completed", "failed", "interrupted", "needs_user"
LOST = "lost"  # the failure class of what a machine or a scheduler took along
SPENT = ("turns", "cost_usd", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "seconds")


class Job(NamedTuple):
    """One attempt at one feature.

    `repository` is the path of the repository, or what git can clone; `remote` says which of the two. `base` is the
    commit to begin at, `branch` the one to make, `worktree` its folder (empty: the worker chooses). `policy` and
    `details` are the feature's own, `needs` what it builds on (`{text, commit}`), `earlier` its attempts so far as the
    state keeps them. `command` stands in place of the client when it is not None. `client` is how that is called:
    `{path, model, permission_mode, allow, settings}`. `limits` are `{time_s, turns, cost_usd}` of the attempt and
    `left_usd`, its share of what the run may still cost; None for none.
    `logs` is a folder for the attempt's logs, empty where there is none to share.
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
    logs: str

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Job:
        """A job from its JSON object."""
        return cls(**data)


class Outcome(NamedTuple):
    """How an attempt ended.

    `kind` is COMPLETED (`commit` is verified, on the job's branch, with `evidence`), FAILED (`message`,
    `failure_class`; `permanent`: another attempt cannot help; `stash` holds what was left uncommitted), INTERRUPTED
    (nobody's fault: nothing is counted; `retry_after` is when it makes sense again, None when nobody knows) or
    NEEDS_PERSON (the batch cannot go on like this). `changed` says whether the attempt left any commit or file.
    `spent` has the names of SPENT. `place` is where it ran, `log` the folder of its logs, `output` their end, at most
    4,000 characters. `sent` has the logs themselves (name -> text, each at most 200 kB) from where no folder is shared.
    """

    batch_id: str
    feature_index: int
    attempt: int
    session_id: str
    kind: str
    spent: Dict[str, Any]
    place: str
    started_at: str
    ended_at: str
    log: str = ""
    output: str = ""
    # What most outcomes have nothing of. A NamedTuple's defaults are shared, and never changed.
    commit: Optional[str] = None
    evidence: Dict[str, Any] = {}  # noqa: RUF012
    decisions: List[Dict[str, Any]] = []  # noqa: RUF012
    message: str = ""
    failure_class: str = ""
    permanent: bool = False
    retry_after: Optional[str] = None
    stash: Optional[str] = None
    changed: bool = True
    log_texts: Dict[str, str] = {}  # noqa: RUF012

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Outcome:
        """An outcome from its JSON object."""
        return cls(**data)


def zero_usage() -> Dict[str, Any]:
    """A `spent` of zeros."""
    return dict.fromkeys(SPENT, 0)


def max_cost_usd(job: Job) -> float:
    """What the client of a job may cost at most, in US dollars; infinite without a limit."""
    limits = (job.limits["cost_usd"], job.limits["left_usd"])
    return min((limit for limit in limits if limit is not None), default=math.inf)


def create_job(project: Project, state: State, index: int, share_usd: float = math.inf) -> Job:
    """What a worker needs for the next attempt at feature `index`, which begins at the head of the batch's branch.
    `share_usd` is what its client may cost of what the run may still cost.
    """
    run, name, text = state["run"], key(index), state["features"][index]
    attempt = batch_state.attempts_used(state, index) + 1
    options, limits = run["options"], state["policy"]["budgets"]
    policy = {
        field: value for field, value in policies.feature_policy(state, index).items() if field != "workflow_mode"
    }
    number = run["spent"]["clients"] + 1
    settings = os.path.join(project.root, ".claude", "settings.local.json")
    remote = options.get("remote")  # the workers are on other machines, which share nothing but this
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
            "model": options.get("model"),
            "permission_mode": options.get("permission_mode"),
            "allow": options.get("allow", []),
            "settings": settings if os.path.exists(settings) and not remote else None,
        },
        limits={
            "time_s": limits.get("feature_time_s"),
            "turns": limits.get("feature_turns"),
            "cost_usd": limits.get("feature_cost_usd"),
            "left_usd": share_usd if share_usd < math.inf else None,
        },
        logs=""
        if remote
        else os.path.join(run_log_folder(project, state["batch_id"]), f"{index + 1}-{attempt}-{number}"),
    )


def run_log_folder(project: Project, batch_id: str) -> str:
    """The folder of what a batch's runs log: for each client a folder FEATURE-ATTEMPT-NUMBER."""
    return os.path.join(project.private, "logs", "run", batch_id)


def client_record(job: Job, outcome: Outcome) -> State:
    """What the state keeps of a client: an entry of `run.clients`."""
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
        **{name: outcome.spent.get(name, 0) for name in SPENT},
    }


def interrupted_outcome(job: Job, why: str, now: str, failure_class: str = "worker_died") -> Outcome:
    """The outcome of an attempt whose worker died without one: nothing is counted."""
    return Outcome(
        batch_id=job.batch_id,
        feature_index=job.feature_index,
        attempt=job.attempt,
        session_id=job.session_id,
        kind=INTERRUPTED,
        message=f"Its worker answered nothing: {why}",
        failure_class=failure_class,
        spent=zero_usage(),
        place=processes.get_host_name(),
        started_at=now,
        ended_at=now,
    )


def describe_feature(state: State, index: int, what: str) -> str:
    """A feature and what there is to say of it, on one line."""
    words = " ".join(what.split())
    return f"feature {index + 1} of {state['total_features']} ({state['features'][index][:60]}): {words[:200]}"
