"""Plain text, Org, reStructuredText and AsciiDoc as lists of features, and what is refused.

Each file in `text_lists/` was made up for these tests; `NAME.expected` beside it has what a person would take from it,
in the form of `tool_list_format`. Adding a pair adds a test.
"""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path

import listings
import pytest
import tool_list_format
from batch_implement.core.errors import UsageError
from batch_implement.features import planner, source_files
from batch_implement.features.feature_list import ListOptions

LISTS = Path(__file__).parents[1] / "text_lists"
PATHS = sorted(path for path in LISTS.iterdir() if path.suffix != ".expected")


def read(text, suffix=".txt", **options):
    return source_files.READERS[suffix](text.encode(), f"todo{suffix}", ListOptions(**options))


def refusal(text, suffix=".txt"):
    return listings.refusal(read, text, suffix)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_text_is_read_as_a_person_would(path):
    listing = tool_list_format.read(path)
    planner.check_order(listing)
    assert tool_list_format.describe(listing) == path.with_name(f"{path.name}.expected").read_text("utf-8")


def test_every_text_has_its_expectation():
    expected = {path.name.removesuffix(".expected") for path in LISTS.iterdir() if path.suffix == ".expected"}
    assert expected == {path.name for path in PATHS} and len(expected) >= 40


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_each_word_of_a_text_is_in_a_feature_or_in_a_line_that_is_left_out(path):
    listing = tool_list_format.read(path)
    left_out = {left.line for left in listing.left_out}
    kept = " ".join(
        word
        for feature in listing.features
        for word in (feature.text, *map(str, feature.details.values()))
    )  # fmt: skip
    for number, line in enumerate(path.read_text("utf-8").split("\n"), start=1):
        line = re.sub(r"\((?:after|needs):? \d\)|\(after: |\[[_ ]\]-", " ", line)
        words = [word.strip("*") for word in line.split()]
        words = [word for word in words if sum(map(str.isalnum, word)) > 2 and word != "TODO"]
        assert number in left_out or [word for word in words if word not in kept] == [], number


PROSE = (
    "The program reads a file. It then sorts the lines of the file by name, and at last\n"
    "it writes them to another file. That one is made if it is not there.\n\n"
    "Sorting is stable. It uses what the language brings. Names with accents are sorted\n"
    "as those without. That is what people like.\n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "- [ ] a\n- [-] b\n- [-] c\ntext\n",
            "2 entries with `[-]` or a cross, which could mean in progress or cancelled",
        ),
        ("- [ ] a\n- [-] b\n- [-] c\ntext\n", "(lines 2, 3). Add `--dash open` to take them, or `--dash cancelled`"),
        ("- a\n+ b\n- c\n", ":2: entries begin with `-` (line 1) and with `+` (line 2), which could mean done."),
        ("Write the parser +\nDraw the tree +\nColours\n", ":1: 2 entries end in `+`, which could mean done."),
        ("1. a (done)\n2. b - done\n", "no open features: all 2 entries are marked as done or cancelled. Add what is"),
        ("DONE\n- a\n", "no open features: its only entry is marked as done"),
        ("https://example.invalid/a\nhttps://example.invalid/b\n", "every line is a link. Write what is to be done"),
        (
            "- [ ] a\n- [-] b\ntext\n",
            ":2: 1 entry with `[-]` or a cross, which could mean in progress or cancelled (line 2)",
        ),
        (
            "Goals:\n | Goal  | State\n | Lexer | done\n",
            "this is a table. Write the column that says what is to be done",
        ),
        (": ADD ( n n -- n )\n  PLUS\n;\nmake it fast\n", ":3: this line looks like code. Indent code below"),
        (
            "[ ] a\n[+] b\n[-] c\n[+] d\n",
            ":2: 2 entries with a mark in the box that is not known (lines 2, 4). Write `[x]` for done, `[ ]` for "
            "open. 1 entry with `[-]` or a cross",
        ),
        ("Backend:\nFrontend:\n", "headings only, with nothing below them"),
        ("2. a\n3. b (after: 2)\n", ":2: `(after: N)` counts the entries from 1, and the numbers in this list are"),
        (PROSE, "this looks like prose: 2 paragraphs without a marker. Write `- ` before each feature"),
        ("Add a table (id: a)\nAdd a page (after: lunch break)\n", ":2: invalid reference 'lunch break'"),
        ("- a (after: x y)\n- b\n- c (after: z z)\n- d (id: 1)\n", "without the colon. As wrong: lines 3, 4."),
    ],
)
def test_what_cannot_be_read_with_certainty_is_refused_with_a_way_on(text, expected):
    assert expected in refusal(text)


@pytest.mark.parametrize("suffix", [".rst", ".adoc"])
def test_a_markup_file_without_bullets_is_refused_with_what_to_do(suffix):
    assert "no bullet, number or check box, only text. Write `- ` before each feature" in refusal("Later.\n", suffix)


def test_bullets_of_a_document_that_is_no_list_are_taken_only_with_the_option(tmp_path):
    path = tmp_path / "manual.rst"
    path.write_text("Needs\n=====\n\n* Python\n* git\n")
    with pytest.raises(UsageError, match="Add `--bullets` to take the top-level ones"):
        source_files.read_file(str(path))
    assert len(source_files.read_file(str(path), ListOptions(bullets=True)).features) == 2


@pytest.mark.parametrize("name", ["HACKING", "readme.txt", "INSTALL"])
def test_a_document_without_a_suffix_is_read_only_with_the_option_or_by_its_boxes(tmp_path, name):
    path = tmp_path / name
    path.write_text("Commits\n=======\n\n- Begin with a capital letter\n- Say why\n")
    with pytest.raises(UsageError, match="Add `--bullets` to take the top-level ones"):
        source_files.read_file(str(path))
    assert len(source_files.read_file(str(path), ListOptions(bullets=True)).features) == 2
    path.write_text("Commits\n=======\n\nTo do:\n[ ] Say why\n")
    assert [feature.text for feature in source_files.read_file(str(path)).features] == ["Say why"]


def test_an_org_file_without_keywords_names_the_options_that_take_its_headlines():
    text = "* Memory\n** Name the places\n* Screen\n** Show it\n"
    assert "Write each feature as `* TODO text`; or add `--bullets`" in refusal(text, ".org")
    assert [feature.text for feature in read(text, ".org", bullets=True).features] == ["Memory", "Screen"]
    leaves = read(text, ".org", leaves=True).features
    assert [(feature.text, feature.details["section"]) for feature in leaves] == [
        ("Name the places", "Memory"),
        ("Show it", "Screen"),
    ]


def test_lines_that_may_be_one_sentence_are_named():
    text = "show which of the views was open when the program was ended by you\nand its size\n- not\n"
    (note,) = read(text.replace("- not", "draw")).notes
    assert "goes on with the line before it (lines 2), indent it." in note


BEGINS = [
    "", "", "- ", "* ", "+ ", "1. ", "2) ", "[ ] ", "[x] ", "- [ ] ", "- [x] ", "  ", "    ", "\t- ", "    * ", "-- ",
    "x ", "O ", "OK ", "# ", "## ", "=== ", "> ", "• ", "☐ ", "✔ ", "~~", "* TODO ", "** TODO ", "* DONE ", "- - ",
]  # fmt: skip
ENDS = [
    "",
    "",
    "",
    ":",
    ".",
    " (done)",
    " - fixed",
    " ===",
    "\n-------",
    "\n=====",
    "\n",
    "\n\n",
    " and",
    ",",
    " +",
    " OK",
    "~~",
]
OTHER_LINES = [
    "DONE",
    "Later:",
    "----------------",
    "```",
    "/*",
    "*/",
    "| a | b |",
    "https://example.invalid/x",
    "TODO",
    "",
]


@pytest.mark.parametrize("suffix", [".txt", ".org", ".rst", ".adoc"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.some(4)
def test_no_word_of_any_text_is_lost(suffix, seed):
    chance = random.Random(seed)
    for _ in range(150 if seed == 0 else 2_000):
        names = (f"name{number}" for number in range(1_000))
        pieces = []
        for _ in range(chance.randint(1, 14)):
            words = " ".join(itertools.islice(names, chance.choice([1, 2, 12])))
            line = f"{chance.choice(BEGINS)}{words}{chance.choice(ENDS)}"
            pieces.append(chance.choice(OTHER_LINES) if chance.random() < 0.1 else line)
        text = "\n".join(pieces)
        options = ListOptions(leaves=chance.random() < 0.3, bullets=True, dash="open")
        try:
            listing = source_files.READERS[suffix](text.encode(), f"todo{suffix}", options)
        except UsageError:
            continue
        left_out = {left.line for left in listing.left_out}
        kept = {
            word
            for feature in listing.features
            for value in (feature.text, *map(str, feature.details.values()))
            for word in re.findall(r"name\d+", value)
        }
        for number, line in enumerate(text.split("\n"), start=1):
            if number not in left_out:
                assert set(re.findall(r"name\d+", line)) <= kept, text


@pytest.mark.parametrize("suffix", [".txt", ".org"])
def test_entries_may_be_nested_deeper_than_python_calls_functions(suffix):
    depth, indent, feature = (500, "  ", "- a") if suffix == ".txt" else (1_100, "*", "a")
    lines = [f"{indent * (level + 1)} {feature}{level}" for level in range(depth)]
    for options in ({}, {"leaves": True}, {"bullets": True}):
        try:
            listing = read("\n".join(lines), suffix, **options)
        except UsageError as error:
            assert "headings and items above it" in str(error) or "no headline has a keyword" in str(error)
        else:
            kept = "\n".join(feature.details.get("description", "") for feature in listing.features).split()
            lines_there = len(listing.left_out) + len(listing.features) + sum(word[0] == "a" for word in kept)
            assert lines_there == depth


def test_an_unclosed_comment_or_block_is_looked_for_once():
    assert len(read("".join(f"/* a{n}\n- b{n}\n" for n in range(300))).features) == 300
    assert len(read("".join(f"....\n* b{n}\n" for n in range(301)), ".adoc").features) > 0


def test_an_archived_headline_is_left_out_by_its_tag_alone():
    text = "* TODO a\n* TODO b :archive:\n* TODO c :ARCHIVE:x:\n* TODO d :archive: e\n* TODO e:archived:\n"
    assert [feature.text for feature in read(text, ".org").features] == ["a", "d :archive: e", "e:archived:"]


def test_the_headings_of_a_text_are_bounded_as_those_of_markdown_are():
    with pytest.raises(UsageError, match="headings and items above it have 10,0"):
        text = "long " * 1_001
        read(f"## Pages {text}\n### Menus {text}\n- [ ] Add a page\n- [ ] Add a menu\nx\n", ".rst")


def test_the_lines_of_a_mail_below_a_list_are_named_as_remarks():
    text = "Print labels\nSort by year\n\nSubject: Re: labels\nFrom: A <a@example.org>\nIn-Reply-To: <1@example.org>\n"
    assert any("lines 4, 5, 6" in note for note in read(text).notes)


def test_a_line_that_sends_its_reader_elsewhere_is_named_as_a_remark():
    assert any("remark" in note for note in read("Please check https://example.org/issues\n").notes)
