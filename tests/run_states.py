"""States of batches under `batchctl run`, for tests, made by `run_transitions` so that each is a possible one.

state = run_state(20, needs={9: [3]}); state = dispatched(state, 3, worktree=...); state = merged(state, 4)
"""

from __future__ import annotations

import os
from typing import Any

from batch_implement.base import process_identity
from batch_implement.core import run_transitions
from batches import State, checked, new_batch, then

BEGAN = "2026-02-01T00:00:00Z"
NOW = "2026-02-01T01:00:00Z"


def run_state(features: Any = 5, *, pid: int | None = None, budgets: State | None = None, **batch: Any) -> State:
    """Return a batch under a run that process `pid` (None: this one) started at BEGAN."""
    owner = process_identity.new_owner("driver", os.getpid() if pid is None else pid, BEGAN)
    return then(
        new_batch(features, **batch),
        run_transitions.begin,
        BEGAN,
        owner,
        branch="batch/batch-1/merged",
        base_commit="base",
        target="main",
        worktrees="",
        jobs=2,
        options={},
        budgets=budgets or {},
    )


def dispatched(state: State, index: int, *, at: str = BEGAN, worktree: str = "", place: str | None = None) -> State:
    """Feature `index` under way since `at`, on this machine when no other `place` is named."""
    return then(
        state, run_transitions.dispatch, at, index, base="base", branch=f"batch/batch-1/{index + 1}", worktree=worktree,
        session_id=f"session-{index}", place=process_identity.get_host_name() if place is None else place,
    )  # fmt: skip


def client_ended(state: State, index: int, **record: Any) -> State:
    """The client of feature `index` has ended; a record of `run.clients` with these fields of its own."""
    ended = {"attempt": 1, "started_at": BEGAN, "ended_at": NOW, "outcome": "completed", "turns": 10, "cost_usd": 0.5}
    return then(state, run_transitions.record_client, index, {**ended, **record})


def queued(state: State, index: int, **options: Any) -> State:
    """Feature `index` verified, waiting to be merged; dispatched before when it is not under way."""
    under_way = str(index) in state["run"]["running"]
    state = client_ended(state if under_way else dispatched(state, index, **options), index)
    return then(state, run_transitions.await_merge, NOW, index, {"commit": "c0ffee", "verify": None}, [])


def merged(state: State, index: int, at: str = NOW, **evidence: Any) -> State:
    """Feature `index` merged at that time."""
    proof = {"commit": "c0ffee", "verify": None, **evidence}
    record = {"commit": "c0ffee", "from": "c0ffee", "rebased": False, "verify_seconds": None}
    state = then(queued(state, index), run_transitions.prepare_merges, {index: {"evidence": proof, "merge": record}})
    return then(state, run_transitions.complete_feature, at, index)


def given_up(state: State, index: int, words: str = "it broke", at: str = NOW) -> State:
    """Feature `index` failed for good."""
    state = client_ended(dispatched(state, index), index, outcome="failed")
    return then(state, run_transitions.fail_attempt, at, index, words, "feature", permanent=True)


def with_text(state: State, index: int, text: str) -> State:
    """The state with another text for feature `index`."""
    texts = list(state["features"])
    texts[index] = text
    return checked({**state, "features": texts})
