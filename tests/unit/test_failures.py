"""What kind of failure a message tells of: the client's own words count, what a test printed does not."""

from __future__ import annotations

import pytest
from batch_implement import failures

MESSAGES = [
    ("You've hit your limit · resets 5pm (Europe/Berlin)", "limit"),
    ("You\u2019ve hit your limit · resets 5pm", "limit"),
    ("Claude usage limit reached. Your limit will reset at 7pm", "limit"),
    ("Claude AI usage limit reached|1760000000", "limit"),
    ("You're out of extra usage · resets 11:30am", "limit"),
    ("5-hour limit reached ∙ resets 3am", "limit"),
    ("Weekly limit reached", "limit"),
    ("API Error: Request rejected (429) · Rate limited here", "limit"),
    ("API Error: 429 rate_limit_error", "limit"),
    ("API Error: 529 Overloaded. This is a server-side issue, usually temporary", "overload"),
    ("API Error: 500 Internal server error.", "overload"),
    ("API Error: something that nobody has seen", "overload"),
    ("Overloaded", "overload"),
    ("overloaded_error", "overload"),
    ("API Error: Connection error.", "network"),
    ("API Error: Unable to connect to API", "network"),
    ("API Error: Request timed out.", "network"),
    ("Connection error.", "network"),
    ("Request timed out.", "network"),
    ("socket hang up", "network"),
    ("Invalid API key · Fix external API key", "auth"),
    ("Please run /login", "auth"),
    ("API Error: 401 {}", "auth"),
    ("OAuth token has expired", "auth"),
    ("API Error: 403 forbidden", "permission"),
    ("Credit balance is too low", "budget"),
    ("Error: Reached max budget ($5)", "budget"),
    ("Reached maximum budget ($5)", "budget"),
    ("Prompt is too long · the request is ~250000 tokens", "context"),
    ("API Error: 413 too large", "context"),
    ("Context limit reached · /compact or /clear to continue", "context"),
]
OF_THE_FEATURE = [
    "", " ", "the tests fail", "AssertionError: 401 != 200", "expected 200, got 429", "Test printed: API Error: 529",
    "I could not finish: You've hit your limit of tries", "Overloaded methods are not supported in this language",
    "Connection error handling is missing", "Feature 2 is in.", "The prompt is too long for the button",
    "request timed out in test_login", "It says Invalid API key", "HTTP 401", "rate limit tests fail",
]  # fmt: skip


@pytest.mark.parametrize(("message", "kind"), MESSAGES)
def test_the_clients_own_words_are_known(message, kind):
    assert failures.classify(message) == kind


@pytest.mark.parametrize(("message", "kind"), MESSAGES)
def test_they_are_known_in_any_case_and_spacing(message, kind):
    assert failures.classify("\n  " + message.upper().replace(" ", "  ")) == kind


@pytest.mark.parametrize("message", OF_THE_FEATURE)
def test_everything_else_is_the_features_failure(message):
    assert failures.classify(message) == "feature"


def test_every_kind_is_treated_in_one_way():
    kinds = {kind for _, kind in MESSAGES}
    assert kinds == {*failures.UNCOUNTED, *failures.NEEDS_A_PERSON}
    assert not set(failures.UNCOUNTED) & set(failures.NEEDS_A_PERSON)


@pytest.mark.parametrize("text", ["a" * 10**7, " " * 10**7, "\n" * 10**7, "E " * 10**6, "status 429" * 10**6 + "9"])
def test_only_the_beginning_and_the_end_of_a_huge_message_are_looked_at(text):
    assert failures.classify(text) == "feature"
    assert failures.classify("API Error: 429" + text) == "limit"
    assert failures.passing(f"{text}\nTimeoutError: x")


PASSING = [
    "You've hit your limit · resets 5pm", "API Error: 529 overloaded_error", "Could not resolve host: github.com",
    "Unable to create '/x/.git/index.lock': File exists.", "gh: API rate limit exceeded", "socket hang up",
    "Error: read ECONNRESET", "request timed out", "HTTP 503", "urllib.error.HTTPError: HTTP Error 502: Bad Gateway",
    "requests.exceptions.ConnectionError: refused", "TimeoutError", "Traceback\n  x\nConnectionResetError: [Errno 104]",
]  # fmt: skip
LASTING = [
    "AssertionError: 401 != 200", "SyntaxError: invalid syntax", "Invalid API key", "", "it broke",
    "E   AssertionError: connection refused", "FAILED tests/test_x.py - timed out", "ValueError: too many requests",
    "line 503 of the file", "Credit balance is too low",
]  # fmt: skip


@pytest.mark.parametrize("message", PASSING)
def test_what_passes_by_itself_is_worth_another_try(message):
    assert failures.passing(message)


@pytest.mark.parametrize("message", LASTING)
def test_what_does_not_is_not(message):
    assert not failures.passing(message)
