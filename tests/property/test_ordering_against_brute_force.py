"""Whatever features need, the order is the one that trying all orders finds, and a refusal tells of a real circle."""

from __future__ import annotations

import itertools
import json
import re

import pytest

hypothesis = pytest.importorskip("hypothesis")

from batch_implement.core import batch_state  # noqa: E402
from batch_implement.core.errors import UsageError  # noqa: E402
from batch_implement.features.feature_list import Feature  # noqa: E402
from batch_implement.features.ordering import (  # noqa: E402
    add_hints,
    build_analysis,
    find_hints,
    resolve_dependencies,
    sort_features,
)
from batches import new_batch  # noqa: E402
from hypothesis import assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EXAMPLES = settings(max_examples=150, deadline=None)


def listed(text, identifier, issue, depends_on=()):
    """A feature as a list gives it; `identifier` and `issue` are None without."""
    details = {"depends_on": list(depends_on), **({"id": identifier} if identifier else {})}
    return Feature(text, 0, details, issue)


@st.composite
def graphs(draw, most=6, circles=True):
    """A number of features and what each needs: anything, or nothing that closes a circle."""
    total = draw(st.integers(1, most))
    place = draw(st.permutations(range(total)))
    pairs = [
        (one, other)
        for one, other in itertools.product(range(total), repeat=2)
        if (one != other if circles else place[other] < place[one])
    ]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=2 * total)) if pairs else []
    needs = {}
    for one, other in sorted(chosen):
        needs.setdefault(one, []).append(other)
    return total, needs


def first_order_by_trying_all(total, needs):
    """The first order of numbers, compared one by one, in which each comes after what it needs; None without one."""
    for candidate in itertools.permutations(range(total)):
        place = {index: number for number, index in enumerate(candidate)}
        if all(place[other] < place[index] for index, wanted in needs.items() for other in wanted):
            return list(candidate)
    return None


def above(needs, index):
    """All that a feature needs, directly or not."""
    found = set(needs.get(index, ()))
    while True:
        more = found.union(*(needs.get(other, ()) for other in found))
        if more == found:
            return found
        found = more


def longest_chain(total, needs):
    """Features of the longest chain, by trying every order of every choice of them."""
    return max(
        length
        for length in range(1, total + 1)
        for chain in itertools.permutations(range(total), length)
        if all(other in needs.get(index, ()) for index, other in zip(chain, chain[1:]))
    )


@EXAMPLES
@given(graphs())
def test_the_order_is_the_first_of_all_that_respect_the_needs(graph):
    total, needs = graph
    expected = first_order_by_trying_all(total, needs)
    if expected is None:
        with pytest.raises(UsageError):
            sort_features(total, needs)
    else:
        assert sort_features(total, needs) == expected


@EXAMPLES
@given(graphs(most=12))
def test_a_refusal_names_a_real_circle_from_its_first_feature(graph):
    total, needs = graph
    try:
        assert sorted(sort_features(total, needs)) == list(range(total))
    except UsageError as refused:
        told = re.search(r": (\d+) needs ((?:\d+, which needs )*)(\d+)\. ", refused.message)
        circle = [int(number) - 1 for number in (told[1], *re.findall(r"\d+", told[2]), told[3])]
        assert circle[0] == circle[-1] == min(circle)
        assert len(set(circle)) == len(circle) - 1
        assert all(other in needs[index] for index, other in zip(circle, circle[1:]))


@EXAMPLES
@given(graphs(most=25, circles=False))
def test_a_batch_without_this_order_takes_the_same_way(graph):
    total, needs = graph
    state, way = new_batch(total, needs=needs), []
    while (following := batch_state.next_runnable(state)) is not None:
        way.append(following)
        state = {**state, "completed_features": way}
    assert sort_features(total, needs) == way


@EXAMPLES
@given(graphs(circles=False))
def test_the_depth_is_that_of_the_longest_chain(graph):
    total, needs = graph
    assume(total <= 5)
    told = build_analysis(needs, sort_features(total, needs), [], False)
    assert told["depth"] == longest_chain(total, needs)
    assert told["explicit"] == sum(len(above_one) for above_one in needs.values())
    assert told["reordered"] == (first_order_by_trying_all(total, needs) != list(range(total)))


@EXAMPLES
@given(graphs(most=8), st.data())
def test_however_a_feature_is_named_it_is_the_one_that_is_needed(graph, data):
    total, needs = graph
    issues = data.draw(st.permutations(range(100, 100 + total)))
    kinds = [data.draw(st.sampled_from(("id", "issue", "both", "none"))) for _ in range(total)]

    def ways(index):
        yield str(index + 1)
        yield f" 0{index + 1}"
        if kinds[index] in ("id", "both"):
            yield from (f"Name-{index}", f"NAME-{index} ")
        if kinds[index] in ("issue", "both"):
            yield from (f"#{issues[index]}", str(issues[index]))

    items = [
        listed(
            f"text {index}",
            f"nAme-{index}" if kinds[index] in ("id", "both") else None,
            issues[index] if kinds[index] in ("issue", "both") else None,
            [data.draw(st.sampled_from(list(ways(other)))) for other in needs.get(index, ())],
        )
        for index in range(total)
    ]
    assert resolve_dependencies(items) == needs


@EXAMPLES
@given(st.lists(st.lists(st.text(max_size=4) | st.from_regex(r"#?[0-9]\Z"), max_size=2), min_size=1, max_size=4))
def test_any_reference_is_understood_or_refused_in_one_line(references):
    items = [
        listed(f"text {index}", "ab"[index : index + 1] or None, index + 7, wanted)
        for index, wanted in enumerate(references)
    ]
    try:
        needs = resolve_dependencies(items)
    except UsageError as refused:
        assert refused.message.isprintable() and refused.message.startswith("Feature ")
    else:
        assert all(index not in wanted and wanted == sorted(set(wanted)) for index, wanted in needs.items())


SENTENCES = st.builds(
    lambda form, one, other, number: form.format(one, other, number),
    st.sampled_from(
        (
            "Add the {0}", "Add the {0} on top of the {1}", "Add the {0} after the {1} is there", "Tests for the {0}",
            "Document the {0}", "Once the {0} works, add the {1}", "Use the {0} from feature {2}", "Remove the {0}",
            "Test the {0} and the {1}", "Add the {0} and the {1} (depends on #{2}, #4)",
        )
    ),
    *(2 * [st.sampled_from(("parser", "lexer", "checker", "parser cache", "tests"))]),
    st.integers(0, 8),
)  # fmt: skip
BODIES = st.builds("needs #{}, #{}".format, st.integers(0, 8), st.integers(0, 8)) | st.just("")


@pytest.mark.prove
@settings(max_examples=400, deadline=None)
@given(graphs(most=7, circles=False), st.data())
def test_hints_add_what_was_not_said_and_never_close_a_circle(graph, data):
    total, needs = graph
    with_issues = data.draw(st.booleans())
    items = [
        listed(
            data.draw(SENTENCES), None, index + 1 if with_issues else None, [str(n + 1) for n in needs.get(index, ())]
        )
        for index in range(total)
    ]
    bodies = [data.draw(BODIES) for _ in range(total)]
    found = find_hints(items, bodies)
    assert found == find_hints(items, bodies)
    pairs = [(hint.index, hint.needs) for hint in found]
    assert len(pairs) == len(set(pairs)) and [index for index, _ in pairs] == sorted(index for index, _ in pairs)
    assert all(0 <= other < total and other not in above(needs, index) for index, other in pairs)
    heeded = add_hints(needs, found)
    assert {(index, other) for index in heeded for other in heeded[index]} == {
        *pairs,
        *((index, other) for index in needs for other in needs[index]),
    }
    told = build_analysis(needs, sort_features(total, heeded), found, True)
    assert json.loads(json.dumps(told)) == told


@EXAMPLES
@given(st.lists(st.tuples(st.text(), st.text()), max_size=4), st.lists(SENTENCES, max_size=3))
def test_any_text_can_be_searched(pairs, sentences):
    items = [listed(text, None, number) for number, text in enumerate([*(text for text, _ in pairs), *sentences], 1)]
    bodies = [*(body for _, body in pairs), *sentences]
    assert all(hint.why.isprintable() and len(hint.why) < 90 for hint in find_hints(items, bodies))
