"""What features need, in which order they are done, and what their texts only suggest."""

from __future__ import annotations

import json
import time

import pytest
from batch_implement.core import batch_state, transitions
from batch_implement.core.errors import UsageError
from batch_implement.features import order_hints
from batch_implement.features.feature_list import Feature
from batch_implement.features.ordering import (
    Hint,
    add_hints,
    build_analysis,
    find_hints,
    resolve_dependencies,
    sort_features,
)
from batches import NOW, new_batch, then


def item(text, name=None, issue=None, depends_on=(), line=0):
    details = {**({"id": name} if name else {}), **({"depends_on": depends_on} if depends_on else {})}
    return Feature(text, line, details, issue)


def needing(feature, references):
    return feature._replace(details={**feature.details, "depends_on": references})


def listed(*texts, **depends_on):
    """Features of a text file; `_2=["1"]` is what number 2 says it needs."""
    items = [item(text, None, None, (), line) for line, text in enumerate(texts, 1)]
    for name, references in depends_on.items():
        index = int(name.lstrip("_")) - 1
        items[index] = needing(items[index], references)
    return items


def named(*names, last=()):
    """Features with these ids (None: without); the last one says it needs `last`."""
    items = [item(f"text {number}", name) for number, name in enumerate(names, 1)]
    return [*items[:-1], needing(items[-1], last)]


def from_issues(*issues, last=()):
    items = [item(f"text {number}", None, issue) for number, issue in enumerate(issues, 1)]
    return [*items[:-1], needing(items[-1], last)]


def refusal(call, *arguments):
    with pytest.raises(UsageError) as caught:
        call(*arguments)
    message = caught.value.message
    assert message.isprintable()
    assert message.endswith((".", "?"))
    return message


# -- what was said ----------------------------------------------------------------------------------------------------


def test_features_that_say_nothing_need_nothing():
    assert resolve_dependencies([]) == {}
    assert resolve_dependencies(listed("a", "b")) == {}


def test_a_number_counts_from_one_as_listed():
    assert resolve_dependencies(listed("a", "b", "c", _1=["3", " 2 "], _3=["02"])) == {0: [1, 2], 2: [1]}


def test_an_id_counts_in_any_case():
    assert resolve_dependencies(named("schema", "Straße", "x", last=["SCHEMA", "strasse"])) == {2: [0, 1]}


def test_an_issue_is_named_with_its_sign():
    assert resolve_dependencies(from_issues(72, 73, 9, last=["#73", "#0072"])) == {2: [0, 1]}


def test_a_bare_number_is_an_issue_when_it_can_be_nothing_else():
    assert resolve_dependencies(from_issues(72, 73, 9, last=["73"])) == {2: [1]}


def test_a_bare_number_that_is_both_is_fine_when_it_is_the_same_feature():
    assert resolve_dependencies(from_issues(7, 2, 9, last=["2"])) == {2: [1]}


def test_a_feature_named_twice_is_needed_once():
    assert resolve_dependencies(named("one", "two", "x", last=["two", "2", "one", "ONE"])) == {2: [0, 1]}


def test_features_with_needs_come_in_order():
    assert list(resolve_dependencies(listed("a", "b", "c", _3=["1"], _1=["2"])).items()) == [(0, [1]), (2, [0])]


def test_an_unknown_id_is_refused_with_the_nearest_one():
    assert refusal(resolve_dependencies, named("schema", "login", "x", last=["Shema"])) == (
        "Feature 3 (`text 3`) needs `Shema`, but no feature has this id. Did you mean `schema`, feature 1?"
    )


def test_an_unknown_id_without_a_near_one_is_refused_with_what_can_be_named():
    assert refusal(resolve_dependencies, named("schema", "x", last=["queue"])).endswith(
        "needs `queue`, but no feature has this id or a similar one. Name an id or a number, 1 to 2."
    )
    assert refusal(resolve_dependencies, listed("a", "b", _2=["a"])) == (
        "Feature 2 (line 2, `b`) needs `a`, but no feature of this batch has an id. Name a number, 1 to 2."
    )
    assert refusal(resolve_dependencies, from_issues(7, 8, last=["seven"])).endswith(
        "Name a number, 1 to 2, or an issue, as `#12`."
    )


@pytest.mark.parametrize("number", ["0", "4", "00", "12345678901234567890123", "9" * 5000])
def test_a_number_out_of_range_is_refused_with_the_range(number):
    message = refusal(resolve_dependencies, listed("a", "b", "c", _2=[number]))
    assert "but the features are numbered 1 to 3." in message
    assert len(message) < 250


@pytest.mark.parametrize("reference", ["²", "٣", "1.0", "-1", "+1", "1 2", "1-2", "#", "# 1", "##1", "#x"])
def test_what_only_looks_like_a_number_is_no_number(reference):
    assert "has an id" in refusal(resolve_dependencies, listed("a", "b", "c", _3=[reference]))


def test_a_number_that_is_neither_a_place_nor_an_issue_is_refused_with_both():
    assert "numbered 1 to 2, and issue #9 is not in this batch." in refusal(
        resolve_dependencies, from_issues(7, 8, last=["9"])
    )


def test_an_issue_outside_of_the_batch_is_refused_with_those_in_it():
    assert refusal(resolve_dependencies, from_issues(73, 72, last=["#9"])).endswith(
        "but this issue is not in this batch (#72, #73). If it is closed, remove this; else add the issue."
    )
    many = refusal(resolve_dependencies, from_issues(*range(100, 150), last=["#9"]))
    assert "#109, ...)" in many and "#110" not in many


def test_an_issue_in_a_batch_without_issues_is_refused_with_what_was_meant():
    assert refusal(resolve_dependencies, listed("a", "b", _2=["#1"])).endswith(
        "needs `#1`, but no feature of this batch comes from an issue. Write `1` for feature 1."
    )
    assert refusal(resolve_dependencies, listed("a", "b", _2=["#7"])).endswith(
        "comes from an issue. Name an id or a number."
    )


def test_a_bare_number_that_is_one_features_place_and_anothers_issue_is_refused_with_what_to_write():
    assert refusal(resolve_dependencies, from_issues(2, 70, 71, last=["2"])).endswith(
        "needs `2`, which may be a number as listed or an issue: feature 1 (`text 1`) or 2 (`text 2`). "
        "Write `#2` for feature 1, `#70` for feature 2."
    )


def test_without_an_issue_of_its_own_the_id_says_which():
    items = [item("a", None, 2), item("b", "b2"), item("c", None, None, ["2"])]
    assert refusal(resolve_dependencies, items).endswith("Write `#2` for feature 1, `b2` for feature 2.")
    items[1] = item("b")
    assert refusal(resolve_dependencies, items).endswith("`#2` for feature 1, an id for feature 2, which has none yet.")


def test_an_issue_of_several_features_does_not_say_which():
    items = [item("a", None, 2), item("b", None, 5), item("c", None, 5), item("d", None, 9, ["2"])]
    assert refusal(resolve_dependencies, items).endswith("`#2` for feature 1, an id for feature 2, which has none yet.")


def test_an_id_of_digits_is_heard_and_never_taken_for_a_number():
    assert resolve_dependencies(named("99", "x", last=["99"])) == {1: [0]}
    assert "feature 1 (`text 1`) or 2 (`text 2`)" in refusal(resolve_dependencies, named("2", "y", "x", last=["2"]))


def test_an_id_or_issue_of_several_features_is_refused():
    assert refusal(resolve_dependencies, named("x", "X", "y", last=["x"])).endswith(
        "needs `x`, but several features have this id: 1 (`text 1`) or 2 (`text 2`). Give each an id of its own."
    )
    assert "several features are this issue: 1 (`text 1`) or 2 (`text 2`)" in refusal(
        resolve_dependencies, from_issues(5, 5, 6, last=["#5"])
    )


@pytest.mark.parametrize("reference", ["2", "B", "#7"])
def test_a_feature_that_needs_itself_is_refused(reference):
    items = [item("a", "a", 8), item("b", "b", 7, [reference], 4)]
    assert refusal(resolve_dependencies, items) == (
        f"Feature 2 (line 4, `b`) needs `{reference}`, which is the feature itself. Remove it, or name the one that "
        "was meant."
    )


@pytest.mark.parametrize("reference", ["", "  "])
def test_an_empty_reference_is_refused(reference):
    assert "needs ``, which is empty." in refusal(resolve_dependencies, listed("a", "b", _2=[reference]))


def test_what_is_quoted_in_a_refusal_is_cut_and_cleaned():
    message = refusal(
        resolve_dependencies, [item("a\n`b`\x1b[31m" + "\u202e" + "x" * 500), item("y" * 500, None, None, ["\x00`z"])]
    )
    assert message.startswith(f"Feature 2 (`{'y' * 57}...`) needs `'z`")
    message = refusal(resolve_dependencies, [item("a\n`b`\x1b[31m\u202ec", None, None, ["z" * 10_000])])
    assert message.startswith(f"Feature 1 (`a 'b' [31m c`) needs `{'z' * 57}...`")


def test_a_text_that_is_cut_in_a_blank_shows_it():
    assert refusal(resolve_dependencies, [item("a" + " " * 700 + "b", None, None, ["1"])]).startswith(
        "Feature 1 (`a...`) needs `1`"
    )


# -- the order --------------------------------------------------------------------------------------------------------


def test_without_needs_the_order_is_the_lists():
    assert sort_features(0, {}) == []
    assert sort_features(4, {}) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({1: [0], 3: [2]}, [0, 1, 2, 3]),  # what the list does already
        ({0: [3]}, [1, 2, 3, 0]),
        ({0: [1], 1: [2], 2: [3]}, [3, 2, 1, 0]),
        ({0: [2]}, [1, 2, 0, 3]),  # 0 comes back as soon as it can
        ({0: [2], 1: [3]}, [2, 0, 3, 1]),
        ({0: [1, 3], 2: [3]}, [1, 3, 0, 2]),
        ({0: []}, [0, 1, 2, 3]),
        ({0: [1, 1]}, [1, 0, 2, 3]),
    ],
)
def test_the_order_is_the_lists_as_far_as_needs_allow(needs, expected):
    assert sort_features(4, needs) == expected


def test_a_batch_runs_in_this_order_whether_it_is_stored_or_not():
    needs = {0: [4], 1: [0, 3], 3: [2], 5: [1]}
    expected = sort_features(6, needs)
    for stored in ([], expected):
        state, ran = new_batch(6, needs=needs, order=stored), []
        while batch_state.is_live(state):
            state = then(state, transitions.start, NOW, None)
            ran.append(batch_state.active_index(state))
            state = then(state, transitions.complete, NOW, {"verify": None})
        assert ran == expected


def test_a_reference_with_a_character_that_cannot_be_shown_is_quoted_without_it():
    assert "needs ` x`, but" in refusal(resolve_dependencies, [item("a", None, None, ["\U00018d09x"])])


def test_a_cycle_is_refused_with_every_feature_on_it_in_order():
    texts = ["first", "second", "third", "fourth", "fifth"]
    assert refusal(sort_features, 5, {0: [3], 3: [1], 1: [0], 4: [0]}, texts) == (
        "The dependencies form a cycle: 1 (`first`) needs 4 (`fourth`), which needs 2 (`second`), which needs 1. "
        "Remove one of them."
    )


def test_a_cycle_is_shown_from_its_first_feature_without_what_leads_to_it():
    message = refusal(sort_features, 5, {0: [4], 4: [3], 3: [2], 2: [4]})
    assert message.startswith("The dependencies form a cycle: 3 needs 5, which needs 4, which needs 3. ")


def test_what_is_done_by_then_is_on_no_cycle():
    message = refusal(sort_features, 4, {1: [0, 2], 2: [0, 3, 1]})
    assert ": 2 needs 3, which needs 2. " in message


def test_a_feature_that_needs_itself_is_a_cycle_too():
    assert ": 2 needs 2. " in refusal(sort_features, 3, {1: [1]})


def test_a_long_cycle_is_shown_in_numbers():
    total = 5000
    needs = {index: [(index + 1) % total] for index in range(total)}
    message = refusal(sort_features, total, needs, ["x" * 5000] * total)
    assert message.count(", which needs ") == total - 1 and "x" not in message


def test_texts_in_a_cycle_are_cut_and_cleaned():
    message = refusal(sort_features, 2, {0: [1], 1: [0]}, ["a`\n\x1b" + "x" * 99, "b" * 61])
    assert f"1 (`a' {'x' * 54}...`) needs 2 (`{'b' * 57}...`), which needs 1." in message


def test_ten_thousand_features_are_ordered_in_no_time():
    total = 10_000
    needs = {index: [index - 1, *((index * 7 + step) % index for step in range(4))] for index in range(1, total)}
    backward = {total - 1 - index: [total - 1 - other for other in wanted] for index, wanted in needs.items()}
    start = time.process_time()
    assert sort_features(total, needs) == list(range(total))
    assert sort_features(total, backward) == list(reversed(range(total)))
    assert time.process_time() - start < 2


# -- what is only suggested -------------------------------------------------------------------------------------------

SUGGESTED = [
    # what tests or documents something
    (["Add a login page", "Write tests for the login page"], {(1, 0)}),
    (["Write tests for the login page", "Add a login page"], {(0, 1)}),
    (["Add CSV export", "Add unit and integration tests for the CSV export"], {(1, 0)}),
    (["Add the parser", "End-to-end tests for the parser"], {(1, 0)}),
    (["Add the parser", "Add test coverage for the parser"], {(1, 0)}),
    (["Add the parser", "A test suite for the parser"], {(1, 0)}),
    (["Add the parser", "test: add tests for the parser"], {(1, 0)}),
    (["Add the parser", "[ci] Tests for the parser"], {(1, 0)}),
    (["Add saved queries", "Tests for the saved query"], {(1, 0)}),
    (["Add session cookies", "Tests for the session cookie"], {(1, 0)}),
    (["Add response caches", "Tests for the response cache"], {(1, 0)}),
    (["Add a search index", "Test the search index"], {(1, 0)}),
    (["Add a search index", "Document the search index"], {(1, 0)}),
    (["Add a search index", "Document how the search index works"], {(1, 0)}),
    (["Add a search index", "docs: document the search index"], {(1, 0)}),
    (["Add a search index", "Add documentation for the search index"], {(1, 0)}),
    (["Add a search index", "Document search index in the README"], {(1, 0)}),
    (["Add an endpoint for uploads", "Tests for the upload endpoint"], {(1, 0)}),
    (["Add an upload endpoint", "Tests for the endpoint for uploads"], {(1, 0)}),
    (["Add login page with password reset", "Tests for the login"], {(1, 0)}),
    (["Add login page", "Add logout button using the login page", "Tests for the login page"], {(2, 0)}),
    (["Add a login page", "Add a cache for the login page", "Test the login page"], {(2, 0)}),
    (["Add a login page", "Test the login page", "Document the login page"], {(1, 0), (2, 0)}),
    (["Add import", "Add export", "Tests for import and export"], {(2, 0), (2, 1)}),
    (["Add login page (behind a flag until it is released)", "Tests for the login page"], {(1, 0)}),
    (["Add login page", "Add schema", "Tests for the login page once the schema exists"], {(2, 0), (2, 1)}),
    (["Add order statuses", "Tests for the order status"], {(1, 0)}),
    (["Add user classes", "Tests for the user class"], {(1, 0)}),
    (["Add drag and drop", "Add a drag handle", "Tests for drag and drop"], {(2, 0)}),
    (["Add sign in", "Add sign out", "Tests for sign out"], {(2, 1)}),
    # what comes after something
    (["Add the user schema", "Add sign-up after the user schema is there"], {(1, 0)}),
    (["Add the user schema", "After the user schema is in place, add sign-up"], {(1, 0)}),
    (["Add the job queue", "Send mails in the background once the job queue works"], {(1, 0)}),
    (["Add the job queue", "Once the queue exists, send mails in the background"], {(1, 0)}),
    (["Move settings as soon as the new config file has landed", "Read a config file"], {(0, 1)}),
    (["Add metrics", "Add a dashboard once metrics have been merged"], {(1, 0)}),
    (["After the schema is there, add the login page", "Add schema", "Test the login page"], {(0, 1), (2, 0)}),
    (["Add the schema", "Add the queue", "Add mails once the schema and the queue are done"], {(2, 0), (2, 1)}),
    # what stands on something
    (["Add a key-value store", "Build sessions on top of the key-value store"], {(1, 0)}),
    (["Build sessions on top of the store", "Add a store"], {(0, 1)}),
    (["Add a parser cache", "Add a parser layer on top of the parser"], {(1, 0)}),
    # what names a number
    (["a", "b", "Render the list using the parser from feature 2"], {(2, 1)}),
    (["a", "b", "Replace the spinner with the one from feature 1."], {(2, 0)}),
    (["a", "b", "c", "Wire it up (needs features 1, 2 and 3)"], {(3, 0), (3, 1), (3, 2)}),
    (["a", "b", "Wire it up after feature 2"], {(2, 1)}),
    (["Add OAuth 2", "b", "Wire it up after feature 2 is done"], {(2, 1)}),
    (["a", "b", "Wire it up on top of feature 2"], {(2, 1)}),
    (["a", "b", "Wire it up, depends on feature 1"], {(2, 0)}),
]
NOT_SUGGESTED = [
    # nothing is said
    ["Add login page", "Add logout button"],
    ["Add login page", "Add a link to the login page"],
    ["Add login page", "Show the login page in German"],
    ["Add login page", "Add a cache like the login page has"],
    # nobody makes it
    ["Add logout button", "Write tests for the login page"],
    ["Add a cache for the login page", "Write tests for the login page"],
    ["Add rate limiting to the upload endpoint", "Tests for the upload endpoint"],
    ["Add api key variable", "Document the api"],
    ["Rename the api key variable", "Document the api"],
    ["Add logout after the login page is there", "Tests for the login page"],
    ["Add sign-up after login", "Test the sign-up login"],
    ["Write tests for the login page", "Document the login page"],
    ["Remove the login page", "Document the login page"],
    ["Add sign in", "Tests for sign out"],
    ["Add error page", "Tests for the errors in the parser"],
    # several do
    ["Add login page", "Restyle login page", "Tests for the login page"],
    ["Add CSV export", "Add PDF export", "Tests for the export"],
    ["Add the schema", "Change the schema", "Add sign-up after the schema is there"],
    ["Add a login page", "Remove the old login page", "Test the login page"],
    ["Add drag and drop", "Restyle drag and drop", "Tests for drag and drop"],
    ["Add user page", "Add admin page", "Build settings on top of the page"],
    # nothing in particular is named
    ["Add an application form", "Test the application"],
    ["Add login page", "Document everything"],
    ["Add a command palette", "Document all commands"],
    ["Add a command palette", "Write tests for all  commands"],
    ["Add login page", "Write tests"],
    ["Add login page", "Write more tests for it"],
    ["Add login page", "Add logout once it works"],
    ["Add login page", "Add logout after everything is done"],
    ["Add login page", "Build logout on top of that"],
    # tests and documents are the matter itself
    ["Add a commit view", "Run the tests for each commit view"],
    ["Add a pull request page", "Show the tests for the pull request page"],
    ["Add parser", "Remove the tests for the parser"],
    ["Add a search", "Document search", "Add a document list"],
    ["Add a runner", "Test runner"],
    ["Add a drive", "Test drive for new users"],
    ["Add a page", "Add an A/B test to the page"],
    # the other way round, or not at all
    ["Add a parser", "Use a stub until the parser is there"],
    ["Add a parser", "Add a lexer before the parser is there"],
    ["Add a parser", "Do not wait: lex, not once the parser works"],
    ["Add a parser", "Make sure that no one waits until after the parser is there"],
    ["Add a parser", "Add a lexer when the parser fails"],
    ["Add a parser", "Run it once, exists or not"],
    ["Add a parser", "Look after the parser"],
    ["Retry the upload", "Notify the user after the upload is finished"],
    ["Add an order form", "Send a mail once the order is ready"],
    ["Add a banner", "Add a badge atop the banner"],
    # numbers that are none of ours
    ["a", "b", "Read the config from feature 2.1"],
    ["a", "b", "Use the parser from feature 2b"],
    ["a", "b", "Use the parser from feature 2-3"],
    ["a", "b", "Use the parser from feature 4"],
    ["a", "b", "Use the parser from feature 0"],
    ["a", "b", "Use the parser from feature 3"],
    ["a", "b", "Use the parser from feature 1 or 2"],
    ["a", "b", "c does not need anything; it no longer depends on feature 2"],
    ["a", "b", "Note that feature 2 needs feature 1"],
    ["a", "b", "Unlike feature 2, do it quietly"],
    ["a", "b", "Show feature 2 first"],
    ["a", "b", "Fix the bug (depends on #2)"],
    ["Add OAuth 2", "b", "c after version 2 is done"],
]


def suggested(texts, **options):
    return {(hint.index, hint.needs) for hint in find_hints(listed(*texts, **options), [""] * len(texts))}


@pytest.mark.parametrize(("texts", "expected"), SUGGESTED)
def test_a_text_that_speaks_of_one_other_feature_is_a_hint(texts, expected):
    assert suggested(texts) == expected
    assert suggested([text.upper().replace(" ", "  \t") for text in texts]) == expected


@pytest.mark.parametrize("texts", NOT_SUGGESTED)
def test_when_in_doubt_there_is_no_hint(texts):
    assert suggested(texts) == set()


def test_a_feature_is_told_by_one_rare_word_among_common_ones():
    texts = [f"Add w{number} page" for number in range(150)]
    assert suggested([*texts, "Tests for the w7 page"]) == {(150, 7)}


def test_a_text_never_suggests_its_own_feature():
    assert order_hints.find_suggestions(["a", "needs feature 2"], ["", "needs #2"], lambda reference: [1]) == [{}, {}]


def test_the_corpus_has_as_many_texts_without_a_hint_as_with_one():
    assert len(NOT_SUGGESTED) >= len(SUGGESTED) > 40


IN_A_BODY = [
    ("Depends on #11", {0}),
    ("depends on: #11.", {0}),
    ("**Depends on:** #11, #12", {0, 1}),
    ("Blocked by #11 and #12.", {0, 1}),
    ("Blocked by #11, and #12; see #99", {0, 1}),
    ("This needs #12 first.", {1}),
    ("It requires\n#12", {1}),
    ("## Depends on\n\n- #11\n- #12\n", {0, 1}),
    ("Depends on:\r\n- [ ] #11\r\n- [ ] #12\r\n", {0, 1}),
    ("Depends on:\n- [x] #11\n- [ ] #12\n", {1}),
    ("We depend on #11", {0}),
    ("Closes #99.\nNeeds #12", {1}),
    ("Part of #11\nNeeds #12", {1}),
    ("Why not?\nBlocked by #12", {1}),
    ("<!-- needs a name --> Needs #11 <!-- and #12 -->", {0}),
    ("Depends on #11, needs #12", {0, 1}),
    ("Depends on `this` #11, needs #12", {1}),
]
NOT_IN_A_BODY = [
    "See #11", "Fixes #11", "Like #11, but for mails", "Blocks #11", "needs a look, #11", "#11", "after #11",
    "Depends on #99", "Depends on #13", "Depends on #110", "Depends on #0", "Depends on #11abc", "Depends on #11-12",
    "Depends on other/repo#11", "Depends on https://host.invalid/issues/11", "Depends on 11", "Depends on #٣",
    "Does not depend on #11", "This doesn't depend on #11", "It isn\u2019t really blocked by #11",
    "No longer blocked by #11", "It was blocked by #11", "Unblocked by #11", "Never needs #11", "Nothing needs #11",
    "#12 depends on #11", "#12, which depends on #11", "#12 also needs #11", "Does this depend on #11?",
    "Depends on #11 or #12", "> Depends on #11", "  > needs #11", "~~Depends on #11~~", "`depends on #11`",
    "```\ndepends on #11\n```", "~~~\ndepends on #11\n```\nneeds #12", "<!-- depends on #11 -->", "<!-- depends on #11",
    "- [x] Depends on #11", "* [X] blocked by #12", "depends on <!-- #1 --> nothing, #11",
    "",
]  # fmt: skip


def suggested_by_body(body):
    items = [item("a", None, 11), item("b", None, 12), item("c", None, 13)]
    found = find_hints(items, ["", "", body])
    assert {hint.index for hint in found} <= {2}
    return {hint.needs for hint in found}


@pytest.mark.parametrize(("body", "expected"), IN_A_BODY)
def test_an_issue_that_depends_on_another_of_the_batch_is_a_hint(body, expected):
    assert suggested_by_body(body) == expected


@pytest.mark.parametrize("body", NOT_IN_A_BODY)
def test_an_issue_that_only_mentions_another_is_none(body):
    assert suggested_by_body(body) == set()


def test_an_issue_may_say_it_in_its_title():
    items = [item("a", None, 11), item("Add b (blocked by #11)", None, 12)]
    assert find_hints(items, ["", ""]) == [Hint(1, 0, "its text says `blocked by #11`")]


def test_a_number_that_may_be_a_place_or_an_issue_is_no_hint():
    items = [item("a", None, 2), item("b", None, 7), item("c using the d from feature 2", None, 8)]
    assert find_hints(items, [""] * 3) == []
    items[0] = item("a", None, 20)
    assert [(hint.index, hint.needs) for hint in find_hints(items, [""] * 3)] == [(2, 1)]


def test_a_hint_quotes_what_suggests_it():
    found = find_hints(listed("Add a parser", "Add tests for the parser."), ["", ""])
    assert found == [Hint(1, 0, "its text says `Add tests for the parser`")]
    items = [item("a", None, 11), item("b", None, 12)]
    assert find_hints(items, ["", "So it is:\n*Needs*\n #11!"]) == [Hint(1, 0, "its body says `Needs* #11`")]


def test_what_a_hint_quotes_is_cut_and_cleaned():
    texts = ["Add a parser", "Document the parser\x1b[31m\u202e `x`" + " y" * 900, "on top of the parser" + ", y" * 99]
    assert all(len(hint.why) < 90 and hint.why.isprintable() for hint in find_hints(listed(*texts), [""] * 3))
    assert [hint.index for hint in find_hints(listed(*texts), [""] * 3)] == [2]
    items = [item("a", None, 11), item("b", None, 12)]
    (hint,) = find_hints(items, ["", "needs\x1c\x1f" + "\n\u2028" * 3 + "#11" + ", #11" * 500])
    assert hint.why.isprintable() and hint.why.startswith("its body says `needs #11, #11") and len(hint.why) < 90


def test_a_pair_that_was_said_is_no_hint():
    texts = ["Add a lexer", "Add a parser", "Tests for the parser, on top of the lexer"]
    assert suggested(texts) == {(2, 0), (2, 1)}
    assert suggested(texts, _3=["2"]) == {(2, 0)}
    assert suggested(texts, _3=["2"], _2=["1"]) == set()


def test_a_pair_that_would_close_a_cycle_is_no_hint():
    texts = ["Add a lexer", "Add a parser", "Add a checker on top of the parser"]
    assert suggested(texts) == {(2, 1)}
    assert suggested(texts, _2=["3"]) == set()
    assert suggested(texts, _2=["1"], _1=["3"]) == set()


def test_of_two_hints_that_close_a_cycle_the_first_counts():
    assert suggested(["Add a lexer on top of the parser", "Add a parser on top of the lexer"]) == {(0, 1)}


def test_a_hint_comes_once_however_often_it_is_suggested():
    texts = ["Add a parser", "Test the parser on top of the parser, needs feature 1 and 1 after the parser is there"]
    assert len(find_hints(listed(*texts), ["", ""])) == 1


def test_hints_are_refused_as_what_was_said_is():
    assert "needs `9`" in refusal(find_hints, listed("a", "b", _2=["9"]), ["", ""])
    assert "a cycle: 1 (`a`) needs 2 (`b`)" in refusal(find_hints, listed("a", "b", _2=["1"], _1=["2"]), ["", ""])


def test_one_feature_has_a_bounded_number_of_hints():
    items = [item("x", None, number) for number in range(1, 301)]
    body = "needs " + ", ".join(f"#{number}" for number in range(1, 300))
    assert len(find_hints(items, [""] * 299 + [body])) == 50


def test_only_the_beginning_of_a_text_and_of_a_body_is_searched():
    far = [item("a", None, 1), item("b" + " b" * 2000 + " needs #1", None, 2)]
    assert find_hints(far, ["", "x " * 40_000 + "needs #1"]) == []


def test_a_thousand_features_are_searched_in_no_time():
    texts = [
        f"Add part{number} of piece{number // 2} on top of part{number // 3} of piece{number // 6}"
        for number in range(1000)
    ]
    items = [item(text, None, number) for number, text in enumerate(texts, 1)]
    bodies = ["word " * 400 + f"Depends on #{number // 2}, #{number // 5}" for number in range(1, 1001)]
    start = time.process_time()
    found = find_hints(items, bodies)
    assert time.process_time() - start < 5
    assert len(found) > 1500


@pytest.mark.parametrize(
    "hostile",
    [
        "<!--" * 16_000, "~~" * 32_000, "`" * 65_000, "after" + " " * 65_000, "after " * 12_000, "on top of " * 7_000,
        "using x from " * 5_000, "[" * 65_000, "needs #1, " + "#1, " * 16_000, "needs #1 " * 7_000, "```\n" * 16_000,
        "- [x] " * 10_000, "depends" + " " * 65_000, "depends  " * 7_000, "needs #1" + "\t \n" * 20_000, "\n" * 65_000,
        "unit and " * 7_000, "once a is " * 6_000, "tests for " + "and " * 16_000, "a-" * 32_000, "x" * 65_000,
    ],
)  # fmt: skip
def test_a_hostile_text_takes_no_time(hostile):
    items = [item("a", None, 1), item(hostile, None, 2), item("Add " + hostile, None, 3)]
    start = time.process_time()
    find_hints(items, ["", hostile, "x" + hostile])
    assert time.process_time() - start < 2


def test_a_word_that_everything_has_costs_nothing():
    texts = ["Add page on top of page" for _ in range(5000)]
    start = time.process_time()
    assert suggested(texts) == set()
    assert time.process_time() - start < 5


# -- what the state says of it ----------------------------------------------------------------------------------------


def test_hints_that_are_taken_join_what_was_said_and_leave_it_untouched():
    needs = {2: [1]}
    joined = add_hints(needs, [Hint(2, 0, "x"), Hint(1, 0, "y"), Hint(2, 1, "z")])
    assert joined == {1: [0], 2: [0, 1]} and list(joined) == [1, 2]
    assert needs == {2: [1]}


def test_the_analysis_says_what_was_found():
    found = [Hint(0, 2, "its text says `x`")]
    assert build_analysis({1: [0], 3: [0, 1]}, [0, 1, 2, 3], found, False) == {
        "explicit": 3,
        "hints": [{"feature_index": 0, "needs": 2, "why": "its text says `x`"}],
        "inferred": False,
        "reordered": False,
        "depth": 3,
    }


def test_hints_count_for_the_depth_when_they_were_taken():
    found = [Hint(0, 2, "x")]
    needs = {1: [0], 3: [0, 1]}
    told = build_analysis(needs, sort_features(4, add_hints(needs, found)), found, True)
    assert (told["explicit"], told["inferred"], told["reordered"], told["depth"]) == (3, True, True, 4)


def test_the_analysis_of_a_plain_list_is_empty():
    empty = {"explicit": 0, "hints": [], "inferred": False, "reordered": False, "depth": 0}
    assert build_analysis({}, [], [], False) == empty
    assert build_analysis({}, [0, 1], [], False) == {**empty, "depth": 1}


def test_the_analysis_keeps_a_bounded_number_of_hints_and_is_plain_json():
    found = [Hint(index, 0, "x") for index in range(1, 400)]
    told = build_analysis({}, list(range(400)), found, True)
    assert [entry["feature_index"] for entry in told["hints"]] == list(range(1, 201))
    assert json.loads(json.dumps(told)) == told
