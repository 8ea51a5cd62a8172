"""How a Markdown checklist is read."""

from __future__ import annotations

import pytest
from batch_implement.core.errors import UsageError
from batch_implement.features.feature_list import Feature
from batch_implement.features.source_files import parse_text, read_file


@pytest.fixture
def listed(tmp_path):
    """Write a file and return its path."""

    def write(content, name="features.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def texts(listing):
    return [feature.text for feature in listing.features]


def needs(listing):
    return [feature.details.get("depends_on") for feature in listing.features]


def refusal(read, *args):
    with pytest.raises(UsageError) as caught:
        read(*args)
    assert caught.value.message.isprintable()
    return caught.value.message


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
    assert read_file(listed(content, name)).features == [
        Feature("first", 3),
        Feature("second", 4),
        Feature("third", 5),
        Feature("fourth", 6),
        Feature("fifth", 7),
        Feature("indented", 10),
        Feature("last", 26),
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


def test_what_needs_a_ticked_box_by_its_id_needs_it_no_more(listed):
    content = (
        "- [x] Add a table (id: Schema)\n- [ ] Add a page (after: schema)\n- [ ] Log in (after: SCHEMA, page, #12)\n"
    )
    assert needs(read_file(listed(content, "f.md"))) == [None, ["page", "#12"]]


def test_an_open_box_of_the_same_id_as_a_ticked_one_is_the_one_that_is_needed(listed):
    content = "- [x] a (id: x)\n- [ ] b (id: x)\n- [ ] c (after: x)\n"
    assert needs(read_file(listed(content, "f.md"))) == [None, ["x"]]


def test_a_number_beside_ticked_boxes_is_refused_because_it_changes_with_each_tick(listed):
    content = "- [x] a\n- [ ] b\n- [ ] c (after: 1)\n"
    assert ":3: `(after: 1)` counts open boxes, and each tick changes their numbers" in refusal(
        read_file, listed(content, "f.md")
    )
    assert needs(read_file(listed(content.replace("[x]", "[ ]"), "f.md"))) == [None, None, ["1"]]


def test_what_a_ticked_box_says_is_no_matter(listed):
    assert texts(read_file(listed("- [x] a (after: no reference)\n- [ ] b\n", "f.md"))) == ["b"]
