"""How a Markdown checklist is read."""

from __future__ import annotations

import re

import pytest
from batch_implement.base.text import clean
from batch_implement.core.errors import UsageError
from batch_implement.features.feature_list import Feature, ListOptions
from batch_implement.features.markdown.boxes import find_end
from batch_implement.features.source_files import parse_text, read_file
from hypothesis import given, settings
from hypothesis import strategies as st
from listings import needs, texts


@pytest.mark.parametrize("name", ["features.md", "PLAN.MARKDOWN", "x.txt.Md"])
def test_a_markdown_file_gives_its_open_check_boxes(listed, name):
    content = """# Plan
Some text - [ ] not a box
- [ ] first
* [ ] second
+ [ ] third
1. [ ] fourth
12) [ ] fifth
- [x] done
- [X] done too
    - [ ]   indented\t
- a plain item, [ ] without a box
- [a link](http://x)
- [ ](http://x)
- [ ]
```sh
- [ ] in a fence
~~~
```
~~~~
- [ ] in another
~~~
```
~~~~
`- [ ] in code`
``` inline ``` is no fence
- [ ] last
"""
    section = {"section": "Plan"}
    assert read_file(listed(content, name)).features == [
        Feature("first", 3, section),
        Feature("second", 4, section),
        Feature("third", 5, section),
        Feature("fourth", 6, section),
        Feature("fifth", 7, section),
        Feature("indented", 10, {"section": "Plan > done too"}),
        Feature("last", 26, section),
    ]


def test_a_code_block_ends_only_with_a_bare_fence_of_its_kind(listed):
    content = "````\n- [ ] a\n```` js\n- [ ] b\n```\n~~~~\n- [ ] c\n`````\n- [ ] d\n"
    assert texts(read_file(listed(content, "f.md"))) == ["d"]


def test_a_code_block_that_never_ends_is_fine_when_it_hides_nothing(listed):
    assert texts(read_file(listed("- [ ] a\n```\n- [x", "f.md"))) == ["a"]


def test_odd_lines_take_linear_time():
    for line in (
        "- " + "[ " * 50_000,
        " " * 100_000 + "x",
        "1" * 100_000,
        "`" * 100_000,
        "- [ ] " + " " * 100_000 + "\x0b",
    ):
        with pytest.raises(UsageError):
            parse_text(line.encode(), "it", "md")


def test_what_needs_a_ticked_box_by_its_id_waits_for_nothing(listed):
    content = "- [x] Add a table (id: Schema)\n- [ ] Add a page (after: schema)\n- [ ] Log in (after: SCHEMA, #12)\n"
    listing = read_file(listed(content, "f.md"))
    assert needs(listing) == [["schema"], ["SCHEMA", "#12"]]
    assert listing.resolved == {(0, "schema"): (), (1, "SCHEMA"): ()}


def test_an_open_box_of_the_same_id_as_a_ticked_one_is_the_one_that_is_needed(listed):
    content = "- [x] a (id: x)\n- [ ] b (id: x)\n- [ ] c (after: x)\n"
    assert needs(read_file(listed(content, "f.md"))) == [None, ["x"]]


def test_a_number_counts_the_top_level_boxes_also_ticked_ones(listed):
    content = "- [x] a\n- [ ] b\n  - [ ] b1\n- [ ] c (after: 1, 2)\n- [ ] d (after: 3)\n"
    assert read_file(listed(content, "f.md")).resolved == {(1, "1"): (), (1, "2"): (0,), (2, "3"): (1,)}


def test_what_a_ticked_box_says_is_no_matter(listed):
    assert texts(read_file(listed("- [x] a (after: no reference)\n- [ ] b\n", "f.md"))) == ["b"]


PARTS = st.sampled_from(
    (
        *(
            "- [ ] ",
            "- [x] ",
            "- [ ]* ",
            "* ",
            "1. [ ] ",
            "  ",
            "    ",
            "\t",
            "> ",
            "# ",
            "```",
            "<!-- ",
            "-->",
            "~~",
            "✅",
        ),
        *(
            "one",
            "two",
            "three",
            "(after: 1)",
            "Depends on: 1.2",
            "1.2 ",
            "T003 ",
            "|---|",
            "| a | b |",
            "---",
            "**x:**",
            ":",
        ),
    )
)
TEXTS = st.lists(st.lists(PARTS, max_size=4).map("".join), min_size=1, max_size=12)


def read_or_none(lines, options):
    try:
        return parse_text("\n".join(lines).encode(), "it", "md", options)
    except UsageError:
        return None


@settings(max_examples=400)
@given(TEXTS, st.booleans(), st.booleans(), st.booleans())
def test_every_line_is_in_a_feature_or_left_out(lines, leaves, bullets, optional):
    listing = read_or_none(lines, ListOptions(leaves=leaves, bullets=bullets, optional=optional))
    if listing is None:
        return
    left_out = {entry.line for entry in listing.left_out}
    assert len(left_out) == len(listing.left_out)
    spoken = " ".join(
        f"{feature.text} {feature.details.get('section', '')} {feature.details.get('description', '')} "
        f"{feature.details.get('depends_on', '')}"
        for feature in listing.features
    )
    for number, line in enumerate(lines, 1):
        if number not in left_out:
            assert all(word in spoken for word in re.findall(r"one|two|three|T003|1\.2", line)), (number, line)


@settings(max_examples=300)
@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=30).map(str.strip),
    st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20), max_size=4),
)
def test_no_character_of_an_open_item_is_lost(text, nested):
    lines = [f"- [ ] {text}", "", *(f"  {line}" for line in nested)]
    listing = read_or_none(lines, ListOptions())
    if listing is None or find_end(clean(text).strip()):
        return
    (feature,) = listing.features
    kept = "".join(
        f"{feature.text}{feature.details.get('description', '')}{feature.details.get('depends_on', '')}".split()
    )
    for line in [text, *nested]:
        expected = re.sub(r"\((?:after|id).*", "", clean(line))
        assert "".join(expected.split()) in kept


def test_a_section_and_a_description_of_one_feature_are_not_those_of_the_next(listed):
    listing = read_file(listed("# A\n- [ ] a\n  more\n\n  b\n# B\n- [ ] a\n", "f.md"))
    assert [feature.details for feature in listing.features] == [
        {"section": "A", "description": "b"},
        {"section": "B"},
    ]


def test_notes_about_many_lines_stay_short():
    many = "\n".join(f"- [ ] task {number}\n\n  Depends on: nobody knows" for number in range(500))
    listing = parse_text(many.encode(), "it", "md")
    assert all(len(note) < 400 for note in listing.notes)
    assert "490 more" in listing.notes[-1]


def test_a_part_without_a_summary_ends_without_taking_one_from_those_around_it(listed):
    fold = "<details><summary>{}</summary>\n\n- [ ] a{}\n\n"
    text = fold.format("Pages", 1) + fold.format("", 2) + "</details>\n\n- [ ] a3\n\n</details>\n\n- [ ] a4\n"
    sections = [feature.details.get("section") for feature in read_file(listed(text, "f.md")).features]
    assert sections == ["Pages", "Pages", "Pages", None]


def test_of_parts_that_never_end_the_innermost_ones_are_the_section(listed):
    text = "".join(f"<details><summary>s{n}</summary>\n\n" for n in range(70)) + "- [ ] a\n"
    (feature,) = read_file(listed(text, "f.md")).features
    assert feature.details["section"] == " > ".join(f"s{n}" for n in range(10, 70))
