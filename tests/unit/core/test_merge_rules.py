"""The rules of the merge queue: by example, and for any order of events against a model of what verify commands say."""

from __future__ import annotations

import itertools
import random

import pytest
from batch_implement.core import merge_rules
from batch_implement.core.merge_rules import CANCEL, MERGE, SEND_BACK, VERIFY, Action, Queue
from hypothesis import given
from hypothesis import strategies as st


class Model:
    """Carries out the actions: a run is red when it contains a bad feature, both features of a bad pair, or by chance.

    Keeps what was verified together, what was merged and sent back, and how often a feature was in a red run.
    """

    def __init__(
        self, features, *, seed=0, verify_jobs=1, each_verified=False, bad=(), pairs=(), conflicts=(), chance=0.0
    ):
        self.random = random.Random(seed)
        self.bad, self.pairs, self.conflicts, self.chance = {*bad}, pairs, {*conflicts}, chance
        self.queue = Queue(verify_jobs, each_verified)
        self.features = list(features)
        self.running: dict[int, tuple[int, ...]] = {}
        self.contained: dict[int, tuple[int, ...]] = {}
        self.runs: list[tuple[int, ...]] = []
        self.merged: list[int] = []
        self.sent_back: list[int] = []
        self.flaky: list[int] = []
        self.reds = dict.fromkeys(self.features, 0)

    def drive(self):
        """Let features arrive and runs end in any order until nothing is left."""
        for _ in itertools.count():
            self.plan()
            assert len(self.running) <= self.queue.verify_jobs
            assert len(self.runs) < 50 * len(self.reds) + 50, "it does not end"
            events = [*self.features[:1], *self.running]
            if not events:
                break
            event = self.random.choice(["feature"] * bool(self.features) + [*self.running])
            if event == "feature":
                self.queue = merge_rules.add(self.queue, self.features.pop(0))
            else:
                self.end(event)
        assert sorted(self.merged + self.sent_back) == sorted(self.reds)
        assert not merge_rules.members(self.queue) and not self.queue.suspects
        return self

    def plan(self):
        while True:
            self.queue, actions = merge_rules.plan(self.queue)
            if not actions:
                return
            self.apply(actions)

    def apply(self, actions: list[Action]):
        for kind, number, features, flaky in actions:
            if kind == VERIFY:
                self.begin(number, features)
            elif kind == CANCEL:
                del self.running[number]
            elif kind == MERGE:
                assert [*self.merged, *features] == [*self.contained[number]]
                self.merged += features
                self.flaky += flaky
            else:
                assert kind == SEND_BACK
                self.sent_back += features

    def begin(self, number, features):
        before = next(place for place, group in enumerate(self.queue.groups) if group.number == number)
        stack = [feature for group in self.queue.groups[:before] for feature in group.features]
        for feature in features:
            if feature in self.conflicts:
                self.queue, actions = merge_rules.leave_out(self.queue, number, feature, with_head=True)
                self.apply(actions)
                features = tuple(other for other in features if other != feature)
        if features:
            self.running[number] = features
            self.contained[number] = (*self.merged, *stack, *features)
            self.runs.append(features)

    def end(self, number):
        features, contained = self.running.pop(number), {*self.contained[number]}
        is_red = bool(contained & self.bad) or any(contained.issuperset(pair) for pair in self.pairs)
        is_red = is_red or self.random.random() < self.chance
        for feature in features:
            self.reds[feature] += is_red
        self.queue, actions = (merge_rules.failed if is_red else merge_rules.passed)(self.queue, number)
        self.apply(actions)


@given(st.data())
def test_whatever_happens_when_what_is_good_is_merged_in_its_order_and_what_is_bad_is_sent_back(data):
    count = data.draw(st.integers(1, 24))
    features = st.integers(0, count - 1)
    bad, conflicts = data.draw(st.sets(features, max_size=6)), data.draw(st.sets(features, max_size=4))
    model = Model(
        range(count), seed=data.draw(st.integers(0, 2**32)), verify_jobs=data.draw(st.integers(1, 5)),
        each_verified=data.draw(st.booleans()), bad=bad, conflicts=conflicts,
    ).drive()  # fmt: skip
    assert sorted(model.sent_back) == sorted(bad | conflicts)
    assert model.flaky == []
    assert all(model.reds[feature] >= 2 for feature in bad - conflicts), "blamed by one run alone"


@given(st.data())
def test_of_a_pair_that_is_bad_together_the_first_is_merged(data):
    count = data.draw(st.integers(2, 16))
    first, second = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=2, max_size=2)))
    jobs = data.draw(st.integers(1, 4))
    model = Model(range(count), seed=data.draw(st.integers(0, 999)), verify_jobs=jobs, pairs=[(first, second)]).drive()
    assert model.sent_back == [second]


@given(st.integers(0, 2**32), st.integers(1, 4), st.booleans())
def test_with_runs_that_fail_by_chance_nothing_bad_is_merged_and_every_blamed_one_was_red_twice(seed, jobs, each):
    model = Model(range(20), seed=seed, verify_jobs=jobs, each_verified=each, bad={3, 11}, chance=0.2).drive()
    assert {3, 11} <= {*model.sent_back}
    assert all(model.reds[feature] >= 2 for feature in model.sent_back)


def test_a_feature_that_is_red_once_is_merged_and_named_flaky():
    queue = merge_rules.add(Queue(), 0)
    queue, (action,) = merge_rules.plan(queue)
    assert action == Action(VERIFY, 1, (0,))
    queue, actions = merge_rules.failed(queue, 1)
    assert actions == []
    queue, (action,) = merge_rules.plan(queue)
    queue, actions = merge_rules.passed(queue, action.number)
    assert actions == [Action(MERGE, action.number, (0,), (0,))]


def test_one_that_is_red_waits_behind_those_that_stood_behind_it_and_is_blamed_on_top_of_them():
    queue = Queue(verify_jobs=3)
    for feature in range(3):
        queue = merge_rules.add(queue, feature)
    queue, actions = merge_rules.plan(queue)
    assert [action.features for action in actions] == [(0,), (1,), (2,)]
    queue, actions = merge_rules.failed(queue, 1)
    assert actions == [Action(CANCEL, 2), Action(CANCEL, 3)]
    queue, actions = merge_rules.plan(queue)
    assert [action.features for action in actions] == [(1,), (2,), (0,)]
    queue, actions = merge_rules.failed(queue, actions[2].number)
    assert actions == [], "something before it is not decided"
    queue, actions = merge_rules.passed(queue, 5)
    assert actions == [Action(CANCEL, 4), Action(MERGE, 5, (1, 2)), Action(SEND_BACK, 6, (0,))]
    assert queue.blamed == 1 and queue.judged == 3


def test_a_green_run_merges_the_groups_before_it_but_not_where_each_is_verified():
    def begin(**options):
        queue = merge_rules.add(merge_rules.add(Queue(verify_jobs=2, **options), 0), 1)
        return merge_rules.plan(queue)[0]

    _, actions = merge_rules.passed(begin(), 2)
    assert actions == [Action(CANCEL, 1), Action(MERGE, 2, (0, 1))]
    queue, actions = merge_rules.passed(begin(each_verified=True), 2)
    assert actions == []
    _, actions = merge_rules.passed(queue, 1)
    assert actions == [Action(MERGE, 1, (0,)), Action(MERGE, 2, (1,))]


def test_a_red_group_is_split_and_its_last_part_is_not_run_again_when_the_others_pass():
    queue = Queue(waiting=tuple(range(8)))
    queue, (action,) = merge_rules.plan(queue)
    assert action.features == tuple(range(8))
    queue, _ = merge_rules.failed(queue, 1)
    queue, (action,) = merge_rules.plan(queue)
    assert action.features == (0, 1, 2, 3)
    queue, (action,) = merge_rules.passed(queue, action.number)
    assert action.kind == MERGE
    queue, (action,) = merge_rules.plan(queue)
    assert action.features == (4, 5), "a run of all four would be that of the whole group"


def test_what_conflicts_with_one_that_is_not_merged_waits_until_it_is():
    queue = Queue(waiting=(0, 1))
    queue, _ = merge_rules.plan(queue)
    queue, actions = merge_rules.leave_out(queue, 1, 1, with_head=False)
    assert actions == [] and merge_rules.plan(queue)[1] == []
    queue, actions = merge_rules.passed(queue, 1)
    assert actions == [Action(MERGE, 1, (0,))]
    assert merge_rules.plan(queue)[1] == [Action(VERIFY, 2, (1,))]


def test_one_that_is_verified_on_the_head_is_merged_without_a_run_but_not_under_another_run():
    queue = Queue(waiting=(0, 1, 2))
    queue, actions = merge_rules.plan(queue, {1})
    assert actions == [Action(MERGE, 0, (1,))] and queue.waiting == (0, 2)
    queue, _ = merge_rules.plan(queue)
    queue = merge_rules.add(queue, 3)
    assert merge_rules.plan(queue, {3})[1] == []


@pytest.mark.parametrize(
    ("judged", "blamed", "limit"), [(0, 0, 11), (100, 0, 64), (100, 5, 14), (100, 50, 1), (1000, 1000, 1)]
)
def test_half_of_the_groups_should_pass(judged, blamed, limit):
    assert merge_rules.group_limit(Queue(judged=judged, blamed=blamed)) == limit
    assert merge_rules.group_limit(Queue(judged=judged, blamed=blamed, each_verified=True)) == 1


def test_a_branch_that_moves_lets_everything_wait_again_in_its_order():
    queue = Queue(verify_jobs=2, waiting=(0, 1, 2, 3))
    queue, _ = merge_rules.plan(queue)
    queue, actions = merge_rules.restart(queue)
    assert [action.kind for action in actions] == [CANCEL, CANCEL]
    assert queue.waiting == (0, 1, 2, 3) and queue.groups == ()
    assert merge_rules.passed(queue, 1) == (queue, []), "a run that was cancelled decides nothing"
