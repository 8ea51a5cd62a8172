"""Whatever two writers do to one batch in whatever order, no invariant breaks, and a small oracle agrees on every
feature.

A real store in a folder, with two writers: each has a session, a client that may die, and a store of its own, which
it may open anew at any time. In the middle of an update the other one may try its luck; it may come with a version
that it read long ago; a person may edit the file in between. The oracle knows sets and counters alone: what is done,
failed, skipped by a person, open; and how often what was tried. A feature is blocked as long as anything that it needs,
however far up, has failed or was skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

hypothesis = pytest.importorskip("hypothesis")

import batch_state_manager as library  # noqa: E402
from batch_implement.base import process_identity  # noqa: E402
from batch_implement.base.project_paths import Project  # noqa: E402
from batch_implement.commands import batch_commands  # noqa: E402
from batch_implement.commands.authorization import Caller  # noqa: E402
from batch_implement.commands.command import CommandContext  # noqa: E402
from batch_implement.core import batch_state, lease, review_verdicts, transitions  # noqa: E402
from batch_implement.core.errors import LockTimeout, RefusedError  # noqa: E402
from batch_implement.store import audit_log, serialization  # noqa: E402
from batch_implement.store.store import Store  # noqa: E402
from batches import checked, new_batch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule  # noqa: E402

LIMITS = {"max_retries": 1, "max_retries_total": 4, "max_failures_in_a_row": 4}
MOST = 7
INDEX = st.integers(0, MOST)
WHO = st.sampled_from((0, 1))
FASTEST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Oracle:
    """What becomes of the features, by sets of indices; `needs` has what each needs, all lower ones."""

    def __init__(self, needs: dict[int, list[int]], order: list[int]) -> None:
        self.needs, self.order, self.open, self.left, self.row, self.paused = needs, order, None, 0, 0, False
        self.done, self.failed, self.skipped, self.used, self.granted = set(), set(), set(), Counter(), Counter()

    def above(self, index: int) -> set[int]:
        needs = set(self.needs[index]) - self.done
        return needs.union(*map(self.above, needs))

    def free(self) -> set[int]:
        return set(self.needs) - self.done - self.failed - self.skipped - {self.open}

    def blocked(self) -> set[int]:
        return {index for index in self.free() if self.above(index) & (self.failed | self.skipped)}

    def closed(self) -> set[int]:
        return self.failed | self.skipped | self.blocked()

    def pending(self) -> set[int]:
        return self.free() - self.blocked()

    def runnable(self) -> list[int]:  # the next one first; what is tried again waits for the others, fewest tries first
        ready = [index for index in self.order if index in self.pending() and self.done.issuperset(self.needs[index])]
        return sorted(ready, key=lambda index: self.used[index] * (self.used[index] > self.granted[index]))

    def live(self) -> bool:
        return bool(self.pending() or self.open is not None)

    def end(self, permanent: bool) -> None:
        index, self.open = self.open, None
        self.used[index] += 1
        self.row += 1
        retries = sum(max(0, used - 1 - self.granted[at]) for at, used in self.used.items())
        used_up = self.used[index] > LIMITS["max_retries"] + self.granted[index]
        if permanent or used_up or retries >= LIMITS["max_retries_total"]:
            self.failed.add(index)
        if self.live() and not self.paused and self.row >= LIMITS["max_failures_in_a_row"]:
            self.paused, self.row = True, 0

    def may_retry(self, wanted: set[int]) -> bool:
        bad = (self.failed | self.skipped) - wanted
        return wanted <= self.closed() | self.done and not any(self.above(index) & bad for index in wanted)

    def retry(self, wanted: set[int]) -> None:
        closed = self.closed() | (self.done & wanted)
        self.done -= wanted
        self.failed -= wanted
        self.skipped -= wanted
        self.row = 0
        for index in closed - self.failed - self.skipped - self.blocked():
            self.granted[index] = max(self.granted[index], self.used[index])


class TwoWriters(RuleBasedStateMachine):
    """A batch on the disk, at which two writers work."""

    @initialize(total=st.integers(1, 6), data=st.data())
    def begin(self, total, data):
        below = {index: st.lists(st.integers(0, index - 1), max_size=2, unique=True) for index in range(1, total)}
        needs = {0: [], **(data.draw(st.fixed_dictionaries(below)) if below else {})}
        order = data.draw(st.one_of(st.just([]), st.permutations(range(total))))
        self.oracle = Oracle(needs, order or list(range(total)))
        self.root = tempfile.mkdtemp(prefix="two-writers-", dir=FASTEST)
        self.project = Project(self.root)
        self.stores = [self.opened(), self.opened()]
        self.runs, process_identity.is_running = (
            process_identity.is_running,
            lambda pid, since: pid in (*self.clients, os.getpid()),
        )
        os.environ["BATCH_IMPLEMENT_ROOT"] = self.root  # for the library
        self.clients, self.owner, self.events, self.old = [101, 102], None, Counter(), {}
        self.seconds = 0
        self.state = self.stores[0].create(new_batch(total, needs=needs, order=order, **LIMITS))

    def teardown(self):
        if hasattr(self, "runs"):
            process_identity.is_running = self.runs
            del os.environ["BATCH_IMPLEMENT_ROOT"]
            told = Counter(entry["event"] for entry in audit_log.read_entries(self.project.private))
            shutil.rmtree(self.root)
            assert {name: told[name] for name in self.events} == self.events

    def now(self) -> str:
        self.seconds += 1
        return f"2026-01-31T{self.seconds // 3600:02}:{self.seconds // 60 % 60:02}:{self.seconds % 60:02}Z"

    def opened(self) -> Store:
        return Store(self.project, timeout_s=0)

    def step(self, who, allowed, transition, *arguments, other=None, **options) -> bool:
        """Let a writer apply a transition; whether it was granted, which must be what the oracle says. In the middle of
        it the `other` may come.
        """
        before = self.state

        def change(state):
            assert state == before, "it was given another version than the one in force"
            if other is not None:
                assert self.stores[other].read() == before
                with pytest.raises(LockTimeout, match=str(os.getpid())):
                    self.stores[other].update(lambda state: {**state, "context_token_estimate": 9})
            return transition(state, *arguments, **options)

        try:
            after = self.stores[who].update(change)
        except RefusedError as refused:
            assert not allowed, refused.message
            assert refused.message.endswith((".", ")", "`"))
            return False
        assert allowed, "a transition was granted that should not have been"
        self.put(after, 0 if after["revision"] == before["revision"] else 1)
        return True

    def put(self, after, revisions):
        """The next version, that many revisions further."""
        assert after["revision"] == self.state["revision"] + revisions
        if not revisions:
            assert after == self.state
        self.state = checked(after, self.state)

    # -- what a worker does --------------------------------------------------------------------------------------

    @rule(who=WHO, other=st.one_of(st.none(), WHO))
    def start(self, who, other):
        oracle = self.oracle
        allowed = oracle.live() and not oracle.paused
        if self.step(who, allowed, transitions.start, self.now(), None, other=other) and oracle.open is None:
            oracle.open, oracle.left = oracle.runnable()[0], 0
            self.events["started"] += 1

    @rule(who=WHO, other=st.one_of(st.none(), WHO))
    def complete(self, who, other):
        if self.step(
            who, self.oracle.open is not None, transitions.complete, self.now(), {"verify": None}, other=other
        ):
            self.oracle.done.add(self.oracle.open)
            self.oracle.open, self.oracle.row = None, 0
            self.events["completed"] += 1

    @rule(who=WHO, permanent=st.booleans(), starts=st.booleans(), other=st.one_of(st.none(), WHO))
    def fail(self, who, permanent, starts, other):
        if starts:  # else a failure rarely meets an open feature, and one after a retry almost never
            self.start(who, None)
        allowed = self.oracle.open is not None
        if self.step(who, allowed, transitions.fail, self.now(), "x", "feature", permanent=permanent, other=other):
            self.oracle.end(permanent)
            self.events["attempt ended"] += 1

    @rule(who=WHO, counted=st.booleans())
    def leave(self, who, counted):
        oracle = self.oracle
        if self.step(who, oracle.open is not None, transitions.record_interruption, self.now(), "x", counted=counted):
            oracle.left += 1
            if counted and oracle.left >= transitions.EXITS_BEFORE_COUNTED:
                oracle.end(permanent=False)
                self.events["attempt ended"] += 1
            elif not counted and oracle.left >= transitions.INTERRUPTIONS_BEFORE_PAUSE:
                oracle.paused = True

    @rule(who=WHO, number=st.integers(0, 9), data=st.data())
    def note(self, who, number, data):
        """What is noted moves no feature."""
        is_open, index = self.oracle.open is not None, number % len(self.oracle.needs)
        push = (index, "push", {"success": True, "timestamp": self.now()})
        what, allowed, arguments = data.draw(
            st.sampled_from(
                [
                    (transitions.decide, True, (self.now(), "which?", str(number))),
                    (transitions.set_phase, is_open, (batch_state.PHASES[number % len(batch_state.PHASES)],)),
                    (review_verdicts.begin, True, (self.now(), f"r-{number}", "c0ffee", "change")),
                    (review_verdicts.end, True, (f"r-{number}", "VERDICT: fix", "change")),
                    (transitions.record_git_operation, True, push),
                    (lease.record_compaction, True, (self.now(), lease.MAIN_CONTEXT, number)),
                    (lease.mark_reminded, True, (lease.MAIN_CONTEXT,)),
                    (lease.record_context_tokens, True, (number,)),
                    (lease.record_prompt, True, (f"prompt-{number}",)),
                    (lambda state: lease.record_continuation(state) or state, True, ()),
                ]
            )
        )
        if self.step(who, allowed, what, *arguments) and what is transitions.decide:
            self.events["decided"] += 1

    # -- what a person does --------------------------------------------------------------------------------------

    @rule(who=WHO, index=INDEX)
    def skip(self, who, index):
        allowed = index in self.oracle.pending() | ({self.oracle.open} - {None})
        if self.step(who, allowed, transitions.skip, self.now(), index, "a person said so"):
            self.oracle.skipped.add(index)
            if self.oracle.open == index:
                self.oracle.open = None
                self.events["attempt ended"] += 1

    @rule(who=WHO, data=st.data(), other=st.one_of(st.none(), WHO))
    def retry(self, who, data, other):
        closed = sorted(self.oracle.closed() | self.oracle.done)
        index = st.one_of(st.sampled_from(closed), INDEX) if closed else INDEX
        wanted = data.draw(st.lists(index, min_size=1, max_size=3))
        allowed = self.oracle.may_retry(set(wanted))
        if self.step(who, allowed, transitions.retry, wanted, other=other):
            self.oracle.retry(set(wanted))

    @rule(who=WHO, data=st.data())
    def add(self, who, data):
        index = len(self.oracle.needs)
        if index < MOST:
            needs = data.draw(st.lists(st.integers(0, index - 1), max_size=2, unique=True))
            text = f"feature {index + 1}"
            assert self.step(who, True, transitions.add, self.now(), [text], needs={str(index): needs})
            self.oracle.needs[index] = needs
            self.oracle.order.append(index)
            self.events["added"] += 1

    @rule(who=WHO)
    def pause(self, who):
        if self.step(who, self.oracle.live(), transitions.pause, self.now(), "x"):
            self.oracle.paused = True

    @rule(who=WHO)
    def unpause(self, who):
        if self.step(who, self.oracle.live(), transitions.unpause):
            self.go_on()

    def go_on(self):
        self.oracle.row *= not self.oracle.paused
        self.oracle.paused = False

    # -- clients, stores and files -------------------------------------------------------------------------------

    @rule(who=WHO)
    def take_over(self, who):
        """Granted unless the other one has it and lives; a batch that is over is nobody's."""
        caller = Caller(f"session-{who}", self.clients[who], is_user=True)
        free = self.owner is None or self.owner[1] not in self.clients or self.owner[0] == who
        before, state = self.state, None
        try:
            state = batch_commands.resume(CommandContext(self.project, caller)).state
        except RefusedError as refused:
            assert not (free and self.oracle.live()), refused.message
            if not free:
                assert f"session-{self.owner[0]}, process {self.owner[1]} on " in refused.message
            return
        assert free and self.oracle.live()
        taken = self.owner != (who, self.clients[who])
        self.events["acquired"] += taken
        self.owner = (who, self.clients[who])
        self.put(state, state["revision"] - before["revision"])
        assert state["revision"] == before["revision"] + 1
        self.go_on()

    @rule(who=WHO)
    def die(self, who):
        """A client dies; its session is opened again as another process."""
        self.clients[who] = max(self.clients) + 1

    @rule(who=WHO)
    def reload(self, who):
        self.stores[who] = self.opened()
        assert self.stores[who].read() == self.state

    @rule(who=WHO)
    def read(self, who):
        self.old[who] = library.load_batch_state(self.project.state)
        assert self.old[who].revision == self.state["revision"]

    @rule(who=WHO)
    @precondition(lambda self: getattr(self, "old", None))
    def save_what_was_read_before(self, who):
        """A script that changes a version and saves it: only where no other was written since it read that."""
        given = self.old.pop(who, None)
        if given is None:
            return
        given.context_token_estimate += 1
        fresh = given.revision == self.state["revision"]
        try:
            library.save_batch_state(self.project.state, given)
        except library.BatchStateError as error:
            assert not fresh and "stale revision" in str(error), error
        else:
            assert fresh, "a version that was read before another write was saved over it"
            self.put(self.stores[who].read(), 1)

    @rule(
        who=WHO,
        trusted=st.booleans(),
        how=st.sampled_from(["reminder", "garbage", "nothing left of it", "copied", "set back", "backwards", "cut"]),
    )
    def edit(self, who, trusted, how):
        """Somebody changes the file behind our back; who looks next adopts that, or puts back what was in force."""
        path, state = Path(self.project.state), self.state
        text = path.read_text(encoding="utf-8")
        counted = {name: count - 1 for name, count in state["retry_attempts"].items()}
        edited = {
            "reminder": json.dumps({**state, "workflow_reminder": f"Mind the gap {state['revision']}."}),
            "garbage": "precious words",
            "nothing left of it": "",
            "copied": text,
            "set back": json.dumps({**state, "revision": 1, "updated_at": "2026-01-01T00:00:00Z"}),
            "backwards": json.dumps({**state, "retry_attempts": counted}),
            "cut": text[: len(text) // 2],
        }[how]
        path.with_suffix(".new").write_text(edited, encoding="utf-8")
        path.with_suffix(".new").replace(path)
        adopted = trusted and (how in ("reminder", "set back") or (how == "backwards" and not counted))
        self.stores[who] = Store(self.project, trusted=trusted, timeout_s=0)
        found = self.stores[who].read()
        if adopted:
            self.put(found, 1)
        else:
            assert found == self.state, "what was in force did not come back"
        self.stores[who] = self.opened()

    # -- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def they_agree_on_every_feature(self):
        if not hasattr(self, "state"):
            return
        oracle, state = self.oracle, self.state
        if not oracle.live():
            oracle.paused = False
        found: dict[str, set[int]] = {}
        for index in range(state["total_features"]):
            found.setdefault(batch_state.feature_status(state, index), set()).add(index)
        assert found.get("done", set()) == oracle.done
        assert found.get("failed", set()) == oracle.failed
        assert found.get("skipped", set()) == oracle.skipped | oracle.blocked()
        assert found.get("running", set()) == ({oracle.open} - {None})
        assert set(batch_state.pending_indices(state)) == oracle.pending()
        assert batch_state.next_runnable(state) == next(iter(oracle.runnable()), None)
        assert {int(name): count for name, count in state["retry_attempts"].items()} == oracle.used
        over = "completed" if oracle.done else "failed"
        assert state["status"] == ("paused" if oracle.paused else "in_progress" if oracle.live() else over)
        assert oracle.live() == (oracle.open is not None or bool(oracle.runnable())), "something is left for nobody"

    @invariant()
    def the_disk_has_that_version_whole_and_sealed(self):
        if not hasattr(self, "state"):
            return
        on_disk = serialization.parse(Path(self.project.state).read_bytes())
        assert on_disk == self.state, [(n, on_disk.get(n), v) for n, v in self.state.items() if on_disk.get(n) != v]
        assert self.stores[0].read() == self.stores[1].read() == self.state
        assert self.stores[0].is_unmodified()
        assert not Path(f"{self.project.state}.tmp").exists()


SHORT = settings(
    max_examples=50, stateful_step_count=20, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
FULL = settings(SHORT, derandomize=False, max_examples=600, stateful_step_count=50)

TestTwoWriters = TwoWriters.TestCase
TestTwoWriters.settings = SHORT


@pytest.mark.prove
class TestTwoWritersAtLength(TwoWriters.TestCase):
    """The same, many times, by chance."""

    settings = FULL
