"""Blocks of Markdown, with markdown-it-py as the oracle."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from batch_implement.features.markdown.blocks import MAX_DEPTH, parse_blocks
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

LISTS = sorted(path for path in (Path(__file__).parents[1] / "markdown_lists").iterdir() if path.suffix != ".expected")
ORACLE = MarkdownIt("commonmark", {"maxNesting": 2 * MAX_DEPTH})
PIECES = (
    *(
        "- ",
        "* ",
        "+ ",
        "1. ",
        "2) ",
        "10. ",
        "> ",
        ">",
        "  ",
        "    ",
        "\t",
        " ",
        "# ",
        "## ",
        "```",
        "~~~",
        "````",
        "---",
    ),
    *(
        "===",
        "***",
        "- - -",
        "<!--",
        "-->",
        "<div>",
        "</div>",
        "<pre>",
        "</pre>",
        "<b>",
        "<?",
        "?>",
        "[ ] ",
        "[x] ",
        "foo",
    ),
    *("bar", "-", "*", "1.", "#", "`", "|", "x\\", "<script>", "</script>", '<a href="x">', "=", "--", "<!A"),
)
LINES = st.lists(st.lists(st.sampled_from(PIECES), max_size=5).map("".join), min_size=1, max_size=9)


def words(text):
    """Return the lines of a text without what tabs and indentation make of their blanks."""
    return [" ".join(line.split()) for line in text.split("\n")]


def ours(block):
    found = []
    for child in block.children:
        if child.kind in ("quote", "item"):
            found.append((child.kind, child.line, child.marker if child.kind == "item" else "", ours(child)))
        elif child.kind == "paragraph":
            found.append((child.kind, child.line, words("\n".join(child.lines))))
        elif child.kind != "definition":
            detail = {"heading": child.level, "code": child.marker}.get(child.kind, "")
            found.append((child.kind, child.line, detail))
    return found


def theirs(text):
    stack = [[]]
    tokens = ORACLE.parse(text)
    for place, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else 0
        if token.type in ("blockquote_open", "list_item_open"):
            is_item = token.type == "list_item_open"
            inner = []
            stack[-1].append(("item" if is_item else "quote", line, token.markup if is_item else "", inner))
            stack.append(inner)
        elif token.type in ("blockquote_close", "list_item_close"):
            stack.pop()
        elif token.type == "paragraph_open":
            stack[-1].append(("paragraph", line, words(tokens[place + 1].content)))
        elif token.type == "heading_open":
            stack[-1].append(("heading", line, int(token.tag[1])))
        elif token.type in ("fence", "code_block"):
            stack[-1].append(("code", line, "fenced" if token.type == "fence" else "indented"))
        elif token.type in ("html_block", "hr"):
            stack[-1].append(("html" if token.type == "html_block" else "rule", line, ""))
    return stack[0]


def oracle_errs(lines):
    """Return whether markdown-it-py is known to differ from CommonMark here.

    It takes what is indented by four columns and continues a paragraph of a quote or of a wide item for code, and
    counts tabs behind `>>` from the wrong column.
    """
    has_wide_item = any(re.search(r"[-*+.)][ \t]*(?:   |\t)", line) for line in lines)
    has_indented = any(re.match(r"[ \t>]*(?:\t|    )[ \t]*[^ \ta-z]", line) for line in lines)
    has_quote = any(">" in line for line in lines)
    return (has_indented and (has_quote or has_wide_item)) or any(re.search(r">.*\t", line) for line in lines)


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_the_blocks_of_each_list_are_those_of_commonmark(path):
    text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    assert ours(parse_blocks(text.split("\n"))) == theirs(text)


@settings(max_examples=400)
@given(LINES)
def test_the_blocks_of_any_text_are_those_of_commonmark(lines):
    assume(not oracle_errs(lines))
    assert ours(parse_blocks(lines)) == theirs("\n".join(lines))


@settings(max_examples=200)
@given(LINES)
def test_every_line_that_is_not_blank_is_in_a_block(lines):
    covered = set()

    def cover(block):
        for child in block.children:
            covered.update(range(child.line, child.end + 1))
            cover(child)

    cover(parse_blocks(lines, lenient=True))
    assert {number for number, line in enumerate(lines, 1) if line.strip(" \t>")} <= covered


def test_containers_deeper_than_the_limit_are_text():
    block, depth = parse_blocks(["> " * 500 + "x"]), 0
    while block.children:
        block, depth = block.children[0], depth + 1
    assert depth == MAX_DEPTH + 1
    assert block.kind == "paragraph" and block.lines[0].endswith("> x")


def test_the_line_numbers_begin_where_the_caller_says():
    document = parse_blocks(["a", "", "b"], first=7)
    assert [(block.line, block.end) for block in document.children] == [(7, 7), (9, 9)]


@pytest.mark.parametrize(
    "line",
    [
        "- " * 50_000,
        ">" * 100_000,
        "`" * 100_000,
        "<a" + " b" * 50_000,
        "#" * 100_000,
        "[" * 100_000,
        "* " * 50_000 + "x",
    ],
)
def test_a_long_line_takes_linear_time(line):
    assert parse_blocks([line] * 3, lenient=True).children


def test_a_box_without_a_bullet_is_an_item_only_where_the_caller_asks_for_it():
    assert [block.kind for block in parse_blocks(["[ ] a", "[x] b"]).children] == ["paragraph"]
    assert [block.kind for block in parse_blocks(["[ ] a", "[x] b"], lenient=True).children] == ["item", "item"]
    assert [block.kind for block in parse_blocks(["[ ](a) b"], lenient=True).children] == ["paragraph"]
