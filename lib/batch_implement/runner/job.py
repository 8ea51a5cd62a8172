"""What a worker needs and what it brings back: plain values, so that both travel anywhere.

    job = Job(batch_id="batch-1", feature_index=0, attempt=1, ...)      the driver makes it
    outcome = worker.work(job)                                  here, or on another machine
    Outcome.of(json.loads(text))                                both also travel as JSON

A worker knows nothing of the batch that its feature belongs to: no state, no lock, no other feature. So the driver
stays the only writer of the batch's state.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional

COMPLETED, FAILED, INTERRUPTED, NEEDS_PERSON = "completed", "failed", "interrupted", "needs_person"
SPENT = ("turns", "cost_usd", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "seconds")


class Job(NamedTuple):
    """One attempt at one feature.

    `repository` is the path of the repository, or what git can clone; `remote` says which of the two. `base` is the
    commit to begin at, `branch` the one to make, `worktree` its folder (empty: the worker chooses). `policy` and
    `details` are the feature's own, `needs` what it builds on (`{text, commit}`), `earlier` its attempts so far as the
    state keeps them. `command` stands in place of the client when it is not None. `client` is how that is called:
    `{path, model, permission_mode, allow, settings}`. `limits` are `{time_s, turns, cost_usd}`, None for none.
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
    4,000 characters.
    """

    batch_id: str
    feature_index: int
    attempt: int
    session_id: str
    kind: str
    commit: Optional[str]
    evidence: Dict[str, Any]
    decisions: List[Dict[str, Any]]
    message: str
    failure_class: str
    permanent: bool
    retry_after: Optional[str]
    stash: Optional[str]
    changed: bool
    spent: Dict[str, Any]
    place: str
    started_at: str
    ended_at: str
    log: str
    output: str

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Outcome:
        """An outcome from its JSON object."""
        return cls(**data)


def nothing_spent() -> Dict[str, Any]:
    """A `spent` of zeros."""
    return dict.fromkeys(SPENT, 0)
