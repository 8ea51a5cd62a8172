"""Decide what the merge queue does next: pure functions from a queue and an event to a new queue and its actions.

    queue = add(queue, feature)                 a feature is done and waits for its merge
    queue, actions = plan(queue, on_head)       what can begin now: runs of the verify command, a merge without one
    queue, actions = passed(queue, number)      the run `number` was green: its features are merged
    queue, actions = failed(queue, number)      it was red: its group is split, run again, or a feature is blamed
    queue, actions = leave_out(queue, number, feature, with_head)    a feature conflicts, so the run goes without it

The features that wait are verified in groups, in their order: the first group on top of the branch's head, each further
one on top of the one before it, as many at a time as there are verify jobs. A green run merges its group and all groups
before it, which it contains. A red group is judged when nothing before it is undecided: it is split into one part more
than there are verify jobs, and the last part is not run, since its run would repeat the red one. What stood behind a
red group waits again. A feature that is red alone waits behind them and is run alone once more: green, it is flaky;
red, it is blamed and sent back. So that half of the groups are green, a group has up to ln 2 / (share of features
blamed).

Callers carry out the actions in their order and call `plan` afterwards. Features are indices from 0.
"""

from __future__ import annotations

import math
from typing import Collection, Iterable, List, NamedTuple, Optional, Set, Tuple

LARGEST_GROUP = 64
# Before anything is known one feature in 16 counts as blamed: groups of 11.
ASSUMED_BLAMED, ASSUMED_JUDGED = 0.5, 8

VERIFY, CANCEL, MERGE, SEND_BACK = "verify", "cancel", "merge", "send back"


class Group(NamedTuple):
    """Features that are verified together, in their order.

    `number` is that of the run of the verify command, 0 before it; `is_red` or `is_green`: it has ended, but something
    before it is not decided yet; `is_rest`: the last part of a red group; `splits` counts how often it was split.
    """

    features: Tuple[int, ...]
    number: int = 0
    is_red: bool = False
    is_green: bool = False
    is_rest: bool = False
    splits: int = 0

    def is_running(self) -> bool:
        """Return whether the verify command runs for this group."""
        return self.number > 0 and not self.is_red and not self.is_green


class Queue(NamedTuple):
    """What waits for its merge.

    With `each_verified` each group is one feature, and merged by its own run alone. `waiting` features are in no group;
    `held` ones conflict with a group that is not merged yet, and wait until it is; `suspects` were red alone once.
    `judged` counts the features merged or blamed, `blamed` those blamed for a red run.
    """

    verify_jobs: int = 1
    each_verified: bool = False
    waiting: Tuple[int, ...] = ()
    groups: Tuple[Group, ...] = ()
    held: Tuple[int, ...] = ()
    suspects: Tuple[int, ...] = ()
    judged: int = 0
    blamed: int = 0
    last_number: int = 0


class Action(NamedTuple):
    """What to do: VERIFY the features in the run `number`, on top of the groups before it; CANCEL that run; MERGE the
    features that it contains (`number` 0: without a run); SEND_BACK a feature. `flaky` are those that were red before.
    """

    kind: str
    number: int
    features: Tuple[int, ...] = ()
    flaky: Tuple[int, ...] = ()


def add(queue: Queue, feature: int) -> Queue:
    """Add a feature that waits for its merge."""
    return queue._replace(waiting=(*queue.waiting, feature))


def members(queue: Queue) -> Set[int]:
    """Return all features in the queue."""
    return {*queue.waiting, *queue.held, *(feature for group in queue.groups for feature in group.features)}


def group_limit(queue: Queue) -> int:
    """Return the most features that a group should have."""
    share = (queue.blamed + ASSUMED_BLAMED) / (queue.judged + ASSUMED_JUDGED)
    return 1 if queue.each_verified else max(1, min(LARGEST_GROUP, round(math.log(2) / share)))


def plan(queue: Queue, on_head: Collection[int] = ()) -> Tuple[Queue, List[Action]]:
    """Begin what can begin. `on_head` are waiting features whose own commit, on top of the head, was verified."""
    if not queue.groups:
        merged = next((feature for feature in queue.waiting if feature in on_head), None)
        if merged is not None:
            queue = queue._replace(waiting=_without(queue.waiting, [merged]))
            return _merge(queue, 0, (merged,))
    actions: List[Action] = []
    groups = list(queue.groups)
    number = queue.last_number
    free = queue.verify_jobs - sum(group.is_running() for group in groups)
    for place, group in enumerate(groups):
        if free > 0 and not group.number and not (group.is_rest and place):
            number, free = number + 1, free - 1
            groups[place] = group._replace(number=number)
            actions.append(Action(VERIFY, number, group.features))
    waiting = queue.waiting
    while free > 0 and waiting and not any(group.is_red or group.is_rest for group in groups):
        size = min(group_limit(queue), -(-len(waiting) // free))
        taken = _take(waiting, size, queue.suspects)
        waiting = waiting[len(taken) :]
        number, free = number + 1, free - 1
        groups.append(Group(taken, number))
        actions.append(Action(VERIFY, number, taken))
    return queue._replace(waiting=waiting, groups=tuple(groups), last_number=number), actions


def passed(queue: Queue, number: int) -> Tuple[Queue, List[Action]]:
    """Merge the group of a green run, and the groups before it. Without an effect for a run that was cancelled."""
    place = _find(queue, number)
    if place is None:
        return queue, []
    before, group = queue.groups[:place], queue.groups[place]
    if before and queue.each_verified:
        groups = (*before, group._replace(is_green=True), *queue.groups[place + 1 :])
        return queue._replace(groups=groups), []
    cancelled = [Action(CANCEL, other.number) for other in before if other.is_running()]
    features = tuple(feature for other in (*before, group) for feature in other.features)
    queue, merged = _merge(queue._replace(groups=queue.groups[place + 1 :]), number, features)
    queue, actions = _judge_first(queue)
    return queue, [*cancelled, *merged, *actions]


def failed(queue: Queue, number: int) -> Tuple[Queue, List[Action]]:
    """Judge a red run, at once or when the groups before it are merged. Without an effect for one that was
    cancelled.
    """
    place = _find(queue, number)
    if place is None:
        return queue, []
    groups = list(queue.groups)
    groups[place] = groups[place]._replace(is_red=True)
    return _judge_first(queue._replace(groups=tuple(groups)))


def leave_out(queue: Queue, number: int, feature: int, *, with_head: bool) -> Tuple[Queue, List[Action]]:
    """Take a feature out of the group of a run before its verify command begins: it conflicts `with_head`, and is sent
    back, or with a group that is not merged yet, and waits until it is.
    """
    place = _find(queue, number)
    if place is None:
        return queue, []
    features = _without(queue.groups[place].features, [feature])
    groups = list(queue.groups)
    groups[place : place + 1] = [groups[place]._replace(features=features)] if features else []
    queue = queue._replace(groups=tuple(groups))
    if with_head:
        return queue._replace(suspects=_without(queue.suspects, [feature])), [Action(SEND_BACK, number, (feature,))]
    return queue._replace(held=(*queue.held, feature)), []


def restart(queue: Queue) -> Tuple[Queue, List[Action]]:
    """Let everything wait again: the head has moved, or the runs have ended without a result."""
    actions = [Action(CANCEL, group.number) for group in queue.groups if group.is_running()]
    features = [feature for group in queue.groups for feature in group.features]
    return queue._replace(waiting=(*queue.held, *features, *queue.waiting), groups=(), held=()), actions


def _merge(queue: Queue, number: int, features: Tuple[int, ...]) -> Tuple[Queue, List[Action]]:
    flaky = tuple(feature for feature in features if feature in queue.suspects)
    queue = queue._replace(
        judged=queue.judged + len(features),
        suspects=_without(queue.suspects, features),
        waiting=(*queue.held, *queue.waiting),
        held=(),
    )
    return queue, [Action(MERGE, number, features, flaky)]


def _judge_first(queue: Queue) -> Tuple[Queue, List[Action]]:
    """Judge the first group if it is known to be red: nothing before it is undecided."""
    if not queue.groups:
        return queue, []
    group, *behind = queue.groups
    if group.is_green:
        return passed(queue, group.number)
    if group.is_rest and not group.number:
        if len(group.features) == 1:  # the red run of the whole group was its own
            suspects = (*queue.suspects, *group.features)
            return queue._replace(groups=(group._replace(is_rest=False), *behind), suspects=suspects), []
    elif not group.is_red:
        return queue, []
    actions = [Action(CANCEL, other.number) for other in behind if other.is_running()]
    waiting = [feature for other in behind for feature in other.features]
    place = len(queue.held) + len(waiting)
    queue = queue._replace(groups=(), held=(), waiting=(*queue.held, *waiting, *queue.waiting))
    if len(group.features) > 1:
        return queue._replace(groups=tuple(_split(group, queue.verify_jobs + 1))), actions
    feature = group.features[0]
    if feature not in queue.suspects:
        queue = queue._replace(
            suspects=(*queue.suspects, feature),
            waiting=(*queue.waiting[:place], feature, *queue.waiting[place:]),
        )
        return queue, actions
    queue = queue._replace(
        judged=queue.judged + 1, blamed=queue.blamed + 1, suspects=_without(queue.suspects, [feature])
    )
    return queue, [*actions, Action(SEND_BACK, group.number, (feature,))]


def _split(group: Group, parts: int) -> Iterable[Group]:
    """Yield the parts of a red group; the last one is the rest."""
    parts = min(parts, len(group.features))
    for part in range(parts):
        first, end = (-(-len(group.features) * place // parts) for place in (part, part + 1))
        yield Group(group.features[first:end], is_rest=part == parts - 1, splits=group.splits + 1)


def _take(waiting: Tuple[int, ...], size: int, suspects: Collection[int]) -> Tuple[int, ...]:
    """Return the next group: up to `size` features, a suspect alone."""
    if waiting[0] in suspects:
        return waiting[:1]
    end = next((place for place, feature in enumerate(waiting) if feature in suspects), len(waiting))
    return waiting[: min(size, end)]


def _find(queue: Queue, number: int) -> Optional[int]:
    return next((place for place, group in enumerate(queue.groups) if group.number == number), None)


def _without(features: Tuple[int, ...], removed: Collection[int]) -> Tuple[int, ...]:
    return tuple(feature for feature in features if feature not in removed)
