"""Whatever happens to a batch in whatever order, transitions and a small oracle agree on every feature.

The oracle knows sets alone: what is done, failed, skipped by a person, blocked, open. A feature is blocked as long as
anything that it needs, however far up, has failed or was skipped.
"""

from __future__ import annotations

import pytest

hypothesis = pytest.importorskip("hypothesis")

from batch_implement import model, transitions  # noqa: E402
from batch_implement.errors import Refused  # noqa: E402
from batches import NOW, checked, conditions, new_batch, then  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule  # noqa: E402

MAX_RETRIES = 1
INDEX = st.integers(0, 6)


class Oracle:
    """What becomes of the features, by sets."""

    def __init__(self, total: int, needs: dict[int, list[int]]) -> None:
        self.total, self.open = total, None
        self.above: dict[int, set[int]] = {}
        for index in range(total):  # a feature needs lower ones alone here
            self.above[index] = set(needs.get(index, ())).union(*(self.above[n] for n in needs.get(index, ())))
        self.needs = needs
        self.done: set[int] = set()
        self.failed: set[int] = set()
        self.skipped: set[int] = set()
        self.blocked: set[int] = set()

    def settle(self) -> None:
        bad = self.failed | self.skipped
        free = set(range(self.total)) - bad - self.done - {self.open}
        self.blocked = {index for index in free if self.above[index] & bad}

    def may_retry(self, wanted: set[int]) -> bool:
        bad = (self.failed | self.skipped) - wanted
        return wanted <= self.failed | self.skipped | self.blocked and not any(self.above[i] & bad for i in wanted)

    def pending(self) -> set[int]:
        return set(range(self.total)) - self.done - self.failed - self.skipped - self.blocked - {self.open}

    def runnable(self) -> set[int]:
        return {index for index in self.pending() if self.done.issuperset(self.needs.get(index, ()))}


class Batch(RuleBasedStateMachine):
    """A batch in which anything may happen at any time."""

    @initialize(total=st.integers(1, 6), data=st.data())
    def begin(self, total, data):
        below = {index: st.lists(st.integers(0, index - 1), max_size=2, unique=True) for index in range(1, total)}
        needs = data.draw(st.fixed_dictionaries(below)) if below else {}
        self.oracle = Oracle(total, needs)
        policy = {"max_retries": MAX_RETRIES, "max_retries_total": 99, "max_failures_in_a_row": 4}
        self.state = new_batch(total, needs=needs, **policy)

    def step(self, allowed, transition, *arguments, **options):
        """Apply a transition; whether it was granted, which must be what the oracle says."""
        before, after = self.state, None
        try:
            after = then(before, transition, *arguments, **options)
        except Refused as refused:
            assert not allowed, refused.message
            assert refused.message.endswith((".", ")", "`"))
            return False
        assert allowed, "a transition was granted that should not have been"
        self.state = checked({**after, "revision": before["revision"] + 1}, before)
        return True

    @rule()
    def start(self):
        if self.step(self.state["status"] == "in_progress", transitions.start, NOW, None) and self.oracle.open is None:
            self.oracle.open = self.state["active"]["feature_index"]
            assert self.oracle.open in self.oracle.runnable() | {self.oracle.open}

    @rule()
    def complete(self):
        if self.step(self.oracle.open is not None, transitions.complete, NOW, {"verify": None}):
            self.oracle.done.add(self.oracle.open)
            self.oracle.open = None

    @rule(permanent=st.booleans())
    def fail(self, permanent):
        index = self.oracle.open
        used = model.attempts_used(self.state, index) if index is not None else 0
        allowance = self.state["retry_allowance"].get(str(index), 0)
        if self.step(index is not None, transitions.fail, NOW, "x", "feature", permanent=permanent):
            self.oracle.open = None
            assert self.state["retry_attempts"][str(index)] == used + 1
            if permanent or used + 1 > MAX_RETRIES + allowance:
                self.oracle.failed.add(index)

    @rule(counted=st.booleans())
    @precondition(lambda self: self.oracle.open is not None)
    def leave(self, counted):
        if self.state["active"]["interruptions"] < transitions.LEFT_BEFORE_COUNTED - 1 or not counted:
            self.step(True, transitions.leave, NOW, "x", counted=counted)

    @rule(index=INDEX)
    def skip(self, index):
        allowed = index < self.oracle.total and index in self.oracle.pending() | {self.oracle.open}
        if self.step(allowed, transitions.skip, NOW, index, "a person said so"):
            self.oracle.skipped.add(index)
            self.oracle.open = None if self.oracle.open == index else self.oracle.open

    @rule(wanted=st.lists(INDEX, min_size=1, max_size=3))
    def retry(self, wanted):
        if self.step(self.oracle.may_retry(set(wanted)), transitions.retry, wanted):
            self.oracle.failed -= set(wanted)
            self.oracle.skipped -= set(wanted)

    @rule()
    def pause(self):
        self.step(self.state["status"] in model.UNFINISHED, transitions.pause, NOW, "x")

    @rule()
    def unpause(self):
        self.step(self.state["status"] in model.UNFINISHED, transitions.unpause)

    @invariant()
    def they_agree_on_every_feature(self):
        if not hasattr(self, "state"):
            return
        oracle, state = self.oracle, self.state
        oracle.settle()
        found: dict[str, set[int]] = {}
        for index, condition in enumerate(conditions(state)):
            found.setdefault(condition, set()).add(index)
        assert found.get("completed", set()) == oracle.done
        assert found.get("failed", set()) == oracle.failed
        assert found.get("skipped", set()) == oracle.skipped | oracle.blocked
        assert found.get("active", set()) == ({oracle.open} - {None})
        assert set(model.pending(state)) == oracle.pending()
        following = model.next_runnable(state)
        assert (following in oracle.runnable()) if oracle.runnable() else following is None

    @invariant()
    def while_anything_is_left_something_can_be_done(self):
        if hasattr(self, "state") and not model.is_live(self.state):
            assert not self.oracle.pending() | {self.oracle.open} - {None}
        elif hasattr(self, "state"):
            assert self.oracle.open is not None or self.oracle.runnable()


TestBatch = Batch.TestCase
TestBatch.settings = settings(
    max_examples=80, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
