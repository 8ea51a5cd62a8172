"""What an error message tells, and texts made fit for a log: failure_classifier."""

from __future__ import annotations

import json

import pytest
from failure_classifier import (
    FailureType,
    classify_failure,
    extract_error_context,
    is_permanent_error,
    is_transient_error,
    sanitize_error_message,
    sanitize_feature_name,
)
from hypothesis import given, settings
from hypothesis import strategies as st

TRANSIENT = [
    "You've hit your limit · resets 5pm (Europe/Berlin)",
    "Claude usage limit reached. Your limit will reset at 7pm",
    "You're out of extra usage · resets 11:30am",
    'API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    'API Error: 429 {"type":"error","error":{"type":"rate_limit_error","message":"..."}}',
    "API Error: 529 Overloaded. This is a server-side issue, usually temporary",
    "API Error: Request rejected (429) · Rate limited here",
    "Connection error.",
    "fatal: unable to access 'https://github.com/x/y/': Could not resolve host: github.com",
    "Could not resolve host: github.com",
    "fatal: Unable to create '/home/u/p/.git/index.lock': File exists.",
    "Unable to create '.git/index.lock': File exists",
    "gh: API rate limit exceeded for user ID 1. (HTTP 403)",
    "gh: API rate limit exceeded",
    "Error: socket hang up",
    "socket hang up",
    "ECONNRESET",
    "npm ERR! code ECONNRESET",
    "request timed out",
    "ConnectionError: Failed to connect to API",
    "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='x', port=443)",
    "TimeoutError: The read operation timed out",
    "RateLimitError: slow down",
    "HTTPError: 503 Server Error: Service Unavailable",
    "error: RPC failed; HTTP 502 curl 22",
    "ssh: connect to host github.com port 22: Connection timed out",
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 2448 (unattended-upgr)",
    "BlockingIOError: [Errno 11] Resource temporarily unavailable",
    "API Error: Server is temporarily limiting requests (not your usage limit) · Rate limited",
    "Traceback (most recent call last):\n  KeyError: 'x'\n\nDuring handling:\nurllib3.ReadTimeout: read\n",
]
PERMANENT = [
    "AssertionError: 401 != 200",
    "SyntaxError",
    "SyntaxError: invalid syntax",
    "AssertionError: expected 'request timed out'",
    "E       AssertionError: assert 429 == 200",
    "assert 429 == 200",
    "FAILED tests/test_api.py::test_rate_limit_exceeded - rate limit exceeded",
    "ImportError: No module named connection reset",
    "Traceback (most recent call last):\nConnectionError: x\n\nDuring handling:\nTypeError: bad\n",
    "Invalid API key · Please run /login",
    "Credit balance is too low",
    "WeirdUnknownError: something happened",
    "503 tests passed, 1 failed",
    "E   requests.exceptions.ConnectionError: HTTPSConnectionPool(host='x', port=443)",
    "curl: (7) Failed to connect to localhost port 8080 after 0 ms: Couldn't connect to server",
    "Prompt is too long",
    "OSError: [Errno 28] No space left on device",
    "API Error: 400 messages.0.content.1: unexpected field",
    "Not logged in · Please run /login",
    "remote: error: GH006: Protected branch update failed for refs/heads/main.",
    "the line 429 is too long",
    "",
]


@pytest.mark.parametrize("message", TRANSIENT)
def test_what_passes_by_itself_is_transient(message):
    assert classify_failure(message) is FailureType.TRANSIENT
    assert is_transient_error(message) and not is_permanent_error(message)


@pytest.mark.parametrize("message", PERMANENT)
def test_everything_else_is_permanent(message):
    assert classify_failure(message) is FailureType.PERMANENT
    assert not is_transient_error(message) and is_permanent_error(message) is bool(message)


def test_no_message_is_permanent_but_no_error():
    assert classify_failure(None) == "permanent" == FailureType.PERMANENT
    assert not is_transient_error(None) and not is_permanent_error(None)


@pytest.mark.parametrize(
    "part", ["E ", "Error", "a.", "assert ", "status ", "http", "../", "..", "./", "\n", " ", "_" * 80 + "Error"]
)
def test_two_million_characters_are_read_in_linear_time(part):
    text = part * (2_000_000 // len(part))  # the square would take hours
    assert classify_failure(text) is FailureType.PERMANENT
    assert len(sanitize_error_message(text)) == 1000 and len(sanitize_feature_name(text)) <= 200
    assert len(extract_error_context(text, text)["error_type"]) <= 1000


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Add login", "Add login"),
        ("Add\nlogin\r\nnow", "Add login  now"),
        ("a\u2028b\x0bc\x85d\te", "a b c d e"),
        ("a\x00b\x1b[31mc\u202ed\u200be\ufefff", "ab[31mcdef"),
        ("../../etc/passwd", "etc/passwd [sanitized]"),
        ("..\\..\\x", "x [sanitized]"),
        ("....//x", "x [sanitized]"),
        (".." * 50 + "./" * 50, None),
        ("up.. and ../down", "up.. and down [sanitized]"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 186 + "...[truncated]"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_feature_becomes_one_line_for_a_log(name, line):
    sanitized = sanitize_feature_name(name)
    assert line is None or sanitized == line
    assert "../" not in sanitized and len(sanitized) <= 200


def test_an_error_becomes_one_line_of_at_most_1000_characters():
    assert sanitize_error_message(None) == ""
    assert sanitize_error_message("Error\nFAKE LOG: all is well\r\n") == "Error FAKE LOG: all is well  "
    assert sanitize_error_message("x" * 1000) == "x" * 1000
    cut = sanitize_error_message("x" * 5000)
    assert len(cut) == 1000 and cut.endswith("...[truncated]")


@given(st.text(alphabet=st.characters() | st.sampled_from("./\\\n\r\u202e\u200b"), max_size=300))
@settings(max_examples=300, deadline=None)
def test_whatever_the_text_its_line_is_clean_and_stays_so(text):
    for call, longest in ((sanitize_feature_name, 200), (sanitize_error_message, 1000)):
        line = call(text)
        assert len(line) <= longest and len(line.splitlines()) <= 1
        assert not set(line) & set("\u202e\u200b\x00\x1b")
        assert call(line) == line
    assert not {"../", "..\\"} & {sanitize_feature_name(text)[place : place + 3] for place in range(200)}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("SyntaxError: invalid syntax", "SyntaxError"),
        ("requests.exceptions.ConnectionError: x", "requests.exceptions.ConnectionError"),
        ("ValueError", "ValueError"),
        ("fatal: not a git repository", "fatal"),
        ("it broke", "Unknown"),
        (None, "Unknown"),
    ],
)
def test_the_context_of_an_error_is_fit_for_a_log(message, kind):
    context = extract_error_context(message, "../Add\nlogin")
    assert set(context) == {"error_type", "error_message", "feature_name", "timestamp", "failure_type"}
    assert context["error_type"] == kind and context["feature_name"] == "Add login [sanitized]"
    assert context["failure_type"] == classify_failure(message) and context["timestamp"].endswith("Z")
    assert json.loads(json.dumps(context)) == context
