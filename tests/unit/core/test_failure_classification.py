"""What kind of failure a message tells of, how it is treated, and when to go on.

`failures_corpus.json` is the heart: a sample added there is a test. Its messages are those of the programs themselves;
a look-alike (`like`) is one that a search for words would take for something else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from batch_implement.core import failure_classification
from hypothesis import given, settings
from hypothesis import strategies as st

CORPUS: list[dict[str, str]] = json.loads(Path(__file__).with_name("failures_corpus.json").read_text(encoding="utf-8"))
LOOK_ALIKES = [sample for sample in CORPUS if "like" in sample]
# What somebody in a hurry would search for.
WORDS = {
    "limit": ("limit", "429", "quota", "too many"),
    "overload": ("overload", "500", "502", "503", "504", "529", "unavailable", "internal server error"),
    "network": ("connect", "timed out", "timeout", "network", "resolve", "econn", "not known", "hung up"),
    "busy": ("lock", "busy", "another process", "in use", "temporarily unavailable"),
    "context": ("context", "too long", "token"),
    "auth": (
        "401",
        "unauthorized",
        "login",
        "logged in",
        "credential",
        "authenti",
        "api key",
        "password",
        "certificate",
    ),
    "permission": ("403", "forbidden", "permission", "denied", "protected", "declined", "rejected", "access rights"),
    "budget": ("budget", "credit", "billing", "spend", "payment", "usage"),
    "disk": ("disk", "no space", "enospc", "read-only"),
    "refusal": ("400", "invalid_request", "policy", "refus"),
}
NOW = "2026-11-24T12:00:00Z"


def shown(sample: dict[str, str]) -> str:
    """A test's name from its message."""
    return sample["message"][:60].encode("unicode_escape").decode()


each = pytest.mark.parametrize("sample", CORPUS, ids=shown)

# -- the table --------------------------------------------------------------------------------------------------------


def test_every_class_has_one_treatment():
    assert set(failure_classification.TREATMENT.values()) == {"wait", "retry", "pause", "fail"}
    assert (
        failure_classification.TREATMENT["feature"] == "retry" and failure_classification.TREATMENT["refusal"] == "fail"
    )


def test_what_costs_no_attempt_and_what_needs_a_person_come_from_the_same_table():
    assert failure_classification.UNCOUNTED == ("limit", "overload", "network", "busy", "context")
    assert failure_classification.NEEDS_USER == ("auth", "permission", "budget", "disk")
    assert {name for name, treatment in failure_classification.TREATMENT.items() if treatment == "wait"} < set(
        failure_classification.UNCOUNTED
    )


def test_the_modules_text_shows_the_table_as_it_is():
    rows = [line.split()[:2] for line in (failure_classification.__doc__ or "").splitlines() if line.startswith("    ")]
    assert dict(rows[1 : 1 + len(failure_classification.TREATMENT)]) == dict(failure_classification.TREATMENT)


# -- the corpus -------------------------------------------------------------------------------------------------------


@each
def test_every_sample_of_the_corpus_gets_its_class(sample):
    assert failure_classification.classify_report(sample["message"]) == sample["class"]


def test_the_corpus_is_large_and_has_every_class_and_every_program():
    assert len(CORPUS) == len({sample["message"] for sample in CORPUS}) >= 160
    assert {sample["class"] for sample in CORPUS} == set(failure_classification.TREATMENT)
    assert {sample["source"] for sample in CORPUS} == {"claude", "api", "git", "gh", "pip", "npm", "pytest", "system"}
    assert {failure_classification.TREATMENT[sample["class"]] for sample in CORPUS} == set(
        failure_classification.TREATMENT.values()
    )


def test_half_of_the_corpus_is_what_a_search_for_words_gets_wrong():
    assert len(LOOK_ALIKES) >= len(CORPUS) / 2
    assert {sample["like"] for sample in LOOK_ALIKES} == set(WORDS)


@pytest.mark.parametrize("sample", LOOK_ALIKES, ids=shown)
def test_a_look_alike_has_the_words_of_another_class(sample):
    assert sample["like"] != sample["class"]
    assert any(word in sample["message"].casefold() for word in WORDS[sample["like"]])


def test_every_phrase_of_the_tables_is_that_of_a_sample():
    samples = {(sample["class"], line.strip()) for sample in CORPUS for line in sample["message"].split("\n")}

    def occurs(kind: str, phrase: str) -> bool:
        return any(kind == known and re.search(phrase, line, re.IGNORECASE) for known, line in samples)

    of_programs = (
        *failure_classification._LINE_PATTERNS,
        *failure_classification._PROGRAM_LINE_PATTERNS,
        *failure_classification._FALLBACK_PATTERNS,
    )
    of_the_client = (
        *failure_classification._CLIENT_PREFIXES,
        *failure_classification._API_PHRASES,
        *((it[1], [it[0]]) for it in failure_classification._CLASS_BY_SUBJECT.items()),
    )
    unused = [(kind, phrase) for kind, phrases in of_programs for phrase in phrases if not occurs(kind, phrase)]
    unused += [(kind, words) for kind, many in of_the_client for words in many if not occurs(kind, re.escape(words))]
    assert unused == []


@pytest.mark.prove
def test_a_sample_added_to_the_corpus_is_a_test(tmp_path):
    new = {"message": "a sample of tomorrow", "class": "disk", "source": "system"}
    here = Path(__file__)
    (tmp_path / here.name).write_text(here.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "failures_corpus.json").write_text(json.dumps([*CORPUS[:3], new]), encoding="utf-8")
    run = subprocess.run(
        [
            sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
            "--rootdir", str(tmp_path), "-k", "gets_its_class", str(tmp_path / here.name),
        ],
        env={**os.environ, "PYTHONPATH": str(Path(failure_classification.__file__).parents[2])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 failed, 3 passed" in run.stdout and "[a sample of tomorrow]" in run.stdout, run.stdout + run.stderr


def test_its_class_stays_after_a_log_and_before_words_without_a_class():
    log = "\n".join(f"[{number}/900] Compiling module {number}" for number in range(900))
    samples = [(sample, f"{log}\n{sample['message']}\nThat is all I have.") for sample in CORPUS]
    assert [
        sample for sample, report in samples if failure_classification.classify_report(report) != sample["class"]
    ] == []


def test_its_class_stays_in_colours_and_indented():
    def coloured(message: str) -> str:
        return "\n".join(f"  \x1b[1;31m{line}\x1b[0m\x1b[K" for line in message.split("\n"))

    samples = [(sample, coloured(sample["message"])) for sample in CORPUS]
    assert [
        sample for sample, report in samples if failure_classification.classify_report(report) != sample["class"]
    ] == []


def test_behind_it_a_failed_test_has_the_last_word_but_over_what_the_client_says_first():
    failed = "\nFAILED tests/test_x.py::test_y - assert 1 == 2\n1 failed in 0.12s"
    messages = [sample["message"] + failed for sample in CORPUS]
    assert [
        report
        for report in messages
        if failure_classification.classify_report(report) != failure_classification.classify(report)
    ] == []


def test_what_passes_by_itself_is_what_is_treated_by_waiting():
    waits = {name for name, treatment in failure_classification.TREATMENT.items() if treatment == "wait"}
    assert waits == {sample["class"] for sample in CORPUS if failure_classification.is_transient(sample["message"])}
    assert [
        sample
        for sample in CORPUS
        if failure_classification.is_transient(sample["message"]) != (sample["class"] in waits)
    ] == []


def test_the_cause_is_seen_beside_what_follows_from_it():
    wait = "WARNING: Retrying (Retry(total=4)) after connection broken by 'x': /simple/x/"
    assert failure_classification.classify_report(f"{wait}\nERROR: No matching distribution found for x") == "network"
    assert failure_classification.classify_report(f"{wait}\nerror: subprocess-exited-with-error") == "feature"
    reached = "fatal: Could not read from remote repository."
    assert failure_classification.classify_report(reached) == "permission"
    assert (
        failure_classification.classify_report(f"ssh: connect to host x port 22: Network is unreachable\n{reached}")
        == "network"
    )


# -- a turn's end -----------------------------------------------------------------------------------------------------

# What the client answers to a tool: words of a turn in progress.
OF_A_TOOL = (
    "Claude requested permissions",
    "Permission ",
    "The user doesn't want",
    "This command",
    "`git",
    "git ",
    "gh ",
    "I could",
)
OWN = [
    sample
    for sample in CORPUS
    if sample["source"] == "claude" and sample["class"] != "feature" and not sample["message"].startswith(OF_A_TOOL)
]
OF_THE_FEATURE = [
    "", " ", "the tests fail", "AssertionError: 401 != 200", "expected 200, got 429", "Test printed: API Error: 529",
    "I could not finish: You've hit your limit of tries", "Overloaded methods are not supported in this language",
    "Connection error handling is missing", "Feature 2 is in.", "The prompt is too long for the button",
    "request timed out in test_login", "It says Invalid API key", "HTTP 401", "rate limit tests fail",
    "API errors are shown to the user now.", "API Error handling is done.", "Invalid API keys are refused now.",
    "You've reached your destination: the page is there.", "Not logged in users see the form.",
    "Failed to authenticate: the form refuses valid users.", "Credit balance is too low to pay is shown.",
    "Login expired sessions are cleaned up.", "You're out of luck.", "Prompt is too long for the field.",
]  # fmt: skip
# Words of other versions, and of the same with other numbers.
FURTHER = [
    ("API Error", "overload"),
    ("API Error: something that nobody has seen", "overload"),
    ("API Error (529 {\"type\":\"error\"}) · Retrying in 5 seconds… (attempt 5/10)", "overload"),
    ("API Error (Request timed out.) · Retrying in 1 seconds… (attempt 1/10)", "network"),
    ("API Error: 408 Request Timeout", "network"),
    ("API Error: 409 Conflict", "overload"),
    ("API Error: 418 I'm a teapot", "refusal"),
    ("API Error: 404 not found", "permission"),
    ("API Error: 413 too large", "context"),
    ("API Error: 401 {}", "auth"),
    ("API Error: 403 forbidden", "permission"),
    ("API Error: 429 rate_limit_error", "limit"),
    ("API Error: Request rejected (429) · Rate limited here", "limit"),
    ("Weekly limit reached", "limit"),
    ("You've hit your session limit · resets 5pm (UTC)", "limit"),
    ("Overloaded", "overload"),
    ("overloaded_error", "overload"),
    ("Request timed out.", "network"),
    ("socket hang up", "network"),
    ("OAuth token has expired", "auth"),
    ("Please run /login", "auth"),
    ("Error: Reached max budget ($5)", "budget"),
    ("Your seat type doesn't include usage credits", "permission"),
    ("You've hit your team's pooled group budget. Switch to another model to continue.", "budget"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "kind"), [*((sample["message"], sample["class"]) for sample in OWN), *FURTHER])
def test_the_clients_own_words_are_known_in_any_case_and_spacing(message, kind):
    assert failure_classification.classify(message) == kind
    assert failure_classification.classify("\n  " + message.upper().replace(" ", "  ")) == kind
    assert failure_classification.classify_report(message) == kind


def test_they_are_of_every_class_but_the_features():
    assert {sample["class"] for sample in OWN} == set(failure_classification.TREATMENT) - {"feature"}


@pytest.mark.parametrize("message", OF_THE_FEATURE)
def test_everything_else_is_the_features_failure(message):
    assert failure_classification.classify(message) == "feature"


def test_what_another_program_printed_and_a_worker_said_ends_no_turn():
    own = {sample["message"] for sample in OWN}
    others = [sample["message"] for sample in CORPUS if sample["source"] != "api" and sample["message"] not in own]
    assert [message for message in others if failure_classification.classify(message) != "feature"] == []


def test_a_hook_that_asks_of_a_turns_end_pays_for_no_regular_expression():
    asks = "import sys; sys.path.insert(0, sys.argv[1]); from batch_implement.core import failure_classification; "
    asks += "failure_classification.classify('Feature 1 is done.'); "
    asks += "print(sorted({'re', 'datetime', 'typing'} & set(sys.modules)))"
    command = [sys.executable, "-B", "-I", "-S", "-c", asks, str(Path(failure_classification.__file__).parents[2])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


# -- any input --------------------------------------------------------------------------------------------------------

PARTS = [
    "a", " ", "\n", "E ", "E   ", "a.", "a\n", ": ", "assert ", "expect(", "tests ", "test_a ", "thread '", "Command ",
    "status 429 ", "Permission to use ", "cannot lock ref ", "could not lock config file ", "refusing to allow an ",
    "API Error: ", "You've hit your ", "\x1b[", "\x1b[1m", "resets ", "resets 5pm (", "|1760000000", "connection ",
    "getaddrinfo ENOTFOUND a", "localhost lookup ", "1-1 ", "HTTP ", "Error.", "_" * 80 + "Error", "\u2028", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_megabyte_of_anything_is_read_in_the_same_time_as_a_page(part):
    page = part * (4 * failure_classification.MAX_CHARS // len(part) + 1)
    huge = part * (2**20 // len(part))  # the square of that would take hours
    assert failure_classification.classify_report(huge) == failure_classification.classify_report(page)
    assert failure_classification.classify(huge) == failure_classification.classify(page)
    failure_classification.reset_time(huge, NOW)


@pytest.mark.parametrize("text", ["a" * 10**7, " " * 10**7, "\n" * 10**7, "E " * 10**6, "status 429" * 10**6 + "9"])
def test_only_the_beginning_and_the_end_of_a_huge_message_are_looked_at(text):
    assert failure_classification.classify(text) == "feature"
    assert failure_classification.classify("API Error: 429" + text) == "limit"
    assert failure_classification.is_transient(f"{text}\nTimeoutError: x")
    assert failure_classification.is_transient(f"TimeoutError: x\n{text}")
    assert not failure_classification.is_transient(f"{text}\nTimeoutError: x\n{text}")


def test_a_turns_end_says_what_it_is_within_its_first_page():
    assert (
        failure_classification.classify(" " * (failure_classification.MAX_CHARS - 20) + "API Error: 529") == "overload"
    )
    assert failure_classification.classify(" " * failure_classification.MAX_CHARS + "API Error: 529") == "feature"


@given(st.text(max_size=200) | st.lists(st.sampled_from(PARTS), max_size=20).map("".join))
@settings(max_examples=200, deadline=None)
def test_whatever_the_message_it_has_a_class_with_a_treatment(message):
    assert failure_classification.classify(message) in failure_classification.TREATMENT
    assert failure_classification.classify_report(message) in failure_classification.TREATMENT
    assert (
        failure_classification.reset_time(message, NOW) is None
        or failure_classification.classify_report(message) == "limit"
    )


# -- when to go on ----------------------------------------------------------------------------------------------------


def test_a_back_off_doubles_from_half_a_minute_to_half_an_hour():
    assert [failure_classification.backoff_s(attempt, 0.0) * 2 for attempt in range(1, 9)] == [
        30, 60, 120, 240, 480, 960, 1800, 1800,
    ]  # fmt: skip
    assert failure_classification.backoff_s(10**9, 0.0) == failure_classification.MAX_BACKOFF_S / 2


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_it_over_its_upper_half(attempt, jitter):
    least = failure_classification.backoff_s(attempt, 0.0)
    assert least <= failure_classification.backoff_s(attempt, jitter) <= 2 * least <= 1800
    assert failure_classification.backoff_s(attempt, 0.5) == 1.5 * least


@pytest.mark.parametrize(("attempt", "jitter"), [(0, 0.0), (-1, 0.0), (1, 1.0), (1, -0.1), (1, float("nan"))])
def test_numbers_that_mean_nothing_are_an_error(attempt, jitter):
    with pytest.raises(ValueError, match=r"count from 1"):
        failure_classification.backoff_s(attempt, jitter)


RESETS = [
    ("Claude AI usage limit reached|1795539600", NOW, "2026-11-24T17:00:00Z"),
    ("Claude AI usage limit reached|1795539600000", NOW, "2026-11-24T17:00:00Z"),
    ("Claude AI usage limit reached|1795510800", NOW, "2026-11-24T09:00:00Z"),  # over, and known to be
    ("You've hit your limit · resets 5pm (UTC)", NOW, "2026-11-24T17:00:00Z"),
    ("You've hit your limit · resets 17:30 (UTC)", NOW, "2026-11-24T17:30:00Z"),
    ("You've hit your limit · resets 12am (UTC)", NOW, "2026-11-25T00:00:00Z"),
    ("You've hit your limit · resets 12:01pm (utc)", NOW, "2026-11-24T12:01:00Z"),
    ("You've hit your limit · resets 11am (UTC)", NOW, "2026-11-25T11:00:00Z"),
    ("You've hit your limit · resets 11:51am (UTC)", NOW, "2026-11-24T11:51:00Z"),  # nine minutes ago
    ("You've hit your limit · resets 11:49am (UTC)", NOW, "2026-11-25T11:49:00Z"),  # eleven
    ("You've hit your limit · resets 11:59pm (UTC)", "2026-11-25T00:02:00Z", "2026-11-24T23:59:00Z"),
    ("You've hit your weekly limit · resets Nov 28, 5pm (UTC) · progress saved", NOW, "2026-11-28T17:00:00Z"),
    ("You've hit your weekly limit · resets Nov 28 at 5:05pm (UTC)", NOW, "2026-11-28T17:05:00Z"),
    ("You've hit your Opus limit · resets Jan 3, 2027, 9am (UTC)", NOW, "2027-01-03T09:00:00Z"),
    ("You've hit your Opus limit · resets Jan 3, 9am (UTC)", NOW, "2027-01-03T09:00:00Z"),
    ("API Error: 400 You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 "
     "UTC.", NOW, "2026-12-01T00:00:00Z"),
    ("You've hit your monthly spend limit · your weekly limit resets Nov 28, 5pm (UTC)", NOW, "2026-11-28T17:00:00Z"),
    ("You've hit your team's pooled group budget · resets Dec 1, 1am (UTC) · your 5-hour limit resets 5pm (UTC)", NOW,
     "2026-11-24T17:00:00Z"),
    ("building\n" * 999 + "You've hit your limit · resets 5pm (UTC)", NOW, "2026-11-24T17:00:00Z"),
]  # fmt: skip
IN_A_ZONE = [
    ("You've hit your limit · resets 5pm (Europe/Berlin)", NOW, "2026-11-24T16:00:00Z"),
    ("You've hit your limit · resets 5:30pm (Asia/Kolkata)", NOW, "2026-11-24T12:00:00Z"),
    ("You've hit your limit · resets 7am (America/New_York)", NOW, "2026-11-24T12:00:00Z"),
    ("Claude usage limit reached. Your limit will reset at 3pm (America/Bogota).", NOW, "2026-11-24T20:00:00Z"),
    ("You've hit your limit · resets 2am (Pacific/Auckland)", NOW, "2026-11-24T13:00:00Z"),  # tomorrow, there
    ("You've hit your limit · resets 5pm (Europe/Berlin)", "2026-03-28T20:00:00Z", "2026-03-29T15:00:00Z"),  # summer
]
UNSURE = [
    "You've hit your limit · resets 5pm",  # of which zone?
    "Claude usage limit reached. Your limit will reset at 7pm",
    "You've hit your limit for Claude messages. Limits will reset at 9:30 AM.",
    "You've hit your limit",
    "You've hit your limit · resets 5 (UTC)",  # morning or evening?
    "You've hit your limit · resets 13pm (UTC)",
    "You've hit your limit · resets 25:00 (UTC)",
    "You've hit your limit · resets 5pm (Nowhere/Atlantis)",
    "You've hit your limit · resets 5pm (../../etc/passwd)",
    "You've hit your limit · resets 5pm (Europe)",  # a folder
    "You've hit your limit · resets Feb 30, 5pm (UTC)",
    "You've hit your limit · resets Foo 3, 5pm (UTC)",
    "You've hit your limit · resets Jun 3, 5pm (UTC)",  # no limit lasts for half a year
    "You've hit your limit · resets Nov 28, 2031, 5pm (UTC)",
    "You've hit your limit · resets Nov 20, 2026, 5pm (UTC)",
    "Claude AI usage limit reached|9999999999",
    "Claude AI usage limit reached|12",
    "API Error: 529 Overloaded · resets 5pm (UTC)",  # no limit
    "E   AssertionError: assert \"You've hit your limit · resets 5pm (UTC)\" in 'ok'",
    "The page should say: resets 5pm (UTC)",
    "",
]


@pytest.mark.parametrize(("message", "now", "then"), RESETS)
def test_a_limit_tells_when_it_ends(message, now, then):
    assert failure_classification.reset_time(message, now) == then


@pytest.mark.parametrize(("message", "now", "then"), IN_A_ZONE)
def test_the_time_of_a_named_zone_is_that_zones(message, now, then):
    zoneinfo = pytest.importorskip("zoneinfo")
    if "Europe/Berlin" not in zoneinfo.available_timezones():
        pytest.skip("this machine has no time zones")
    assert failure_classification.reset_time(message, now) == then


@pytest.mark.parametrize("message", UNSURE)
def test_an_uncertain_reset_time_is_none(message):
    assert failure_classification.reset_time(message, NOW) is None


def test_without_time_zones_on_the_machine_only_utc_is_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "zoneinfo", None)
    assert failure_classification.reset_time("You've hit your limit · resets 5pm (Europe/Berlin)", NOW) is None
    assert failure_classification.reset_time("You've hit your limit · resets 5pm (UTC)", NOW) == "2026-11-24T17:00:00Z"


def test_now_must_be_in_the_states_form():
    with pytest.raises(ValueError, match="does not match format"):
        failure_classification.reset_time("You've hit your limit · resets 5pm (UTC)", "24.11.2026")
