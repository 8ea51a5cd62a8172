"""Boxes of features are ticked, and nothing else of a list changes."""

from __future__ import annotations

import pytest
from batch_implement.features import source_files
from batch_implement.features.feature_list import FeatureListError, ListOptions
from batch_implement.features.markdown.ticks import tick_boxes


def ticked(text, *lines, **options):
    return tick_boxes(text, lines, ListOptions(**options))[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("- [ ] a", "- [x] a"),
        ("- [ ] a\r\n- [ ] b\r\n", "- [x] a\r\n- [ ] b\r\n"),
        ("- [ ] a\r- [ ] b", "- [x] a\r- [ ] b"),
        ("\ufeff- [ ] a\n", "\ufeff- [x] a\n"),
        ("- [/] a  \n", "- [x] a  \n"),
        ("* [~]  a [ ] b\n", "* [x]  a [ ] b\n"),
        ("1. [] a\n", "1. [x] a\n"),
        ("10) [  ] a\n", "10) [x] a\n"),
        ("+ [!] a\n", "+ [x] a\n"),
        ("-\t[ ] a\n", "-\t[x] a\n"),
        ("- \\[ \\] a\n", "- \\[x\\] a\n"),
        ("- ☐ a\n", "- ☑ a\n"),
        ("- [ ] a\n  goes on [ ] here\n", "- [x] a\n  goes on [ ] here\n"),
        ("- [ ] a\n```\n- [ ] code\n```\n", "- [x] a\n```\n- [ ] code\n```\n"),
        ("  - [ ] [link](x) a\n", "  - [x] [link](x) a\n"),
        ("- - [ ] a\n", "- - [x] a\n"),
        ("[ ] a\n", "[x] a\n"),
    ],
)
def test_only_the_mark_changes(before, after):
    assert ticked(before, 1) == after


NESTED = """\
- [ ] parent
  - [ ] step
    - [/] step of a step
  - [x] done
    and text [ ] of it
  - [ ]* optional
  - [ ] ~~struck~~
- [ ] other
"""


def test_the_steps_of_a_feature_are_ticked_with_it():
    after = NESTED.replace("[ ] parent", "[x] parent").replace("[ ] step\n", "[x] step\n").replace("[/]", "[x]")
    assert ticked(NESTED, 1) == after
    assert [feature.text for feature in source_files.parse_text(after.encode(), "l", "md").features] == ["other"]


def test_with_leaves_a_box_is_ticked_when_none_in_it_is_open():
    one = ticked(NESTED, 3, leaves=True)
    assert one == NESTED.replace("[/]", "[x]").replace("[ ] step\n", "[x] step\n")
    text = "- [ ] a\n  - [ ] b\n  - [ ] c\n"
    assert ticked(text, 2, leaves=True) == "- [ ] a\n  - [x] b\n  - [ ] c\n"
    assert ticked(text, 2, 3, leaves=True) == text.replace("[ ]", "[x]")


def test_a_dash_that_means_open_is_ticked_and_one_that_means_cancelled_is_not():
    text = "- [ ] a\n  - [-] b\n"
    assert ticked(text, 1, dash="open") == "- [x] a\n  - [x] b\n"
    assert ticked(text, 1, dash="cancelled") == "- [x] a\n  - [-] b\n"


@pytest.mark.parametrize("text", ["- a\n", "- [x] a\n", "a\n", "", "> - [ ] a\n"])
def test_what_has_no_open_box_is_not_ticked(text):
    assert tick_boxes(text, [1, 7], ListOptions()) == (text, set())


def test_each_feature_of_a_list_can_be_ticked_and_is_gone_then():
    text = (
        "# Plan\n\n- [ ] one\n  more of one\n  - [ ] step\n\n1. [ ] two\n   > - [ ] quoted\n\n## Later\n- group\n"
        "  - [ ] three\n- [x] ticked\n  - [ ] four\n\n[ ] five\n"
    )
    features = source_files.parse_text(text.encode(), "list", "md").features
    for feature in features:
        after, lines = tick_boxes(text, [feature.line], ListOptions())
        assert lines == {feature.line}
        left = [other.text for other in source_files.parse_text(after.encode(), "list", "md").features]
        assert left == [other.text for other in features if other is not feature]
    after = ticked(text, *(feature.line for feature in features))
    with pytest.raises(FeatureListError, match="no open"):
        source_files.parse_text(after.encode(), "list", "md")
