"""Who changes which paths: the same answer as from looking at each pair, whatever the order of the claims."""

from __future__ import annotations

import itertools

import pytest
from batch_implement.core.path_conflicts import PathClaims, find_conflicts

PATHS = ["a", "a/b", "a/b/c", "a/bc", "./a//b/", "a/*.py", "b", "*"]


def parts(path):
    fixed = itertools.takewhile(lambda part: "*" not in part, path.split("/"))
    return [part for part in fixed if part not in ("", ".")]


def in_the_way(one, other):
    shorter, longer = sorted((parts(one), parts(other)), key=len)
    return longer[: len(shorter)] == shorter


def test_the_lowest_conflicting_number_is_that_of_a_comparison_of_each_pair():
    for held in itertools.permutations(PATHS, 3):
        for numbers in ((0, 1, 2), (2, 0, 1)):
            claims = PathClaims()
            for number, path in zip(numbers, held):
                claims.add(number, [path])
            for path in PATHS:
                met = [number for number, other in zip(numbers, held) if in_the_way(path, other)]
                assert claims.conflicting_number([path]) == min(met, default=None), (held, numbers, path)


def test_the_first_conflicts_are_those_of_a_comparison_of_each_pair():
    for number, held in enumerate(itertools.islice(itertools.permutations(PATHS, 4), 0, None, 7)):
        listed = [(10 + number, [path]) for number, path in enumerate(held)] + [(3, list(held[:2])), (5, [])]
        most = 1 + number % 4
        conflicts = find_conflicts(listed, most)
        for one, paths in listed:
            met = [
                other for other, theirs in listed
                if other != one and any(in_the_way(path, each) for path in paths for each in theirs)
            ]  # fmt: skip
            assert conflicts[one] == met[:most], (listed, one)


def test_without_paths_there_is_no_conflict():
    claims = PathClaims()
    claims.add(0, [])
    claims.add(1, ["a"])
    assert (
        claims.conflicting_number([]),
        claims.conflicting_number(["b"]),
        claims.conflicting_number(["b", "a/x"]),
    ) == (None, None, 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["a/b"], ["a/b"], True),
        (["a"], ["a/b/c"], True),
        (["a/b"], ["a/bc"], False),
        (["./a//b/"], ["a/b"], True),
        (["src/**/x.py"], ["src/lib/y.py"], True),
        (["docs/*.md"], ["src"], False),
        (["*"], ["anything"], True),
        ([], ["a"], False),
    ],
)
def test_paths_conflict_when_one_is_inside_the_other(one, other, same):
    conflicts = find_conflicts([(0, one), (1, other)], 1)
    assert conflicts == ({0: [1], 1: [0]} if same else {0: [], 1: []})
