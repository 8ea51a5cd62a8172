"""Texts that are made to take long: a line of 20,000 characters of one kind, hundreds of lines of one kind or two.

The time may grow as the text does. A search for blanks and then for what is not there, begun anew at each blank, takes
16 times as long for 4 times the text; so a text that takes more than a moment is compared with a quarter of it.
"""

from __future__ import annotations

import itertools
import re
import time

import pytest
from batch_implement.core.errors import UsageError
from batch_implement.features import planner, source_files
from batch_implement.features.feature_list import ListOptions

MOMENT_S = 0.1
MOST = 9  # times as long for 4 times the text: 4, and what a machine under load adds
OPTIONS = (ListOptions(), ListOptions(leaves=True, bullets=True, dash="open", without=["none"]))
PIECES = (
    *" \t\u00a0!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~aA0\u2610\u2713\u2014\u200b\x0b\u2028",
    *("1.", "1.1 ", "- ", "* ", "# ", "-=", "[ ]", "[ ] ", "[x] ", "()", "(a", "[a", "<a", "<a ", "<!--", "-->", "~~"),
    *("**", "a*", "a b ", "a: ", "a:", "and ", " and", "(after: 1)", " (after: 1)", " (id: a)", "(after:", "> ", "| "),
    *("|-", "a|", "\\[", "{(}", "done ", "(done)", " done", "DONE ", "\u2713 ", ": done", "a. ", "A. ", "T1 ", "#1"),
    *("</del>", "<del>", "</summary>", "<summary>", "a=b ", "a=' ", "[DONE]", "[done ", "(cancelled", "what is "),
    *("task 1 ", "\ufe0f", "\xe9", "=-", "@done(", "depends on ", "1, ", "1 ", "`a` ", ":archive", ")\ta"),
)
ENDS = ("", "b", ")", "\ny")
MARKDOWN = (
    *("{}", "# {}", "{}\n===\n- [ ] a", "- [ ] {}", "- [ ] a {}", "- [ ] a\n  {}", "- [ ] a\n  b{}", "- [ ] a\n{}"),
    *("- [ ] a\n\n  {}", "- [ ] a\n  - [ ] {}", "- {}\n- [ ] a", "{}\n- [ ] a", "> {}\n\n- [ ] a", "- [{}] a"),
    *("| a | b |\n|---|---|\n| {} |\n\n- [ ] a", "| a | b |\n|{}\n\n- [ ] a", "<!-- {} -->\n\n- [ ] a", "- [x] {}"),
    *("<!-- {}\n- [ ] a", "```\n{}\n```\n- [ ] a", "``` {}\n- [ ] a", "[a]: {}\n\n- [ ] a", "[{}]: a\n\n- [ ] a"),
    *('[a]: b "{}\n\n- [ ] a', "- [ ] ~~{}", "- [ ] ~~{}~~", "- [ ] ~~a~~{}", "- [ ] <del>{}", "- [ ] `{}`"),
    *("- [ ] a (after: {})", "- [ ] a (after: {}", "- [ ] a ({})", "- [ ] a [{}]", "- [ ] a (id: {})", "- [ {}"),
    *("- [ ] a\n  Depends on: {}", "**{}\n\n- [ ] a", "**{}**:\n\n- [ ] a", "{}:\n\n- [ ] a", "<{}\n\n- [ ] a"),
    *("<details><summary>{}</summary>\n\n- [ ] a", "<summary {}\n\n- [ ] a", "</a{}\n\n- [ ] a", "[ ] {}", "1. {}"),
    *("---\n{}\n---\n- [ ] a", "---\na: {}\n---\n- [ ] a", "# Done {}\n- [ ] a", "# progress {}\n- [ ] a"),
    *("- [ ] T1 {}", "- [ ] a\n\n      {}", "- [ ]* {}", "- [ ] \u2610 {}", "- [ ] task {}"),
)
TEXT = (
    *("{}", "- {}", "- a\n- {}\n- b", "- a\n  {}", "- a\n\n{}", "a\n{}\nb", "# {}\n- a", "{}:\n- a", "{}\n====\n- a"),
    *(
        "=== {}",
        "=== {} ===\n- a",
        "[{}]\n- a",
        "[{}",
        "[ ] {}",
        "[x] {}",
        "* [{}",
        "1. {}",
        "// {}\n- a",
        ".. {}\n- a",
    ),
    *("/* {}\n- a", "<!-- {}\n- a", "```{}\n- a", "| {} |\n- a", "2. a (after: {})", "- a (after: {}", "- a ({})"),
    *("x 2024-01-02 {}\n(A) b", "DONE {}", "done {}:\n- a", "a - {}", "- ~~{}", "---+ {}", "https://{}", "class {}"),
    *("def a({}", "export {}", "to do {}", "what's {}", "done: {}", "@done({}", "a {} done", "\u2014\u2014 {}"),
)
ORG = (
    *("* {}", "* TODO {}", "* TODO a\n{}", "* TODO a\n  - [ ] {}", "#+TODO: {}\n* TODO a", "#+begin_{}\n* TODO a"),
    *("#+begin_src {}\n* TODO a", "* TODO a :{}:", "* a :archive:{}", "#+{}\n* TODO a", "* DONE {}\n* TODO a"),
)
ADOC = ("* [*] {}", "----\n{}\n----\n* a", "== {}\n* a", "{}\n----\n* a")  # the rest is read as other texts are
CONTEXTS = {".md": MARKDOWN, ".txt": TEXT, ".adoc": ADOC, ".org": ORG}
LINES = {
    ".md": (
        *("- [ ] a%d", "  - [ ] b%d", "- b%d", "  - c", "    d", "", "a", "a:", "# h", "> q", "> - [ ] q%d", "```"),
        *("~~~", "<!--", "-->", "<details>", "<summary>s</summary>", "</details>", "| a | b |", "|---|---|", "---"),
        *("[a%d]: b", "1. [ ] n%d", "%d. [ ] n%d", "[ ] b%d", "- [x] d%d", "- [-] c%d", "- [ ] a%d (after: 1)"),
        *("- [ ] a%d (after: %d)", "  Depends on: %d", "  Depends on: T1", "- [ ] T1 a%d", "- [ ] a (id: n%d)", "==="),
    ),
    ".txt": (
        *("a%d", "- a%d", "  - b%d", "    c", "", "a%d:", "# h", "=====", "```", "/*", "*/", "<!--", "=begin", "// c"),
        *("| a | b |", "[ ] b%d", "[x] d%d", "[-] c%d", "* s%d", "1. n%d", "%d. n%d", "- a%d (after: %d)", "Later:"),
        *("Done:", "DONE", "x 2024-01-02 d%d", "(A) p%d", "http://a/%d", "-- d%d", "\ttab%d", "a\tb\tc", "x a%d"),
        *(
            "- a%d OK",
            "[H%d]",
            "=== h%d ===",
            "Long line that is wrapped by an editor at some seventy columns or so and",
        ),
    ),
    ".adoc": ("----", "....", "====", "* a%d", "** b%d", "* [*] c%d", "== h%d", "text", "", "//", "////"),
    ".org": (
        *("* a%d", "** b%d", "* TODO a%d", "** TODO b%d", "*** NEXT c%d", "* DONE d%d", "text", "- [ ] b%d", ""),
        *("#+begin_src", "#+end_src", "#+begin_x%d", "#+TODO: A%d | B%d", "* TODO a%d (after: %d)", "* Done", "/*"),
    ),
}


def read(text, suffix, options):
    try:
        planner.check_order(source_files.READERS[suffix](text.encode(), f"todo{suffix}", options))
    except UsageError:
        pass


def seconds(*args):
    begin = time.process_time()
    read(*args)
    return time.process_time() - begin


def takes_too_long(make, size, suffix):
    """Return whether reading a text four times as large takes far more than four times as long."""
    for options in OPTIONS:
        large = (make(4 * size), suffix, options)
        if seconds(*large) > MOMENT_S:
            small = (make(size), suffix, options)
            factors = (seconds(*large) / max(seconds(*small), 0.001) for _ in range(3))
            if all(factor > MOST for factor in factors):
                return True
    return False


@pytest.mark.prove
@pytest.mark.parametrize(
    ("suffix", "context"), [(suffix, context) for suffix, contexts in CONTEXTS.items() for context in contexts]
)
def test_a_long_line_takes_a_time_that_grows_as_its_length(suffix, context):
    size = 5_000 if suffix in (".md", ".org") else 2_400  # of a line of text at most 10,000 characters are read

    def make(piece, end):
        return lambda length: context.replace("{}", (piece * length)[:length] + end)

    texts = itertools.product(PIECES, ENDS)
    assert [text for text in texts if takes_too_long(make(*text), size, suffix)] == []


@pytest.mark.prove
@pytest.mark.parametrize(("suffix", "first"), [(suffix, first) for suffix, lines in LINES.items() for first in lines])
def test_many_lines_take_a_time_that_grows_as_their_number(suffix, first):
    def make(second):
        pair = f"{first}\n{second}\n"
        return lambda count: "".join(pair.replace("%d", str(number)) for number in range(1, count + 1))

    assert [second for second in LINES[suffix] if takes_too_long(make(second), 200, suffix)] == []


STRUCTURES = {
    "boxes below a long heading": lambda count: "# " + "a " * count + "\n" + "- [ ] a\n  b%d\n" * count,
    "boxes in parts that never end": lambda count: "<details><summary></summary>\n\n- [ ] a%d\n\n" * count,
    "boxes in named parts that never end": lambda count: "<details><summary>a</summary>\n\n- [x] a%d\n\n" * count,
    "lines about one need below a box": lambda count: "- [ ] a\n" + "  Depends on: T%d\n" * count,
    "remarks beside boxes": lambda count: "- [ ] a%d\nPlease report b\n" * count,
}


@pytest.mark.prove
@pytest.mark.parametrize("suffix", [".md", ".txt"])
@pytest.mark.parametrize("make", STRUCTURES.values(), ids=STRUCTURES)
def test_what_is_above_or_below_many_boxes_is_not_looked_at_for_each(make, suffix):
    def numbered(count):
        numbers = itertools.count()
        return re.sub("%d", lambda _: str(next(numbers)), make(count))

    assert not takes_too_long(numbered, 500, suffix)
