"""Batches for the tests of the report: driven by the transitions themselves, so that each can really come about.

run_state(20)       a run of `batchctl run`: merges, a wait, a failure with what it blocked, a retry, decisions
client_state()      the same kind of batch done inside one client: no `run`
huge(10_000)        many features, most of them done
"""

from __future__ import annotations

import time
from typing import Any

from batch_implement.core import batch_policy, batch_state, run_transitions, transitions
from batches import owner, then

START = 1769900400  # 2026-01-31T23:00:00Z
TEXTS = (
    "Add `todo done N`, which marks task N as done",
    "Let `todo list --tag NAME` show the tasks with a tag, in the order in which they are due",
    "Read the configuration from a file in the home folder; options of the command line go before it",
    "Say which line is wrong when the tasks file cannot be read",
    "Sort by due date, then by priority",
)
COST = {"turns": 31, "cost_usd": 0.42, "input_tokens": 18_000, "output_tokens": 9_200,
        "cache_read_tokens": 840_000, "cache_creation_tokens": 61_000}  # fmt: skip


def at(minutes: float) -> str:
    """The moment so many minutes after the batch began."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + minutes * 60))


def texts(number: int) -> list[str]:
    """That many features, none twice."""
    return [f"{TEXTS[index % len(TEXTS)]} (part {index // len(TEXTS) + 1})" for index in range(number)]


def begun(features: list[str], needs: dict[str, list[int]] | None = None, **how: Any) -> dict[str, Any]:
    """A batch whose run has begun."""
    policy = batch_policy.create_policy(verify="make test", max_retries=1, max_failures_in_a_row=50)
    state = batch_state.new_state("batch-20260131-230000-000042", features, at(0), features_file="features.md",
                            policy=policy, needs=needs)  # fmt: skip
    state["revision"] = 1
    return run_transitions.begin(
        state, at(0), owner("driver"), branch=f"batch/{state['batch_id']}/merged", base_commit="a1b2c3d4" * 5,
        target="main", worktrees="/srv/project.worktrees/batch", jobs=4,
        options={"merge": False, "model": None, **how}, budgets={"feature_time_s": 7200, "cost_usd": 40},
    )  # fmt: skip


def dispatched(state: dict[str, Any], minute: float, index: int) -> dict[str, Any]:
    """Feature `index` under way."""
    attempt = batch_state.attempts_used(state, index) + 1
    return run_transitions.dispatch(
        state, at(minute), index, base="a1b2c3d4" * 5, branch=f"batch/b/{index + 1}-feature.{attempt}",
        worktree=f"/srv/project.worktrees/batch/{index + 1}-feature.{attempt}", session_id="s", place="host-1",
    )  # fmt: skip


def client(state: dict[str, Any], since: float, until: float, index: int, outcome: str, **more: Any) -> dict[str, Any]:
    """What the client of feature `index` came to."""
    entry = state["run"]["running"][str(index)]
    record = {
        "attempt": entry["attempt"], "started_at": at(since), "ended_at": at(until), "outcome": outcome,
        "failure_class": "", "message": "", "place": "host-1", "branch": entry["branch"],
        "worktree": entry["worktree"], "logs": f"/srv/project/.git/batch-implement/logs/run/{index + 1}",
        "seconds": (until - since) * 60, **COST, **more,
    }  # fmt: skip
    return run_transitions.record_client(state, index, record)


def merged(state: dict[str, Any], since: float, until: float, index: int, **evidence: Any) -> dict[str, Any]:
    """Feature `index` done by one client and merged two minutes later."""
    state = client(dispatched(state, since, index), since, until, index, "completed")
    sha = f"{index + 1:04x}" * 10
    verify = {"command": "make test", "exit_code": 0, "seconds": 41.5, "log": "logs/verify"}
    proof = {"commit": sha, "commits": [sha], "branch": state["run"]["branch"], "verify": verify, **evidence}
    state = run_transitions.await_merge(state, at(until), index, proof, [])
    merge = {"commit": sha, "from": "f" * 40, "rebased": index % 3 == 0, "verify_seconds": 41.5}
    state = run_transitions.prepare_merges(state, {index: {"evidence": proof, "merge": merge}})
    return run_transitions.complete_feature(state, at(until + 2), index)


def failed(state: dict[str, Any], since: float, until: float, index: int, words: str, **how: Any) -> dict[str, Any]:
    """An attempt at feature `index` that failed."""
    state = client(
        dispatched(state, since, index), since, until, index, "failed", message=words, failure_class="feature"
    )
    ref = f"refs/batch/{state['batch_id']}/{index + 1}.1"
    return run_transitions.fail_attempt(state, at(until), index, words, "feature", snapshot=ref, **how)


def run_state(number: int = 20, texts_of: list[str] | None = None, *, ended: bool = True) -> dict[str, Any]:
    """A run of `number` features (at least 8) with everything in it that can happen."""
    features = texts_of or texts(number)
    state = begun(features, needs={"5": [4], "6": [5]})
    state = failed(state, 0, 21, 1, "tests/test_tags.py::test_order failed\nAssertionError: ['b', 'a'] == ['a', 'b']")
    state = merged(state, 0, 14, 0)
    state = failed(state, 2, 33, 4, "There is no due date in the file format, so there is nothing to sort by.")
    state = merged(state, 16, 40, 2, review="Looks right.\nOne name could be shorter.")
    state = client(
        dispatched(state, 30, 3), 30, 48, 3, "interrupted", message="5-hour limit reached", failure_class="limit"
    )
    state = run_transitions.return_to_pending(state, 3)
    state = run_transitions.begin_wait(state, at(48), at(120), "the usage limit is reached; it ends at 01:00", "limit")
    state = run_transitions.end_wait(state, at(120), 72 * 60)
    state = merged(state, 120, 150, 3)
    state = failed(state, 121, 160, 4, "There is still no due date in the file format.", permanent=True)
    state = merged(state, 150, 171, 1)
    state = merged(state, 151, 158, 7, no_change="The option is there since the first version.")
    state = transitions.decide(state, at(155), "Which separator, `,` or `;`?", "`,`, as in the README")
    for index in range(8, number):
        since = 160 + 7 * (index - 8)
        state = merged(state, since, since + 9 + index % 5 * 4, index)
    return run_transitions.end(state, at(170 + 7 * (number - 8) + 30), "nothing more can be done") if ended else state


def client_state() -> dict[str, Any]:
    """A batch done inside one client, paused: one done, one done at the second attempt, one failed, one open."""
    policy = batch_policy.create_policy(verify="make test", max_retries=1)
    state = batch_state.new_state("batch-1", texts(6), at(0), features_file="-", policy=policy, needs={"5": [2]})
    state["revision"] = 1
    minute = iter(range(5, 400, 11))

    def done(state: dict[str, Any], **proof: Any) -> dict[str, Any]:
        state = then(state, transitions.start, at(next(minute)), "base")
        verify = {"command": "make test", "exit_code": 0, "seconds": 3.25}
        return then(state, transitions.complete, at(next(minute)), {"commit": "c0ffee" * 6, "verify": verify, **proof})

    def broken(state: dict[str, Any], **how: Any) -> dict[str, Any]:
        state = then(state, transitions.start, at(next(minute)), "base")
        return then(state, transitions.fail, at(next(minute)), "it broke", "feature", **how)

    state = broken(done(state), snapshot="refs/batch/batch-1/2.1")
    state = broken(state, permanent=True)
    state = done(done(state, foreign=["f" * 40]), rewritten=[{"old": "a", "new": None, "how": "absorbed"}])
    state = then(state, transitions.start, at(next(minute)), "base")
    return then(state, transitions.pause, at(next(minute)), "user action required (auth): Please run /login", at(400))


def huge(number: int) -> dict[str, Any]:
    """A run of that many features: most done, every hundredth failed."""
    state = begun(texts(number))
    run = {**state["run"], "clients": {}, "merges": []}
    state = {**state, "run": run, "timings": {}, "evidence": {}, "git_operations": {}, "completed_features": [],
             "failed_features": []}  # fmt: skip
    for index in range(number):
        since, until = index / 4, index / 4 + 9
        sha = f"{index:08x}" * 5
        good = index % 100 != 7
        record = {"attempt": 1, "started_at": at(since), "ended_at": at(until),
                  "outcome": "completed" if good else "failed", "seconds": 540, **COST}  # fmt: skip
        run["clients"][str(index)] = [record]
        state["timings"][str(index)] = {"started_at": at(since), "ended_at": at(until)}
        if good:
            state["completed_features"].append(index)
            state["evidence"][str(index)] = {
                "commit": sha, "commits": [sha], "branch": run["branch"], "timestamp": at(until),
                "verify": {"command": "make test", "exit_code": 0, "seconds": 41.5},
            }  # fmt: skip
            run["merges"].append({"feature_index": index, "commit": sha, "from": sha, "rebased": False,
                                  "timestamp": at(until)})  # fmt: skip
        else:
            state["failed_features"].append({"feature_index": index, "error_message": "it broke " * 50,
                                             "timestamp": at(until), "failure_class": "feature"})  # fmt: skip
    return batch_state.with_derived_fields(state)
